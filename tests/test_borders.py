"""What tensors may be: torch's lazy negation, strides of all kinds, at the border of every op."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from khmer_fast import ops
from python_ref.attn_gru_step import DecoderWeights, attn_gru_init
from tests.random_models import random_weights
from tests.test_encoder import CONFIGS, batch, random_encoder
from tests.test_segmenter import ODD, pages, random_segmenter

B, K, T, S, V, D, E, A, H = 2, 3, 9, 4, 19, 5, 34, 23, 17


def negated(x: Tensor) -> Tensor:
    """The same numbers behind torch's negative bit."""
    out = torch._neg_view(-x)
    assert out.is_neg() and torch.equal(out, x)
    return out


def imaginary(x: Tensor) -> Tensor:
    """The same numbers as the imaginary part of conjugates: the negative bit and a stride of 2."""
    out = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert out.is_neg() and torch.equal(out, x)
    return out


def apart(x: Tensor) -> Tensor:
    """The same numbers with other numbers between them."""
    wide = torch.full((*x.shape[:-1], 2 * x.shape[-1]), 7).to(x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def turned(x: Tensor) -> Tensor:
    """The same numbers, the first dimension innermost."""
    return x.movedim(0, -1).contiguous().movedim(-1, 0)


WAYS = {"negated": negated, "imaginary": imaginary, "apart": apart, "turned": turned}


def decoder_inputs() -> tuple[DecoderWeights, dict[str, Tensor]]:
    rng = torch.Generator().manual_seed(0)
    w = random_weights(rng, V, D, E, A, H)
    memory, length = torch.randn(B, T, E, generator=rng), torch.tensor([T, 4])
    return w, dict(memory=memory, length=length, step_limit=torch.tensor([6, 7]))


def decode(w: DecoderWeights, **options) -> list[Tensor]:
    result = ops.Decoder(w).beam_search(**options, return_attention=True)
    return [result.tokens, result.log_prob, result.attention, result.position]


def step_inputs() -> dict[str, Tensor]:
    w, inputs = decoder_inputs()
    key, _ = attn_gru_init(inputs["memory"], inputs["length"], w)
    rng = torch.Generator().manual_seed(1)
    h = torch.rand(B * K, H, generator=rng)
    token = torch.randint(3, V, (B * K,), generator=rng)
    names = ("embedding", "W_q", "v", "W_ih", "W_hh", "b_ih", "b_hh", "W_o", "b_o")
    given = dict(memory=inputs["memory"], key=key, length=inputs["length"], token=token, h=h)
    return given | {name: getattr(w, name) for name in names}


def sequence_inputs() -> dict[str, Tensor]:
    step = step_inputs()
    rng = torch.Generator().manual_seed(2)
    return dict(
        memory=step["memory"], key=step["key"], length=step["length"],
        h_0=torch.rand(B, H, generator=rng), gate_input=torch.randn(B, S, 3 * H, generator=rng),
        target_length=torch.tensor([S, 2]), W_q=step["W_q"], v=step["v"],
        W_ic=step["W_ih"][:, D:].contiguous(), W_hh=step["W_hh"], b_hh=step["b_hh"],
    )  # fmt: skip


def sequence_backward_inputs() -> dict[str, Tensor]:
    given = sequence_inputs()
    names = ("state", "context", "weight", "gates", "q")
    out = torch.ops.khmer_fast.attn_gru_sequence(**given)
    kept = ("memory", "key", "length", "h_0", "target_length", "W_q", "v", "W_ic", "W_hh")
    upstream = {f"d_{name}": torch.ones_like(x) for name, x in zip(names[:3], out[:3], strict=True)}
    return upstream | {name: given[name] for name in kept} | dict(zip(names, out, strict=True))


def gru_inputs() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(3)
    return dict(
        gate_input=torch.randn(B, T, 6 * H, generator=rng), length=torch.tensor([T, 4]),
        W_hh=torch.randn(6 * H, H, generator=rng), b_hh=torch.randn(6 * H, generator=rng),
    )  # fmt: skip


def gru_backward_inputs() -> dict[str, Tensor]:
    given = gru_inputs()
    state, gates = torch.ops.khmer_fast.gru_sequence(**given)
    rest = dict(length=given["length"], W_hh=given["W_hh"], state=state, gates=gates)
    return dict(d_state=torch.ones_like(state)) | rest


OPERATORS: dict[str, Callable[[], dict[str, Tensor]]] = {
    "attn_gru_step": step_inputs,
    "attn_gru_sequence": sequence_inputs,
    "attn_gru_sequence_backward": sequence_backward_inputs,
    "gru_sequence": gru_inputs,
    "gru_sequence_backward": gru_backward_inputs,
}


def changed(x: Tensor, way: str) -> Tensor | None:
    """None where the way is not for such a tensor."""
    if way == "imaginary" and not x.is_floating_point():
        return None
    return WAYS[way](x)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str, way: str):
    inputs = OPERATORS[name]()
    operator = getattr(torch.ops.khmer_fast, name)
    expected = operator(**inputs)
    for argument, x in inputs.items():
        if (other := changed(x, way)) is not None:
            got = operator(**inputs | {argument: other})
            assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True)), argument


@pytest.mark.parametrize("way", WAYS)
def test_decoder(way: str):
    w, inputs = decoder_inputs()
    expected = decode(w, **inputs)
    for argument, x in inputs.items():
        if (other := changed(x, way)) is not None:
            got = decode(w, **inputs | {argument: other})
            assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True)), argument
    for argument, x in w._asdict().items():
        got = decode(w._replace(**{argument: changed(x, way)}), **inputs)
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True)), argument
    forced = dict(memory=inputs["memory"], length=inputs["length"])
    expected = decode(w, **forced, force_length=inputs["step_limit"])
    if (other := changed(inputs["step_limit"], way)) is not None:
        got = decode(w, **forced, force_length=other)
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_encoder(way: str):
    encoder = random_encoder(CONFIGS[0])
    image, width = batch(CONFIGS[0], 40)
    image = image.nan_to_num(0.5)  # a NaN is not equal to itself
    expected, _ = ops.Encoder(encoder)(image, width)
    assert torch.equal(ops.Encoder(encoder)(changed(image, way), width)[0], expected)
    if (other := changed(width, way)) is not None:
        assert torch.equal(ops.Encoder(encoder)(image, other)[0], expected)
    for name, parameter in list(encoder.named_parameters()):
        kept = parameter.data
        parameter.data = changed(kept, way)
        assert torch.equal(ops.Encoder(encoder)(image, width)[0], expected), name
        parameter.data = kept


@pytest.mark.parametrize("way", WAYS)
def test_segmenter(way: str):
    segmenter = ops.Segmenter(random_segmenter(ODD))
    image = pages(40, 52, 2)
    for got, expected in zip(segmenter(changed(image, way)), segmenter(image), strict=True):
        assert torch.equal(got, expected)
