"""What stands side by side: columns and blocks, read one after the other, or rows, read across."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import LevelPage, LevelRule, Place

_FULL = 0.75  # of a column's width that a line of prose fills
_PROSE = 12.0  # letter heights of a column of prose, at least
_LEADING = 4.5  # letter heights from one line of prose to the next, at most
_NARROW = 9.0  # letter heights of a column of amounts or numbers, at most
_MARKS = 3.0  # letter heights of a column of lone figures or marks, at most
_FEW = 6  # rows: with more, blocks beside each other do not have their lines level
_LARGER = 1.3  # times the letters of a card's other lines
_CONTINUED = 3.6  # letter heights between lines of one cell, at most
_CLOSER = 0.87  # of the distance of rows: lines of one cell are closer
_UNEVEN = 0.2  # of the cells of two columns may stand beside several of the other


@dataclass(frozen=True)
class CellLines:
    """Lines of one column that are one cell, from top to bottom."""

    column: int
    lines: tuple[Place, ...]

    @property
    def top(self) -> float:
        return self.lines[0].top

    @property
    def bottom(self) -> float:
        return self.lines[-1].bottom


@dataclass(frozen=True)
class Beside:
    """Neighbouring columns, each from top to bottom; `across`: they are read row by row."""

    columns: tuple[tuple[Place, ...], ...]
    across: bool

    @property
    def places(self) -> list[Place]:
        """All of their places."""
        return [place for column in self.columns for place in column]


def part(columns: Sequence[Sequence[Place]], rules: Sequence[LevelRule]) -> list[Beside]:
    """Groups of neighbouring columns, from left to right, that are read one after the other.

    `rules` are the horizontal ones of the page.
    """
    groups = [[columns[0]]]
    for k, column in enumerate(columns[1:], 1):
        usual = [c for c in groups[-1] if not _sparse(c, columns)] or groups[-1]
        following = next((c for c in columns[k:] if not _sparse(c, columns)), column)
        if _level(usual[-1], following if _sparse(column, columns) else column, rules):
            groups[-1].append(column)
        else:
            groups.append([column])
    parted = []
    for group in groups:
        if len(group) == 1 or _across(group):
            parted.append(Beside(tuple(map(tuple, group)), len(group) > 1))
        else:
            parted += [Beside((tuple(column),), False) for column in group]
    return parted


def _sparse(column: Sequence[Place], columns: Sequence[Sequence[Place]]) -> bool:
    """Whether a column has so few lines that its neighbours say more (a total's name)."""
    return len(column) < 0.35 * max(map(len, columns))


def _level(a: Sequence[Place], b: Sequence[Place], rules: Sequence[LevelRule]) -> bool:
    """Whether the cells of two columns stand in rows."""
    rows = cell_rows([a, b], rules)
    both = [row for row in rows if len({cell.column for cell in row}) == 2]
    one_each = [row for row in both if len(row) == 2]
    uneven = sum(len(row) for row in both if len(row) > 2)
    cells = sum(map(len, rows))
    fewer = min(sum(cell.column == side for row in rows for cell in row) for side in (0, 1))
    return len(one_each) >= 0.5 * fewer and uneven <= _UNEVEN * cells


def _across(group: Sequence[Sequence[Place]]) -> bool:
    """Whether columns whose lines are level are read row by row."""
    if max(map(len, group)) == 1:
        return True
    if len(group) > 2:
        group = [column for column in group if not _sparse(column, group)]
        if len(group) == 1:
            return True
    if len(group) <= 3 and sum(is_prose(column) for column in group) >= 2:
        return False
    if all(_varies(column) for column in group):  # cards
        return False
    if len(group) > 2:
        return min(map(len, group)) > 1 or max(map(len, group)) <= 2
    left, right = group
    if min(_widest(left), _widest(right)) < _MARKS:
        return True
    rows = min(len(left), len(right))
    if rows == 1:
        return len(left) + len(right) <= 3
    if rows > _FEW:
        return True
    if rows <= 3 and _centred(left) and _centred(right):  # signers
        return False
    amounts = _widest(right) <= _NARROW and (_flush(right, "right") or _flush(right, "left"))
    return amounts and abs(len(left) - len(right)) <= 1


def reading_sequence(blocks: Sequence[Sequence[Place]], page: LevelPage) -> list[list[Place]]:
    """Blocks beside each other in reading order: from left to right, but what is centred on the
    page and begins higher comes first (the kingdom's name over the ministry's)."""
    order = [list(block) for block in blocks]
    if len(order) != 2:
        return order
    left, right = order
    middle = (min(p.left for p in right) + max(p.right for p in right)) / 2
    higher = min(p.bottom for p in left) - min(p.bottom for p in right)
    letter = statistics.median(place.letter for place in right)
    if higher > 1.2 * letter and abs(middle - page.width / 2) < 0.06 * page.width:
        return [right, left]
    return order


# ---- cells ----


def cell_rows(
    columns: Sequence[Sequence[Place]], rules: Sequence[LevelRule]
) -> list[list[CellLines]]:
    """Cells by row from top to bottom: what stands beside each other, at least in part."""
    cells = _cells(columns, rules)
    rows: list[list[CellLines]] = []
    end = float("-inf")
    for cell in sorted(cells, key=lambda cell: (cell.top, cell.column)):
        if rows and cell.top < end:
            rows[-1].append(cell)
            end = max(end, cell.bottom)
        else:
            rows.append([cell])
            end = cell.bottom
    return rows


def _cells(columns: Sequence[Sequence[Place]], rules: Sequence[LevelRule]) -> list[CellLines]:
    """The cells of columns: lines that are closer than rows are go on in the same cell."""
    usual = max((_usual_step(column) for column in columns), default=0.0)
    cells = []
    for k, column in enumerate(columns):
        lines: list[Place] = []
        for place in column:
            if lines and not _same_cell(lines[-1], place, usual, rules):
                cells.append(CellLines(k, tuple(lines)))
                lines = []
            lines.append(place)
        if lines:
            cells.append(CellLines(k, tuple(lines)))
    return cells


def _usual_step(column: Sequence[Place]) -> float:
    """The median distance of a column's lines, those of one baseline left out."""
    steps = [b.bottom - a.bottom for a, b in zip(column, column[1:], strict=False)]
    return statistics.median([s for s in steps if s > 0.5 * column[0].letter] or [0.0])


def _same_cell(a: Place, b: Place, usual: float, rules: Sequence[LevelRule]) -> bool:
    step, letter = b.bottom - a.bottom, max(a.letter, b.letter)
    if step < 0.5 * letter:
        return True
    if step > _CONTINUED * letter or step > _CLOSER * usual:
        return False
    middle = max(a.left, b.left), min(a.right, b.right)
    return not any(
        a.bottom < rule.at < b.top + 0.3 * letter
        and rule.low < (middle[0] + middle[1]) / 2 < rule.high
        for rule in rules
    )


# ---- what a column looks like ----


def is_prose(column: Sequence[Place]) -> bool:
    """Whether most lines fill the column's width, close to each other, as in paragraphs."""
    wide = max(p.right for p in column) - min(p.left for p in column)
    letter = statistics.median(place.letter for place in column)
    if len(column) < 4 or wide < _PROSE * letter or _usual_step(column) > _LEADING * letter:
        return False
    return sum(place.width >= _FULL * wide for place in column) >= 0.55 * len(column)


def _varies(column: Sequence[Place]) -> bool:
    """Whether the letters of a column's lines are of several sizes, as on a card."""
    letters = sorted(place.letter for place in column)
    return 2 <= len(column) <= 5 and letters[-1] > _LARGER * letters[0]


def _widest(column: Sequence[Place]) -> float:
    """The width of the widest line in letter heights."""
    return max(place.width / place.letter for place in column)


def _flush(column: Sequence[Place], side: str) -> bool:
    """Whether lines end, or begin, at one x."""
    edges = [getattr(place, side) for place in column]
    return max(edges) - min(edges) < 0.8 * statistics.median(p.letter for p in column)


def _centred(column: Sequence[Place]) -> bool:
    """Whether lines of different widths have one middle."""
    letter = statistics.median(place.letter for place in column)
    middles = [place.middle for place in column]
    if max(middles) - min(middles) > 0.8 * letter:
        return False
    return not _flush(column, "left") or len(column) == 1
