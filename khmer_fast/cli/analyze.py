"""The verb `khmer-fast analyze`."""

from __future__ import annotations

import argparse
import sys

from khmer_fast.atomic import write_result
from khmer_fast.errors import printable
from khmer_fast.train.analyze import TARGET, analyze
from khmer_fast.train.logs import read_run_or_log
from khmer_fast.train.report import to_html, to_json, to_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="RUN_OR_LOG", help="a run folder, or a training log")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    parser.add_argument("--html", metavar="FILE", help="also write the report with plots as HTML")
    parser.add_argument(
        "--target",
        type=_share,
        default=TARGET,
        metavar="CER",
        help="CER to look ahead to, as a fraction (default 0.10)",
    )


def run(args: argparse.Namespace) -> int:
    log = read_run_or_log(args.source)
    findings = analyze(log, args.target)
    if args.html:
        write_result(args.html, to_html(log, findings).encode("utf-8", "backslashreplace"))
        print(f"wrote {printable(args.html)}", file=sys.stderr)
    sys.stdout.write(to_json(log, findings) if args.json else to_text(log, findings))
    return 0


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 10:
        raise argparse.ArgumentTypeError(f"expected a fraction such as 0.1, got {text}")
    return value
