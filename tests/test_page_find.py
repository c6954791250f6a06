"""Bands of two scales, rules and strokes, lines and pages, without the network."""

from __future__ import annotations

import numpy as np
import pytest

from khmer_fast.page.bands import Band, columns_of, find_bands
from khmer_fast.page.find import merge_scales
from khmer_fast.page.rules import Rule, Rules
from khmer_fast.page.walls import without_strokes
from tests.page_drawings import DrawnLine, DrawnPage, level


def band(left: float, right: float, y: float, letter: float, score: float = 0.9) -> Band:
    x = np.arange(left + 2, right, 4, dtype=np.float32)
    ones = np.ones_like(x)
    return Band(np.stack([x, y * ones], 1), 1.4 * letter * ones, 1.4 * letter * ones, letter, score)


def test_fragments_of_large_type_go():
    title = band(100, 900, 200, 80)
    fragments = [band(x, x + 60, 180 + x % 50, 20) for x in range(120, 800, 110)]
    text = [band(100, 900, y, 14) for y in (500, 540)]
    merged = merge_scales([*fragments, *text], [title])
    assert merged == [*text, title]


@pytest.mark.parametrize("wide", [900, 500, 2000])
def test_a_large_line_over_whole_small_ones_does_not_count(wide):
    blur = band(100, 500, 200, 60)  # the network took several lines for one
    text = [band(100, wide, y, 14) for y in (170, 205, 240)]
    assert merge_scales(text, [blur]) == text


def test_a_word_that_is_surer_than_the_large_line_round_it_stays():
    seal = band(100, 300, 200, 42, score=0.7)
    assert merge_scales([name := band(120, 180, 190, 10)], [seal]) == [name]
    assert merge_scales([band(120, 180, 190, 10, score=0.6)], [seal]) == [seal]


def test_a_line_of_both_scales_counts_once():
    small = band(100, 880, 201, 40)
    assert merge_scales([small], [band(104, 900, 200, 42)]) == [small]


def test_strokes_of_letters_are_no_rules():
    text = columns_of([band(100, 900, y, 14) for y in (100, 140, 180)], 700, 1000)
    stroke = Rule((300, 90), (300, 150), 2)  # two touching subscripts
    column = Rule((500, 20), (500, 600), 2)
    beside = Rule((950, 90), (950, 150), 2)
    roof = Rule((200, 94), (230, 94), 2)
    underline = Rule((200, 112), (400, 112), 2)
    far = Rule((200, 300), (230, 300), 2)
    mask = np.ones((700, 1000), bool)
    rules = Rules((roof, underline, far), (stroke, column, beside), mask)
    kept = without_strokes(rules, text, 1.0)
    assert kept.vertical == (column, beside) and kept.horizontal == (underline, far)
    assert kept.mask[300, 500] and kept.mask[112, 300]
    assert not kept.mask[94, 215] and not kept.mask[130, 300]
    # rules are in pixels of the page, bands at the network's scale
    half = Rules((), tuple(Rule((x, 2 * a), (x, 2 * b), 2) for x, a, b in [(600, 90, 150)]))
    assert without_strokes(half, text, 0.5).vertical == ()


def test_rules_between_lines_do_not_split_them():
    page = DrawnPage(300, 900, lines=[DrawnLine(60, 800, level(y), 14) for y in (100, 200)])
    walls = np.array([[400, 120, 180]], np.float32)
    assert len(find_bands(page.maps(), walls)) == 2
