"""Documents made by hand for the tests of formats: no model, no pictures read."""

from __future__ import annotations

import unicodedata

from khmer_fast.document import (
    Alternative,
    Box,
    Cell,
    Character,
    Document,
    Line,
    Note,
    Origin,
    Page,
    Region,
    Word,
)
from khmer_fast.text import clusters

KHMER = "ព្រះរាជាណាចក្រកម្ពុជា ជាតិ សាសនា ព្រះមហាក្សត្រ"
HOSTILE = 'a<b>&"quote\'s"]]> <!-- x --> \x00\x07\x1b[31m \ud800 \ufffe | * _ `c` \\ =1+1 😀 é'


def line(
    text: str, left: int, top: int, width: int | None = None, height: int = 40, **more
) -> Line:
    """A line with words, characters, baseline and polygon in a box that it fills evenly: of this
    width, or of what letters of its height take."""
    if width is None:
        width = max(16 * sum(unicodedata.category(c) != "Mn" for c in text), 4)
    box = (left, top, left + width, top + height)
    words: list[Word] = []
    at = 0
    for part in text.split():
        start = at / max(len(text), 1)
        end = (at + len(part)) / max(len(text), 1)
        word_box = (left + round(width * start), top, left + round(width * end), top + height)
        words.append(Word(part, 0.97, word_box))
        at += len(part) + 1
    y = top + 0.7 * height
    fields = dict(
        baseline=((float(left), y), (float(left + width), y)),
        polygon=(
            (left, top),
            (left + width, top),
            (left + width, top + height),
            (left, top + height),
        ),
        words=tuple(words),
        characters=tuple(Character(cluster, 0.99, box) for cluster in clusters(text)),
    )
    return Line(text, 0.93, box, **{**fields, **more})


def region(kind: str, texts: list[str], left: int, top: int, width: int = 700) -> Region:
    """Lines under each other, 60 px from top to top; of a text they are justified."""
    full = width if kind == "text" else None
    lines = tuple(line(text, left, top + 60 * i, full) for i, text in enumerate(texts))
    return Region(kind, (left, top, left + width, top + 60 * len(texts)), lines)


def table(rows: list[list[str]], left: int, top: int, width: int = 600) -> Region:
    """Cells with a line each; empty texts are cells without lines."""
    cells = []
    step = width // len(rows[0])
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            x, y = left + c * step, top + 60 * r
            lines = (line(text, x + 5, y + 5),) if text else ()
            cells.append(Cell(r, c, (x, y, x + step, y + 60), lines))
    box: Box = (left, top, left + width, top + 60 * len(rows))
    return Region("table", box, (), tuple(cells))


def page(number: int = 1, **more) -> Page:
    """A page with a region of every kind."""
    merged = table([["ឈ្មោះ", "ចំនួន", "តម្លៃ"], ["ក្រដាស", "១០", "=1+1"]], 100, 700)
    wide = Cell(2, 0, (100, 820, 700, 880), (line("សរុប 25,000 រៀល", 105, 825),), 1, 3)
    regions = (
        region("header", ["ក្រសួងអប់រំ", "លេខ ១២៣"], 60, 20, 300),
        region("heading", [KHMER], 150, 160),
        region(
            "text",
            ["មាត្រា ១ ប្រទេសកម្ពុជាជាព្រះ", "រាជាណាចក្រ Kingdom of Cam-", "bodia ។"],
            60,
            240,
            880,
        ),
        region("list", ["1. ទីមួយ", "- ទីពីរ", "បន្ត", "ក. ទីបី"], 90, 440),
        Region("table", (100, 700, 700, 880), (), (*merged.cells, wide)),
        Region("picture", (60, 900, 160, 1000)),
        Region("stamp", (700, 900, 900, 1000), (line("ត្រាក្រសួង", 720, 930),)),
        region("footer", ["៣"], 480, 1340, 40),
    )
    fields = dict(
        dpi=120.0,
        regions=regions,
        origin=Origin("ocr", "the layer is in a legacy encoding (Limon)", 0.984),
        notes=(Note("unread ink", "3 % of the ink was read by no line", 0.03, ((1, 2, 3, 4),)),),
    )
    return Page(number, 1000, 1400, **{**fields, **more})


def document(pages: int = 2) -> Document:
    """Pages with regions of every kind, the last one with an error."""
    good = [page(number) for number in range(1, pages)]
    bad = Page(pages, 0, 0, error="page 2 is damaged: <no & tree>")
    return Document('scans/a "b" & <c>.pdf', (*good, bad))


def hostile_document() -> Document:
    """Texts that a format could trip over."""
    alternatives = (Alternative(HOSTILE, -3.5),)
    lines = tuple(
        line(text, 10, 10 + 50 * i, alternatives=alternatives, flags=("doubtful",))
        for i, text in enumerate((HOSTILE, "# 1. - + =", "1. x", "|", "", "\u17d2\u17b6\u200b"))
    )
    regions = (
        Region("text", (10, 10, 600, 400), lines),
        table([[HOSTILE, "=cmd|' /C calc'!A0"], ["-5", "-x"]], 10, 500, 2400),
        Region("text", (-5, -5, 0, 0), (line("x", -20, -30, 0, 0, baseline=(), words=()),)),
        Region("table", (0, 0, 1, 1)),
        Region("text", (0, 0, 1, 1)),
    )
    return Document("\udcff\x1b]0;x\x07.pdf", (Page(1, 2500, 900, regions),))
