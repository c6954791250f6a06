"""What stands side by side: columns and blocks, read one after the other, or rows, read across."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from khmer_fast.page.places import LevelPage, Place

_LEVEL = 0.4  # letter heights between baselines of one row
_ALIGNED = 0.6  # of the shorter side's lines have a partner: rows
_FULL = 0.7  # of a column's width that a line of prose fills
_PROSE = 12.0  # letter heights of a column of prose, at least
_NARROW = 9.0  # letter heights of a column of amounts or numbers, at most
_FEW = 6  # rows: with more, blocks beside each other do not have their lines level
_LARGER = 1.3  # times the letters of a card's other lines


def are_rows(
    left: Sequence[Place], right: Sequence[Place], group: Sequence[Sequence[Place]], page: LevelPage
) -> bool:
    """Whether two columns beside each other are read across; `group` are the columns that `left`
    is in a row with, itself too. Places are sorted from top to bottom."""
    pairs = level_pairs(left, right)
    if len(left) == 1 or len(right) == 1:
        return bool(pairs) and (len(left) + len(right) <= 3 or len(group) > 1)
    if len(pairs) < _ALIGNED * min(len(left), len(right)) or len(pairs) < 2:
        return False
    if _is_prose(left) and _is_prose(right):
        return False
    if _varies(left) and _varies(right):
        return False
    if len(group) > 1:
        return True
    if min(_widest(left), _widest(right)) < 3.0:  # marks, numbers of a list
        return True
    few = len(pairs) <= _FEW
    if few and len(pairs) <= 3 and _centred(left) and _centred(right):
        return False
    amounts = _widest(right) <= _NARROW and (_flush(right, "right") or _flush(right, "left"))
    return not few or amounts and abs(len(left) - len(right)) <= 1


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


def level_pairs(left: Sequence[Place], right: Sequence[Place]) -> list[tuple[Place, Place]]:
    """Lines of two columns on one baseline, each with at most one partner."""
    pairs = []
    free = list(right)
    for a in left:
        b = min(free, key=lambda b: abs(b.bottom - a.bottom), default=None)
        if b is not None and abs(b.bottom - a.bottom) <= _LEVEL * max(a.letter, b.letter):
            pairs.append((a, b))
            free.remove(b)
    return pairs


def _is_prose(column: Sequence[Place]) -> bool:
    """Whether most lines fill the column's width, as those of paragraphs do."""
    wide = max(p.right for p in column) - min(p.left for p in column)
    if len(column) < 3 or wide < _PROSE * statistics.median(p.letter for p in column):
        return False
    return sum(place.width >= _FULL * wide for place in column) >= 0.55 * len(column)


def _varies(column: Sequence[Place]) -> bool:
    """Whether the letters of a column's lines are of several sizes, as on a card."""
    letters = sorted(place.letter for place in column)
    return len(column) <= 5 and letters[-1] > _LARGER * letters[0]


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
