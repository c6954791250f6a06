"""CSV (RFC 4180): the tables of a document, an empty line between two of them.

In UTF-8 with its mark, without which spreadsheets do not take Khmer for Khmer. What a spreadsheet
would take for a formula gets an apostrophe in front: a printed page must not compute.
"""

from __future__ import annotations

import csv
import io
import re
from typing import BinaryIO

from khmer_fast.document import Page
from khmer_fast.formats.tables import grid

_formula = re.compile(r"[=@\t\r]|[+-](?![\d.,\s\u17e0-\u17e9]*$)")


class Writer:
    """Writes the tables of each page."""

    def __init__(self, file: BinaryIO, source: str):
        self._file = file
        self._file.write(b"\xef\xbb\xbf")
        self._first = True

    def write_page(self, page: Page) -> None:
        """Writes the page's tables."""
        for region in page.regions:
            if rows := grid(region):
                text = io.StringIO()
                csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
                separator = "" if self._first else "\r\n"
                self._file.write((separator + text.getvalue()).encode("utf-8", "replace"))
                self._first = False

    def close(self) -> None:
        """Nothing stands after the last table."""


def _harmless(text: str) -> str:
    return "'" + text if _formula.match(text) else text
