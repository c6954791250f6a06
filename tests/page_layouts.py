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


LAYOUTS = {
    function.__name__: function
    for function in (
        letter_head, two_sided_head, kingdom_above_right, two_columns, columns_on_one_grid,
        three_columns, justified_gaps, signers, addresses, amounts,
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
