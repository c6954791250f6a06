"""One column of rows to regions: paragraphs, headings, headers, footers, tables in it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from khmer_fast.page.places import LevelPage, Place
from khmer_fast.page.plans import RegionPlan

_SAME_ROW = 0.6  # letter heights between baselines of pieces of one row
_WIDER = 1.35  # times the column's leading: a paragraph ends
_SIZE = 1.25  # times the letters: another kind of text
_INDENT = 1.0  # letter heights
_SHORT = 0.85  # of the column's width: a line that ends before is a paragraph's last


Row = list[Place]  # from left to right


def split_column(
    rows: Sequence[Row], finished: Mapping[int, list[RegionPlan]], page: LevelPage
) -> list[RegionPlan]:
    """The regions of one column of rows, from top to bottom."""
    plans: list[RegionPlan] = []
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or _breaks(rows, i, finished):
            plans += _plans(rows[start:i], finished)
            start = i
    return plans


def rows_of(places: Sequence[Place]) -> list[Row]:
    """Rows from top to bottom, pieces of one from left to right; what is finished is a row of its
    own, and goes from left to right where it stands beside other such."""
    rows: list[Row] = []
    for place in sorted(places, key=lambda place: (_row_at(place), place.left)):
        if rows and _in_row(place, rows[-1]):
            rows[-1].append(place)
        else:
            rows.append([place])
    rows = [sorted(row, key=lambda place: place.left) for row in rows]
    return [part for row in rows for part in ([[p] for p in row] if row[0].index < 0 else [row])]


def _in_row(place: Place, row: Row) -> bool:
    """Whether a place stands beside the pieces of the row above it."""
    if (place.index < 0) != (row[-1].index < 0):
        return False
    if place.index < 0:
        shared = min(place.bottom, row[-1].bottom) - max(place.top, row[-1].top)
        level = shared > 0.5 * min(place.bottom - place.top, row[-1].bottom - row[-1].top)
    else:
        level = place.bottom - row[-1].bottom < _SAME_ROW * place.letter
    return level and all(_apart(place, other) for other in row)


def _apart(a: Place, b: Place) -> bool:
    shared = min(a.right, b.right) - max(a.left, b.left)
    return shared < 0.3 * min(a.width, b.width)


def _breaks(
    rows: Sequence[Sequence[Place]], i: int, finished: Mapping[int, list[RegionPlan]]
) -> bool:
    """Whether a region begins at row i."""
    above, row = rows[i - 1], rows[i]
    if any(place.index in finished for place in (*above, *row)):
        return True
    letters = sorted((_letter(above), _letter(row)))
    if letters[1] > _SIZE * letters[0]:
        return True
    step = row[0].bottom - above[0].bottom
    near = [
        b[0].bottom - a[0].bottom
        for a, b in zip(rows[max(0, i - 4) : i + 3], rows[max(0, i - 4) + 1 : i + 4], strict=False)
        if not any(place.index in finished for place in (*a, *b))
    ]
    return step > _WIDER * min(near) and step > 2.8 * letters[1]


def _row_at(place: Place) -> float:
    return place.top + place.letter if place.index < 0 else place.bottom


def _letter(row: Sequence[Place]) -> float:
    return statistics.median(place.letter for place in row)


def _plans(rows: Sequence[Row], finished: Mapping[int, list[RegionPlan]]) -> list[RegionPlan]:
    """The region of some rows, or what is finished in its place."""
    places = [place for row in rows for place in row]
    if places[0].index in finished:
        return finished[places[0].index]
    return [RegionPlan("text", tuple(place.index for place in places))]
