"""Boxes of words and characters: from the reader's places in a crop to ink on the page."""

from __future__ import annotations

import numpy as np
import pytest

from khmer_fast.document import Character, Line, Word
from khmer_fast.page import pixels, words_reference
from khmer_fast.page.crops import Crop
from khmer_fast.page.words import InkColumns, place_line

PAGE = (0, 0, 1000, 1000)


def ink_of(runs: list[tuple[int, int, int, int]], width: int, left: int = 100) -> InkColumns:
    """Runs of (first, end, top, bottom) columns of ink, one page pixel each."""
    top, bottom = np.full(width, np.inf), np.full(width, -np.inf)
    for first, end, high, low in runs:
        top[first:end], bottom[first:end] = high, low
    return InkColumns(left, 1.0, top, bottom, letter_height=10)


def crop_at(left: int, rows: np.ndarray, height: int = 30) -> Crop:
    return Crop(np.full((height, len(rows)), 255, np.uint8), left, rows.astype(np.float32))


def test_words_end_in_the_gaps_whatever_the_reader_thinks():
    ink = ink_of([(0, 40, 205, 220), (50, 90, 200, 216), (96, 130, 208, 218)], 130)
    crop = crop_at(97, np.full(140, 195))
    # the reader's borders are off by some pixels, one lies within a word
    words = (Word("a", 0.9, (3, 0, 44, 30)), Word("b", 0.8, (44, 0, 96, 30)),
             Word("c", 0.7, (96, 0, 133, 30)))  # fmt: skip
    placed = place_line(Line("a b c", 0.5, (0, 0, 140, 30), words=words), crop, ink, PAGE)
    assert [word.box for word in placed.words] == [
        (100, 205, 140, 220), (150, 200, 190, 216), (196, 208, 230, 218)
    ]  # fmt: skip
    assert [(word.text, word.confidence) for word in placed.words] == [
        ("a", 0.9), ("b", 0.8), ("c", 0.7)
    ]  # fmt: skip


def test_characters_are_as_high_as_their_ink_and_follow_the_line():
    slope = np.arange(140) * 0.1
    ink = ink_of([(0, 10, 200, 210), (12, 22, 204, 226)], 40)
    crop = crop_at(98, 198 + slope)
    characters = (
        Character("x", 0.9, (2, 0, 12, 30)),
        Character("y", 0.9, (13, 0, 30, 30)),
        Character(" ", 0.9, (30, 2, 36, 20)),
        Character("z", 0.9, None),
    )
    line = Line("xy z", 0.5, (0, 0, 140, 30), characters=characters)
    boxes = [character.box for character in place_line(line, crop, ink, PAGE).characters]
    assert boxes[0] == (100, 200, 110, 210)
    assert boxes[1] == (112, 204, 122, 226)
    assert boxes[2] == (128, 203, 134, 222)  # no ink: where the reader looked, on the slope
    assert boxes[3] is None


def test_a_line_without_words_stays_as_it_is():
    line = Line("", 1.0, (0, 0, 10, 10))
    assert place_line(line, crop_at(0, np.zeros(10)), ink_of([(0, 5, 1, 2)], 10), PAGE) == line


def test_boxes_stay_within_the_lines():
    ink = ink_of([(0, 20, 200, 210)], 20)
    characters = (Character("x", 0.9, (0, 0, 30, 30)), Character(" ", 0.9, (60, 0, 62, 3)))
    line = Line("x ", 0.5, (0, 0, 140, 30), characters=characters)
    placed = place_line(line, crop_at(95, np.full(140, 190)), ink, (100, 200, 119, 210))
    assert [x.box for x in placed.characters] == [(100, 200, 119, 210), (118, 200, 119, 210)]


@pytest.mark.parametrize("seed", range(40))
def test_compiled_boxes_equal_the_reference(seed):
    rng = np.random.default_rng(seed)
    width, columns = rng.integers(1, 200, 2)

    def boxes(count: int, sorted_: bool) -> np.ndarray:
        x = rng.integers(-9, width + 20, 2 * count)
        x = np.sort(x) if sorted_ else x
        y = np.sort(rng.integers(0, 40, (count, 2)), 1)
        return np.stack([x[::2], y[:, 0], x[1::2] + 1, y[:, 1]], 1).astype(np.int64)

    inked = rng.random(columns) < rng.choice([0.0, 0.3, 0.8, 1.0])
    arguments = (
        boxes(int(rng.integers(0, 9)), True),
        boxes(int(rng.integers(0, 30)), False),
        int(rng.integers(0, 50)),
        rng.uniform(0, 90, width).astype(np.float32),
        float(rng.uniform(0, 50)),
        float(rng.uniform(0.5, 3)),
        float(rng.uniform(2, 30)),
        np.where(inked, rng.uniform(0, 60, columns), np.inf),
        np.where(inked, rng.uniform(60, 99, columns), -np.inf),
        (5, 10, 120, 95),
    )
    for mine, expected in zip(
        pixels.place_boxes(*arguments), words_reference.place_boxes(*arguments), strict=True
    ):
        np.testing.assert_array_equal(mine, expected)
