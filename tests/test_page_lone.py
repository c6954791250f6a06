"""Words that the network hardly saw, from a drawn page, without the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from khmer_fast.page.bands import Maps, columns_of, find_bands
from khmer_fast.page.ink import assign_ink, find_ink
from khmer_fast.page.lone import HALF_SEEN, SEEN, lone_bands
from khmer_fast.page.parts import STRIDE
from tests.page_drawings import DrawnLine, DrawnPage, level


def hardly_seen(maps: Maps, left: int, right: int, seen: float) -> Maps:
    """Maps whose bands are as low as `seen` from left to right, and lower over most of that."""
    band = maps.band.copy()
    columns = slice(left // STRIDE - 1, right // STRIDE + 2)
    band[:, columns] = np.minimum(band[:, columns], seen - 3)
    band[30 // STRIDE : 70 // STRIDE, (left + right) // 2 // STRIDE] = seen
    return replace(maps, band=band)


def lone_on(page: DrawnPage, maps: Maps) -> list[tuple[float, float, float]]:
    """Left, right and letter height of what is found beside the bands of a page's maps."""
    bands = find_bands(maps)
    columns = columns_of(bands, *page.grey.shape)
    ink = find_ink(page.grey, columns)
    owners = assign_ink(ink, columns, maps.offset)
    lone = lone_bands(ink, owners, bands, maps)
    both = assign_ink(ink, columns_of(bands + lone, *page.grey.shape), maps.offset).owners
    for i in range(len(lone)):  # all of the word, and nothing else
        taken = both == len(bands) + i + 1
        np.testing.assert_array_equal(taken, page.owner == 2)
    return [(band.left, band.right, band.letter_height) for band in lone]


@pytest.mark.parametrize("slope", [0.0, 0.02])
def test_an_amount_in_the_row_of_its_name_is_found(slope):
    def baseline(x):
        return 60 + slope * x

    amount = DrawnLine(500, 520, baseline, 20)
    page = DrawnPage(140, 600, lines=[DrawnLine(20, 240, baseline, 20), amount])
    maps = hardly_seen(page.maps(), 500, 520, SEEN + 0.1)
    assert len(find_bands(maps)) == 1
    ((left, right, letter),) = lone_on(page, maps)
    assert left == pytest.approx(500, abs=3) and right == pytest.approx(512, abs=6)
    assert letter == pytest.approx(20, abs=1)


def test_what_was_not_seen_or_stands_in_no_row_is_left_alone():
    name = DrawnLine(20, 240, level(60), 20)
    page = DrawnPage(140, 600, lines=[name, DrawnLine(500, 520, level(60), 20)])
    assert lone_on(page, hardly_seen(page.maps(), 500, 520, SEEN - 0.1)) == []
    page = DrawnPage(140, 600, lines=[name, DrawnLine(500, 520, level(80), 20)])
    assert lone_on(page, hardly_seen(page.maps(), 500, 520, SEEN + 0.1)) == []


def test_a_figure_quite_alone_is_found_where_the_network_half_saw_it():
    name = DrawnLine(20, 240, level(60), 20)
    page = DrawnPage(240, 600, lines=[name, DrawnLine(300, 312, level(200), 20)])
    for seen, found in ((HALF_SEEN + 0.1, 1), (HALF_SEEN - 0.1, 0)):
        maps = hardly_seen(page.maps(), 300, 312, seen)
        maps.band[(180 // STRIDE) : (200 // STRIDE), 306 // STRIDE] = seen
        places = lone_on(page, maps)
        assert len(places) == found
    page.box(320, 184, 335, 190, 20)  # something stands beside it, too low for a letter
    maps = hardly_seen(page.maps(), 300, 312, HALF_SEEN + 1)
    maps.band[(180 // STRIDE) : (200 // STRIDE), 306 // STRIDE] = HALF_SEEN + 1
    assert lone_on(page, maps) == []


def test_a_picture_in_a_row_is_no_word():
    page = DrawnPage(140, 600, lines=[DrawnLine(20, 240, level(60), 20)])
    page.box(500, 40, 512, 60, 20)
    for y in (22, 68):  # more of it above and below
        page.box(490, y, 540, y + 10, 20)
    maps = hardly_seen(page.maps(), 500, 512, SEEN + 1)
    assert lone_on(page, maps) == []


def test_a_page_without_lines_has_none():
    page = DrawnPage(80, 100)
    assert lone_on(page, page.maps()) == []
