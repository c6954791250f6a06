"""Reading order and structure from where lines stand: columns, blocks beside each other, tables.

Where lines stand beside each other over a white gutter, what they are decides: columns and blocks
(letterheads, signers, addresses, cards) are read one after the other, rows (tables, names and
prices) across. What has no gutter is one column, which becomes regions (paragraphs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.lines import FoundLine
from khmer_fast.page.paragraphs import split_column
from khmer_fast.page.places import LevelPage, Place, level
from khmer_fast.page.plans import RegionPlan
from khmer_fast.page.rules import Rules
from khmer_fast.page.side_by_side import part, reading_sequence
from khmer_fast.page.tables import FoundTable, ruled_tables, unruled_table

GUTTER = 1.1  # letter heights of white between what stands side by side
SHRUNK = 0.2  # letter heights taken off each end of a line: boxes are never exact
MOST_LINES = 1500  # of more, no structure is looked for: they are read from top to bottom
_ABOVE, _BELOW = 1.6, 0.8  # letter heights from the baseline that a line takes of its row
_FAR = 7.0  # letter heights of white under which nothing goes on
_GOES_ON = 1.4  # leadings to the next line of a block that stands on one side only
_SECTION = 2.3  # times the white between rows
_CELL = 2.6  # letter heights from a table's rule to the text above and below


def arrange(
    lines: Sequence[FoundLine], rules: Rules, page_size: tuple[int, int]
) -> list[RegionPlan]:
    """The regions of a page in reading order; page_size is (width, height) in pixels.

    Each line is in exactly one region, by its index.
    """
    page = level(lines, rules, page_size)
    if len(lines) > MOST_LINES:
        order = sorted(page.lines, key=lambda place: (place.bottom, place.left))
        return [RegionPlan("text", tuple(place.index for place in order))]
    tables = {-1 - k: table for k, table in enumerate(ruled_tables(page))}
    taken = {i for table in tables.values() for i in table.lines}
    places = [place for place in page.lines if place.index not in taken]
    places += [table.place(index) for index, table in tables.items()]
    plans: list[RegionPlan] = []
    for column in _Reader(page, tables).read(places):
        plans += split_column(column, tables, page)
    return plans


@dataclass(frozen=True)
class _Run:
    """Places, consecutive from top to bottom, that a gutter parts."""

    places: tuple[Place, ...]
    left: float  # of the gutter
    right: float
    score: tuple[int, float]


class _Reader:
    """Cuts a page; new tables that it finds are added to `tables`, by negative indices."""

    def __init__(self, page: LevelPage, tables: dict[int, FoundTable]):
        self.page, self.tables = page, tables

    def read(self, places: list[Place]) -> list[list[Place]]:
        """Columns of places, one after the other as they are read."""
        if not places:
            return []
        places = sorted(places, key=lambda place: (place.bottom, place.left))
        run = self._longest_run(places)
        if run is None:
            return [places]
        inside = {place.index for place in run.places}
        first = next(i for i, place in enumerate(places) if place.index in inside)
        before = places[:first]
        after = [place for place in places[first:] if place.index not in inside]
        return [*self.read(before), *self._beside(list(run.places)), *self.read(after)]

    # ---- gutters ----

    def _longest_run(self, places: list[Place]) -> _Run | None:
        """The gutter with the most lines on both of its sides; places from top to bottom."""
        best: _Run | None = None
        seen: set[tuple[int, int]] = set()
        for i, place in enumerate(places):
            j = _right_neighbour(places, i)
            if j is None or (place.index, places[j].index) in seen:
                continue
            run = self._run(places, min(i, j), max(i, j), place, places[j])
            if run is None:
                continue
            for pair in _pairs_over(run):
                seen.add(pair)
            if best is None or run.score > best.score:
                best = run
        return best

    def _run(
        self, places: list[Place], first: int, last: int, left: Place, right: Place
    ) -> _Run | None:
        """The run round two places beside each other, and its gutter."""
        gutter = _Gutter(left.right, right.left, GUTTER * max(left.letter, right.letter))
        if self._walled(left, right):
            gutter.least *= 0.3
        if not all(gutter.passes(place) for place in places[first : last + 1]):
            return None
        low, high = first, last
        while high + 1 < len(places) and self._joins(places, low, high, high + 1, gutter):
            high += 1
        while low > 0 and self._joins(places, low, high, low - 1, gutter):
            low -= 1
        run = _trimmed(places[low : high + 1], gutter)
        sides = [sum(gutter.is_left(place) for place in run)]
        sides.append(len(run) - sides[0])
        score = (min(sides), gutter.right - gutter.left)
        return _Run(tuple(run), gutter.left, gutter.right, score)

    def _joins(self, places: list[Place], low: int, high: int, new: int, gutter: _Gutter) -> bool:
        """Whether the next place below, or above, goes on with the run; narrows the gutter."""
        place = places[new]
        if not gutter.passes(place, narrow=False):
            return False
        near = places[high] if new > high else places[low]
        upper, lower = (near, place) if new > high else (place, near)
        white = lower.top - upper.bottom
        if white > _FAR * max(upper.letter, lower.letter):
            return False
        if self._ruled_off(upper, lower, gutter):
            return False
        return gutter.passes(place)

    def _ruled_off(self, upper: Place, lower: Place, gutter: _Gutter) -> bool:
        """Whether a horizontal rule over the gutter ends what stands above it."""
        letter = max(upper.letter, lower.letter)
        for rule in self.page.horizontal:
            if not upper.bottom < rule.at < lower.top - 0.2 * letter:
                continue
            if rule.low < gutter.left and rule.high > gutter.right:
                near = rule.at - upper.bottom, lower.top - rule.at
                if max(near) > _CELL * letter:
                    return True
        return False

    def _walled(self, left: Place, right: Place) -> bool:
        """Whether a vertical rule stands between two places."""
        y = (left.top + right.bottom) / 2
        return any(
            left.right - 0.3 * left.letter < rule.at < right.left + 0.3 * right.letter
            and rule.low < y < rule.high
            for rule in self.page.vertical
        )

    # ---- what stands side by side ----

    def _beside(self, places: list[Place]) -> list[list[Place]]:
        """Columns of a run in reading order; rows stay together, as a table where they are one."""
        columns = _columns(places)
        if len(columns) < 2:
            return [places]
        groups = part(columns, self.page.horizontal)
        if len(groups) == 1:
            parts = _sections(places)
            if len(parts) > 1:
                return [column for part in parts for column in self.read(part)]
            return [self._row_by_row(groups[0].columns)]
        blocks = [group.places for group in groups]
        return [
            column for block in reading_sequence(blocks, self.page) for column in self.read(block)
        ]

    def _row_by_row(self, columns: Sequence[Sequence[Place]]) -> list[Place]:
        """What is read across: the table that it is, or its places as they are."""
        table = unruled_table(columns, self.page)
        if table is None:
            return [place for column in columns for place in column]
        index = -1 - len(self.tables)
        self.tables[index] = table
        return [table.place(index)]


class _Gutter:
    """White between `left` and `right`, at least `least` wide."""

    def __init__(self, left: float, right: float, least: float):
        self.left, self.right, self.least = left, right, least

    def is_left(self, place: Place) -> bool:
        """Which side a place stands on."""
        return place.middle < (self.left + self.right) / 2

    def passes(self, place: Place, narrow: bool = True) -> bool:
        """Whether the gutter stays wide enough beside a place; `narrow` makes it narrower."""
        left, right = self.left, self.right
        shrunk = min(SHRUNK * place.letter, 0.1 * place.width)
        if self.is_left(place):
            left = max(left, place.right - shrunk)
        else:
            right = min(right, place.left + shrunk)
        if right - left < self.least:
            return False
        if narrow:
            self.left, self.right = left, right
        return True


def _right_neighbour(places: list[Place], i: int) -> int | None:
    """The nearest place to the right in the same row, a gutter away."""
    place = places[i]
    best, found = float("inf"), None
    for step in (-1, 1):
        j = i + step
        while 0 <= j < len(places):
            other = places[j]
            if abs(other.bottom - place.bottom) > 3 * max(place.letter, other.letter):
                if abs(other.bottom - place.bottom) > 12 * place.letter:
                    break
            elif other.left >= place.right - SHRUNK * place.letter and _same_row(place, other):
                if other.left < best:
                    best, found = other.left, j
            j += step
    if found is None or best - place.right < 0.3 * GUTTER * place.letter:
        return None
    return found


def _same_row(a: Place, b: Place) -> bool:
    """Whether two places stand beside each other at least in part."""
    top = max(a.bottom - max(_ABOVE * a.letter, a.bottom - a.top),
              b.bottom - max(_ABOVE * b.letter, b.bottom - b.top))  # fmt: skip
    return min(a.bottom + _BELOW * a.letter, b.bottom + _BELOW * b.letter) > top


def _pairs_over(run: _Run) -> list[tuple[int, int]]:
    """The pairs of neighbours that the run's gutter parts."""
    middle = (run.left + run.right) / 2
    places = list(run.places)
    pairs = []
    for i, place in enumerate(places):
        if place.middle < middle:
            j = _right_neighbour(places, i)
            if j is not None and places[j].middle > middle:
                pairs.append((place.index, places[j].index))
    return pairs


