"""Crops to train and measure the segmenter on: functions of (seed, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from khmer_fast.train.page_targets import PageCrop, Window, page_crop

LONG_SIDE = (1000, 1300)  # of a page as the network sees it, px
ENLARGED = 2.0  # at most
CROP = (640, 768)  # Y, X of a training crop
CROPS_PER_PAGE = 4  # rendering a page costs as much as learning from these
BEYOND = 48  # px of paper that a crop may show beyond the page
LARGE = 20.0  # letter height in px from which a line is worth a page at a smaller scale
SMALLER_SHARE = 0.3  # of the pages with such lines
TURNED_SHARE = 0.25
UPSIDE_DOWN = 0.5  # of those: the turn that is hardest to tell from none
INVERTED_SHARE = 0.04
CONTRAST_SHARE = 0.5
FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.HAMMING)


class CropDataset:
    """Sample `i` of training: a crop of page `i // CROPS_PER_PAGE` of the source.

    `source` has sample(seed, index) -> PageSample, a pure function.
    """

    def __init__(self, source: Any, seed: int):
        self.source, self.seed = source, seed
        self._page: tuple[int, Any] | None = None  # the last one, with its number

    def __getitem__(self, index: int) -> PageCrop:
        number = index // CROPS_PER_PAGE
        if self._page is None or self._page[0] != number:
            self._page = number, self.source.sample(self.seed, number)
        return draw_crop(self._page[1], np.random.default_rng((self.seed, index, 1)))

    def order(self, crops: Sequence[PageCrop], epoch: int, pool: int) -> list[int]:
        """How the crops of a pool are mixed: neighbours are of one page."""
        rng = np.random.default_rng((self.seed, epoch, pool, 1))
        return rng.permutation(len(crops)).tolist()


def draw_crop(page: Any, rng: np.random.Generator, shape: tuple[int, int] = CROP) -> PageCrop:
    """A crop [Y, X] = `shape` of a PageSample, its scale, place and contrast drawn at random."""
    rows, columns = page.image.shape
    scale = min(rng.uniform(*LONG_SIDE) / max(rows, columns), ENLARGED)
    largest = max((line.letter_height for line in page.lines), default=0.0) * scale
    if largest > LARGE and rng.random() < SMALLER_SHARE:
        scale *= 2 ** -rng.uniform(0.5, 2.2)
    turn = _turn(rng) if rng.random() < TURNED_SHARE else 0
    height, width = shape if turn % 2 == 0 else shape[::-1]
    window = Window(
        scale,
        _begin(rng, columns * scale, width),
        _begin(rng, rows * scale, height),
        width,
        height,
    )
    crop = page_crop(page, window, turn, FILTERS[rng.integers(len(FILTERS))])
    return PageCrop(_contrast(crop.image, rng), crop.maps, crop.weight, crop.rotation, crop.line)


def whole_page(page: Any, long_side: int = 1280) -> PageCrop:
    """A page as reading sees it, its sides filled up with paper to multiples of 32."""
    rows, columns = page.image.shape
    scale = min(long_side / max(rows, columns), ENLARGED)
    height, width = (-(-int(side * scale) // 32) * 32 for side in (rows, columns))
    return page_crop(page, Window(scale, 0, 0, width, height))


def _turn(rng: np.random.Generator) -> int:
    """1 to 3 quarters."""
    return 2 if rng.random() < UPSIDE_DOWN else int(rng.choice((1, 3)))


def _begin(rng: np.random.Generator, page: float, crop: int) -> int:
    """Where a crop of `crop` px begins on a page of `page` px."""
    low, high = sorted((-BEYOND, int(page) + BEYOND - crop))
    return int(rng.integers(low, high + 1))


def _contrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other blacks, whites and gammas than the renderer's, by a table: uint8 [Y, X]."""
    table = np.arange(256) / 255
    if rng.random() < CONTRAST_SHARE:
        table = table**2 ** rng.uniform(-0.7, 0.7)
        black, white = rng.uniform(0, 0.25), rng.uniform(0.75, 1)
        table = black + (white - black) * table
    if rng.random() < INVERTED_SHARE:
        table = 1 - table
    return (table * 255 + 0.5).astype(np.uint8)[image]
