"""The program `khmer-fast`: its verbs, exit codes, and the verb `read`.

Each verb is a module with `add_arguments(parser)` and `run(args) -> exit code`, loaded when it is
asked for; none of them imports torch before `run`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from khmer_fast.errors import KhmerFastError

if TYPE_CHECKING:
    from khmer_fast.reader import Line, Reader

VERBS = {  # name: (module, what it does)
    "read": ("khmer_fast.cli", "read the text of line images"),
    "evaluate": ("khmer_fast.evaluate", "score readings against labelled lines"),
    "train": ("khmer_fast.train.cli", "train a model"),
    "render": ("khmer_fast.data.render_cli", "make labelled line images from text and fonts"),
    "data": ("khmer_fast.data.data_cli", "check and convert data sets"),
    "analyze": ("khmer_fast.train.analyze", "say what a training log tells"),
    "info": ("khmer_fast.info", "show what was built and what this machine can use"),
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
        print(f"khmer-fast: error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return PIPE_CLOSED
    except OSError as error:
        if error.filename is None:  # not a file's trouble: stdout's, such as a full disk
            _discard_stdout()
        where = f"{error.filename}: " if error.filename else "cannot write the results: "
        print(f"khmer-fast: error: {where}{error.strerror or error}", file=sys.stderr)
        return FAILED


def _use_utf8() -> None:
    """Khmer goes out as UTF-8 whatever the locale."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def _discard_stdout() -> None:
    """What is still buffered cannot be written: Python would try it again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        description="Khmer OCR: a line image in, Khmer Unicode text out.",
        epilog=f"verbs:\n{verbs}\n\n`khmer-fast VERB --help` explains a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help=argparse.SUPPRESS)
    return parser


# ---- read ----


def count(text: str) -> int:
    """An argument that is an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def add_reader_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every verb that reads lines; `open_reader` takes them."""
    parser.add_argument("--weights", metavar="FILE", help="weights (default: the packaged ones)")
    parser.add_argument("--beam", type=count, default=5, metavar="K", help="beam width (default 5)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--backend", choices=("fast", "reference"), default="fast")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="auto is float32 on a CPU, so that two machines read alike",
    )
    parser.add_argument("--batch-size", type=count, default=32, metavar="B", help="lines, at most")
    parser.add_argument("--threads", type=count, metavar="N", help="threads to compute with")


def open_reader(args: argparse.Namespace, n_best: int = 1) -> Reader:
    """A Reader with the options of `add_reader_arguments`."""
    import warnings

    from khmer_fast.reader import Reader

    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of it comes as an error
    _return_large_blocks()
    reader = Reader(
        weights=args.weights,
        device=args.device,
        backend=args.backend,
        beam=args.beam,
        n_best=n_best,
        batch_size=args.batch_size,
        dtype=args.dtype,
        threads=args.threads,
    )
    if args.dtype not in ("auto", reader.choice.dtype):
        print(f"khmer-fast: {reader.choice.reason}", file=sys.stderr)
    return reader


def _return_large_blocks() -> None:
    """Lets glibc give blocks of 4 MiB and more back to the system as soon as they are free.

    By default it keeps them in a heap that grows with each new width of line: 1,000 lines then
    hold 200 MB more.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc
        trim_threshold, mmap_threshold = -1, -3
        mallopt(mmap_threshold, 4 * 2**20)
        mallopt(trim_threshold, 4 * 2**20)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image of one line of text")
    add_reader_arguments(parser)
    parser.add_argument(
        "--n-best", type=count, default=1, metavar="N", help="answers to find, at most K"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document with confidences")
    parser.set_defaults(error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Reads the images in their order: one line of stdout each, or one JSON document."""
    if args.n_best > args.beam:
        args.error(f"--n-best {args.n_best} must be at most --beam {args.beam}")
    reader = open_reader(args, args.n_best)
    write = _write_json if args.json else _write_text
    failures = write(zip(args.images, _progress(reader, args.images), strict=True))
    return FAILED if failures else 0


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
            print(f"khmer-fast: error: {answer}", file=sys.stderr)
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
            print(f"khmer-fast: error: {answer}", file=sys.stderr)
            message = os.fsencode(str(answer)).decode("utf-8", "replace")
            record = {"file": file, "error": message}
        else:
            record = {"file": file, "lines": [line_record(answer)]}
        print(f"{separator}\n{json.dumps(record, ensure_ascii=False)}", end="", flush=True)
        separator = ","
    print("\n]")
    return failures


def line_record(line: Line) -> dict[str, Any]:
    """A line as `--json` gives it (SPEC.md section 5)."""
    return {
        "text": line.text,
        "confidence": line.confidence,
        "box": list(line.box),
        "alternatives": [{"text": x.text, "score": x.score} for x in line.alternatives],
        "characters": [{"text": x.text, "confidence": x.confidence} for x in line.characters],
        "truncated": line.truncated,
    }


if __name__ == "__main__":
    sys.exit(main())
