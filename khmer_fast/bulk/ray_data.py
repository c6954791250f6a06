"""Tasks over a cluster by Ray Data: actors hold a reader each, only paths and page ranges travel.

What is done is what `results` holds, on a folder that all nodes see. Ray restarts actors of nodes
that went away; the tasks that they had are missing in its answer and are given out again.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from khmer_fast.bulk.folder import BulkOptions
from khmer_fast.bulk.plan import DIED, STRIKES, Ledger, Outcome, Planned, Task
from khmer_fast.bulk.read_pages import FileFacts, unreadable
from khmer_fast.bulk.worker import Worker, facts_of, give_up, written
from khmer_fast.errors import BulkError

WINDOW = 10_000  # files that are looked at, then read, before the next ones
STOP = "run.stop"  # beside `results`: workers end their page and write what they have
INTERRUPT_SECONDS = 3.0  # that they have for it
STOP_SEEN = 1.0  # seconds, that a worker may not look whether to stop


def _facts(row: dict[str, Any]) -> dict[str, bytes]:
    """A row with `source` to one with its `number` and pickled facts: names need not be UTF-8."""
    return {"number": row["number"], "facts": pickle.dumps(facts_of(os.fsdecode(row["source"])))}


class ReadTask:
    """An actor: a row with a pickled `task` to one with its `number` and what became of it."""

    def __init__(self, options: BulkOptions, results: str):
        os.environ["OMP_NUM_THREADS"] = "1"
        self._stop = Path(results).with_name(STOP)
        self._worker = Worker(options, Path(results))
        self._looked, self._stopping = 0.0, False

    def _is_stopping(self) -> bool:
        if time.monotonic() - self._looked > STOP_SEEN:
            self._looked, self._stopping = time.monotonic(), self._stop.exists()
        return self._stopping

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: Outcome | str = self._worker.read(pickle.loads(row["task"]), self._is_stopping)
        except BulkError as error:
            answer = str(error)
        return {"number": row["number"], "answer": pickle.dumps(answer)}


class _Interrupt:
    """Ctrl-C while Ray works: workers are told to stop, and what they write is waited for."""

    def __init__(self, stop: Path):
        self._stop = stop
        self.at = 0.0  # when it came

    def __enter__(self) -> _Interrupt:
        self._stop.unlink(missing_ok=True)
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = [(number, signal.signal(number, self._came)) for number in signals]
        return self

    def _came(self, *_: Any) -> None:
        if self.at:
            raise KeyboardInterrupt
        self.at = time.monotonic()
        self._stop.touch()
        signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, INTERRUPT_SECONDS)

    def _late(self, *_: Any) -> None:
        raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before:
            signal.signal(number, handler)
        self._stop.unlink(missing_ok=True)


class RayPool:
    """Like LocalPool, on the cluster at `address` (None: a new one of this machine)."""

    def __init__(
        self, options: BulkOptions, results: Path, weights: str, workers: int, pages_per_task: int,
        address: str | None = None,
    ):  # fmt: skip
        self._options, self._results, self._weights = options, results.resolve(), weights
        self._workers, self._pages_per_task = workers, pages_per_task
        self._ray = _connect(address, workers)

    def run(self, sources: Iterable[str], ledger: Ledger) -> Iterator[Planned | Outcome]:
        """Reads everything that the ledger lacks; gives what was planned and done as it comes.

        Raises BulkError for results that cannot be written. A KeyboardInterrupt ends it within
        seconds, with the pages that were finished kept.
        """
        names = iter(sources)
        while window := list(islice(names, WINDOW)):
            with _Interrupt(self._results.with_name(STOP)) as interrupt:
                tasks: list[Task] = []
                for file in self._facts_of(window):
                    found = ledger.plan(file, self._pages_per_task)
                    tasks += found
                    yield Planned(file, sum(len(task.pages) for task in found))
                    if interrupt.at:
                        raise KeyboardInterrupt
                yield from self._read(tasks)
                if interrupt.at:
                    raise KeyboardInterrupt

    def _facts_of(self, names: list[str]) -> list[FileFacts]:
        """In order. Files whose bytes kill who looks at them are the one thing that is missing in
        an answer twice, the second time with no other file beside them."""
        facts: dict[int, FileFacts] = {}
        for blocks in (8 * self._workers, len(names)):
            rows = [
                {"number": n, "source": os.fsencode(name)}
                for n, name in enumerate(names)
                if n not in facts
            ]
            if rows:
                data = self._ray.data.from_items(rows, override_num_blocks=min(blocks, len(rows)))
                for row in self._rows(data.map(_facts, num_cpus=1, max_retries=1)):
                    facts[int(row["number"])] = pickle.loads(row["facts"])
        return [facts.get(n) or unreadable(name, DIED) for n, name in enumerate(names)]

    def _rows(self, data: Any) -> Iterator[dict[str, Any]]:
        """The rows of a dataset, without those that were lost. Raises BulkError."""
        try:
            yield from data.iter_rows()
        except self._ray.exceptions.RayError as error:  # such as actors that cannot be made
            raise BulkError(f"Ray ended the run: {error}; the same command goes on") from error

    def _read(self, tasks: list[Task]) -> Iterator[Outcome]:
        """All tasks; those whose actor died again, then each alone, in the end in halves."""
        deaths: Counter[Task] = Counter()
        alone: deque[Task] = deque()
        while tasks:
            lost = yield from self._pass(tasks, self._workers)
            deaths.update(lost)
            tasks = [task for task in lost if deaths[task] < STRIKES]
            alone.extend(task for task in lost if deaths[task] >= STRIKES)
        while alone:
            task = alone.popleft()
            lost = yield from self._pass([task], 1)
            if lost and len(task.pages) > 1:
                alone.extendleft(task.halves())
            elif lost:
                yield give_up(task, DIED, self._results, self._weights)

    def _pass(self, tasks: list[Task], workers: int) -> Generator[Outcome, None, list[Task]]:
        """Gives every task to an actor once; returns those that are missing in the answer."""
        missing = dict(enumerate(tasks))
        rows = [{"number": n, "task": pickle.dumps(task)} for n, task in missing.items()]
        pages = sum(len(task.pages) for task in tasks)
        blocks = min(len(rows), max(4 * workers, pages // self._pages_per_task))
        data = self._ray.data.from_items(rows, override_num_blocks=blocks).map(
            ReadTask, fn_constructor_args=(self._options, str(self._results)),
            compute=self._ray.data.ActorPoolStrategy(size=min(workers, len(rows))), num_cpus=1,
            max_restarts=-1, max_task_retries=0,  # a task that kills its actor is not given again
        )  # fmt: skip
        for row in self._rows(data):
            answer = pickle.loads(row["answer"])
            if isinstance(answer, str):
                raise BulkError(answer)
            del missing[int(row["number"])]
            yield answer
        lost = []
        for task in missing.values():  # what was written before the actor died is not read again
            outcome = written(self._results, task)
            if outcome is None:
                lost.append(task)
            else:
                yield outcome
        return lost


def _connect(address: str | None, workers: int) -> Any:
    """The module ray, connected, that loses tasks of dead actors instead of ending. Raises
    BulkError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # by default Ray tells its makers
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BulkError("--ray needs Ray: pip install 'khmer-fast[bulk]'") from error
    if not ray.is_initialized():
        try:
            if address:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(  # one of our own, whatever cluster runs on this machine
                    address="local", num_cpus=workers, include_dashboard=False,
                    log_to_driver=False, logging_level=logging.ERROR,
                )  # fmt: skip
        except (ConnectionError, ValueError) as error:
            raise BulkError(f"--ray {address}: no cluster answers there: {error}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    return ray
