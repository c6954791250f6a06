"""The verb `khmer-fast train`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from khmer_fast.train import options

    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from khmer_fast.train import options
    from khmer_fast.train.run import run as run_training
    from khmer_fast.train.run import say_and_log

    asked = options.given(args)
    folder = Path(asked.get("out") or asked.get("resume") or ".")
    path = run_training(asked, say_and_log(folder))
    print(path)
    return 0
