"""Jobs and their pages in SQLite: one file in the data folder, WAL, written by the server alone."""

from __future__ import annotations

import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

QUEUED, READING, DONE, FAILED = "queued", "reading", "done", "failed"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL,
    request_key TEXT UNIQUE, layout TEXT NOT NULL, text_layer TEXT NOT NULL, password TEXT,
    changes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS job_created ON job (created);
CREATE TABLE IF NOT EXISTS page (
    job TEXT NOT NULL REFERENCES job ON DELETE CASCADE, number INTEGER NOT NULL,
    status TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0, confidence REAL, error TEXT,
    changed INTEGER NOT NULL DEFAULT 0, as_read BLOB, corrected BLOB,
    PRIMARY KEY (job, number)
);
CREATE INDEX IF NOT EXISTS page_status ON page (status);
"""
_PAGE_FIELDS = "number, status, revision, confidence, error, changed"


@dataclass(frozen=True)
class StoredPage:
    """A page of a job, without its text."""

    number: int
    status: str  # queued, reading, done, failed
    revision: int  # 0 before it is read, 1 as it was read, more when it was corrected
    confidence: float | None
    error: str | None
    changed: int  # when it last changed, on the job's count of changes


@dataclass(frozen=True)
class StoredJob:
    """A job and its pages, without their texts."""

    id: str
    name: str
    created: float  # seconds since 1970
    expires: float
    layout: str
    text_layer: str
    password: str | None
    changes: int
    pages: tuple[StoredPage, ...]

    def count(self, status: str) -> int:
        """How many of its pages have a status."""
        return sum(page.status == status for page in self.pages)

    @property
    def status(self) -> str:
        """queued, reading, done (but for pages that failed) or failed (all of them)."""
        states = {page.status for page in self.pages}
        if states <= {DONE, FAILED}:
            return FAILED if states == {FAILED} else DONE
        return QUEUED if states == {QUEUED} else READING


class Store:
    """The jobs of a data folder; may be used from several threads at once.

    `on_change` is told the id of each job that changed, after it did.
    """

    def __init__(self, folder: Path, on_change: Callable[[str], None] = lambda job: None):
        self._on_change = on_change
        self._lock = threading.RLock()
        self._database = sqlite3.connect(
            folder / "jobs.sqlite", check_same_thread=False, isolation_level=None
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA foreign_keys = ON")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    # ---- jobs ----

    def add(self, job: StoredJob, request_key: str | None) -> bool:
        """Keeps a new job; False if one with its request key is there already."""
        with self._transaction() as database:
            added = database.execute(
                "INSERT INTO job (id, name, created, expires, request_key, layout, text_layer,"
                " password) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (request_key) DO NOTHING",
                (job.id, job.name, job.created, job.expires, request_key)
                + (job.layout, job.text_layer, job.password),
            ).rowcount
            if added:
                database.executemany(
                    "INSERT INTO page (job, number, status) VALUES (?, ?, ?)",
                    [(job.id, page.number, page.status) for page in job.pages],
                )
        return bool(added)

    def job(self, id: str) -> StoredJob | None:
        """The job of an id."""
        return next(iter(self._jobs("WHERE id = ?", (id,))), None)

    def job_of_request(self, request_key: str) -> StoredJob | None:
        """The job that a request of this key made."""
        return next(iter(self._jobs("WHERE request_key = ?", (request_key,))), None)

    def jobs(self, most: int = -1) -> list[StoredJob]:
        """The jobs, newest first."""
        return self._jobs("ORDER BY created DESC, id LIMIT ?", (most,))

    def count(self) -> int:
        """How many jobs there are."""
        with self._lock:
            return self._database.execute("SELECT count(*) FROM job").fetchone()[0]

    def ids(self) -> set[str]:
        """The ids of all jobs."""
        with self._lock:
            return {row[0] for row in self._database.execute("SELECT id FROM job")}

    def expired(self, now: float) -> list[str]:
        """The ids of jobs whose time is over."""
        with self._lock:
            rows = self._database.execute("SELECT id FROM job WHERE expires <= ?", (now,))
            return [row[0] for row in rows]

    def remove(self, id: str) -> bool:
        """Forgets a job; whether it was there."""
        with self._transaction() as database:
            removed = database.execute("DELETE FROM job WHERE id = ?", (id,)).rowcount
        self._on_change(id)
        return bool(removed)

    def _jobs(self, where: str, values: tuple) -> list[StoredJob]:
        with self._lock:
            jobs = self._database.execute(
                "SELECT id, name, created, expires, layout, text_layer, password, changes"
                f" FROM job {where}",
                values,
            ).fetchall()
            return [StoredJob(*(*job, self._pages(job[0]))) for job in jobs]

    def _pages(self, job: str) -> tuple[StoredPage, ...]:
        rows = self._database.execute(
            f"SELECT {_PAGE_FIELDS} FROM page WHERE job = ? ORDER BY number", (job,)
        )
        return tuple(StoredPage(*row) for row in rows)

    # ---- pages ----

    def page(self, job: str, number: int) -> tuple[StoredPage, str] | None:
        """A page and its JSON as it stands now ("" before it is read)."""
        with self._lock:
            row = self._database.execute(
                f"SELECT {_PAGE_FIELDS}, coalesce(corrected, as_read) FROM page"
                " WHERE job = ? AND number = ?",
                (job, number),
            ).fetchone()
        return row and (StoredPage(*row[:-1]), _unpacked(row[-1]))

    def texts(self, job: str) -> list[tuple[StoredPage, str, str]]:
        """The pages of a job that were read, each with its JSON as it was read and as it is now."""
        with self._lock:
            rows = self._database.execute(
                f"SELECT {_PAGE_FIELDS}, as_read, coalesce(corrected, as_read) FROM page"
                " WHERE job = ? AND as_read IS NOT NULL ORDER BY number",
                (job,),
            ).fetchall()
        return [(StoredPage(*row[:-2]), _unpacked(row[-2]), _unpacked(row[-1])) for row in rows]

    def begin(self, job: str, number: int) -> bool:
        """Notes that a worker reads a page; False if there is nothing to read (any more)."""
        return self._change(job, number, (QUEUED,), "status = ?", (READING,))

    def finish(
        self, job: str, number: int, json: str, confidence: float | None, error: str | None
    ) -> bool:
        """Keeps what was read of a page, once; False if nobody waits for it any more."""
        return self._change(
            job, number, (READING,),
            "status = ?, revision = ?, confidence = ?, error = ?, as_read = ?",
            (FAILED if error else DONE, 0 if error else 1, confidence, error)
            + (None if error else _packed(json),),
        )  # fmt: skip

    def give_up(self, job: str, number: int, error: str) -> bool:
        """Marks a page that was not read as failed."""
        return self._change(
            job, number, (QUEUED, READING), "status = ?, error = ?", (FAILED, error)
        )

    def correct(
        self, job: str, number: int, revision: int, json: str, confidence: float | None
    ) -> bool:
        """Keeps a corrected page in the place of `revision`; False if another one is there."""
        return self._change(
            job, number, (DONE,), "revision = revision + 1, corrected = ?, confidence = ?",
            (_packed(json), confidence), revision,
        )  # fmt: skip

    def waiting(self) -> Sequence[tuple[str, int]]:
        """Jobs and numbers of pages to read, in the order that they came; what was being read
        when the last server ended counts among them from now on."""
        with self._transaction() as database:
            database.execute("UPDATE page SET status = ? WHERE status = ?", (QUEUED, READING))
            return database.execute(
                "SELECT page.job, page.number FROM page JOIN job ON job.id = page.job"
                " WHERE page.status = ? ORDER BY job.created, job.id, page.number",
                (QUEUED,),
            ).fetchall()

    def _change(
        self, job: str, number: int, states: tuple[str, ...], assignments: str, values: tuple,
        revision: int | None = None,
    ) -> bool:  # fmt: skip
        """Changes a page that has one of `states` (and `revision`); whether it had."""
        with self._transaction() as database:
            marks = ", ".join("?" * len(states))
            changed = database.execute(
                f"UPDATE page SET {assignments},"
                " changed = (SELECT changes + 1 FROM job WHERE id = page.job)"
                f" WHERE job = ? AND number = ? AND status IN ({marks})"
                " AND revision = coalesce(?, revision)",
                (*values, job, number, *states, revision),
            ).rowcount
            if changed:
                database.execute("UPDATE job SET changes = changes + 1 WHERE id = ?", (job,))
        if changed:
            self._on_change(job)
        return bool(changed)


def _packed(json: str) -> bytes:
    return zlib.compress(json.encode("utf-8", "surrogatepass"), 1)


def _unpacked(packed: bytes | None) -> str:
    return "" if packed is None else zlib.decompress(packed).decode("utf-8", "surrogatepass")


def now() -> float:
    """Seconds since 1970."""
    return time.time()
