"""Ink from drawn pages to drawn bands: nothing of a line is cut off, nothing of another comes."""

from __future__ import annotations

import numpy as np
import pytest

from khmer_fast.page import pixels
from khmer_fast.page.bands import columns_of, find_bands
from khmer_fast.page.ink import assign_ink, find_ink
from tests.page_drawings import DrawnLine, DrawnPage, columns_in, level


def owners_of(page: DrawnPage, rules: np.ndarray | None = None) -> np.ndarray:
    """Owners numbered as the page's lines are: uint16 [Y, X]."""
    maps = page.maps()
    bands = find_bands(maps)
    assert len(bands) == len(page.lines)
    columns = columns_of(bands, *page.grey.shape)
    owners = assign_ink(find_ink(page.grey, columns, rules), columns, maps.offset)
    number = np.zeros(65536, np.uint16)
    number[pixels.FRAME :] = pixels.FRAME, pixels.NOBODY
    for i, band in enumerate(bands):
        x, y = band.middle[len(band.middle) // 2]
        distance = [
            abs(line.baseline(x) - line.letter / 2 - y) + 1e3 * (not line.x0 <= x <= line.x1)
            for line in page.lines
        ]
        number[i + 1] = 1 + int(np.argmin(distance))
    return number[owners.owners]


def test_every_piece_goes_to_its_own_line_in_tight_leading():
    # vowels of the lower line stand nearer to the upper line's band than its own subscripts do
    page = DrawnPage(
        160,
        500,
        lines=[DrawnLine(20, 480, level(y), 12, subscript=0.8, vowel=0.5) for y in (40, 72, 104)],
    )
    np.testing.assert_array_equal(owners_of(page), page.owner)


def test_light_text_on_a_dark_panel():
    page = DrawnPage(120, 400)
    page.box(0, 50, 400, 120, 30)
    page.lines += [DrawnLine(20, 380, level(35)), DrawnLine(20, 380, level(90), grey=230)]
    for i, line in enumerate(page.lines):
        page._draw(line, i + 1)
    owners = owners_of(page)
    np.testing.assert_array_equal(np.where(owners >= pixels.FRAME, 0, owners), page.owner)


def test_small_text_beside_a_large_dark_panel():
    page = DrawnPage(160, 400, lines=[DrawnLine(100, 300, level(60), 10)])
    page.box(80, 72, 320, 160, 60)  # a bar of a chart, 3 px under the subscripts
    np.testing.assert_array_equal(owners_of(page) == 1, page.owner == 1)


def test_pieces_that_touch_two_lines_are_cut_between_them():
    page = DrawnPage(
        140, 400, lines=[DrawnLine(20, 380, level(y), 12, subscript=0.8) for y in (50, 82)]
    )
    upper = np.argwhere(page.owner == 1)
    foot = upper[upper[:, 0].argmax()]  # (y, x) of a subscript
    page.box(foot[1] - 1, foot[0], foot[1] + 2, 72, 20, 0)  # a joint down to the lower line
    owners = owners_of(page)
    wrong = (owners != page.owner) & (page.owner > 0)
    assert wrong.sum() == 0
    joint = owners[(page.owner == 0) & (page.grey < 100)]
    assert set(joint.tolist()) <= {1, 2}


def test_deep_subscripts_are_not_cut_off():
    page = DrawnPage(
        140, 400, lines=[DrawnLine(20, 380, level(y), 12, subscript=0.8) for y in (50, 84)]
    )
    page.box(100, 50, 103, 64, 20, 1)  # a leg that reaches far towards the lower line
    page.box(100, 40, 108, 50, 20, 1)
    page.box(200, 40, 204, 75, 20, 0)  # and a joint, so that the piece has to be cut elsewhere
    owners = owners_of(page)
    assert (owners[50:64, 100:103] == 1).all()


def test_a_subscript_that_touches_the_next_line_alone_is_not_lost_to_it():
    lines = [DrawnLine(20, 380, level(y), 12, subscript=0, vowel=0) for y in (50, 78)]
    page = DrawnPage(140, 400, lines=lines)
    # a subscript that hangs free under the upper line and reaches a letter of the lower one
    page.box(101, 52, 108, 54, 20, 1)
    page.box(106, 54, 108, 62, 20, 1)
    page.box(101, 60, 106, 62, 20, 1)
    page.box(106, 62, 108, 66, 20, 0)
    owners = owners_of(page)
    assert (owners[52:60][page.owner[52:60] == 1] == 1).all()
    assert (owners[66:] == page.owner[66:]).all()


def test_bars_frames_and_rules_are_nobodys():
    page = DrawnPage(200, 500, lines=[DrawnLine(60, 420, level(90), 12)])
    page.box(10, 10, 490, 12, 20)  # a frame
    page.box(10, 10, 12, 190, 20)
    page.box(10, 188, 490, 190, 20)
    page.box(488, 10, 490, 190, 20)
    page.box(430, 40, 434, 140, 20)  # a bar beside the line
    page.box(60, 105, 420, 107, 20)  # a rule under it
    owners = owners_of(page)
    np.testing.assert_array_equal(owners == 1, page.owner == 1)
    assert (owners[page.grey < 100] > 0).all()


def test_a_rule_that_text_touches_is_taken_out():
    page = DrawnPage(120, 400, lines=[DrawnLine(40, 360, level(60), 12)])
    page.box(0, 60, 400, 62, 20, 0)
    rules = np.zeros(page.grey.shape, bool)
    rules[60:62] = True
    owners = owners_of(page, rules)
    assert not ((owners == 1) & rules).any()
    mine = (page.owner == 1) & ~rules
    assert (owners[mine] == 1).mean() > 0.99


def test_specks_and_far_ink_are_nobodys():
    page = DrawnPage(200, 420, lines=[DrawnLine(40, 360, level(60), 24)])
    page.box(100, 20, 102, 22, 20)  # dirt over the line
    page.box(100, 150, 130, 170, 20)  # a blot
    page.box(402, 40, 412, 60, 20)  # and one beyond the line's end
    owners = owners_of(page)
    np.testing.assert_array_equal(owners == 1, page.owner == 1)


def test_marks_just_beyond_a_lines_ends_are_its_own():
    page = DrawnPage(120, 400, lines=[DrawnLine(40, 340, level(60), 12)])
    page.box(346, 58, 349, 61, 20, 1)
    np.testing.assert_array_equal(owners_of(page), page.owner)


def test_extents_and_colours_of_a_line():
    page = DrawnPage(120, 400, lines=[DrawnLine(40, 340, level(60), 12)])
    maps = page.maps()
    columns = columns_in(page)
    owners = assign_ink(find_ink(page.grey, columns), columns, maps.offset)
    dark, light = owners.counts[0]
    assert dark == (page.owner == 1).sum() and light == 0
    y, x_of = np.nonzero(page.owner)
    left = owners.columns.left[0]
    for x in (x_of.min(), 44, x_of.max()):
        mine = y[x_of == x]
        assert owners.top[x - left] == mine.min() and owners.bottom[x - left] == mine.max() + 1


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_pages_of_one_colour_have_no_ink(grey):
    found = find_ink(np.full((50, 70), grey, np.uint8), columns_of([], 50, 70))
    assert not found.ink.any() and (np.abs(found.paper.astype(int) - grey) <= 4).all()


@pytest.mark.parametrize("length", [120, 300])
def test_signs_farther_from_a_lines_ends_are_its_own_but_for_a_lists_mark(length):
    line = DrawnLine(60, 60 + length, level(60), 24)
    page = DrawnPage(120, 460, lines=[line])
    page.box(86 + length, 56, 92 + length, 68, 20)  # a comma, a letter height behind it
    page.box(26, 46, 38, 50, 20)  # a minus, a letter height before it
    owners = owners_of(page)
    assert (owners[56:68, 86 + length : 92 + length] == 1).all()
    assert (owners[46:50, 26:38] == (1 if length < 6 * 24 else pixels.NOBODY)).all()
