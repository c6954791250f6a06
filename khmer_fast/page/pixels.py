"""The pixel steps of pages, compiled: csrc/cpu/page_*.cpp. *_reference.py say what they do.

Y, X: rows and columns of the page at the network's scale; C: connected pieces of ink; L: lines; M:
columns of all lines, one line after the other. Heights are continuous: row y covers [y, y + 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from khmer_fast.document import Box
from khmer_fast.ops import _native

DARKER, LIGHTER, RULE = 1, 2, 3  # classes of ink: than its paper, and straight rules
NOBODY, FRAME = 65535, 65534  # owners of ink that belongs to no line; of frames, bars and rules
AS_IT_IS, TURNED, BOTH = 0, 1, 2  # dark on light; light on dark; two colours of ink


@dataclass(frozen=True, eq=False)
class Columns:
    """The lines of a page by columns of pixels: line l's begin at `begin[l]` of the arrays [M]."""

    left: np.ndarray  # [L] int32, page column of a line's first
    begin: np.ndarray  # [L + 1] int64
    inner: np.ndarray  # [L, 2] int32, page columns from, to (exclusive) which the band reaches
    letter: np.ndarray  # [L] float32, letter height
    middle: np.ndarray  # [M] float32, of the band
    above: np.ndarray  # [M] float32, from there to the top of the ink nearby, above 0
    below: np.ndarray  # [M] float32, and to its bottom, above 0

    def at(self, line: int, x: Any) -> Any:
        """Index in [M] of page columns x, clipped to the line's."""
        width = self.begin[line + 1] - self.begin[line]
        return self.begin[line] + np.clip(x - self.left[line], 0, width - 1)

    def of(self, line: int) -> slice:
        """Where a line's columns stand in [M]."""
        return slice(int(self.begin[line]), int(self.begin[line + 1]))

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return (
            self.left, self.begin, self.inner, self.letter, self.middle, self.above, self.below
        )  # fmt: skip


def shrink(grey: np.ndarray, Y: int, X: int) -> np.ndarray:
    """The page with at most as many rows and columns, each the mean of whole ones whose middles lie
    in it, as Pillow's BOX: uint8 [page Y, page X] -> uint8 [Y, X]."""
    return _native.page_shrink(grey, Y, X)


def estimate_paper(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paper and the least difference of ink at nodes: uint8 [Y, X] -> 2 x uint8 [Y/16, X/16]."""
    return _native.page_estimate_paper(grey)


def line_paper(grey: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Paper and the least difference of ink within each line's reach: grey uint8 [Y, X] ->
    uint8 [M] each."""
    return _native.page_line_paper(grey, columns._arrays())


def find_ink(
    grey: np.ndarray,  # uint8 [Y, X]
    paper: np.ndarray,  # uint8 [Y/16, X/16], of estimate_paper
    threshold: np.ndarray,  # uint8 [Y/16, X/16], of estimate_paper
    columns: Columns,
    line_paper: np.ndarray,  # uint8 [M], of line_paper
    line_threshold: np.ndarray,  # uint8 [M], of line_paper
    rules: np.ndarray,  # bool [Y, X]
) -> tuple[np.ndarray, np.ndarray]:  # uint8 [Y, X] each: ink, paper
    """Pixels that differ from their paper: DARKER, LIGHTER or RULE, else 0. Within the lines' reach
    it is the paper of the line that reaches a pixel best, else the page's."""
    return _native.page_find_ink(
        grey, paper, threshold, columns._arrays(), line_paper, line_threshold, rules
    )


def assign_ink(
    ink: np.ndarray,  # uint8 [Y, X]
    labels: np.ndarray,  # int32 [Y, X]
    boxes: np.ndarray,  # int32 [C, 4]
    areas: np.ndarray,  # int32 [C]
    offset: np.ndarray,  # float32 [Y/4, X/4], px down to the middle of an ink pixel's own band
    columns: Columns,
) -> tuple[np.ndarray, ...]:
    """Gives every piece of ink to a line or to nobody, and cuts those that touch two lines: the
    fields of `ink.Owners` but for its columns, in their order."""
    return _native.page_assign_ink(ink, labels, boxes, areas, offset, columns._arrays())


def cut_line(
    grey: np.ndarray,  # uint8 [page Y, page X], full resolution
    painted: np.ndarray,  # uint8 [Y, X], not 0 where the crop is paper
    paper: np.ndarray,  # uint8 [Y, X]
    left: int,  # page column of the crop's first
    rows: np.ndarray,  # float32 [width], continuous page row of the crop's top edge by column
    height: int,
    polarity: int,
) -> np.ndarray:  # uint8 [height, width]
    """A line at full resolution along its rows, with paper where it is painted over."""
    return _native.page_cut_line(grey, painted, paper, left, rows, height, polarity)


def place_boxes(
    words: np.ndarray,  # int64 [k, 4], in the crop
    characters: np.ndarray,  # int64 [n, 4], in the crop
    crop_left: int,  # page column of the crop's first
    rows: np.ndarray,  # float32 [w], page row of the crop's top edge by column
    left: float,  # page pixel of the first column of ink
    step: float,  # page pixels of a column of ink
    letter_height: float,  # page pixels
    top: np.ndarray,  # float64 [columns], page row of the first ink; inf where there is none
    bottom: np.ndarray,  # float64 [columns], of the last; -inf where there is none
    line: Box,
) -> tuple[np.ndarray, np.ndarray]:  # int64 [k, 4], [n, 4]
    """Boxes in a crop to those on the page, round their ink and within the line's
    (words_reference.py)."""
    return _native.page_place_boxes(
        words, characters, crop_left, rows, left, step, letter_height, top, bottom, line
    )


def find_rules(
    grey: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of level and of upright rules, and of level and upright edges between two grounds at
    half the scale, and the rules' pixels: uint8 [Y, X] -> 4 x float64 [P, 5], bool [Y, X]
    (rules_reference.py)."""
    return _native.page_find_rules(grey, least)
