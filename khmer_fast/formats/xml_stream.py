"""XML written element by element, everything in it escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

# What XML 1.0 has no way to write, not even as a reference: control characters, lone surrogates.
_not_xml = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Attributes = dict[str, object]  # written with str(); None: left out


def xml_text(text: str) -> str:
    """The text with U+FFFD for each character that XML cannot hold."""
    return _not_xml.sub("\ufffd", text)


class XmlStream:
    """Writes to a binary file, in UTF-8, with one element a line."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._open: list[str] = []
        self.raw('<?xml version="1.0" encoding="UTF-8"?>\n')

    def raw(self, markup: str) -> None:
        """Markup as it is, such as a document type."""
        self._file.write(markup.encode("utf-8"))

    def start(self, name: str, attributes: Mapping[str, object] | None = None) -> None:
        """An element's start."""
        self.raw(f"{self._indent()}<{name}{_written(attributes)}>\n")
        self._open.append(name)

    def end(self) -> None:
        """The end of the innermost element that is open."""
        name = self._open.pop()
        self.raw(f"{self._indent()}</{name}>\n")

    @contextmanager
    def element(self, name: str, attributes: Mapping[str, object] | None = None) -> Iterator[None]:
        """An element round what the block writes."""
        self.start(name, attributes)
        yield
        self.end()

    def leaf(
        self, name: str, attributes: Mapping[str, object] | None = None, text: str = ""
    ) -> None:
        """An element with text alone, or nothing, in it."""
        tag = f"{self._indent()}<{name}{_written(attributes)}"
        self.raw(f"{tag}>{escape(xml_text(text))}</{name}>\n" if text else f"{tag}/>\n")

    def _indent(self) -> str:
        return " " * len(self._open)


def _written(attributes: Mapping[str, object] | None) -> str:
    return "".join(
        f" {name}={quoteattr(xml_text(str(value)))}"
        for name, value in (attributes or {}).items()
        if value is not None
    )
