"""The verb `khmer-fast train`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from khmer_fast.cli import discard
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

    try:
        asked = options.given(args)
        folder = Path(asked.get("out") or asked.get("resume") or ".")
        path = run_training(asked, say_and_log(folder))
    except OptionError as error:
        args.error(str(error))
    try:
        print(path, flush=True)
    except BrokenPipeError:  # nobody listens any more; the run is complete all the same
        discard(sys.stdout)
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


def say_and_log(folder: Path) -> Callable[[str], None]:
    """Prints each line on stderr and keeps it in the run's logs.

    Neither may end a training: when nobody listens any more (`2>&1 | head`, a terminal that is
    closed) the log goes on alone, and a log that cannot be written leaves the terminal.
    """
    path = folder / "logs" / "train.log"

    def log(text: str) -> None:
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def say(text: str) -> None:
        log(text)
        try:
            if sys.stderr is not None:
                print(text, file=sys.stderr, flush=True)
        except OSError as error:
            discard(sys.stderr)  # what other libraries write there must not fail either
            log(f"Warning: stderr is gone ({error.strerror}); this log goes on alone")

    return say
