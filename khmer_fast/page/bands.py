"""The network's maps to bands: where each line of text runs, without looking at ink.

Lengths are pixels of the network's scale; row and column i cover [i, i + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from khmer_fast.ops import label_ink
from khmer_fast.page import pixels
from khmer_fast.page.parts import STRIDE, Parts, by_group, join, weighted_median

SURE = 0.5  # probability of a cell that belongs to a band
SOFT = 0.1  # and of one at its edge that counts for its height and middle
UNLIKELY = -2.3  # logit under which a cell counts nowhere: its probability is below SOFT
SMALLEST = 1.0  # cells of probability that a band has at least
CURVES = (3.0, 12.0, 30.0)  # letter heights from which a line has a slope, a bend, a wave
AVERAGED = 4.0  # letter heights to both sides that a distance is averaged over
LEAST_REACH = 1.3  # letter heights from a band's middle to the top and bottom of its line's ink
BEYOND = 1.5  # letter heights beyond its band in which a line's ink may stand
FRAGMENT_LETTER = 0.7  # of a larger line's letter height: what is higher is no mark of it
FRAGMENT_LENGTH = 2.0  # of its letter heights
FRAGMENT_SLACK = 0.3  # of its letter heights beyond its reach,
SLACK_LENGTH = 3.0  # unless the band is as many of its own long: a word under a title
MOST_PARTS = 4_000  # of all lines of a page; more is noise, and the largest are kept


@dataclass(frozen=True, eq=False)
class Maps:
    """What the network says of a page, at STRIDE: y = Y/4, x = X/4 cells."""

    band: np.ndarray  # [y, x] float32, logit
    above: np.ndarray  # [y, x] float32, log2(1 + px/4)
    below: np.ndarray  # [y, x] float32
    offset: np.ndarray  # [y, x] float32, px down to the middle of an ink pixel's own band
    rotation: np.ndarray  # [4] float32, probability of a clockwise turn of 0, 90, 180, 270


@dataclass(frozen=True, eq=False)
class Band:
    """One line of text: its middle runs half a letter height above the baseline."""

    middle: np.ndarray  # [P, 2] float32 (x, y), one point a column of cells
    above: np.ndarray  # [P] float32, from the middle to the top of the ink nearby
    below: np.ndarray  # [P] float32, and to its bottom
    letter_height: float
    score: float  # mean probability of its cells

    @property
    def left(self) -> float:
        return float(self.middle[0, 0]) - STRIDE / 2

    @property
    def right(self) -> float:
        return float(self.middle[-1, 0]) + STRIDE / 2


def find_bands(
    maps: Maps, walls: np.ndarray | None = None, least_letter: float = 0.0
) -> list[Band]:
    """The lines of a page, in no particular order.

    walls [W, 3] float32 (x, top, bottom): vertical rules that no line crosses. Lines with letters
    lower than `least_letter` may be left out.
    """
    probability = _probability(maps.band)
    walls = np.zeros((0, 3), np.float32) if walls is None else walls
    for x, top, bottom in walls:
        rows = slice(int(top // STRIDE), int(-(-bottom // STRIDE)))
        probability[rows, int(x // STRIDE)] = 0
    parts = _find_parts(probability, maps)
    if parts.letter.max(initial=0.0) < max(least_letter, 1e-9):  # no joined line has more
        return []
    line_of_part = join(parts, walls, probability)  # [n]
    return without_fragments(_smooth(parts, line_of_part))


def _probability(band: np.ndarray) -> np.ndarray:
    """Of each cell of logits [y, x], 0 where it is too little to count: float32 [y, x]."""
    counted = band > UNLIKELY
    probability = np.zeros_like(band)
    probability[counted] = 1 / (1 + np.exp(-np.minimum(band[counted], 30)))
    return probability


def without_fragments(bands: list[Band]) -> list[Band]:
    """The bands without those that are marks of a larger line: short, low and within its reach."""
    left, right = (np.array([getattr(band, side) for band in bands]) for side in ("left", "right"))
    letter = np.array([band.letter_height for band in bands])
    ends = np.array([(band.middle[0, 1], band.middle[-1, 1]) for band in bands]).reshape(-1, 2)
    reach = np.array([(band.above.max(), band.below.max()) for band in bands]).reshape(-1, 2)
    largest, length = letter.max(initial=0), right - left
    low = (letter <= FRAGMENT_LETTER * largest) & (length <= FRAGMENT_LENGTH * largest)
    # what is low [F, 1] beside every line [n]
    x, y, small, short = (
        values[low, None] for values in ((left + right) / 2, ends.mean(1), letter, length)
    )
    share = np.clip((x - left) / np.maximum(length, STRIDE), 0, 1)
    height = y - (ends[:, 0] + share * (ends[:, 1] - ends[:, 0]))  # under the others' middles
    limit = np.where(height < 0, reach[:, 0], reach[:, 1])
    limit = limit + np.where(short < SLACK_LENGTH * small, FRAGMENT_SLACK * letter, 0)
    larger = (
        (small <= FRAGMENT_LETTER * letter)
        & (short <= FRAGMENT_LENGTH * letter)
        & (x > left)
        & (x < right)
        & (np.abs(height) <= limit)
    )
    fragment = np.zeros(len(bands), bool)
    fragment[low] = larger.any(1)
    return [band for band, part in zip(bands, fragment.tolist(), strict=True) if not part]


def _find_parts(probability: np.ndarray, maps: Maps) -> Parts:
    labels, boxes, _ = label_ink((probability >= SURE).astype(np.uint8))
    # 1. cells at the upper and lower edge count, too: the band is soft
    edge = labels.copy()
    edge[:-1] = np.where(edge[:-1] == 0, labels[1:], edge[:-1])
    edge[1:] = np.where(edge[1:] == 0, labels[:-1], edge[1:])
    row, column = np.nonzero((edge > 0) & (probability >= SOFT))
    at = row * edge.shape[1] + column
    part = edge.ravel()[at] - 1
    p = probability.ravel()[at].astype(np.float64)
    # 2. the large ones
    mass = np.bincount(part, p, minlength=len(boxes))
    order = np.argsort(-mass, kind="stable")[:MOST_PARTS]
    keep = np.zeros(len(boxes), bool)
    keep[order[mass[order] >= SMALLEST]] = True
    number = np.cumsum(keep) - 1  # of a part among those kept
    chosen = keep[part]
    row, column, at, p = row[chosen], column[chosen], at[chosen], p[chosen]
    part = number[part[chosen]]
    boxes = boxes[keep]
    # 3. sums by column
    width = (boxes[:, 2] - boxes[:, 0]).astype(np.int64)
    begin = np.concatenate([[0], np.cumsum(width)])
    place = begin[part] + column - boxes[part, 0]
    total = begin[-1]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values, minlength=total)

    weight = sums(p)
    inside = p * (labels.ravel()[at] > 0)
    inner = np.maximum(sums(inside), 1e-9)
    # 4. by part
    first = begin[:-1]
    owner = np.repeat(np.arange(len(boxes)), width)
    height = STRIDE * weight
    cells = np.bincount(part, inside > 0, minlength=len(boxes))
    return Parts(
        begin=begin,
        x=STRIDE * (np.arange(total) - first[owner] + boxes[owner, 0] + 0.5),
        y=STRIDE * sums(p * (row + 0.5)) / weight,
        height=height,
        weight=weight,
        above=sums(inside * _length(maps.above.ravel()[at])) / inner,
        below=sums(inside * _length(maps.below.ravel()[at])) / inner,
        left=STRIDE * boxes[:, 0].astype(np.float64),
        right=STRIDE * boxes[:, 2].astype(np.float64),
        letter=weighted_median(height, weight, owner, len(boxes)),
        score=np.bincount(part, inside, minlength=len(boxes)) / np.maximum(cells, 1),
    )


def _length(value: np.ndarray) -> np.ndarray:
    """Pixels of a distance map's value."""
    return 4 * (np.exp2(np.clip(value, 0, 10)) - 1)


