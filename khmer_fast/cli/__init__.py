"""The program `khmer-fast`: its verbs and exit codes.

Each verb is a module of this folder with `add_arguments(parser)` and `run(args) -> exit code`,
loaded when it is asked for; none of them imports torch before `run`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from khmer_fast.errors import KhmerFastError, printable

VERBS = {  # name: (module, what it does)
    "read": ("khmer_fast.cli.read", "read the text of pages and of line images"),
    "bulk": ("khmer_fast.cli.bulk", "read many files, resumed where it was killed"),
    "serve": ("khmer_fast.cli.serve", "a web page to read and correct documents, and its API"),
    "corrections": ("khmer_fast.cli.corrections", "corrected lines of a service as training data"),
    "evaluate": ("khmer_fast.cli.evaluate", "score readings against labelled lines"),
    "train": ("khmer_fast.cli.train", "train a model"),
    "render": ("khmer_fast.cli.render", "make labelled line images from text and fonts"),
    "data": ("khmer_fast.cli.data", "check and convert data sets"),
    "analyze": ("khmer_fast.cli.analyze", "say what a training log tells"),
    "info": ("khmer_fast.cli.info", "show what was built and what this machine can use"),
}
FAILED, USAGE = 1, 2
INTERRUPTED, PIPE_CLOSED = 130, 141  # as a shell reports SIGINT and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0, 1 (work failed) or 2 (usage)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Threads that wait must sleep: beside another load two that spin are ten times slower than one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _use_utf8()
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except KhmerFastError as error:
        print_error(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)
        return PIPE_CLOSED
    except OSError as error:
        if error.filename is None:  # not a file's trouble: stdout's, such as a full disk
            discard(sys.stdout)
        where = f"{printable(error.filename)}: " if error.filename else "cannot write the results: "
        print_error(f"{where}{error.strerror or error}")
        return FAILED


def print_error(error: KhmerFastError | str) -> None:
    """Says on stderr what went wrong, so that no file's name can forge a message of ours."""
    first, *more = str(error).split("\n")
    print(f"khmer-fast: error: {printable(first)}", file=sys.stderr)
    for line in more:
        print(f"  {printable(line)}", file=sys.stderr)


def _use_utf8() -> None:
    """Khmer goes out as UTF-8 whatever the locale."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def discard(stream: TextIO) -> None:
    """What is still buffered cannot be written: Python would try it again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _dispatch(arguments: list[str]) -> int:
    parser = _program()
    if not arguments or arguments[0] not in VERBS:
        parser.parse_args(arguments)  # help, version or a usage error
        parser.error("a verb is needed: " + ", ".join(VERBS))
    from khmer_fast.train.options import OptionParser

    verb = arguments[0]
    module_name, summary = VERBS[verb]
    module = importlib.import_module(module_name)
    parser = OptionParser(f"khmer-fast {verb}", description=f"{summary.capitalize()}.")
    module.add_arguments(parser)
    return module.run(parser.parse_args(arguments[1:]))


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        print(f"khmer-fast {program_version()}")
        parser.exit()


def program_version() -> str:
    """The installed version; a source folder that is not installed has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("khmer-fast")
    except PackageNotFoundError:
        return "(not installed, run from its source folder)"


def _program() -> argparse.ArgumentParser:
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {name:{width}}{summary}" for name, (_, summary) in VERBS.items())
    parser = argparse.ArgumentParser(
        "khmer-fast",
        usage="khmer-fast [-h] [--version] VERB ...",
        description="Khmer OCR: pages in, Khmer Unicode text out.",
        epilog=f"verbs:\n{verbs}\n\n`khmer-fast VERB --help` explains a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
