"""Columns that run through a whole page, whatever stands in them: an article with a column of links
beside it, price lists beside each other. Pictures in one of them end none."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import Place
from khmer_fast.page.side_by_side import is_prose
from khmer_fast.page.white import bands_of, columns_of

_HEAD, _FOOT = 5, 2  # rows over and under the columns, at most
_FEWEST = 3  # lines of a column
_LEVEL = 0.45  # letter heights between baselines of one row
_LEVEL_ROWS = 0.3  # of a list's rows, where it is not level
_ROWS = 0.6  # of a narrow column's lines have one of the wide one beside them: rows
_WIDER = 1.5  # times a narrow column's width: an article's
_ARTICLE_LINES = 4  # of at least
_ARTICLE_LINE = 18.0  # letter heights
_LINK = 9.0  # letter heights of the longest line of a column of links, at least
_EQUAL = 1.6  # times the width of a price list: that of the other, at most
_PRICED = 0.5  # of a list's names have a price in their row
_PRICE = 12.0  # letter heights, at most
_MOST = 0.85  # of a list are names and prices
_FLUSH = 1.2  # letter heights between the edges of lines that follow each other
_ALIGNED = 0.65  # of such lines


@dataclass(frozen=True)
class PageColumns:
    """What stands above columns, each of them from top to bottom, and what stands below."""

    above: tuple[Place, ...]
    columns: tuple[tuple[Place, ...], ...]
    below: tuple[Place, ...]
    lists: bool  # the columns are price lists


def find_page_columns(places: Sequence[Place]) -> PageColumns | None:
    """Two columns that run through the page, under its head and over its foot; None where none do.

    The columns that reach over most of the page count.
    """
    if len(places) < 2 * _FEWEST:
        return None
    bands, _ = bands_of(places)
    for head in range(min(_HEAD, len(bands) - 1) + 1):
        for foot in range(min(_FOOT, len(bands) - 1 - head) + 1):
            end = len(bands) - foot
            inside = [place for band in bands[head:end] for place in band]
            found = _two_columns(inside)
            if found is not None:
                above = tuple(place for band in bands[:head] for place in band)
                below = tuple(place for band in bands[end:] for place in band)
                return PageColumns(above, found[0], below, lists=found[1])
    return None


def _two_columns(places: Sequence[Place]) -> tuple[tuple[tuple[Place, ...], ...], bool] | None:
    """The places left and right of a gutter that runs through all of them, if they are an article
    with its links, or two price lists; and whether they are lists."""
    columns = columns_of(places)
    for k in range(1, len(columns)):
        sides = [
            tuple(sorted((p for column in half for p in column), key=lambda p: (p.bottom, p.left)))
            for half in (columns[:k], columns[k:])
        ]
        if min(map(len, sides)) < _FEWEST:
            continue
        if _are_article_and_links(*sides):
            return tuple(sides), False
        if _are_price_lists(*sides):
            return tuple(sides), True
    return None


def _are_article_and_links(left: Sequence[Place], right: Sequence[Place]) -> bool:
    narrow, wide = sorted((left, right), key=_width)
    if is_prose(narrow) or len(columns_of(wide)) > 1:  # articles beside each other
        return False
    letter = statistics.median(place.letter for place in wide)
    long = sum(place.width > _ARTICLE_LINE * letter for place in wide)
    if _width(wide) < _WIDER * _width(narrow) or long < _ARTICLE_LINES:
        return False
    if max(place.width / place.letter for place in narrow) < _LINK:
        return False
    top, bottom = min(p.top for p in wide), max(p.bottom for p in wide)
    beside = [place for place in narrow if top < place.bottom and place.top < bottom]
    level = sum(any(_in_row(place, other) for other in wide) for place in beside)
    return len(beside) >= _FEWEST and level < _ROWS * len(beside)


def _are_price_lists(left: Sequence[Place], right: Sequence[Place]) -> bool:
    narrow, wide = sorted((left, right), key=_width)
    return _width(wide) < _EQUAL * _width(narrow) and _is_price_list(left) and _is_price_list(right)


def _is_price_list(places: Sequence[Place]) -> bool:
    """Whether names stand flush at the left, and short prices flush at the right beside them."""
    prices, names = [], []
    begins = [
        place for place in places if place.left < min(p.left for p in places) + 8 * place.letter
    ]
    steps = [b.bottom - a.bottom for a, b in zip(begins, begins[1:], strict=False)]
    level = _LEVEL_ROWS * statistics.median(steps or [0.0])
    for place in places:
        before = [
            other
            for other in places
            if other.right < place.left
            and (_in_row(place, other) or abs(place.bottom - other.bottom) < level)
        ]
        if before and place.width < _PRICE * place.letter:
            prices.append(place)
        elif not before:
            names.append(place)
    return (
        len(prices) >= _FEWEST
        and len(prices) >= _PRICED * len(names)
        and len(prices) + len(names) >= _MOST * len(places)
        and _is_flush([place.left for place in names], names)
        and _is_flush([place.right for place in prices], prices)
        and not _is_flush([place.left for place in prices], prices)
    )


def _is_flush(edges: Sequence[float], places: Sequence[Place]) -> bool:
    """Whether most lines begin, or end, where the one before does: a bent page's, too."""
    pairs = list(zip(edges, edges[1:], strict=False))
    near = sum(abs(b - a) < _FLUSH * p.letter for (a, b), p in zip(pairs, places, strict=False))
    return near >= _ALIGNED * len(pairs)


def _in_row(a: Place, b: Place) -> bool:
    return a is not b and abs(a.bottom - b.bottom) < _LEVEL * max(a.letter, b.letter)


def _width(places: Sequence[Place]) -> float:
    return max(place.right for place in places) - min(place.left for place in places)
