"""Articles beside each other: columns of prose, each under a head of its own; and the rows of such
articles that are a newspaper's page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import LevelPage, Place
from khmer_fast.page.side_by_side import is_prose
from khmer_fast.page.white import bands_of, columns_of

_HEAD_WHITE = 3.5  # letter heights from an article's head to its text, at most
_HEAD_LETTER = 1.2  # times the letters of the text
_HEADS = 3  # articles of a newspaper's page, at least
_FULL = 0.75  # of a column's width that a line of prose fills
_PROSE = 0.6  # of all lines fill one
_ROW_WHITE = 1.4  # letter heights between rows of articles, at least
_TOUCH = 0.25  # of its height by which a place may reach into the row above
_LINE = 4.5  # letter heights from a line of a head to its next, at most
_ALIKE = 1.25  # times their height between the letters of a head


@dataclass(frozen=True)
class Article:
    """Columns of prose under a head of their own; places from top to bottom."""

    head: tuple[Place, ...]
    columns: tuple[tuple[Place, ...], ...]


def find_articles(above: Sequence[Place], columns: Sequence[Sequence[Place]]) -> list[Article]:
    """Columns of prose as articles beside each other, where heads that stand above them begin with
    several of the columns; else none. Each head is over the columns up to the next one's."""
    if len(columns) < 2 or not all(is_prose(column) for column in columns):
        return []
    letter = statistics.median(place.letter for column in columns for place in column)
    lefts = [min(place.left for place in column) for column in columns]
    right = max(place.right for column in columns for place in column)
    top = min(place.top for column in columns for place in column)
    heads: dict[int, list[Place]] = {}
    for place in sorted(above, key=lambda place: -place.bottom):
        white = top - place.bottom
        far = white > _HEAD_WHITE * min(place.letter, 2 * letter)
        if far or place.letter < _HEAD_LETTER * letter:
            break
        over = [k for k, left in enumerate(lefts) if abs(place.left - left) < place.letter]
        if not over or place.right > right + place.letter:
            return []
        heads.setdefault(over[0], []).append(place)
        top = min(top, place.top)
    if len(heads) < 2 or 0 not in heads:
        return []
    starts = sorted(heads)
    return [
        Article(
            tuple(sorted(heads[k], key=lambda place: place.bottom)),
            tuple(tuple(column) for column in columns[k:end]),
        )
        for k, end in zip(starts, [*starts[1:], len(columns)], strict=True)
    ]


# ---- a newspaper's page ----


def article_rows(places: Sequence[Place], page: LevelPage) -> list[list[Article]]:
    """The articles of a newspaper's page by row, from top to bottom and from left to right; none
    where the page is something else. A row of articles begins with heads, under white over the
    page's whole width; an article without a head goes on with what stands above or is none."""
    heads = [p for p in places if p.index >= 0 and p.letter > _HEAD_LETTER * page.letter]
    if len(heads) < _HEADS or len(places) < 2 * len(heads):
        return []
    rows = [_articles(row, heads) for row in _rows(places, heads, page)]
    headed = [sum(_is_headed(article) for article in row) for row in rows]
    if sum(headed) < _HEADS or max(headed) < 2:
        return []
    columns = [column for row in rows for article in row for column in article.columns]
    prose = [column for column in columns if is_prose(column)]
    full = sum(place.width >= _FULL * _width(column) for column in prose for place in column)
    return rows if full >= _PROSE * sum(map(len, columns)) else []


def _is_headed(article: Article) -> bool:
    """Whether an article has a head, and that stands over its columns alone."""
    places = [place for column in article.columns for place in column]
    return bool(article.head and places) and all(
        head.left > min(place.left for place in places) - head.letter
        and head.right < max(place.right for place in places) + head.letter
        for head in article.head
    )


def _width(column: Sequence[Place]) -> float:
    return max(place.right for place in column) - min(place.left for place in column)


def _rows(places: Sequence[Place], heads: Sequence[Place], page: LevelPage) -> list[list[Place]]:
    """Places parted over white, or a rule, that runs over all of them, where a head begins at the
    left below it."""
    bands, whites = bands_of(places, _TOUCH)
    left, right = min(p.left for p in places), max(p.right for p in places)
    over = [
        rule.at
        for rule in page.horizontal
        if rule.low < left + 2 * page.letter and rule.high > right - 2 * page.letter
    ]
    rows = [list(bands[0])]
    for white, band in zip(whites, bands[1:], strict=True):
        first = min(band, key=lambda place: place.left)
        top = min(place.top for place in band)
        begins = first in heads and not any(_goes_on(place, first) for place in rows[-1])
        ruled = any(top - white < at < top for at in over)
        if white > _ROW_WHITE * page.letter and (begins or ruled):
            rows.append(list(band))
        else:
            rows[-1] += band
    return rows


def _goes_on(above: Place, head: Place) -> bool:
    """Whether a line is the one above another of the same head."""
    letters = sorted((above.letter, head.letter))
    return (
        letters[1] < _ALIKE * letters[0]
        and 0 < head.bottom - above.bottom < _LINE * letters[1]
        and min(above.right, head.right) > max(above.left, head.left)
    )


def _articles(row: Sequence[Place], heads: Sequence[Place]) -> list[Article]:
    """The articles of a row: columns from that under a head's beginning to the next such one."""
    text = [place for place in row if place not in heads]
    tops = [
        head
        for head in row
        if head in heads
        and not any(
            place.bottom < head.bottom and place.left < head.right and head.left < place.right
            for place in text
        )
    ]
    columns = columns_of([place for place in row if place not in tops])
    begin: dict[int, list[Place]] = {}
    for head in sorted(tops, key=lambda place: (place.bottom, place.left)):
        begin.setdefault(_column_under(head, columns), []).append(head)
    starts = sorted({0, *begin}) if columns else [0]
    return [
        Article(
            tuple(begin.get(k, ())),
            tuple(tuple(column) for column in columns[k:end]),
        )
        for k, end in zip(starts, [*starts[1:], len(columns)], strict=True)
    ]


def _column_under(head: Place, columns: Sequence[Sequence[Place]]) -> int:
    """The number of the column that begins where a head does, or else of that under its left."""
    for k, column in enumerate(columns):
        if abs(min(place.left for place in column) - head.left) < head.letter:
            return k
    under = (k for k, column in enumerate(columns) if max(p.right for p in column) > head.left)
    return next(under, max(0, len(columns) - 1))
