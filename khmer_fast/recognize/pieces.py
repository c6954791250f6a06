"""A prepared line to the pieces that are read apart: long lines cut at gaps, leaders cut out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from khmer_fast.recognize import fillers, leaders, long_lines

AROUND = 4  # white pixels that a piece keeps left and right
MIN_WIDTH = 16


@dataclass(frozen=True)
class Piece:
    """A stretch of a line: an image to read, or a leader, whose text is known."""

    image: np.ndarray | None  # uint8 [Y, w], dark on white
    left: float  # the image's first column in the line, or the leader's
    right: float
    space: bool = False  # whether a space stands before it
    text: str = ""  # of a leader


def pieces_of(line: np.ndarray) -> list[Piece]:  # uint8 [Y, X], prepared, dark on white
    """The pieces of a line, left to right; most lines are one piece, as they are."""
    width = line.shape[1]
    found = sorted([*leaders.find(line), *fillers.find(line)], key=lambda leader: leader.left)
    if not found and width <= long_lines.LONGEST:
        return [Piece(line, 0, width)]
    ink = np.count_nonzero(line < long_lines.INK, axis=0)  # [X]
    pieces: list[Piece] = []
    start = 0  # where the next stretch of text may begin
    inked = 0  # where the ink of the last piece ends
    gap = long_lines.SPACE  # behind it that is a space
    for leader in (*found, None):
        for left, right in long_lines.cuts(ink[start : leader.left if leader else width]):
            space = bool(pieces) and start + left - inked >= gap
            pieces.append(_cut_out(line, start + left, start + right, space))
            inked, gap = start + right, long_lines.SPACE
        if leader:
            space = bool(pieces) and leader.left - inked >= leader.space
            pieces.append(Piece(None, leader.left, leader.right, space, leader.text))
            start = inked = leader.right
            gap = leader.space
    return pieces


def _cut_out(line: np.ndarray, left: int, right: int, space: bool) -> Piece:
    """Columns `left` to `right` between white ones."""
    around = max(AROUND, -(-(MIN_WIDTH - (right - left)) // 2))
    image = np.pad(line[:, left:right], ((0, 0), (around, around)), constant_values=255)
    return Piece(image, left - around, right + around, space)
