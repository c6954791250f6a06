"""Pages of boxes alone, drawn by a few numbers: what reading order is tested with."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from khmer_fast.document import Point
from khmer_fast.page.lines import FoundLine
from khmer_fast.page.rules import Rule, Rules

LETTER = 10.0  # pixels
PITCH = 30.0
WIDTH, HEIGHT = 900, 1280


@dataclass
class Sheet:
    """A page on which lines are put in reading order."""

    width: int = WIDTH
    height: int = HEIGHT
    lines: list[tuple[float, float, float, float]] = field(default_factory=list)
    level: list[tuple[float, float, float]] = field(default_factory=list)  # left, right, y
    upright: list[tuple[float, float, float]] = field(default_factory=list)  # top, bottom, x

    def line(self, left: float, right: float, y: float, letter: float = LETTER) -> int:
        """A line with its baseline at y; returns its index."""
        self.lines.append((left, right, y, letter))
        return len(self.lines) - 1

    def block(
        self,
        left: float,
        right: float,
        y: float,
        count: int,
        pitch: float = PITCH,
        letter: float = LETTER,
        last: float = 1.0,
    ) -> list[int]:
        """Justified lines from the baseline y down, the last one shorter."""
        ends = [right] * (count - 1) + [left + last * (right - left)]
        return [self.line(left, end, y + k * pitch, letter) for k, end in enumerate(ends)]

    def centred(self, middle: float, widths: list[float], y: float, pitch: float = PITCH,
                letter: float = LETTER) -> list[int]:  # fmt: skip
        """Lines about one middle."""
        return [
            self.line(middle - w / 2, middle + w / 2, y + k * pitch, letter)
            for k, w in enumerate(widths)
        ]

    def box(self, left: float, top: float, right: float, bottom: float) -> None:
        """Four rules."""
        self.level += [(left, right, top), (left, right, bottom)]
        self.upright += [(top, bottom, left), (top, bottom, right)]

    def found(self, skew: float = 0.0, bend: float = 0.0) -> tuple[list[FoundLine], Rules]:
        """Lines and rules, turned clockwise by `skew` degrees, sagging by `bend` of the width."""
        lean = math.tan(math.radians(skew))

        def place(x: float, y: float) -> Point:
            sag = bend * self.width * (1 - (2 * x / self.width - 1) ** 2)
            return x - lean * (y - self.height / 2), y + lean * (x - self.width / 2) + sag

        def rule(ends: tuple[Point, Point]) -> Rule:
            return Rule(ends[0], ends[1], 1.5)

        lines = []
        for left, right, y, letter in self.lines:
            xs = [left + (right - left) * k / 8 for k in range(9)]
            upper = [place(x, y - 1.9 * letter) for x in xs]
            lower = [place(x, y + 1.1 * letter) for x in xs]
            polygon = tuple(upper + lower[::-1])
            box = (
                math.floor(min(x for x, _ in polygon)), math.floor(min(y for _, y in polygon)),
                math.ceil(max(x for x, _ in polygon)), math.ceil(max(y for _, y in polygon)),
            )  # fmt: skip
            lines.append(FoundLine(box, tuple(place(x, y) for x in xs), polygon, letter))
        return lines, Rules(
            tuple(rule((place(a, y), place(b, y))) for a, b, y in self.level),
            tuple(rule((place(x, a), place(x, b))) for a, b, x in self.upright),
        )


def letter_head(sheet: Sheet) -> None:
    """The kingdom's name in the middle, the ministry below at the left, as of one row."""
    sheet.centred(450, [190, 220], 90)
    sheet.centred(140, [150, 120, 90], 120)


def two_sided_head(sheet: Sheet) -> None:
    """Ministry left, kingdom right, from the same height."""
    sheet.centred(170, [200, 160], 90)
    sheet.centred(680, [190, 220], 90)


def kingdom_above_right(sheet: Sheet) -> None:
    """The kingdom's name at the right begins a line higher than the ministry's at the left."""
    sheet.centred(680, [190, 220], 90)
    sheet.centred(170, [200, 160, 100], 120)


def two_columns(sheet: Sheet) -> None:
    """Two columns under a title, on different grids."""
    sheet.centred(450, [400], 80, letter=16)
    sheet.block(60, 430, 160, 24, last=0.6)
    sheet.block(470, 840, 172, 22, last=0.4)


def columns_on_one_grid(sheet: Sheet) -> None:
    """Two columns whose lines stand on the same baselines."""
    for left in (60, 470):
        sheet.block(left, left + 370, 160, 8, last=0.5)
        sheet.block(left, left + 370, 160 + 9 * PITCH, 9, last=0.7)


def three_columns(sheet: Sheet) -> None:
    """Three columns with a page number below."""
    for k in range(3):
        sheet.block(50 + 280 * k, 290 + 280 * k, 120 + 7 * k, 30 - 3 * k, pitch=28)
    sheet.line(440, 460, 1230)


def justified_gaps(sheet: Sheet) -> None:
    """A paragraph whose justified lines came in pieces, at gaps that happen to lie over another."""
    sheet.line(60, 840, 100)
    for k, gap in enumerate((400, 410)):
        sheet.line(60, gap, 130 + PITCH * k)
        sheet.line(gap + 25, 840, 130 + PITCH * k)
    sheet.block(60, 840, 190, 6)


def signers(sheet: Sheet) -> None:
    """A text, the date at the right, two signers beside each other with their names."""
    sheet.block(60, 840, 500, 6, last=0.5)
    sheet.centred(650, [260, 240], 730)
    sheet.centred(220, [140, 120], 790)
    sheet.centred(650, [150], 790)


