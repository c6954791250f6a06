"""A running service: its workers, its jobs, its counts; what the routes work with."""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
from pathlib import Path
from typing import Any

from fastapi import Request

from khmer_fast.serve.changes import Changes
from khmer_fast.serve.errors import (
    CLIENT_GONE,
    ServiceError,
    TaskRefused,
    WorkerDied,
    not_found,
    refused,
)
from khmer_fast.serve.jobs import Jobs
from khmer_fast.serve.metrics import Metrics
from khmer_fast.serve.options import ServeOptions
from khmer_fast.serve.pool import WorkerPool
from khmer_fast.serve.store import StoredJob
from khmer_fast.serve.tasks import Task

SWEEP_SECONDS = 60.0  # between looks for jobs whose time is over
LOOK_SECONDS = 0.5  # between looks whether a waiting client is still there
PAGE_SECONDS = 0.5  # that a page takes a worker, for Retry-After
log = logging.getLogger("khmer_fast.serve")


class Service:
    """Makes everything that a service needs; `start` and `stop` run it.

    Raises OptionError if another server uses the data folder.
    """

    def __init__(self, options: ServeOptions):
        Path(options.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.options, self.limits = options, options.limits
        self.metrics, self.changes = Metrics(), Changes()
        self.pool = WorkerPool(options, self.metrics.deaths.inc)
        self.jobs = Jobs(options, self.pool, self.metrics, self.changes.tell)
        self.store = self.jobs.store
        self.metrics.watch("queue_pages", "Pages of jobs that wait", lambda: self.pool.queue.pages)
        self.metrics.watch("queue_requests", "Requests that wait", lambda: self.pool.queue.requests)
        self.metrics.watch("workers_ready", "Workers that can read", lambda: self.pool.ready)

    def start(self) -> None:
        """Starts the workers, and goes on with what an earlier server left."""
        self.changes.bind()
        self.pool.start()
        self.jobs.resume()

    def stop(self) -> None:
        """Ends the workers; pages that they were at are read when a service starts again."""
        self.pool.stop()
        self.jobs.close()

    async def sweep(self) -> None:
        """Removes jobs whose time is over, for ever."""
        while True:
            try:
                await asyncio.to_thread(self.jobs.remove_expired)
            except (OSError, sqlite3.Error):  # such as a full disk: the next time may do better
                log.exception("jobs whose time is over could not be removed")
            await asyncio.sleep(SWEEP_SECONDS)

    async def ask(self, request: Request, task: Task) -> Any:
        """The answer of a worker to a request. Raises ServiceError if there is none, also for a
        queue that is full; a request whose client went away is taken out of the queue."""
        if self.pool.queue.requests >= self.limits.waiting_requests:
            raise self.busy(self.pool.queue.requests)
        future = asyncio.wrap_future(self.pool.submit(task))
        try:
            while not future.done():
                await asyncio.wait([future], timeout=LOOK_SECONDS)
                if not future.done() and await request.is_disconnected():
                    raise ServiceError(CLIENT_GONE, "client_gone", "the client went away")
            return future.result()
        except TaskRefused as error:
            raise refused(error) from error
        except WorkerDied as error:
            raise ServiceError(500, "worker_died", str(error)) from error
        except asyncio.CancelledError:
            if not future.cancelled():
                raise
            raise ServiceError(503, "stopping", "the service is being stopped") from None
        finally:
            future.cancel()

    def busy(self, ahead: int) -> ServiceError:
        """429, with the seconds after which so much that waits ahead may be done."""
        seconds = max(math.ceil(ahead * PAGE_SECONDS / self.options.workers), 1)
        message = f"too much is waiting to be read; try again in {seconds} seconds"
        return ServiceError(429, "queue_full", message, {"Retry-After": str(min(seconds, 600))})

    def job(self, id: str) -> StoredJob:
        """The job of an id. Raises ServiceError if there is none."""
        job = self.store.job(id)
        if job is None:
            raise not_found("job")
        return job


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return request.app.state.service
