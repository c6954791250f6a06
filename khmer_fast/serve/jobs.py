"""Jobs: a document each, read page by page, kept until their time is over."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from khmer_fast.errors import KhmerFastError, OptionError
from khmer_fast.serve import tasks
from khmer_fast.serve.errors import TaskRefused, WorkerDied
from khmer_fast.serve.metrics import Metrics
from khmer_fast.serve.options import ServeOptions
from khmer_fast.serve.pool import WorkerPool
from khmer_fast.serve.store import QUEUED, Store, StoredJob, StoredPage, now

FIRST_PAGES = 2  # of each job, read before the other pages of all jobs
log = logging.getLogger("khmer_fast.serve")


@dataclass(frozen=True)
class Upload:
    """A file that was taken in, under a name of ours, and what is asked of it."""

    id: str  # of the job that it will be
    source: tasks.Source
    layout: str
    text_layer: str


class Jobs:
    """The jobs of a data folder and the workers that read them.

    Raises OptionError if another server uses the folder.
    """

    def __init__(
        self,
        options: ServeOptions,
        pool: WorkerPool,
        metrics: Metrics,
        on_change: Callable[[str], None],
    ):
        self._options, self._pool, self._metrics = options, pool, metrics
        self._files = Path(options.folder) / "jobs"
        self._files.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _locked(Path(options.folder) / "lock")
        self.store = Store(Path(options.folder), on_change)
        self._waiting: dict[str, set[Future]] = {}  # by job, until they are done

    def resume(self) -> None:
        """Goes on with what the last server left, and removes what belongs to no job."""
        known = self.store.ids()
        for folder in self._files.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
        jobs: dict[str, StoredJob | None] = {}
        for id, number in self.store.waiting():
            if id not in jobs:
                jobs[id] = self.store.job(id)
            job = jobs[id]
            if job is not None:
                self._submit(job, [number])

    def close(self) -> None:
        """Closes the store and frees the folder."""
        self.store.close()
        self._lock.close()

    # ---- making and removing ----

    def take_in(
        self, file: BinaryIO, name: str, password: str | None, layout: str, text_layer: str
    ) -> Upload:
        """Copies a file into the data folder."""
        id = secrets.token_hex(12)
        folder = self._files / id
        folder.mkdir(mode=0o700)
        path = folder / "original"
        try:
            with path.open("xb") as kept:
                shutil.copyfileobj(file, kept, 2**20)
                kept.flush()
                os.fsync(kept.fileno())
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Upload(id, tasks.Source(str(path), name, password), layout, text_layer)

    def discard(self, upload: Upload) -> None:
        """Removes a file that becomes no job."""
        shutil.rmtree(self._files / upload.id, ignore_errors=True)

    def add(
        self, upload: Upload, numbers: list[int], request_key: str | None
    ) -> tuple[StoredJob, bool]:
        """Makes the job of an upload; with the key of an earlier request that one's job, and
        whether it is new."""
        created = now()
        job = StoredJob(
            upload.id, upload.source.name, created, created + self._options.limits.keep_seconds,
            upload.layout, upload.text_layer, upload.source.password, 0,
            tuple(StoredPage(number, QUEUED, 0, None, None, 0) for number in numbers),
        )  # fmt: skip
        if not self.store.add(job, request_key):
            self.discard(upload)
            earlier = self.store.job_of_request(request_key or "")
            if earlier is None:
                raise KhmerFastError("the job of this Idempotency-Key was just removed")
            return earlier, False
        self._submit(job, numbers)
        return job, True

    def remove(self, id: str) -> bool:
        """Cancels and removes a job; whether there was one."""
        for future in list(self._waiting.pop(id, ())):
            future.cancel()
        removed = self.store.remove(id)
        shutil.rmtree(self._files / id, ignore_errors=True)
        return removed

    def remove_expired(self) -> None:
        """Removes the jobs whose time is over."""
        for id in self.store.expired(now()):
            self.remove(id)
            log.info("job expired", extra={"fields": {"job": id}})

    # ---- files ----

    def source(self, job: StoredJob) -> tasks.Source:
        """The file of a job."""
        return source_of(self._files.parent, job)

    def new_file(self, job: StoredJob) -> Path:
        """A name for a file beside the job's own."""
        return self._files / job.id / f"out-{secrets.token_hex(8)}"

    # ---- reading ----

    def _submit(self, job: StoredJob, numbers: list[int]) -> None:
        futures = self._waiting.setdefault(job.id, set())
        first = {page.number for page in job.pages[:FIRST_PAGES]}
        for number in numbers:
            task = tasks.ReadPage(self.source(job), number, job.layout, job.text_layer)
            key = (number not in first, job.created, number)
            future = self._pool.submit(task, key, partial(self.store.begin, job.id, number))
            futures.add(future)
            future.add_done_callback(futures.discard)
            future.add_done_callback(partial(self._finish, job.id, number))

    def _finish(self, job: str, number: int, future: Future[Any]) -> None:
        """Keeps what became of a page."""
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, (TaskRefused, WorkerDied)):
            kept, failed, seconds = self.store.give_up(job, number, str(error)), True, {}
        else:
            answer: tasks.PageAnswer = future.result()
            seconds, failed = answer.seconds, answer.error is not None
            kept = self.store.finish(job, number, answer.json, answer.confidence, answer.error)
        if kept:
            self._metrics.pages.labels("failed" if failed else "done").inc()
            self._metrics.took(seconds)
            took = {stage: round(value, 4) for stage, value in seconds.items()}
            fields = {"job": job, "page": number, "failed": failed, "seconds": took}
            log.info("page", extra={"fields": fields})


def source_of(folder: Path, job: StoredJob) -> tasks.Source:
    """The file of a job in a data folder."""
    return tasks.Source(str(folder / "jobs" / job.id / "original"), job.name, job.password)


def _locked(path: Path) -> BinaryIO:
    """The file, held by this process for as long as it is open."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise OptionError(
            f"{path.parent}: another khmer-fast serve uses this data folder; stop it, or give "
            "another one with --data"
        ) from error
    return file
