"""What is to be done: tasks of some pages of one file, less what the results hold already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from khmer_fast.bulk.read_pages import FileFacts
from khmer_fast.bulk.records import FAILED, parts, read_rows, record_id


@dataclass(frozen=True)
class Task:
    """Pages `first` to `last` of a file, in one go; both 0 for a file that cannot be opened."""

    file: FileFacts
    pages: tuple[int, ...]

    @property
    def first(self) -> int:
        return self.pages[0]

    @property
    def last(self) -> int:
        return self.pages[-1]


@dataclass
class Ledger:
    """The ids that the results hold."""

    done: set[str] = field(default_factory=set)
    failed: int = 0

    @classmethod
    def read(cls, folder: Path, retry_failed: bool = False) -> Ledger:
        """The ledger of a results folder; with `retry_failed`, failed pages are not in it."""
        ledger = cls()
        for row in read_rows(parts(folder), ("status",)):
            if row["status"] == FAILED:
                if retry_failed:
                    continue
                ledger.failed += 1
            ledger.done.add(row["id"])
        return ledger

    def tasks(self, file: FileFacts, pages_per_task: int) -> Iterator[Task]:
        """The tasks that a file still needs."""
        numbers = range(1, file.pages + 1) if not file.error else (0,)
        missing = [n for n in numbers if record_id(file.sha256, n) not in self.done]
        for at in range(0, len(missing), pages_per_task):
            yield Task(file, tuple(missing[at : at + pages_per_task]))

    def is_complete(self, file: FileFacts) -> bool:
        """Whether every page of a file has its record."""
        numbers = range(1, file.pages + 1) if not file.error else (0,)
        return all(record_id(file.sha256, n) in self.done for n in numbers)
