"""The compiled pixel steps of pages against their plain reference: equal to the bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from khmer_fast.ops import label_ink
from khmer_fast.page import owners_reference, pixels, pixels_reference
from khmer_fast.page.bands import columns_of, find_bands
from khmer_fast.page.ink import assign_ink, find_ink
from tests.page_drawings import DrawnLine, DrawnPage, level

NO_LINES = columns_of([], 20, 20)
NOTHING = np.zeros(0, np.uint8), np.zeros(0, np.uint8)
SHAPES = [(1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (64, 100)]


def noisy(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Paper with a gradient, blots of both colours and grain: uint8 [Y, X]."""
    rng = np.random.default_rng(seed)
    Y, X = shape
    grey = 140 + 80 * np.arange(X)[None, :] / X + rng.normal(0, 4, shape)
    for _ in range(max(1, Y * X // 300)):
        y, x, h, w = rng.integers(0, Y), rng.integers(0, X), *rng.integers(1, 9, 2)
        grey[y : y + h, x : x + w] = rng.choice([10, 60, 255])
    return np.clip(grey, 0, 255).astype(np.uint8)


def blots(shape: tuple[int, int], seed: int, share: float, kinds: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ink = rng.integers(1, kinds + 1, shape) * (rng.random(shape) < share)
    return ink.astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (300, 7), (61, 97), (700, 3)])
def test_shrunk_pages_equal_the_reference_and_pillow(shape):
    rng = np.random.default_rng(7)
    grey = rng.integers(0, 256, shape, np.uint8)
    for part in (1.0, 0.9, 0.5, 0.365, 0.01):
        Y, X = (max(1, round(part * n)) for n in shape)
        small = pixels.shrink(grey, Y, X)
        np.testing.assert_array_equal(small, pixels_reference.shrink(grey, Y, X))
        pillow = np.asarray(Image.fromarray(grey).resize((X, Y), Image.Resampling.BOX))
        # but for columns whose middle is exactly on an edge
        assert (np.abs(small.astype(int) - pillow) <= 1).mean() > 0.94


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_paper_and_ink_equal_the_reference(shape, seed):
    grey = noisy(shape, seed)
    got = pixels.estimate_paper(grey)
    expected = pixels_reference.estimate_paper(grey)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    rules = np.random.default_rng(seed).random(shape) < 0.2
    arguments = (grey, *got, NO_LINES, *NOTHING, rules)
    found = pixels.find_ink(*arguments)
    for a, b in zip(found, pixels_reference.find_ink(*arguments), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found[1], pixels_reference.spread(got[0], *shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_pieces_equal_the_reference(shape, share):
    for kinds in (1, 3):
        ink = blots(shape, 5, share, kinds)
        for a, b in zip(label_ink(ink), pixels_reference.label(ink), strict=True):
            np.testing.assert_array_equal(a, b)


def crowded_page(seed: int) -> DrawnPage:
    """Two tight lines and a short one, with blots, bars and joints between them."""
    rng = np.random.default_rng(seed)
    slope = rng.uniform(-0.04, 0.04)
    page = DrawnPage(
        110,
        150,
        lines=[
            DrawnLine(6, 140, lambda x: 30 + slope * x, letter=10, subscript=0.9),
            DrawnLine(10, 120, lambda x: 56 + slope * x, letter=10, vowel=0.9),
            DrawnLine(20, 60, level(92), letter=14, grey=255),
        ],
    )
    for _ in range(6):
        x, y = rng.integers(0, 145), rng.integers(0, 105)
        w, h = rng.choice([(2, 40), (30, 2), (2, 2), (1, 1), (6, 20)])
        page.box(x, y, x + w, y + h, 20)
    return page


def ink_of(page: DrawnPage, columns: pixels.Columns, rules: np.ndarray) -> np.ndarray:
    """Ink of a page, compared with the reference's: uint8 [Y, X]."""
    line_paper = pixels.line_paper(page.grey, columns)
    for a, b in zip(line_paper, pixels_reference.line_paper(page.grey, columns), strict=True):
        np.testing.assert_array_equal(a, b)
    arguments = (page.grey, *pixels.estimate_paper(page.grey), columns, *line_paper, rules)
    found = pixels.find_ink(*arguments)
    for a, b in zip(found, pixels_reference.find_ink(*arguments), strict=True):
        np.testing.assert_array_equal(a, b)
    return found[0]


@pytest.mark.parametrize("seed", range(12))
def test_owners_equal_the_reference(seed):
    page = crowded_page(seed)
    rng = np.random.default_rng(seed)
    maps = page.maps()
    offset = maps.offset + rng.normal(0, 3, maps.offset.shape).astype(np.float32)
    columns = columns_of(find_bands(maps), *page.grey.shape)
    rules = np.zeros(page.grey.shape, bool)
    rules[70:72] = True
    ink = ink_of(page, columns, rules)
    pieces = label_ink(ink)
    owners, painted, top, bottom, counts, band, unread = pixels.assign_ink(
        ink, *pieces, offset, columns
    )
    np.testing.assert_array_equal(
        owners, owners_reference.assign_ink(ink, *pieces, offset, columns)
    )
    assert len(np.unique(owners)) >= 4  # paper and all lines
    np.testing.assert_array_equal(painted, owners_reference.paint_mask(owners))
    extents = owners_reference.line_extents(owners, ink, columns)
    for a, b in zip((top, bottom, counts), extents, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(band, owners_reference.band_ink(owners, columns))
    np.testing.assert_array_equal(
        unread, owners_reference.unread_ink(owners, ink, pieces[0], len(pieces[2]))
    )
    assert unread.sum() == ((owners >= pixels.FRAME) & (ink != pixels.RULE)).sum() > 0


@pytest.mark.parametrize("polarity", [pixels.AS_IT_IS, pixels.TURNED, pixels.BOTH])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.7])
def test_crops_equal_the_reference(polarity, scale):
    rng = np.random.default_rng(3)
    Y, X = 40, 60
    grey = rng.integers(0, 256, (int(Y * scale), int(X * scale)), np.uint8)
    painted = rng.integers(0, 2, (Y, X), np.uint8)
    paper = rng.integers(0, 256, (Y, X), np.uint8)
    for height, width, left in ((7, 25, -3), (50, 40, int(X * scale) - 20), (1, 1, 0)):
        rows = rng.uniform(-9, Y * scale + 4, width).astype(np.float32)
        arguments = (grey, painted, paper, left, rows, height, polarity)
        np.testing.assert_array_equal(
            pixels.cut_line(*arguments), pixels_reference.cut_line(*arguments)
        )


def test_a_level_crop_is_the_page_itself():
    rng = np.random.default_rng(4)
    grey = rng.integers(0, 256, (30, 50), np.uint8)
    nothing = np.zeros((30, 50), np.uint8)
    crop = pixels.cut_line(grey, nothing, grey, 5, np.full(20, 4, np.float32), 9, pixels.AS_IT_IS)
    np.testing.assert_array_equal(crop, grey[4:13, 5:25])


def test_callers_on_several_threads_get_what_one_gets():
    pages = [crowded_page(seed) for seed in range(8)]

    def owners(page: DrawnPage) -> np.ndarray:
        maps = page.maps()
        columns = columns_of(find_bands(maps), *page.grey.shape)
        return assign_ink(find_ink(page.grey, columns), columns, maps.offset).owners

    alone = [owners(page) for page in pages]
    with ThreadPoolExecutor(4) as pool:
        for a, b in zip(alone, pool.map(owners, pages), strict=True):
            np.testing.assert_array_equal(a, b)


def test_wrong_arrays_are_refused():
    grey = np.zeros((20, 20), np.uint8)
    with pytest.raises(TypeError):
        label_ink(grey.astype(np.float32))
    with pytest.raises(ValueError, match="paper must have shape"):
        nodes = np.zeros((1, 1), np.uint8)
        rules = np.zeros(grey.shape, bool)
        pixels.find_ink(grey, nodes, nodes, NO_LINES, *NOTHING, rules)
    page = crowded_page(0)
    columns = columns_of(find_bands(page.maps()), *page.grey.shape)
    with pytest.raises(ValueError, match="columns do not lie on the page"):
        ink = np.zeros((110, 60), np.uint8)
        offset = np.zeros((28, 15), np.float32)
        pixels.assign_ink(ink, *label_ink(ink), offset, columns)
