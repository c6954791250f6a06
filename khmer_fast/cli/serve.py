"""The verb `khmer-fast serve`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from khmer_fast.cli.reader_options import count
from khmer_fast.errors import OptionError

DATA = "~/.local/share/khmer-fast"
API_KEY = "KHMER_FAST_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port (8000; 0: a free one)")
    parser.add_argument(
        "--host-name", action="append", default=[], metavar="NAME",
        help="a name that others reach it by, beside localhost and addresses (several times)",
    )  # fmt: skip
    parser.add_argument("--data", default=DATA, metavar="FOLDER", help=f"its jobs ({DATA})")
    parser.add_argument(
        "--workers", type=count, metavar="N", help="processes that read (one a processor)"
    )
    parser.add_argument(
        "--threads", type=count, default=1, metavar="N", help="threads of each worker (1)"
    )
    parser.add_argument(
        "--restart-after", type=count, default=2000, metavar="N",
        help="pages and requests after which a worker is replaced (2000)",
    )  # fmt: skip
    parser.add_argument(
        "--read-together",
        type=count,
        default=32,
        metavar="N",
        help="small files that wait, read by a worker in one batch (32)",
    )
    parser.add_argument(
        "--api-key-file", metavar="FILE",
        help=f"holds the key that requests must show (or the variable {API_KEY})",
    )  # fmt: skip
    parser.add_argument(
        "--max-bytes", type=count, default=200, metavar="MIB", help="MiB of an upload (200)"
    )
    parser.add_argument(
        "--max-pages", type=count, default=2000, metavar="N", help="pages of a job (2000)"
    )
    parser.add_argument(
        "--max-waiting",
        type=count,
        default=64,
        metavar="N",
        help="requests that wait for a worker, before others are told to come again (64)",
    )
    parser.add_argument(
        "--keep-days", type=float, default=7.0, metavar="DAYS", help="a job is kept (7)"
    )
    parser.add_argument("--weights", metavar="FILE", help="weights (default: the packaged ones)")
    parser.add_argument("--segmenter", metavar="FILE", help="weights that find lines")
    parser.add_argument("--beam", type=count, default=5, metavar="K", help="beam width (5)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="as `read` has it (auto)")
    parser.set_defaults(error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Serves the web page and the routes until it is stopped."""
    try:
        from khmer_fast.serve.server import run_server
    except ImportError as error:
        raise OptionError(
            f"the service needs {error.name}: pip install 'khmer-fast[serve]'"
        ) from error
    from khmer_fast.serve.options import Limits, ReaderOptions, ServeOptions
    from khmer_fast.threads import usable_processors

    if args.keep_days <= 0:
        args.error(f"--keep-days must be above 0, got {args.keep_days:g}")
    options = ServeOptions(
        folder=str(Path(args.data).expanduser()),
        workers=args.workers or max(usable_processors() // args.threads, 1),
        restart_after=args.restart_after,
        read_together=args.read_together,
        hosts=tuple(name.lower() for name in args.host_name),
        api_key=_api_key(args.api_key_file),
        reader=ReaderOptions(
            weights=args.weights, segmenter=args.segmenter, device=args.device, beam=args.beam,
            n_best=args.beam, threads=args.threads,
        ),
        limits=Limits(
            upload_bytes=args.max_bytes * 2**20, pages=args.max_pages,
            waiting_requests=args.max_waiting,
            keep_seconds=args.keep_days * 86_400,
        ),
    )  # fmt: skip
    return run_server(options, args.host, args.port)


def _api_key(file: str | None) -> str | None:
    if file is not None:
        key = Path(file).read_text("utf-8").strip()
        if not key:
            raise OptionError(f"{file}: is empty, expected an API key")
        return key
    return os.environ.get(API_KEY) or None
