"""Ink of the lines above and below, where a line was cut from its page with room around it.

Cut with a quarter of its height more on either side, a line is a small band between two halves of
others: they were scaled with it, and read with it. What hangs from the picture's upper or lower
edge, away from the letters and with white below it, is another line's: a line's own marks stand
close to what they belong to.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from khmer_fast.ops import label_ink

HANGING = 0.5  # letter heights of white between a piece that hangs from an edge and the letters:
# the neighbour's, and so is there a neighbour
ROOM = 1.0  # letter heights between the letters and an edge, with a neighbour there: marks of the
# line itself hardly reach the edge. There
NEAR = 0.1  # is how close to the letters the pieces at the edge may come,
FLOATING = 0.3  # and others that have white below them,
WHITE = 0.2  # so much, and more than above them
CUT = 0.85  # letter heights from the letters: beyond, all that touches the edge is the neighbour's,
MARKS = 0.6  # and what reaches higher than the line's other ink, but for so much
LIKELY_ROOM = 0.85  # of the densest rows, between them and an edge: else there is no room, surely
OFF_CENTRE = 0.8  # of a row's ink is not counted at the picture's edge, to find the densest rows
RULE, FLAT = 0.5, 0.15  # of the picture's width and height: a rule is wider, and lower
GRAIN = 16  # times the median height of the pieces is the picture's, or more: that is grain


def neighbours_ink(ink: np.ndarray) -> np.ndarray | None:
    """The ink of lines above and below, of a line's ink (bool [Y, X] both), or None.

    Letters are the pieces of ink about the middle of the densest rows. A line whose own marks reach
    the edge keeps them.
    """
    Y = len(ink)
    dense = _densest_rows(ink.view(np.uint8).sum(axis=1, dtype=np.int64))
    rows = dense.stop - dense.start
    hangs = ink[:2].any() and dense.start >= LIKELY_ROOM * rows
    if not hangs and not (ink[-2:].any() and Y - dense.stop >= LIKELY_ROOM * rows):
        return None
    labels, boxes, _ = label_ink(ink.view(np.uint8))
    _, top, _, bottom = boxes.T
    within = (top > 1) & (bottom < Y - 1)
    if not within.any() or _median((bottom - top)[within]) * GRAIN <= Y:
        return None
    row = (dense.start + dense.stop) / 2
    letters = boxes[(top <= row) & (bottom > row)]
    if not len(letters):  # the densest rows are two, and the row between them is empty
        return None
    upper, lower = _extent(letters)
    widest = int((letters[:, 2] - letters[:, 0]).max())
    if widest > RULE * ink.shape[1] and lower - upper < FLAT * Y:
        return None
    found = np.zeros_like(ink)
    _find_above(labels, top, bottom, upper, lower - upper, found)
    _find_above(labels[::-1], Y - bottom, Y - top, Y - lower, lower - upper, found[::-1])
    return found if found.any() else None


def without_neighbours(
    grey: np.ndarray,  # uint8 [Y', X']
    ink: np.ndarray,  # bool [Y', X'], its ink
) -> np.ndarray:
    """The picture without the ink of lines above and below; itself where there is none."""
    theirs = neighbours_ink(ink)
    if theirs is None:
        return grey
    grown = np.pad(theirs, 1)  # by a pixel all around
    grown = grown[:-2] | grown[1:-1] | grown[2:]
    grown = grown[:, :-2] | grown[:, 1:-1] | grown[:, 2:]
    counts = Image.fromarray(grey).histogram(Image.fromarray((~ink).view(np.uint8)))
    paper = np.uint8(counts.index(max(counts)))
    return np.where(grown & (theirs | ~ink), paper, grey)


def _find_above(
    labels: np.ndarray,  # int32 [Y, X], 0 paper
    top: np.ndarray,  # int32 [C], of pieces 1, 2, ...
    bottom: np.ndarray,  # int32 [C], exclusive
    upper: int,  # row of the letters' top
    height: int,  # of the letters
    found: np.ndarray,  # bool [Y, X]
) -> None:
    """Marks in `found` the ink of the line above."""
    at_edge = (top <= 1) & (bottom <= upper - HANGING * height)
    if upper < ROOM * height or not at_edge.any():
        return
    above, below = (rows / height for rows in _white(labels[:upper], len(top)))
    theirs = at_edge & (below >= HANGING)
    if not theirs.any():
        return
    away = (upper - bottom) / height
    theirs |= (top <= 1) & (away >= NEAR)
    theirs |= (away >= FLOATING) & (below >= WHITE) & (below > above)
    found |= np.concatenate(([False], theirs))[labels]
    own = top[~theirs & (top > 1)]
    highest = min(int(own.min(initial=upper)), round(upper - MARKS * height))
    cut = max(0, highest, round(upper - CUT * height))
    found[:cut] |= np.isin(labels[:cut], np.unique(labels[:2])) & (labels[:cut] > 0)


def _white(
    labels: np.ndarray,  # int32 [Y, X], 0 paper
    pieces: int,  # C
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of white above and below each piece, to other ink or the edge: float64 [C] both, the
    means over its columns; 0 for one that is not there."""
    Y, X = labels.shape
    columns = np.zeros((X, Y + 2), labels.dtype)
    columns[:, 1:-1] = labels.T
    flat = columns.reshape(-1)
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start, end = change[flat[change] > 0], change[flat[change - 1] > 0]  # of runs of ink
    piece, column = flat[start] - 1, start // (Y + 2)
    first, last = start - column * (Y + 2) - 1, end - column * (Y + 2) - 1
    next_to = column[1:] == column[:-1]
    before, after = np.zeros_like(first), np.full_like(first, Y)
    before[1:][next_to], after[:-1][next_to] = last[:-1][next_to], first[1:][next_to]
    within = next_to & (piece[1:] == piece[:-1])  # white inside a piece
    highest, lowest = np.append(True, ~within), np.append(~within, True)

    def mean(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
        count = np.bincount(piece[of], minlength=pieces)
        return np.bincount(piece[of], rows[of], minlength=pieces) / np.maximum(count, 1)

    return mean(first - before, highest), mean(after - last, lowest)


def _densest_rows(counts: np.ndarray) -> slice:
    """The densest rows, those near the middle first: pixels of ink, int64 [Y]."""
    Y = len(counts)
    smooth = np.convolve(counts, np.ones(max(1, Y // 24), np.int64), "same")
    peak = int((smooth * (1 - OFF_CENTRE * np.abs(np.linspace(-1, 1, Y)))).argmax())
    first = last = peak
    while first > 0 and 2 * smooth[first - 1] > smooth[peak]:
        first -= 1
    while last < Y - 1 and 2 * smooth[last + 1] > smooth[peak]:
        last += 1
    return slice(first, last + 1)


def _extent(letters: np.ndarray) -> tuple[int, int]:
    """Top and bottom of pieces (left, top, right, bottom) [C, 4], C > 0: the medians by width."""
    left, top, right, bottom = letters.T
    weight = np.minimum(right - left, 3 * (_median(bottom) - _median(top)))

    def median(values: np.ndarray) -> int:
        order = np.argsort(values, kind="stable")
        total = np.cumsum(weight[order])
        return int(values[order][np.searchsorted(total, total[-1] / 2)])

    return median(top), median(bottom)


def _median(values: np.ndarray) -> float:  # int [n], n > 0
    ordered = np.sort(values)
    return float(ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