def _smooth(parts: Parts, line_of_part: np.ndarray) -> list[Band]:
    """Lines with a smooth middle and averaged distances."""
    # 1. columns line by line, left to right
    owner = np.repeat(np.arange(len(line_of_part)), np.diff(parts.begin))
    _, number = np.unique(line_of_part, return_inverse=True)
    number = number.reshape(-1)
    lines = int(number.max()) + 1
    line = number[owner]
    order = by_group(line, parts.x)
    line = line[order]
    x, y, height, weight, above, below = (
        a[order] for a in (parts.x, parts.y, parts.height, parts.weight, parts.above, parts.below)
    )
    begin = np.searchsorted(line, np.arange(lines + 1))
    letter = weighted_median(height, weight, line, lines)
    scores = np.bincount(line, weight * parts.score[owner][order], minlength=lines)
    score = scores / np.bincount(line, weight, minlength=lines)
    # 2. a polynomial of the degree that a line's length bears
    left, right = x[begin[:-1]], x[begin[1:] - 1]
    half = np.maximum((right - left) / 2, STRIDE)
    t = (x - (left + half)[line]) / half[line]
    degree = np.searchsorted(CURVES, (right - left + STRIDE) / letter, side="right")
    page_slope = _page_slope(t, y, weight, half, line, degree, lines)
    base = page_slope * half[line] * t  # short lines follow the page
    flat = degree == 0
    target = np.where(flat[line], y - base, y)
    middle = _fit(t, target, weight, begin, degree, letter)
    middle = np.where(flat[line], middle + base, middle)
    # 3. distances: averages of what is nearby, with a floor
    reach = AVERAGED * letter[line]
    low = np.maximum(np.searchsorted(*_in_line(x, line, x - reach)), begin[line])
    high = np.minimum(np.searchsorted(*_in_line(x, line, x + reach)), begin[line + 1])
    floor = LEAST_REACH * letter[line]
    total = np.concatenate([[0.0], np.cumsum(weight)])
    averages = []
    for values in (above, below):
        sums = np.concatenate([[0.0], np.cumsum(weight * values)])
        averages.append(np.maximum((sums[high] - sums[low]) / (total[high] - total[low]), floor))
    points = np.stack([x, middle], 1).astype(np.float32)
    up, down = (a.astype(np.float32) for a in averages)
    return [
        Band(points[a:b], up[a:b], down[a:b], float(letter[i]), float(score[i]))
        for i, (a, b) in enumerate(zip(begin[:-1], begin[1:], strict=True))
    ]


