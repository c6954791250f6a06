"""The fused segmenter against python_ref: rounding, sizes, threads, wrong input."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from khmer_fast import ops
from python_ref.segmenter import SEGMENTERS, Segmenter, SegmenterConfig

ODD = SegmenterConfig("odd", 3, 5, (17, 33), (2, 0))
CONFIGS = [SEGMENTERS["tiny"], SEGMENTERS["small"], ODD]
SIZES = ((1, 1), (2, 3), (4, 4), (5, 9), (31, 33), (64, 64), (97, 130), (160, 331))


def random_segmenter(config: SegmenterConfig, seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    segmenter = Segmenter(config)
    for x in segmenter.parameters():
        if x.ndim == 1:
            x.data += 0.2 * torch.randn_like(x)
    for readout in (segmenter.head, segmenter.turn):
        readout.weight.data *= 30
    return segmenter.requires_grad_(False)


def pages(Y: int, X: int, B: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.rand(B, 1, Y, X, generator=torch.Generator().manual_seed(seed))


def error(x: torch.Tensor, exact: torch.Tensor) -> float:
    return float((x.double() - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_equals_the_reference(config):
    segmenter = random_segmenter(config)
    exact = random_segmenter(config).double()
    fused = ops.Segmenter(segmenter)
    worst, own = [0.0] * 5, [0.0] * 5
    for Y, X in SIZES:
        image = pages(Y, X)
        expected, plain, found = exact(image.double()), segmenter(image), fused(image)
        for i, wanted in enumerate(expected):
            assert found[i].shape == wanted.shape
            worst[i] = max(worst[i], error(found[i], wanted))
            own[i] = max(own[i], error(plain[i], wanted))
    for name, mine, reference in zip(expected._fields, worst, own, strict=True):
        assert mine <= 2 * reference + 1e-6, f"{name}: {mine:.1e} against {reference:.1e}"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_threads_and_batch_mates_change_no_bit(config):
    fused = ops.Segmenter(random_segmenter(config))
    image = pages(149, 203, B=3)
    alone = [fused(image[b : b + 1], threads=1) for b in range(3)]
    for threads in (1, 2, 5):
        together = fused(image, threads=threads)
        for b in range(3):
            for one, all_of_them in zip(alone[b], together, strict=True):
                assert torch.equal(one[0], all_of_them[b])


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_every_instruction_set(isa):
    """In a process of its own, with workspaces that begin as NaN."""
    code = (
        "import torch\n"
        "from tests.test_segmenter import CONFIGS, error, pages, random_segmenter\n"
        "from khmer_fast import ops\n"
        "for config in CONFIGS:\n"
        "    segmenter = random_segmenter(config)\n"
        "    fused = ops.Segmenter(segmenter)\n"
        "    for Y, X in ((3, 5), (7, 70), (66, 130), (161, 79)):\n"
        "        image = pages(Y, X)\n"
        "        for mine, plain in zip(fused(image), segmenter(image)):\n"
        "            assert error(mine, plain.double()) <= 2e-5, (config.name, Y, X)\n"
        "print(ops.instruction_set())\n"
    )
    environment = os.environ | {"KHMER_FAST_ISA": isa, "KHMER_FAST_POISON": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    order = ["baseline", "avx2", "avx512"]
    assert order.index(done.stdout.strip()) <= order.index(isa)


def test_an_empty_batch():
    output = ops.Segmenter(random_segmenter(CONFIGS[0]))(torch.zeros(0, 1, 32, 40))
    assert output.band.shape == (0, 8, 10) and output.rotation.shape == (0, 4)


def test_not_a_number_stays_in_its_page():
    image = pages(64, 64, B=2)
    fused = ops.Segmenter(random_segmenter(CONFIGS[0]))
    clean = fused(image)
    image[1, 0, 20, 20] = torch.nan
    output = fused(image)
    assert torch.equal(output.band[0], clean.band[0]) and output.band[1].isnan().any()


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(image=torch.rand(2, 3, 32, 40)), r"image must have shape .* = \[2, 1, 32, 40\], got"),
        (dict(image=torch.rand(32, 40)), r"image must have shape \[B, 1, Y, X\], got \[32, 40\]"),
        (dict(image=torch.rand(1, 1, 0, 40)), r"image must have pixels, got \[1, 1, 0, 40\]"),
        (dict(image=torch.rand(1, 1, 32, 40).double()), "image must have dtype Float, got Double"),
        (dict(threads=0), "threads must be at least 1, got 0"),
    ],
)
def test_wrong_input(change, message):
    options = dict(image=torch.rand(1, 1, 32, 40)) | change
    with pytest.raises((ValueError, TypeError), match=message):
        ops.Segmenter(random_segmenter(CONFIGS[0]))(**options)
