"""Tasks over processes of this machine. A process that dies costs its task's work, nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from khmer_fast.bulk.folder import BulkOptions
from khmer_fast.bulk.plan import Ledger, Task
from khmer_fast.bulk.read_pages import FileFacts
from khmer_fast.bulk.worker import Outcome, Worker, write_formats

STRIKES = 2  # deaths of a worker under a task, after which the task runs alone
AHEAD = 2  # tasks waiting for each worker
INTERRUPT_SECONDS = 4.0  # after Ctrl-C, for workers to end their page and write what they have

_worker: Worker
_stop: Any


def _open_worker(options: BulkOptions, results: Path, stop: Any) -> None:
    """Makes this process's worker; Ctrl-C on the terminal is the main process's to act on."""
    global _worker, _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    _stop = stop
    _worker = Worker(options, results)


def _facts(source: str) -> FileFacts:
    return _worker.facts(source)


def _read(task: Task) -> Outcome:
    return _worker.read(task, _stop.is_set)


def _give_up(task: Task, reason: str) -> Outcome:
    return _worker.give_up(task, reason)


@dataclass(frozen=True)
class Written:
    """The formats of a file are there, or the reason why not."""

    file: FileFacts
    error: str


class LocalPool:
    """Maps sources to outcomes with a pool of processes; `workers` of them, each one thread."""

    def __init__(
        self, options: BulkOptions, results: Path, workers: int, pages_per_task: int,
        stem_of: Callable[[FileFacts], Path] | None = None,
    ):  # fmt: skip
        self._options, self._results = options, results
        self._workers, self._pages_per_task = workers, pages_per_task
        self._stem_of = stem_of
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._deaths: Counter[Task] = Counter()
        self.pids: tuple[int, ...] = ()

    def _open(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers, self._context, _open_worker, (self._options, self._results, self._stop)
        )

    def run(
        self, sources: Iterable[str], ledger: Ledger
    ) -> Iterator[FileFacts | Outcome | Written]:
        """Reads everything that the ledger lacks; gives facts and outcomes as they come.

        Raises BulkError for results that cannot be written. A KeyboardInterrupt ends it within
        seconds, with the pages that were finished kept.
        """
        names = iter(sources)
        tasks: deque[Task] = deque()
        alone: deque[Task] = deque()  # workers died under them: each runs with no other
        left: Counter[FileFacts] = Counter()  # tasks of a file that are not done
        planned: set[str] = set()
        pending: dict[Future, tuple[str, Any]] = {}
        pool = self._open()
        more = True

        def submit(kind: str, what: Any, function: Callable, *arguments: Any) -> None:
            pending[pool.submit(function, *arguments)] = (kind, what)

        def finished(file: FileFacts) -> None:
            if self._stem_of and self._options.formats and not file.error:
                arguments = (self._results, file, self._stem_of(file), self._options.formats)
                submit("formats", file, write_formats, *arguments)

        try:
            while True:
                try:
                    suspects = [what for kind, what in pending.values() if kind == "alone"]
                    while not suspects and len(pending) < AHEAD * self._workers:
                        if tasks:
                            task = tasks.popleft()
                            submit("task", task, _read, task)
                        elif more:
                            name = next(names, None)
                            more = name is not None
                            if name is not None:
                                submit("facts", name, _facts, name)
                        else:
                            break
                    if alone and not pending:
                        task = alone.popleft()
                        submit("alone", task, _read, task)
                    if not pending:
                        if not tasks and not more and not alone:
                            return
                        continue
                    done, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        kind, what = pending[future]
                        answer = future.result()
                        del pending[future]
                        if kind == "facts":
                            found = []
                            if answer.sha256 not in planned:  # the same bytes elsewhere: once
                                planned.add(answer.sha256)
                                found = list(ledger.tasks(answer, self._pages_per_task))
                            left[answer] = len(found)
                            tasks.extend(found)
                            yield answer
                            if not found:
                                finished(answer)
                        elif kind == "formats":
                            yield Written(what, answer)
                        else:
                            ledger.done.update(answer.ids)
                            left[what.file] -= 1
                            yield answer
                            if not left[what.file]:
                                finished(what.file)
                except BrokenProcessPool:
                    pool.shutdown(wait=True, cancel_futures=True)
                    lost, pending = list(pending.values()), {}
                    pool = self._open()
                    for kind, what in lost:
                        if kind == "facts":
                            submit("facts", what, _facts, what)
                        elif kind == "formats":
                            finished(what)
                        else:
                            self._blame(kind, what, tasks, alone, left, submit)
        except BaseException:
            self._stop.set()
            wait(pending, timeout=INTERRUPT_SECONDS)
            for process in list((pool._processes or {}).values()):
                process.kill()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _blame(
        self, kind: str, task: Task, tasks: deque[Task], alone: deque[Task],
        left: Counter[FileFacts], submit: Callable,
    ) -> None:  # fmt: skip
        """A worker died while this task was waiting or being read: again, alone, or given up."""
        self._deaths[task] += 1
        if kind != "alone":
            (alone if self._deaths[task] >= STRIKES else tasks).appendleft(task)
        elif len(task.pages) > 1:  # halves, so that one page is blamed in the end
            middle = len(task.pages) // 2
            for pages in (task.pages[middle:], task.pages[:middle]):
                alone.appendleft(replace(task, pages=pages))
            left[task.file] += 1
        else:
            reason = "the process that read this page died (out of memory, or killed from outside)"
            submit("task", task, _give_up, task, reason)
