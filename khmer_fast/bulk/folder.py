"""The folder of a run: run.json, the lock, results/ and the files of each format."""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from khmer_fast.atomic import replace_file
from khmer_fast.bulk.read_pages import program_version
from khmer_fast.bulk.records import clean, reason
from khmer_fast.errors import BulkError

PLACES = ("weights", "segmenter")  # where files were; their sha256 says whether they are the same


@dataclass(frozen=True)
class BulkOptions:
    """What the records depend on; a run that is resumed has the same."""

    weights: str | None = None  # a file; None: the packaged weights
    segmenter: str | None = None  # of the page network, likewise
    beam: int = 5
    dtype: str = "auto"
    text_layer: str = "auto"
    formats: tuple[str, ...] = ()


class RunFolder:
    """An output folder that this process alone writes to, from `with` to its end.

    Raises BulkError if another run holds it, or if it was begun with other options, another version
    or other weights.
    """

    def __init__(
        self, path: Path, options: BulkOptions, weights_sha256: str, segmenter_sha256: str = ""
    ):  # fmt: skip
        self.path = path
        self.results = path / "results"
        self._described = {
            "version": program_version(),
            "weights_sha256": weights_sha256,
            "segmenter_sha256": segmenter_sha256,
            "options": json.loads(json.dumps(asdict(options))),
        }

    def __enter__(self) -> RunFolder:
        try:
            self.results.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / "run.lock", "a+", encoding="utf-8")
        except OSError as error:
            raise BulkError(
                f"{self.path}: cannot be written to: {error.strerror}; give another --out"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise BulkError(
                f"{self.path}: another khmer-fast bulk is writing to this folder; wait for it to "
                "end, or give another --out"
            ) from error
        try:
            self._check_or_write()
            clean(self.results)
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _check_or_write(self) -> None:
        file = self.path / "run.json"
        try:
            begun = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            if any(self.results.glob("*.parquet")):
                raise BulkError(
                    f"{self.path}: has results and no run.json that says how they were made; move "
                    "them away, or give another --out"
                ) from None
            try:
                replace_file(file, (json.dumps(self._described, indent=1) + "\n").encode())
            except OSError as error:
                raise BulkError(f"{file}: cannot be written: {reason(error)}") from error
            return
        except (ValueError, OSError) as error:
            raise BulkError(f"{file}: is damaged ({error}); move the folder away") from error
        changed = _differences(begun, self._described)
        if changed:
            raise BulkError(
                f"{self.path}: was begun with {'; '.join(changed)}. To go on, use what it was "
                "begun with; to start again, give another --out or remove the folder"
            )


def _differences(begun: Any, now: dict[str, Any]) -> list[str]:
    if not isinstance(begun, dict) or not isinstance(begun.get("options"), dict):
        return ["a run.json of another program"]
    old = {**begun["options"], **{k: v for k, v in begun.items() if k != "options"}}
    new = {**now["options"], **{k: v for k, v in now.items() if k != "options"}}
    return [
        f"{key.replace('_', ' ')} {old.get(key)!r} (now {value!r})"
        for key, value in new.items()
        if old.get(key) != value and key not in PLACES
    ]
