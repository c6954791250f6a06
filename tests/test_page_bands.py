"""Bands from drawn masks: joined, split, smoothed, without the network."""

from __future__ import annotations

import numpy as np
import pytest

from khmer_fast.page.bands import LEAST_REACH, Maps, columns_of, find_bands
from tests.page_drawings import DrawnLine, DrawnPage, level


def by_height(bands):
    return sorted(bands, key=lambda band: band.middle[:, 1].mean())


def test_lines_are_found_where_they_are_drawn():
    page = DrawnPage(
        200, 400, lines=[DrawnLine(20, 380, level(y), letter=11) for y in (50, 80, 110.5)]
    )
    bands = by_height(find_bands(page.maps()))
    assert len(bands) == 3
    for band, line in zip(bands, page.lines, strict=True):
        assert band.letter_height == pytest.approx(11, abs=0.6)
        np.testing.assert_allclose(band.middle[:, 1], line.baseline(0) - 5.5, atol=0.3)
        assert band.left == pytest.approx(20, abs=4) and band.right == pytest.approx(380, abs=4)
        np.testing.assert_allclose(band.below, max(1.2, LEAST_REACH) * 11, atol=1)
        assert band.score > 0.8


@pytest.mark.parametrize("slope", [-0.05, 0.03])
def test_a_slanting_line_stays_one_line(slope):
    page = DrawnPage(200, 600, lines=[DrawnLine(20, 580, lambda x: 100 + slope * (x - 300))])
    (band,) = find_bands(page.maps())
    expected = 94 + slope * (band.middle[:, 0] - 300)
    np.testing.assert_allclose(band.middle[:, 1], expected, atol=0.5)


def test_a_bent_line_is_followed():
    page = DrawnPage(200, 800, lines=[DrawnLine(20, 780, lambda x: 90 + 12 * np.sin(x / 260))])
    (band,) = find_bands(page.maps())
    expected = 84 + 12 * np.sin(band.middle[:, 0] / 260)
    np.testing.assert_allclose(band.middle[:, 1], expected, atol=1.2)


def test_gaps_of_a_letter_are_joined_and_columns_stay_apart():
    words = [DrawnLine(20, 120, level(50)), DrawnLine(130, 240, level(50))]
    assert len(find_bands(DrawnPage(100, 400, lines=words).maps())) == 1
    columns = [DrawnLine(20, 120, level(50)), DrawnLine(150, 240, level(50))]
    assert len(find_bands(DrawnPage(100, 400, lines=columns).maps())) == 2
    steps = [DrawnLine(20, 120, level(50)), DrawnLine(130, 240, level(56))]
    assert len(find_bands(DrawnPage(100, 400, lines=steps).maps())) == 2


@pytest.mark.parametrize(
    ("begins", "faint", "found"),
    [(140, slice(28, 36), 1), (140, slice(28, 32), 2), (164, slice(28, 41), 2)],
)
def test_a_wide_gap_is_bridged_where_a_little_is_seen_all_along(begins, faint, found):
    words = [DrawnLine(20, 120, level(50)), DrawnLine(begins, 240, level(50))]
    maps = DrawnPage(100, 400, lines=words).maps()
    seen = maps.band[:, faint]  # cells of 4 px; the letters are 12 px high
    seen[10:12] = np.maximum(seen[10:12], -1.5)  # logit
    assert len(find_bands(maps)) == found


@pytest.mark.parametrize(("letter", "gap", "found"), [(30, 50, 1), (30, 70, 2), (14, 23, 2)])
def test_words_of_a_title_may_stand_further_apart(letter, gap, found):
    body = [DrawnLine(20, 560, level(y), letter=12) for y in (140, 170)]
    title = [
        DrawnLine(60, 200, level(60), letter=letter),
        DrawnLine(200 + gap, 480, level(60), letter=letter),
    ]
    bands = find_bands(DrawnPage(200, 600, lines=[*title, *body]).maps())
    assert len(bands) == found + len(body)


