"""Weights files: safetensors that carry the charset, normaliser version, height and configuration.

What is trained is what is read, because both sides check these against the code and each other.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from khmer_fast.archive import ZIP_START, ArchiveError, read_archive
from khmer_fast.errors import KhmerFastError, WeightsError, printable
from khmer_fast.text import (
    DEFAULT_CHARSET,
    FIRST_CHARACTER,
    NORMALIZER_VERSION,
    Vocabulary,
    describe_character,
)
from khmer_fast.weights_file import (
    SHOWN,
    check_finite,
    check_state,
    check_storage,
    from_json,
    parse_safetensors,
    read_file,
    shown,
    write_file,
)
from python_ref.config import CONFIGURATIONS, ModelConfig, Stage, make_config
from python_ref.model import Model

FORMAT = "khmer_fast"
FORMAT_VERSION = "1"
PACKAGED = Path(__file__).parent / "data_files" / "small.safetensors"
# of PACKAGED; scripts/package_weights.py pins it with each new default model
PACKAGED_SHA256 = "ebb4de45a6d12be63d9ee5fc3fb11c56283ba75c552a7d4a3951c551c610170e"
MAX_SIZE = 8192  # of any dimension in a configuration


@dataclass(frozen=True)
class Weights:
    """A model's tensors and all that reading with them depends on."""

    config: ModelConfig
    charset: str
    model: Model  # float32, without gradients
    metadata: dict[str, str] = field(default_factory=dict)  # what else the file says
    path: str = ""
    sha256: str = ""  # of the file

    @property
    def state(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def calibration(self) -> dict[str, tuple[float, float]]:
        """Slope and offset on the logit of `character` and `line` confidences; absent (1, 0)."""
        return _parse_calibration(self.metadata.get("calibration", "{}"), self.path)


def save_weights(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, Tensor],
    config: ModelConfig,
    charset: str = DEFAULT_CHARSET,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Writes float16 weights as one safetensors file, all or nothing; returns its sha256.

    `extra` is further metadata, such as `commit` and `calibration` (JSON). Raises WeightsError for
    tensors that do not fit `config`, are not finite or exceed float16, and OSError where the disk
    does.
    """
    state = {name: tensor.detach().cpu() for name, tensor in state_dict.items()}
    _check_charset(charset, config, "these weights", charset)
    check_state(state, Model(config).state_dict(), "these weights")
    metadata = {
        **(extra or {}),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "charset": charset,
        "normalizer_version": NORMALIZER_VERSION,
        "height": str(config.height),
        "config": json.dumps(dataclasses.asdict(config)),
    }
    return write_file(Path(path), state, metadata)


def load_weights(
    path: str | os.PathLike[str] | None = None, charset: str = DEFAULT_CHARSET
) -> Weights:
    """Reads a weights file, or a trainer's checkpoint (.pth); without a path, the packaged weights.

    `charset` is what the caller expects; weights may extend it at its end. Raises WeightsError for
    a file that is missing, damaged, foreign, or made for another charset or normaliser.
    """
    file = PACKAGED if path is None else Path(path)
    name = printable(file)
    data, sha256 = read_file(file, name, PACKAGED_SHA256 if path is None else None)
    if data[:4] == ZIP_START:
        config, found, state, metadata = _parse_checkpoint(data, name)
    else:
        config, found, state, metadata = _parse_safetensors(data, name)
    # Nothing of the configuration's sizes is made before the file is known to hold that much.
    check_storage(state, count_elements(config), len(data), name)
    _check_charset(found, config, name, charset)
    with torch.random.fork_rng(devices=[]):  # building a model draws numbers
        model = Model(config)
    check_state(state, model.state_dict(), name)
    check_finite(state, name)
    model.load_state_dict(state)
    model.eval().requires_grad_(False)
    weights = Weights(config, found, model, metadata, str(file), sha256)
    weights.calibration()
    return weights


def _parse_safetensors(
    data: bytes, name: str
) -> tuple[ModelConfig, str, dict[str, Tensor], dict[str, str]]:
    keys = ("charset", "normalizer_version", "height", "config")
    state, metadata = parse_safetensors(data, name, FORMAT, FORMAT_VERSION, keys)
    config = _parse_config(from_json(metadata["config"], f"{name}: its configuration"), name)
    if metadata["height"] != str(config.height):
        raise WeightsError(
            f"{name}: damaged: height {shown(metadata['height'])} in the metadata, "
            f"{config.height} in the configuration"
        )
    _check_normalizer(metadata["normalizer_version"], name)
    return config, metadata["charset"], state, metadata


def _parse_checkpoint(
    data: bytes, name: str
) -> tuple[ModelConfig, str, dict[str, Tensor], dict[str, str]]:
    """A checkpoint of the trainer: its averaged weights if it has them."""
    try:
        checkpoint = read_archive(data)
    except ArchiveError as error:
        raise WeightsError(
            f"{name}: is no khmer_fast checkpoint that can be read: {error}; export it as "
            "safetensors, or save it again"
        ) from error
    state = None
    if isinstance(checkpoint, dict):
        state = checkpoint.get("average")
        state = checkpoint.get("model") if state is None else state
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in state.items()
    ):
        raise WeightsError(
            f"{name}: is no khmer_fast checkpoint: expected a dict with config, charset and model"
        )
    charset = checkpoint.get("charset", DEFAULT_CHARSET)
    if not isinstance(charset, str):
        raise WeightsError(f"{name}: the charset must be text, got {type(charset).__name__}")
    config = checkpoint.get("config")
    if isinstance(config, str) and config in CONFIGURATIONS:
        config = make_config(config, len(charset) + 3)
    else:
        if isinstance(config, str):
            config = from_json(config, f"{name}: its configuration")
        config = _parse_config(config, name)
    _check_normalizer(checkpoint.get("normalizer_version", NORMALIZER_VERSION), name)
    return config, charset, dict(state), {}


def _parse_config(fields: Any, name: str) -> ModelConfig:
    """The configuration of a table of plain values, whatever a stranger may have put there."""
    try:
        stages = tuple(Stage(**stage) for stage in dict(fields)["stages"])
        config = ModelConfig(**{**fields, "stages": stages})
    except (TypeError, ValueError, LookupError) as error:
        raise WeightsError(
            f"{name}: its configuration cannot be read: {printable(error, SHOWN)}"
        ) from error
    numbers = [v for k, v in vars(config).items() if k not in ("name", "stages")]
    numbers += [v for stage in stages for k, v in vars(stage).items() if k != "blocks"]
    blocks = [stage.blocks for stage in stages]
    if (
        type(config.name) is not str
        or not 1 <= len(stages) <= 64
        or not all(type(n) is int and 1 <= n <= MAX_SIZE for n in numbers)
        or not all(type(n) is int and 0 <= n <= 64 for n in blocks)
    ):
        raise WeightsError(
            f"{name}: its configuration has impossible sizes: expected 1 to 64 stages of 0 to 64 "
            f"blocks, and whole numbers from 1 to {MAX_SIZE}"
        )
    return config


def _parse_calibration(text: str, name: str) -> dict[str, tuple[float, float]]:
    found = from_json(text, f"{name}: damaged: its calibration")
    pairs = {"character": (1.0, 0.0), "line": (1.0, 0.0)}
    try:
        for kind, (slope, offset) in found.items():
            pairs[kind] = float(slope), float(offset)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"{name}: damaged: its calibration must hold pairs of numbers "
            f"({printable(error, SHOWN)})"
        ) from error
    if not all(math.isfinite(number) for pair in pairs.values() for number in pair):
        raise WeightsError(f"{name}: damaged: its calibration has numbers that are not finite")
    return pairs


def count_elements(config: ModelConfig) -> int:
    """Numbers that a model of this configuration holds, from its sizes alone."""
    channels, rows, total = 1, config.height, 0
    for stage in config.stages:
        C = stage.channels
        total += C * (9 * channels + 2) + stage.blocks * 2 * C * (9 * C + 2)
        channels, rows = C, -(-rows // stage.stride_y)
    V, D, E, A, H, N = config.V, config.D, config.E, config.A, config.H, config.encoder_hidden
    total += config.features * (channels * rows + 1) + 2 * config.features  # projection, norm
    total += 2 * 3 * N * (config.features + N + 2)  # the encoder's GRU, both directions
    total += V * D + A * (E + 1) + H * (E + 1) + A * H + A  # embedding, W_k, W_init, W_q, v
    total += 3 * H * (D + E + H + 2) + V * (H + E + 1)  # the decoder's GRU, W_o
    return total + V * (E + 1)  # the CTC head


def _check_normalizer(version: Any, name: str) -> None:
    if type(version) is not str or version != NORMALIZER_VERSION:
        raise WeightsError(
            f"{name}: trained on text of normaliser version {shown(version)}, this khmer_fast has "
            f"{NORMALIZER_VERSION!r}; use the release that made these weights or train again"
        )


def _check_charset(found: str, config: ModelConfig, name: str, expected: str) -> None:
    if len(found) + FIRST_CHARACTER != config.V:
        raise WeightsError(
            f"{name}: charset and sizes disagree: {len(found):,} characters and 3 special tokens "
            f"need V = {len(found) + FIRST_CHARACTER:,}, the configuration has V = {config.V}"
        )
    try:
        Vocabulary(found)
    except KhmerFastError as error:
        raise WeightsError(f"{name}: its charset is damaged: {error}") from error
    if not found.startswith(expected):
        at = next(
            (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), None
        )
        if at is None:
            what = f"it ends after {len(found)} of {len(expected)} characters"
        else:
            got, wanted = describe_character(found[at]), describe_character(expected[at])
            what = f"character {at} is {got}, expected {wanted}"
        raise WeightsError(
            f"{name}: the weights' charset is not this khmer_fast's ({what}); "
            "use the release that made these weights, or train with this one"
        )
