"""Routes of a job's pages: their text, their pictures, corrections."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from khmer_fast.errors import FormatError
from khmer_fast.formats.json import read_page, write_page
from khmer_fast.serve import tasks
from khmer_fast.serve.corrected import confidence_of, settled
from khmer_fast.serve.errors import ServiceError, not_found
from khmer_fast.serve.openapi import of_document
from khmer_fast.serve.routes_jobs import TheService
from khmer_fast.serve.schemas import BoxToRead
from khmer_fast.serve.service import Service
from khmer_fast.serve.store import DONE, FAILED, StoredJob, StoredPage

router = APIRouter(prefix="/v1/jobs/{id}/pages/{number}")
MOST_WIDTH = 16_000


@router.get("", response_class=Response, responses={200: of_document("Page")})
def get_page(
    service: TheService,
    id: str,
    number: int,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A page as it is now: the JSON of docs/document.schema.json's Page, and its `revision`."""
    page, text = _page(service, id, number)
    if if_none_match is not None and page.revision in _revisions(if_none_match):
        return Response(status_code=304, headers=_etag(page.revision))
    return _answer(text, page.revision)


@router.put(
    "",
    response_class=Response,
    responses={200: of_document("Page")},
    openapi_extra={"requestBody": {"required": True, **of_document("Page")}},
)
async def put_page(
    service: TheService,
    request: Request,
    id: str,
    number: int,
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Keeps a corrected page: a whole page's JSON, in the place of the revision that `If-Match`
    names."""
    if if_match is None:
        raise ServiceError(
            428, "revision_needed", 'say which revision this corrects: If-Match: "1"'
        )
    text = await request.body()
    return await run_in_threadpool(_correct, service, id, number, if_match, text)


def _correct(service: Service, id: str, number: int, if_match: str, text: bytes) -> Response:
    stored, before = _page(service, id, number)
    revisions = {stored.revision} if if_match.strip() == "*" else _revisions(if_match)
    if stored.revision not in revisions:
        raise _other_revision(stored.revision)
    try:
        page = settled(read_page(_without_revision(text)), read_page(before))
    except FormatError as error:
        raise ServiceError(422, "invalid_page", str(error)) from error
    kept = write_page(page)
    if not service.store.correct(id, number, stored.revision, kept, confidence_of(page)):
        now, _ = _page(service, id, number)
        raise _other_revision(now.revision)
    return _answer(kept, stored.revision + 1)


def _other_revision(now: int) -> ServiceError:
    return ServiceError(
        412, "other_revision", f"revision {now} is stored now; load it and correct that",
        _etag(now),
    )  # fmt: skip


def _without_revision(text: bytes) -> str:
    """The JSON of a page without the field that the service added to it."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not the JSON of a page: {error}") from error
    if isinstance(record, dict):
        record.pop("revision", None)
    return json.dumps(record)


@router.get("/image", responses={200: {"content": {"image/jpeg": {}}}}, response_class=Response)
async def image(
    service: TheService,
    request: Request,
    id: str,
    number: int,
    width: Annotated[int | None, Query(ge=1, le=MOST_WIDTH)] = None,
) -> Response:
    """The upright picture of a page, `width` pixels wide or as it was read (never larger)."""
    job, page, rotation = await run_in_threadpool(_place, service, id, number)
    task = tasks.DrawPage(service.jobs.source(job), number, rotation, width)
    data = await service.ask(request, task)
    seconds = 86_400 if page.status in (DONE, FAILED) else 0  # it may yet be turned
    headers = {"Cache-Control": f"private, max-age={seconds}"}
    return Response(data, media_type="image/jpeg", headers=headers)


@router.post("/read", response_class=Response, responses={200: of_document("Line")})
async def read_box(
    service: TheService, request: Request, id: str, number: int, place: BoxToRead
) -> Response:
    """Reads a box of the page as one line, now; answered by the JSON of a Line. Nothing is kept."""
    job, page, rotation = await run_in_threadpool(_place, service, id, number)
    left, top, right, bottom = place.box
    if not (0 <= left < right <= MOST_WIDTH and 0 <= top < bottom <= MOST_WIDTH):
        raise ServiceError(
            422, "invalid", "expected a box of left < right and top < bottom, in the page's pixels"
        )
    source = service.jobs.source(job)
    task = tasks.ReadBox(source, number, rotation, (left, top, right, bottom))
    return Response(await service.ask(request, task), media_type="application/json")


def _page(service: Service, id: str, number: int) -> tuple[StoredPage, str]:
    """A page that was read."""
    service.job(id)
    found = service.store.page(id, number)
    if found is None:
        raise not_found("page")
    page, text = found
    if page.status == FAILED:
        raise ServiceError(409, "page_failed", page.error or "this page could not be read")
    if page.status != DONE:
        raise ServiceError(409, "not_read", "this page is not read yet", {"Retry-After": "1"})
    return page, text


def _place(service: Service, id: str, number: int) -> tuple[StoredJob, StoredPage, int]:
    """A page, and how its picture is to be turned."""
    job = service.job(id)
    found = service.store.page(id, number)
    if found is None:
        raise not_found("page")
    page, text = found
    return job, page, json.loads(text)["rotation"] if text else 0


def _answer(text: str, revision: int) -> Response:
    content = f'{{"revision":{revision},{text[1:]}'
    headers = {**_etag(revision), "Cache-Control": "no-cache"}
    return Response(content.encode("utf-8", "replace"), 200, headers, "application/json")


def _etag(revision: int) -> dict[str, str]:
    return {"ETag": f'"{revision}"'}


def _revisions(header: str) -> set[int]:
    """The revisions that If-Match or If-None-Match names."""
    names = [name.strip().removeprefix("W/").strip('"') for name in header.split(",")]
    return {int(name) for name in names if name.isdecimal()}
