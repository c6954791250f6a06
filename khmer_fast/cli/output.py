"""Where a verb's documents go: files of a folder in several formats, or one format to stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from khmer_fast.document import Page, is_line_picture
from khmer_fast.errors import FormatError, KhmerFastError, printable
from khmer_fast.formats import FORMATS, Format, PdfOptions, Writer, open_writer, page_path
from khmer_fast.formats.files import NewFile

STDIN = "-"
_SEVERAL_TO_STDOUT = ("text", "json", "markdown", "csv")


@dataclass(frozen=True)
class OutputOptions:
    """What was asked for."""

    formats: tuple[str, ...] = ("text",)
    out: str | None = None  # a folder; None: stdout
    force: bool = False
    replace_text_layer: bool = False
    password: str | None = None  # of PDFs that are read


class DocumentOutput(Protocol):
    """Takes the pages of one document, inside a `with` block; an error in it leaves no file."""

    def __enter__(self) -> DocumentOutput: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def write_page(self, page: Page) -> None:
        """Writes the next page in every format."""


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that `output_options` takes."""
    parser.add_argument(
        "--format",
        action="extend",
        type=_format_names,
        metavar="NAME",
        help=f"several times, or with commas: {', '.join(FORMATS)} (default text)",
    )
    parser.add_argument("--out", metavar="FOLDER", help="write NAME.txt, NAME.json, ... there")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    parser.add_argument(
        "--replace-text-layer",
        action="store_true",
        help="searchable PDF: take a page's old text layer out (its look stays)",
    )


def output_options(args: argparse.Namespace) -> OutputOptions:
    """Of the arguments."""
    formats = tuple(dict.fromkeys(args.format or ["text"]))
    password = getattr(args, "password", None)
    return OutputOptions(formats, args.out, args.force, args.replace_text_layer, password)


class Outputs:
    """Makes a DocumentOutput for each source; what cannot work is an error here, before any work.

    Raises FormatError: no folder for several formats or for binary ones, two sources of one name, a
    file that is there (without `force`), a folder that cannot be written to, an extra missing.
    """

    def __init__(self, options: OutputOptions, sources: Sequence[str]):
        self.options = options
        self.failures = 0
        if options.out is None:
            self._check_stdout(sources)
            self._stdout = _Stdout(options.formats[0], len(sources) > 1)
        else:
            self._folder = Path(options.out)
            self._check_folder(sources)
        _check_extras(options.formats)

    def start(self, source: str, original: bytes | None = None) -> DocumentOutput:
        """The output of the document that is read from `source`; `original` are the file's bytes
        where it is not at that path, such as standard input (a searchable PDF needs them)."""
        if self.options.out is None:
            return _StdoutDocument(self._stdout, source)
        name = output_name(source)
        return _FolderDocument(self.options, self._folder, name, source, original)

    def close(self) -> None:
        """Ends what several documents share."""
        if self.options.out is None:
            self._stdout.close()

    def _check_stdout(self, sources: Sequence[str]) -> None:
        formats = self.options.formats
        if len(formats) > 1 or not FORMATS[formats[0]].text:
            raise FormatError(f"--format {' '.join(formats)} needs --out FOLDER to write files to")
        if len(sources) > 1 and formats[0] not in _SEVERAL_TO_STDOUT:
            raise FormatError(f"{formats[0]} of {len(sources)} files needs --out FOLDER")

    def _check_folder(self, sources: Sequence[str]) -> None:
        owners: dict[str, str] = {}
        for source in sources:
            name = output_name(source)
            if name in owners:
                raise FormatError(
                    f"{printable(owners[name])} and {printable(source)} would both become "
                    f"{printable(name)}{FORMATS[self.options.formats[0]].suffix}: read them into "
                    "two folders, or rename one"
                )
            owners[name] = source
        for source in sources:
            for format in self.options.formats:
                path = self._folder / f"{output_name(source)}{FORMATS[format].suffix}"
                if path.exists() and os.path.exists(source) and os.path.samefile(path, source):
                    raise FormatError(
                        f"{printable(path)} is what is read: --out must be another folder"
                    )
        self._folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise FormatError(f"{printable(self._folder)}: cannot be written to")
        if self.options.force:
            return
        present = {path.name for path in self._folder.iterdir()}
        for name in owners:
            for format in self.options.formats:
                if taken := _taken(present, name, FORMATS[format]):
                    where = printable(self._folder / taken)
                    raise FormatError(f"{where}: is there already; --force overwrites it")


def output_name(source: str) -> str:
    """NAME of NAME.txt for a source NAME.anything."""
    return "stdin" if source == STDIN else Path(source).stem


def _taken(present: set[str], name: str, format: Format) -> str | None:
    if f"{name}{format.suffix}" in present:
        return f"{name}{format.suffix}"
    if format.page_a_file:
        for other in present:
            number = other.removeprefix(f"{name}.").removesuffix(format.suffix)
            if number.isdigit() and other == f"{name}.{number}{format.suffix}":
                return other
    return None


def _check_extras(formats: Sequence[str]) -> None:
    """Raises FormatError if a format's library is missing."""
    import importlib
    import importlib.util

    needs = {"docx": "docx", "xlsx": "openpyxl", "pdf": "pikepdf"}
    for name in formats:
        if name in needs and importlib.util.find_spec(needs[name]) is None:
            raise FormatError(f"{name} needs {needs[name]}: pip install 'khmer-fast[{name}]'")


def _format_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            known = ", ".join(FORMATS)
            raise argparse.ArgumentTypeError(f"expected some of {known}, got {name!r}")
    return names


# ---- a folder ----


