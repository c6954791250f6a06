"""Worker processes, each with a thread of the server that feeds it; a dead one is replaced."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection, wait
from typing import Any

from khmer_fast.serve import worker
from khmer_fast.serve.errors import TaskRefused, WorkerDied
from khmer_fast.serve.options import ServeOptions
from khmer_fast.serve.queue import TaskQueue, Ticket
from khmer_fast.serve.tasks import Refusal, Task

LOAD_SECONDS = 300.0  # that a worker may take to load its reader
IDLE_SECONDS = 0.5  # after which a waiting thread looks at its process
REST_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before the next start, by failed starts in a row
PAGE_TRIES = 3  # of a job's page; a request has two
log = logging.getLogger("khmer_fast.serve")


class WorkerPool:
    """Workers that take tasks from one queue.

    `on_death` is told of each process that ended before its time. `failure` says why workers cannot
    be started; None while they can.
    """

    def __init__(self, options: ServeOptions, on_death: Callable[[], None] = lambda: None):
        self.queue = TaskQueue(options.read_together, options.workers)
        self.failure: str | None = None
        self._options, self._on_death = options, on_death
        self._stopping = threading.Event()
        self._slots = [_Slot(self, number) for number in range(options.workers)]

    def start(self) -> None:
        """Starts the workers; `ready` tells when they are."""
        for slot in self._slots:
            slot.start()

    def stop(self) -> None:
        """Ends the workers; what they were at is lost."""
        self._stopping.set()
        for slot in self._slots:
            slot.end()
        for slot in self._slots:
            slot.join()
        self.queue.cancel()

    @property
    def ready(self) -> int:
        """How many workers have loaded their reader."""
        return sum(slot.ready for slot in self._slots)

    @property
    def pids(self) -> list[int]:
        """Ids of the processes."""
        return [slot.pid for slot in self._slots if slot.pid is not None]

    def submit(
        self, task: Task, key: tuple | None = None, begin: Callable[[], object] = lambda: None
    ) -> Future:
        """Has a task done: a request at once, a page of a job (with a key) in its turn.

        `begin` is called when a worker takes it. The future gives the answer, or raises
        TaskRefused or WorkerDied.
        """
        ticket = Ticket(task, begin) if key is None else Ticket(task, begin, tries=PAGE_TRIES)
        self.queue.put(ticket, key)
        return ticket.future


class _Slot(threading.Thread):
    """A worker's place: its thread in the server, and its process of the moment."""

    def __init__(self, pool: WorkerPool, number: int):
        super().__init__(name=f"worker-{number}", daemon=True)
        self._pool = pool
        self._options = pool._options
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection
        self._answered = 0
        self.ready = False

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None else None

    def run(self) -> None:
        failures = 0
        while not self._pool._stopping.is_set():
            if self._process is None or not self._process.is_alive():
                if self.ready:
                    self._died("idle")
                if not self._start():
                    failures += 1
                    rest = REST_SECONDS[min(failures, len(REST_SECONDS) - 1)]
                    self._pool._stopping.wait(rest)
                    continue
                failures = 0
            batch = self._pool.queue.take(IDLE_SECONDS)
            if batch:
                self._work(batch)
        self.end()

    def end(self) -> None:
        """Ends the process."""
        self.ready = False
        if self._process is not None:
            self._process.kill()

    def _start(self) -> bool:
        """Starts a process and waits for its reader."""
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=worker.main, args=(theirs, self._options.reader), daemon=True
        )
        self._process.start()
        theirs.close()
        answer = self._receive(LOAD_SECONDS)
        if answer == worker.READY:
            self._answered = 0
            self.ready, self._pool.failure = True, None
            return True
        if not self._pool._stopping.is_set():
            reason = answer.message if isinstance(answer, Refusal) else "it ended while loading"
            self._pool.failure = reason
            log.error("worker cannot start", extra={"fields": {"reason": reason}})
        self._clear()
        return False

    def _work(self, batch: list[Ticket]) -> None:
        for ticket in batch:
            ticket.begin()
        left = dict(enumerate(batch))
        try:
            self._pipe.send([ticket.task for ticket in batch])
        except (BrokenPipeError, ConnectionResetError):  # it died before the tasks came
            self._blame(batch, late=False)
            return
        while left:
            began = time.monotonic()
            answer = self._receive(self._options.limits.answer_seconds)
            if answer is None:
                late = time.monotonic() - began >= self._options.limits.answer_seconds
                self._blame(list(left.values()), late)
                return
            number, what = answer
            future = left.pop(number).future
            if isinstance(what, Refusal):
                future.set_exception(TaskRefused(what.kind, what.message))
            else:
                future.set_result(what)
        self._answered += len(batch)
        if self._answered >= self._options.restart_after:
            self.ready = False
            self._clear()  # its memory goes back with it

    def _receive(self, seconds: float) -> Any:
        """What the process sends; None if it ends first, or takes too long."""
        if self._pipe not in wait([self._pipe, self._process.sentinel], seconds):
            return None
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return None

    def _died(self, task: str) -> None:
        self.ready = False
        self._clear()
        if not self._pool._stopping.is_set():
            code = self._process.exitcode if self._process else None
            log.error("worker died", extra={"fields": {"task": task, "exit": code}})
            self._pool._on_death()

    def _clear(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()

    def _blame(self, batch: list[Ticket], late: bool) -> None:
        """Tries tasks again whose process died or is `late`: alone, and only so often."""
        self._died(type(batch[0].task).__name__)
        limit = self._options.limits.answer_seconds
        for ticket in batch:
            ticket.tries -= len(batch) == 1
            if len(batch) == 1 and late:
                reason = f"this took more than {limit:g} seconds and was ended"
                ticket.future.set_exception(WorkerDied(reason))
            elif ticket.tries == 0:
                reason = "the processes that worked at this died (out of memory?)"
                ticket.future.set_exception(WorkerDied(reason))
            else:
                ticket.alone = True
                self._pool.queue.put(ticket, first=True)
