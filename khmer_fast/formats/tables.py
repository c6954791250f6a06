"""A table's cells as rows of texts."""

from __future__ import annotations

from khmer_fast.document import Cell, Region
from khmer_fast.errors import FormatError
from khmer_fast.formats.paragraphs import joined

MAX_CELLS = 1_000_000  # rows times columns


def cell_text(cell: Cell) -> str:
    """The cell's lines as one text."""
    return joined(cell.lines)


def size(region: Region) -> tuple[int, int]:
    """Rows and columns of a table. Raises FormatError for more than MAX_CELLS."""
    rows = max((cell.row + cell.row_span for cell in region.cells), default=0)
    columns = max((cell.column + cell.column_span for cell in region.cells), default=0)
    if rows * columns > MAX_CELLS:
        raise FormatError(f"a table of {rows} x {columns} cells; at most {MAX_CELLS:,} are written")
    return rows, columns


def grid(region: Region) -> list[list[str]]:
    """The texts of a table by row and column; a merged cell's stands in its first place."""
    rows, columns = size(region)
    texts = [[""] * columns for _ in range(rows)]
    for cell in region.cells:
        texts[cell.row][cell.column] = cell_text(cell)
    return texts
