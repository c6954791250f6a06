"""What waits for a worker: requests of people who look on first, then the pages of jobs."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from khmer_fast.serve.tasks import ReadFile, Task

TOGETHER_BYTES = 64 * 2**10  # of a batch: lines and small pictures; a scanned page goes alone
REQUESTS_IN_A_ROW = 8  # batches of requests after which a waiting page has its turn


@dataclass(eq=False)
class Ticket:
    """A task that waits, and the future of its answer."""

    task: Task
    begin: Callable[[], object] = lambda: None  # called when a worker takes it
    future: Future = field(default_factory=Future)
    tries: int = 2  # that are left: a worker that dies under it costs one
    alone: bool = False  # a worker died under it: it goes in no batch any more


class TaskQueue:
    """Tasks of several threads for several threads; at most so many small files go `together`,
    and no more than each of the `workers` gets of those that wait."""

    def __init__(self, together: int = 1, workers: int = 1):
        self._together, self._workers = together, workers
        self._requests: deque[Ticket] = deque()
        self._pages: list[tuple[tuple, int, Ticket]] = []  # a heap: key, count, ticket
        self._count = itertools.count()
        self._in_a_row = 0
        self._changed = threading.Condition()

    @property
    def requests(self) -> int:
        """How many requests wait."""
        return len(self._requests)

    @property
    def pages(self) -> int:
        """How many pages of jobs wait."""
        return len(self._pages)

    def put(self, ticket: Ticket, key: tuple | None = None, first: bool = False) -> None:
        """Adds a request, or with a key a page of a job: lower keys are read first."""
        with self._changed:
            if key is not None:
                heapq.heappush(self._pages, (key, next(self._count), ticket))
            elif first:
                self._requests.appendleft(ticket)
            else:
                self._requests.append(ticket)
            self._changed.notify()

    def take(self, seconds: float) -> list[Ticket]:
        """The next tasks for one worker, whose futures run now; none if none comes in time.

        Several are small files: what came while all workers were busy is read together. Nobody
        waits for others to come.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._requests or self._pages, seconds):
                return []
            ticket = self._next()
            if ticket is None:
                return []
            batch = [ticket]
            if isinstance(ticket.task, ReadFile) and not ticket.alone:
                batch += self._with(ticket.task)
            return batch

    def _with(self, first: ReadFile) -> list[Ticket]:
        """The small files that go together with the first one."""
        waiting = 1 + sum(isinstance(x.task, ReadFile) for x in self._requests)
        share = min(math.ceil(waiting / self._workers), self._together)
        room = TOGETHER_BYTES - len(first.data)
        batch: list[Ticket] = []
        left: deque[Ticket] = deque()
        while self._requests and 1 + len(batch) < share:
            ticket = self._requests.popleft()
            task = ticket.task
            if not isinstance(task, ReadFile) or ticket.alone or len(task.data) > room:
                left.append(ticket)
            elif _running(ticket):
                batch.append(ticket)
                room -= len(task.data)
        self._requests.extendleft(reversed(left))
        return batch

    def cancel(self) -> None:
        """Cancels all that waits."""
        with self._changed:
            for ticket in (*self._requests, *(entry[2] for entry in self._pages)):
                ticket.future.cancel()

    def _next(self) -> Ticket | None:
        while self._requests or self._pages:
            turn = self._in_a_row >= REQUESTS_IN_A_ROW and bool(self._pages)
            if self._requests and not turn:
                ticket = self._requests.popleft()
                self._in_a_row += 1
            else:
                ticket = heapq.heappop(self._pages)[2]
                self._in_a_row = 0
            if _running(ticket):
                return ticket
        return None


def _running(ticket: Ticket) -> bool:
    """Marks a ticket's future as running; False if nobody waits for it any more."""
    return ticket.future.running() or ticket.future.set_running_or_notify_cancel()
