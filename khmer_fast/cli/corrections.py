"""The verb `khmer-fast corrections`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from khmer_fast.cli.serve import DATA


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="ids of jobs (default: all)")
    parser.add_argument("--out", required=True, metavar="TSV", help="labels; pictures go beside it")
    parser.add_argument(
        "--data", default=DATA, metavar="FOLDER", help=f"what `serve --data` was given ({DATA})"
    )
    parser.add_argument("--segmenter", metavar="FILE", help="weights that found the lines")
    parser.add_argument("--force", action="store_true", help="overwrite what is there")


def run(args: argparse.Namespace) -> int:
    """Writes the lines that people corrected or accepted as `train --data` takes them."""
    from khmer_fast.serve.training_set import write_training_set

    folder = Path(args.data).expanduser()
    count = write_training_set(folder, args.jobs, Path(args.out), args.segmenter, args.force)
    print(f"khmer-fast: {count} lines in {args.out}", file=sys.stderr)
    return 0
