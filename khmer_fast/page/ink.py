"""Ink of a page, and whose line it is: grey page, bands > owners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from khmer_fast.document import Box
from khmer_fast.ops import label_ink
from khmer_fast.page import pixels

LETTER = 0.2  # letter heights squared of a small letter's ink
FRAME = 0.9  # of a page's width or height: what is wider or higher surrounds it
UNREAD_BOXES = 20  # of the largest pieces of ink that no line took


@dataclass(frozen=True, eq=False)
class PageInk:
    """What differs from its paper, in connected pieces: Y, X at the network's scale."""

    ink: np.ndarray  # [Y, X] uint8: 0 paper, pixels.DARKER, LIGHTER or RULE
    paper: np.ndarray  # [Y, X] uint8, grey value of the paper
    labels: np.ndarray  # [Y, X] int32, number of a pixel's piece from 1, 0 for paper
    boxes: np.ndarray  # [C, 4] int32 (left, top, right, bottom) of each piece
    areas: np.ndarray  # [C] int32


@dataclass(frozen=True, eq=False)
class Owners:
    """Whose each pixel of ink is, and how far each line's ink reaches by column."""

    columns: pixels.Columns  # of the bands
    owners: np.ndarray  # [Y, X] uint16: 0 paper, line + 1, pixels.NOBODY or FRAME
    painted: np.ndarray  # [Y, X] uint8, not 0 where crops are painted over with paper
    top: np.ndarray  # [M] int32, first row of the line's ink by column; Y where there is none
    bottom: np.ndarray  # [M] int32, last + 1; 0 where there is none
    counts: np.ndarray  # [L, 2] int32, pixels darker and lighter than paper of each line
    band: np.ndarray  # [L, 3] int32, of each band: runs of the line's ink, its pixels, others'
    unread: np.ndarray  # [C, 2] int32, pixels of each piece that are NOBODY's, and FRAME's


def find_ink(
    grey: np.ndarray,  # [Y, X] uint8
    columns: pixels.Columns,  # of the bands
    rules: np.ndarray | None = None,  # [Y, X] bool, straight rules, which are no line's
) -> PageInk:
    """What differs from its paper: within a line's reach from the line's own, not from what stands
    around it."""
    rules = np.zeros(grey.shape, bool) if rules is None else rules
    ink, paper = pixels.find_ink(
        grey, *pixels.estimate_paper(grey), columns, *pixels.line_paper(grey, columns), rules
    )
    return PageInk(ink, paper, *label_ink(ink))


def assign_ink(
    found: PageInk,
    columns: pixels.Columns,  # of the bands
    offset: np.ndarray,  # [Y/4, X/4] float32, px down to the middle of an ink pixel's own band
) -> Owners:
    """Gives every connected piece of ink to one of the bands or to nobody."""
    return Owners(
        columns,
        *pixels.assign_ink(found.ink, found.labels, found.boxes, found.areas, offset, columns),
    )


def unread_ink(found: PageInk, owners: Owners) -> tuple[float, list[Box]]:
    """The share of a page's ink that is no line's, and the boxes of most of it.

    Rules are no such ink, nor are pieces smaller than a letter, nor what fills a page's whole width
    or height. Boxes are at the network's scale.
    """
    if not len(found.areas):
        return 0.0, []
    letter = float(np.median(owners.columns.letter)) if len(owners.columns.letter) else 12.0
    areas = owners.unread.sum(1)
    Y, X = found.ink.shape
    width, height = (found.boxes[:, i + 2] - found.boxes[:, i] for i in (0, 1))
    areas[(areas < LETTER * letter * letter) | (width > FRAME * X) | (height > FRAME * Y)] = 0
    share = float(areas.sum()) / float(found.areas.sum())
    chosen = np.argsort(-areas, kind="stable")[:UNREAD_BOXES]
    return share, [tuple(found.boxes[c].tolist()) for c in chosen if areas[c]]
