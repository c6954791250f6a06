"""Reading order and regions from boxes alone, without any network."""

import random
import time

import pytest

from khmer_fast.page.lines import FoundLine
from khmer_fast.page.order import MOST_LINES, arrange
from khmer_fast.page.rules import Rules
from tests.page_layouts import HEIGHT, LAYOUTS, WIDTH, Sheet

SIZE = (WIDTH, HEIGHT)


def order(sheet, **how):
    lines, rules = sheet.found(**how)
    mixed = list(range(len(lines)))
    random.Random(1).shuffle(mixed)
    plans = arrange([lines[i] for i in mixed], rules, SIZE)
    found = [mixed[i] for plan in plans for i in plan.all_lines()]
    assert sorted(found) == list(range(len(lines)))  # each line in one region
    return found, plans


def drawn(name):
    sheet = Sheet()
    LAYOUTS[name](sheet)
    return sheet


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_read_in_order(name):
    sheet = drawn(name)
    assert order(sheet)[0] == list(range(len(sheet.lines)))


@pytest.mark.parametrize("skew", [-4.0, -1.5, 2.0, 5.0])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_skewed_page_is_read_in_the_same_order(name, skew):
    sheet = drawn(name)
    assert order(sheet, skew=skew)[0] == list(range(len(sheet.lines)))


@pytest.mark.parametrize("name", ["two_columns", "columns_on_one_grid", "three_columns", "amounts"])
def test_a_bent_page_is_read_in_the_same_order(name):
    sheet = drawn(name)
    assert order(sheet, bend=0.02)[0] == list(range(len(sheet.lines)))


def test_order_does_not_hang_on_the_scale():
    sheet = drawn("two_columns")
    lines, rules = sheet.found()
    larger = [
        FoundLine(
            tuple(3 * v for v in line.box),
            tuple((3 * x, 3 * y) for x, y in line.baseline),
            tuple((3 * x, 3 * y) for x, y in line.polygon),
            3 * line.letter_height,
        )
        for line in lines
    ]
    plans = arrange(lines, rules, SIZE)
    assert arrange(larger, rules, (3 * WIDTH, 3 * HEIGHT)) == plans


def test_pieces_of_a_justified_line_are_one_region():
    _, plans = order(drawn("justified_gaps"))
    assert len(plans) == 1


def test_paragraphs_part_at_wide_white():
    sheet = Sheet()
    first = sheet.block(60, 840, 100, 5, last=0.4)
    second = sheet.block(60, 840, 100 + 6.2 * 30, 5)
    _, plans = order(sheet)
    assert [set(plan.all_lines()) for plan in plans] != []
    assert [len(plan.lines) for plan in plans] == [len(first), len(second)]


def test_paragraphs_part_at_an_indent():
    sheet = Sheet()
    sheet.line(110, 840, 100)
    sheet.block(60, 840, 130, 3, last=0.4)
    sheet.line(110, 840, 220)
    sheet.block(60, 840, 250, 4, last=0.7)
    assert [len(plan.lines) for plan in order(sheet)[1]] == [4, 5]


def test_a_centred_title_is_a_heading():
    sheet = Sheet()
    sheet.centred(450, [300, 220], 100, letter=15)
    sheet.block(60, 840, 180, 8, last=0.5)
    assert [plan.kind for plan in order(sheet)[1]] == ["heading", "text"]


def test_a_page_number_is_a_footer_and_comes_last():
    found, plans = order(drawn("three_columns"))
    assert plans[-1].kind == "footer" and plans[-1].lines == (plans[-1].lines[0],)
    assert found[-1] == len(found) - 1


def test_cards_are_read_one_after_the_other():
    sheet = Sheet()
    for k in range(3):
        left = 60 + 270 * k
        sheet.box(left, 300, left + 240, 440)
        sheet.line(left + 20, left + 150, 350, 22)
        sheet.line(left + 20, left + 120, 385)
        sheet.line(left + 20, left + 140, 415, 8)
    found, plans = order(sheet)
    assert found == list(range(9))
    assert not any(plan.kind == "table" for plan in plans)


def test_no_line_and_one_line():
    assert arrange([], Rules(), SIZE) == []
    sheet = Sheet()
    sheet.line(10, 20, 30)
    assert order(sheet)[0] == [0]


def test_lines_in_one_place_and_without_size():
    dot = FoundLine((5, 5, 5, 5), ((5.0, 5.0), (5.0, 5.0)), (), 0.0)
    plans = arrange([dot] * 7, Rules(), (10, 10))
    assert sorted(i for plan in plans for i in plan.all_lines()) == list(range(7))


@pytest.mark.parametrize("count", [MOST_LINES - 500, MOST_LINES + 500])
def test_noise_takes_no_minutes(count):
    rng = random.Random(3)
    sheet = Sheet()
    for _ in range(count):
        x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
        sheet.line(x, x + rng.uniform(2, 60), y, rng.uniform(2, 12))
    start = time.process_time()
    order(sheet)
    assert time.process_time() - start < 20
