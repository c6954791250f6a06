"""Plain text: a line a line, a blank line between regions, a form feed between pages.

A row of a table is one line, with a TAB between its cells.
"""

from __future__ import annotations

from typing import BinaryIO

from khmer_fast.document import Page, Region
from khmer_fast.formats.tables import grid
from khmer_fast.formats.words import line_text

PAGE_END = "\f"


class Writer:
    """Writes UTF-8."""

    def __init__(self, file: BinaryIO, source: str):
        self._file = file
        self._first = True

    def write_page(self, page: Page) -> None:
        """Writes the page's text; a page that could not be read is empty."""
        text = page_text(page) if self._first else PAGE_END + page_text(page)
        self._file.write(text.encode("utf-8", "replace"))
        self._first = False

    def close(self) -> None:
        """Nothing stands after the last page."""


def page_text(page: Page) -> str:
    """The page's text, each line with its end."""
    regions = [text for region in page.regions if (text := _region_text(region))]
    return "\n".join(regions)


def _region_text(region: Region) -> str:
    lines = [line_text(line) for line in region.lines]
    lines += ["\t".join(row) for row in grid(region)]
    return "".join(f"{line}\n" for line in lines if line.strip())
