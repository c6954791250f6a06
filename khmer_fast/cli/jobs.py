"""`khmer-fast read --jobs N`: several files at once on one machine, one model a process."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from khmer_fast.cli.file_reading import FileReading
from khmer_fast.cli.output import Outputs, output_options
from khmer_fast.errors import FormatError, printable

_reading: FileReading  # of a worker process
_args: argparse.Namespace


def read_files(args: argparse.Namespace, files: Sequence[str]) -> int:
    """Reads each file in one of `args.jobs` processes, into `args.out`; the number of failures.

    What a worker says goes to stderr when its file is done. Raises FormatError if a worker dies.
    """
    options = argparse.Namespace(**{k: v for k, v in vars(args).items() if k != "error"})
    options.error = _usage_error
    if options.threads is None:
        options.threads = max(1, (os.cpu_count() or 1) // args.jobs)
    jobs = min(args.jobs, len(files))
    failures = 0
    # spawn: the threads of torch do not live on in a fork
    with ProcessPoolExecutor(jobs, get_context("spawn"), _open, (options,)) as pool:
        futures = {pool.submit(_read, file): file for file in files}
        done = as_completed(futures)
        if sys.stderr.isatty():
            from tqdm import tqdm

            done = tqdm(done, total=len(futures), unit="file")
        try:
            for future in done:
                failed, said = future.result()
                failures += failed
                sys.stderr.write(said)
        except BrokenProcessPool as error:
            left = [file for future, file in futures.items() if not future.done()]
            where = printable(left[0]) if left else "the last file"
            raise FormatError(
                f"a process that reads files ended before its time at {where} (out of memory?); "
                "the files of finished ones are whole, --jobs 1 tells more"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def _usage_error(message: str) -> None:
    raise FormatError(message)


def _open(args: argparse.Namespace) -> None:
    global _reading, _args
    _args = args
    _reading = FileReading(args)


def _read(file: str) -> tuple[int, str]:
    """Failures of a file, and what was said on stderr about it."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        outputs = Outputs(output_options(_args), [file])
        failures = _reading.read([file], outputs, progress=True)
    return failures, said.getvalue()
