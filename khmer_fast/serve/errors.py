"""Errors that a client gets: a status, a code for programs and a sentence for people."""

from __future__ import annotations

from fastapi import HTTPException

from khmer_fast.errors import KhmerFastError

CLIENT_GONE = 499  # no status of HTTP: nobody is there to see it but our log


class ServiceError(HTTPException):
    """An answer with a status of 4xx or 5xx; FastAPI hands it on wherever it is raised."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None):
        super().__init__(status, message, headers)
        self.code = code


class TaskRefused(KhmerFastError):
    """A worker could not do its task; `kind` names the KhmerFastError that it met."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class WorkerDied(KhmerFastError):
    """The process that worked at a task ended, or had to be ended, before its answer."""


def body(code: str, message: str) -> dict[str, dict[str, str]]:
    """The JSON of an error."""
    return {"error": {"code": code, "message": message}}


_CODES = {  # of a KhmerFastError that a worker met
    "PasswordError": "password_needed",
    "ImageError": "unreadable_file",
    "FileError": "unreadable_file",
    "FormatError": "unfit_format",
    "TooManyPages": "too_many_pages",
}


def refused(error: TaskRefused) -> ServiceError:
    """What a client is told of a task that was refused."""
    message = str(error).replace("; give its password with --password", "; give its password")
    code = _CODES.get(error.kind, "unprocessable")
    return ServiceError(413 if code == "too_many_pages" else 422, code, message)


def not_found(what: str) -> ServiceError:
    """404."""
    return ServiceError(404, "not_found", f"there is no such {what} (any more)")
