"""Grounds and frames that hold text of their own: cards beside and under one another."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import LevelPage, LevelRule, Place

MOST_SIDES = 120  # of one direction: on a page with more, they are a picture's or a pattern's
_SIDE = 0.6  # of an upright side that must be seen
_CORNER, _ROUND = 1.5, 0.1  # letter heights, or of its width, from a level side's end to the next
_NEAREST = 6  # sides to the left and to the right of a line that are tried
_LEAST = 3.0  # letter heights of a ground's width, and half of that of its height
_APART = 0.5  # letter heights between two grounds
_UNDER = 1.0  # letter heights from a line to a rule under it
_INSIDE = 0.5  # letter heights by which a line may stand out of its ground
_LEVEL = 0.45  # letter heights between baselines of one row
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

    def text_place(self, index: int) -> Place:
        """The same round its lines alone."""
        return Place(
            index,
            min(place.left for place in self.places),
            max(place.right for place in self.places),
            min(place.top for place in self.places),
            max(place.bottom for place in self.places),
            self.place(index).letter,
        )


def find_grounds(places: Sequence[Place], page: LevelPage) -> list[Ground]:
    """The grounds that hold one column of lines each, where all lines beside them stand on such
    grounds, too, or not in their rows: cards and boxes are, cells and stripes of tables are not."""
    level = [*page.horizontal, *page.level_edges]
    upright = [*page.vertical, *page.upright_edges]
    if not places or not level or not 2 <= len(upright) <= MOST_SIDES or len(level) > MOST_SIDES:
        return []
    letter = statistics.median(place.letter for place in places)
    found = _rectangles(places, level, upright, letter)
    found = [ground for ground in found if len(ground.places) <= _WHOLE * len(places)]
    held = {place.index for ground in found for place in ground.places}
    kept = []
    for ground in found:
        beside = [
            place
            for place in places
            if place.index not in held and place.bottom > ground.top and place.top < ground.bottom
        ]
        if _is_column(ground.places) and (not beside or _is_box(ground.places, beside)):
            kept.append(ground)
    return kept


def apart(grounds: Sequence[Ground], letter: float) -> list[Ground]:
    """The grounds that share no side with another one, as a table's cells do."""
    near = _APART * letter
    return [
        ground
        for ground in grounds
        if not any(
            (abs(ground.right - other.left) < near or abs(other.right - ground.left) < near)
            and min(ground.bottom, other.bottom) > max(ground.top, other.top)
            or (abs(ground.bottom - other.top) < near or abs(other.bottom - ground.top) < near)
            and min(ground.right, other.right) > max(ground.left, other.left)
            for other in grounds
        )
    ]


def _rectangles(
    places: Sequence[Place],
    level: Sequence[LevelRule],
    upright: Sequence[LevelRule],
    letter: float,
) -> list[Ground]:
    """What four sides enclose, with all lines inside; nothing that holds another one."""
    level = [rule for rule in level if not any(_underlines(rule, place) for place in places)]
    inside: dict[tuple[float, float, float, float], list[Place]] = {}
    for place in places:
        sides = _sides(place, level, upright, letter)
        if sides is not None:
            inside.setdefault(sides, []).append(place)
    return [
        Ground(*sides, tuple(lines))
        for sides, lines in inside.items()
        if len(lines) == sum(_is_inside(place, *sides) for place in places)
    ]


def _sides(
    place: Place, level: Sequence[LevelRule], upright: Sequence[LevelRule], letter: float
) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of the narrowest rectangle that encloses a line."""
    out = _INSIDE * place.letter
    y = (place.top + place.bottom) / 2
    across = sorted(
        (rule for rule in upright if rule.low < y < rule.high), key=lambda rule: rule.at
    )
    lefts = [rule for rule in across if rule.at < place.left + out][::-1][:_NEAREST]
    rights = [rule for rule in across if rule.at > place.right - out][:_NEAREST]
    pairs = [(a, b) for a in lefts for b in rights if b.at - a.at > _LEAST * letter]
    for left, right in sorted(pairs, key=lambda pair: pair[1].at - pair[0].at):
        corner = max(_CORNER * letter, _ROUND * (right.at - left.at))
        over = [
            rule.at
            for rule in level
            if rule.low < left.at + corner and rule.high > right.at - corner
        ]
        top = max((at for at in over if at < place.top + 0.2 * place.letter), default=None)
        bottom = min((at for at in over if at > place.bottom - 0.2 * place.letter), default=None)
        if top is None or bottom is None or bottom - top < _LEAST / 2 * letter:
            continue
        if all(
            min(rule.high, bottom) - max(rule.low, top) > _SIDE * (bottom - top)
            for rule in (left, right)
        ):
            return left.at, top, right.at, bottom
    return None


def _underlines(rule: LevelRule, place: Place) -> bool:
    """Whether a level rule is under a line or strikes it out."""
    return (
        place.top < rule.at < place.bottom + _UNDER * place.letter
        and rule.low > place.left - place.letter
        and rule.high < place.right + place.letter
    )


def _is_inside(place: Place, left: float, top: float, right: float, bottom: float) -> bool:
    out = _INSIDE * place.letter
    across = left - out < place.left and place.right < right + out
    return across and top < (place.top + place.bottom) / 2 < bottom


def _is_box(places: Sequence[Place], beside: Sequence[Place]) -> bool:
    """Whether lines of a ground stand in no rows with those beside it."""
    return len(places) > 1 and not all(
        any(abs(place.bottom - other.bottom) < _LEVEL * place.letter for other in beside)
        for place in places
    )


def _is_column(places: Sequence[Place]) -> bool:
    """Whether no two of the places stand beside each other."""
    by_top = sorted(places, key=lambda place: place.top)
    return all(
        b.top > a.bottom - _BESIDE * min(a.letter, b.letter)
        for a, b in zip(by_top, by_top[1:], strict=False)
    )