def _trimmed(places: list[Place], gutter: _Gutter) -> list[Place]:
    """The run without the ends where only one side goes on, but for a block's last lines."""
    for _ in range(2):
        sides = [gutter.is_left(place) for place in places]
        inner = next(i for i, side in enumerate(sides) if side != sides[0])
        keep = inner - 1  # the last place of one side before the other's first
        while keep > 0 and _goes_on(places, keep - 1, sides):
            keep -= 1
        places = places[keep:][::-1]
    return places


def _goes_on(places: list[Place], i: int, sides: list[bool]) -> bool:
    """Whether place i is of one block with the next one of its side."""
    same = [place for place, side in zip(places, sides, strict=True) if side == sides[i]]
    steps = [abs(b.bottom - a.bottom) for a, b in zip(same, same[1:], strict=False)]
    at = same.index(places[i])
    if at + 1 >= len(same):
        return False
    letter = max(same[at].letter, same[at + 1].letter)
    others = [step for k, step in enumerate(steps) if k != at and step > 1.5 * letter]
    leading = min(others, default=3.2 * letter)
    return steps[at] <= _GOES_ON * max(leading, 2.2 * letter)


def _columns(places: list[Place]) -> list[list[Place]]:
    """Places by column from left to right: parted by every gutter that runs through all."""
    columns: list[list[Place]] = []
    right = float("-inf")
    for place in sorted(places, key=lambda place: place.left):
        shrunk = min(SHRUNK * place.letter, 0.1 * place.width)
        if not columns or place.left + shrunk - right < 0.9 * GUTTER * place.letter:
            if not columns:
                columns.append([])
            columns[-1].append(place)
        else:
            columns.append([place])
        right = max(right, place.right - shrunk)
    return [sorted(column, key=lambda place: (place.bottom, place.left)) for column in columns]


def _sections(places: list[Place]) -> list[list[Place]]:
    """Places parted at white that is far wider than that between their other rows."""
    bands: list[list[Place]] = []
    whites = []
    end = float("-inf")
    for place in sorted(places, key=lambda place: place.top):
        if bands and place.top < end:
            bands[-1].append(place)
        else:
            if bands:
                whites.append(place.top - end)
            bands.append([place])
        end = max(end, place.bottom)
    if len(whites) < 2:
        return [places]
    usual = sorted(whites)[len(whites) // 4]
    parts = [bands[0]]
    for white, band in zip(whites, bands[1:], strict=True):
        letter = max(place.letter for place in band)
        if white > max(_SECTION * usual, 3 * letter):
            parts.append(list(band))
        else:
            parts[-1] = parts[-1] + band
    return parts
