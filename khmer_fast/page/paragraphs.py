"""One column of rows to regions: paragraphs, headings, headers, footers, and what is finished."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from khmer_fast.document import RegionKind
from khmer_fast.page.places import LevelPage, Place
from khmer_fast.page.plans import RegionPlan

Row = list[Place]  # from left to right

_SAME_ROW = 0.6  # letter heights between baselines of pieces of one row
_WIDER = 1.35  # times the column's leading: a paragraph ends
_SIZE = 1.4  # times the letters: another kind of text (lines of Latin letters are 1.3 lower)
_INDENT = 1.2, 9.0  # letter heights
_SHORT = 0.85  # of the column's width: a line that ends before is a paragraph's last
_INSET = 2.0  # letter heights from both margins: a centred line
_MIDDLE = 1.5  # letter heights between the middles of a centred line and its column
_LARGE = 1.25  # times the page's letters: a heading
_TITLE = 4  # rows of a heading, at most
_EDGE = 0.12  # of the page's height where headers and footers stand


def split_column(
    rows: Sequence[Row], finished: Mapping[int, list[RegionPlan]], page: LevelPage
) -> list[RegionPlan]:
    """The regions of one column of rows, from top to bottom."""
    plans: list[RegionPlan] = []
    start = 0
    margins = _margins(rows, finished)
    for i in range(1, len(rows) + 1):
        if i == len(rows) or _breaks(rows, i, margins, finished):
            plans += _plans(rows[start:i], margins, finished, page)
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


def _row_at(place: Place) -> float:
    return place.top + place.letter if place.index < 0 else place.bottom


# ---- where a region begins ----


def _margins(rows: Sequence[Row], finished: Mapping[int, list[RegionPlan]]) -> tuple[float, float]:
    """Where the column's lines begin and end."""
    own = [row for row in rows if row[0].index not in finished] or rows
    return min(row[0].left for row in own), max(row[-1].right for row in own)


def _breaks(
    rows: Sequence[Row],
    i: int,
    margins: tuple[float, float],
    finished: Mapping[int, list[RegionPlan]],
) -> bool:
    """Whether a region begins at row i."""
    above, row = rows[i - 1], rows[i]
    if any(place.index in finished for place in (*above, *row)):
        return True
    letters = sorted((_letter(above), _letter(row)))
    if letters[1] > _SIZE * letters[0]:
        return True
    near = [
        row[0].bottom - above[0].bottom
        for above, row in zip(rows[max(0, i - 4) : i + 3], rows[max(0, i - 4) + 1 : i + 4],
                              strict=False)
        if not any(place.index in finished for place in (*above, *row))
    ]  # fmt: skip
    step = row[0].bottom - above[0].bottom
    if step > _WIDER * min(near) and step > 2.8 * letters[1]:
        return True
    if _centred(above, margins) != _centred(row, margins):
        return True
    if _centred(row, margins):
        return False
    following = rows[i + 1] if i + 1 < len(rows) else None
    return _indented(above, row, following) or _ended(above, row, margins)


def _indented(above: Row, row: Row, following: Row | None) -> bool:
    """Whether a row begins farther in than the lines around it."""
    letter = _letter(row)
    others = [above[0].left] + ([following[0].left] if following else [])
    inset = row[0].left - max(others)
    return _INDENT[0] * letter < inset < _INDENT[1] * letter


def _ended(above: Row, row: Row, margins: tuple[float, float]) -> bool:
    """Whether the row above ends far before the margin that this one reaches."""
    width = margins[1] - margins[0]
    short = above[-1].right < margins[0] + _SHORT * width
    reaches = row[-1].right > margins[1] - 0.05 * width
    return short and reaches and row[0].left < above[0].left + _letter(row)


def _centred(row: Row, margins: tuple[float, float]) -> bool:
    """Whether a row stands in the middle, away from both margins."""
    letter = _letter(row)
    left, right = row[0].left - margins[0], margins[1] - row[-1].right
    return min(left, right) > _INSET * letter and abs(left - right) < 2 * _MIDDLE * letter


def _letter(row: Row) -> float:
    return statistics.median(place.letter for place in row)


# ---- what a region is ----


def _plans(
    rows: Sequence[Row],
    margins: tuple[float, float],
    finished: Mapping[int, list[RegionPlan]],
    page: LevelPage,
) -> list[RegionPlan]:
    """The region of some rows, or what is finished in its place."""
    places = [place for row in rows for place in row]
    if places[0].index in finished:
        return finished[places[0].index]
    kind = _kind(rows, margins, page)
    return [RegionPlan(kind, tuple(place.index for place in places))]


def _kind(rows: Sequence[Row], margins: tuple[float, float], page: LevelPage) -> RegionKind:
    top, bottom = rows[0][0].top, rows[-1][0].bottom
    ruled = [rule.at for rule in page.horizontal if rule.high - rule.low > page.width / 3]
    if bottom < _EDGE * page.height and any(bottom < at < 1.5 * bottom for at in ruled):
        return "header"
    foot = (1 - _EDGE) * page.height
    if top > foot and any(foot - 0.05 * page.height < at < top for at in ruled):
        return "footer"
    if len(rows) > _TITLE:
        return "text"
    large = statistics.median(map(_letter, rows)) > _LARGE * page.letter
    middle = all(_centred(row, margins) for row in rows)
    return "heading" if large or middle else "text"
