"""Where the words and characters of a line stand on its page: crop's boxes > boxes of their ink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from khmer_fast.document import Box, Character, Line, Word
from khmer_fast.page import pixels
from khmer_fast.page.crops import Crop
from khmer_fast.page.find import FoundPage


@dataclass(frozen=True, eq=False)
class InkColumns:
    """A line's ink by columns: n of them from page pixel `left` on, `step` page pixels each."""

    left: float
    step: float
    top: np.ndarray  # [n] float64, page row of the first ink; inf where there is none
    bottom: np.ndarray  # [n] float64, of the last; -inf where there is none
    letter_height: float  # page pixels


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
    which is the line's. Words end in the widest gap near the border that the reader saw."""
    known = [i for i, character in enumerate(line.characters) if character.box is not None]
    words, boxes = pixels.place_boxes(
        _edges([word.box for word in line.words]),
        _edges([line.characters[i].box for i in known]),
        crop.left,
        crop.rows,
        ink.left,
        ink.step,
        ink.letter_height,
        ink.top,
        ink.bottom,
        box,
    )
    characters = list(line.characters)
    for i, place in zip(known, boxes.tolist(), strict=True):
        characters[i] = Character(characters[i].text, characters[i].confidence, tuple(place))
    return replace(
        line,
        words=tuple(
            Word(word.text, word.confidence, tuple(place))
            for word, place in zip(line.words, words.tolist(), strict=True)
        ),
        characters=tuple(characters),
    )


def _edges(boxes: Sequence[Box | None]) -> np.ndarray:
    """Boxes as int64 [k, 4]."""
    return np.array(boxes, np.int64).reshape(-1, 4)
