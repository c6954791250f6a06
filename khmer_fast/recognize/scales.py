"""The scales of the 8-bit encoder: measured on lines once, kept beside the weights they belong to.

`WEIGHTS.int8.json` is `{"weights": sha256 of WEIGHTS, "convs": [[...], ...], "feature": [...]}`:
what one level of each channel stands for. `scripts/calibrate_int8.py` writes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from khmer_fast.errors import WeightsError, printable
from khmer_fast.recognize.batch import Batch
from khmer_fast.weights import Weights
from python_ref.encoder import Encoder, ResidualBlock
from python_ref.quantized_encoder import CENTRE, LEVELS, QuantizedEncoder, Scales, in_order

MAX_BYTES = 16 << 20
SMALLEST = 1e-3  # of an activation's largest value: a channel that never fires


def scales_path(weights: Weights) -> Path:
    """Where the scales of a weights file lie."""
    return Path(weights.path).with_suffix(".int8.json")


def measure(encoder: Encoder, batches: Iterable[Batch]) -> Scales:
    """Scales that just hold what the encoder computes of these lines, padding left out."""
    convs = [conv for conv, _ in in_order(encoder)]
    largest: list[Tensor] = [torch.full((conv.bias.shape[0],), SMALLEST) for conv in convs]
    feature = torch.full((encoder.config.features,), SMALLEST)

    def watch(i: int, module: nn.Module) -> RemovableHandle:
        def see(_module: nn.Module, _inputs: object, output: Tensor) -> None:  # [B, outputs, Y, X]
            largest[i] = torch.maximum(largest[i], output.amax((0, 2, 3)))

        return module.register_forward_hook(see)

    # The second convolution of a block ends where the block does, with what it began with added.
    ends: list[nn.Module] = []
    for conv, blocks in zip(encoder.convs, encoder.blocks, strict=True):
        assert isinstance(blocks, nn.ModuleList)
        ends.append(conv)
        for block in blocks:
            assert isinstance(block, ResidualBlock)
            ends += [block.conv1, block]
    hooks = [watch(i, module) for i, module in enumerate(ends)]
    try:
        with torch.inference_mode():
            for batch in batches:
                for image, width in zip(batch.ink, batch.width.tolist(), strict=True):
                    line = image[None, ..., :width]
                    found, _ = encoder.features(line, torch.tensor([width]))
                    feature = torch.maximum(feature, found.abs().amax((0, 1)))
    finally:
        for hook in hooks:
            hook.remove()
    return Scales(
        tuple((x / LEVELS).clone() for x in largest), (feature / (LEVELS - CENTRE)).clone()
    )


def save_scales(path: Path, scales: Scales, sha256: str) -> None:
    """Writes the scales of the weights whose file has this sha256."""

    def numbers(x: Tensor) -> list[float]:
        return [float(f"{value:.6g}") for value in x.tolist()]

    document = {
        "weights": sha256,
        "convs": [numbers(x) for x in scales.convs],
        "feature": numbers(scales.feature),
    }
    path.write_text(json.dumps(document) + "\n", encoding="ascii")


def load_scales(weights: Weights) -> Scales:
    """The scales beside a weights file; raises WeightsError where they are missing or not its."""
    path = scales_path(weights)
    name = printable(path)
    remedy = "make them with scripts/calibrate_int8.py, or use dtype float32"
    try:
        data = path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise WeightsError(f"{name}: cannot be read: {error.strerror}") from None
    if data is None:
        raise WeightsError(f"{name}: dtype int8 needs the scales of these weights; {remedy}")
    try:
        document = json.loads(data)
        sizes = [conv.bias.shape[0] for conv, _ in in_order(weights.model.encoder)]
        convs = tuple(_scale(x, n) for x, n in zip(document["convs"], sizes, strict=True))
        scales = Scales(convs, _scale(document["feature"], weights.config.features))
        of = document["weights"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{name}: is damaged ({printable(error, 200)}); {remedy}") from None
    if of != weights.sha256:
        raise WeightsError(f"{name}: belongs to other weights; {remedy}")
    return scales


def has_scales(weights: Weights) -> bool:
    """Whether the scales of these weights stand beside them."""
    try:
        load_scales(weights)
    except WeightsError:
        return False
    return True


def quantized_encoder(weights: Weights) -> QuantizedEncoder:
    """The encoder of these weights in whole numbers; raises WeightsError as `load_scales`."""
    return QuantizedEncoder(weights.model.encoder, load_scales(weights))


def _scale(numbers: Any, size: int) -> Tensor:
    """Raises ValueError for what is no list of so many positive numbers."""
    if not isinstance(numbers, list) or len(numbers) != size:
        raise ValueError(f"expected {size} scales")
    for x in numbers:
        if type(x) not in (int, float) or not (0 < x < math.inf):
            raise ValueError(f"expected positive scales, got {x!r}")
    scale = torch.tensor(numbers, dtype=torch.float32)
    if not bool(((scale > 0) & scale.isfinite()).all()):
        raise ValueError("expected scales that float32 can hold")
    return scale
