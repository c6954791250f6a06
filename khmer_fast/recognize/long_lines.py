"""Where a long line is cut before it is read: attention loses its place beyond what it learnt."""

from __future__ import annotations

import numpy as np

LONGEST = 1600  # pixels at 48 px height of a line that is read in one go
PIECE = 1200  # and of the pieces of a longer one, at most
SPACE = 8  # pixels of a gap that is a space
INK = 160  # grey value below which a pixel is ink


def cuts(ink: np.ndarray) -> list[tuple[int, int]]:
    """Pieces of a line, left to right: first column and last + 1, both ink.

    ink [X]: how many pixels of each column are ink.
    """
    pieces = []
    inked = np.flatnonzero(ink)
    if len(inked) == 0:
        return []
    left, end = int(inked[0]), int(inked[-1]) + 1
    if end - left > LONGEST:
        while end - left > PIECE:
            right, after = _cut(ink, left, end)
            pieces.append((left, right))
            left = after
    pieces.append((left, end))
    return pieces


def _cut(ink: np.ndarray, left: int, end: int) -> tuple[int, int]:
    """The widest gap between half a piece and a whole one from `left`: its first column, and the
    one behind it. Without a gap (underlined text, a frame) a column with little ink."""
    most = PIECE if end - left > LONGEST else (end - left) * 2 // 3
    first, last = left + most // 2, left + most
    white = np.flatnonzero(ink[first:last] == 0) + first
    if len(white) == 0:
        around = np.convolve(ink[first:last], (1, 2, 1), "same")
        at = first + int(around.argmin())
        return at, at
    runs = np.split(white, np.flatnonzero(np.diff(white) > 1) + 1)
    run = max(runs, key=len)
    start, after = int(run[0]), int(run[-1]) + 1
    while ink[start - 1] == 0:  # the gap may begin before the window and end behind it
        start -= 1
    while ink[after] == 0:
        after += 1
    return start, after
