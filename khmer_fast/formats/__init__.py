"""Formats out: a Document to bytes. One module a format, each with a `Writer`.

A `Writer` takes one page at a time, so that a document of any length needs the memory of a page
(xlsx alone is built whole, and a PDF keeps its small text layers until it is closed).
"""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from khmer_fast.document import Document, Page
from khmer_fast.errors import FormatError, printable
from khmer_fast.formats.files import NewFile


@dataclass(frozen=True)
class Format:
    """A format: what it is called, how its files end, and where its Writer lives."""

    name: str
    suffix: str
    media_type: str
    module: str
    text: bool = False  # fit for a terminal or a pipe
    page_a_file: bool = False  # a file holds one page


class Writer(Protocol):
    """Writes a document page by page; `close` ends it and leaves its file open."""

    def write_page(self, page: Page) -> None:
        """Writes the next page."""

    def close(self) -> None:
        """Writes what stands after the last page."""


FORMATS = {
    format.name: format
    for format in (
        Format("text", ".txt", "text/plain; charset=utf-8", "text", text=True),
        Format("json", ".json", "application/json", "json", text=True),
        Format("hocr", ".hocr", "text/html; charset=utf-8", "hocr", text=True),
        Format("alto", ".alto.xml", "application/xml", "alto", text=True),
        Format("page", ".page.xml", "application/xml", "pagexml", text=True, page_a_file=True),
        Format("markdown", ".md", "text/markdown; charset=utf-8", "markdown", text=True),
        Format("csv", ".csv", "text/csv; charset=utf-8", "csv", text=True),
        Format(
            "docx",
            ".docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "docx",
        ),
        Format(
            "xlsx",
            ".xlsx",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "xlsx",
        ),
        Format("pdf", ".pdf", "application/pdf", "pdf"),
    )
}


@dataclass(frozen=True)
class PdfOptions:
    """What the searchable PDF needs beside the document."""

    original: str | Path | bytes | None = None  # the file that was read; None: document.source
    password: str | None = None  # of the original
    replace_text_layer: bool = False  # takes an old text layer out of the original's pages


def open_writer(format: str, file: BinaryIO, source: str, pdf: PdfOptions | None = None) -> Writer:
    """A Writer of `format` into `file` (for a PDF one that can be read again) for a document whose
    source is `source`. Raises FormatError for a format that is not known, or an extra missing."""
    module = importlib.import_module(f"khmer_fast.formats.{_format(format).module}")
    if format == "pdf":
        options = pdf or PdfOptions()
        original = source if options.original is None else options.original
        return module.Writer(file, original, options.password, options.replace_text_layer)
    return module.Writer(file, source)


def write(document: Document, format: str, pdf: PdfOptions | None = None) -> bytes:
    """The document in a format of FORMATS, as the bytes of its file.

    Raises FormatError where the format cannot hold it: PAGE XML holds one page.
    """
    if _format(format).page_a_file and len(document.pages) != 1:
        raise FormatError(
            f"a {format} file holds one page, this document has {len(document.pages)}; write "
            "each alone: [write(replace(document, pages=(page,)), ...) for page in document.pages]"
        )
    buffer = io.BytesIO()
    _write_pages(document, format, buffer, pdf)
    return buffer.getvalue()


def save(
    document: Document,
    path: str | Path,
    format: str | None = None,
    *,
    overwrite: bool = True,
    pdf: PdfOptions | None = None,
) -> list[Path]:
    """Writes the document to a file, by default in the format that its suffix names.

    Returns the files: one, but for several pages in a format that holds one a file, where
    `law.page.xml` becomes `law.0001.page.xml`, `law.0002.page.xml`, ... A file appears whole or
    not at all. Raises FormatError (also for a file that is there, unless `overwrite`) and OSError.
    """
    path = Path(path)
    format = format or format_of(path)
    if not _format(format).page_a_file or len(document.pages) == 1:
        _save_pages(document, format, path, overwrite, pdf)
        return [path]
    paths = []
    for page in document.pages:
        paths.append(page_path(path, _format(format), page.number))
        _save_pages(replace(document, pages=(page,)), format, paths[-1], overwrite, pdf)
    return paths


def format_of(path: str | Path) -> str:
    """The name of the format that a file's suffix means. Raises FormatError for others."""
    name = Path(path).name.lower()
    for format in FORMATS.values():
        if name.endswith(format.suffix):
            return format.name
    known = ", ".join(format.suffix for format in FORMATS.values())
    raise FormatError(f"{printable(path)}: expected a name that ends in one of {known}")


def page_path(path: Path, format: Format, number: int) -> Path:
    """The file of one page, `law.0001.page.xml` for `law.page.xml`."""
    stem = path.name[: -len(format.suffix)] if path.name.endswith(format.suffix) else path.name
    return path.with_name(f"{stem}.{number:04d}{format.suffix}")


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise FormatError(f"expected a format of {', '.join(FORMATS)}, got {name!r}")
    return FORMATS[name]


def _write_pages(document: Document, format: str, file: BinaryIO, pdf: PdfOptions | None) -> None:
    writer = open_writer(format, file, document.source, pdf)
    for page in document.pages:
        writer.write_page(page)
    writer.close()


def _save_pages(
    document: Document, format: str, path: Path, overwrite: bool, pdf: PdfOptions | None
) -> None:
    with NewFile(path, overwrite) as file:
        _write_pages(document, format, file, pdf)
