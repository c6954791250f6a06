"""What csrc/cpu/page_ink.cpp and page_crops.cpp compute, in plain numpy: exactly the same.

Y, X: rows and columns of the page at the network's scale; C: components; L: lines; M: columns of
all lines. A line's columns stand one after the other in arrays [M]: line l's begin at `begin[l]`,
the first of them is column `left[l]` of the page. Heights are continuous: row y covers [y, y + 1).
"""

from __future__ import annotations

import numpy as np

from khmer_fast.page.pixels import BOTH, DARKER, LIGHTER, RULE, TURNED, Columns

CELL = 16  # pixels of a node of the paper's grid
PAPER_REACH, CONTRAST_REACH = 2, 1  # cells around a node whose pixels count
BIN = 8  # grey levels of a bin
TAIL = 96  # one pixel of so many is darker or lighter than the contrast says
LEAST_CONTRAST = 12  # grey levels between paper and ink
INK_SHARE = (5, 16)  # how far from paper to the strongest ink nearby a pixel counts as ink
LINE_REACH = 2.0  # letter heights along a line whose pixels tell its paper
FAINT = (2, 5)  # of a line's usual least difference: less is not asked of its ink anywhere
STRIP = 1.25  # of a line's distances: within them a pixel is looked at by the line's own paper


