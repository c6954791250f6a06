"""The verb `khmer-fast evaluate`: read or take over the text of labelled lines, or read documents,
and score it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khmer_fast.cli.reader_options import add_reader_arguments, count, open_reader
from khmer_fast.errors import KhmerFastError, printable
from khmer_fast.evaluation.describe import describe, describe_comparison
from khmer_fast.evaluation.documents import (
    describe_documents,
    evaluate_documents,
    holds_documents,
    scan_documents,
)
from khmer_fast.evaluation.evaluate import Evaluation, compare_files, evaluate, read_lines
from khmer_fast.evaluation.labels import LabelError, Problem, scan_labels
from khmer_fast.evaluation.predictions import load_predictions, match_predictions

if TYPE_CHECKING:
    from khmer_fast.page.page_reader import PageReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="a TSV with the columns image and text, a folder of NAME.png + NAME.gt.txt, or one of "
        "documents: NAME.pdf (or a picture) + NAME.gt.txt with a line or paragraph a line, form "
        "feeds between pages",
    )
    add_reader_arguments(parser)
    parser.add_argument(
        "--segmenter", metavar="FILE", help="weights that find lines (default: the packaged ones)"
    )
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        help="score these texts (TSV or JSON, of any program) instead of reading the images",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out lines that are broken, and say how many, instead of stopping",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A.json", "B.json"),
        help="is one of two --json answers on the same lines better? (paired bootstrap)",
    )
    parser.add_argument(
        "--confusions", type=count, default=0, metavar="N", help="show the N most frequent edits"
    )
    parser.add_argument(
        "--worst",
        type=count,
        default=0,
        metavar="N",
        help="show the N lines with the most edits; of documents, the N pages in the report, too",
    )
    parser.add_argument("--html", metavar="FILE", help="write a report to look at in a browser")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Carry the verb out; the exit code. Raises KhmerFastError for what cannot be done."""
    if args.compare:
        comparison = compare_files(*args.compare)
        _print(comparison.as_json() if args.json else describe_comparison(comparison))
        return 0
    if args.data is None:
        args.error("DATA is needed, or --compare A.json B.json")
    if args.html and not Path(args.html).absolute().parent.is_dir():
        raise KhmerFastError(f"{printable(args.html)}: its folder does not exist")
    if holds_documents(args.data):
        return _run_documents(args)
    evaluation = _evaluate_data(args)
    try:
        if args.html:
            _write_report(args, evaluation)
    finally:  # a report that cannot be written takes no scores with it
        if args.json:
            _print(evaluation.as_json(args.confusions, args.worst))
        else:
            _print(describe(evaluation, args.confusions, args.worst))
    return 0


def _run_documents(args: argparse.Namespace) -> int:
    """The verb for a folder of documents."""
    if args.predictions:
        args.error("--predictions are of lines; a folder of documents is read")
    labels, problems = scan_documents(args.data)
    _refuse(problems, args.skip_bad)
    start = time.perf_counter()
    reader = _open_page_reader(args)
    load_seconds = time.perf_counter() - start
    choice = reader.reader.choice
    evaluation = evaluate_documents(
        args.data,
        reader,
        labels,
        problems,
        progress=sys.stderr.isatty(),
        load_seconds=load_seconds,
        about={
            "weights": str(args.weights or "packaged"),
            "segmenter": str(args.segmenter or "packaged"),
            "beam": args.beam,
            "device": choice.device,
            "backend": choice.backend,
            "dtype": choice.dtype,
        },
    )
    _refuse(list(evaluation.problems), args.skip_bad)
    try:
        if args.html:
            from khmer_fast.evaluation import html_pages

            html_pages.write_report(args.html, evaluation, args.worst or 10)
            print(f"report: {args.html}", file=sys.stderr)
    finally:
        _print(evaluation.as_json() if args.json else describe_documents(evaluation, args.worst))
    return 0


def _open_page_reader(args: argparse.Namespace) -> PageReader:
    from khmer_fast.page.page_reader import PageReader
    from khmer_fast.page.segment import Segmenter

    segmenter = Segmenter(args.segmenter, args.backend, args.threads)
    return PageReader(segmenter=segmenter, reader=open_reader(args))


def _write_report(args: argparse.Namespace, evaluation: Evaluation) -> None:
    from khmer_fast.evaluation.html import write_report

    write_report(args.html, evaluation, args.worst or 40, args.confusions or 25)
    print(f"report: {printable(args.html)}", file=sys.stderr)


def _evaluate_data(args: argparse.Namespace) -> Evaluation:
    labels, problems = scan_labels(args.data, check_images=not args.predictions)
    _refuse(problems, args.skip_bad)
    if args.predictions:
        predictions = match_predictions(labels, load_predictions(args.predictions))
        _refuse([p for p in predictions if isinstance(p, Problem)], args.skip_bad)
        return evaluate(
            args.data, labels, predictions, problems, reader={"predictions": args.predictions}
        )
    start = time.perf_counter()
    reader = open_reader(args)
    load_seconds = time.perf_counter() - start
    predictions, heights, seconds = read_lines(reader, labels, progress=sys.stderr.isatty())
    _refuse([p for p in predictions if isinstance(p, Problem)], args.skip_bad)
    return evaluate(
        args.data,
        labels,
        predictions,
        problems,
        reader.weights.charset,
        heights,
        seconds=seconds,
        load_seconds=load_seconds,
        reader={
            "weights": str(args.weights or "packaged"),
            "beam": args.beam,
            "device": reader.choice.device,
            "backend": reader.choice.backend,
            "dtype": reader.choice.dtype,
        },
    )


def _refuse(problems: list[Problem], skip_bad: bool) -> None:
    if problems and not skip_bad:
        raise LabelError(problems)
    for problem in problems[:5]:
        print(f"skipped: {problem}", file=sys.stderr)
    if len(problems) > 5:
        print(f"skipped: and {len(problems) - 5} more bad lines", file=sys.stderr)


def _print(answer: dict[str, Any] | str) -> None:
    if isinstance(answer, dict):
        answer = json.dumps(answer, ensure_ascii=False, allow_nan=False)
        answer = answer.encode("utf-8", "backslashreplace").decode()  # JSON's own escape, too
    print(answer)
