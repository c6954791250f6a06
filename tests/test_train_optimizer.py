"""Muon moves matrices by what their momentum's singular vectors say, AdamW all else."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from khmer_fast.train.optimizer import MOMENTUM, STEP_RMS, make_optimizer, matrix_parts, orthogonal
from khmer_fast.train.options import TrainOptions
from python_ref.config import make_config
from python_ref.model import Model
from python_ref.segmenter import SEGMENTERS, Segmenter

CPU = torch.device("cpu")
MUON = TrainOptions(data=(), out="x", optimizer="muon", amp="off")


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (3, 16, 16), (1, 40, 144)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_singular_values_come_near_1_and_their_vectors_stay(shape, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape)
    u, s, v = torch.linalg.svd(x.double(), full_matrices=False)
    x = ((u * (s.clamp_min(0.1 * s.amax()))[..., None, :]) @ v).to(dtype)
    y = orthogonal(x).double()
    assert y.shape == shape
    values = torch.linalg.svdvals(y)
    assert 0.6 < values.min() and values.max() < 1.3
    turned = u.mT @ y @ v.mT  # diagonal where the vectors are x's
    rest = turned - torch.diag_embed(turned.diagonal(dim1=-2, dim2=-1))
    assert rest.abs().max() < (1e-10 if dtype == torch.float64 else 0.1)


def test_nothing_comes_of_no_gradient():
    assert orthogonal(torch.zeros(2, 4, 6)).count_nonzero() == 0


def test_which_weights_are_matrices():
    model = Model(make_config("tiny", 30))
    parts = {name: matrix_parts(name, p) for name, p in model.named_parameters()}
    assert {name for name, n in parts.items() if n == 3} == {
        *(
            f"encoder.gru_{way}.weight_{x}_l0"
            for way in ("forward", "backward")
            for x in ("ih", "hh")
        ),
        "decoder.W_ih",
        "decoder.W_hh",
    }
    left = {name for name, p in model.named_parameters() if p.ndim > 1 and not parts[name]}
    assert left == {
        "encoder.convs.0.weight", "decoder.embedding", "decoder.W_o", "ctc.weight"
    }  # fmt: skip
    pages = Segmenter(SEGMENTERS["small"])
    for name, p in pages.named_parameters():
        if p.ndim == 4 and p.shape[1] == 1:
            assert matrix_parts(name, p) == 0, name


def test_a_step_is_the_formula_and_adamw_has_the_rest():
    torch.manual_seed(1)
    model, plain = Model(make_config("tiny", 30)), Model(make_config("tiny", 30))
    plain.load_state_dict(model.state_dict())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    adamw = make_optimizer(plain, dataclasses.replace(MUON, optimizer="adamw"), CPU)
    muon = make_optimizer(model, MUON, CPU)
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    muon.step()
    adamw.step()
    rate, decay = MUON.learning_rate, MUON.weight_decay
    for (name, p), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        parts = matrix_parts(name, p)
        if not parts:
            torch.testing.assert_close(p, other, rtol=0, atol=0)
            continue
        ahead = p.grad * (1 - MOMENTUM) + MOMENTUM * p.grad * (1 - MOMENTUM)
        for i, (moved, was, g) in enumerate(
            zip(*(x.flatten(1).chunk(parts) for x in (p, before[name], ahead)), strict=True)
        ):
            u, _, v = torch.linalg.svd(g, full_matrices=False)
            step = (was * (1 - rate * decay) - moved) / (rate * STEP_RMS * max(g.shape) ** 0.5)
            cosine = torch.nn.functional.cosine_similarity(step.flatten(), (u @ v).flatten(), 0)
            assert cosine > 0.97, (name, i)


def test_a_parameter_without_a_gradient_stays():
    model = Model(make_config("tiny", 30))
    optimizer = make_optimizer(model, MUON, CPU)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.ctc.bias.grad = torch.ones_like(model.ctc.bias)
    optimizer.step()
    assert {n for n, p in model.named_parameters() if not p.equal(before[n])} == {"ctc.bias"}
