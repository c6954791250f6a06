"""Columns that run through a page, and questions in one of them: order from boxes alone."""

from __future__ import annotations

import numpy as np

from khmer_fast.page import places
from khmer_fast.page.lines import FoundLine
from khmer_fast.page.order import arrange
from khmer_fast.page.page_columns import find_page_columns
from khmer_fast.page.pixels import Columns
from khmer_fast.page.rules import Rules
from khmer_fast.page.walls import without_folds
from tests.page_drawings import DrawnLine, DrawnPage, columns_in, level

LETTER = 10.0


def line(left: float, bottom: float, width: float, letter: float = LETTER) -> FoundLine:
    right = left + width
    box = (int(left), int(bottom - 1.5 * letter), int(right), int(bottom + 0.5 * letter))
    return FoundLine(box, ((left, bottom), (right, bottom)), (), letter)


def order_of(lines: list[FoundLine], size: tuple[int, int] = (1000, 1400)) -> list[int]:
    return [i for plan in arrange(lines, Rules(), size) for i in plan.all_lines()]


def test_an_article_is_read_before_the_links_beside_it():
    title = [line(40, 60, 500, 24)]
    article = [line(40, y, 560) for y in range(120, 460, 28)]
    article += [line(40, y, 560) for y in range(800, 1200, 28)]  # below a picture
    links = [line(700, y, 150 + 7 * (y % 11)) for y in range(131, 1190, 97)]
    lines = title + article + links
    assert order_of(lines) == list(range(len(lines)))


def test_a_table_of_long_names_and_what_they_cost_is_no_article():
    rows = [(line(40, y, 200 + 9 * (y % 17)), line(700, y, 95)) for y in range(120, 500, 30)]
    page = places.level([place for row in rows for place in row], Rules(), (1000, 1400))
    assert find_page_columns(page.lines) is None


def price_list(left: float, tops: list[int], rows: int) -> list[FoundLine]:
    """Sections of a heading, and names with prices that end at one x."""
    lines = []
    for top in tops:
        lines.append(line(left, top, 90, 14))
        for k in range(1, rows + 1):
            y = top + 30 * k
            width = 30 + 11 * (k * 7 % 5)
            lines += [line(left, y, 120 + 13 * (k % 4)), line(left + 380 - width, y, width)]
    return lines


def test_price_lists_beside_each_other_are_read_one_after_the_other():
    title = [line(300, 50, 400, 30)]
    left = price_list(50, [130, 520, 900], 7)
    right = price_list(550, [141, 430, 700], 6)  # their rows are not level
    lines = title + left + right
    assert order_of(lines) == list(range(len(lines)))


def test_answers_in_two_columns_follow_their_question():
    lines = [line(40, 100, 700)]
    for top in (130, 250, 370):
        lines += [line(52, top, 200), line(500, top, 220)]
        lines += [line(52, top + 30, 180), line(500, top + 30, 210)]
        lines.append(line(40, top + 70, 230))  # a question that is shorter than its column
    lines += [line(52, 470, 200), line(500, 470, 220)]
    assert order_of(lines) == list(range(len(lines)))


def test_the_number_under_one_of_two_wide_columns_is_the_pages():
    left = [line(60, y, 480) for y in range(100, 700, 27)]
    right = [line(660, y, 480) for y in range(100, 700, 27)]
    lines = [*left, *right, line(70, 780, 20)]
    assert order_of(lines, (1200, 820)) == list(range(len(lines)))


def page_of_lines() -> tuple[DrawnPage, Columns]:
    page = DrawnPage(300, 400, lines=[DrawnLine(40, 340, level(y), 12) for y in (60, 130, 200)])
    return page, columns_in(page)


def test_a_fold_that_runs_through_letters_parts_no_lines():
    page, columns = page_of_lines()
    through = np.array([[0, 0, 300]], np.float32)
    inked = (page.owner > 0).sum(0)
    x = next(
        x for x in range(100, 300) if inked[x - 4 : x - 2].all() and inked[x + 3 : x + 5].all()
    )
    through[0, 0] = x
    page.box(x, 0, x + 1, 300, 20)
    assert len(without_folds(through, columns, page.grey)) == 0


def test_a_rule_with_white_at_its_sides_parts_them():
    page, columns = page_of_lines()
    page.grey[:, 180:210] = page.paper
    page.box(195, 10, 196, 290, 20)
    wall = np.array([[195, 10, 290]], np.float32)
    np.testing.assert_array_equal(without_folds(wall, columns, page.grey), wall)


def test_a_streak_from_edge_to_edge_parts_no_lines():
    page, columns = page_of_lines()
    page.grey[:, 180:210] = page.paper
    page.box(195, 0, 196, 300, 20)
    pieces = np.array([[195, 0, 120], [196, 150, 300]], np.float32)
    assert len(without_folds(pieces, columns, page.grey)) == 0
