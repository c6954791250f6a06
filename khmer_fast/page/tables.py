"""Tables from where lines and rules stand: cells, rows and columns that span several."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import LevelPage, LevelRule, Place
from khmer_fast.page.plans import CellPlan, RegionPlan
from khmer_fast.page.side_by_side import cell_rows, is_prose
from khmer_fast.page.white import columns_of

_TOUCH = 0.8  # letter heights between rules that meet
_SAME_EDGE = 0.7  # letter heights between rules that are one edge of the grid
_WALL = 0.5  # of a cell's side that a rule must cover to part it from its neighbour
_BESIDE = 8.0  # letter heights beside a table's rules in which its rows may go on
_ROW_WHITE = 2.3  # letter heights of white that lines of one text do not have
_GAP = 0.7, 2.6  # letter heights between frames beside each other
_ARTICLES = 0.6  # of the lines in long texts: no table, but a newspaper
_CROSSING = 0.2  # of a table's lines may run over its rules


@dataclass(frozen=True)
class FoundTable:
    """A table: its cells by row and column, and the box round its lines on the level page."""

    cells: tuple[CellPlan, ...]
    left: float
    right: float
    top: float
    bottom: float
    letter: float

    @property
    def lines(self) -> tuple[int, ...]:
        """All lines in reading order."""
        return tuple(line for cell in self.cells for line in cell.lines)

    def plan(self) -> RegionPlan:
        """The table as a region."""
        return RegionPlan("table", cells=self.cells)

    def place(self, index: int) -> Place:
        """The table as one place on the level page."""
        return Place(index, self.left, self.right, self.top, self.bottom, self.letter)


def _table(cells: dict[tuple[int, int], list[Place]], spans: dict) -> FoundTable:
    """A table of cells that hold lines; rows and columns are numbered anew without empty ones."""
    rows = sorted({row for (row, _), lines in cells.items() if lines})
    columns = sorted({column for (_, column), lines in cells.items() if lines})
    plans = []
    for (row, column), lines in sorted(cells.items()):
        if not lines:
            continue
        row_span, column_span = spans.get((row, column), (1, 1))
        plans.append(
            CellPlan(
                rows.index(row),
                columns.index(column),
                sum(row <= r < row + row_span for r in rows),
                sum(column <= c < column + column_span for c in columns),
                tuple(place.index for place in _in_cell(lines)),
            )
        )
    places = [place for lines in cells.values() for place in lines]
    return FoundTable(
        tuple(plans),
        min(place.left for place in places),
        max(place.right for place in places),
        min(place.top for place in places),
        max(place.bottom for place in places),
        statistics.median(place.letter for place in places),
    )


def _in_cell(lines: Sequence[Place]) -> list[Place]:
    """A cell's lines from top to bottom, pieces of one row from left to right."""
    rows: list[list[Place]] = []
    for place in sorted(lines, key=lambda place: place.bottom):
        if rows and place.bottom - rows[-1][0].bottom < 0.5 * place.letter:
            rows[-1].append(place)
        else:
            rows.append([place])
    return [place for row in rows for place in sorted(row, key=lambda place: place.left)]


# ---- ruled ----


def ruled_tables(page: LevelPage) -> list[FoundTable]:
    """Tables whose cells are parted by horizontal and vertical rules that meet."""
    if not page.lines or not page.horizontal or not page.vertical:
        return []
    letter = statistics.median(place.letter for place in page.lines)
    tables: list[FoundTable] = []
    free = list(page.lines)
    grids = _grids(page, _TOUCH * letter)
    for horizontal, vertical in sorted(grids, key=lambda grid: -len(grid[0]) - len(grid[1])):
        table = _ruled_table(free, horizontal, vertical, letter)
        if table is not None:
            tables.append(table)
            taken = set(table.lines)
            free = [place for place in free if place.index not in taken]
    return tables


