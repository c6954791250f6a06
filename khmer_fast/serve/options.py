"""What a service may be told: where it keeps jobs, how it reads, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReaderOptions:
    """How the workers read; as `PageReader`'s."""

    weights: str | None = None
    segmenter: str | None = None
    device: str = "auto"
    beam: int = 5
    n_best: int = 5  # answers a line, so that the page can offer alternatives
    threads: int = 1  # of each worker


@dataclass(frozen=True)
class Limits:
    """How much one request, one document and the queue may take."""

    upload_bytes: int = 200 * 2**20  # of a job's file
    read_bytes: int = 20 * 2**20  # of a file that is answered at once
    json_bytes: int = 20 * 2**20  # of a corrected page
    pages: int = 2_000  # of a job
    read_pages: int = 20  # of a file that is answered at once
    waiting_pages: int = 20_000  # of all jobs, not read yet
    waiting_requests: int = 64  # for a worker's answer
    jobs: int = 10_000
    silent_seconds: float = 20.0  # of a client that is sending
    upload_seconds: float = 600.0
    answer_seconds: float = 180.0  # that a worker may take for a page or a request
    keep_seconds: float = 7 * 86_400.0  # of a job, from its making on


@dataclass(frozen=True)
class ServeOptions:
    """A service."""

    folder: str  # its data: jobs.sqlite and the files of jobs
    workers: int = 1
    restart_after: int = 2_000  # pages and requests that a worker process answers
    read_together: int = 32  # small files that wait, whose lines a worker reads in one batch
    hosts: tuple[str, ...] = ()  # names that it may be called by, beside localhost and addresses
    api_key: str | None = None
    reader: ReaderOptions = ReaderOptions()
    limits: Limits = Limits()