class _FolderDocument:
    """Files of one document: all appear at the end, each if it could be written whole."""

    def __init__(
        self, options: OutputOptions, folder: Path, name: str, source: str, original: bytes | None
    ):
        self._options, self._folder, self._name, self._source = options, folder, name, source
        self._pdf = PdfOptions(
            source if original is None else original, options.password, options.replace_text_layer
        )
        self._parts: list[_Part] = []
        self._errors: list[KhmerFastError | OSError] = []  # of formats that failed

    def __enter__(self) -> _FolderDocument:
        try:
            for name in self._options.formats:
                self._parts.append(self._make_part(FORMATS[name]))
        except BaseException:
            self._discard()
            raise
        return self

    def write_page(self, page: Page) -> None:
        for part in list(self._parts):
            try:
                part.write_page(page)
            except KhmerFastError as error:  # the other formats go on
                self._errors.append(error)
                self._parts.remove(part)
                part.discard()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._discard()
            return
        for part in self._parts:
            try:
                part.keep()
            except (KhmerFastError, OSError) as failed:  # the other formats are still good
                self._errors.append(failed)
        if self._errors:
            raise self._errors[0]

    def _make_part(self, format: Format) -> _Part:
        path = self._folder / f"{self._name}{format.suffix}"
        if format.page_a_file:
            return _PageFiles(path, format, self._source, self._options.force)
        return _OneFile(
            path,
            self._options.force,
            lambda file: open_writer(format.name, file, self._source, self._pdf),
        )

    def _discard(self) -> None:
        for part in self._parts:
            with suppress(OSError):
                part.discard()


class _Part(Protocol):
    def write_page(self, page: Page) -> None: ...

    def keep(self) -> None: ...

    def discard(self) -> None: ...


class _OneFile:
    """A file that holds all pages."""

    def __init__(self, path: Path, force: bool, open_: Callable[[BinaryIO], Writer]):
        self._new = NewFile(path, force)
        file = self._new.open()
        try:
            self._writer = open_(file)
        except BaseException:
            self._new.discard()
            raise

    def write_page(self, page: Page) -> None:
        self._writer.write_page(page)

    def keep(self) -> None:
        try:
            self._writer.close()
        except BaseException:
            self._new.discard()
            raise
        self._new.keep()

    def discard(self) -> None:
        self._new.discard()


class _PageFiles:
    """Files of a page each: NAME.page.xml for a single page, else NAME.0001.page.xml, ..."""

    def __init__(self, path: Path, format: Format, source: str, force: bool):
        self._path, self._format, self._source, self._force = path, format, source, force
        self._pages: list[tuple[NewFile, int]] = []

    def write_page(self, page: Page) -> None:
        new = NewFile(page_path(self._path, self._format, page.number), self._force)
        file = new.open()
        self._pages.append((new, page.number))
        writer = open_writer(self._format.name, file, self._source)
        writer.write_page(page)
        writer.close()
        new.finish()

    def keep(self) -> None:
        if len(self._pages) == 1:
            self._pages[0][0].path = self._path
        while self._pages:
            self._pages.pop(0)[0].keep()

    def discard(self) -> None:
        while self._pages:
            self._pages.pop(0)[0].discard()


# ---- stdout ----


class _Stdout:
    """One format of one or several documents, one after another."""

    def __init__(self, format: str, several: bool):
        self.format = format
        self.file: BinaryIO = sys.stdout.buffer
        self.list = format == "json" and several  # one JSON answer: a list of documents
        self.begun = False
        self.line: bool | None = None  # whether the last document was the picture of a line

    def separate(self, first: Page | None) -> None:
        """Writes what stands before a document whose first page this is (None: it has none)."""
        if self.list:
            self.file.write(b",\n" if self.begun else b"[\n")
        elif self.format == "text":
            line = first is None or is_line_picture(first)
            if self.begun and not (line and self.line):
                self.file.write(b"\f")
            self.line = line
        elif self.begun:
            self.file.write(b"\n")
        self.begun = True

    def close(self) -> None:
        """Ends a list of documents."""
        if self.list:
            self.file.write(b"]\n" if self.begun else b"[]\n")
        self.file.flush()


class _StdoutDocument:
    """A document on stdout, begun with its first page: a file that cannot be opened leaves an empty
    line (text) or its error (in a list of JSON)."""

    def __init__(self, stdout: _Stdout, source: str):
        self._stdout, self._source = stdout, source
        self._writer: Writer | None = None

    def __enter__(self) -> _StdoutDocument:
        return self

    def write_page(self, page: Page) -> None:
        if self._writer is None:
            self._stdout.separate(page)
            source = os.fsencode(self._source).decode("utf-8", "replace")
            self._writer = open_writer(self._stdout.format, self._stdout.file, source)
        else:
            self._stdout.line = False
        self._writer.write_page(page)
        if self._stdout.format == "text" and (page.error or is_line_picture(page)):
            self._end_line(page)
        self._stdout.file.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, KhmerFastError):
            return  # such as a closed pipe
        if self._writer is not None:
            self._writer.close()
        elif isinstance(error, KhmerFastError):
            self._say_error(error)
        self._stdout.file.flush()

    def _end_line(self, page: Page) -> None:
        """A page that could not be read, or a picture of a line without text, is an empty line."""
        if not any(line.text.strip() for line in page.lines()):
            self._stdout.file.write(b"\n")

    def _say_error(self, error: KhmerFastError) -> None:
        if self._stdout.format == "json":
            self._stdout.separate(None)
            record = {"source": printable(self._source), "error": str(error)}
            text = json.dumps(record, ensure_ascii=False) + "\n"
            self._stdout.file.write(text.encode("utf-8", "replace"))
        elif self._stdout.format == "text":
            self._stdout.separate(None)
            self._stdout.file.write(b"\n")
