"""What a page will be made of: regions and cells of lines that are not read yet."""

from __future__ import annotations

from dataclasses import dataclass

from khmer_fast.document import RegionKind


@dataclass(frozen=True)
class CellPlan:
    """A cell of a table and its lines, indices into the page's found lines, in reading order."""

    row: int
    column: int
    row_span: int
    column_span: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class RegionPlan:
    """A region: its kind and its lines, or cells where it is a table."""

    kind: RegionKind
    lines: tuple[int, ...] = ()
    cells: tuple[CellPlan, ...] = ()

    def all_lines(self) -> tuple[int, ...]:
        """The region's lines in reading order, those in cells too."""
        return self.lines + tuple(line for cell in self.cells for line in cell.lines)