def shrink(grey: np.ndarray, Y: int, X: int) -> np.ndarray:
    """The page with at most as many rows and columns, each the mean of whole ones whose middles lie
    in it, as Pillow's BOX: uint8 [page Y, page X] -> uint8 [Y, X]."""
    (top, bottom), (left, right) = (_shares(a, b) for a, b in zip(grey.shape, (Y, X), strict=True))
    total = np.zeros((grey.shape[0] + 1, grey.shape[1] + 1), np.int64)
    total[1:, 1:] = grey.astype(np.int64).cumsum(0).cumsum(1)
    low, high = total[top], total[bottom]
    sums = high[:, right] - high[:, left] - low[:, right] + low[:, left]
    count = (bottom - top)[:, None] * (right - left)
    return ((sums + count // 2) // count).astype(np.uint8)


def _shares(size: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows from, to (exclusive) of each of the parts of `size` rows, int [parts] both."""
    edges = (2 * np.arange(parts + 1) * size + parts) // (2 * parts)
    return edges[:-1], edges[1:]


def estimate_paper(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paper's grey value and the least difference of ink: uint8 [Y, X] -> 2 x uint8 [Y/16, X/16].

    A node's paper is the most frequent value around it, the lighter one of two.
    """
    Y, X = grey.shape
    rows, columns = -(-Y // CELL), -(-X // CELL)
    place = (np.arange(Y) // CELL)[:, None] * columns + np.arange(X) // CELL
    counts = np.bincount(
        ((place << 5) + (grey >> 3)).ravel(), minlength=rows * columns * 32
    ).reshape(rows, columns, 32)
    paper = _paper_values(_window_sum(counts, PAPER_REACH))
    threshold = _thresholds(_window_sum(counts, CONTRAST_REACH), paper)
    return paper.astype(np.uint8), threshold.astype(np.uint8)


def _paper_values(counts: np.ndarray) -> np.ndarray:
    """The mode of each smoothed histogram, the mean of its three bins: int [..., 32] -> [...]."""
    padded = np.pad(counts, [(0, 0)] * (counts.ndim - 1) + [(1, 1)])
    smooth = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    mode = 31 - smooth[..., ::-1].argmax(-1)
    triple = np.take_along_axis(padded, mode[..., None] + np.arange(3), -1)
    centre = BIN * (mode[..., None] + np.arange(-1, 2)) + BIN // 2
    total = triple.sum(-1)
    return ((triple * centre).sum(-1) + total // 2) // total


def _thresholds(counts: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """A share of how far the darkest or lightest pixels are from paper: int [..., 32], [...]."""
    least = counts.sum(-1, keepdims=True) // TAIL
    darkest = (counts.cumsum(-1) > least).argmax(-1)
    lightest = 31 - (counts[..., ::-1].cumsum(-1) > least).argmax(-1)
    contrast = np.maximum(paper - (BIN * darkest + BIN // 2), BIN * lightest + BIN // 2 - paper)
    return np.maximum(LEAST_CONTRAST, contrast * INK_SHARE[0] // INK_SHARE[1])


def _window_sum(counts: np.ndarray, reach: int) -> np.ndarray:
    """Sums over the cells within `reach`: int [rows, columns, 32] both."""
    for axis in (0, 1):
        size = counts.shape[axis]
        total = np.cumsum(counts, axis)
        total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis)
        at = np.arange(size)
        high, low = np.minimum(at + reach + 1, size), np.maximum(at - reach, 0)
        counts = total.take(high, axis) - total.take(low, axis)
    return counts


def spread(nodes: np.ndarray, Y: int, X: int) -> np.ndarray:
    """A grid of nodes to pixels, linearly between them: uint8 [Y/16, X/16] -> uint8 [Y, X]."""
    y0, y1, fy = _between(Y, nodes.shape[0])
    x0, x1, fx = _between(X, nodes.shape[1])
    nodes = nodes.astype(np.int32)
    row = nodes[y0] * (CELL - fy)[:, None] + nodes[y1] * fy[:, None]
    value = row[:, x0] * (CELL - fx) + row[:, x1] * fx
    return ((value + CELL * CELL // 2) // (CELL * CELL)).astype(np.uint8)


def _between(size: int, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two nodes beside each pixel and the second one's share in sixteenths, int [size] each."""
    at = np.arange(size) - CELL // 2
    first = np.clip(at // CELL, 0, nodes - 1)
    return first, np.minimum(first + 1, nodes - 1), np.where(at < 0, 0, at % CELL)


def line_paper(grey: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Paper and the least difference of ink within each line's reach: grey uint8 [Y, X] ->
    uint8 [M] each, from the pixels that are nearest along the line."""
    Y = len(grey)
    paper, threshold = [np.zeros(0, np.uint8)], [np.zeros(0, np.uint8)]
    for line in range(len(columns.left)):
        of, left = columns.of(line), int(columns.left[line])
        width = of.stop - of.start
        counts = np.zeros((1, -(-width // CELL), 32), np.int64)
        middle = columns.middle[of].astype(np.float64)
        top = np.clip(np.floor(middle - columns.above[of]), 0, Y).astype(int)
        bottom = np.clip(np.ceil(middle + columns.below[of]), 0, Y).astype(int)
        for i in range(width):
            values = grey[top[i] : bottom[i], left + i] >> 3
            counts[0, i // CELL] += np.bincount(values, minlength=32)
        reach = max(1, int(np.ceil(LINE_REACH * float(columns.letter[line]) / CELL)))
        around = _window_sum(counts, reach)
        some = around.sum(-1, keepdims=True) > 0
        around[~some[..., 0], 31] = 1  # a line beyond the page: no ink
        values = _paper_values(around)
        least = _thresholds(around, values)
        # where a line has no letters, their contrast elsewhere counts: an edge is none
        median = np.sort(least, axis=None)[(least.size - 1) // 2]
        least = np.maximum(least, median * FAINT[0] // FAINT[1])
        paper.append(spread(values.astype(np.uint8), 1, width)[0])
        threshold.append(spread(least.astype(np.uint8), 1, width)[0])
    return np.concatenate(paper), np.concatenate(threshold)


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
    level, least = spread(paper, *grey.shape), spread(threshold, *grey.shape)
    nearest = np.full(grey.shape, np.inf, np.float32)
    row = np.arange(len(grey), dtype=np.float32) + np.float32(0.5)
    for line in range(len(columns.left)):
        of, left = columns.of(line), int(columns.left[line])
        for i in range(of.start, of.stop):
            x = left + i - of.start
            u = row - columns.middle[i]
            distance = np.abs(u) / np.where(u < 0, columns.above[i], columns.below[i])
            mine = (distance <= STRIP) & (distance < nearest[:, x])
            nearest[mine, x] = distance[mine]
            level[mine, x], least[mine, x] = line_paper[i], line_threshold[i]
    difference = level.astype(np.int32) - grey
    ink = np.where(difference >= least, DARKER, np.where(-difference >= least, LIGHTER, 0))
    ink[rules & (ink > 0)] = RULE
    return ink.astype(np.uint8), level


def label(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connected pieces of one class of ink, diagonal neighbours too, numbered from 1 by rows.

    uint8 [Y, X] -> labels int32 [Y, X] (0: paper), boxes int32 [C, 4] (left, top, right, bottom),
    areas int32 [C].
    """
    Y, X = ink.shape
    labels = np.zeros((Y, X), np.int32)
    boxes: list[tuple[int, int, int, int]] = []
    areas: list[int] = []
    for y, x in zip(*np.nonzero(ink), strict=True):
        if labels[y, x]:
            continue
        labels[y, x] = len(boxes) + 1
        piece, waiting = [], [(int(y), int(x))]
        while waiting:
            v, u = waiting.pop()
            piece.append((v, u))
            for r in range(max(v - 1, 0), min(v + 2, Y)):
                for c in range(max(u - 1, 0), min(u + 2, X)):
                    if ink[r, c] == ink[y, x] and not labels[r, c]:
                        labels[r, c] = len(boxes) + 1
                        waiting.append((r, c))
        rows, columns = zip(*piece, strict=True)
        boxes.append((min(columns), min(rows), max(columns) + 1, max(rows) + 1))
        areas.append(len(piece))
    return labels, np.array(boxes, np.int32).reshape(-1, 4), np.array(areas, np.int32)


# ---- crops

UNIT = 1 << 14  # of the cubic weights


def cubic_weights() -> np.ndarray:
    """Catmull-Rom weights of the four rows around a place, for each 256th between the inner two:
    int64 [256, 4], rows sum to UNIT."""
    t = np.arange(256) / 256.0
    outer = np.floor(UNIT * (0.5 * t * t * (t - 1)) + 0.5).astype(np.int64)  # of the fourth row
    inner = np.floor(UNIT * (0.5 * t * (1 + t * (4 - 3 * t))) + 0.5).astype(np.int64)
    first = np.floor(UNIT * (-0.5 * t * (1 - t) * (1 - t)) + 0.5).astype(np.int64)
    return np.stack([first, UNIT - first - inner - outer, inner, outer], 1)


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
    page_y, page_x = grey.shape
    Y, X = painted.shape
    sixteenth = np.floor(rows.astype(np.float64) * 256 + 0.5).astype(np.int64)
    y = (sixteenth >> 8) + np.arange(height)[:, None]  # [height, width]
    share = sixteenth & 255
    x = np.clip(left + np.arange(len(rows)), 0, page_x - 1)
    weight = cubic_weights()[share]  # [width, 4]
    taps = [grey[np.clip(y + k - 1, 0, page_y - 1), x].astype(np.int64) for k in range(4)]
    value = sum(tap * weight[:, k] for k, tap in enumerate(taps))
    value = np.clip((value + UNIT // 2) // UNIT, 0, 255)
    nearest = np.clip(y + (share >= 128), 0, page_y - 1)
    at = ((2 * nearest + 1) * Y // (2 * page_y), (2 * x + 1) * X // (2 * page_x))
    level = paper[at].astype(np.int64)
    value = np.where(painted[at] != 0, level, value)
    if polarity == TURNED:
        value = 255 - value
    elif polarity == BOTH:
        value = 255 - np.abs(value - level)
    return value.astype(np.uint8)
