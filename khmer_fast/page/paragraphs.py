"""One column of rows to regions: paragraphs, headings, headers, footers, tables in it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from khmer_fast.page.places import LevelPage, Place
from khmer_fast.page.plans import RegionPlan
from khmer_fast.page.tables import FoundTable

_SAME_ROW = 0.6  # letter heights between baselines of pieces of one row
_WIDER = 1.35  # times the column's leading: a paragraph ends
_SIZE = 1.25  # times the letters: another kind of text
_INDENT = 1.0  # letter heights
_SHORT = 0.85  # of the column's width: a line that ends before is a paragraph's last


Row = list[Place]  # from left to right


def split_column(
    rows: Sequence[Row], tables: Mapping[int, FoundTable], page: LevelPage
) -> list[RegionPlan]:
    """The regions of one column of rows, from top to bottom."""
    plans: list[RegionPlan] = []
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or _breaks(rows, i, tables):
            plans.append(_plan(rows[start:i], tables))
            start = i
    return plans


def rows_of(places: Sequence[Place]) -> list[Row]:
    """Rows from top to bottom, pieces of one from left to right; a table is a row of its own."""
    rows: list[Row] = []
    last = float("-inf")
    for place in sorted(places, key=lambda place: (_row_at(place), place.left)):
        near = _row_at(place) - last < _SAME_ROW * place.letter and all(
            _apart(place, other) for other in rows[-1]
        )
        if near and place.index >= 0 and rows[-1][0].index >= 0:
            rows[-1].append(place)
        else:
            rows.append([place])
        last = _row_at(place)
    return [sorted(row, key=lambda place: place.left) for row in rows]


def _apart(a: Place, b: Place) -> bool:
    shared = min(a.right, b.right) - max(a.left, b.left)
    return shared < 0.3 * min(a.width, b.width)


def _breaks(rows: Sequence[Sequence[Place]], i: int, tables: Mapping[int, FoundTable]) -> bool:
    """Whether a region begins at row i."""
    above, row = rows[i - 1], rows[i]
    if any(place.index in tables for place in (*above, *row)):
        return True
    letters = sorted((_letter(above), _letter(row)))
    if letters[1] > _SIZE * letters[0]:
        return True
    step = row[0].bottom - above[0].bottom
    near = [
        b[0].bottom - a[0].bottom
        for a, b in zip(rows[max(0, i - 4) : i + 3], rows[max(0, i - 4) + 1 : i + 4], strict=False)
        if not any(place.index in tables for place in (*a, *b))
    ]
    return step > _WIDER * min(near) and step > 2.8 * letters[1]


def _row_at(place: Place) -> float:
    return place.top + place.letter if place.index < 0 else place.bottom


def _letter(row: Sequence[Place]) -> float:
    return statistics.median(place.letter for place in row)


def _plan(rows: Sequence[Sequence[Place]], tables: Mapping[int, FoundTable]) -> RegionPlan:
    places = [place for row in rows for place in row]
    if len(places) == 1 and places[0].index in tables:
        return RegionPlan("table", cells=tables[places[0].index].cells)
    return RegionPlan("text", tuple(place.index for place in places))
