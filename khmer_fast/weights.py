"""Weights files: safetensors that carry the charset, normaliser version, height and configuration.

What is trained is what is read, because both sides check these against the code and each other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from khmer_fast.errors import KhmerFastError, WeightsError
from khmer_fast.text import DEFAULT_CHARSET, NORMALIZER_VERSION, Vocabulary, describe_character
from python_ref.config import CONFIGURATIONS, ModelConfig, Stage, make_config
from python_ref.model import Model

FORMAT = "khmer_fast"
FORMAT_VERSION = "1"
PACKAGED = Path(__file__).parent / "data_files" / "small.safetensors"
# of PACKAGED; scripts/package_weights.py pins it with each new default model
PACKAGED_SHA256 = "31a47125536fb551e69338d726dab7881b1d0724c947a421e859e71cee19be9f"
MAX_BYTES = 2 * 2**30
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
        pairs = {"character": (1, 0), "line": (1, 0)}
        pairs.update(json.loads(self.metadata.get("calibration", "{}")))
        return {key: (float(slope), float(offset)) for key, (slope, offset) in pairs.items()}


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
    _check_state(state, Model(config).state_dict(), "these weights")
    halves = {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}
    _check_finite(halves, "these weights in float16")
    metadata = {
        **(extra or {}),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "charset": charset,
        "normalizer_version": NORMALIZER_VERSION,
        "height": str(config.height),
        "config": json.dumps(dataclasses.asdict(config)),
    }
    data = safetensors.torch.save(halves, metadata)
    path = Path(path)
    file, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return hashlib.sha256(data).hexdigest()


def load_weights(
    path: str | os.PathLike[str] | None = None, charset: str = DEFAULT_CHARSET
) -> Weights:
    """Reads a weights file, or a trainer's checkpoint (.pth); without a path, the packaged weights.

    `charset` is what the caller expects; weights may extend it at its end. Raises WeightsError for
    a file that is missing, damaged, foreign, or made for another charset or normaliser.
    """
    packaged = path is None
    path = PACKAGED if packaged else Path(path)
    data = _read(path, packaged)
    sha256 = hashlib.sha256(data).hexdigest()
    if packaged and sha256 != PACKAGED_SHA256:
        raise WeightsError(
            f"{path}: the packaged weights are not those of this release (sha256 differs); "
            "reinstall khmer_fast"
        )
    if data[:4] == b"PK\x03\x04":
        config, found, state, metadata = _parse_checkpoint(path)
    else:
        config, found, state, metadata = _parse_safetensors(data, path)
    _check_charset(found, config, str(path), charset)
    if _least_elements(config) > sum(tensor.numel() for tensor in state.values()):
        raise WeightsError(f"{path}: damaged: fewer numbers than its configuration needs")
    with torch.random.fork_rng(devices=[]):  # building a model draws numbers
        model = Model(config)
    _check_state(state, model.state_dict(), str(path))
    _check_finite(state, str(path))
    model.load_state_dict(state)
    model.eval().requires_grad_(False)
    weights = Weights(config, found, model, metadata, str(path), sha256)
    try:
        weights.calibration()
    except (ValueError, TypeError, LookupError) as error:
        raise WeightsError(f"{path}: damaged calibration in the metadata: {error}") from error
    return weights


def _read(path: Path, packaged: bool) -> bytes:
    try:
        if path.is_dir():
            raise WeightsError(f"{path}: is a folder, expected a weights file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise WeightsError(f"{path}: {size:,} bytes, no weights file has over {MAX_BYTES:,}")
        data = path.read_bytes()
    except FileNotFoundError as error:
        remedy = (
            "reinstall khmer_fast, or give weights of your own" if packaged else "check the path"
        )
        raise WeightsError(f"{path}: there is no such weights file; {remedy}") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not data:
        raise WeightsError(f"{path}: is empty, expected a weights file")
    return data


def _parse_safetensors(
    data: bytes, path: Path
) -> tuple[ModelConfig, str, dict[str, Tensor], dict[str, str]]:
    try:
        state = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: is not a whole safetensors file ({error}); fetch or export it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: these are not khmer_fast weights (metadata format is "
            f"{metadata.get('format')!r}, expected {FORMAT!r})"
        )
    if metadata.get("format_version") != FORMAT_VERSION:
        raise WeightsError(
            f"{path}: weights of format version {metadata.get('format_version')!r}, this "
            f"khmer_fast reads {FORMAT_VERSION!r}; use the release that made them or export again"
        )
    missing = [
        k for k in ("charset", "normalizer_version", "height", "config") if k not in metadata
    ]
    if missing:
        raise WeightsError(f"{path}: damaged: metadata lacks {', '.join(missing)}")
    config = _parse_config(metadata["config"], path)
    if metadata["height"] != str(config.height):
        raise WeightsError(
            f"{path}: damaged: height {metadata['height']} in the metadata, "
            f"{config.height} in the configuration"
        )
    _check_normalizer(metadata["normalizer_version"], path)
    return config, metadata["charset"], state, metadata


def _parse_checkpoint(path: Path) -> tuple[ModelConfig, str, dict[str, Tensor], dict[str, str]]:
    """A checkpoint of the trainer: its averaged weights if it has them."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its message advises to load it all the same
        raise WeightsError(
            f"{path}: is no khmer_fast checkpoint: it holds objects that are neither tensors nor "
            "plain values, and loading those can run a stranger's code; export it as safetensors"
        ) from error
    except Exception as error:  # torch raises whatever it stumbles over
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: is not a checkpoint that can be read: {first}") from error
    state = None
    if isinstance(checkpoint, dict):
        state = checkpoint.get("average") or checkpoint.get("model")
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise WeightsError(
            f"{path}: is no khmer_fast checkpoint: expected a dict with config, charset and model"
        )
    charset = checkpoint.get("charset", DEFAULT_CHARSET)
    if not isinstance(charset, str):
        raise WeightsError(f"{path}: the charset must be text, got {type(charset).__name__}")
    config = checkpoint.get("config")
    if isinstance(config, str) and config in CONFIGURATIONS:
        config = make_config(config, len(charset) + 3)
    else:
        config = _parse_config(config if isinstance(config, str) else json.dumps(config), path)
    _check_normalizer(checkpoint.get("normalizer_version", NORMALIZER_VERSION), path)
    return config, charset, state, {}


