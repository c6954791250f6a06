"""What a worker does with a task, in a process of this machine or an actor of Ray's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from khmer_fast.bulk.folder import BulkOptions
from khmer_fast.bulk.plan import Task
from khmer_fast.bulk.read_pages import FileFacts, failure, file_facts, read_pages, unreadable
from khmer_fast.bulk.records import FAILED, PageRecord, part_name, parts, read_rows, write_part
from khmer_fast.bulk.sources import is_url, local_copy
from khmer_fast.document import Document, Page
from khmer_fast.errors import KhmerFastError
from khmer_fast.formats import FORMATS, save
from khmer_fast.formats.json import read as read_json
from khmer_fast.page.page_reader import PageReader


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    ids: tuple[str, ...]
    failed: int
    lines: int


class Worker:
    """Holds a reader on one thread, and writes what it reads as parts of `results`."""

    def __init__(self, options: BulkOptions, results: Path):
        self.results = results
        self.reader = PageReader(
            weights=options.weights, segmenter=options.segmenter, beam=options.beam,
            dtype=options.dtype, threads=1,
        )  # fmt: skip
        self.text_layer = options.text_layer

    def facts(self, source: str) -> FileFacts:
        """The facts of a file, fetched first if it is a URL."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                return file_facts(source, local_copy(source, Path(folder)))
            except (OSError, ValueError, ImportError) as error:
                return unreadable(source, f"{source}: cannot be fetched: {error}")

    def read(self, task: Task, stopping: Callable[[], bool] = lambda: False) -> Outcome:
        """Reads a task's pages and writes their part. Raises BulkError if the disk refuses it."""
        with tempfile.TemporaryDirectory() as folder:
            records = self._records(task, Path(folder), stopping)
        if not records:
            return Outcome((), 0, 0)
        name = part_name(task.file.sha256, records[0].page, records[-1].page)
        write_part(self.results, name, records)
        return Outcome(
            tuple(record.id for record in records),
            sum(record.status == FAILED for record in records),
            sum(record.lines for record in records),
        )

    def _records(self, task: Task, folder: Path, stopping: Callable[[], bool]) -> list[PageRecord]:
        file = task.file
        try:
            path = Path(file.source) if not is_url(file.source) else Path()
            if not file.error:
                path = local_copy(file.source, folder)
        except (OSError, ValueError) as error:
            reason = f"{file.source}: cannot be fetched: {error}"
            return [failure(self.reader, file, page, reason, 0.0) for page in task.pages]
        return list(read_pages(self.reader, file, path, task.pages, self.text_layer, stopping))

    def give_up(self, task: Task, reason: str) -> Outcome:
        """Writes a task's pages as failed."""
        records = [failure(self.reader, task.file, page, reason, 0.0) for page in task.pages]
        write_part(self.results, part_name(task.file.sha256, task.first, task.last), records)
        return Outcome(tuple(record.id for record in records), len(records), 0)


def write_formats(results: Path, file: FileFacts, stem: Path, formats: tuple[str, ...]) -> str:
    """Writes a whole file's pages in each format as `stem` + suffix; why it could not, or ''."""
    start = part_name(file.sha256, 0, 0)[:-21]
    mine = [path for path in parts(results) if path.name.startswith((start, "merged-"))]
    pages: list[Page] = []
    for row in read_rows(mine, ("page", "json")):
        if row["id"].startswith(file.sha256) and row["json"]:
            pages += read_json(row["json"]).pages
    document = Document(file.source, tuple(sorted(pages, key=lambda page: page.number)))
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for format in formats:
            save(document, stem.with_name(stem.name + FORMATS[format].suffix), format)
    except (KhmerFastError, OSError) as error:
        return f"{file.source}: {error}"
    return ""
