"""Markdown (CommonMark with pipe tables): headings, paragraphs joined from lines, lists, tables."""

from __future__ import annotations

import re
from typing import BinaryIO

from khmer_fast.document import Page, Region
from khmer_fast.formats.paragraphs import items, paragraph, separate_lines, split_marker
from khmer_fast.formats.tables import grid

_special = re.compile(r"([\\`*_\[\]<>|~&$])")
_line_start = re.compile(r"^(\s*)(#{1,6}(?=\s|$)|[-+=](?=[\s=-]|$)|[0-9]{1,9}(?=[.)](?:\s|$)))")


class Writer:
    """Writes UTF-8. Pages after the first begin with a comment, `<!-- page 2 -->`."""

    def __init__(self, file: BinaryIO, source: str):
        self._file = file
        self._first = True

    def write_page(self, page: Page) -> None:
        """Writes the page's blocks, a blank line between them."""
        blocks = [] if self._first else [f"<!-- page {page.number} -->"]
        blocks += [text for region in page.regions if (text := _region(region))]
        text = "\n\n".join(blocks)
        separator = "" if self._first else "\n"
        self._file.write(f"{separator}{text}\n".encode("utf-8", "replace"))
        self._first = False

    def close(self) -> None:
        """Nothing stands after the last page."""


def _region(region: Region) -> str:
    if region.kind == "heading":
        return "\n\n".join(f"## {_escaped(text)}" for text in separate_lines(region))
    if region.kind == "list":
        return "\n".join(_item(text) for text in items(region))
    if region.kind in ("header", "footer", "stamp"):
        text = "\\\n".join(_escaped(text) for text in separate_lines(region))
    else:
        text = "\\\n".join(_escaped(text) for text in paragraph(region))
    parts = [text, _table(grid(region))]
    return "\n\n".join(part for part in parts if part)


def _item(text: str) -> str:
    marker, rest = split_marker(text)
    return f"{marker} {_escaped(rest)}" if marker[:1].isdigit() else f"- {_escaped(rest)}"


def _table(rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = ["| " + " | ".join(_escaped(text) for text in row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))  # the first row is the heading: it must have one
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """The text so that Markdown shows it as it is."""
    text = _special.sub(r"\\\1", text)
    return _line_start.sub(_escaped_start, text)


def _escaped_start(match: re.Match[str]) -> str:
    space, mark = match.groups()
    return f"{space}{mark}\\" if mark.isdigit() else f"{space}\\{mark}"  # 1\. and \#
