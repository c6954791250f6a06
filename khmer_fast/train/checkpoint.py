"""One checkpoint: its name, what it may hold, and whether a file on the disk can be trusted."""

from __future__ import annotations

import hashlib
import io
import math
import re
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from khmer_fast.archive import ArchiveError, read_archive
from khmer_fast.errors import KhmerFastError
from khmer_fast.train.manifest import Entry, Position

_NAME = re.compile(r"checkpoint_epoch_(\d{1,9})(?:_step_(\d{1,12}))?\.pth")
_STAMP = "checkpoint"  # key of the state under which a file knows its run and its moment


class CheckpointError(KhmerFastError):
    """A checkpoint cannot be written or read."""


@dataclass(frozen=True)
class Stamp:
    """Which run a checkpoint is of, and which moment of it."""

    run: str
    epoch: int
    step: int | None  # None: the epoch was complete


class Unverified(Exception):
    """Why a checkpoint cannot be trusted."""


def checkpoint_name(epoch: int, step: int | None = None) -> str:
    """Name of the checkpoint at the end of `epoch`, or at `step` while `epoch` is under way."""
    return f"checkpoint_epoch_{epoch:03d}" + ("" if step is None else f"_step_{step:06d}") + ".pth"


def checkpoint_position(name: str) -> Position | None:
    """(epoch, step) of a checkpoint's file name, step infinite at an epoch's end; else None."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return int(match[1]), math.inf if match[2] is None else int(match[2])


def position_of(path: Path) -> Position:
    """(epoch, step) of a file that has a checkpoint's name; ValueError for another."""
    position = checkpoint_position(path.name)
    if position is None:
        raise ValueError(f"expected a checkpoint's name, got {path.name}")
    return position


def plain_position(position: Position) -> tuple[int, int | None]:
    """A position with None where the step is infinite."""
    epoch, step = position
    return epoch, None if step == math.inf else int(step)


def surplus(checkpoints: list[Path], keep: int) -> list[Path]:
    """Of checkpoints by age, newest first, those that go.

    The newest `keep` epochs and the newest `keep` steps stay, but no step before all kept epochs.
    """
    ends = [path for path in checkpoints if position_of(path)[1] == math.inf]
    steps = [path for path in checkpoints if path not in ends]
    kept_ends, kept_steps = ends[:keep], steps[:keep]
    if len(ends) > len(kept_ends):
        oldest = position_of(kept_ends[-1])
        kept_steps = [path for path in kept_steps if position_of(path) > oldest]
    return [path for path in checkpoints if path not in kept_ends + kept_steps]


def to_bytes(state: dict[str, Any], stamp: Stamp) -> memoryview:
    """The file of a checkpoint."""
    buffer = io.BytesIO()
    torch.save({_STAMP: vars(stamp), **state}, buffer)
    return buffer.getbuffer()


def load_verified(path: Path, entry: Entry | None) -> tuple[dict[str, Any], Stamp | None, Entry]:
    """State of a checkpoint, its stamp (None: of an older version), and what its file holds.

    Without an entry of the manifest the archive's own sums decide. Raises Unverified.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Unverified("is missing: its save was cut short, or it was deleted") from None
    except OSError as error:
        raise Unverified(f"cannot be read: {error.strerror}") from None
    size, sha256 = len(content), hashlib.sha256(content).hexdigest()
    mismatch = _broken_part(content) if entry is None else entry.mismatch(size, sha256)
    if mismatch is not None:
        raise Unverified(mismatch)
    try:
        state = read_archive(content)
    except ArchiveError as error:
        raise Unverified(str(error)) from error
    if not isinstance(state, dict):
        raise Unverified(f"holds a {type(state).__name__}, expected a dict")
    stamp = _read_stamp(state.pop(_STAMP, None))
    position = checkpoint_position(path.name)
    if position is not None:  # its name goes before what it says of itself
        epoch, step = plain_position(position)
    else:
        epoch, step = (0, 0) if stamp is None else (stamp.epoch, stamp.step)
    return state, stamp, Entry(size, sha256, epoch, step)


def _broken_part(content: bytes) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            broken = archive.testzip()
    except Exception as error:  # zipfile stumbles in many ways over what is no zip
        return f"not in the manifest, and not a whole file: {error}"
    return None if broken is None else f"not in the manifest, and its part {broken} is damaged"


def _read_stamp(found: Any) -> Stamp | None:
    if not isinstance(found, dict) or found.keys() != {"run", "epoch", "step"}:
        return None
    if type(found["run"]) is not str or type(found["epoch"]) is not int:
        return None
    return Stamp(**found) if type(found["step"]) in (int, type(None)) else None


def copied(value: Any) -> Any:
    """The same with tensors of its own, so that training can go on."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if type(value) in (dict, OrderedDict):
        return {key: copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(copied, value))
    return value


def check_plain(value: Any, where: str) -> None:
    """CheckpointError before writing what could not be read back."""
    if value is None or type(value) in (str, int, float, bool) or type(value) is torch.Tensor:
        return
    if isinstance(value, torch.nn.Parameter):
        return
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            if type(key) not in (str, int):
                raise CheckpointError(f"{where} has the key {key!r}; expected str or int")
            check_plain(item, f"{where}[{key!r}]")
        return
    if type(value) in (list, tuple):
        for index, item in enumerate(value):
            check_plain(item, f"{where}[{index}]")
        return
    raise CheckpointError(
        f"{where} is a {type(value).__module__}.{type(value).__name__}, which a checkpoint cannot "
        "hold; expected tensors, str, int, float, bool, None, and dicts, lists, tuples of them"
    )


def misfit(found: Any, expected: Any, where: str = "it") -> str | None:
    """How a loaded value differs in shape from an expected one; None if it can take its place.

    Tensors must agree in shape and dtype, dicts in their keys, numbers in their kind; where a float
    or None is expected, a whole number, a float or None will do.
    """
    if isinstance(expected, torch.Tensor):
        if not isinstance(found, torch.Tensor):
            return f"{where} is a {type(found).__name__}, expected a tensor"
        shapes = [f"{list(t.shape)} {t.dtype}".replace("torch.", "") for t in (found, expected)]
        return f"{where} is {shapes[0]}, expected {shapes[1]}" if shapes[0] != shapes[1] else None
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return f"{where} is a {type(found).__name__}, expected a dict"
        for missing in (key for key in expected if key not in found):
            return f"{where} lacks {missing!r}"
        for surplus_key in (key for key in found if key not in expected):
            return f"{where} has {str(surplus_key)[:80]!r}, which this version does not know"
        parts = ((found[k], expected[k], f"{where}[{k!r}]") for k in expected)
        return next((why for part in parts if (why := misfit(*part))), None)
    kinds = (int, float, type(None)) if type(expected) in (float, type(None)) else (type(expected),)
    if type(found) not in kinds:
        return f"{where} is a {type(found).__name__}, expected {type(expected).__name__}"
    return None
