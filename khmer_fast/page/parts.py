"""Connected parts of bands, and which of them are one line.

Lengths are pixels of the network's scale.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

STRIDE = 4  # network pixels of a cell of the maps
JOINED_GAP = 1.0  # letter heights between two parts of one line
FAINT_GAP = 1.8  # and where the network saw a little of a band all along
TITLE, TITLE_GAP = 1.5, 2.0  # and in type so many times as large as most of the page's
JOINED_STEP = 0.35  # letter heights from one part's middle to the other's
JOINED_RATIO = 1.6  # of their letter heights
SHORT, SHORT_RATIO = 2.5, 2.5  # the same where the lower part is no longer than so many of them
END = 6.0  # letter heights of a part that tell where its line leads
PAGE_SLOPE = 3.0  # letter heights of a line that the page's own slope counts as


@dataclass(frozen=True, eq=False)
class Parts:
    """Connected parts of bands and their columns of cells, part by part: n parts, N columns."""

    begin: np.ndarray  # [n + 1] int64 where a part's columns stand
    x: np.ndarray  # [N] middles of the columns
    y: np.ndarray  # [N] middles of the band there
    height: np.ndarray  # [N] of the band
    weight: np.ndarray  # [N] cells of probability
    above: np.ndarray  # [N]
    below: np.ndarray  # [N]
    left: np.ndarray  # [n]
    right: np.ndarray  # [n]
    letter: np.ndarray  # [n]
    score: np.ndarray  # [n]


def by_group(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The order of groups, each by its values, as np.lexsort has it: group [N] below 65,536 and
    values [N] -> int64 [N]."""
    order = np.argsort(values, kind="stable")
    return order[np.argsort(group[order].astype(np.uint16), kind="stable")]  # radix sort


def weighted_median(
    values: np.ndarray, weight: np.ndarray, group: np.ndarray, groups: int
) -> np.ndarray:
    """Weighted median of the values of each group: [N] three times -> [groups]."""
    order = by_group(group, values)
    total = np.cumsum(weight[order])
    size = np.bincount(group, minlength=groups)
    last = np.cumsum(size) - 1
    before = np.concatenate([[0.0], total[last[:-1]]])
    at = np.searchsorted(total, before + (total[last] - before) / 2)
    return values[order][np.clip(at, last - size + 1, last)]


