"""Lines cut out of their page at full resolution, along their middles: owners > crops."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from khmer_fast.document import Point
from khmer_fast.page import pixels
from khmer_fast.page.ink import Owners, PageInk
from khmer_fast.page.lines import FoundLine

MARGIN = 0.3  # letter heights of paper beside a line's ink
STRAIGHT = 0.2  # letter heights: a middle that rises and falls less is cut as a rectangle
LEAST_INK = 0.1  # letter heights squared: a line with less ink is none
LONG_LINE = 3.0  # letter heights: a longer line must have strokes,
LEAST_STROKES = 0.6  # so many a letter height; letters have one to three
TWO_COLOURS = 0.1  # share of a line's ink from which a second colour is text, too
OUTLINE_STEP = 2.0  # letter heights between points of a polygon
BASELINE_STEP = 4.0  # letter heights between points of a bent baseline


@dataclass(frozen=True, eq=False)
class Crop:
    """One line's picture, and where its pixels are on the page."""

    grey: np.ndarray  # [h, w] uint8
    left: int  # page column of the crop's first
    rows: np.ndarray  # [w] float32, page row of the crop's top edge by column


@dataclass(frozen=True, eq=False)
class LineInk:
    """Where one line's ink stands, at the network's scale."""

    index: int  # of its band
    first: int  # page columns with ink, from, to (exclusive)
    end: int
    up: float  # from the middle to the highest and the lowest ink
    down: float
    polarity: int  # pixels.AS_IT_IS, TURNED or BOTH


def line_inks(owners: Owners) -> list[LineInk]:
    """The lines that have ink, and strokes in it: an edge or a shadow has none."""
    columns = owners.columns
    if not len(columns.left):
        return []
    starts = columns.begin[:-1]
    inked = owners.bottom > 0  # [M]
    at = np.arange(len(inked)) + np.repeat(columns.left - starts, np.diff(columns.begin))
    first = np.minimum.reduceat(np.where(inked, at, np.iinfo(at.dtype).max), starts)  # [L]
    end = np.maximum.reduceat(np.where(inked, at + 1, 0), starts)
    up = np.maximum.reduceat(np.where(inked, columns.middle - owners.top, -np.inf), starts)
    down = np.maximum.reduceat(np.where(inked, owners.bottom - columns.middle, -np.inf), starts)
    letter = columns.letter.astype(np.float64)
    length = (columns.inner[:, 1] - columns.inner[:, 0]) / letter  # in letter heights
    written = owners.counts.sum(1) >= np.maximum(LEAST_INK * letter**2, 2)
    written &= (length < LONG_LINE) | (owners.band[:, 0] >= LEAST_STROKES * length)
    return [
        LineInk(i, int(first[i]), int(end[i]), float(up[i]), float(down[i]), _polarity(dark, light))
        for i, (dark, light) in enumerate(owners.counts.tolist())
        if written[i]
    ]


def _polarity(dark: int, light: int) -> int:
    if min(dark, light) >= TWO_COLOURS * (dark + light):
        return pixels.BOTH
    return pixels.TURNED if light > dark else pixels.AS_IT_IS


def cut_line(
    grey: np.ndarray,  # [page Y, page X] uint8
    found: PageInk,
    owners: Owners,
    line: LineInk,
) -> Crop:
    """A line's picture at the page's resolution, as high as its own ink; frames and rules in it are
    painted over with paper. Ink of its neighbours stays: what is theirs is never quite sure."""
    page_y, page_x = grey.shape
    Y, X = owners.owners.shape
    scale = page_x / X, page_y / Y  # page pixels a network pixel
    letter = float(owners.columns.letter[line.index])
    left = max(int((line.first - MARGIN * letter) * scale[0]), 0)
    right = min(int(np.ceil((line.end + MARGIN * letter) * scale[0])), page_x)
    x = (np.arange(left, right) + 0.5) / scale[0]
    middle = _middle(owners, line.index, x)
    if float(np.ptp(middle)) < STRAIGHT * letter:
        middle = np.full_like(middle, middle.mean())
        rows = np.floor((middle - line.up) * scale[1])
    else:
        rows = (middle - line.up) * scale[1]
    height = int(np.ceil((line.up + line.down) * scale[1])) + 1
    rows = rows.astype(np.float32)
    crop = pixels.cut_line(grey, owners.painted, found.paper, left, rows, height, line.polarity)
    return Crop(crop, left, rows)


def _middle(owners: Owners, index: int, x: np.ndarray) -> np.ndarray:
    """The band's middle at network columns x [n], continuous."""
    columns = owners.columns
    place = columns.of(index)
    at = int(columns.left[index]) + np.arange(place.stop - place.start) + 0.5
    return np.interp(x, at, columns.middle[place])


def outline(owners: Owners, line: LineInk, page_size: tuple[int, int]) -> FoundLine:
    """The line's place on the page of page_size (width, height) pixels."""
    Y, X = owners.owners.shape
    scale_x, scale_y = page_size[0] / X, page_size[1] / Y
    columns = owners.columns
    letter = float(columns.letter[line.index])
    place = columns.of(line.index)
    left = int(columns.left[line.index])
    own = slice(place.start + line.first - left, place.start + line.end - left)
    top, bottom, middle = owners.top[own], owners.bottom[own], columns.middle[own]
    length = line.end - line.first
    box = (
        max(int(line.first * scale_x), 0),
        max(int(top.min() * scale_y), 0),
        min(math.ceil(line.end * scale_x), page_size[0]),
        min(math.ceil(bottom.max() * scale_y), page_size[1]),
    )
    # 1. polygon: the upper edge from left to right, the lower one back
    parts = max(1, round(length / (OUTLINE_STEP * letter)))
    edges = np.rint(np.arange(parts + 1) * (length / parts)).astype(int)
    high = np.minimum.reduceat(top, edges[:-1]) * scale_y  # [parts]; Y where there is no ink
    low = np.maximum.reduceat(bottom, edges[:-1]) * scale_y
    ends = ((edges + line.first) * scale_x).tolist()
    upper: list[Point] = []
    lower: list[Point] = []
    for x0, x1, y0, y1 in zip(ends[:-1], ends[1:], high.tolist(), low.tolist(), strict=True):
        if y1 > 0:
            upper += ((x0, y0), (x1, y0))
            lower += ((x0, y1), (x1, y1))
    # 2. baseline: half a letter height under the middle
    bent = float(middle.max() - middle.min()) >= STRAIGHT * letter
    points = max(2, round(length / (BASELINE_STEP * letter)) + 1) if bent else 2
    x = np.linspace(line.first, line.end, points)
    y = _middle(owners, line.index, x) + letter / 2
    return FoundLine(
        box=box,
        baseline=tuple(zip((x * scale_x).tolist(), (y * scale_y).tolist(), strict=True)),
        polygon=tuple(upper + lower[::-1]),
        letter_height=letter * scale_y,
    )
