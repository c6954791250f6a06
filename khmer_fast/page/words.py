"""Where the words and characters of a line stand on its page: crop's boxes > boxes of their ink."""

from __future__ import annotations

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

    def column(self, x: float) -> float:
        """Column of page pixel x."""
        return (x - self.left) / self.step

    def box(self, first: int, end: int) -> Box | None:
        """The page's box of the ink in columns first to end (exclusive), None without any."""
        inked = np.flatnonzero(np.isfinite(self.top[first:end])) + first
        if not len(inked):
            return None
        return (
            int(np.floor(self.left + self.step * inked[0])),
            int(np.floor(self.top[inked].min())),
            int(np.ceil(self.left + self.step * (inked[-1] + 1))),
            int(np.ceil(self.bottom[inked].max())),
        )


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


def place_line(line: Line, crop: Crop, ink: InkColumns) -> Line:
    """The line with its words' and characters' boxes on the page, round their ink."""
    words = [_page_box(word.box, crop) for word in line.words]
    borders = _borders(words, ink)
    placed = []
    for word, box, first, end in zip(line.words, words, borders[:-1], borders[1:], strict=True):
        placed.append(Word(word.text, word.confidence, ink.box(first, end) or box))
    characters = tuple(
        character if character.box is None else _placed(character, crop, ink)
        for character in line.characters
    )
    return replace(line, words=tuple(placed), characters=characters)


def _page_box(box: Box, crop: Crop) -> Box:
    return crop.box_on_page(*box)


def _placed(character: Character, crop: Crop, ink: InkColumns) -> Character:
    box = _page_box(character.box, crop)
    first = max(int(np.floor(ink.column(box[0]))), 0)
    end = int(np.ceil(ink.column(box[2])))
    inked = ink.box(first, end)
    if inked is None:
        return replace(character, box=box)
    # as wide as it was looked at, at most; as high as its ink
    left, right = max(box[0], inked[0]), min(box[2], inked[2])
    return replace(character, box=(left, inked[1], max(right, left + 1), inked[3]))


def _borders(words: list[Box], ink: InkColumns) -> list[int]:
    """Columns between the words, [words + 1]: each in the middle of the widest gap nearby."""
    count = len(ink.top)
    blank = ~np.isfinite(ink.top)
    reach = max(1, round(SEARCHED * ink.letter_height / ink.step))
    borders = [0]
    for left, right in zip(words[:-1], words[1:], strict=True):
        at = round(ink.column((left[2] + right[0]) / 2))
        at = min(max(at, borders[-1]), count)
        low, high = max(at - reach, borders[-1]), min(at + reach, count)
        borders.append(_widest_gap(blank, low, high, at))
    borders.append(count)
    return borders if words else [0]


def _widest_gap(blank: np.ndarray, low: int, high: int, at: int) -> int:
    """The middle of the widest run of blank columns in low to high; `at` without any."""
    inside = np.concatenate([[False], blank[low:high], [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    if not len(edges):
        return at
    starts, ends = edges[::2] + low, edges[1::2] + low
    middles = (starts + ends) // 2
    score = (ends - starts) - 0.5 * np.abs(middles - at)
    return int(middles[int(score.argmax())])
