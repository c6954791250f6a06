"""The verb `khmer-fast bulk`: many files, killed and resumed without a page lost or done twice."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from khmer_fast.cli.reader_options import count
from khmer_fast.errors import printable

REPORT_SECONDS = 10.0  # between two lines of progress where no terminal is


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="files, folders, patterns, URLs, a Parquet file of paths, or - for a list on stdin",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="results/ and formats go here"
    )
    parser.add_argument(
        "--format", action="append", default=[], metavar="FORMAT", dest="formats",
        help="also write each file in this format (may be given several times)",
    )  # fmt: skip
    parser.add_argument("--workers", type=count, metavar="N", help="default: the processors")
    parser.add_argument("--pages-per-task", type=count, default=50, metavar="N")
    parser.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS",
        help="by Ray Data: on the cluster at ADDRESS, or on a new one of this machine",
    )  # fmt: skip
    parser.add_argument("--weights", metavar="FILE", help="weights (default: the packaged ones)")
    parser.add_argument("--segmenter", metavar="FILE", help="weights of the page network")
    parser.add_argument("--beam", type=count, default=5, metavar="K", help="beam width (default 5)")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "int8"), default="auto")
    parser.add_argument("--text-layer", choices=("auto", "never", "only"), default="auto")
    parser.add_argument("--retry-failed", action="store_true", help="read failed pages once more")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON document")
    parser.set_defaults(error=parser.error)


@dataclass
class Progress:
    """What was done in this run, shown as it goes."""

    pages: int = 0
    failed: int = 0
    lines: int = 0
    files: int = 0
    expected: int = 0  # pages of the files that were opened
    skipped: int = 0  # done by earlier runs

    def __post_init__(self) -> None:
        self.began = self._reported = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit="page", smoothing=0.05)

    @property
    def rate(self) -> float:
        """Pages a second since the start."""
        return self.pages / max(1e-9, time.monotonic() - self.began)

    def show(self, new_pages: int) -> None:
        """On a terminal a bar, else one JSON line every ten seconds."""
        if self._bar is not None:
            self._bar.total = self.expected
            self._bar.set_postfix(failed=self.failed, refresh=False)
            self._bar.update(new_pages)
        elif time.monotonic() - self._reported >= REPORT_SECONDS:
            self._reported = time.monotonic()
            print(json.dumps(self.as_json()), file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def as_json(self) -> dict[str, Any]:
        left = max(0, self.expected - self.skipped - self.pages)
        return {
            "files": self.files,
            "pages": self.pages,
            "failed": self.failed,
            "skipped": self.skipped,
            "lines": self.lines,
            "seconds": round(time.monotonic() - self.began, 3),
            "pages_per_second": round(self.rate, 3),
            "pages_left": left,
            "seconds_left": round(left / self.rate, 1) if self.pages else None,
        }


def run(args: argparse.Namespace) -> int:
    """Reads what the results lack; exit code 1 if a page failed in this run or before."""
    from khmer_fast.bulk.folder import BulkOptions, RunFolder
    from khmer_fast.bulk.plan import Ledger
    from khmer_fast.bulk.records import merge
    from khmer_fast.bulk.sources import expand
    from khmer_fast.formats import FORMATS
    from khmer_fast.threads import usable_processors
    from khmer_fast.weights import load_weights

    for name in args.formats:
        if name not in FORMATS:
            args.error(f"--format {name}: expected one of {', '.join(FORMATS)}")
    if args.ray is not None and args.formats:
        args.error("--format works with processes of this machine; convert the results afterwards")
    options = BulkOptions(
        os.path.abspath(args.weights) if args.weights else None,
        os.path.abspath(args.segmenter) if args.segmenter else None,
        args.beam, args.dtype, args.text_layer, tuple(args.formats),
    )  # fmt: skip
    sha256 = load_weights(args.weights).sha256
    workers = args.workers or usable_processors()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress()
    problems: list[str] = []
    with RunFolder(Path(args.out), options, sha256) as folder:
        ledger = Ledger.read(folder.results, args.retry_failed)
        before = ledger.failed
        try:
            for event in _events(
                args, options, folder, workers, ledger, expand(args.sources, sys.stdin)
            ):
                _take(event, progress, ledger, problems)
        except KeyboardInterrupt:
            progress.close()
            print(
                f"khmer-fast: interrupted after {progress.pages} pages; the same command goes on",
                file=sys.stderr,
            )
            raise
        finally:
            progress.close()
        merge(folder.results)
    for problem in problems:
        print(f"khmer-fast: error: {printable(problem)}", file=sys.stderr)
    summary = progress.as_json() | {"failed_before": before, "results": str(folder.results)}
    if args.json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        print(
            f"{progress.pages} pages of {progress.files} files in {summary['seconds']:.1f} s "
            f"({summary['pages_per_second']:.2f} pages/s), {progress.failed} failed, "
            f"{progress.skipped} were there: {folder.results}"
        )
    return 1 if progress.failed or before or problems else 0


def _events(
    args: argparse.Namespace, options: Any, folder: Any, workers: int, ledger: Any,
    sources: Iterator[str],
) -> Iterator[Any]:  # fmt: skip
    if args.ray is not None:
        from khmer_fast.bulk import ray_data

        return ray_data.run(
            options, folder.results, workers, args.pages_per_task, sources, ledger,
            args.ray or None,
        )  # fmt: skip
    from khmer_fast.bulk.local import LocalPool

    stems = Stems(folder.path)
    pool = LocalPool(options, folder.results, workers, args.pages_per_task, stems.of)
    return pool.run(sources, ledger)


class Stems:
    """The names of the files that formats are written to, without suffixes."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._taken: dict[str, str] = {}

    def of(self, file: Any) -> Path:
        """NAME of the source; a second source of that name gets its sha256 behind it."""
        stem = Path(file.source.rstrip("/")).name.rpartition(".")[0] or Path(file.source).name
        owner = self._taken.setdefault(stem, file.sha256)
        return self._folder / (stem if owner == file.sha256 else f"{stem}-{file.sha256[:12]}")


def _take(event: Any, progress: Progress, ledger: Any, problems: list[str]) -> None:
    from khmer_fast.bulk.local import Written
    from khmer_fast.bulk.read_pages import FileFacts

    if isinstance(event, FileFacts):
        progress.files += 1
        pages = max(1, event.pages) if event.error else event.pages
        progress.expected += pages
        missing = sum(len(task.pages) for task in ledger.tasks(event, 1 << 30))
        progress.skipped += pages - missing
        progress.show(0)
    elif isinstance(event, Written):
        if event.error:
            problems.append(event.error)
    else:
        progress.pages += len(event.ids)
        progress.failed += event.failed
        progress.lines += event.lines
        progress.show(len(event.ids))
