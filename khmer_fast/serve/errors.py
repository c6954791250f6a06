"""Errors that a client gets: a status, a code for programs and a sentence for people."""

from __future__ import annotations

from khmer_fast.errors import KhmerFastError


class ServiceError(KhmerFastError):
    """An answer with a status of 4xx or 5xx."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}


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
    return ServiceError(422, _CODES.get(error.kind, "unprocessable"), message)


def not_found(what: str) -> ServiceError:
    """404."""
    return ServiceError(404, "not_found", f"there is no such {what} (any more)")
