"""The verb `khmer-fast read`."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from khmer_fast.cli import print_error
from khmer_fast.cli.output import Outputs, add_output_arguments, output_options
from khmer_fast.cli.reader_options import add_reader_arguments, count, open_reader
from khmer_fast.document import Page
from khmer_fast.errors import KhmerFastError, printable

if TYPE_CHECKING:
    from khmer_fast.files.file_page import FilePage
    from khmer_fast.page.find import FoundPage
    from khmer_fast.page.page_reader import PageReader

# The number of a file among those to read, and its next page or what is wrong with it.
Answer = tuple[int, Page | KhmerFastError]
LAYOUTS = ("auto", "page", "line")
TEXT_LAYERS = ("auto", "never", "only")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="image, PDF or folder of them; - reads stdin"
    )
    parser.add_argument("--recursive", action="store_true", help="also folders in folders")
    parser.add_argument("--pages", metavar="RANGES", help="of each file, such as 1-3,7 or 5-")
    parser.add_argument("--password", metavar="WORD", help="of encrypted PDFs")
    parser.add_argument(
        "--text-layer",
        choices=TEXT_LAYERS,
        default="auto",
        help="a PDF's own text: believed where the picture agrees, never, or alone and unread",
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="auto",
        help="auto: what the picture shows; page: look for lines; line: it is one line",
    )
    add_output_arguments(parser)
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="files read at once, each by a process"
    )
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
    """Reads the files in their order: to stdout in one format, or to files of a folder.

    A file that cannot be read has an empty line in its place (in JSON its error), and is named on
    stderr; the exit code is 1 then, as it is for pages that cannot be read.
    """
    from khmer_fast.files.pages import PageRanges, find_files

    if args.n_best > args.beam:
        args.error(f"--n-best {args.n_best} must be at most --beam {args.beam}")
    if args.json:
        args.format = [*(args.format or []), "json"]
    if args.jobs > 1 and args.out is None:
        args.error(f"--jobs {args.jobs} needs --out FOLDER")
    if args.pages is not None:
        PageRanges.parse(args.pages)  # an error before the model is loaded
    files = find_files(args.files, args.recursive)
    outputs = Outputs(output_options(args), files)
    if args.jobs > 1 and len(files) > 1:
        from khmer_fast.cli.jobs import read_files

        return 1 if read_files(args, files) else 0
    failures = FileReading(args).read(files, outputs, progress=len(files) > 1 or bool(args.out))
    outputs.close()
    return 1 if failures else 0


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
