"""The verb `khmer-fast read`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khmer_fast.cli import print_error
from khmer_fast.cli.reader_options import add_reader_arguments, count, open_reader
from khmer_fast.document import Page, is_line_picture
from khmer_fast.errors import KhmerFastError

if TYPE_CHECKING:
    from khmer_fast.files.file_page import FilePage
    from khmer_fast.page.find import FoundPage
    from khmer_fast.recognize.reader import Reader

Answer = tuple[str, Page | KhmerFastError]  # a file, and its next page or what is wrong with it
LAYOUTS = ("auto", "page", "line")
PAGE_END = "\f"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="picture of a page or of a line")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="auto",
        help="auto: what the picture shows; page: look for lines; line: it is one line",
    )
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="what is written (default text)"
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    add_reader_arguments(parser)
    parser.add_argument(
        "--segmenter", metavar="FILE", help="weights that find lines (default: the packaged ones)"
    )
    parser.add_argument(
        "--n-best", type=count, default=1, metavar="N", help="answers to find, at most K"
    )
    parser.add_argument(
        "--min-confidence",
        type=_probability,
        metavar="P",
        help='mark lines that are less sure with the flag "low confidence"; none is left out',
    )
    parser.add_argument(
        "--debug-pictures",
        metavar="FOLDER",
        help="write what each step made of each page there: bands, lines, owners, order, crops",
    )
    parser.set_defaults(error=parser.error)


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in [0, 1], got {text}")
    return value


def run(args: argparse.Namespace) -> int:
    """Reads the files in their order: their text, or one JSON document.

    A file that cannot be read has an empty line in its place (in JSON its error), and is named on
    stderr; the exit code is 1 then.
    """
    if args.n_best > args.beam:
        args.error(f"--n-best {args.n_best} must be at most --beam {args.beam}")
    reader = open_reader(args, args.n_best)
    answers = _pages(reader, args)
    write = _write_json if args.json or args.format == "json" else _write_text
    return 1 if write(_progress(answers, len(args.files))) else 0


def _pages(reader: Reader, args: argparse.Namespace) -> Iterator[Answer]:
    """The pages of each file, and in its place what is wrong with a file."""
    from khmer_fast.files.pages import open_pages
    from khmer_fast.page.page_reader import PageReader
    from khmer_fast.page.segment import Segmenter

    if args.debug_pictures is not None:
        Path(args.debug_pictures).mkdir(parents=True, exist_ok=True)
    seen: list[FoundPage] = []  # what was found on the page that comes next
    page_reader = PageReader(
        segmenter=Segmenter(args.segmenter, args.backend, args.threads),
        layout=args.layout,
        min_confidence=args.min_confidence,
        reader=reader,
        on_page=lambda found, page: seen.append(found) if args.debug_pictures else None,
    )
    opened: deque[tuple[str, KhmerFastError | None]] = deque()  # a page each, or a bad file

    def images() -> Iterator[FilePage]:
        for file in args.files:
            try:
                for image in open_pages(file):
                    opened.append((file, None))
                    yield image
            except KhmerFastError as error:
                opened.append((file, error))

    def next_page() -> Iterator[Answer]:
        """Bad files before the next page."""
        while opened and opened[0][1] is not None:
            file, error = opened.popleft()
            yield file, error

    for page in page_reader.read_pages(images()):
        yield from next_page()
        file, _ = opened.popleft()
        if seen:
            _save_pictures(args.debug_pictures, file, seen.pop(), page)
        yield file, KhmerFastError(f"{file}: {page.error}") if page.error else page
    yield from next_page()


def _save_pictures(folder: str, file: str, found: FoundPage, page: Page) -> None:
    from khmer_fast.page.pictures import save_pictures

    save_pictures(folder, f"{Path(file).stem}.{page.number}", found, page)


def _progress(answers: Iterator[Answer], files: int) -> Iterator[Answer]:
    if files < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        return answers
    from tqdm import tqdm

    return tqdm(answers, unit="page")


def _write_text(answers: Iterator[Answer]) -> int:
    """Pages with a form feed between them; pictures of lines are lines of one text."""
    from khmer_fast.formats.text import page_text

    failures = 0
    before: bool | None = None  # whether the page before was the picture of a line
    for _, page in answers:
        if isinstance(page, KhmerFastError):
            failures += 1
            print_error(page)
            end = PAGE_END if before is False else ""
            print(end, flush=True)
            before = True
            continue
        is_line = is_line_picture(page)
        end = PAGE_END if before is not None and not (is_line and before) else ""
        text = f"{page.regions[0].lines[0].text}\n" if is_line else page_text(page)
        print(end + text, end="", flush=True)
        before = is_line
    return failures


def _write_json(answers: Iterator[Answer]) -> int:
    failures = 0
    separator = "["
    for file, group in groupby(answers, key=lambda answer: answer[0]):
        pages: list[Page | KhmerFastError] = [page for _, page in group]
        errors = [page for page in pages if isinstance(page, KhmerFastError)]
        for error in errors:
            print_error(error)
        failures += len(errors)
        record: dict[str, Any] = {"file": _valid(file)}
        if len(errors) < len(pages):
            record["pages"] = [
                {"error": _valid(str(page))}
                if isinstance(page, KhmerFastError)
                else dataclasses.asdict(page)
                for page in pages
            ]
        else:
            record["error"] = _valid(str(errors[0]))
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        print(f"{separator}\n{text}", end="", flush=True)
        separator = ","
    print("\n]")
    return failures


def _valid(name: str) -> str:
    """A name that UTF-8 can hold, whatever bytes the file system has."""
    return os.fsencode(name).decode("utf-8", "replace")
