"""Pages that the page tests draw: letters as boxes with marks over and under them, owners known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from khmer_fast.page.bands import Maps, columns_of, find_bands
from khmer_fast.page.parts import STRIDE
from khmer_fast.page.pixels import Columns


@dataclass
class DrawnLine:
    """Letters from x0 to x1 on the baseline y(x); some have marks above, some subscripts."""

    x0: int
    x1: int
    baseline: Callable[[float], float]
    letter: int = 12
    subscript: float = 0.7  # letter heights below the baseline of every third letter's subscript
    vowel: float = 0.6  # letter heights above the letter of every second letter's mark
    grey: int = 20


@dataclass
class DrawnPage:
    """uint8 grey [Y, X], uint16 owner [Y, X] (line + 1), and the maps of a perfect network."""

    height: int
    width: int
    paper: int = 240
    lines: list[DrawnLine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grey = np.full((self.height, self.width), self.paper, np.uint8)
        self.owner = np.zeros((self.height, self.width), np.uint16)
        for i, line in enumerate(self.lines):
            self._draw(line, i + 1)

    def box(self, left: float, top: float, right: float, bottom: float, grey: int, owner: int = 0):
        """Fills a rectangle."""
        place = (slice(round(top), round(bottom)), slice(round(left), round(right)))
        self.grey[place] = grey
        self.owner[place] = owner

    def _draw(self, line: DrawnLine, owner: int) -> None:
        h = line.letter
        pitch = round(0.9 * h)
        for k, x in enumerate(range(line.x0, line.x1 - round(0.6 * h) + 1, pitch)):
            y = line.baseline(x + 0.3 * h)
            right = x + round(0.6 * h)
            ink = (line.grey, owner)
            # a letter: two posts and a roof; its subscript hangs on it, its vowel stands apart
            self.box(x, y - h, right, y - h + 2, *ink)
            self.box(x, y - h, x + 2, y, *ink)
            self.box(right - 2, y - h, right, y, *ink)
            if k % 3 == 1:
                bottom = y + line.subscript * h
                self.box(right - 2, y, right, bottom, *ink)
                self.box(x, bottom - 2, right, bottom, *ink)
            if k % 2 == 1:
                top = y - h - line.vowel * h
                self.box(x, top, right, top + max(2, 0.25 * h), *ink)

    def maps(self) -> Maps:
        """What a network that makes no mistake says."""
        y, x = -(-self.height // STRIDE), -(-self.width // STRIDE)
        band = np.zeros((y, x))
        above, below, offset = np.zeros((y, x)), np.zeros((y, x)), np.zeros((y, x))
        row = STRIDE * (np.arange(y) + 0.5)[:, None]
        column = STRIDE * (np.arange(x) + 0.5)
        for i, line in enumerate(self.lines):
            middle = np.array([line.baseline(c) for c in column]) - line.letter / 2
            along = np.clip(
                (np.minimum(line.x1, column + 2) - np.maximum(line.x0, column - 2)) / STRIDE, 0, 1
            )
            share = np.clip((line.letter / 2 - np.abs(row - middle)) / STRIDE + 0.5, 0, 1) * along
            mine = share > band
            band = np.maximum(band, share)
            up, down = (0.5 + line.vowel) * line.letter, (0.5 + line.subscript) * line.letter
            above = np.where(mine, np.log2(1 + up / 4), above)
            below = np.where(mine, np.log2(1 + down / 4), below)
            padded = np.zeros((STRIDE * y, STRIDE * x), bool)
            padded[: self.height, : self.width] = self.owner == i + 1
            inked = padded.reshape(y, STRIDE, x, STRIDE).any((1, 3))
            offset = np.where(inked, middle - row, offset)
        band = np.clip(band, 1e-4, 1 - 1e-4)
        return Maps(
            np.log(band / (1 - band)).astype(np.float32),
            above.astype(np.float32),
            below.astype(np.float32),
            offset.astype(np.float32),
            np.array([1, 0, 0, 0], np.float32),
        )


def columns_in(page: DrawnPage) -> Columns:
    """The bands of a page's maps by columns."""
    return columns_of(find_bands(page.maps()), *page.grey.shape)


def level(y: float) -> Callable[[float], float]:
    """A baseline that is level."""
    return lambda x: y
