"""manifest.json of a run folder: which run it is, and what each of its model files must hold.

A file is announced before it is renamed into place. Until the manifest is written once more it
names both what a file held and what it is about to hold, so that a kill on either side of the
rename leaves a file that verifies.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from khmer_fast.atomic import WRITE_CHUNK, replace_file

Position = tuple[int, float]  # epoch, and step inside it; infinite at its end
_KEY = re.compile(r"models/[^/\x00]{1,255}")  # of a file; nothing outside the folder is named


@dataclass(frozen=True)
class Entry:
    """What a model file must hold, and which moment of the training it is from."""

    size: int  # bytes
    sha256: str
    epoch: int
    step: int | None  # None: the epoch was complete
    previous: Entry | None = None  # what stands there until the rename

    @property
    def position(self) -> Position:
        return self.epoch, math.inf if self.step is None else self.step

    def mismatch(self, size: int, sha256: str) -> str | None:
        """Why a file of this size and digest is not what was written; None if it is."""
        accepted = [self] + ([self.previous] if self.previous is not None else [])
        if any((size, sha256) == (entry.size, entry.sha256) for entry in accepted):
            return None
        if all(size != entry.size for entry in accepted):
            return f"has {size} bytes, the manifest says {self.size}"
        return "its content is not what was written (sha256 differs from the manifest)"

    def standing(self, path: Path) -> Entry:
        """Of what the file held and what was announced for it, what now stands there."""
        if self.previous is not None and self.previous.mismatch(*file_digest(path)) is None:
            return self.previous
        return self.alone()

    def alone(self) -> Entry:
        """The same without what stood there before."""
        return dataclasses.replace(self, previous=None)


@dataclass
class Manifest:
    """The run's identity, which its backup shares, and its model files by path in the folder."""

    run: str
    files: dict[str, Entry] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replaces the manifest as a whole or not at all."""
        files = {key: _to_json(entry) for key, entry in self.files.items()}
        document = {"version": 1, "run": self.run, "files": files}
        replace_file(path, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())


def new_run_id() -> str:
    """An identity that no other run has."""
    return uuid.uuid4().hex


def read_manifest(path: Path) -> Manifest | None:
    """The manifest, None if it is missing or damaged in any way."""
    try:
        document = json.loads(path.read_text("utf-8"))
        files = {_key(key): _from_json(entry) for key, entry in document["files"].items()}
        return Manifest(_typed(document["run"], str), files)
    except (FileNotFoundError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def file_digest(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(WRITE_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def _to_json(entry: Entry) -> dict[str, Any]:
    document = {key: value for key, value in vars(entry).items() if key != "previous"}
    if entry.previous is not None:
        document["previous"] = _to_json(entry.previous)
    return document


def _from_json(entry: dict[str, Any]) -> Entry:
    previous, step = entry.get("previous"), entry["step"]
    return Entry(
        _typed(entry["size"], int),
        _typed(entry["sha256"], str),
        _typed(entry["epoch"], int),
        None if step is None else _typed(step, int),
        None if previous is None else _from_json(previous),
    )


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"no model file: {key!r}")
    return key
