"""The verb `khmer-fast train`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from khmer_fast.errors import OptionError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from khmer_fast.train import options

    parser.usage = (
        "khmer-fast train --data SOURCE... --out RUN [OPTION...]\n"
        "       khmer-fast train --resume RUN [OPTION...]"
    )
    options.add_arguments(parser)
    parser.set_defaults(error=parser.error)


def run(args: argparse.Namespace) -> int:
    from khmer_fast.train import options
    from khmer_fast.train.run import run as run_training
    from khmer_fast.train.run import say_and_log

    try:
        asked = options.given(args)
        folder = Path(asked.get("out") or asked.get("resume") or ".")
        path = run_training(asked, say_and_log(folder))
    except OptionError as error:
        args.error(str(error))
    print(path)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        _leave()
    return 0


def _leave() -> NoReturn:
    """Ends a process of torchrun's without taking Python down.

    A thread of gloo's may still hold the last tensor it was given; letting go of that while Python
    is being taken down aborts the process (`terminate called without an active exception`).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
