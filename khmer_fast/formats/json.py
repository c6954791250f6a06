"""JSON: the document as it is, one answer, and back again. Schema: docs/document.schema.json."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from functools import cache
from typing import Any, BinaryIO

from khmer_fast import document as document_module
from khmer_fast.document import Document, Line, Page
from khmer_fast.errors import FormatError

VERSION = 1  # of the schema; a new field with a default does not change it


class Writer:
    """Writes one object: version, source and pages, a page a line."""

    def __init__(self, file: BinaryIO, source: str):
        self._file = file
        self._separator = "\n"
        self._write(f'{{"version": {VERSION}, "source": {_dumps(source)}, "pages": [')

    def write_page(self, page: Page) -> None:
        """Writes the page with every field."""
        self._write(self._separator + write_page(page))
        self._separator = ",\n"

    def close(self) -> None:
        """Closes the object."""
        self._write("\n]}\n")

    def _write(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "replace"))


def write_page(page: Page) -> str:
    """One page as it stands in the document's JSON."""
    return _dumps(page)


def write_line(line: Line) -> str:
    """One line as it stands in the document's JSON."""
    return _dumps(line)


def _dumps(value: Any) -> str:
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=vars
        )
    except ValueError as error:
        raise FormatError(f"JSON has no way to write a number of this document: {error}") from error


def read_page(data: bytes | str) -> Page:
    """The page that its JSON says. Raises FormatError for anything else."""
    return _value(Page, _loads(data, "page"), "page")


def read(data: bytes | str) -> Document:
    """The Document that JSON of this version says. Raises FormatError for anything else."""
    record = _loads(data, "document")
    if not isinstance(record, dict) or "version" not in record:
        raise FormatError("expected the JSON of a document, with its version, source and pages")
    version = record.pop("version")
    if version != VERSION:
        raise FormatError(f"expected a document of JSON version {VERSION}, got {version!r:.80}")
    return _value(Document, record, "document")


def _loads(data: bytes | str, what: str) -> Any:
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not the JSON of a {what}: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


@cache
def _field_types(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, vars(document_module))


def _value(kind: Any, value: Any, where: str) -> Any:
    """`value` of parsed JSON as the type `kind` of the document's model."""
    if dataclasses.is_dataclass(kind):
        return _record(typing.cast(type, kind), value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):  # of one type and None
        if value is None:
            return None
        return _value(next(a for a in arguments if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise FormatError(f"{where}: expected one of {', '.join(arguments)}, got {value!r:.80}")
    if origin is tuple:
        if not isinstance(value, list):
            raise FormatError(f"{where}: expected a list, got {value!r:.80}")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(value) != len(arguments):
            raise FormatError(f"{where}: expected {len(arguments)} values, got {len(value)}")
        return tuple(
            _value(argument, part, f"{where}[{i}]")
            for i, (argument, part) in enumerate(zip(arguments, value, strict=True))
        )
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value):
            return value
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise FormatError(f"{where}: expected a value of type {kind.__name__}, got {value!r:.80}")


def _record(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected an object, got {value!r:.80}")
    field_types = _field_types(kind)
    if unknown := sorted(value.keys() - field_types.keys()):
        raise FormatError(f"{where}: no field {unknown[0]!r:.80} is known")
    fields = {
        name: _value(field_types[name], part, f"{where}.{name}") for name, part in value.items()
    }
    try:
        return kind(**fields)
    except TypeError as error:  # a field without a default is missing
        raise FormatError(f"{where}: {error}") from error
