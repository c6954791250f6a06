"""The training ops' linear against torch's: values, gradients, threads, registration, bad input."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from khmer_fast.sequence import linear
from tests.conftest import run_with

OP = torch.ops.khmer_fast.linear
SHAPES = [(1, 1, 1), (3, 5, 7), (0, 4, 3), (65, 24, 16), (70, 33, 100), (700, 50, 200)]  # R, K, N


def make(R: int, K: int, N: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(R + K + N)
    shapes = (R, K), (N, K), (N,)
    drawn = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return tuple(x.to(dtype).requires_grad_() for x in drawn)


def run(function, arguments: tuple[Tensor, ...]) -> list[Tensor]:
    """The result and the gradients of a loss that touches all of it."""
    y = function(*arguments)
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, arguments, upstream)]


def equal(found: list[Tensor], expected: list[Tensor], tolerance: float) -> bool:
    return all(
        x.shape == y.shape and torch.allclose(x, y, rtol=0, atol=tolerance)
        for x, y in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_torch(shape, bias):
    arguments = make(*shape)[: 3 if bias else 2]
    assert equal(run(linear, arguments), run(F.linear, arguments), 1e-11)


@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
def test_every_instruction_set(isa: str):
    code = (
        "import tests.test_linear as t\n"
        "for shape in t.SHAPES:\n"
        "    arguments = t.make(*shape, t.torch.float32)\n"
        "    found, expected = t.run(t.linear, arguments), t.run(t.F.linear, arguments)\n"
        "    assert t.equal(found, expected, 1e-3), shape\n"
    )
    run_with(isa, code)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_depend_on_no_other_row_and_on_no_thread(dtype):
    x, W, b = make(333, 40, 600, dtype)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = run(linear, (x, W, b))
        torch.set_num_threads(3)
        together = run(linear, (x, W, b))
    finally:
        torch.set_num_threads(threads)
    # d_b is torch's own sum over the rows
    assert all(torch.equal(a, c) for a, c in zip(alone[:3], together[:3], strict=True))
    assert torch.equal(linear(x[100:107], W, b), alone[0][100:107])


def test_operands_need_not_be_contiguous():
    x, W, b = make(70, 33, 100)
    strided = x.repeat(1, 2)[:, ::2].detach(), W.t().contiguous().t().detach(), b.detach()
    for given in strided:
        given.requires_grad_()
    expected = tuple(given.detach().clone().requires_grad_() for given in strided)
    assert equal(run(linear, strided), run(F.linear, expected), 1e-11)


def test_gradcheck():
    assert torch.autograd.gradcheck(linear, make(5, 3, 4))


def test_opcheck():
    for dtype in (torch.float32, torch.float64):
        torch.library.opcheck(OP, make(5, 3, 4, dtype))


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [
        (0, torch.zeros(2, 4), ValueError),
        (0, torch.zeros(2, 3, 1), ValueError),
        (0, torch.zeros(2, 3, dtype=torch.int64), TypeError),
        (1, torch.zeros(4, 3, dtype=torch.float64), TypeError),
        (2, torch.zeros(3), ValueError),
    ],
)
def test_bad_input_is_named(place, value, error):
    arguments = [torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(4)]
    arguments[place] = value
    with pytest.raises(error, match="must have"):
        OP(*arguments)
