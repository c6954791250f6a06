"""Grounds and frames that hold text of their own: cards beside and under one another."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import LevelPage, LevelRule, Place

MOST_SIDES = 120  # of one direction: on a page with more, they are a picture's or a pattern's
_CORNER = 1.5  # letter heights from the end of a side to the next side: corners are round
_SIDE = 0.6  # of a side that must be seen
_LEAST = 3.0  # letter heights of a ground's width, and half of that of its height
_WHOLE = 0.6  # of a page's lines: what holds more is the page's frame
_BESIDE = 0.5  # letter heights by which pieces of one row overlap


@dataclass(frozen=True)
class Ground:
    """A ground or frame on the level page, and the places inside."""

    left: float
    top: float
    right: float
    bottom: float
    places: tuple[Place, ...]

    def place(self, index: int) -> Place:
        """The ground as one place on the level page."""
        letter = statistics.median(place.letter for place in self.places)
        return Place(index, self.left, self.right, self.top, self.bottom, letter)


def find_grounds(places: Sequence[Place], page: LevelPage) -> list[Ground]:
    """The grounds that hold one column of lines each, where all lines beside them stand on such
    grounds, too: cards are, cells and stripes of tables are not."""
    level = [*page.horizontal, *page.level_edges]
    upright = [*page.vertical, *page.upright_edges]
    if not places or not level or not 2 <= len(upright) <= MOST_SIDES or len(level) > MOST_SIDES:
        return []
    letter = statistics.median(place.letter for place in places)
    found = _rectangles(places, level, upright, letter)
    found = [ground for ground in found if len(ground.places) <= _WHOLE * len(places)]
    found = _innermost(found)
    held = {place.index for ground in found for place in ground.places}
    kept = []
    for ground in found:
        level_with = (p for p in places if p.bottom > ground.top and p.top < ground.bottom)
        if _is_column(ground.places) and all(place.index in held for place in level_with):
            kept.append(ground)
    return kept


def _rectangles(
    places: Sequence[Place],
    level: Sequence[LevelRule],
    upright: Sequence[LevelRule],
    letter: float,
) -> list[Ground]:
    """What four sides enclose, with lines inside."""
    corner = _CORNER * letter
    found: list[Ground] = []
    sides = sorted(upright, key=lambda rule: rule.at)
    for i, left in enumerate(sides):
        for right in sides[i + 1 :]:
            if right.at - left.at < _LEAST * letter:
                continue
            top, bottom = max(left.low, right.low), min(left.high, right.high)
            if abs(left.low - right.low) > corner or abs(left.high - right.high) > corner:
                continue
            if bottom - top < _LEAST / 2 * letter:
                continue
            if not all(_side(level, at, left.at, right.at, corner) for at in (top, bottom)):
                continue
            inside = tuple(
                place
                for place in places
                if left.at - 0.5 * letter < place.left
                and place.right < right.at + 0.5 * letter
                and top < (place.top + place.bottom) / 2 < bottom
            )
            if inside:
                found.append(Ground(left.at, top, right.at, bottom, inside))
    return found


def _side(rules: Sequence[LevelRule], at: float, low: float, high: float, corner: float) -> bool:
    """Whether rules near `at` run from low to high."""
    covered = max(
        (min(rule.high, high) - max(rule.low, low) for rule in rules if abs(rule.at - at) < corner),
        default=0.0,
    )
    return covered > _SIDE * (high - low)


def _innermost(grounds: Sequence[Ground]) -> list[Ground]:
    """For each line the smallest ground that holds it, once."""
    kept: list[Ground] = []
    taken: set[int] = set()
    for ground in sorted(grounds, key=lambda g: (g.right - g.left) * (g.bottom - g.top)):
        inside = {place.index for place in ground.places}
        if not inside & taken:
            kept.append(ground)
            taken |= inside
    return kept


def _is_column(places: Sequence[Place]) -> bool:
    """Whether no two of the places stand beside each other."""
    by_top = sorted(places, key=lambda place: place.top)
    return all(
        b.top > a.bottom - _BESIDE * min(a.letter, b.letter)
        for a, b in zip(by_top, by_top[1:], strict=False)
    )
