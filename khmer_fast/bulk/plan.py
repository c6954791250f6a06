"""What is to be done: tasks of some pages of one file, less what the results hold already."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from khmer_fast.bulk.read_pages import FileFacts
from khmer_fast.bulk.records import FAILED, parts, read_columns, record_id

STRIKES = 2  # deaths of a worker under a task, after which the task runs alone
DIED = "the process that read it died, also when it read nothing else (out of memory, a crash)"


@dataclass(frozen=True)
class Task:
    """Some pages of a file, in one go; page 0 alone for a file that cannot be opened."""

    file: FileFacts
    pages: tuple[int, ...]

    def halves(self) -> tuple[Task, Task]:
        """The task as two."""
        middle = len(self.pages) // 2
        return replace(self, pages=self.pages[:middle]), replace(self, pages=self.pages[middle:])


@dataclass(frozen=True)
class Planned:
    """A file was looked at: how many of its pages this run has to read."""

    file: FileFacts
    missing: int


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    pages: tuple[int, ...]
    failed: int
    lines: int


@dataclass
class Ledger:
    """The pages that the results hold, and the files that this run has planned."""

    done: set[bytes] = field(default_factory=set)  # keys of record ids
    failed: int = 0
    _planned: set[bytes] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """The ledger of a results folder."""
        ledger = cls()
        for ids, status in read_columns(parts(folder), ("id", "status")):
            ledger.done.update(map(_key, ids))
            ledger.failed += status.count(FAILED)
        return ledger

    def plan(self, file: FileFacts, pages_per_task: int) -> list[Task]:
        """The tasks that a file still needs: none for the bytes of a file that was planned."""
        planned = bytes.fromhex(file.sha256)
        if planned in self._planned:
            return []
        self._planned.add(planned)
        missing = [n for n in file.numbers if _key(record_id(file.sha256, n)) not in self.done]
        starts = range(0, len(missing), pages_per_task)
        return [Task(file, tuple(missing[at : at + pages_per_task])) for at in starts]


def _key(id: str) -> bytes:
    """A record's id in 20 bytes, for millions of them in memory."""
    sha256, _, page = id.partition(":")
    return bytes.fromhex(sha256)[:16] + int(page).to_bytes(4, "big")


class Sources:
    """The names of files, counted and kept in a temporary file: memory does not grow with them."""

    def __init__(self, names: Iterable[str]):
        self._file = tempfile.TemporaryFile()
        self.count = 0
        for name in names:
            self._file.write(os.fsencode(name.replace("\0", "\\0")) + b"\0")
            self.count += 1

    def __iter__(self) -> Iterator[str]:
        self._file.seek(0)
        rest = b""
        while block := self._file.read(1 << 16):
            *names, rest = (rest + block).split(b"\0")
            yield from map(os.fsdecode, names)
