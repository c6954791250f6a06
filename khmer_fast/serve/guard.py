"""What stands before the routes: who may ask, how much, how slowly; and what each answer says."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import logging
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from khmer_fast.serve.errors import ServiceError
from khmer_fast.serve.errors import body as error_body
from khmer_fast.serve.metrics import Metrics
from khmer_fast.serve.options import Limits, ServeOptions

WRITES = ("POST", "PUT", "PATCH", "DELETE")
OPEN_ROUTES = ("/health", "/ready")  # without an API key
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
log = logging.getLogger("khmer_fast.serve")


class Guard:
    """ASGI middleware: refuses what does not belong here, bounds bodies, and counts answers."""

    def __init__(self, app: ASGIApp, options: ServeOptions, metrics: Metrics):
        self._app, self._options, self._metrics = app, options, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await asyncio.wait_for(send(message), self._options.limits.silent_seconds)

        try:
            headers = Headers(scope=scope)
            self._check(scope["method"], scope["path"], headers)
            body = _Body(receive, _most_bytes(scope, self._options.limits), self._options.limits)
            body.check_length(headers.get("content-length"))
            await self._app(scope, body.receive, answer)
        except ServiceError as error:
            if status:
                raise
            self._metrics.errors.labels(error.code).inc()
            await _refuse(error, answer)
        except TimeoutError:  # the client reads nothing; uvicorn ends what is not complete
            log.info("client too slow to read", extra={"fields": {"status": status}})
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - began
            status = status or 500  # what the application answers to its own mistakes
            self._metrics.requests.labels(scope["method"], route, status).observe(seconds)
            fields = {
                "method": scope["method"], "route": route, "status": status,
                "job": scope.get("path_params", {}).get("id"), "seconds": round(seconds, 4),
            }  # fmt: skip
            log.info("request", extra={"fields": fields})

    def _check(self, method: str, path: str, headers: Headers) -> None:
        """Raises ServiceError for a request that does not belong here."""
        host = headers.get("host", "")
        if not _is_ours(host, self._options.hosts):
            raise ServiceError(
                421, "foreign_host", "this service does not go by that name (--host-name adds one)"
            )
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if method in WRITES or path.startswith("/v1/"):
            foreign = site in ("cross-site", "same-site")
            foreign = foreign or (origin is not None and urlsplit(origin).netloc != host)
            if foreign:
                raise ServiceError(403, "cross_site", "other sites may not use this service")
        key = self._options.api_key
        if key is not None and path not in OPEN_ROUTES:
            if not hmac.compare_digest(_key_of(headers).encode(), key.encode()):
                raise ServiceError(
                    401, "key_needed", "an API key is needed: Authorization: Bearer KEY",
                    {"WWW-Authenticate": 'Basic realm="khmer-fast", charset="UTF-8"'},
                )  # fmt: skip


def _is_ours(host: str, names: tuple[str, ...]) -> bool:
    """Whether a Host header names this machine: an address, localhost, or a name that was given.

    Another site's name that was made to lead here (DNS rebinding) is none of these.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _key_of(headers: Headers) -> str:
    """The API key that a request shows; a browser asks for it as a password."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return headers.get("x-api-key", "")


def _most_bytes(scope: Scope, limits: Limits) -> int:
    """How long the body of a request may be, with 64 KiB for what stands round a file."""
    if scope["method"] == "POST" and scope["path"] == "/v1/jobs":
        return limits.upload_bytes + 2**16
    if scope["method"] == "POST" and scope["path"] == "/v1/read":
        return limits.read_bytes + 2**16
    return limits.json_bytes if scope["method"] == "PUT" else 2**16


class _Body:
    """A request's body, which may be neither too long nor too slow."""

    def __init__(self, receive: Receive, most: int, limits: Limits):
        self._receive, self._most, self._limits = receive, most, limits
        self._length = 0
        self._ended = False
        self._deadline = time.monotonic() + limits.upload_seconds

    def check_length(self, length: str | None) -> None:
        """Raises ServiceError for a body that says it is too long."""
        if length is not None and length.isdecimal() and int(length) > self._most:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next message. Raises ServiceError for a body that grows too long, or stands still."""
        if self._ended:  # what comes now is that the client went away
            return await self._receive()
        left = min(self._limits.silent_seconds, self._deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0))
        except TimeoutError:
            raise ServiceError(
                408, "too_slow", "the request came too slowly", {"Connection": "close"}
            ) from None
        if message["type"] == "http.request":
            self._length += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._length > self._most:
                raise self._too_large()
        return message

    def _too_large(self) -> ServiceError:
        return ServiceError(
            413, "too_large", f"at most {self._most:,} bytes are taken here",
            {"Connection": "close"},
        )  # fmt: skip


async def _refuse(error: ServiceError, send: Send) -> None:
    content = json.dumps(error_body(error.code, error.detail), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    headers |= error.headers or {}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status_code, "headers": raw})
    await send({"type": "http.response.body", "body": content})
