"""The verb `khmer-fast read`."""

from __future__ import annotations

import argparse

from khmer_fast.cli.file_reading import FileReading
from khmer_fast.cli.output import Outputs, add_output_arguments, output_options
from khmer_fast.cli.reader_options import add_reader_arguments, count

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
