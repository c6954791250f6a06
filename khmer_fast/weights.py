"""Weights files: safetensors that carry the charset, normaliser version, height and configuration.

What is trained is what is read, because both sides check these against the code and each other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from khmer_fast.archive import ZIP_START, ArchiveError, holds_its_elements, read_archive
from khmer_fast.errors import KhmerFastError, WeightsError, printable
from khmer_fast.text import (
    DEFAULT_CHARSET,
    FIRST_CHARACTER,
    NORMALIZER_VERSION,
    Vocabulary,
    describe_character,
)
from python_ref.config import CONFIGURATIONS, ModelConfig, Stage, make_config
from python_ref.model import Model

FORMAT = "khmer_fast"
FORMAT_VERSION = "1"
PACKAGED = Path(__file__).parent / "data_files" / "small.safetensors"
# of PACKAGED; scripts/package_weights.py pins it with each new default model
PACKAGED_SHA256 = "31a47125536fb551e69338d726dab7881b1d0724c947a421e859e71cee19be9f"
MAX_BYTES = 2 * 2**30
MAX_SIZE = 8192  # of any dimension in a configuration
MAX_HEADER = 4 << 20  # bytes of a safetensors file's header; ours have about 10,000
SHOWN = 200  # characters of a stranger's words in a message
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


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
    data = _in_order(safetensors.torch.save(halves, metadata))
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
    name = printable(path)
    data = _read(path, name, packaged)
    sha256 = hashlib.sha256(data).hexdigest()
    if packaged and sha256 != PACKAGED_SHA256:
        raise WeightsError(
            f"{name}: the packaged weights are not those of this release (sha256 differs); "
            "reinstall khmer_fast"
        )
    if data[:4] == ZIP_START:
        config, found, state, metadata = _parse_checkpoint(data, name)
    else:
        config, found, state, metadata = _parse_safetensors(data, name)
    # Nothing of the configuration's sizes is made before the file is known to hold that much.
    _check_storage(state, config, len(data), name)
    _check_charset(found, config, name, charset)
    with torch.random.fork_rng(devices=[]):  # building a model draws numbers
        model = Model(config)
    _check_state(state, model.state_dict(), name)
    _check_finite(state, name)
    model.load_state_dict(state)
    model.eval().requires_grad_(False)
    weights = Weights(config, found, model, metadata, str(path), sha256)
    weights.calibration()
    return weights


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with its header's keys sorted: equal weights are equal bytes."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the numbers behind it stay aligned
    return len(header).to_bytes(8, "little") + header + data[start:]


def _read(path: Path, name: str, packaged: bool) -> bytes:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise WeightsError(f"{name}: is a folder, expected a weights file")
        if not stat.S_ISREG(found.st_mode):
            raise WeightsError(f"{name}: is a pipe or a device, expected a weights file")
        if found.st_size > MAX_BYTES:
            raise WeightsError(
                f"{name}: {found.st_size:,} bytes, no weights file has over {MAX_BYTES:,}"
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        remedy = (
            "reinstall khmer_fast, or give weights of your own" if packaged else "check the path"
        )
        raise WeightsError(f"{name}: there is no such weights file; {remedy}") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{name}: cannot be read: {reason}") from error
    if not data:
        raise WeightsError(f"{name}: is empty, expected a weights file")
    return data


def _parse_safetensors(
    data: bytes, name: str
) -> tuple[ModelConfig, str, dict[str, Tensor], dict[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if MAX_HEADER < length <= len(data):
        raise WeightsError(
            f"{name}: its header has {length:,} bytes, no weights file's has over {MAX_HEADER:,}"
        )
    try:
        state = safetensors.torch.load(data)
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise WeightsError(
            f"{name}: is not a whole safetensors file ({printable(error, SHOWN)}); fetch or export "
            "it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{name}: these are not khmer_fast weights (metadata format is "
            f"{_shown(metadata.get('format'))}, expected {FORMAT!r})"
        )
    if metadata.get("format_version") != FORMAT_VERSION:
        raise WeightsError(
            f"{name}: weights of format version {_shown(metadata.get('format_version'))}, this "
            f"khmer_fast reads {FORMAT_VERSION!r}; use the release that made them or export again"
        )
    missing = [
        k for k in ("charset", "normalizer_version", "height", "config") if k not in metadata
    ]
    if missing:
        raise WeightsError(f"{name}: damaged: metadata lacks {', '.join(missing)}")
    config = _parse_config(_from_json(metadata["config"], f"{name}: its configuration"), name)
    if metadata["height"] != str(config.height):
        raise WeightsError(
            f"{name}: damaged: height {_shown(metadata['height'])} in the metadata, "
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
            config = _from_json(config, f"{name}: its configuration")
        config = _parse_config(config, name)
    _check_normalizer(checkpoint.get("normalizer_version", NORMALIZER_VERSION), name)
    return config, charset, dict(state), {}


def _from_json(text: str, what: str) -> Any:
    """The value of a JSON text in the metadata; raises WeightsError, which begins with `what`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{what} cannot be read: {printable(error, SHOWN)}") from error


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
    found = _from_json(text, f"{name}: damaged: its calibration")
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
            f"{name}: trained on text of normaliser version {_shown(version)}, this khmer_fast has "
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


def _check_storage(state: Mapping[str, Tensor], config: ModelConfig, size: int, name: str) -> None:
    """Raises WeightsError unless the tensors are dense and hold about as many numbers as `config`
    needs in the `size` bytes of their file."""
    for key, tensor in state.items():
        if not holds_its_elements(tensor):
            raise WeightsError(
                f"{name}: damaged: {printable(key, SHOWN)} claims {tensor.numel():,} numbers that "
                "it does not hold"
            )
    needed = count_elements(config)
    got = sum(tensor.numel() for tensor in state.values())
    if needed > 2 * got:  # where only a few are missing, _check_state names them
        raise WeightsError(
            f"{name}: damaged: fewer numbers than its configuration needs ({got:,} of {needed:,})"
        )
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > size:
        raise WeightsError(f"{name}: damaged: its tensors claim more numbers than the file holds")


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
        if state[key].dtype not in _FLOATS:
            raise WeightsError(f"{name}: {key} must be of a float dtype, got {state[key].dtype}")


def _check_finite(state: Mapping[str, Tensor], name: str) -> None:
    for key, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(
                f"{name}: {key} has numbers that are not finite; use an earlier checkpoint"
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(printable(name, SHOWN) for name in names[:3]) or "none"
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shown(value: Any) -> str:
    """A stranger's value in a message: text in quotes and short, of anything else its kind."""
    return f"'{printable(value, SHOWN)}'" if type(value) is str else type(value).__name__
