"""The function that bulk maps: a file and some of its pages in, records out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from khmer_fast.bulk.records import DONE, FAILED, PageRecord, record_id
from khmer_fast.document import Document, Page
from khmer_fast.errors import KhmerFastError
from khmer_fast.files.file_page import PageRanges
from khmer_fast.files.pages import count_pages
from khmer_fast.formats import write
from khmer_fast.page.page_reader import PageReader

BLOCK = 1 << 20  # bytes that are hashed at a time


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file before it is read."""

    source: str  # as it was given
    sha256: str  # of its bytes; of its name where it cannot be opened
    pages: int
    error: str = ""  # why it cannot be opened

    @property
    def numbers(self) -> Sequence[int]:
        """The pages that have records: 0 alone for a file that cannot be opened."""
        return (0,) if self.error else range(1, self.pages + 1)


def file_facts(source: str, path: Path) -> FileFacts:
    """The facts of a file; a file that cannot be opened has an error in its facts."""
    digest = hashlib.sha256()
    try:
        pages = count_pages(path)  # first: it refuses what is no regular file, such as a pipe
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        return FileFacts(source, digest.hexdigest(), pages)
    except OSError as error:
        return unreadable(source, f"{source}: cannot be opened: {error.strerror or error}")
    except KhmerFastError as error:
        return unreadable(source, str(error))
    except Exception as error:  # a mistake of ours costs its file, not the run
        return unreadable(source, f"{source}: {type(error).__name__}: {error}")


def unreadable(source: str, error: str) -> FileFacts:
    """Facts of a file without pages: its id is made of its name."""
    name = source.encode("utf-8", "surrogateescape")
    return FileFacts(source, hashlib.sha256(name).hexdigest(), 0, error)


def program_version() -> str:
    """The installed version, for the records."""
    try:
        return version("khmer-fast")
    except PackageNotFoundError:
        return "source"


def read_pages(
    reader: PageReader,
    file: FileFacts,
    path: Path,
    pages: Sequence[int],
    text_layer: str = "auto",
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[PageRecord]:
    """Records of the asked pages of a file, in order; a page that fails is a record with its error.

    `path` is where the file's bytes are. Ends early, after a whole page, when `stopping()` is true.
    """
    weights = reader.reader.weights.sha256
    if file.error:
        yield failure(weights, file, 0, file.error)
        return
    left = list(pages)
    began = time.perf_counter()
    try:
        ranges = PageRanges(tuple((number, number) for number in pages))
        for page in reader.stream(path, ranges, text_layer=text_layer):
            seconds, began = time.perf_counter() - began, time.perf_counter()
            left.remove(page.number)
            if page.error:
                yield failure(weights, file, page.number, page.error, seconds)
            else:
                yield _success(weights, file, page, seconds)
            if stopping():
                return
        reason = "the file has no such page any more"
    except (KhmerFastError, OSError) as error:
        reason = str(error)
    except Exception as error:  # memory, or a mistake of ours: that page's record says so
        if len(pages) > 1:
            for number in left:
                yield from read_pages(reader, file, path, (number,), text_layer)
                if stopping():
                    return
            return
        reason = f"{type(error).__name__}: {error}"
    for number in left:
        yield failure(weights, file, number, reason, time.perf_counter() - began)


def failure(
    weights: str, file: FileFacts, page: int, error: str, seconds: float = 0.0
) -> PageRecord:
    """The record of a page, or with page 0 of a file, that could not be read."""
    return PageRecord(
        id=record_id(file.sha256, page), source=file.source, page=page, status=FAILED,
        error=error, text="", confidence=0.0, lines=0, seconds=seconds,
        version=program_version(), weights=weights, json="",
    )  # fmt: skip


def _success(weights: str, file: FileFacts, page: Page, seconds: float) -> PageRecord:
    document = Document(file.source, (page,))
    lines = [line for line in page.lines() if line.text]
    count = sum(len(line.text) for line in lines)
    certain = sum(line.confidence * len(line.text) for line in lines)
    return PageRecord(
        id=record_id(file.sha256, page.number), source=file.source, page=page.number,
        status=DONE, error="", text=write(document, "text").decode(),
        confidence=certain / count if count else 1.0, lines=len(lines), seconds=seconds,
        version=program_version(), weights=weights,
        json=write(document, "json").decode(),
    )  # fmt: skip
