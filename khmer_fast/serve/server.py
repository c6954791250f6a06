"""The application on a socket: uvicorn, its limits, and logs as JSON lines."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import time
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from khmer_fast.errors import OptionError
from khmer_fast.serve.app import make_app
from khmer_fast.serve.options import ServeOptions

HEADER_BYTES = 32 * 2**10  # of all headers of a request
HEAD_SECONDS = 10.0  # for the line and headers of a request
CONNECTIONS = 1_000
GRACE_SECONDS = 5  # for requests to end when the service is stopped


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, what happened, and its fields. No text of documents."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Protocol(H11Protocol):
    """Ends connections on which a request's head does not come in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, self._end)

    def data_received(self, data: bytes) -> None:
        """Waits on while the head is not whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            if self._late is not None:
                self._late.cancel()
                self._late = None
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _end(self) -> None:
        self.transport.abort()


class Server(uvicorn.Server):
    """Ends the streams of those who watch, so that it can stop."""

    def __init__(self, config: uvicorn.Config, changes: Any):
        super().__init__(config)
        self._changes = changes

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops serving."""
        self._changes.end()
        await super().shutdown(sockets)


def run_server(options: ServeOptions, host: str, port: int) -> int:
    """Serves until it is stopped; returns the exit code. Says on stdout where it listens."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("khmer_fast.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    app = make_app(options)
    config = uvicorn.Config(
        app, host=host, port=port, http=Protocol, ws="none", log_config=None, access_log=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES, timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )  # fmt: skip
    try:
        listening = config.bind_socket()
    except SystemExit:
        raise OptionError(f"cannot listen on {host}:{port}; give another --port") from None
    # Connections inherit it. Without it an answer's body waits 40 ms for the client's delayed ACK:
    # asyncio sets it for sockets made with IPPROTO_TCP alone, and uvicorn makes others.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    name = f"[{host}]" if ":" in host else host
    print(f"khmer-fast: http://{name}:{listening.getsockname()[1]}/", flush=True)
    Server(config, app.state.service.changes).run(sockets=[listening])
    return 0
