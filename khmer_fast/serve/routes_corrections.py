"""Corrections as a data set for training."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from khmer_fast.serve import tasks
from khmer_fast.serve.corrections import CorrectedLine, corrected_pages, image_name, labels
from khmer_fast.serve.errors import ServiceError
from khmer_fast.serve.routes_jobs import TheService

router = APIRouter(prefix="/v1/jobs/{id}/corrections")


@router.get("", response_class=FileResponse, responses={200: {"content": {"application/zip": {}}}})
async def corrections(service: TheService, request: Request, id: str) -> FileResponse:
    """A zip of `labels.tsv` and the pictures of the lines that were corrected or accepted."""
    job = await run_in_threadpool(service.job, id)
    pages = await run_in_threadpool(corrected_pages, service.store, id)
    if not pages:
        raise ServiceError(409, "no_corrections", "no line was corrected or accepted yet")
    target = service.jobs.new_file(job)
    rows: list[tuple[str, CorrectedLine]] = []
    try:
        with zipfile.ZipFile(target, "w") as archive:  # PNGs are compressed already
            for rotation, lines in pages:
                number = lines[0].page
                boxes = tuple(line.box for line in lines)
                task = tasks.CutLines(service.jobs.source(job), number, rotation, boxes)
                pictures = await service.ask(request, task)
                for i, (line, picture) in enumerate(zip(lines, pictures, strict=True), 1):
                    name = image_name(job.id, number, i)
                    archive.writestr(name, picture)
                    rows.append((name, line))
            archive.writestr("labels.tsv", labels(rows))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return FileResponse(
        target, media_type="application/zip", filename=f"{Path(job.name).stem}.corrections.zip",
        background=BackgroundTask(os.unlink, target),
    )  # fmt: skip
