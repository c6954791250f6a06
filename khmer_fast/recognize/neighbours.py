"""Ink of the lines above and below, where a line was cut from its page with room around it.

Cut with a quarter of its height more on either side, a line is a small band between two halves of
others: they were scaled with it, and read with it. What hangs from the picture's upper or lower
edge, away from the letters, is another line's.
"""

from __future__ import annotations

import numpy as np

from khmer_fast.ops import label_ink

EDGE = 0.06  # of the columns have ink in the two rows at an edge, where there may be a neighbour
COVERED = 0.1  # of the columns, by what is taken for the neighbour's
ROOM = 0.8  # letter heights between the letters and an edge, where a neighbour may stand
APART = 0.4  # letter heights between the letters and a neighbour's piece that touches the edge,
FAR = 0.7  # and any other piece
GRAIN = 16  # times the median height of the pieces is the picture's, or more: that is grain
CUT = 0.85  # letter heights from the letters: beyond, what touches the edge is the neighbour's


def neighbours_ink(ink: np.ndarray) -> np.ndarray | None:
    """The ink of lines above and below, of a line's ink (bool [Y, X] both), or None.

    Letters are the pieces of ink about the middle of the densest rows. A line whose own marks reach
    the edge keeps them: they stand within a letter's height, or cover few columns.
    """
    columns = np.flatnonzero(ink.any(axis=0))
    if not len(columns):
        return None
    width = int(columns[-1]) + 1 - int(columns[0])
    covered = [int(rows.any(axis=0).sum()) / width for rows in (ink[:2], ink[-2:])]
    if max(covered) < EDGE:
        return None
    labels, boxes, _ = label_ink(ink.view(np.uint8))
    if np.median(boxes[:, 3] - boxes[:, 1]) * GRAIN <= len(ink):
        return None
    row = _middle_row(ink.sum(axis=1) / width)
    letters = boxes[(boxes[:, 1] <= row) & (boxes[:, 3] > row)]
    if not len(letters):  # the densest rows are two, and the row between them is empty
        return None
    upper, lower = _extent(letters)
    Y, height = len(ink), lower - upper
    _, top, _, bottom = boxes.T
    above = _of_side(boxes, top <= 1, upper - bottom, height, width)
    below = _of_side(boxes, bottom >= Y - 1, top - lower, height, width)
    found = np.zeros_like(ink)
    if covered[0] >= EDGE and upper > ROOM * height and above is not None:
        found |= above[labels]
        cut = max(0, round(upper - CUT * height))
        found[:cut] |= np.isin(labels[:cut], np.unique(labels[:2])) & ink[:cut]
    if covered[1] >= EDGE and Y - lower > ROOM * height and below is not None:
        found |= below[labels]
        cut = min(Y, round(lower + CUT * height))
        found[cut:] |= np.isin(labels[cut:], np.unique(labels[-2:])) & ink[cut:]
    return found if found.any() else None


def _of_side(
    boxes: np.ndarray,  # int32 [C, 4] (left, top, right, bottom)
    touches: np.ndarray,  # bool [C], the side's edge
    away: np.ndarray,  # int32 [C], rows between a piece and the letters
    height: int,  # of the letters
    width: int,  # of the line
) -> np.ndarray | None:
    """Which pieces are a neighbour's, bool [1 + C] by label, or None where too little is."""
    theirs = touches & (away >= APART * height)
    if int((boxes[theirs, 2] - boxes[theirs, 0]).sum()) < COVERED * width:
        return None
    return np.concatenate(([False], theirs | (away >= FAR * height)))


def _middle_row(density: np.ndarray) -> float:
    """The middle of the densest rows, those near the middle first: shares [Y]."""
    Y = len(density)
    smooth = np.convolve(density, np.full(max(1, Y // 24), 1 / max(1, Y // 24)), "same")
    peak = int((smooth * (1 - 0.8 * np.abs(np.linspace(-1, 1, Y)))).argmax())
    first = last = peak
    while first > 0 and smooth[first - 1] > 0.5 * smooth[peak]:
        first -= 1
    while last < Y - 1 and smooth[last + 1] > 0.5 * smooth[peak]:
        last += 1
    return (first + last + 1) / 2


def _extent(letters: np.ndarray) -> tuple[int, int]:
    """Top and bottom of pieces (left, top, right, bottom) [C, 4], C > 0: the medians by width."""
    left, top, right, bottom = letters.T
    weight = np.minimum(right - left, 3 * (np.median(bottom) - np.median(top)))

    def median(values: np.ndarray) -> int:
        order = np.argsort(values, kind="stable")
        total = np.cumsum(weight[order])
        return int(values[order][np.searchsorted(total, total[-1] / 2)])

    return median(top), median(bottom)
