"""The least time that the parts of reading take on the machine at hand (docs/performance.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks import machine
from benchmarks.decode import Sizes, floor_seconds, weight_bytes
from khmer_fast import ops
from python_ref.beam_search import BeamResult
from python_ref.config import ModelConfig


@dataclass(frozen=True)
class Floors:
    """Milliseconds of one line, in float32 on one thread."""

    prepare: float  # Pillow opens and decodes the file
    encode: float  # the encoder's products at the machine's own peak
    decode: float  # what the decoder's rows of these lines take, docs/performance.md, section 1
    peak_gflops: float


def floors(
    config: ModelConfig,
    images: Sequence[Path],
    widths: Sequence[int],  # pixels of each line that was read
    batches: Sequence[tuple[BeamResult, int]],  # answers, and encoder positions T of each batch
) -> Floors:
    """Of the lines of a data set, as they were read."""
    peak = machine.peak_flops()
    energies = ops.peak_energies()
    decode = 0.0
    for answers, positions in batches:
        sizes = Sizes(config.V, config.D, config.E, config.A, config.H, positions)
        bandwidth = machine.read_bandwidth(weight_bytes(sizes), seconds=0.05)
        steps = int(answers.steps.sum())
        decode += steps * floor_seconds(
            sizes, answers, len(answers.steps), peak, bandwidth, energies
        )
    products = sum(encoder_products(config, width) for width in widths)
    each = 1e3 / len(images)
    return Floors(
        opening_seconds(images) * each, 2 * products / peak * each, decode * each, peak / 1e9
    )


def encoder_products(config: ModelConfig, width: int) -> int:
    """Multiplications of a line of `width` pixels: convolutions whose columns are not strided take
    half of them (F(4, 3) along x), where rows are not, five ninths of that (F(3, 3) along y), and
    rows of zeros above and below take none."""
    total, inputs, rows, columns = 0, 1, config.height, width
    for i, stage in enumerate(config.stages):
        columns = -(-columns // stage.stride_x)
        for layer in range(1 + 2 * stage.blocks):
            stride_y = 1 if layer else stage.stride_y
            half = layer > 0 or (stage.stride_x == 1 and i > 0)
            taps = sum(
                sum(0 <= top + dy < rows for dy in (-1, 0, 1)) for top in range(0, rows, stride_y)
            )
            rows = -(-rows // stride_y)
            if half and stride_y == 1 and rows % 3 == 0:
                taps = 5 * rows // 3
            places = 6 * -(-columns // 4) if half else 3 * columns
            total += taps * places * inputs * stage.channels
            inputs = stage.channels
    H = config.encoder_hidden
    each = rows * inputs * config.features + 2 * 3 * H * (config.features + H)
    return total + columns * each


def opening_seconds(images: Sequence[Path]) -> float:
    """Processor time of Pillow, from the files to their pixels."""
    start = time.process_time()
    for path in images:
        with Image.open(path) as image:
            image.load()
    return time.process_time() - start
