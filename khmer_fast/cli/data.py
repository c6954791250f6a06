"""`khmer-fast data check` and `khmer-fast data convert`: data sets on disk."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from khmer_fast.errors import printable

_FORMS = ("tsv", "pairs", "shards")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb, whose first one is what to do."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="check | convert")
    check = actions.add_parser("check", help="find labels that can't be right")
    check.add_argument("data", metavar="DATA", help="TSV, folder of pairs, or shards")
    check.add_argument(
        "--against", nargs="+", default=[], metavar="DATA", help="sets it must share no line with"
    )
    check.add_argument("--json", action="store_true", help="one JSON document on stdout")
    convert = actions.add_parser("convert", help="write a data set in another form")
    convert.add_argument("data", metavar="DATA", help="TSV, folder of pairs, or shards")
    convert.add_argument("out", metavar="FOLDER", help="a new folder")
    convert.add_argument("--form", choices=_FORMS, required=True)
    convert.add_argument("--skip-bad", action="store_true", help="leave out what cannot be used")


def run(args: argparse.Namespace) -> int:
    """Check or convert; 1 if something was found or left out, else 0, or KhmerFastError."""
    return _check(args) if args.action == "check" else _convert(args)


def _check(args: argparse.Namespace) -> int:
    from khmer_fast.data.check import Checker, LabelFault, known_lines
    from khmer_fast.data.dataset import read_lines

    texts, images = known_lines(map(read_lines, args.against))
    checker = Checker(texts, images)
    findings: list[LabelFault] = []
    lines = read_lines(
        args.data,
        on_problem=lambda problem: findings.append(
            LabelFault(problem.where, "unusable line", problem.reason)
        ),
    )
    for line in lines:
        findings.extend(checker.check(line))
    findings.extend(checker.finish())
    counts = Counter(finding.check for finding in findings)
    if args.json:
        record = {
            "lines": checker.lines,
            "counts": dict(counts),
            "findings": [
                {name: printable(value) for name, value in vars(finding).items()}
                for finding in findings
            ],
        }
        print(json.dumps(record, ensure_ascii=False))
    else:
        for finding in findings:
            print(finding)
        total = ", ".join(f"{count} {check}" for check, count in counts.most_common())
        print(f"{checker.lines} lines: {total or 'nothing found'}", file=sys.stderr)
    return 1 if findings else 0


def _convert(args: argparse.Namespace) -> int:
    from khmer_fast.data.dataset import read_lines, write_lines
    from khmer_fast.evaluation.labels import Problem

    skipped: list[Problem] = []
    lines = read_lines(args.data, on_problem=skipped.append if args.skip_bad else None)
    count = write_lines(lines, args.out, args.form)
    for problem in skipped:
        print(f"left out: {problem}", file=sys.stderr)
    print(f"{count} lines in {args.out}, {len(skipped)} left out", file=sys.stderr)
    return 1 if skipped else 0
