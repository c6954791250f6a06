"""The fused encoder against python_ref: rounding, padding, batch mates, threads, wrong input."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from khmer_fast import ops
from python_ref.config import ModelConfig, Stage, make_config
from python_ref.encoder import Encoder

ODD = ModelConfig(
    "odd",
    stages=(Stage(5, 2, 2, 1), Stage(20, 1, 3, 0), Stage(33, 3, 1, 2)),
    features=27,
    encoder_hidden=19,
    A=8,
    D=8,
    H=8,
    V=8,
    height=31,
)
PLAIN = ModelConfig(
    "plain",
    stages=(Stage(1, 1, 1, 1), Stage(7, 2, 1, 0)),
    features=16,
    encoder_hidden=5,
    A=8,
    D=8,
    H=8,
    V=8,
    height=3,
)
CONFIGS = [make_config("tiny", 208), make_config("small", 208), ODD, PLAIN]
WIDTHS = (1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 130, 520)


def random_encoder(config: ModelConfig, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    encoder = Encoder(config)
    for x in encoder.parameters():
        if x.ndim == 1:
            x.data += 0.2 * torch.randn_like(x)
    return encoder.requires_grad_(False)


def batch(config: ModelConfig, X: int, seed: int = 0):
    """Lines of width X, about half and 1; the padding is NaN."""
    generator = torch.Generator().manual_seed(seed)
    width = torch.tensor([max(1, X // 2), X, 1])
    image = torch.rand(3, 1, config.height, X, generator=generator)
    for b in range(3):
        image[b, ..., int(width[b]) :] = torch.nan
    return image, width


def error(x: torch.Tensor, exact: torch.Tensor) -> float:
    return float((x.double() - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("config", [*CONFIGS, make_config("base", 208)], ids=lambda c: c.name)
def test_equals_the_reference(config):
    encoder = random_encoder(config)
    exact = random_encoder(config).double()
    exact.load_state_dict(encoder.state_dict())
    fused = ops.Encoder(encoder)
    worst = own = 0.0
    for X in WIDTHS:
        image, width = batch(config, X)
        expected, length = exact(image.double(), width)
        plain, _ = encoder(image, width)
        memory, fused_length = fused(image, width)
        assert torch.equal(fused_length, length) and memory.shape == expected.shape
        assert torch.isfinite(memory).all()
        for b in range(3):
            assert not memory[b, int(length[b]) :].any()
        worst, own = max(worst, error(memory, expected)), max(own, error(plain, expected))
    # F(4, 3) along x and F(3, 3) along y double the rounding of direct convolutions.
    assert worst <= 2 * own + 1e-6, f"{worst:.1e} against the reference's {own:.1e}"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_batch_mates_and_threads_change_no_bit(config):
    encoder = ops.Encoder(random_encoder(config))
    image = torch.rand(11, 1, config.height, 140, generator=torch.Generator().manual_seed(3))
    width = torch.tensor([140, 1, 77, 139, 138, 4, 5, 140, 66, 100, 23])
    memory, length = encoder(image, width, threads=1)
    assert torch.equal(memory, encoder(image, width, threads=3)[0])
    turned, _ = encoder(image.flip(0), width.flip(0), threads=2)
    assert torch.equal(memory, turned.flip(0))
    for b in range(len(width)):
        alone, _ = encoder(image[b : b + 1, ..., : width[b]], width[b : b + 1], threads=1)
        assert torch.equal(alone[0], memory[b, : length[b]]), f"line {b}"


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_every_instruction_set(isa):
    """In a process of its own, with workspaces that begin as NaN."""
    code = (
        "import torch\n"
        "from tests.test_encoder import CONFIGS, batch, error, random_encoder\n"
        "from khmer_fast import ops\n"
        "for config in CONFIGS:\n"
        "    encoder = random_encoder(config)\n"
        "    for X in (1, 6, 37, 150):\n"
        "        image, width = batch(config, X)\n"
        "        expected, _ = encoder(image, width)\n"
        "        assert error(ops.Encoder(encoder)(image, width)[0], expected.double()) <= 1e-5\n"
        "print(ops.instruction_set())\n"
    )
    environment = os.environ | {"KHMER_FAST_ISA": isa, "KHMER_FAST_POISON": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    order = ["baseline", "avx2", "avx512"]
    assert order.index(done.stdout.strip()) <= order.index(isa)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_bytes_are_255ths(config):
    """To the bit."""
    fused = ops.Encoder(random_encoder(config))
    image = torch.randint(0, 256, (3, 1, config.height, 41), dtype=torch.uint8)
    width = torch.tensor([20, 41, 1])
    for a, b in zip(fused(image, width), fused(image / 255, width), strict=True):
        assert torch.equal(a, b)


def test_empty_batch():
    memory, length = ops.Encoder(random_encoder(CONFIGS[0]))(
        torch.zeros(0, 1, 48, 10), torch.zeros(0, dtype=torch.int64)
    )
    assert memory.shape[0] == 0 and memory.shape[2] == CONFIGS[0].E and len(length) == 0


def test_not_a_number_stays_in_its_line():
    image, width = torch.rand(2, 1, 48, 40), torch.tensor([40, 40])
    encoder = ops.Encoder(random_encoder(CONFIGS[0]))
    clean, _ = encoder(image, width)
    image[1, 0, 20, 20] = torch.nan
    memory, _ = encoder(image, width)
    assert torch.equal(memory[0], clean[0]) and memory[1].isnan().any()


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(image=torch.rand(2, 1, 47, 40)), r"image must have shape .* \[2, 1, 48, 40\], got"),
        (dict(image=torch.rand(2, 48, 40)), r"image must have shape \[B, 1, Y, X\], got"),
        (dict(image=torch.rand(2, 1, 48, 40).double()), "image must have dtype Float, got Double"),
        (dict(width=torch.tensor([40, 41])), r"width must lie in \[1, 40\], got 41 for line 1"),
        (dict(width=torch.tensor([40, 0])), r"width must lie in \[1, 40\], got 0 for line 1"),
        (dict(width=torch.tensor([40])), r"width must have shape \[B\] = \[2\], got \[1\]"),
        (dict(width=torch.tensor([40.0, 40.0])), "width must have dtype Long, got Float"),
        (dict(threads=0), "threads must be at least 1, got 0"),
    ],
)
def test_wrong_input(change, message):
    options = dict(image=torch.rand(2, 1, 48, 40), width=torch.tensor([40, 40])) | change
    with pytest.raises((ValueError, TypeError), match=message):
        ops.Encoder(random_encoder(CONFIGS[0]))(**options)