def test_parts_of_a_bent_line_are_joined_where_it_leads():
    def baseline(x):
        return 60 + 0.0004 * (x - 300) ** 2

    words = [DrawnLine(20, 470, baseline), DrawnLine(480, 580, baseline)]
    assert len(find_bands(DrawnPage(200, 600, lines=words).maps())) == 1
    aside = [DrawnLine(20, 470, baseline), DrawnLine(480, 580, lambda x: baseline(x) + 7)]
    assert len(find_bands(DrawnPage(200, 600, lines=aside).maps())) == 2


def test_a_short_part_that_looks_lower_than_it_is_belongs_to_its_line():
    mark = DrawnLine(24, 48, level(57), letter=7)  # its middle stands where the line's does
    words = [mark, DrawnLine(60, 300, level(60), letter=14)]
    assert len(find_bands(DrawnPage(100, 400, lines=words).maps())) == 1
    long = [DrawnLine(20, 148, level(57), letter=7), DrawnLine(160, 300, level(60), letter=14)]
    assert len(find_bands(DrawnPage(100, 400, lines=long).maps())) == 2


def test_a_wall_splits_a_line():
    page = DrawnPage(100, 400, lines=[DrawnLine(20, 380, level(50))])
    walls = np.array([[201, 0, 100]], np.float32)
    left, right = sorted(find_bands(page.maps(), walls), key=lambda band: band.left)
    assert left.right <= 200 and right.left >= 204
    assert len(find_bands(page.maps(), np.array([[201, 60, 100]], np.float32))) == 1


def test_one_place_that_is_wrong_does_not_move_the_line():
    page = DrawnPage(200, 600, lines=[DrawnLine(20, 580, level(100))])
    maps = page.maps()
    maps.band[25, 60:66] = 9  # a blot that touches the band from below
    (band,) = find_bands(maps)
    np.testing.assert_allclose(band.middle[:, 1], 94, atol=0.8)


def test_marks_of_large_letters_are_no_lines():
    large = DrawnLine(40, 560, level(120), letter=40)
    mark = DrawnLine(200, 230, level(66), letter=12)
    assert len(find_bands(DrawnPage(200, 600, lines=[large, mark]).maps())) == 1
    caption = DrawnLine(60, 500, level(52), letter=12)  # as long as a line is
    assert len(find_bands(DrawnPage(200, 600, lines=[large, caption]).maps())) == 2


def test_a_word_under_a_title_is_no_mark_of_it():
    title = DrawnLine(20, 500, level(80), letter=40)  # its middle at 60, its reach to 112
    word = DrawnLine(60, 110, level(123), letter=10)
    assert len(find_bands(DrawnPage(200, 560, lines=[title, word]).maps())) == 2
    mark = DrawnLine(60, 80, level(123), letter=10)
    assert len(find_bands(DrawnPage(200, 560, lines=[title, mark]).maps())) == 1


def empty_maps(y: int, x: int) -> Maps:
    zeros = [np.zeros((y, x), np.float32) for _ in range(3)]
    return Maps(np.full((y, x), -9, np.float32), *zeros, np.array([1, 0, 0, 0], np.float32))


def test_paper_has_no_bands():
    assert find_bands(empty_maps(50, 60)) == []
    columns = columns_of([], 200, 240)
    assert columns.middle.shape == (0,) and columns.begin.tolist() == [0]


def test_a_page_of_noise_is_bounded():
    rng = np.random.default_rng(1)
    maps = empty_maps(400, 300)
    maps.band[:] = rng.normal(0, 4, maps.band.shape)
    assert len(find_bands(maps)) <= 4_000


def test_columns_go_straight_on_beyond_the_ends_and_stay_on_the_page():
    page = DrawnPage(120, 300, lines=[DrawnLine(4, 200, lambda x: 50 + 0.1 * x)])
    (band,) = find_bands(page.maps())
    columns = columns_of([band], 120, 300)
    assert columns.left[0] == 0 and columns.inner[0, 0] == 4
    end = columns.begin[1] - 1  # beyond the band by 1.5 letter heights
    assert end + 1 == pytest.approx(200 + 18, abs=5)
    assert columns.middle[end] == pytest.approx(44 + 0.1 * (end + 0.5), abs=0.7)
