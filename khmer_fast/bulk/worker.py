"""What a worker does with a task, in a process of this machine or an actor of Ray's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from khmer_fast.bulk.folder import BulkOptions
from khmer_fast.bulk.plan import Outcome, Task
from khmer_fast.bulk.read_pages import FileFacts, failure, file_facts, read_pages, unreadable
from khmer_fast.bulk.records import (
    FAILED,
    PageRecord,
    is_full_disk,
    part_name,
    part_prefix,
    parts,
    read_columns,
    read_rows,
    reason,
    write_part,
)
from khmer_fast.bulk.sources import local_copy
from khmer_fast.document import Document, Page
from khmer_fast.errors import BulkError, KhmerFastError
from khmer_fast.formats import FORMATS, PdfOptions, page_path, save
from khmer_fast.formats.json import read as read_json
from khmer_fast.page.page_reader import PageReader


class Worker:
    """Holds a reader on one thread, and writes what it reads as parts of `results`."""

    def __init__(self, options: BulkOptions, results: Path):
        self.results = results
        self.reader = PageReader(
            weights=options.weights, segmenter=options.segmenter, beam=options.beam,
            dtype=options.dtype, threads=1,
        )  # fmt: skip
        self.text_layer = options.text_layer

    def read(self, task: Task, stopping: Callable[[], bool] = lambda: False) -> Outcome:
        """Reads a task's pages and writes their part. Raises BulkError if the disk refuses it."""
        if stopping():
            return Outcome((), 0, 0)
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = Path() if task.file.error else local_copy(task.file.source, Path(folder))
            except OSError as error:
                return give_up(
                    task, _not_fetched(task.file.source, error), self.results,
                    self.reader.reader.weights.sha256,
                )  # fmt: skip
            found = read_pages(self.reader, task.file, path, task.pages, self.text_layer, stopping)
            return _write(self.results, task, list(found))


def facts_of(source: str) -> FileFacts:
    """The facts of a file, fetched first if it is a URL. Needs no reader."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = local_copy(source, Path(folder))
        except OSError as error:
            return unreadable(source, _not_fetched(source, error))
        return file_facts(source, path)


def give_up(task: Task, why: str, results: Path, weights: str) -> Outcome:
    """Writes a task's pages as failed; `weights` is the reader's sha256."""
    return _write(results, task, [failure(weights, task.file, page, why) for page in task.pages])


def written(results: Path, task: Task) -> Outcome | None:
    """What became of a task whose worker died after it had written the part; None: nothing."""
    path = results / part_name(task.file.sha256, task.pages[0], task.pages[-1])
    if not path.exists():
        return None
    pages, status, lines = zip(*read_columns([path], ("page", "status", "lines")), strict=True)
    found = tuple(n for batch in pages for n in batch)
    failed = sum(batch.count(FAILED) for batch in status)
    return Outcome(found, failed, sum(map(sum, lines))) if found == task.pages else None


def _write(results: Path, task: Task, records: list[PageRecord]) -> Outcome:
    write_part(results, task.file.sha256, records)
    return Outcome(
        tuple(record.page for record in records),
        sum(record.status == FAILED for record in records),
        sum(record.lines for record in records),
    )


def _not_fetched(source: str, error: Exception) -> str:
    """Why a file could not be fetched. Raises BulkError where this machine's disk is full."""
    if isinstance(error, OSError) and is_full_disk(error):
        raise BulkError(
            f"{source}: no room for a copy in {tempfile.gettempdir()}: {reason(error)}; make room "
            "or set TMPDIR, and give the same command again"
        ) from error
    return f"{source}: cannot be fetched: {error}"


def write_formats(
    results: Path, formats: tuple[str, ...], file: FileFacts, stem: Path, missing_only: bool
) -> str:
    """Writes a whole file's pages in each format as `stem` + suffix; why it could not, or ''.

    With `missing_only`, what is there already is from an earlier run and stays.
    """
    wanted = [name for name in formats if not (missing_only and _is_there(stem, name, file.pages))]
    if not wanted:
        return ""
    start = part_prefix(file.sha256)
    mine = [path for path in parts(results) if path.name.startswith((start, "merged-"))]
    pages: list[Page] = []
    for row in read_rows(mine, ("page", "json")):
        if row["id"].startswith(file.sha256) and row["json"]:
            pages += read_json(row["json"]).pages
    document = Document(file.source, tuple(sorted(pages, key=lambda page: page.number)))
    try:
        with tempfile.TemporaryDirectory() as folder:
            original = local_copy(file.source, Path(folder)) if "pdf" in wanted else None
            stem.parent.mkdir(parents=True, exist_ok=True)
            for name in wanted:
                target = stem.with_name(stem.name + FORMATS[name].suffix)
                save(document, target, name, pdf=PdfOptions(original))
    except (KhmerFastError, OSError) as error:
        return f"{file.source}: {error}"
    return ""


def _is_there(stem: Path, name: str, pages: int) -> bool:
    format = FORMATS[name]
    path = stem.with_name(stem.name + format.suffix)
    return path.exists() or (format.page_a_file and page_path(path, format, pages).exists())
