"""What all weights files share: safetensors with metadata, written whole, read with suspicion."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from khmer_fast.archive import holds_its_elements
from khmer_fast.errors import WeightsError, printable

MAX_BYTES = 2 * 2**30
MAX_HEADER = 4 << 20  # bytes of a safetensors file's header; ours have about 10,000
SHOWN = 200  # characters of a stranger's words in a message
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def write_file(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Writes float16 tensors as one safetensors file, all or nothing; returns its sha256.

    Raises WeightsError for tensors that are not finite in float16 and for a path that is no file,
    and OSError where the disk does.
    """
    if path.exists() and not path.is_file():  # a device would be replaced by a file
        raise WeightsError(
            f"{printable(path)}: expected the name of a file, got a folder, a pipe or a device"
        )
    halves = {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}
    check_finite(halves, "these weights in float16")
    data = _in_order(safetensors.torch.save(halves, dict(metadata)))
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


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with its header's keys sorted: equal weights are equal bytes."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the numbers behind it stay aligned
    return len(header).to_bytes(8, "little") + header + data[start:]


def read_file(path: Path, name: str, packaged_sha256: str | None = None) -> tuple[bytes, str]:
    """The bytes of a weights file and their sha256, which for packaged weights is known."""
    packaged = packaged_sha256 is not None
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
    sha256 = hashlib.sha256(data).hexdigest()
    if packaged and sha256 != packaged_sha256:
        raise WeightsError(
            f"{name}: the packaged weights are not those of this release (sha256 differs); "
            "reinstall khmer_fast"
        )
    return data, sha256


def parse_safetensors(
    data: bytes, name: str, format: str, version: str, keys: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file of our `format` that has these metadata keys."""
    length = int.from_bytes(data[:8], "little")
    if MAX_HEADER < length <= len(data):
        raise WeightsError(
            f"{name}: its header has {length:,} bytes, no weights file's has over {MAX_HEADER:,}"
        )
    try:
        state = safetensors.torch.load(data)
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (safetensors.SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise WeightsError(
            f"{name}: is not a whole safetensors file ({printable(error, SHOWN)}); fetch or export "
            "it again"
        ) from error
    if metadata.get("format") != format:
        raise WeightsError(
            f"{name}: these are not khmer_fast weights (metadata format is "
            f"{shown(metadata.get('format'))}, expected {format!r})"
        )
    if metadata.get("format_version") != version:
        raise WeightsError(
            f"{name}: weights of format version {shown(metadata.get('format_version'))}, this "
            f"khmer_fast reads {version!r}; use the release that made them or export again"
        )
    missing = [key for key in keys if key not in metadata]
    if missing:
        raise WeightsError(f"{name}: damaged: metadata lacks {', '.join(missing)}")
    return state, metadata


def from_json(text: str, what: str) -> Any:
    """The value of a JSON text in the metadata; raises WeightsError, which begins with `what`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{what} cannot be read: {printable(error, SHOWN)}") from error


def check_storage(state: Mapping[str, Tensor], needed: int, size: int, name: str) -> None:
    """Raises WeightsError unless the tensors are dense and hold about as many numbers as
    are `needed` in the `size` bytes of their file."""
    for key, tensor in state.items():
        if not holds_its_elements(tensor):
            raise WeightsError(
                f"{name}: damaged: {printable(key, SHOWN)} claims {tensor.numel():,} numbers that "
                "it does not hold"
            )
    got = sum(tensor.numel() for tensor in state.values())
    if needed > 2 * got:  # where only a few are missing, check_state names them
        raise WeightsError(
            f"{name}: damaged: fewer numbers than its configuration needs ({got:,} of {needed:,})"
        )
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > size:
        raise WeightsError(f"{name}: damaged: its tensors claim more numbers than the file holds")


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
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


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    for key, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(
                f"{name}: {key} has numbers that are not finite; use an earlier checkpoint"
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(printable(name, SHOWN) for name in names[:3]) or "none"
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def shown(value: Any) -> str:
    """A stranger's value in a message: text in quotes and short, of anything else its kind."""
    return f"'{printable(value, SHOWN)}'" if type(value) is str else type(value).__name__
