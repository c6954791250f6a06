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
from khmer_fast.bulk.plan import DIED, STRIKES, Ledger, Outcome, Planned, Task
from khmer_fast.bulk.read_pages import FileFacts, unreadable
from khmer_fast.bulk.worker import Worker, facts_of, give_up, write_formats
from khmer_fast.errors import BulkError

AHEAD = 2  # jobs waiting for each worker
MOST_DEATHS_IN_A_ROW = 20
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


def _read(task: Task) -> Outcome:
    return _worker.read(task, _stop.is_set)


@dataclass(frozen=True)
class Written:
    """The formats of a file are there, or the reason why not."""

    file: FileFacts
    error: str


@dataclass(frozen=True)
class _Job:
    """What a process was asked to do, and enough to ask again."""

    kind: str  # facts, read or formats
    what: Any  # (place, name) of a source; a Task; (file, stem, missing_only)
    alone: bool = False  # no other runs beside it


class LocalPool:
    """Maps sources to what became of them, with a pool of `workers` processes of one thread each.

    With `stem_of`, which is asked once a file in the order of sources, the formats of the options
    are written for every file whose pages are all read.
    """

    def __init__(
        self, options: BulkOptions, results: Path, weights: str, workers: int, pages_per_task: int,
        stem_of: Callable[[str], Path] | None = None,
    ):  # fmt: skip
        self._options, self._results, self._weights = options, results, weights
        self._workers, self._pages_per_task = workers, pages_per_task
        self._stem_of = stem_of if options.formats else None
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._open()
        self._pending: dict[Future, _Job] = {}
        self._tasks: deque[Task] = deque()
        self._alone: deque[_Job] = deque()  # workers died under them
        self._deaths: Counter[_Job] = Counter()
        self._deaths_in_a_row = 0  # with nothing done between them
        self._left: dict[str, int] = {}  # sha256 of a file: its tasks that are not done
        self._stems: dict[str, list[tuple[FileFacts, Path]]] = {}  # of files that are being read
        self._facts: dict[int, FileFacts] = {}  # that came before those of an earlier source
        self._planned = 0

    def _open(self) -> None:
        arguments = (self._options, self._results, self._stop)
        self._pool = ProcessPoolExecutor(self._workers, self._context, _open_worker, arguments)

    def run(self, sources: Iterable[str], ledger: Ledger) -> Iterator[Planned | Outcome | Written]:
        """Reads everything that the ledger lacks; gives what was planned and done as it comes.

        Raises BulkError for results that cannot be written. A KeyboardInterrupt ends it within
        seconds, with the pages that were finished kept.
        """
        names = enumerate(sources)
        try:
            while True:
                try:
                    self._submit_more(names)
                    if not self._pending:
                        return
                    done, _ = wait(self._pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        answer = future.result()
                        yield from self._take(self._pending.pop(future), answer, ledger)
                except BrokenProcessPool:
                    yield from self._after_death(ledger)
        except BaseException:
            self._stop.set()
            wait(self._pending, timeout=INTERRUPT_SECONDS)
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            raise
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, job: _Job) -> None:
        future: Future
        try:
            if job.kind == "facts":
                future = self._pool.submit(facts_of, job.what[1])
            elif job.kind == "read":
                future = self._pool.submit(_read, job.what)
            else:
                formats = self._options.formats
                future = self._pool.submit(write_formats, self._results, formats, *job.what)
        except BrokenProcessPool as error:  # a worker died while none was waited for
            future = Future()
            future.set_exception(error)
        self._pending[future] = job

    def _submit_more(self, names: Iterator[tuple[int, str]]) -> None:
        """Keeps the workers busy; a job that runs alone waits for all others, and they for it."""
        if any(job.alone for job in self._pending.values()):
            return
        while len(self._pending) < AHEAD * self._workers:
            if self._tasks:
                self._submit(_Job("read", self._tasks.popleft()))
            elif (name := next(names, None)) is not None:
                self._submit(_Job("facts", name))
            else:
                break
        if self._alone and not self._pending:
            self._submit(self._alone.popleft())

    def _take(
        self, job: _Job, answer: Any, ledger: Ledger
    ) -> Iterator[Planned | Outcome | Written]:  # fmt: skip
        self._deaths.pop(job, None)
        self._deaths_in_a_row = 0
        if job.kind == "facts":
            self._facts[job.what[0]] = answer
            while (file := self._facts.pop(self._planned, None)) is not None:
                self._planned += 1  # in the order of sources, whichever came first
                yield self._plan(file, ledger)
        elif job.kind == "formats":
            yield Written(job.what[0], answer)
        else:
            yield answer
            self._less(job.what.file.sha256)

    def _plan(self, file: FileFacts, ledger: Ledger) -> Planned:
        tasks = ledger.plan(file, self._pages_per_task)
        self._tasks.extend(tasks)
        if tasks:
            self._left[file.sha256] = len(tasks)
        if self._stem_of and not file.error:
            stem = self._stem_of(file.source)
            if file.sha256 in self._left:  # the same bytes under a second name wait for the first
                self._stems.setdefault(file.sha256, []).append((file, stem))
            else:
                self._submit(_Job("formats", (file, stem, True)))
        return Planned(file, sum(len(task.pages) for task in tasks))

    def _less(self, sha256: str) -> None:
        """One task less of a file; after the last one its formats are written."""
        self._left[sha256] -= 1
        if not self._left[sha256]:
            del self._left[sha256]
            for file, stem in self._stems.pop(sha256, ()):
                self._submit(_Job("formats", (file, stem, False)))

    def _after_death(self, ledger: Ledger) -> Iterator[Planned | Outcome | Written]:
        """A worker died: what it and the others had is done again, by new ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > MOST_DEATHS_IN_A_ROW:
            raise BulkError(
                f"workers died {MOST_DEATHS_IN_A_ROW} times in a row with nothing done between: is "
                "there memory for --workers of them? The same command goes on where it was"
            )
        self._open()
        lost, self._pending = self._pending, {}
        for future, job in lost.items():
            if future.cancelled() or isinstance(future.exception(), BrokenProcessPool):
                yield from self._again(job, ledger)
            else:
                yield from self._take(job, future.result(), ledger)

    def _again(self, job: _Job, ledger: Ledger) -> Iterator[Planned | Outcome | Written]:
        """Does a job again under which a worker died: with others, then alone, then in halves."""
        self._deaths[job] += 1
        if not job.alone and self._deaths[job] < STRIKES:
            self._submit(job)
        elif not job.alone:
            self._alone.append(replace(job, alone=True))
        elif job.kind == "facts":
            yield from self._take(job, unreadable(job.what[1], DIED), ledger)
        elif job.kind == "formats":
            yield from self._take(job, f"{job.what[0].source}: {DIED}", ledger)
        elif len(job.what.pages) > 1:  # so that one page is blamed in the end
            self._alone.extendleft(_Job("read", half, True) for half in job.what.halves())
            self._left[job.what.file.sha256] += 1
        else:
            task: Task = job.what
            yield from self._take(job, give_up(task, DIED, self._results, self._weights), ledger)
