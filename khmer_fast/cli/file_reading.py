"""Files to their outputs: what `khmer-fast read` does in each of its processes."""

from __future__ import annotations

import argparse
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from khmer_fast.cli import print_error
from khmer_fast.cli.output import Outputs
from khmer_fast.cli.reader_options import open_reader
from khmer_fast.document import Page
from khmer_fast.errors import KhmerFastError, printable

if TYPE_CHECKING:
    from khmer_fast.files.file_page import FilePage
    from khmer_fast.page.find import FoundPage
    from khmer_fast.page.page_reader import PageReader

# The number of a file among those to read, and its next page or what is wrong with it.
Answer = tuple[int, Page | KhmerFastError]
DOUBTS = frozenset(("unread ink", "doubtful", "truncated", "failed", "check digit"))


class FileReading:
    """Reads files with one model, which is loaded here and once."""

    def __init__(self, args: argparse.Namespace):
        self._args = args
        self._seen: list[FoundPage] = []  # what was found on the page that comes next
        self._reader = None if args.text_layer == "only" else self._open_reader()

    def read(self, files: Sequence[str], outputs: Outputs, progress: bool = False) -> int:
        """Reads files into their outputs, the lines of several pages together; the number of files
        and pages that failed, each of which was said on stderr."""
        from khmer_fast.files.pages import STDIN, read_stdin

        originals = {STDIN: read_stdin()} if STDIN in files else {}
        answers = self._answers(files, originals)
        failures = 0
        for number, group in groupby(_shown(answers, progress), key=lambda answer: answer[0]):
            file = files[number]
            pages = 0
            try:
                with outputs.start(file, originals.get(file)) as output:
                    for _, page in group:
                        if isinstance(page, KhmerFastError):
                            raise page
                        pages += 1
                        if page.error is not None:
                            failures += 1
                            print_error(_named(file, page.error))
                        output.write_page(page)
                        _warn_of_doubts(file, page)
            except KhmerFastError as error:
                failures += 1
                print_error(error)
            else:
                if progress and not sys.stderr.isatty() and self._args.out:
                    print(f"khmer-fast: {printable(file)}: {pages} pages", file=sys.stderr)
        return failures

    def _open_reader(self) -> PageReader:
        from khmer_fast.page.page_reader import PageReader
        from khmer_fast.page.segment import Segmenter

        args = self._args
        if args.debug_pictures is not None:
            Path(args.debug_pictures).mkdir(parents=True, exist_ok=True)
        reader = open_reader(args, args.n_best)
        return PageReader(
            segmenter=Segmenter(args.segmenter, args.backend, args.threads),
            layout=args.layout,
            min_confidence=args.min_confidence,
            reader=reader,
            on_page=lambda found, page: self._seen.append(found) if args.debug_pictures else None,
        )

    def _answers(self, files: Sequence[str], originals: dict[str, bytes]) -> Iterator[Answer]:
        """The pages of each file, and in its place what is wrong with a file."""
        from khmer_fast.files.pages import open_pages

        args = self._args
        opened: deque[tuple[int, KhmerFastError | None]] = deque()  # a page each, or a bad file

        def images() -> Iterator[FilePage]:
            for number, file in enumerate(files):
                source = originals.get(file, file)
                name = "standard input" if file in originals else file
                layer = args.text_layer != "never"
                try:
                    for image in open_pages(source, args.pages, args.password, layer, name):
                        opened.append((number, None))
                        yield image
                except KhmerFastError as error:
                    opened.append((number, error))

        def bad_files() -> Iterator[Answer]:
            """Those before the next page."""
            while opened and (error := opened[0][1]) is not None:
                number, _ = opened.popleft()
                yield number, error

        for page in self._pages(images()):
            yield from bad_files()
            number, _ = opened.popleft()
            if self._seen:
                _save_pictures(args.debug_pictures, files[number], self._seen.pop(), page)
            yield number, page
        yield from bad_files()

    def _pages(self, images: Iterator[FilePage]) -> Iterator[Page]:
        if self._reader is not None:
            return self._reader.read_pages(images)
        from khmer_fast.files.text_layer import layer_page

        return (layer_page(image.unread(), image.text_layer) for image in images)


def _warn_of_doubts(file: str, page: Page) -> None:
    """Says on stderr how many lines of a page lost something, so that nobody passes them over."""
    flagged = [line.flags for line in page.lines() if not DOUBTS.isdisjoint(line.flags)]
    if flagged:
        counts = Counter(flag for flags in flagged for flag in flags if flag in DOUBTS)
        what = ", ".join(f"{flag} {count}" for flag, count in counts.most_common())
        lines = "1 line" if len(flagged) == 1 else f"{len(flagged)} lines"
        where = f"{printable(file)}, page {page.number}"
        print(f"khmer-fast: warning: {where}: {lines} may be misread ({what})", file=sys.stderr)


def _named(file: str, error: str) -> str:
    """A page's error, with its file's name if it lacks that."""
    return error if error.startswith(printable(file)) else f"{file}: {error}"


def _save_pictures(folder: str, file: str, found: FoundPage, page: Page) -> None:
    from khmer_fast.page.pictures import save_pictures

    save_pictures(folder, f"{Path(file).stem}.{page.number}", found, page)


def _shown(answers: Iterator[Answer], progress: bool) -> Iterator[Answer]:
    """The answers as they pass, counted on a terminal that they are not written to."""
    if not progress or not sys.stderr.isatty() or sys.stdout.isatty():
        return answers
    from tqdm import tqdm

    return tqdm(answers, unit="page")
