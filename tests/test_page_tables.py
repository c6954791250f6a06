"""Tables from boxes and rules."""

import random

import pytest

from khmer_fast.page.order import arrange
from tests.page_layouts import HEIGHT, WIDTH, Sheet, random_table

SIZE = (WIDTH, HEIGHT)


def table_of(sheet, **how):
    plans = arrange(*sheet.found(**how), SIZE)
    (table,) = (plan for plan in plans if plan.kind == "table")
    return table


@pytest.mark.parametrize("rules", ["all", "rows", "columns", "none"])
@pytest.mark.parametrize("seed", range(8))
def test_rows_and_columns(rules, seed):
    rng = random.Random(seed)
    sheet, cells = random_table(rng, rules, rng.randint(3, 8), rng.randint(3, 6))
    table = table_of(sheet)
    assert table.lines == ()
    by_place = {(cell.row, cell.column): cell.lines for cell in table.cells}
    assert by_place == {
        (r, c): tuple(lines) for r, row in enumerate(cells) for c, lines in enumerate(row)
    }


@pytest.mark.parametrize("skew", [-3.0, 2.0])
def test_a_skewed_table(skew):
    sheet, cells = random_table(random.Random(5), "all", 6, 4)
    table = table_of(sheet, skew=skew)
    assert [cell.lines for cell in table.cells] == [tuple(lines) for row in cells for lines in row]


def grid(columns=3, rows=3, left=60.0, top=100.0, wide=200.0, high=40.0):
    sheet = Sheet()
    sheet.level = [(left, left + columns * wide, top + high * r) for r in range(rows + 1)]
    sheet.upright = [(top, top + rows * high, left + wide * c) for c in range(columns + 1)]
    return sheet


def test_a_cell_over_two_columns():
    sheet = grid()
    sheet.upright[1] = (140, 220, 260)  # no wall in the first row
    sheet.line(180, 340, 125)
    sheet.line(480, 560, 125)
    for r in (1, 2):
        for c in range(3):
            sheet.line(80 + 200 * c, 150 + 200 * c, 125 + 40 * r)
    first = table_of(sheet).cells[0]
    assert (first.row, first.column, first.row_span, first.column_span) == (0, 0, 1, 2)
    assert first.lines == (0,)


def test_a_cell_over_two_rows():
    sheet = grid()
    sheet.level[2] = (260, 660, 180)  # no wall under the second row of the first column
    for c in range(3):
        sheet.line(80 + 200 * c, 150 + 200 * c, 125)
    tall = sheet.line(80, 150, 185)
    for r in (1, 2):
        for c in (1, 2):
            sheet.line(80 + 200 * c, 150 + 200 * c, 125 + 40 * r)
    cell = next(cell for cell in table_of(sheet).cells if tall in cell.lines)
    assert (cell.row, cell.column, cell.row_span, cell.column_span) == (1, 0, 2, 1)


def test_empty_cells_keep_the_others_in_place():
    sheet = grid()
    for r, c in ((0, 0), (0, 1), (0, 2), (1, 1), (2, 0), (2, 2)):
        sheet.line(80 + 200 * c, 150 + 200 * c, 125 + 40 * r)
    places = [(cell.row, cell.column) for cell in table_of(sheet).cells]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 1), (2, 0), (2, 2)]


def test_a_frame_round_text_is_no_table():
    sheet = Sheet()
    sheet.box(40, 60, 860, 900)
    sheet.block(60, 840, 100, 20)
    assert [plan.kind for plan in arrange(*sheet.found(), SIZE)] == ["text"]


def test_boxes_for_letters_are_no_table():
    sheet = grid(columns=12, rows=1, wide=20, high=24)
    sheet.line(64, 290, 118)  # typed over them
    sheet.block(60, 840, 200, 4)
    assert not any(plan.kind == "table" for plan in arrange(*sheet.found(), SIZE))


def test_a_list_with_its_numbers_apart_is_no_table():
    sheet = Sheet()
    y = 100.0
    for _ in range(5):
        sheet.line(60, 75, y)
        sheet.block(120, 840, y, 2, last=0.6)
        y += 2 * 30
    plans = arrange(*sheet.found(), SIZE)
    assert not any(plan.kind == "table" for plan in plans)
    assert [i for plan in plans for i in plan.all_lines()] == list(range(15))


def test_rows_that_only_white_parts_within_rules():
    sheet = grid(columns=3, rows=1, high=200)
    for r in range(4):
        for c in range(3):
            sheet.line(80 + 200 * c, 150 + 200 * c, 130 + 45 * r)
    places = [(cell.row, cell.column) for cell in table_of(sheet).cells]
    assert places == [(r, c) for r in range(4) for c in range(3)]