def join(parts: Parts, walls: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The line that each part belongs to, [n] int64: parts that follow each other are joined.

    probability [y, x]: of each cell, 0 where it is too little to count."""
    n = len(parts.letter)
    slope = _page_tilt(parts)
    whole = np.zeros(n, np.int64)
    body = weighted_median(parts.letter, parts.right - parts.left, whole, 1)[0] if n else 0.0
    starts_at, ends_at = _end(parts, right=False), _end(parts, right=True)
    order = np.argsort(parts.left, kind="stable").tolist()
    line = np.arange(n)
    taken = [False] * n  # has a part to its left
    starts = parts.left[order].tolist()
    # each part's right end looks for the nearest part that goes on there
    for i in np.argsort(parts.right, kind="stable").tolist():
        right, letter = float(parts.right[i]), float(parts.letter[i])
        low = bisect_left(starts, right - 0.5 * letter)
        high = bisect_left(starts, right + 3 * JOINED_GAP * letter)
        candidates = np.array([j for j in order[low:high] if j != i and not taken[j]], np.int64)
        if not len(candidates):
            continue
        other = parts.letter[candidates]
        larger = np.maximum(letter, other)  # short parts look lower than they are
        gap = parts.left[candidates] - parts.right[i]
        lower = np.where(other < letter, candidates, i)
        short = parts.right[lower] - parts.left[lower] < SHORT * larger
        ratio = np.where(short, SHORT_RATIO, JOINED_RATIO)
        step = _step(ends_at, i, starts_at, candidates, larger, slope)
        close = np.where(larger >= TITLE * body, TITLE_GAP, JOINED_GAP) * larger + STRIDE / 2
        fits = (
            (gap <= np.maximum(close, FAINT_GAP * larger + STRIDE / 2))
            & (step <= JOINED_STEP * larger)
            & (larger <= ratio * np.minimum(letter, other))
            & (parts.right[candidates] > parts.right[i])
        )
        for k in np.flatnonzero(fits & (gap > close)):
            j = candidates[k]
            heights = ends_at.y[i], starts_at.y[j]
            fits[k] = _seen_between(probability, parts.right[i], parts.left[j], heights, larger[k])
        for j in candidates[fits][np.argsort(gap[fits] + 4 * step[fits], kind="stable")][:1]:
            between = (walls[:, 0] >= parts.right[i] - STRIDE) & (
                walls[:, 0] <= parts.left[j] + STRIDE
            )
            y = ends_at.y[i]
            if (between & (walls[:, 1] < y) & (walls[:, 2] > y)).any():
                continue
            taken[j] = True
            line[j] = i
    for i in order:  # a part's line is that of the part to its left, and so on
        line[i] = line[line[i]] if line[i] != i else i
    return line


def _seen_between(
    probability: np.ndarray,  # [y, x]
    left: float,
    right: float,
    heights: tuple[float, float],
    letter: float,
) -> bool:
    """Whether each column of a gap has a cell that counts, near the heights of both its ends."""
    top, bottom = min(heights) - letter / 2, max(heights) + letter / 2
    rows = slice(max(int(top // STRIDE), 0), int(bottom // STRIDE) + 1)
    gap = probability[rows, int(left // STRIDE) : int(right // STRIDE)]
    return bool((gap > 0).any(0).all())


@dataclass(frozen=True, eq=False)
class _End:
    """The last few letters of parts at one end: [n] each."""

    x: np.ndarray  # their mean
    y: np.ndarray
    weight: np.ndarray
    spread: np.ndarray  # weighted squares of x about the mean
    tilt: np.ndarray  # and products with y: the slope times the spread


def _end(parts: Parts, right: bool, letters: float = END) -> _End:
    """The ends of all parts, `letters` letter heights long: a bent line's slope is that nearby."""
    n = len(parts.letter)
    owner = np.repeat(np.arange(n), np.diff(parts.begin))
    reach = letters * parts.letter
    if right:
        near = parts.x >= (parts.right - reach)[owner] - STRIDE
    else:
        near = parts.x <= (parts.left + reach)[owner] + STRIDE
    weight = np.where(near, parts.weight, 0.0)
    total = np.bincount(owner, weight, minlength=n)
    mean_x = np.bincount(owner, weight * parts.x, minlength=n) / total
    mean_y = np.bincount(owner, weight * parts.y, minlength=n) / total
    dx = parts.x - mean_x[owner]
    spread = np.bincount(owner, weight * dx * dx, minlength=n)
    tilt = np.bincount(owner, weight * dx * (parts.y - mean_y[owner]), minlength=n)
    return _End(mean_x, mean_y, total, spread, tilt)


def _page_tilt(parts: Parts) -> float:
    """The slope of most of the page's text, the longest parts counting most."""
    whole = _end(parts, right=False, letters=np.inf)
    slope = whole.tilt / np.maximum(whole.spread, 1e-9)
    weight = whole.weight * (parts.right - parts.left) ** 2 + 1e-9
    return float(weighted_median(slope, weight, np.zeros(len(slope), np.int64), 1)[0])


def _step(
    ends: _End,
    i: int,
    starts: _End,
    others: np.ndarray,  # [k]
    letter: np.ndarray,  # [k]
    page: float,
) -> np.ndarray:  # [k]
    """How far the starts of other parts lie above or below where the end of part i leads. Both say
    where the line leads, and the page's slope where they are short."""
    prior = (ends.weight[i] + starts.weight[others]) * (PAGE_SLOPE * letter) ** 2 / 12
    spread = ends.spread[i] + starts.spread[others] + prior
    slope = (ends.tilt[i] + starts.tilt[others] + prior * page) / spread
    return np.abs(starts.y[others] - ends.y[i] - slope * (starts.x[others] - ends.x[i]))
