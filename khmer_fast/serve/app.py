"""The ASGI application: routes, the page's files, and errors as JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from khmer_fast.serve import (
    metrics,
    routes_corrections,
    routes_jobs,
    routes_pages,
    routes_read,
)
from khmer_fast.serve.errors import CLIENT_GONE, ServiceError, body
from khmer_fast.serve.guard import Guard
from khmer_fast.serve.openapi import describe
from khmer_fast.serve.options import ServeOptions
from khmer_fast.serve.schemas import ErrorAnswer
from khmer_fast.serve.service import Service

STATIC = Path(__file__).parent / "static"
_CODES = {404: "not_found", 405: "method_not_allowed"}
log = logging.getLogger("khmer_fast.serve")


def make_app(options: ServeOptions) -> FastAPI:
    """A service as an ASGI application; its workers run while the application does.

    Raises OptionError if another server uses the data folder.
    """
    service = Service(options)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        sweeper = asyncio.create_task(service.sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="khmer_fast",
        summary="Khmer OCR: documents in, text and documents out.",
        lifespan=running,
        docs_url=None,  # its pages load scripts from other hosts
        redoc_url=None,
        responses={"4XX": {"model": ErrorAnswer}, "5XX": {"model": ErrorAnswer}},
    )
    app.state.service = service
    for router in (
        routes_read.router, routes_jobs.router, routes_pages.router, routes_corrections.router
    ):  # fmt: skip
        app.include_router(router)
    _add_own_routes(app, service)
    _add_errors(app, service)
    describe(app)
    app.add_middleware(Guard, options=options, metrics=service.metrics)
    return app


def _add_own_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    def health() -> dict[str, str]:
        """The server runs."""
        return {"status": "ok"}

    @app.get("/ready")
    def ready() -> JSONResponse:
        """Whether a worker can read."""
        count = service.pool.ready
        state = {"ready": count > 0, "workers": count, "failure": service.pool.failure}
        return JSONResponse(state, 200 if count else 503)

    @app.get("/metrics", response_class=Response)
    def metric_lines() -> Response:
        """Counts and times, for Prometheus."""
        return Response(service.metrics.text(), media_type=metrics.MEDIA_TYPE)

    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        page = STATIC / "index.html"
        if not page.is_file():
            raise ServiceError(404, "no_web_page", "this build has no web page")
        return FileResponse(page, headers={"Cache-Control": "no-cache"})

    if STATIC.is_dir():
        app.mount("/static", StaticFiles(directory=STATIC), name="static")


def _add_errors(app: FastAPI, service: Service) -> None:
    def answer(status: int, code: str, message: str, headers: Any = None) -> JSONResponse:
        service.metrics.errors.labels(code).inc()
        return JSONResponse(body(code, message), status, headers)

    @app.exception_handler(ServiceError)
    async def refused(request: Request, error: ServiceError) -> JSONResponse:
        return answer(error.status_code, error.code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        said = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]]
        return answer(422, "invalid", "; ".join(said))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "bad_request")
        return answer(error.status_code, code, str(error.detail), error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return answer(CLIENT_GONE, "client_gone", "the client went away")

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return answer(500, "internal", "something went wrong here; the log says what")
