"""The encoder in 8-bit integers against python_ref: every instruction set, batch mates, NaN."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from khmer_fast import ops
from khmer_fast.recognize.batch import Batch
from khmer_fast.recognize.scales import measure
from python_ref.config import ModelConfig, make_config
from python_ref.encoder import Encoder
from python_ref.quantized_encoder import QuantizedEncoder
from tests.test_encoder import CONFIGS, WIDTHS, batch, error, random_encoder

SETS = ("baseline", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16")


def quantized(config: ModelConfig) -> tuple[Encoder, QuantizedEncoder]:
    """A random encoder and its twin in whole numbers, scaled for the lines of `batch`."""
    encoder = random_encoder(config)
    scales = measure(encoder, [Batch(*batch(config, X)) for X in WIDTHS])
    return encoder, QuantizedEncoder(encoder, scales)


def extremes() -> list[QuantizedEncoder]:
    """Weights of +-127 in all convolutions but the first: of random signs, which fit 32 bits 144
    times wherever Winograd takes both axes, and of one sign, which do so in narrow layers alone."""
    references = []
    for one_sign in (False, True):
        _, reference = quantized(make_config("small", 208))
        generator = torch.Generator().manual_seed(7)
        for i, layer in enumerate(reference.convs[1:], 1):
            shape = layer.weight.shape
            weight = torch.randint(0, 2, shape, generator=generator) * 254 - 127
            weight = weight.abs() if one_sign else weight
            products = shape[1:].numel()
            spread = products if one_sign else products**0.5
            reference.convs[i] = layer._replace(
                weight=weight.char(), multiplier=torch.full(shape[:1], 1 / (127 * spread))
            )
        references.append(reference)
    return references


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_equals_the_reference(config):
    """To the bit."""
    encoder, reference = quantized(config)
    fused = ops.QuantizedEncoder(reference)
    for X in WIDTHS:
        image, width = batch(config, X)
        expected, length = reference(image, width)
        memory, fused_length = fused(image, width)
        assert torch.equal(fused_length, length) and memory.shape == expected.shape
        assert torch.equal(memory, expected), X
        for b in range(3):
            assert not memory[b, int(length[b]) :].any()
        plain, _ = encoder(image, width)
        assert error(memory, plain.double()) <= 0.1  # and is about what float32 gives


@pytest.mark.parametrize("isa", SETS)
def test_every_instruction_set(isa):
    """In a process of its own, with workspaces that begin as NaN."""
    code = (
        "from tests.test_quantized_encoder import CONFIGS, batch, extremes, ops, quantized, torch\n"
        "for reference in [quantized(config)[1] for config in CONFIGS] + extremes():\n"
        "    for X in (1, 6, 37, 150):\n"
        "        image, width = batch(reference.config, X)\n"
        "        expected, _ = reference(image, width)\n"
        "        memory, _ = ops.QuantizedEncoder(reference)(image, width)\n"
        "        assert torch.equal(memory, expected), (reference.config.name, X)\n"
        "print(ops.instruction_set())\n"
    )
    environment = os.environ | {"KHMER_FAST_ISA": isa, "KHMER_FAST_POISON": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert SETS.index(done.stdout.strip()) <= SETS.index(isa)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_batch_mates_and_threads_change_no_bit(config):
    encoder = ops.QuantizedEncoder(quantized(config)[1])
    image = torch.rand(11, 1, config.height, 140, generator=torch.Generator().manual_seed(3))
    width = torch.tensor([140, 1, 77, 139, 138, 4, 5, 140, 66, 100, 23])
    memory, length = encoder(image, width, threads=1)
    assert torch.equal(memory, encoder(image, width, threads=3)[0])
    for b in range(len(width)):
        alone, _ = encoder(image[b : b + 1, ..., : width[b]], width[b : b + 1], threads=1)
        assert torch.equal(alone[0], memory[b, : length[b]]), f"line {b}"


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_a_pixel_that_is_not_finite_is_its_lines_alone(wrong):
    _, reference = quantized(CONFIGS[0])
    fused = ops.QuantizedEncoder(reference)
    image, width = torch.rand(3, 1, 48, 60), torch.tensor([60, 40, 60])
    clean, length = fused(image, width)
    image[1, 0, 47, 39] = wrong
    image[0, 0, 3, 3] = 7.0  # beyond ink: as ink
    for encoder in (reference, fused):
        memory, _ = encoder(image, width)
        assert memory[1, : length[1]].isnan().all() and not memory[1, length[1] :].any()
        assert torch.equal(memory[2], clean[2])
        assert memory[0].isfinite().all()
    image[0, 0, 3, 3] = 1.0
    assert torch.equal(fused(image[:1], width[:1])[0], fused(image.clamp(max=1)[:1], width[:1])[0])
    assert torch.equal(fused(image, width)[0][2], clean[2])


def test_wrong_layers_say_expected_and_got():
    _, reference = quantized(CONFIGS[0])
    reference.convs[1] = reference.convs[1]._replace(weight=torch.zeros(12, 9, 3, 3).char())
    with pytest.raises(ValueError, match=r"\[12, 8, 3, 3\].*\[12, 9, 3, 3\]"):
        ops.QuantizedEncoder(reference)
    _, reference = quantized(CONFIGS[0])
    reference.project = reference.project._replace(weight=reference.project.weight.float())
    with pytest.raises(TypeError, match="project must have dtype Char, got Float"):
        ops.QuantizedEncoder(reference)
