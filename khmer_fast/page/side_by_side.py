"""What stands side by side: columns and blocks, read one after the other, or rows, read across."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import LevelPage, LevelRule, Place

_FULL = 0.75  # of a column's width that a line of prose fills
_FULL_LINES = 0.55  # of the lines of prose fill it
_MANY = 12  # lines: prose in which there may be lists
_HALF_FULL = 0.45  # of a column's width that most of its lines have
_PROSE = 12.0  # letter heights of a column of prose, at least
_NARROW_PROSE = 8.0  # the same for many lines
_TEXT = 6.0  # letter heights of most lines of any text
_SEVERAL = 0.35  # of a column's lines
_LEADING = 4.5  # letter heights from one line of prose to the next, at most
_NARROW = 11.0  # letter heights of a column of amounts or numbers, at most
_MARKS = 3.0  # letter heights of a column of lone figures or marks, at most
_HANG = 8.0  # letter heights from a list's marks to its text, at most
_ANSWERS = 3  # rows of answers beside each other, at most
_FEW = 6  # rows: with more, blocks beside each other do not have their lines level
_LARGER = 1.3  # times the letters of a card's other lines
_CONTINUED = 3.6  # letter heights between lines of one cell, at most
_CLOSER = 0.87  # of the distance of rows: lines of one cell are closer
_AS_CLOSE = 1.18  # times the least distance of lines in a column
_ONE_LEVEL = 0.45  # letter heights between baselines of one row
_MOST = 0.6  # of the columns, and of the lines
_HEAD = 0.35  # of the page's height, where a letter's head stands
_HEAD_OF_MANY = 0.15  # the same where there are more than two blocks: crests are some
_SPREAD = 3.3  # letter heights of white between lines that are no text together
_ALONG = 0.6  # of the columns that the edges of their grounds run along
_GAP = 0.7  # of the page's letter heights between two grounds, at least
_SPARSE = 0.4  # of the lines that columns have beside it
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


def part(
    columns: Sequence[Sequence[Place]], page: LevelPage, above: Place | None = None
) -> list[Beside]:
    """Groups of neighbouring columns, from left to right, that are read one after the other.

    `above` is the line that stands over them.
    """
    rules = page.horizontal
    groups = [[columns[0]]]
    for k, column in enumerate(columns[1:], 1):
        usual = [c for c in groups[-1] if not _sparse(c, columns)] or groups[-1]
        following = next((c for c in columns[k:] if not _sparse(c, columns)), column)
        other = following if _sparse(column, columns) else column
        level = any(_level(before, other, rules) for before in usual[-2:])
        level = level or is_list([groups[-1][-1], column])
        if level and not _on_grounds(groups[-1][-1], column, page):
            groups[-1].append(column)
        else:
            groups.append([column])
    parted = []
    for group in (half for whole in groups for half in _halves(whole, rules)):
        answers = len(group) == 2 and above is not None and _are_answers(group, above)
        if len(group) == 1 or answers or _across(group, rules):
            parted.append(Beside(tuple(map(tuple, group)), len(group) > 1))
        else:
            parted += [Beside((tuple(column),), False) for column in group]
    return parted


def _halves(
    group: Sequence[Sequence[Place]], rules: Sequence[LevelRule]
) -> list[list[Sequence[Place]]]:
    """Columns that are level as one, or as two lists beside each other: each begins with a flush
    column, and has rows (headings) that the other has not, or is of names and prices."""
    for k in range(2, len(group) - 1):
        if not (_flush(group[0], "left") and _flush(group[k], "left")):
            continue
        sides = [{cell.column < k for cell in row} for row in cell_rows(group, rules)]
        priced = len(group) == 4 and all(
            _flush(group[i + 1], "right") and not _flush(group[i + 1], "left") for i in (0, 2)
        )
        if priced or min(sides.count({True}), sides.count({False})) >= 2:
            return [list(group[:k]), list(group[k:])]
    return [list(group)]


def _on_grounds(left: Sequence[Place], right: Sequence[Place], page: LevelPage) -> bool:
    """Whether two columns stand on grounds or in frames of their own, with a gap between them."""
    top = min(place.top for place in (*left, *right))
    bottom = max(place.bottom for place in (*left, *right))
    start, end = max(place.right for place in left), min(place.left for place in right)
    walls = [
        rule.at
        for rule in (*page.vertical, *page.upright_edges)
        if start < rule.at < end
        and min(rule.high, bottom) - max(rule.low, top) > _ALONG * (bottom - top)
    ]
    return bool(walls) and max(walls) - min(walls) > _GAP * page.letter


def _sparse(column: Sequence[Place], columns: Sequence[Sequence[Place]]) -> bool:
    """Whether a column has so few lines that its neighbours say more (a total's name)."""
    return len(column) < _SPARSE * statistics.median(map(len, columns))


def is_list(columns: Sequence[Sequence[Place]]) -> bool:
    """Whether columns are marks or numbers, and the text beside them: each on a line's baseline."""
    if len(columns) != 2 or _widest(columns[0]) > _MARKS:
        return False
    marks, texts = columns
    wide = max(p.right for p in texts) - min(p.left for p in texts)
    near = min(p.left for p in texts) - max(p.right for p in marks) < _HANG * texts[0].letter
    return (
        near
        and len(texts) >= len(marks)
        and wide > _PROSE * texts[0].letter
        and all(
            any(abs(m.bottom - t.bottom) <= _ONE_LEVEL * t.letter for t in texts) for m in marks
        )
    )


def _level(a: Sequence[Place], b: Sequence[Place], rules: Sequence[LevelRule]) -> bool:
    """Whether the cells of two columns stand in rows."""
    if _is_several(a) or _is_several(b):
        return False
    rows = cell_rows([a, b], rules)
    both = [row for row in rows if len({cell.column for cell in row}) == 2]
    one_each = [row for row in both if len(row) == 2]
    uneven = sum(len(row) for row in both if len(row) > 2)
    cells = sum(map(len, rows))
    fewer = min(sum(cell.column == side for row in rows for cell in row) for side in (0, 1))
    return len(one_each) >= 0.5 * fewer and uneven <= _UNEVEN * cells


def _across(group: Sequence[Sequence[Place]], rules: Sequence[LevelRule]) -> bool:
    """Whether columns whose lines are level are read row by row."""
    if max(map(len, group)) == 1:
        return True
    if len(group) > 2:
        group = [column for column in group if not _sparse(column, group)]
        if len(group) == 1:
            return True
    if is_list(group):
        return True
    prose = sum(map(is_prose, group))
    if prose and all(is_prose(c) or _is_text(c) for c in group):
        return False
    if prose > 1 and prose >= _MOST * len(group):
        return False  # the others are the short ends of articles
    cards = all(_varies(column) for column in group)
    if cards and max(map(len, group)) <= 2:
        return False
    if len(group) == 2 and _are_amounts(group[0], group[1], rules):
        return True
    if cards:
        return False
    if len(group) > 2:
        return min(map(len, group)) > 1 or max(map(len, group)) <= 2
    left, right = group
    if min(_widest(left), _widest(right)) < _MARKS:
        return True
    cells = _cells(group, rules)
    counts = [sum(cell.column == side for cell in cells) for side in (0, 1)]
    several = max(counts) <= 2 and len(left) + len(right) > sum(counts)  # signers, and a date
    if _spread(left, counts[0]) and _spread(right, counts[1]) and not several:
        return True
    if min(counts) == 1:
        return max(counts) == 1
    return min(counts) > _FEW


def _are_answers(group: Sequence[Sequence[Place]], above: Place) -> bool:
    """Whether two columns of a few lines go on with the text above them: answers to a question."""
    left, right = group
    if max(map(len, group)) > _ANSWERS or not (_flush(left, "left") and _flush(right, "left")):
        return False
    letter = statistics.median(place.letter for place in (*left, *right))
    close = min(place.top for place in (*left, *right)) - above.bottom < _LEADING * letter - letter
    under = abs(above.left - left[0].left) < _HANG * letter
    return close and under and above.letter < _LARGER * letter


def _are_amounts(left: Sequence[Place], right: Sequence[Place], rules: Sequence[LevelRule]) -> bool:
    """Whether names stand at the left and an amount for each, flush, at the right."""
    cells = _cells([left, right], rules)
    counts = [sum(cell.column == side for cell in cells) for side in (0, 1)]
    if min(counts) < 2 or abs(counts[0] - counts[1]) > 1 or _widest(right) > _NARROW:
        return False
    return _flush(right, "right") or _flush(right, "left") and not _centred(left)


def _spread(column: Sequence[Place], cells: int) -> bool:
    """Whether a column's cells stand too far from each other to be one text."""
    if cells == 1:
        return True
    letter = statistics.median(place.letter for place in column)
    steps = [b.top - a.bottom for a, b in zip(column, column[1:], strict=False)]
    return sum(step > _SPREAD * letter for step in steps) >= cells - 1


def reading_sequence(blocks: Sequence[Sequence[Place]], page: LevelPage) -> list[list[Place]]:
    """Blocks beside each other in reading order: from left to right.

    But one that begins a line higher comes first in a letter's head or where it is centred on the
    page (the kingdom's name, the ministry's below at the left); elsewhere only what the right one
    of two has above the left one does (the date over two signers).
    """
    order = [list(block) for block in blocks]
    if all(map(is_prose, order)):
        return order
    highest = min(order, key=lambda block: min(place.bottom for place in block))
    others = [block for block in order if block is not highest]
    if not others or highest is order[0]:
        return order
    letter = statistics.median(place.letter for place in highest)
    top = min(place.top for block in others for place in block)
    above = [place for place in highest if place.bottom < top + 0.2 * letter]
    if not above:
        return order
    middle = (min(p.left for p in highest) + max(p.right for p in highest)) / 2
    head = _HEAD if len(order) == 2 else _HEAD_OF_MANY
    if len(order) > 2 and (len(highest) < 2 or _varies(highest)):
        return order
    if top < head * page.height or abs(middle - page.width / 2) < 0.06 * page.width:
        lower = min(map(_mean_bottom, others)) - _mean_bottom(highest)
        return [highest, *others] if lower > letter else order
    if len(order) > 2:
        return order
    first = min(others[0], key=lambda place: place.top)
    beside = any(
        abs(place.bottom - first.bottom) < _ONE_LEVEL * letter
        and max(place.letter, first.letter) < _LARGER * min(place.letter, first.letter)
        for place in highest
    )
    rest = [place for place in highest if place not in above]
    return [above, others[0], rest] if beside else order


def _mean_bottom(block: Sequence[Place]) -> float:
    return statistics.fmean(place.bottom for place in block)


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
    steps = [_steps(column) for column in columns]
    usual = max((statistics.median(s) for s in steps if s), default=0.0)
    least = min((min(s) for s in steps if s), default=0.0)
    close = min(_AS_CLOSE * least, _CLOSER * usual)
    rows = _rows_are_close(columns, close)

    def goes_on(a: Place, b: Place) -> bool:
        step, letter = b.bottom - a.bottom, max(a.letter, b.letter)
        if step < _ONE_LEVEL * letter:
            return True
        if rows or step >= min(_CONTINUED * letter, close):
            return False
        return not _ruled(a, b, rules)

    cells = []
    for k, column in enumerate(columns):
        lines: list[Place] = []
        for place in column:
            if lines and not goes_on(lines[-1], place):
                cells.append(CellLines(k, tuple(lines)))
                lines = []
            lines.append(place)
        if lines:
            cells.append(CellLines(k, tuple(lines)))
    return cells


def _steps(column: Sequence[Place]) -> list[float]:
    """The distances of a column's lines, those of one baseline left out."""
    letter = statistics.median([place.letter for place in column] or [0.0])  # not that of a head
    steps = [b.bottom - a.bottom for a, b in zip(column, column[1:], strict=False)]
    return [step for step in steps if step > 1.2 * letter]


def _rows_are_close(columns: Sequence[Sequence[Place]], close: float) -> bool:
    """Whether lines of a column that are close to each other are rows all the same: on most of
    their baselines most columns have a line."""
    bottoms = [[place.bottom for place in column] for column in columns]
    letter = columns[0][0].letter
    pairs = full = 0
    for column in bottoms:
        for a, b in zip(column, column[1:], strict=False):
            if _ONE_LEVEL * letter < b - a < close:
                pairs += 1
                both = sum(
                    all(any(abs(y - at) <= _ONE_LEVEL * letter for y in beside) for at in (a, b))
                    for beside in bottoms
                )
                full += both > _MOST * len(bottoms)
    return full > _MOST * pairs


def _ruled(a: Place, b: Place, rules: Sequence[LevelRule]) -> bool:
    """Whether a horizontal rule stands between two lines."""
    middle = (max(a.left, b.left) + min(a.right, b.right)) / 2
    return any(
        a.bottom < rule.at < b.top + 0.3 * b.letter and rule.low < middle < rule.high
        for rule in rules
    )


# ---- what a column looks like ----


def is_prose(column: Sequence[Place]) -> bool:
    """Whether most lines fill the column's width, close to each other, as in paragraphs."""
    if len(column) < 4:
        return False
    wide = max(p.right for p in column) - min(p.left for p in column)
    letter = statistics.median(place.letter for place in column)
    if (
        len(column) < 4
        or wide < _PROSE * letter
        or statistics.median(_steps(column) or [0.0]) > _LEADING * letter
    ):
        return False
    if len(column) >= _MANY:
        return statistics.median(place.width for place in column) >= _HALF_FULL * wide
    return sum(place.width >= _FULL * wide for place in column) >= _FULL_LINES * len(column)


def _is_text(column: Sequence[Place]) -> bool:
    """Whether lines begin at one x, as close to each other as those of a paragraph."""
    letter = statistics.median(place.letter for place in column)
    close = statistics.median(_steps(column) or [0.0]) <= _LEADING * letter
    wide = statistics.median(place.width for place in column) >= _TEXT * letter
    return len(column) >= _FEW and close and wide and _flush(column, "left")


def _is_several(column: Sequence[Place]) -> bool:
    """Whether most lines of a column stand beside others of it: it is several columns."""
    beside = sum(
        b.bottom - a.bottom < 0.8 * a.letter and (b.left > a.right or a.left > b.right)
        for a, b in zip(column, column[1:], strict=False)
    )
    return beside > _SEVERAL * len(column)


def _varies(column: Sequence[Place]) -> bool:
    """Whether the letters of a column's lines are of several sizes, as on a card."""
    letters = sorted(place.letter for place in column)
    return 2 <= len(column) <= 5 and letters[-1] > _LARGER * letters[0]


def _widest(column: Sequence[Place]) -> float:
    """The width of the widest line in letter heights."""
    return max(place.width / place.letter for place in column)


def _flush(column: Sequence[Place], side: str) -> bool:
    """Whether nearly all lines end, or begin, at one x."""
    edges = [getattr(place, side) for place in column]
    at = statistics.median(edges)
    near = 0.7 * statistics.median(place.letter for place in column)
    return sum(abs(edge - at) <= near for edge in edges) >= 0.8 * len(edges)


def _centred(column: Sequence[Place]) -> bool:
    """Whether lines of different widths have one middle."""
    letter = statistics.median(place.letter for place in column)
    middles = [place.middle for place in column]
    if max(middles) - min(middles) > 0.8 * letter:
        return False
    return not _flush(column, "left") or len(column) == 1
