"""What csrc/cpu/page_words.cpp does, in plain numpy: a line's words and characters on its page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from khmer_fast.document import Box

SEARCHED = 1.0  # letter heights to both sides of a border in which a gap of the ink is looked for


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
    """Boxes in a crop to those on the page, round their ink and within the line's."""
    ink = _InkColumns(left, step, top, bottom, letter_height)
    words = _page_boxes(words, crop_left, rows)
    borders = _borders(words, ink)
    inked, some = ink.boxes(borders[:-1], borders[1:])
    words[some] = inked
    boxes = _page_boxes(characters, crop_left, rows)
    first = np.floor(ink.column(boxes[:, 0])).astype(np.int64)
    end = np.ceil(ink.column(boxes[:, 2])).astype(np.int64)
    inked, some = ink.boxes(first, end)
    # as wide as it was looked at, at most; as high as its ink
    x0 = np.maximum(boxes[some, 0], inked[:, 0])
    x1 = np.maximum(np.minimum(boxes[some, 2], inked[:, 2]), x0 + 1)
    boxes[some] = np.stack([x0, inked[:, 1], x1, inked[:, 3]], 1)
    return _within(words, line), _within(boxes, line)


@dataclass(frozen=True, eq=False)
class _InkColumns:
    """A line's ink by columns: n of them from page pixel `left` on, `step` page pixels each."""

    left: float
    step: float
    top: np.ndarray  # [n] float64, page row of the first ink; inf where there is none
    bottom: np.ndarray  # [n] float64, of the last; -inf where there is none
    letter_height: float  # page pixels

    def column(self, x: np.ndarray) -> np.ndarray:
        """Column of page pixels x."""
        return (x - self.left) / self.step

    def boxes(self, first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The page's boxes of the ink in columns first to end (exclusive), int [k] both: int
        [k, 4], and whether there is any, bool [k]."""
        n = len(self.top)
        first = np.clip(first, 0, n - 1)
        end = np.clip(end, first + 1, n)
        inked = np.isfinite(self.top)
        at = np.arange(n)
        following = np.minimum.accumulate(np.where(inked, at, n)[::-1])[::-1]
        before = np.maximum.accumulate(np.where(inked, at, -1))
        low, high = following[first], before[end - 1]
        some = low <= high
        return (
            np.stack(
                [
                    np.floor(self.left + self.step * low),
                    np.floor(_in_ranges(np.minimum, self.top, first, end)),
                    np.ceil(self.left + self.step * (high + 1)),
                    np.ceil(_in_ranges(np.maximum, self.bottom, first, end)),
                ],
                1,
            )[some].astype(np.int64),
            some,
        )


def _in_ranges(
    extreme: np.ufunc, values: np.ndarray, first: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """Minimum or maximum of values [n] in each range first to end (exclusive), int [k] both."""
    bounds = np.stack([first, end], 1).reshape(-1)  # every second stretch is a range
    return extreme.reduceat(np.append(values, values[-1:]), bounds)[::2]


def _within(boxes: np.ndarray, line: Box) -> np.ndarray:
    """Boxes [k, 4], each cut off where it leaves the line's and at least a pixel large."""
    left, top, right, bottom = line
    low = np.clip(boxes[:, :2], (left, top), (right - 1, bottom - 1))
    high = np.clip(boxes[:, 2:], low + 1, (right, bottom))
    return np.concatenate([low, high], 1)


def _page_boxes(edges: np.ndarray, left: int, rows: np.ndarray) -> np.ndarray:
    """Boxes in the crop to those on the page, which follow the line where it is not level:
    int64 [k, 4] both."""
    first = np.clip(edges[:, 0], 0, len(rows) - 1)
    end = np.clip(edges[:, 2], first + 1, len(rows))
    return np.stack(
        [
            left + edges[:, 0],
            np.floor(edges[:, 1] + _in_ranges(np.minimum, rows, first, end)),
            left + edges[:, 2],
            np.ceil(edges[:, 3] + _in_ranges(np.maximum, rows, first, end)),
        ],
        1,
    ).astype(np.int64)


def _borders(words: np.ndarray, ink: _InkColumns) -> np.ndarray:
    """Columns between the words [k, 4], int64 [k + 1]: each in the widest gap nearby."""
    count = len(ink.top)
    blank = ~np.isfinite(ink.top)
    reach = max(1, round(SEARCHED * ink.letter_height / ink.step))
    borders = [0]
    for x in ink.column((words[:-1, 2] + words[1:, 0]) / 2).tolist():
        at = min(max(round(x), borders[-1]), count)
        low, high = max(at - reach, borders[-1]), min(at + reach, count)
        borders.append(_widest_gap(blank, low, high, at))
    borders.append(count)
    return np.array(borders if len(words) else [0])


def _widest_gap(blank: np.ndarray, low: int, high: int, at: int) -> int:
    """The middle of the widest run of blank columns in low to high, or rather of a nearer one; `at`
    without any."""
    inside = np.zeros(high - low + 2, np.int8)
    inside[1:-1] = blank[low:high]
    edges = np.flatnonzero(np.diff(inside))
    if not len(edges):
        return at
    starts, ends = edges[::2] + low, edges[1::2] + low
    middles = (starts + ends) // 2
    score = (ends - starts) - 0.5 * np.abs(middles - at)
    return int(middles[int(score.argmax())])
