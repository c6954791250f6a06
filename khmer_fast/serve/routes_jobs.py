"""Routes of jobs: made, listed, watched, removed, downloaded."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Header, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from khmer_fast.errors import KhmerFastError, printable
from khmer_fast.files.file_page import ALL_PAGES, PageRanges
from khmer_fast.formats import FORMATS
from khmer_fast.serve import tasks
from khmer_fast.serve.changes import stream
from khmer_fast.serve.errors import ServiceError, not_found
from khmer_fast.serve.schemas import Job, JobList, job_json
from khmer_fast.serve.service import Service, service_of
from khmer_fast.serve.store import DONE, FAILED, StoredJob

router = APIRouter(prefix="/v1/jobs")
TheService = Annotated[Service, Depends(service_of)]
Layout = Literal["auto", "page", "line"]
TextLayer = Literal["auto", "never", "only"]
NAME_LENGTH = 200  # of a file, as it is shown


@router.post("", status_code=201, response_model=Job)
async def make_job(
    service: TheService,
    request: Request,
    file: UploadFile,
    pages: Annotated[str | None, Form(description="such as 1-3,7 or 5-")] = None,
    password: Annotated[str | None, Form(description="of an encrypted PDF")] = None,
    layout: Annotated[Layout, Form()] = "auto",
    text_layer: Annotated[TextLayer, Form()] = "auto",
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> JSONResponse:
    """Takes in one document, an image or a PDF, and begins to read it."""
    limits = service.limits
    if idempotency_key is not None:
        earlier = await run_in_threadpool(service.store.job_of_request, idempotency_key)
        if earlier is not None:
            return _made(earlier, 200)
    waiting = service.pool.queue.pages
    if waiting >= limits.waiting_pages:
        raise service.busy(waiting)
    if await run_in_threadpool(service.store.count) >= limits.jobs:
        raise ServiceError(
            429, "too_many_jobs", f"there are {limits.jobs:,} jobs; remove some",
            {"Retry-After": "600"},
        )  # fmt: skip
    ranges = _ranges(pages)
    name = display_name(file.filename)
    try:
        upload = await run_in_threadpool(
            service.jobs.take_in, file.file, name, password or None, layout, text_layer
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ServiceError(507, "not_kept", f"the file cannot be kept: {reason}") from error
    try:
        count = await service.ask(request, tasks.CountPages(upload.source))
        numbers = [number for number in range(1, count + 1) if number in ranges]
        if not numbers:
            raise ServiceError(
                422, "no_such_page", f"this file has {count} pages, none of them in {ranges}"
            )
        if len(numbers) > limits.pages:
            raise ServiceError(
                413, "too_many_pages",
                f"this file has {len(numbers):,} pages to read, a job has at most "
                f"{limits.pages:,}; choose some with `pages`",
            )  # fmt: skip
    except BaseException:
        service.jobs.discard(upload)
        raise
    job, new = await run_in_threadpool(service.jobs.add, upload, numbers, idempotency_key)
    return _made(job, 201 if new else 200)


def _made(job: StoredJob, status: int) -> JSONResponse:
    return JSONResponse(job_json(job), status, {"Location": f"/v1/jobs/{job.id}"})


def _ranges(pages: str | None) -> PageRanges:
    try:
        return PageRanges.parse(pages) if pages else ALL_PAGES
    except KhmerFastError as error:
        raise ServiceError(422, "invalid", str(error)) from error


def display_name(name: str | None) -> str:
    """A file's name as it is shown: never a path, and never used as one."""
    last = re.split(r"[/\\]", name or "")[-1]
    return printable(last, NAME_LENGTH) or "document"


@router.get("", response_model=JobList)
def list_jobs(
    service: TheService, limit: Annotated[int, Query(ge=1, le=10_000)] = 200
) -> JSONResponse:
    """The newest jobs, newest first."""
    return JSONResponse({"jobs": [job_json(job) for job in service.store.jobs(limit)]})


@router.get("/{id}", response_model=Job)
def get_job(service: TheService, id: str) -> JSONResponse:
    """A job and where its pages stand."""
    return JSONResponse(job_json(service.job(id)))


@router.delete("/{id}", status_code=204)
def remove_job(service: TheService, id: str) -> Response:
    """Cancels a job and removes its file and its pages."""
    if not service.jobs.remove(id):
        raise not_found("job")
    return Response(status_code=204)


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def events(
    service: TheService,
    id: str,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Server-sent events: `job` at first and when its status changes, `page` for each page that
    changes. With `Last-Event-ID`, what came after it."""
    await run_in_threadpool(service.job, id)
    last = int(last_event_id) if last_event_id and last_event_id.isdecimal() else None
    source = stream(service.changes, service.store, id, last, lambda: service.changes.over)
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return StreamingResponse(source, media_type="text/event-stream", headers=headers)


@router.get("/{id}/result", response_class=FileResponse)
async def result(
    service: TheService, request: Request, id: str, format: str = "text"
) -> FileResponse:
    """The document, as corrected, as a download: text, json, hocr, alto, page, markdown, csv, docx,
    xlsx or pdf."""
    if format not in FORMATS:
        known = ", ".join(FORMATS)
        raise ServiceError(422, "invalid", f"expected a format of {known}, got {format[:40]!r}")
    job = await run_in_threadpool(service.job, id)
    if job.count(DONE) + job.count(FAILED) < len(job.pages):
        raise ServiceError(409, "not_finished", "some pages are not read yet", {"Retry-After": "1"})
    texts = await run_in_threadpool(service.store.texts, id)
    if not texts:
        raise ServiceError(409, "no_pages", "none of the pages could be read")
    target = service.jobs.new_file(job)
    task = tasks.WriteDocument(
        service.jobs.source(job), tuple(now for _, _, now in texts), format, str(target)
    )
    try:
        suffix = await service.ask(request, task)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    kind = "application/zip" if suffix == ".zip" else FORMATS[format].media_type
    return FileResponse(
        target, media_type=kind, filename=Path(job.name).stem + suffix,
        background=BackgroundTask(os.unlink, target),
    )  # fmt: skip
