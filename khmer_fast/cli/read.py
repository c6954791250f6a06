"""The verb `khmer-fast read`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from khmer_fast.cli import print_error
from khmer_fast.cli.reader_options import add_reader_arguments, count, open_reader
from khmer_fast.errors import KhmerFastError

if TYPE_CHECKING:
    from khmer_fast.document import Line
    from khmer_fast.recognize.reader import Reader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image of one line of text")
    add_reader_arguments(parser)
    parser.add_argument(
        "--n-best", type=count, default=1, metavar="N", help="answers to find, at most K"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document with confidences")
    parser.set_defaults(error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Reads the images in their order: one line of stdout each, or one JSON document.

    An image that cannot be read has an empty line in its place (in JSON its error), and is named on
    stderr; the exit code is 1 then.
    """
    if args.n_best > args.beam:
        args.error(f"--n-best {args.n_best} must be at most --beam {args.beam}")
    reader = open_reader(args, args.n_best)
    write = _write_json if args.json else _write_text
    failures = write(zip(args.images, _progress(reader, args.images), strict=True))
    return 1 if failures else 0


def _progress(reader: Reader, images: Sequence[str]) -> Iterator[Line | KhmerFastError]:
    answers = reader.read_many(images, on_error="return")
    if len(images) < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        return answers
    from tqdm import tqdm

    return tqdm(answers, total=len(images), unit="line")


def _write_text(answers: Iterator[tuple[str, Line | KhmerFastError]]) -> int:
    failures = 0
    for _, answer in answers:
        if isinstance(answer, KhmerFastError):
            failures += 1
            print_error(answer)
            print(flush=True)
        else:
            print(answer.text, flush=True)
    return failures


def _write_json(answers: Iterator[tuple[str, Line | KhmerFastError]]) -> int:
    failures = 0
    separator = "["
    for file, answer in answers:
        file = os.fsencode(file).decode("utf-8", "replace")
        if isinstance(answer, KhmerFastError):
            failures += 1
            print_error(answer)
            message = os.fsencode(str(answer)).decode("utf-8", "replace")
            record: dict[str, Any] = {"file": file, "error": message}
        else:
            record = {"file": file, "lines": [line_record(answer)]}
        print(f"{separator}\n{json.dumps(record, ensure_ascii=False)}", end="", flush=True)
        separator = ","
    print("\n]")
    return failures


def line_record(line: Line) -> dict[str, Any]:
    """A line as `--json` gives it (docs/spec.md, section 5)."""
    return dataclasses.asdict(line)
