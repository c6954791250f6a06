"""Ink of the lines above and below, on lines that are drawn as strokes of known places."""

from __future__ import annotations

import numpy as np

from khmer_fast.recognize.line_image import prepare, prepare_reference
from khmer_fast.recognize.neighbours import neighbours_ink

WIDTH, LETTER = 400, 20


def letters(ink: np.ndarray, top: int, marks: bool = True) -> None:
    """A line of letters of LETTER rows from `top` on, every third with a mark above and below."""
    for n, x in enumerate(range(10, WIDTH - 20, 18)):
        rows = np.arange(top, top + LETTER)
        for part in (slice(x, x + 3), slice(x + 10, x + 13)):
            ink[rows[(rows >= 0) & (rows < len(ink))], part] = True
        head = np.arange(top, top + 4)
        ink[head[(head >= 0) & (head < len(ink))], x : x + 13] = True
        if marks and n % 3 == 0:
            for first in (top - 9, top + LETTER + 4):
                mark = np.arange(first, first + 6)
                ink[mark[(mark >= 0) & (mark < len(ink))], x : x + 10] = True


def page(*tops: int, rows: int) -> np.ndarray:
    ink = np.zeros((rows, WIDTH), bool)
    for top in tops:
        letters(ink, top)
    return ink


def test_halves_of_other_lines_are_theirs_and_own_marks_are_not():
    own = page(34, rows=90)
    ink = page(34 - 50, 34, 34 + 50, rows=90)
    found = neighbours_ink(ink)
    assert found is not None
    assert np.array_equal(ink & ~found, own)


def test_a_neighbour_on_one_side_alone():
    own = page(34, rows=70)
    ink = page(34 - 48, 34, rows=70)
    found = neighbours_ink(ink)
    assert found is not None and np.array_equal(ink & ~found, own)


def test_own_marks_that_reach_the_edge_stay():
    """Cut at the ink: a third of the columns have marks in the first and in the last row."""
    ink = page(9, rows=39)
    assert ink[0].any() and ink[-1].any()
    assert neighbours_ink(ink) is None


def test_a_line_alone_and_an_empty_one():
    assert neighbours_ink(page(34, rows=90)) is None
    assert neighbours_ink(np.zeros((40, 40), bool)) is None
    assert neighbours_ink(np.ones((40, 40), bool)) is None
    between = np.zeros((41, 40), bool)
    between[[0, 1, 18, 22, 39, 40]] = True  # no ink in the middle of the densest rows
    assert neighbours_ink(between) is None


def test_rules_above_and_below_take_no_letters_with_them():
    """A cell cut with its frame: the rules are the densest rows, and they are no letters."""
    ink = np.zeros((26, WIDTH), bool)
    for x in range(10, WIDTH - 20, 18):
        ink[6:21, x : x + 3] = ink[6:9, x : x + 6] = True
    ink[4] = ink[24] = True
    assert neighbours_ink(ink) is None


def test_grain_is_nobodys():
    for seed in range(20):
        grain = np.random.default_rng(seed).random((48, 600)) < 0.02 * (seed + 1)
        assert neighbours_ink(grain) is None, seed


def test_a_piece_of_both_lines_is_cut():
    """A stroke from the edge into a letter stays where the letter's own marks may be."""
    ink = page(34 - 50, 34, rows=90)
    ink[:40, 100:103] = True
    found = neighbours_ink(ink)
    assert found is not None
    assert found[:15, 100:103].all() and not found[22:, 100:103].any()


def test_the_line_is_scaled_as_if_it_stood_alone():
    grey = np.where(page(34 - 50, 34, 34 + 50, rows=90), np.uint8(20), np.uint8(250))
    alone = np.where(page(34, rows=90), np.uint8(20), np.uint8(250))
    around, expected = prepare(grey), prepare(alone)
    assert around.box == expected.box
    assert around.image.shape == expected.image.shape
    assert np.abs(around.image.astype(int) - expected.image).mean() < 2


def test_a_line_that_is_known_to_stand_alone_keeps_all_its_ink():
    grey = np.where(page(34 - 50, 34, 34 + 50, rows=90), np.uint8(20), np.uint8(250))
    line = prepare(grey, alone=True)
    assert line.box[1] == 0 and line.box[3] == 90
    reference = prepare_reference(grey, alone=True)
    assert np.array_equal(line.image, reference.image) and line.box == reference.box
