"""Who waits for a job to change: server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from starlette.concurrency import run_in_threadpool

from khmer_fast.serve.schemas import job_json, page_json
from khmer_fast.serve.store import Store

HEARTBEAT_SECONDS = 15.0  # proxies and browsers give a silent connection up after a minute or so


class Changes:
    """Wakes those who listen to a job; `tell` may be called by any thread."""

    def __init__(self) -> None:
        self._listening: dict[str, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.over = False

    def bind(self) -> None:
        """Takes the running loop for those who listen."""
        self._loop = asyncio.get_running_loop()

    def tell(self, job: str) -> None:
        """Says that a job has changed."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # the loop was closed just now: nobody listens
                self._loop.call_soon_threadsafe(self._wake, job)

    def end(self) -> None:
        """Ends all streams."""
        self.over = True
        for job in list(self._listening):
            self._wake(job)

    def _wake(self, job: str) -> None:
        for event in self._listening.get(job, ()):
            event.set()

    @contextmanager
    def listen(self, job: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of the job."""
        event = asyncio.Event()
        self._listening.setdefault(job, set()).add(event)
        try:
            yield event
        finally:
            self._listening[job].discard(event)
            if not self._listening[job]:
                del self._listening[job]


async def stream(
    changes: Changes, store: Store, id: str, last: int | None, over: Callable[[], bool]
) -> AsyncIterator[str]:
    """Server-sent events of a job: at first the job, unless the client knows what came up to the
    change `last`; then each page that changes, and the job when its status does.

    Ends when the job is removed, or `over`.
    """
    known, status = last or 0, ""
    with changes.listen(id) as changed:
        while not over():
            changed.clear()
            job = await run_in_threadpool(store.job, id)
            if job is None:
                return
            if last is not None or status:
                for page in sorted(job.pages, key=lambda page: page.changed):
                    if page.changed > known:
                        yield _event("page", page.changed, page_json(page))
            if job.status != status and not (last is not None and job.changes == last):
                yield _event("job", job.changes, job_json(job))
            known, status = job.changes, job.status
            try:
                await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield ": waiting\n\n"


def _event(kind: str, id: int, data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\nid: {id}\ndata: {text}\n\n"
