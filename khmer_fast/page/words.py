"""Where the words and characters of a line stand on its page: crop's boxes > boxes of their ink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from khmer_fast.document import Box, Character, Line, Word
from khmer_fast.page.crops import Crop
from khmer_fast.page.find import FoundPage

SEARCHED = 1.0  # letter heights to both sides of a border in which a gap of the ink is looked for


@dataclass(frozen=True, eq=False)
class InkColumns:
    """A line's ink by columns: n of them from page pixel `left` on, `step` page pixels each."""

    left: float
    step: float
    top: np.ndarray  # [n] float32, page row of the first ink; inf where there is none
    bottom: np.ndarray  # [n] float32, of the last; -inf where there is none
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


def ink_columns(found: FoundPage, number: int) -> InkColumns:
    """A line's ink in pixels of the page as it is cut."""
    ink, owners = found.inks[number], found.owners
    Y, X = owners.owners.shape
    scale_x, scale_y = found.grey.shape[1] / X, found.grey.shape[0] / Y
    place = owners.columns.of(ink.index)
    start = place.start - int(owners.columns.left[ink.index])
    own = slice(start + ink.first, start + ink.end)
    inked = owners.bottom[own] > 0
    return InkColumns(
        left=ink.first * scale_x,
        step=scale_x,
        top=np.where(inked, owners.top[own] * scale_y, np.inf),
        bottom=np.where(inked, owners.bottom[own] * scale_y, -np.inf),
        letter_height=float(owners.columns.letter[ink.index]) * scale_y,
    )


def place_line(line: Line, crop: Crop, ink: InkColumns, box: Box) -> Line:
    """The line with its words' and characters' boxes on the page, round their ink and within `box`,
    which is the line's."""
    words = _page_boxes([word.box for word in line.words], crop)
    borders = _borders(words, ink)
    inked, some = ink.boxes(borders[:-1], borders[1:])
    words[some] = inked
    known = [i for i, character in enumerate(line.characters) if character.box is not None]
    boxes = _page_boxes([line.characters[i].box for i in known], crop)
    first = np.floor(ink.column(boxes[:, 0])).astype(np.int64)
    end = np.ceil(ink.column(boxes[:, 2])).astype(np.int64)
    inked, some = ink.boxes(first, end)
    # as wide as it was looked at, at most; as high as its ink
    left = np.maximum(boxes[some, 0], inked[:, 0])
    right = np.maximum(np.minimum(boxes[some, 2], inked[:, 2]), left + 1)
    boxes[some] = np.stack([left, inked[:, 1], right, inked[:, 3]], 1)
    characters = list(line.characters)
    for i, place in zip(known, _within(boxes, box), strict=True):
        characters[i] = Character(characters[i].text, characters[i].confidence, place)
    return replace(
        line,
        words=tuple(
            Word(word.text, word.confidence, place)
            for word, place in zip(line.words, _within(words, box), strict=True)
        ),
        characters=tuple(characters),
    )


def _within(boxes: np.ndarray, box: Box) -> list[Box]:
    """Boxes [k, 4], each cut off where it leaves `box` and at least a pixel large."""
    left, top, right, bottom = box
    low = np.clip(boxes[:, :2], (left, top), (right - 1, bottom - 1))
    high = np.clip(boxes[:, 2:], low + 1, (right, bottom))
    return [tuple(edges) for edges in np.concatenate([low, high], 1).tolist()]


def _page_boxes(boxes: Sequence[Box | None], crop: Crop) -> np.ndarray:
    """Boxes in the crop to those on the page, which follow the line where it is not level:
    int64 [k, 4]."""
    edges = np.array(boxes, np.int64).reshape(-1, 4)
    first = np.clip(edges[:, 0], 0, len(crop.rows) - 1)
    end = np.clip(edges[:, 2], first + 1, len(crop.rows))
    return np.stack(
        [
            crop.left + edges[:, 0],
            np.floor(edges[:, 1] + _in_ranges(np.minimum, crop.rows, first, end)),
            crop.left + edges[:, 2],
            np.ceil(edges[:, 3] + _in_ranges(np.maximum, crop.rows, first, end)),
        ],
        1,
    ).astype(np.int64)


def _borders(words: np.ndarray, ink: InkColumns) -> np.ndarray:
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
