"""The JSON of jobs, as the service gives it and OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from khmer_fast.serve import store
from khmer_fast.serve.store import StoredJob, StoredPage

Status = Literal["queued", "reading", "done", "failed"]

_PAGE_EXAMPLE: JsonDict = {
    "number": 1, "status": "done", "revision": 1, "confidence": 0.981, "error": None,
}  # fmt: skip
_JOB_EXAMPLE: JsonDict = {
    "id": "0d5c9f6be2a14f7d8a3e1b22", "name": "law.pdf", "status": "reading",
    "created": "2026-11-26T04:00:00Z", "expires": "2026-12-03T04:00:00Z", "pages": 2, "done": 1,
    "failed": 0,
    "page_status": [
        _PAGE_EXAMPLE,
        {"number": 2, "status": "reading", "revision": 0, "confidence": None, "error": None},
    ],
}  # fmt: skip


class PageStatus(BaseModel):
    """Where a page of a job stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PAGE_EXAMPLE]})

    number: int
    status: Status
    revision: Annotated[int, Field(description="0 before it is read, 1 as it was read")]
    confidence: Annotated[float | None, Field(description="mean of its lines, by character")]
    error: str | None


class Job(BaseModel):
    """A document that is read, or was."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB_EXAMPLE]})

    id: str
    name: str
    status: Annotated[Status, Field(description="failed: none of its pages could be read")]
    created: str
    expires: Annotated[str, Field(description="when the job and its file are removed")]
    pages: int | None
    done: int
    failed: int
    page_status: list[PageStatus]


class JobList(BaseModel):
    """All jobs, newest first."""

    jobs: list[Job]


class BoxToRead(BaseModel):
    """A place on the upright page, in its pixels: left, top, right, bottom."""

    model_config = ConfigDict(extra="forbid")

    box: Annotated[list[int], Field(min_length=4, max_length=4, examples=[[120, 340, 980, 396]])]


class ErrorText(BaseModel):
    """A code for programs, a sentence for people."""

    code: str
    message: str


class ErrorAnswer(BaseModel):
    """What every answer of 4xx and 5xx holds."""

    error: ErrorText


def page_json(page: StoredPage) -> dict[str, Any]:
    """A page's entry in `page_status`."""
    return {
        "number": page.number,
        "status": page.status,
        "revision": page.revision,
        "confidence": page.confidence and round(page.confidence, 4),
        "error": page.error,
    }


def job_json(job: StoredJob) -> dict[str, Any]:
    """A job with its pages."""
    return {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "created": _time(job.created),
        "expires": _time(job.expires),
        "pages": len(job.pages),
        "done": job.count(store.DONE),
        "failed": job.count(store.FAILED),
        "page_status": [page_json(page) for page in job.pages],
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat("T", "seconds")[:-6] + "Z"
