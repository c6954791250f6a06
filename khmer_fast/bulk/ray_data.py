"""Tasks over a cluster by Ray Data: actors hold a reader each, only paths and page ranges travel.

What is done is what `results` holds, on a folder that all nodes see; Ray retries tasks of nodes
that went away, and a part that is written twice is the same part.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from khmer_fast.bulk.folder import BulkOptions
from khmer_fast.bulk.plan import Ledger, Task
from khmer_fast.bulk.read_pages import FileFacts
from khmer_fast.bulk.worker import Outcome, Worker
from khmer_fast.errors import BulkError


class FactsOf:
    """An actor: rows with `source` to rows with facts."""

    def __init__(self, options: BulkOptions, results: str):
        self._worker = Worker(options, Path(results))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list]:
        facts = [asdict(self._worker.facts(str(source))) for source in batch["source"]]
        return {
            name: [fact[name] for fact in facts] for name in ("source", "sha256", "pages", "error")
        }


class ReadTasks:
    """An actor: rows that are tasks to rows that are outcomes."""

    def __init__(self, options: BulkOptions, results: str):
        self._worker = Worker(options, Path(results))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list]:
        outcomes = [self._one(row) for row in _rows(batch)]
        return {
            "ids": [" ".join(outcome.ids) for outcome in outcomes],
            "failed": [outcome.failed for outcome in outcomes],
            "lines": [outcome.lines for outcome in outcomes],
        }

    def _one(self, row: dict[str, Any]) -> Outcome:
        file = FileFacts(
            str(row["source"]), str(row["sha256"]), int(row["pages"]), str(row["error"])
        )
        task = Task(file, tuple(int(n) for n in str(row["numbers"]).split()))
        try:
            return self._worker.read(task)
        except MemoryError:
            if len(task.pages) == 1:
                return self._worker.give_up(task, "out of memory")
            middle = len(task.pages) // 2
            halves = [Task(file, task.pages[:middle]), Task(file, task.pages[middle:])]
            found = [self._worker.read(half) for half in halves]
            return Outcome(
                found[0].ids + found[1].ids,
                found[0].failed + found[1].failed,
                found[0].lines + found[1].lines,
            )


def _rows(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    names = list(batch)
    for values in zip(*(batch[name] for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


def run(
    options: BulkOptions,
    results: Path,
    workers: int,
    pages_per_task: int,
    sources: Iterable[str],
    ledger: Ledger,
    address: str | None = None,
) -> Iterator[FileFacts | Outcome]:
    """Like LocalPool.run, on the cluster at `address` (None: a new one on this machine)."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BulkError("--ray needs Ray: pip install 'khmer-fast[bulk]'") from error
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, include_dashboard=False,
                 num_cpus=None if address else workers, configure_logging=True,
                 logging_level=logging.ERROR)  # fmt: skip
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    arguments = (options, str(results.resolve()))
    names = [{"source": name} for name in sources]
    if not names:
        return
    facts = ray.data.from_items(names).map_batches(
        FactsOf, fn_constructor_args=arguments, batch_size=16, concurrency=(1, workers), num_cpus=1,
    )  # fmt: skip
    tasks = []
    for row in facts.iter_rows():
        file = FileFacts(row["source"], row["sha256"], int(row["pages"]), row["error"])
        yield file
        for task in ledger.tasks(file, pages_per_task):
            tasks.append({**asdict(file), "numbers": " ".join(map(str, task.pages))})
    if not tasks:
        return
    outcomes = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
        ReadTasks, fn_constructor_args=arguments, batch_size=1, concurrency=workers, num_cpus=1,
        max_restarts=-1, max_task_retries=-1,
    )  # fmt: skip
    for row in outcomes.iter_rows():
        ids = tuple(str(row["ids"]).split())
        ledger.done.update(ids)
        yield Outcome(ids, int(row["failed"]), int(row["lines"]))
