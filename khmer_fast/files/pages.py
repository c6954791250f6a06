"""Files of pages in: images of one or many frames, PDFs, standard input; grey pages out."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from khmer_fast.errors import FileError, printable
from khmer_fast.files.file_page import ALL_PAGES, FilePage, PageRanges
from khmer_fast.files.frames import bounded, frame_count, frame_pages
from khmer_fast.files.images import load_grey
from khmer_fast.files.pdf import pdf_page_count, pdf_pages

__all__ = [
    "ALL_PAGES",
    "STDIN",
    "SUFFIXES",
    "FilePage",
    "PageRanges",
    "count_pages",
    "find_files",
    "open_pages",
    "read_stdin",
]

STDIN = "-"
SUFFIXES = frozenset(
    ".pdf .png .jpg .jpeg .jpe .jfif .tif .tiff .bmp .dib .gif .webp .ppm .pgm .pbm .pnm".split()
)
MAX_STREAM_BYTES = 256 * 2**20  # of standard input


def open_pages(
    source: Any,
    pages: PageRanges | str | None = None,
    password: str | None = None,
    text_layer: bool = True,
    name: str | None = None,
) -> Iterator[FilePage]:
    """The pages of a file, made one at a time as they are asked for.

    `source` is a path, the bytes of a file, `-` for standard input, or a PIL image or an array as
    `files.images.load_grey` takes it, which is one page; `pages` are those to show
    (all by default), `password` opens an encrypted PDF, `text_layer` asks for a PDF's text.
    Raises FileError (from the first step on) for a file that shows no page; a page that cannot be
    shown comes as one with an `error`. `name` is what messages call the file.
    """
    ranges = PageRanges.parse(pages) if isinstance(pages, str) else pages or ALL_PAGES
    path: Path | None = None
    data = b""
    if not isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        grey, scale, notes = bounded(load_grey(source, name))
        yield FilePage(1, grey, None, (1 / scale, 0, 0, 1 / scale, 0, 0), notes)
        return
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, data = name or "file bytes", bytes(source)
    elif os.fspath(source) == STDIN:
        name, data = name or "standard input", read_stdin()
    else:
        path = Path(source)
        name = name or os.fspath(source)
    name = printable(name)
    start = _start_of_file(path, name) if path else data[:1024]
    if not start:
        raise FileError(f"{name}: is empty (0 bytes), expected an image or a PDF")
    file = path or data
    if b"%PDF-" in start:
        shown = pdf_pages(file, name, ranges, password, text_layer)
    elif path is not None and path.suffix.lower() == ".pdf":
        raise FileError(f"{name}: is not a PDF: it begins with {start[:24]!r}")
    else:
        shown = frame_pages(file, name, ranges)
    count = 0
    for page in shown:
        count += 1
        yield page
    if not count:
        raise FileError(f"{name}: has none of the pages {ranges}")


def count_pages(
    source: str | os.PathLike[str], password: str | None = None, name: str | None = None
) -> int:
    """How many pages a file has, without showing them. Raises FileError if it cannot be opened,
    which calls it `name` (by default its path)."""
    path, name = Path(source), printable(name or os.fspath(source))
    start = _start_of_file(path, name)
    if not start:
        raise FileError(f"{name}: is empty (0 bytes), expected an image or a PDF")
    if b"%PDF-" in start:
        return pdf_page_count(path, name, password)
    if path.suffix.lower() == ".pdf":
        raise FileError(f"{name}: is not a PDF: it begins with {start[:24]!r}")
    return frame_count(path, name)


def find_files(sources: list[str], recursive: bool = False) -> list[str]:
    """The files that `sources` name: of a folder those with a suffix of SUFFIXES, in natural order
    (page2 before page10), and of its subfolders if `recursive`.

    Files, `-`, and folders without such a file stay as they are, for `open_pages` to judge.
    """
    files = []
    for source in sources:
        found: list[str] = []
        if source != STDIN and os.path.isdir(source):
            found = sorted(_files_of_folder(source, recursive), key=_natural)
        files += found or [source]
    return files


def _files_of_folder(folder: str, recursive: bool) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.join(place, name)


def _natural(path: str) -> list[tuple[int, int | str]]:
    return [
        (0, int(part)) if part.isascii() and part.isdigit() else (1, part)
        for part in re.split("([0-9]+)", path)
        if part
    ]


def _start_of_file(path: Path, name: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise FileError(
                f"{name}: is a folder, expected a file (of a folder its images and PDFs are read, "
                "with --recursive those of its subfolders, too)"
            )
        if not stat.S_ISREG(mode):
            raise FileError(f"{name}: is no regular file; give its bytes on standard input (-)")
        with path.open("rb") as file:
            return file.read(1024)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{name}: cannot be opened: {reason}") from error


def read_stdin() -> bytes:
    """All of standard input. Raises FileError for more than MAX_STREAM_BYTES."""
    data = sys.stdin.buffer.read(MAX_STREAM_BYTES + 1)
    if len(data) > MAX_STREAM_BYTES:
        raise FileError(f"standard input: more than {MAX_STREAM_BYTES >> 20} MiB; give a file")
    return data
