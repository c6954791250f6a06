"""gru_sequence against the encoder's plain GRU: values, each gradient, padding, registration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from khmer_fast.sequence import encoder_recurrent
from python_ref.config import make_config
from python_ref.encoder import Encoder
from tests.conftest import run_with

OP = torch.ops.khmer_fast.gru_sequence
SHAPES = {"ragged": (5, 9), "one_position": (3, 1), "one_line": (1, 7), "more": (13, 21)}


def make(B: int, T: int, dtype: torch.dtype = torch.float64, seed: int = 0):
    """A tiny encoder, feature [B, T, features] and length [B]; the first line has all positions."""
    torch.manual_seed(seed)
    encoder = Encoder(make_config("tiny", 20)).to(dtype)
    length = torch.randint(1, T + 1, (B,))
    length[0] = T
    return encoder, torch.randn(B, T, encoder.config.features).to(dtype), length


def run(encoder: Encoder, feature: Tensor, length: Tensor, fast: bool) -> dict[str, Tensor]:
    """Memory and gradients by name."""
    feature = feature.detach().requires_grad_()
    memory = (
        encoder_recurrent(encoder, feature, length) if fast else encoder.recurrent(feature, length)
    )
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(memory.shape, generator=generator, dtype=torch.float64)
    named = {"feature": feature}
    for direction in ("gru_forward", "gru_backward"):
        for name, x in getattr(encoder, direction).named_parameters():
            named[f"{direction}.{name}"] = x
    gradients = torch.autograd.grad(memory, list(named.values()), upstream.to(memory.dtype))
    found = {f"d_{name}": x for name, x in zip(named, gradients, strict=True)}
    return {"memory": memory.detach()} | found


def differing(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> list[str]:
    return [
        name
        for name, x in expected.items()
        if not bool((found[name] - x).abs().max() <= tolerance * x.abs().max())
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_plain_gru(shape: str):
    arguments = make(*SHAPES[shape])
    assert differing(run(*arguments, fast=True), run(*arguments, fast=False), 1e-12) == []


@pytest.mark.parametrize("seed", range(3))
def test_float32_error_is_within_twice_eager(seed: int):
    encoder, feature, length = make(8, 60, torch.float32, seed)
    eager = run(encoder, feature, length, fast=False)
    found = run(encoder, feature, length, fast=True)
    exact = run(encoder.double(), feature.double(), length, fast=False)
    for name, x in exact.items():
        allowed = 2 * (eager[name] - x).abs().max() + 1e-6 * x.abs().max()
        assert bool((found[name] - x).abs().max() <= allowed), name


@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
def test_every_instruction_set(isa: str):
    code = (
        "import tests.test_gru_sequence as t\n"
        "for shape in t.SHAPES.values():\n"
        "    arguments = t.make(*shape, t.torch.float32)\n"
        "    found, expected = t.run(*arguments, fast=True), t.run(*arguments, fast=False)\n"
        "    assert not t.differing(found, expected, 1e-5), shape\n"
    )
    run_with(isa, code)


def op_arguments(dtype: torch.dtype, B: int = 5, T: int = 9, H: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        x = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return x.to(dtype).requires_grad_()

    length = torch.randint(0, T + 1, (B,), generator=generator)
    return [normal(B, T, 6 * H), length, normal(6 * H, H), normal(6 * H)]


def test_gradcheck():
    arguments = op_arguments(torch.float64, 3, 4)
    assert torch.autograd.gradcheck(lambda *x: OP(*x)[0], tuple(arguments))


def test_opcheck():
    for dtype in (torch.float32, torch.float64):
        torch.library.opcheck(OP, tuple(op_arguments(dtype)))


def test_padding_is_never_read_and_gives_zero():
    gate_input, length, W_hh, b_hh = op_arguments(torch.float32)
    padding = (torch.arange(9) >= length[:, None])[:, :, None]
    upstream = torch.randn(5, 9, 6)

    def gradients(gate_input: Tensor, upstream: Tensor) -> list[Tensor]:
        gate_input = gate_input.detach().requires_grad_()
        state, _ = OP(gate_input, length, W_hh, b_hh)
        assert not state[padding.expand_as(state)].any()
        return [state, *torch.autograd.grad(state, (gate_input, W_hh, b_hh), upstream)]

    poisoned = (
        gate_input.masked_fill(padding, torch.nan),
        upstream.masked_fill(padding, torch.nan),
    )
    for x, y in zip(gradients(gate_input, upstream), gradients(*poisoned), strict=True):
        assert torch.equal(x, y)


def test_a_line_does_not_depend_on_its_batch_or_on_threads():
    encoder, feature, length = make(7, 30, torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        found = run(encoder, feature, length, fast=True)
        torch.set_num_threads(4)
        threaded = run(encoder, feature, length, fast=True)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found["memory"], threaded["memory"])
    gate_input, _, W_hh, b_hh = op_arguments(torch.float32, 7, 30, 16)
    with torch.no_grad():
        together = OP(gate_input, length, W_hh, b_hh)[0]
        for b in range(7):
            alone = OP(gate_input[b : b + 1], length[b : b + 1], W_hh, b_hh)[0]
            assert torch.equal(alone, together[b : b + 1])


def test_autocast_computes_in_float32():
    encoder, feature, length = make(*SHAPES["ragged"], torch.float32)
    expected = encoder_recurrent(encoder, feature, length)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = encoder_recurrent(encoder, feature, length)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("index", "value", "error", "message"),
    [
        (0, torch.zeros(5, 9, 17), ValueError,
         r"gate_input must have shape \[B, T, 6H\] = \[5, 9, 18\], got \[5, 9, 17\]"),
        (1, torch.zeros(5), TypeError, "length must have dtype Long, got Float"),
        (1, torch.full((5,), 10), ValueError,
         r"length must lie in \[0, 9\], got 10 for line 0"),
        (2, torch.zeros(9, 3), ValueError,
         r"W_hh must have shape \[6H, H\] = \[18, 3\], got \[9, 3\]"),
        (3, torch.zeros(18, dtype=torch.float64), TypeError,
         "b_hh must have dtype Float, got Double"),
    ],
)  # fmt: skip
def test_bad_input_is_named(index: int, value: Tensor, error: type, message: str):
    arguments = op_arguments(torch.float32)
    arguments[index] = value
    with pytest.raises(error, match=message):
        OP(*arguments)
