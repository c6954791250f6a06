"""XLSX: the tables of a document, a sheet each."""

from __future__ import annotations

import re
from typing import BinaryIO

from khmer_fast.document import Page
from khmer_fast.errors import FormatError
from khmer_fast.formats.tables import cell_text, size

_not_allowed = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
MAX_SHEETS = 1000


class Writer:
    """Builds the workbook in memory and writes it on `close`."""

    def __init__(self, file: BinaryIO, source: str):
        try:
            import openpyxl
        except ImportError as error:
            raise FormatError(
                "xlsx needs openpyxl: pip install 'khmer-fast[xlsx]' (csv needs nothing)"
            ) from error
        self._file = file
        self._book = openpyxl.Workbook()
        self._book.remove(self._book.active)

    def write_page(self, page: Page) -> None:
        """Adds a sheet for each table of the page: `page 1, table 1`."""
        tables = [region for region in page.regions if region.cells]
        for number, region in enumerate(tables, 1):
            if len(self._book.sheetnames) >= MAX_SHEETS:
                raise FormatError(f"more than {MAX_SHEETS} tables; write them as csv")
            size(region)
            sheet = self._book.create_sheet(f"page {page.number}, table {number}")
            for cell in region.cells:
                place = sheet.cell(cell.row + 1, cell.column + 1)
                place.value = _not_allowed.sub("\ufffd", cell_text(cell))
                place.data_type = "s"  # text, also where it looks like a formula
                if cell.row_span > 1 or cell.column_span > 1:
                    sheet.merge_cells(
                        start_row=cell.row + 1,
                        start_column=cell.column + 1,
                        end_row=cell.row + cell.row_span,
                        end_column=cell.column + cell.column_span,
                    )

    def close(self) -> None:
        """Writes the workbook; a document without tables has one sheet that is empty."""
        if not self._book.sheetnames:
            self._book.create_sheet("no tables")
        self._book.save(self._file)