def _parse_config(text: str, path: Path) -> ModelConfig:
    try:
        fields = json.loads(text)
        stages = tuple(Stage(**stage) for stage in fields.pop("stages"))
        config = ModelConfig(stages=stages, **fields)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise WeightsError(f"{path}: its configuration cannot be read: {error}") from error
    numbers = [v for k, v in vars(config).items() if k not in ("name", "stages")]
    numbers += [v for stage in stages for k, v in vars(stage).items() if k != "blocks"]
    blocks = [stage.blocks for stage in stages]
    if (
        not stages
        or len(stages) > 64
        or not all(type(n) is int and 1 <= n <= MAX_SIZE for n in numbers)
        or not all(type(n) is int and 0 <= n <= 64 for n in blocks)
    ):
        raise WeightsError(f"{path}: its configuration has impossible sizes: {text}")
    return config


def _least_elements(config: ModelConfig) -> int:
    """Numbers that the largest tensors hold, so that no hostile sizes are allocated."""
    channels = [1, *(stage.channels for stage in config.stages)]
    convolutions = sum(9 * i * o for i, o in zip(channels, channels[1:], strict=False))
    blocks = sum(18 * stage.blocks * stage.channels**2 for stage in config.stages)
    encoder = 6 * config.encoder_hidden * (config.features + config.encoder_hidden)
    decoder = 3 * config.H * (config.D + config.E + config.H) + config.V * (config.H + config.E)
    return convolutions + blocks + encoder + decoder + config.A * (config.H + config.E)


def _check_normalizer(version: Any, path: Path) -> None:
    if version != NORMALIZER_VERSION:
        raise WeightsError(
            f"{path}: trained on text of normaliser version {version!r}, this khmer_fast has "
            f"{NORMALIZER_VERSION!r}; use the release that made these weights or train again"
        )


def _check_charset(found: str, config: ModelConfig, name: str, expected: str) -> None:
    try:
        size = Vocabulary(found).size
    except KhmerFastError as error:
        raise WeightsError(f"{name}: its charset is damaged: {error}") from error
    if size != config.V:
        raise WeightsError(
            f"{name}: charset and sizes disagree: {len(found)} characters and 3 special tokens "
            f"need V = {size}, the configuration has V = {config.V}"
        )
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


def _check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    missing = sorted(expected.keys() - state.keys())
    surplus = sorted(state.keys() - expected.keys())
    if missing or surplus:
        raise WeightsError(
            f"{name}: its tensors are not those of its configuration: "
            f"missing {_some(missing)}, unexpected {_some(surplus)}"
        )
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape:
            raise WeightsError(
                f"{name}: {key} must have shape {list(tensor.shape)}, got {list(state[key].shape)}"
            )
        if not state[key].dtype.is_floating_point:
            raise WeightsError(f"{name}: {key} must be of a float dtype, got {state[key].dtype}")


def _check_finite(state: Mapping[str, Tensor], name: str) -> None:
    for key, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(
                f"{name}: {key} has numbers that are not finite; use an earlier checkpoint"
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "none"
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