def _grids(page: LevelPage, touch: float) -> list[tuple[list[LevelRule], list[LevelRule]]]:
    """Horizontal and vertical rules that meet, together."""
    parent = list(range(len(page.horizontal) + len(page.vertical)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, h in enumerate(page.horizontal):
        for j, v in enumerate(page.vertical, len(page.horizontal)):
            if h.low - touch < v.at < h.high + touch and v.low - touch < h.at < v.high + touch:
                parent[root(i)] = root(j)
    grids: dict[int, tuple[list[LevelRule], list[LevelRule]]] = {}
    for i, rule in enumerate((*page.horizontal, *page.vertical)):
        grids.setdefault(root(i), ([], []))[i >= len(page.horizontal)].append(rule)
    return [grid for grid in grids.values() if grid[0] and grid[1]]


def _edges(rules: Sequence[LevelRule], ends: Sequence[float], same: float) -> list[float]:
    """Where the grid's edges are across: the rules', and the ends of those that they meet."""
    edges: list[float] = []
    for at in sorted([rule.at for rule in rules]):
        if not edges or at - edges[-1] > same:
            edges.append(at)
    for end in ends:
        if all(abs(end - edge) > 2 * same for edge in edges):
            edges.append(end)
    return sorted(edges)


def _ruled_table(
    places: Sequence[Place],
    horizontal: Sequence[LevelRule],
    vertical: Sequence[LevelRule],
    letter: float,
) -> FoundTable | None:
    same = _SAME_EDGE * letter
    ys = _edges(horizontal, (min(v.low for v in vertical), max(v.high for v in vertical)), same)
    xs = _edges(vertical, (min(h.low for h in horizontal), max(h.high for h in horizontal)), same)
    rows, columns = len(ys) - 1, len(xs) - 1
    if rows < 1 or columns < 2:
        return None
    inside = [
        place
        for place in places
        if xs[0] - same < place.middle < xs[-1] + same
        and ys[0] - same < (place.top + place.bottom) / 2 < ys[-1] + same
    ]
    if _have_gaps(vertical, inside, xs, letter):
        return None
    if _goes_on_beside(places, inside, xs, ys, letter):
        return None
    cell_of, spans = _merged_cells(horizontal, vertical, inside, xs, ys, same)
    cells: dict[tuple[int, int], list[Place]] = {}
    crossing = 0
    for place in inside:
        row = _slot(ys, (place.top + place.bottom) / 2)
        first, last = _slot(xs, place.left + 0.5 * letter), _slot(xs, place.right - 0.5 * letter)
        home = cell_of[row, _slot(xs, place.middle)]
        crossing += cell_of[row, first] != cell_of[row, last]
        cells.setdefault(home, []).append(place)
    cells, spans = _parted_rows(cells, spans)
    if crossing > _CROSSING * len(inside) or not _is_table(cells, inside):
        return None
    return _table(cells, spans)


def _have_gaps(
    vertical: Sequence[LevelRule], places: Sequence[Place], xs: Sequence[float], letter: float
) -> bool:
    """Whether two rules stand beside each other where one would part cells: frames with gaps
    between them."""
    inside = [rule for rule in vertical if xs[0] + letter < rule.at < xs[-1] - letter]
    inside.sort(key=lambda rule: rule.at)
    return any(
        _GAP[0] * letter < b.at - a.at < _GAP[1] * letter
        and min(a.high, b.high) - max(a.low, b.low) > 0.6 * (b.high - b.low)
        and not any(a.at < place.middle < b.at for place in places)
        for a, b in zip(inside, inside[1:], strict=False)
    )


Slot = tuple[int, int]  # row, column


def _parted_rows(
    cells: dict[Slot, list[Place]], spans: dict[Slot, tuple[int, int]]
) -> tuple[dict[Slot, list[Place]], dict[Slot, tuple[int, int]]]:
    """Cells and spans with rows that no rule parts made several: where the lines of several cells
    leave white over all of them that is too high for the lines of one text."""
    parted: dict[Slot, list[Place]] = {}
    new_row, rows, row_spans = 0, sorted({row for row, _ in cells}), {}
    for row in rows:
        mine = {slot: lines for slot, lines in cells.items() if slot[0] == row}
        single = all(spans.get(slot, (1, 1))[0] == 1 for slot in mine)
        tops = _row_tops(list(mine.values())) if single else [float("-inf")]
        for (_, column), lines in mine.items():
            for place in lines:
                part = sum(top <= place.top for top in tops) - 1
                parted.setdefault((new_row + part, column), []).append(place)
            row_spans[new_row, column] = spans.get((row, column), (1, 1))
        new_row += len(tops)
    return parted, row_spans


def _row_tops(cells: Sequence[Sequence[Place]]) -> list[float]:
    """Where rows begin among cells beside each other: below white over all of them, if at least
    two of them go on below it."""
    tops, end = [float("-inf")], float("-inf")
    numbered = sorted(((place, k) for k, lines in enumerate(cells) for place in lines),
                      key=lambda item: item[0].top)  # fmt: skip
    for i, (place, _) in enumerate(numbered):
        if i and place.top - end > _ROW_WHITE * place.letter:
            level = {k for p, k in numbered[i:] if p.top < place.bottom}
            if len(level) > 1:
                tops.append(place.top)
        end = max(end, place.bottom)
    return tops


def _slot(edges: Sequence[float], at: float) -> int:
    """Which interval between edges a place lies in."""
    return max(0, min(sum(edge <= at for edge in edges) - 1, len(edges) - 2))


def _goes_on_beside(
    places: Sequence[Place],
    inside: Sequence[Place],
    xs: Sequence[float],
    ys: Sequence[float],
    letter: float,
) -> bool:
    """Whether lines in the table's rows stand left and right of its rules: they are not all of
    the table's, and the rules say too little."""
    within = {place.index for place in inside}
    beside = [
        place
        for place in places
        if place.index not in within
        and ys[0] < (place.top + place.bottom) / 2 < ys[-1]
        and (
            0 < xs[0] - place.right < _BESIDE * letter or 0 < place.left - xs[-1] < _BESIDE * letter
        )
    ]
    return len(beside) > max(1, 0.5 * (len(ys) - 1))


def _merged_cells(
    horizontal: Sequence[LevelRule],
    vertical: Sequence[LevelRule],
    inside: Sequence[Place],
    xs: Sequence[float],
    ys: Sequence[float],
    same: float,
) -> tuple[dict[tuple[int, int], tuple[int, int]], dict[tuple[int, int], tuple[int, int]]]:
    """The upper left slot of each slot's cell, and each cell's spans (rows, columns).

    Slots without a rule between them are one cell where a line stands over both, or no more than
    one of them has lines.
    """
    rows, columns = len(ys) - 1, len(xs) - 1
    cell_of = {(r, c): (r, c) for r in range(rows) for c in range(columns)}
    held: dict[tuple[int, int], list[Place]] = {}
    across: set[tuple[tuple[int, int], tuple[int, int]]] = set()
    for place in inside:
        row = _slot(ys, (place.top + place.bottom) / 2)
        first, last = (
            _slot(xs, place.left + 0.6 * place.letter), _slot(xs, place.right - 0.6 * place.letter)
        )  # fmt: skip
        held.setdefault((row, _slot(xs, place.middle)), []).append(place)
        across.update(((row, c), (row, c + 1)) for c in range(first, last))
        above, below = _slot(ys, place.top), _slot(ys, place.bottom)
        if above != below:
            column = _slot(xs, place.middle)
            across.add(((above, column), (below, column)))
    for r in range(rows):
        for c in range(columns):
            for other, wall in (
                ((r, c - 1), (vertical, xs[c], ys[r], ys[r + 1])),
                ((r - 1, c), (horizontal, ys[r], xs[c], xs[c + 1])),
            ):
                home, one = cell_of[r, c], cell_of.get(other)
                if one is None or one == home or _walled(*wall, same):
                    continue
                in_line = one[0] == home[0] if other[0] == r else one[1] == home[1]
                both = (r, c) in held and other in held
                if in_line and (not both or (other, (r, c)) in across):
                    _replace(cell_of, home, one)
    spans = {}
    for home in set(cell_of.values()):
        slots = [slot for slot, owner in cell_of.items() if owner == home]
        spans[home] = (
            max(r for r, _ in slots) - home[0] + 1,
            max(c for _, c in slots) - home[1] + 1,
        )
    return cell_of, spans


def _replace(cell_of: dict, old: tuple[int, int], new: tuple[int, int]) -> None:
    for slot, owner in cell_of.items():
        if owner == old:
            cell_of[slot] = new


def _walled(rules: Sequence[LevelRule], at: float, low: float, high: float, same: float) -> bool:
    """Whether rules stand between two slots that meet at `at` from low to high."""
    covered = sum(
        max(0.0, min(rule.high, high) - max(rule.low, low))
        for rule in rules
        if abs(rule.at - at) <= same
    )
    return covered >= _WALL * (high - low)


def _is_table(cells: dict[tuple[int, int], list[Place]], inside: Sequence[Place]) -> bool:
    """Whether text stands in several rows and columns, not nearly all of it in one cell, and most
    of it is no columns of prose that rules part."""
    if len(cells) < 3 or len({r for r, _ in cells}) < 2 or len({c for _, c in cells}) < 2:
        return False
    if max(map(len, cells.values())) > max(8, 0.6 * len(inside)):
        return False
    columns = [column for lines in cells.values() for column in columns_of(lines)]
    articles = sum(len(column) for column in columns if len(column) > 5 and is_prose(column))
    return articles < _ARTICLES * len(inside)


# ---- without rules, or with some ----


def unruled_table(columns: Sequence[Sequence[Place]], page: LevelPage) -> FoundTable | None:
    """The table that columns read across are, or None where they are just rows of text.

    A table has at least three rows of two cells, or two rows of three, and no table in it.
    """
    if any(place.index < 0 for column in columns for place in column):
        return None
    rows = cell_rows(columns, page.horizontal)
    full = sum(len({cell.column for cell in row}) >= 2 for row in rows)
    if full < (3 if len(columns) == 2 else 2):
        return None
    cells: dict[tuple[int, int], list[Place]] = {}
    for r, row in enumerate(rows):
        for cell in row:
            cells.setdefault((r, cell.column), []).extend(cell.lines)
    return _table(cells, {})
