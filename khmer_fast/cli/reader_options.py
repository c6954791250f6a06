"""The options of every verb that reads lines."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from khmer_fast.recognize.reader import Reader


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
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="auto, cpu, or a GPU by the name that `khmer-fast info` shows (default auto)",
    )
    parser.add_argument("--backend", choices=("fast", "reference"), default="fast")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "int8"),
        default="auto",
        help="int8: an encoder in whole numbers, the same on every processor; auto: on a CPU int8 "
        "for weights that have its scales beside them (the packaged ones do), else float32",
    )
    parser.add_argument("--batch-size", type=count, default=64, metavar="B", help="lines, at most")
    parser.add_argument("--threads", type=count, metavar="N", help="threads to compute with")


def open_reader(args: argparse.Namespace, n_best: int = 1) -> Reader:
    """A Reader with the options of `add_reader_arguments`."""
    import warnings

    import torch

    from khmer_fast.recognize.engine import DEVICES
    from khmer_fast.recognize.reader import Reader
    from khmer_fast.threads import default_threads

    if args.device not in DEVICES:
        args.error(f"--device must be one of {', '.join(DEVICES)}, got {args.device!r}")
    torch.set_num_threads(args.threads or default_threads())  # the process is ours
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
