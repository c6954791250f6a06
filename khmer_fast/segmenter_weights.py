"""Weights of the segmenter, which finds the lines of a page: files, and the packaged ones."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from khmer_fast.archive import ZIP_START, ArchiveError, read_archive
from khmer_fast.errors import WeightsError, printable
from khmer_fast.weights_file import (
    SHOWN,
    check_finite,
    check_state,
    check_storage,
    from_json,
    parse_safetensors,
    read_file,
    write_file,
)
from python_ref.segmenter import (
    DEPTHWISE,
    DEPTHWISE_8,
    MAPS,
    ROTATIONS,
    SEGMENTERS,
    Segmenter,
    SegmenterConfig,
)

FORMAT = "khmer_fast_segmenter"
FORMAT_VERSION = "1"
PACKAGED_SEGMENTER = Path(__file__).parent / "data_files" / "pages.safetensors"
# of PACKAGED_SEGMENTER; scripts/package_segmenter.py pins it with each new default
PACKAGED_SEGMENTER_SHA256 = "85e06464579c48763716e802006f3438cecc3bc2133e39601563e6622cd18cdd"
MAX_CHANNELS = 2048
MAX_LEVELS = 8


@dataclass(frozen=True)
class SegmenterWeights:
    """A segmenter and what its file says about it."""

    config: SegmenterConfig
    model: Segmenter  # float32, without gradients
    metadata: dict[str, str] = field(default_factory=dict)
    path: str = ""
    sha256: str = ""  # of the file


def save_segmenter(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, Tensor],
    config: SegmenterConfig,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Writes float16 weights as one safetensors file, all or nothing; returns its sha256.

    `extra` is further metadata, such as `commit` and `trained`. Raises WeightsError for tensors
    that do not fit `config`, are not finite or exceed float16, and OSError where the disk does.
    """
    state = {name: tensor.detach().cpu() for name, tensor in state_dict.items()}
    check_state(state, Segmenter(config).state_dict(), "these weights")
    metadata = {
        **(extra or {}),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": json.dumps(dataclasses.asdict(config)),
    }
    return write_file(Path(path), state, metadata)


def load_segmenter(path: str | os.PathLike[str] | None = None) -> SegmenterWeights:
    """Reads a segmenter's weights file, or its trainer's checkpoint (.pth); without a path, the
    packaged weights. Raises WeightsError for a file that is missing, damaged or foreign.
    """
    file = PACKAGED_SEGMENTER if path is None else Path(path)
    name = printable(file)
    data, sha256 = read_file(file, name, PACKAGED_SEGMENTER_SHA256 if path is None else None)
    if data[:4] == ZIP_START:
        config, state, metadata = _parse_checkpoint(data, name)
    else:
        state, metadata = parse_safetensors(data, name, FORMAT, FORMAT_VERSION, ("config",))
        config = _parse_config(from_json(metadata["config"], f"{name}: its configuration"), name)
    # Nothing of the configuration's sizes is made before the file is known to hold that much.
    check_storage(state, count_segmenter_elements(config), len(data), name)
    with torch.random.fork_rng(devices=[]):  # building a model draws numbers
        model = Segmenter(config)
    check_state(state, model.state_dict(), name)
    check_finite(state, name)
    model.load_state_dict(state)
    model.eval().requires_grad_(False)
    return SegmenterWeights(config, model, metadata, str(file), sha256)


def _parse_checkpoint(
    data: bytes, name: str
) -> tuple[SegmenterConfig, dict[str, Tensor], dict[str, str]]:
    """A checkpoint of the trainer: its averaged weights."""
    try:
        checkpoint = read_archive(data)
    except ArchiveError as error:
        raise WeightsError(
            f"{name}: is no khmer_fast checkpoint that can be read: {error}; export it as "
            "safetensors, or save it again"
        ) from error
    state = checkpoint.get("average") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in state.items()
    ):
        raise WeightsError(
            f"{name}: is no checkpoint of a segmenter: expected a dict with config and average"
        )
    config = checkpoint.get("config")
    if isinstance(config, str) and config in SEGMENTERS and checkpoint.get("task") == "pages":
        return SEGMENTERS[config], dict(state), {}
    raise WeightsError(
        f"{name}: is no checkpoint of a segmenter: expected one of `khmer-fast train --task pages`"
    )


def _parse_config(fields: Any, name: str) -> SegmenterConfig:
    """The configuration of a table of plain values, whatever a stranger may have put there."""
    try:
        lists = {key: tuple(fields[key]) for key in ("channels", "blocks")}
        config = SegmenterConfig(**{**fields, **lists})
    except (TypeError, ValueError, LookupError) as error:
        raise WeightsError(
            f"{name}: its configuration cannot be read: {printable(error, SHOWN)}"
        ) from error
    numbers = (config.stem, config.fine, *config.channels)
    if (
        type(config.name) is not str
        or not 1 <= len(config.channels) == len(config.blocks) <= MAX_LEVELS
        or not all(type(n) is int and 1 <= n <= MAX_CHANNELS for n in numbers)
        or not all(type(n) is int and 0 <= n <= 64 for n in config.blocks)
    ):
        raise WeightsError(
            f"{name}: its configuration has impossible sizes: expected 1 to {MAX_LEVELS} levels of "
            f"0 to 64 blocks, and whole numbers of channels from 1 to {MAX_CHANNELS}"
        )
    return config


def count_segmenter_elements(config: SegmenterConfig) -> int:
    """Numbers that a segmenter of this configuration holds, from its sizes alone."""

    def dense(inputs: int, outputs: int, size: int) -> int:
        return outputs * (inputs * size * size + 2)

    def depthwise(channels: int, size: tuple[int, int]) -> int:
        return channels * (size[0] * size[1] + 1)

    def block(channels: int, size: tuple[int, int]) -> int:
        return depthwise(channels, size) + dense(channels, channels, 1)

    total = dense(1, config.stem, 3) + dense(config.stem, config.fine, 3)
    before = config.fine
    for level, (channels, blocks) in enumerate(zip(config.channels, config.blocks, strict=True)):
        size = DEPTHWISE_8 if level == 0 else DEPTHWISE
        up_blocks = int(level < len(config.channels) - 1)
        total += depthwise(before, DEPTHWISE_8) + dense(before, channels, 1)
        total += (blocks + up_blocks) * block(channels, size) + dense(channels, before, 1)
        before = channels
    total += dense(config.fine, config.fine, 3)
    return total + MAPS * (config.fine + 1) + (ROTATIONS + 1) * (before + 1)