def _in_line(x: np.ndarray, line: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys of (line, x), and those of (line, wanted): for one search in all lines."""
    width = float(x.max()) + 1.0
    return line * (3 * width) + x, line * (3 * width) + np.clip(wanted, -width, 2 * width)


def _page_slope(t, y, weight, half, line, degree, lines) -> float:  # [N], half, degree [lines]
    """The slope that most of the long lines have; 0 without any."""
    long = degree >= 1
    if not long.any():
        return 0.0
    total = np.bincount(line, weight, minlength=lines)
    mean_t = np.bincount(line, weight * t, minlength=lines) / total
    mean_y = np.bincount(line, weight * y, minlength=lines) / total
    dt = t - mean_t[line]
    spread = np.bincount(line, weight * dt * dt, minlength=lines)
    slope = np.bincount(line, weight * dt * (y - mean_y[line]), minlength=lines)
    slope = slope[long] / spread[long] / half[long]
    return float(weighted_median(slope, total[long], np.zeros(int(long.sum()), np.int64), 1)[0])


def _fit(
    t: np.ndarray,  # [N] place along the line, -1 to 1
    y: np.ndarray,  # [N]
    weight: np.ndarray,  # [N]
    begin: np.ndarray,  # [lines + 1] where a line's columns stand
    degree: np.ndarray,  # [lines]
    letter: np.ndarray,  # [lines]
) -> np.ndarray:  # [N]
    """Each line's polynomial at its own places, hardly moved by columns that stand apart."""
    line = np.repeat(np.arange(len(degree)), np.diff(begin))
    products = np.empty((11, len(t)))  # t^0 to t^6, and y times t^0 to t^3
    products[0] = 1
    for k in range(6):
        np.multiply(products[k], t, out=products[k + 1])
    np.multiply(products[:4], y, out=products[7:])
    trust = np.ones_like(t)
    unused = np.arange(4) > degree[:, None]  # [lines, 4]
    index = np.arange(4)
    for _ in range(3):
        sums = np.add.reduceat(products * (weight * trust), begin[:-1], axis=1).T  # [lines, 11]
        right = sums[:, 7:]
        matrix = sums[:, index[:, None] + index]  # [lines, 4, 4]
        matrix[unused] = 0
        matrix[np.swapaxes(np.broadcast_to(unused[:, :, None], matrix.shape), 1, 2)] = 0
        matrix[:, index, index] += np.where(unused, 1.0, 1e-6 * sums[:, :1])
        right[unused] = 0
        coefficient = np.linalg.solve(matrix, right[:, :, None])[:, :, 0]  # [lines, 4]
        c0, c1, c2, c3 = coefficient[line].T
        fitted = c0 + t * (c1 + t * (c2 + t * c3))
        error = np.abs(y - fitted) / (0.1 * letter[line])
        trust = 1 / np.maximum(error, 1)
    return fitted


def page_slope(bands: Sequence[Band]) -> float:
    """The slope that most of the text has; 0 where all lines are short."""
    long = [band for band in bands if len(band.middle) > 1]
    if not long:
        return 0.0
    run = np.array([band.middle[-1] - band.middle[0] for band in long], np.float64)  # [n, 2]
    middle = weighted_median(run[:, 1] / run[:, 0], run[:, 0], np.zeros(len(run), np.int64), 1)[0]
    return float(middle) if run[:, 0].max() > 6 * min(b.letter_height for b in long) else 0.0


def columns_of(bands: list[Band], Y: int, X: int) -> pixels.Columns:
    """The bands by columns of pixels of a page [Y, X], straight on beyond their ends."""
    left, begin, inner, middles, aboves, belows = [], [0], [], [], [], []
    for band in bands:
        from_x = min(max(int(band.left), 0), X - 1)
        to_x = max(min(int(np.ceil(band.right)), X), from_x + 1)
        reach = int(np.ceil(BEYOND * band.letter_height))
        first, end = max(from_x - reach, 0), min(to_x + reach, X)
        x = np.arange(first, end) + 0.5
        points = band.middle
        slope_left, slope_right = _end_slopes(band)
        middle = np.interp(x, points[:, 0], points[:, 1])
        middle += slope_left * np.minimum(x - points[0, 0], 0)
        middle += slope_right * np.maximum(x - points[-1, 0], 0)
        left.append(first)
        begin.append(begin[-1] + end - first)
        inner.append((from_x, to_x))
        middles.append(middle)
        aboves.append(np.interp(x, points[:, 0], band.above))
        belows.append(np.interp(x, points[:, 0], band.below))

    def joined(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.zeros(0), *values]).astype(np.float32)

    return pixels.Columns(
        np.array(left, np.int32),
        np.array(begin, np.int64),
        np.array(inner, np.int32).reshape(-1, 2),
        np.array([band.letter_height for band in bands], np.float32),
        joined(middles),
        joined(aboves),
        joined(belows),
    )


def _end_slopes(band: Band) -> tuple[float, float]:
    """Slope of the middle at both ends, over a few letter heights."""
    points = band.middle
    count = min(len(points) - 1, max(1, int(4 * band.letter_height / STRIDE)))
    if count < 1:
        return 0.0, 0.0
    run = float(points[count, 0] - points[0, 0]), float(points[-1, 0] - points[-1 - count, 0])
    rise = float(points[count, 1] - points[0, 1]), float(points[-1, 1] - points[-1 - count, 1])
    return rise[0] / run[0], rise[1] / run[1]