def addresses(sheet: Sheet) -> None:
    """Two blocks of particulars of different lengths at the foot."""
    sheet.block(60, 840, 200, 20, last=0.5)
    sheet.level.append((60, 840, 1120))
    for width, y in ((330, 1150), (280, 1175), (300, 1200)):
        sheet.line(60, 60 + width, y, 7)
    for width, y in ((180, 1150), (210, 1175)):
        sheet.line(600, 600 + width, y, 7)


def amounts(sheet: Sheet) -> None:
    """Names at the left and amounts flush at the right: rows."""
    for k, (name, amount) in enumerate(((200, 60), (260, 45), (180, 70), (240, 60), (150, 65))):
        sheet.line(100, 100 + name, 300 + 40 * k)
        sheet.line(800 - amount, 800, 300 + 40 * k)


def newspaper(sheet: Sheet) -> None:
    """Two rows of articles whose gutters lie over each other, each under a head of its own."""
    sheet.centred(450, [300], 60, letter=30)
    for top, heads in ((140, (60, 590)), (535, (60, 590))):
        for left, right in zip(heads, (*heads[1:], 860), strict=True):
            sheet.line(left, left + 190, top, 16)
            for column in range(left, right - 100, 275):
                sheet.block(column, column + 240, top + 40, 12, pitch=28)


def links_over_a_text(sheet: Sheet) -> None:
    """A page's links in one row, and below them, at the left, the short lines of its head."""
    for left in range(60, 840, 110):
        sheet.line(left, left + 60, 100)
    sheet.line(60, 190, 150, 20)
    sheet.line(60, 140, 190)
    sheet.block(60, 840, 240, 5)


def goes_on_at_the_left(sheet: Sheet) -> None:
    """The left one of two columns of prose goes on, after white, where the right one has ended."""
    sheet.block(60, 430, 100, 14)
    sheet.block(60, 430, 100 + 18 * PITCH, 3)
    sheet.block(80, 400, 100 + 24 * PITCH, 6)
    sheet.block(470, 840, 110, 12)


def signers_under_a_long_date(sheet: Sheet) -> None:
    """The place and date over the right one of two signers, whose names stand far below."""
    sheet.block(60, 840, 300, 6, last=0.5)
    sheet.centred(650, [100, 240], 560)
    sheet.line(160, 280, 620)
    sheet.line(180, 260, 720)
    sheet.line(590, 710, 620)
    sheet.line(610, 690, 720)


def boxes(sheet: Sheet) -> None:
    """Frames in rows of two and of three, their lines nearly level."""
    for top, edges in ((100, (60, 450, 840)), (300, (60, 320, 580, 840)), (500, (60, 450, 840))):
        for k, (left, right) in enumerate(zip(edges, edges[1:], strict=False)):
            sheet.box(left, top, right - 20, top + 180)
            for y in (40, 90 + 4 * k, 140):
                sheet.line(left + 30, right - 70 - y / 4, top + y)


def box_of_underlined_lines(sheet: Sheet) -> None:
    """A frame with underlined lines, as wide as it nearly, beside free lines on other baselines."""
    sheet.block(60, 400, 200, 6, pitch=34)
    sheet.box(440, 150, 840, 420)
    for y in range(192, 400, 30):
        sheet.line(460, 820, y)
        sheet.level.append((462, 818, y + 4))


def lists_under_large_heads(sheet: Sheet) -> None:
    """Two price lists beside each other, their heads as large as a card's number."""
    for left, tops in ((60, (120, 480)), (480, (128, 400))):
        for top in tops:
            sheet.line(left, left + 90, top, 15)
            for k in range(1, 7):
                sheet.line(left, left + 110 + 17 * (k * 3 % 4), top + 10 + 32 * k)
                sheet.line(left + 330 - 11 * (k * 2 % 5), left + 370, top + 10 + 32 * k)


LAYOUTS = {
    function.__name__: function
    for function in (
        letter_head, two_sided_head, kingdom_above_right, two_columns, columns_on_one_grid,
        three_columns, justified_gaps, signers, addresses, amounts, newspaper, links_over_a_text,
        goes_on_at_the_left, signers_under_a_long_date, boxes, box_of_underlined_lines,
        lists_under_large_heads,
    )
}  # fmt: skip


def random_table(
    rng: random.Random, rules: str, rows: int, columns: int
) -> tuple[Sheet, list[list[list[int]]]]:
    """A table of cells with one to three lines, between two paragraphs; rules `all`, `rows`,
    `columns` or `none`. The sheet, and the lines of each cell by row and column."""
    sheet = Sheet()
    sheet.block(60, 840, 80, 3, last=0.5)
    shares = [rng.uniform(0.7, 1.6) for _ in range(columns)]
    edges = [60.0]
    for share in shares:
        edges.append(edges[-1] + 780 * share / sum(shares))
    top = 190.0
    cells: list[list[list[int]]] = []
    tops = [top]
    for _ in range(rows):
        counts = [rng.choice((1, 1, 1, 2, 3)) for _ in range(columns)]
        high = max(counts) * 26 + 16
        cells.append([])
        for column, count in enumerate(counts):
            room = edges[column + 1] - edges[column] - 16
            base = top + high / 2 - (count - 1) * 13 + 5
            widths = [room * rng.uniform(0.4, 0.95) for _ in range(count)]
            cells[-1].append(
                [
                    sheet.line(edges[column] + 8, edges[column] + 8 + wide, base + 26 * k)
                    for k, wide in enumerate(widths)
                ]
            )
        top += high
        tops.append(top)
    if rules in ("all", "rows"):
        sheet.level += [(60, 840, y) for y in tops]
    if rules in ("all", "columns"):
        sheet.upright += [(tops[0], tops[-1], x) for x in edges]
    sheet.block(60, 840, top + 60, 3, last=0.5)
    return sheet, cells
