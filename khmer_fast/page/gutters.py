"""White gutters that part lines standing beside each other, as far up and down as they run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import LevelPage, Place
from khmer_fast.page.side_by_side import is_prose
from khmer_fast.page.white import GUTTER, SHRUNK, WALLED

_ABOVE, _BELOW = 1.6, 0.8  # letter heights from the baseline that a line takes of its row
_NEAR = 3.2  # letter heights of white under which anything goes on
_FAR = 15.0  # the same for rows that are alike
_FARTHEST = 60.0  # letter heights of a picture in a column
_GOES_ON = 1.4  # leadings to the next line of a block that stands on one side only
_PROSE_GOES_ON = 2.2  # the same for columns of prose
_SAME_EDGE = 1.0  # letter heights between where a block's lines begin; ends, middles: half
_CELL = 2.6  # letter heights from a table's rule to the text above and below
_WIDE = 3.0  # letter heights of a gutter that parts two blocks
_GROUNDS = 0.7  # of the page's letter heights between the edges of two grounds, at least
_FEW = 4  # rows of pieces
_LEADING = 4.2  # letter heights from a line to the next of its paragraph, at most
_FLUSH = 3  # lines that begin where a line after white does: their column goes on with it
_MANY_LINES = 6  # on both sides, for the white between them to be known
_HEADED = 2.0  # the same where the next line is a head
_LARGER = 1.25  # times the letters of the lines: a head
_LINE = 8.0  # letter heights of most lines of texts: cells are shorter
_LEAST_WHITE = 1.6  # letter heights between lines of a text
_ARTICLE = 2.8  # times the white between lines: another article begins
_ARTICLE_WIDER = 2.0  # times the width of the column of links beside an article
_ARTICLE_LINE = 20.0  # letter heights of most lines of an article
_LINKS = 11.0  # letter heights of a link beside it: amounts are shorter
_ROW = 4  # pieces of one row
_MANY = 3  # lines on both sides: these need not stand exactly beside each other


@dataclass(frozen=True)
class Run:
    """Places, consecutive from top to bottom, that a gutter parts."""

    places: tuple[Place, ...]
    left: float  # of the gutter
    right: float
    fewer: int  # places on the side that has fewer

    @property
    def rank(self) -> tuple[bool, float, float]:
        """The tallest gutter with more than a row on each side parts first, then the widest."""
        height = max(p.bottom for p in self.places) - min(p.top for p in self.places)
        return self.fewer > 1, height, self.right - self.left


def longest_run(places: Sequence[Place], page: LevelPage) -> Run | None:
    """The tallest gutter among places from top to bottom."""
    best: Run | None = None
    seen: set[tuple[int, int]] = set()
    for i, place in enumerate(places):
        j = _right_neighbour(places, i)
        if j is None or (place.index, places[j].index) in seen:
            continue
        run = _run(places, i, j, page)
        if run is None:
            continue
        seen.update(_pairs_over(run))
        if best is None or run.rank > best.rank:
            best = run
    return best


class _Gutter:
    """White between `left` and `right`, at least `least` wide."""

    def __init__(self, left: float, right: float, least: float):
        self.left, self.right, self.least = left, right, least

    def is_left(self, place: Place) -> bool:
        """Which side a place stands on."""
        return place.middle < (self.left + self.right) / 2

    def passes(self, place: Place) -> bool:
        """Whether the gutter stays wide enough beside a place; makes it narrower if so."""
        left, right = self.left, self.right
        shrunk = min(SHRUNK * place.letter, 0.1 * place.width)
        if self.is_left(place):
            left = max(left, place.right - shrunk)
        else:
            right = min(right, place.left + shrunk)
        if right - left < self.least:
            return False
        self.left, self.right = left, right
        return True


def _run(places: Sequence[Place], i: int, j: int, page: LevelPage) -> Run | None:
    """The run round places i and j, which stand beside each other."""
    a, b = places[i], places[j]
    gutter = _Gutter(a.right, b.left, GUTTER * max(a.letter, b.letter))
    if min(a.index, b.index) < 0 or _walled(a, b, page):
        gutter.least *= WALLED
    low, high = min(i, j), max(i, j)
    if not all(gutter.passes(place) for place in places[low : high + 1]):
        return None
    while high + 1 < len(places) and _joins(places, low, high, high + 1, gutter, page):
        high += 1
    while low > 0 and _joins(places, low, high, low - 1, gutter, page):
        low -= 1
    run = _one_row(_trimmed(places[low : high + 1], gutter, page), gutter)
    run += _rest_of_column(run, places, gutter, page)
    left = [place for place in run if gutter.is_left(place)]
    right = [place for place in run if not gutter.is_left(place)]
    fewer = min(len(left), len(right))
    if not fewer:
        return None
    edges = max(place.right for place in left), min(place.left for place in right)
    wide = edges[1] - edges[0] > _WIDE * max(a.letter, b.letter)
    beside = fewer >= _MANY or wide and (fewer > 1 or _within(*sorted((left, right), key=len)))
    if not beside and not any(_level(one, other) for one in left for other in right):
        return None
    if fewer <= _FEW and _in_paragraph(run, places):
        return None
    return Run(tuple(run), *edges, fewer)


def _one_row(places: Sequence[Place], gutter: _Gutter) -> list[Place]:
    """The run, or its row alone where one side is several pieces of one row (a page's links, boxes
    to tick) that goes on, with several pieces or many, on the other side: a row is no column."""
    for is_left in (True, False):
        side = [place for place in places if gutter.is_left(place) == is_left]
        if len(side) < 2 or not all(_level(side[0], place) for place in side[1:]):
            continue
        row = [place for place in places if any(_level(place, other) for other in side)]
        others = len(row) - len(side)
        if others and len(side) + others >= _ROW and (others > 1 or len(side) >= _ROW):
            return row
    return list(places)


def _rest_of_column(
    run: Sequence[Place], places: Sequence[Place], gutter: _Gutter, page: LevelPage
) -> list[Place]:
    """What the left one of two columns of prose goes on with where the right one has ended: all
    that stands below, up to a rule, if nothing of it leaves the column."""
    left = [place for place in run if gutter.is_left(place)]
    right = [place for place in run if not gutter.is_left(place)]
    if not (is_prose(left) and is_prose(right)):
        return []
    edges = min(place.left for place in left), max(place.right for place in left)
    end = max(place.bottom for place in run)
    inside = {place.index for place in run}
    below = [place for place in places if place.index not in inside and place.bottom > end]
    rest: list[Place] = []
    for place in sorted(below, key=lambda place: place.bottom):
        if place.left < edges[0] - place.letter or place.right > edges[1] + place.letter:
            return []
        if any(_parted(above, place, page) for above in (rest or left)[-1:]):
            break
        rest.append(place)
    return rest


def _in_paragraph(run: Sequence[Place], places: Sequence[Place]) -> bool:
    """Whether a run's rows reach over the same width as the line above or below it, as close as
    lines are: pieces of justified lines, whose gaps happen to lie over each other."""
    left, right = min(place.left for place in run), max(place.right for place in run)
    letter = max(place.letter for place in run)
    inside = {place.index for place in run}
    top, bottom = min(place.bottom for place in run), max(place.bottom for place in run)
    return any(
        place.index not in inside
        and (
            0 < top - place.bottom < _LEADING * letter
            or 0 < place.bottom - bottom < _LEADING * letter
        )
        and abs(place.left - left) < 2 * letter
        and abs(place.right - right) < 2 * letter
        for place in places
    )


def _within(few: Sequence[Place], many: Sequence[Place]) -> bool:
    """Whether the only line of one side stands between lines of the other."""
    return min(p.top for p in many) < few[0].bottom and few[0].top < max(p.bottom for p in many)


def _joins(
    places: Sequence[Place], low: int, high: int, new: int, gutter: _Gutter, page: LevelPage
) -> bool:
    """Whether the next place below the run from low to high, or above it, goes on with it."""
    place = places[new]
    near = places[high] if new > high else places[low]
    upper, lower = (near, place) if new > high else (place, near)
    letter = max(upper.letter, lower.letter)
    white = lower.top - upper.bottom
    run = places[low : high + 1]
    if _ends(run, lower, white, gutter):
        return False
    if white > _NEAR * letter:
        alike = white < _FAR * letter and (
            _alike_rows(places, near, place) or _on_edges(run, places, place, gutter, new > high)
        )
        in_prose = new > high and _in_prose(run, place, gutter, white)
        if not (alike or in_prose or _in_article(run, place, gutter, white)):
            return False
    if _ruled_off(upper, lower, gutter, page):
        return False
    return gutter.passes(place)


def _ends(run: Sequence[Place], lower: Place, white: float, gutter: _Gutter) -> bool:
    """Whether white over both sides of a run of many lines is far higher than that between its
    lines: the next article, or what stands below the columns, begins there with `lower`."""
    sides = [[p for p in run if gutter.is_left(p) == left] for left in (True, False)]
    if min(map(len, sides)) < _MANY_LINES:
        return False
    letter = statistics.median(place.letter for place in run)
    if sum(place.width > _LINE * letter for place in run) < 0.75 * len(run):
        return False
    whites = [b.top - a.bottom for side in sides for a, b in zip(side, side[1:], strict=False)]
    usual = statistics.median([w for w in whites if w > 0.3 * letter] or [0.0])
    times = _HEADED if lower.letter > _LARGER * letter else _ARTICLE
    return white > times * max(usual, _LEAST_WHITE * letter)


def _alike_rows(places: Sequence[Place], near: Place, new: Place) -> bool:
    """Whether the rows of two places have their pieces at the same edges or middles."""
    rows = [[other for other in places if _level(other, place)] for place in (near, new)]
    pairs = sum(any(_aligned(a, b) for b in rows[0]) for a in rows[1])
    return pairs >= 2 and pairs >= 0.6 * min(map(len, rows))


def _on_edges(
    run: Sequence[Place], places: Sequence[Place], new: Place, gutter: _Gutter, below: bool
) -> bool:
    """Whether a new row's pieces begin where lines of the run do: two where there are pieces on
    both sides, else more, and only below the run."""
    row = [place for place in places if _level(place, new)] or [new]
    both = len({gutter.is_left(place) for place in row}) == 2
    if not both and not below:
        return False
    least = 2 if both else _FLUSH
    return all(
        sum(abs(place.left - other.left) < 0.5 * max(place.letter, other.letter) for other in run)
        >= least
        for place in row
    )


def _in_prose(run: Sequence[Place], place: Place, gutter: _Gutter, white: float) -> bool:
    """Whether a run is two columns of prose and the place stands in one of them."""
    left = [other for other in run if gutter.is_left(other)]
    right = [other for other in run if not gutter.is_left(other)]
    side = left if gutter.is_left(place) else right
    inside = (
        place.left > min(p.left for p in side) - place.letter
        and place.right < max(p.right for p in side) + place.letter
    )
    far = white < _FARTHEST * place.letter
    return inside and far and is_prose(left) and is_prose(right)


def _in_article(run: Sequence[Place], place: Place, gutter: _Gutter, white: float) -> bool:
    """Whether a run is a wide text and a narrow column beside it (a page's links), and the place
    begins as one of its lines does."""
    sides = [[p for p in run if gutter.is_left(p) == left] for left in (True, False)]
    if min(map(len, sides)) < _FLUSH or white > _FARTHEST * place.letter:
        return False
    widths = [max(p.right for p in side) - min(p.left for p in side) for side in sides]
    wide, narrow = sorted(sides, key=lambda side: widths[sides.index(side)])[::-1]
    letter = statistics.median(p.letter for p in wide)
    lines = statistics.median(p.width for p in wide)
    if max(widths) < _ARTICLE_WIDER * min(widths) or lines < _ARTICLE_LINE * letter:
        return False
    if max(p.width for p in narrow) < _LINKS * letter:
        return False
    side = sides[0] if gutter.is_left(place) else sides[1]
    return any(abs(place.left - other.left) < 0.5 * letter for other in side)


def _ruled_off(upper: Place, lower: Place, gutter: _Gutter, page: LevelPage) -> bool:
    """Whether a horizontal rule over the gutter ends what stands above it, or a ground does that
    another one follows."""
    letter = max(upper.letter, lower.letter)
    between = [
        rule
        for rule in (*page.horizontal, *page.level_edges)
        if upper.bottom < rule.at < lower.top - 0.2 * letter
    ]
    ends = [rule.at for rule in between if rule.low < upper.left and rule.high > upper.right]
    begins = [rule.at for rule in between if rule.low < lower.left and rule.high > lower.right]
    if ends and begins and max(begins) - min(ends) > _GROUNDS * page.letter:
        return True
    over = [rule for rule in between if rule.low < gutter.left and rule.high > gutter.right]
    return any(
        max(rule.at - upper.bottom, lower.top - rule.at) > _CELL * letter
        for rule in over
        if rule.thickness > 0
    )


def _walled(a: Place, b: Place, page: LevelPage) -> bool:
    """Whether a vertical rule stands between two places."""
    y = (max(a.top, b.top) + min(a.bottom, b.bottom)) / 2
    return any(
        a.right - 0.3 * a.letter < rule.at < b.left + 0.3 * b.letter and rule.low < y < rule.high
        for rule in page.vertical
    )


def _right_neighbour(places: Sequence[Place], i: int) -> int | None:
    """The nearest place to the right in the same row."""
    place = places[i]
    best, found = float("inf"), None
    for step in (-1, 1):
        j = i + step
        while 0 <= j < len(places):
            other = places[j]
            if abs(other.bottom - place.bottom) > 12 * place.letter:
                break
            beside = other.left >= place.right - SHRUNK * place.letter and other.left < best
            if beside and _same_row(place, other):
                best, found = other.left, j
            j += step
    return found


def _same_row(a: Place, b: Place) -> bool:
    """Whether two places stand beside each other at least in part."""
    top = max(min(a.top, a.bottom - _ABOVE * a.letter), min(b.top, b.bottom - _ABOVE * b.letter))
    return min(a.bottom + _BELOW * a.letter, b.bottom + _BELOW * b.letter) > top


def _level(a: Place, b: Place) -> bool:
    """Whether the plain letters of two places stand beside each other."""
    shared = min(a.bottom, b.bottom) - max(a.top, b.top)
    return shared > 0.3 * min(a.bottom - a.top, b.bottom - b.top)


def _pairs_over(run: Run) -> list[tuple[int, int]]:
    """The pairs of neighbours that the run's gutter parts."""
    middle = (run.left + run.right) / 2
    pairs = []
    for i, place in enumerate(run.places):
        if place.middle < middle:
            j = _right_neighbour(run.places, i)
            if j is not None and run.places[j].middle > middle:
                pairs.append((place.index, run.places[j].index))
    return pairs


def _trimmed(places: Sequence[Place], gutter: _Gutter, page: LevelPage) -> list[Place]:
    """The run without the ends where only one side goes on, but for a block's or a column of
    prose's own lines."""
    run = list(places)
    for _ in range(2):
        sides = [gutter.is_left(place) for place in run]
        keep = next(
            (
                i
                for i, place in enumerate(run)
                if any(side != sides[i] and _same_row(place, other)
                       for other, side in zip(run, sides, strict=True))
            ),
            0,
        )  # fmt: skip
        prose = {
            side: is_prose(sorted(
                (p for p, s in zip(run, sides, strict=True) if s == side), key=lambda p: p.bottom
            ))
            for side in (True, False)
        }  # fmt: skip
        while keep > 0 and _goes_on(run, keep - 1, sides, prose[sides[keep - 1]], page):
            keep -= 1
        run = run[keep:][::-1]
    return run


def _goes_on(
    places: Sequence[Place], i: int, sides: Sequence[bool], prose: bool, page: LevelPage
) -> bool:
    """Whether place i is of one row or one block with the next ones."""
    place = places[i]
    if any(_level(place, other) for other in places[i + 1 : i + 12]):
        return True
    following = [
        p for p, side in zip(places[i + 1 :], sides[i + 1 :], strict=True) if side == sides[i]
    ]
    if not following:
        return False
    under = [p for p in following if p.left < place.right and place.left < p.right]
    near = (under or following)[0]
    letter = max(place.letter, near.letter)
    row = [p for p in following if abs(p.bottom - near.bottom) < 0.5 * letter]
    if not prose and not any(_aligned(place, other) for other in row):
        return False
    if _parted(place, near, page):
        return False
    column = under if len(under) > 1 else following
    steps = [abs(b.bottom - a.bottom) for a, b in zip(column, column[1:], strict=False)]
    leading = min([step for step in steps if step > 1.5 * letter], default=3.2 * letter)
    most = (_PROSE_GOES_ON if prose else _GOES_ON) * max(leading, 2.2 * letter)
    return abs(near.bottom - place.bottom) <= most


def _parted(a: Place, b: Place, page: LevelPage) -> bool:
    """Whether a horizontal rule stands between two lines, clear of both."""
    upper, lower = (a, b) if a.bottom < b.bottom else (b, a)
    return any(
        upper.bottom + 0.8 * upper.letter < rule.at < lower.top - 0.5 * lower.letter
        and rule.low < min(a.right, b.right)
        and rule.high > max(a.left, b.left)
        for rule in page.horizontal
    )


def _aligned(a: Place, b: Place) -> bool:
    """Whether two lines begin, end or have their middles at one x."""
    apart = (a.left - b.left, 2 * (a.right - b.right), 2 * (a.middle - b.middle))
    return min(map(abs, apart)) < _SAME_EDGE * max(a.letter, b.letter)
