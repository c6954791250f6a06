"""What the server asks of a worker process, and what comes back: plain data that can be sent."""

from __future__ import annotations

from dataclasses import dataclass

from khmer_fast.document import Box


@dataclass(frozen=True)
class Source:
    """A file of a job, as the worker opens it."""

    path: str
    name: str  # what messages call it
    password: str | None = None


@dataclass(frozen=True)
class CountPages:
    """How many pages a file has, as int."""

    source: Source


@dataclass(frozen=True)
class ReadPage:
    """Reads a page of a job; answered by PageAnswer."""

    source: Source
    number: int
    layout: str
    text_layer: str


@dataclass(frozen=True)
class PageAnswer:
    """A page that was read, or why it could not be."""

    json: str  # of the document's Page
    confidence: float | None
    error: str | None
    seconds: dict[str, float]  # by stage


@dataclass(frozen=True)
class ReadFile:
    """Reads a small file at once; answered by FileAnswer."""

    data: bytes
    name: str
    layout: str
    text_layer: str
    format: str
    pages: str | None
    password: str | None
    most_pages: int


@dataclass(frozen=True)
class FileAnswer:
    """A document in the format that was asked for."""

    data: bytes
    pages: int
    seconds: dict[str, float]  # by stage; of a batch its whole time


@dataclass(frozen=True)
class DrawPage:
    """The upright picture of a page, `width` pixels wide, as the bytes of a JPEG."""

    source: Source
    number: int
    rotation: int  # as Page.rotation
    width: int | None  # None: as it was read


@dataclass(frozen=True)
class ReadBox:
    """Reads a box of a page as one line; answered by the JSON of a Line."""

    source: Source
    number: int
    rotation: int
    box: Box


@dataclass(frozen=True)
class WriteDocument:
    """Writes pages (JSON) of a job in a format to the file `target`; answered by its suffix."""

    source: Source
    pages: tuple[str, ...]
    format: str
    target: str


@dataclass(frozen=True)
class CutLines:
    """Cuts lines out of a page, as the reader saw them; answered by the bytes of a PNG each."""

    source: Source
    number: int
    rotation: int
    boxes: tuple[Box, ...]


Task = CountPages | ReadPage | ReadFile | DrawPage | ReadBox | WriteDocument | CutLines


@dataclass(frozen=True)
class Refusal:
    """Why a worker could not answer: the name of a KhmerFastError and its words."""

    kind: str
    message: str
