"""Small files, answered at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response, UploadFile

from khmer_fast.formats import FORMATS
from khmer_fast.serve import tasks
from khmer_fast.serve.errors import ServiceError
from khmer_fast.serve.routes_jobs import Layout, TextLayer, TheService, display_name

router = APIRouter(prefix="/v1")


@router.post("/read", response_class=Response)
async def read(
    service: TheService,
    request: Request,
    file: UploadFile,
    layout: Annotated[Layout | None, Query()] = None,
    format: Annotated[str | None, Query()] = None,
    pages: Annotated[str | None, Query()] = None,
    form_layout: Annotated[Layout | None, Form(alias="layout")] = None,
    form_format: Annotated[str | None, Form(alias="format")] = None,
    form_pages: Annotated[str | None, Form(alias="pages")] = None,
    text_layer: Annotated[TextLayer, Form()] = "auto",
    password: Annotated[str | None, Form(description="of an encrypted PDF")] = None,
) -> Response:
    """Reads an image, or a PDF of a few pages; answered by the document in `format` (json by
    default). Larger ones are jobs."""
    chosen = format or form_format or "json"
    if chosen not in FORMATS:
        known = ", ".join(FORMATS)
        raise ServiceError(422, "invalid", f"expected a format of {known}, got {chosen[:40]!r}")
    limits = service.limits
    if file.size is not None and file.size > limits.read_bytes:
        raise ServiceError(
            413, "too_large",
            f"at most {limits.read_bytes >> 20} MiB are read at once; make a job of the file "
            "(POST /v1/jobs)",
        )  # fmt: skip
    task = tasks.ReadFile(
        data=await file.read(),
        name=display_name(file.filename),
        layout=layout or form_layout or "auto",
        text_layer=text_layer,
        format=chosen,
        pages=pages or form_pages or None,
        password=password or None,
        most_pages=limits.read_pages,
    )
    answer: tasks.FileAnswer = await service.ask(request, task)
    service.metrics.pages.labels("done").inc(answer.pages)
    service.metrics.took(answer.seconds)
    return Response(answer.data, media_type=FORMATS[chosen].media_type)
