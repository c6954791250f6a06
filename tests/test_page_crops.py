"""Crops of drawn pages: at full resolution, along the line, without the neighbours' ink."""

from __future__ import annotations

import numpy as np
import pytest

from khmer_fast.page import pixels
from khmer_fast.page.crops import cut_line, line_inks, outline
from khmer_fast.page.ink import assign_ink, find_ink
from tests.page_drawings import DrawnLine, DrawnPage, columns_in, level


def find(page: DrawnPage):
    maps = page.maps()
    columns = columns_in(page)
    ink = find_ink(page.grey, columns)
    owners = assign_ink(ink, columns, maps.offset)
    inks = sorted(line_inks(owners), key=lambda x: columns.middle[columns.of(x.index)][0])
    return ink, owners, inks


def tight_page(**options) -> DrawnPage:
    lines = [DrawnLine(20, 380, level(y), 12, subscript=0.8, **options) for y in (40, 70, 100)]
    return DrawnPage(140, 400, lines=lines)


def test_a_level_line_is_cut_as_it_stands_and_as_high_as_its_ink():
    page = tight_page()
    ink, owners, inks = find(page)
    assert len(inks) == 3
    crop = cut_line(page.grey, ink, owners, inks[1])
    top, left = int(crop.rows[0]), crop.left
    height, width = crop.grey.shape
    there = (slice(top, top + height), slice(left, left + width))
    assert (page.owner[there] == 2).sum() == (page.owner == 2).sum()  # all of the line's ink
    np.testing.assert_array_equal(crop.grey, page.grey[there])
    rows = np.flatnonzero((page.owner == 2).any(1))
    assert rows[0] - top <= 1 and top + height - 1 - rows[-1] <= 1


def test_frames_and_rules_are_painted_over():
    page = tight_page()
    page.box(0, 69, 400, 71, 20)
    rules = np.zeros(page.grey.shape, bool)
    rules[69:71] = True
    maps = page.maps()
    columns = columns_in(page)
    ink = find_ink(page.grey, columns, rules)
    owners = assign_ink(ink, columns, maps.offset)
    line = next(
        x
        for x in line_inks(owners)
        if owners.columns.middle[owners.columns.at(x.index, 200)] == pytest.approx(64, abs=1)
    )
    crop = cut_line(page.grey, ink, owners, line)
    row = 69 - int(crop.rows[0])
    assert (page.grey[69:71] < 50).all() and (crop.grey[row : row + 2] > 200).mean() > 0.6


def test_crops_are_at_full_resolution():
    page = tight_page()
    ink, owners, inks = find(page)
    large = np.kron(page.grey, np.ones((3, 3), np.uint8))
    crop = cut_line(large, ink, owners, inks[0])
    small = cut_line(page.grey, ink, owners, inks[0])
    assert crop.grey.shape[1] == pytest.approx(3 * small.grey.shape[1], abs=6)
    assert (crop.grey < 100).sum() == 9 * (small.grey < 100).sum()


def test_a_slanting_line_is_cut_level():
    page = DrawnPage(160, 600, lines=[DrawnLine(20, 580, lambda x: 60 + 0.05 * x, vowel=0.3)])
    ink, owners, (line,) = find(page)
    crop = cut_line(page.grey, ink, owners, line)
    assert crop.grey.shape[0] < 42  # level, the line is 24 px high; slanting it was 52
    roofs = [np.flatnonzero(c < 120)[0] for c in crop.grey.T[::7] if c.min() < 100]
    assert np.ptp(crop.rows) == pytest.approx(0.05 * len(crop.rows), rel=0.1)
    assert len(roofs) > 20 and np.ptp(roofs) <= 7  # of a vowel and a roof


def test_light_text_is_turned_and_two_colours_are_both_ink():
    page = DrawnPage(100, 400, paper=40, lines=[DrawnLine(20, 380, level(50), 14, grey=240)])
    ink, owners, (line,) = find(page)
    assert line.polarity == pixels.TURNED
    crop = cut_line(page.grey, ink, owners, line)
    assert np.median(crop.grey) > 200 and crop.grey.min() < 30
    page = DrawnPage(100, 400, paper=130, lines=[DrawnLine(20, 380, level(50), 14, grey=240)])
    page.grey[:, 200:][page.owner[:, 200:] > 0] = 10
    ink, owners, (line,) = find(page)
    assert line.polarity == pixels.BOTH
    crop = cut_line(page.grey, ink, owners, line)
    for half in (crop.grey[:, :180], crop.grey[:, 190:]):
        assert half.min() < 160 and np.median(half) > 245


def test_outline_holds_the_ink():
    page = tight_page()
    _, owners, inks = find(page)
    found = outline(owners, inks[1], (400, 140))
    rows, columns = np.nonzero(page.owner == 2)
    assert found.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found.letter_height == pytest.approx(12, abs=0.7)
    assert found.baseline[0][1] == pytest.approx(70, abs=0.7) and len(found.baseline) == 2
    y = [point[1] for point in found.polygon]
    assert min(y) == rows.min() and max(y) == rows.max() + 1
    # twice as large a page: twice the lengths
    double = outline(owners, inks[1], (800, 280))
    assert double.box == tuple(2 * edge for edge in found.box)


def test_a_line_without_ink_is_no_line():
    page = tight_page()
    maps = page.maps()
    page.grey[page.owner == 2] = page.paper
    columns = columns_in(page)
    owners = assign_ink(find_ink(page.grey, columns), columns, maps.offset)
    assert len(line_inks(owners)) == 2


def test_an_edge_under_a_band_is_no_line():
    page = tight_page()
    maps = page.maps()
    page.box(20, 55, 380, 76, 20, 2)  # a dark bar where the second line was
    columns = columns_in(page)
    owners = assign_ink(find_ink(page.grey, columns), columns, maps.offset)
    assert len(line_inks(owners)) == 2
