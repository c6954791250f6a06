"""Articles beside each other: columns of prose, each under a head of its own."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.page.places import Place
from khmer_fast.page.side_by_side import is_prose

_HEAD_WHITE = 3.5  # letter heights from an article's head to its text, at most
_HEAD_LETTER = 1.2  # times the letters of the text


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
