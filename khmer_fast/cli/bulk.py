"""The verb `khmer-fast bulk`: many files, killed and resumed without a page lost or done twice."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khmer_fast.cli.reader_options import count
from khmer_fast.errors import printable

if TYPE_CHECKING:
    from khmer_fast.bulk.folder import BulkOptions, RunFolder
    from khmer_fast.bulk.local import LocalPool, Written
    from khmer_fast.bulk.plan import Outcome, Planned
    from khmer_fast.bulk.ray_data import RayPool

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


class Progress:
    """What was done in this run, shown as it goes: on a terminal a bar, else lines of JSON."""

    def __init__(self, sources: int) -> None:
        self.sources = sources  # files that there are
        self.files = 0  # that were opened
        self.expected = 0  # their pages that this run has to read
        self.skipped = 0  # and those that were there
        self.pages = self.failed = self.lines = 0  # that this run has read
        self.began = self._reported = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit="page", smoothing=0.05)

    @property
    def rate(self) -> float:
        """Pages a second since the start."""
        return self.pages / max(1e-9, time.monotonic() - self.began)

    @property
    def left(self) -> int:
        """Pages still to read; a file that was not opened yet has as many as the others."""
        of_a_file = (self.expected + self.skipped) / max(1, self.files)
        return self.expected - self.pages + round((self.sources - self.files) * of_a_file)

    def show(self, new_pages: int) -> None:
        """Tells of new pages, if it is time."""
        if self._bar is not None:
            self._bar.total = self.pages + self.left
            self._bar.set_postfix(failed=self.failed, refresh=False)
            self._bar.update(new_pages)
        elif time.monotonic() - self._reported >= REPORT_SECONDS:
            self._reported = time.monotonic()
            print(json.dumps(self.as_json()), file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def as_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "files_left": self.sources - self.files,
            "pages": self.pages,
            "failed": self.failed,
            "skipped": self.skipped,
            "lines": self.lines,
            "seconds": round(time.monotonic() - self.began, 3),
            "pages_per_second": round(self.rate, 3),
            "pages_left": self.left,
            "seconds_left": round(self.left / self.rate, 1) if self.pages else None,
        }


def run(args: argparse.Namespace) -> int:
    """Reads what the results lack; exit code 1 if a page failed in this run or before."""
    from khmer_fast.bulk.folder import BulkOptions, RunFolder
    from khmer_fast.bulk.plan import Ledger, Sources
    from khmer_fast.bulk.records import forget_failed, merge
    from khmer_fast.bulk.sources import expand
    from khmer_fast.formats import FORMATS
    from khmer_fast.segmenter_weights import load_segmenter
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
    weights, segmenter = load_weights(args.weights).sha256, load_segmenter(args.segmenter).sha256
    workers = args.workers or usable_processors()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    problems: list[str] = []
    with RunFolder(Path(args.out), options, weights, segmenter) as folder:
        if args.retry_failed:
            forget_failed(folder.results)
        ledger = Ledger.read(folder.results)
        pool = _pool(args, options, folder, weights, workers)
        sources = Sources(expand(args.sources, sys.stdin))
        progress = Progress(sources.count)
        try:
            for event in pool.run(sources, ledger):
                _take(event, progress, problems)
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
    summary = progress.as_json() | {
        "failed_before": ledger.failed,
        "results": str(folder.results),
    }
    if args.json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        print(
            f"{progress.pages} pages of {progress.files} files in {summary['seconds']:.1f} s "
            f"({summary['pages_per_second']:.2f} pages/s), {progress.failed} failed, "
            f"{progress.skipped} were there: {folder.results}"
        )
    return 1 if progress.failed or ledger.failed or problems else 0


def _pool(
    args: argparse.Namespace, options: BulkOptions, folder: RunFolder, weights: str, workers: int
) -> LocalPool | RayPool:
    common = (options, folder.results, weights, workers, args.pages_per_task)
    if args.ray is not None:
        from khmer_fast.bulk.ray_data import RayPool

        return RayPool(*common, address=args.ray or None)
    from khmer_fast.bulk.local import LocalPool

    return LocalPool(*common, stem_of=Stems(folder.path).of)


class Stems:
    """The names of the files that formats are written to, without suffixes."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._taken: dict[str, str] = {}

    def of(self, source: str) -> Path:
        """NAME of the source; a second source of that name gets a hash of its place behind it."""
        name = Path(source.rstrip("/")).name
        stem = name.rpartition(".")[0] or name
        if self._taken.setdefault(stem, source) != source:
            place = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()
            stem = f"{stem}-{place[:12]}"
        return self._folder / stem


def _take(event: Planned | Outcome | Written, progress: Progress, problems: list[str]) -> None:
    from khmer_fast.bulk.local import Written
    from khmer_fast.bulk.plan import Planned

    if isinstance(event, Planned):
        progress.files += 1
        progress.expected += event.missing
        progress.skipped += len(event.file.numbers) - event.missing
        progress.show(0)
    elif isinstance(event, Written):
        if event.error:
            problems.append(event.error)
    else:
        progress.pages += len(event.pages)
        progress.failed += event.failed
        progress.lines += event.lines
        progress.show(len(event.pages))
