"""Tables: with rules and without, with coloured cells, with lone digits in them."""

from __future__ import annotations

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_letters import prose, titles
from khmer_fast.data.page_type import Type

_KHMER_DIGITS = str.maketrans("0123456789", "០១២៣៤៥៦៧៨៩")


def table(page: Composer) -> None:
    """A page with one or two tables and some text about them."""
    x = page.some(0.05, 0.1) * page.width
    width = page.width - 2 * x
    y = page.some(0.05, 0.1) * page.height
    if page.chance(0.7):
        y = titles(page, x + width / 2, y, width)
    bottom = 0.95 * page.height
    while y < bottom - 6 * page.body.size:
        if page.chance(0.4):
            y = prose(
                page,
                x,
                y + page.body.size,
                width,
                min(bottom, y + page.some(2, 10) * 2 * page.body.size),
            )
        y = draw_table(page, x, y + page.body.size, width, bottom)
        y += 2 * page.body.size


def draw_table(page: Composer, x: float, y: float, width: float, bottom: float) -> float:
    """Draw a table from the top y down; returns where it ends."""
    rng = page.rng
    page.region("table")
    type = page.body.at(size=page.body.size * page.some(0.75, 1.0))
    letter = page.letter(type)
    count = rng.randint(2, 7)
    shares = [rng.uniform(0.4, 2) for _ in range(count)]
    numbered = page.chance(0.6)
    kinds = [
        rng.choice(("words", "table_cell", "table_cell", "digit", "text", "number")) for _ in shares
    ]
    if numbered:
        kinds[0], shares[0] = "digit", 0.25
    edges = [x]
    for share in shares:
        edges.append(edges[-1] + width * share / sum(shares))
    pad = page.some(0.2, 0.6) * type.size
    pitch = letter * page.some(2.4, 3.2)
    rules = rng.choice(("all", "all", "rows", "head", "none"))
    ink = rng.choice((0, 0, 60, 140, 190))
    thick = page.unit * rng.choice((0.5, 0.8, 1.2))
    head_level = rng.choice((None, None, 200, 120, 40, 0))
    stripes = page.chance(0.2)
    aligns = [rng.choice(("left", "centre", "right")) if k != "text" else "left" for k in kinds]
    khmer = page.chance(0.6)
    tops = [y]
    for row in range(rng.randint(3, 18)):
        head = row == 0
        cells = [
            _cell(page, kind, edges[i + 1] - edges[i] - 2 * pad, type, head, row, khmer)
            for i, kind in enumerate(kinds)
        ]
        lines = max(len(cell) for cell in cells)
        top = tops[-1]
        high = lines * pitch + 2 * pad * 0.6
        if top + high > bottom:
            break
        ground = 255
        if head and head_level is not None:
            ground = head_level
        elif stripes and row % 2:
            ground = 232
        elif page.chance(0.02):
            ground = rng.choice((200, 225, 90))
        if ground != 255:
            page.canvas.fill((x, top, edges[-1], top + high), ground)
        level = type.level if ground > 150 else 250
        for column, cell in enumerate(cells):
            left, right = edges[column] + pad, edges[column + 1] - pad
            align = "centre" if head else aligns[column]
            at = {"left": left, "centre": (left + right) / 2, "right": right}[align]
            base = top + 0.6 * pad + (lines - len(cell)) * pitch / 2 + letter * 1.7
            for text in cell:
                bold = 1 if head and page.chance(0.8) else type.bold
                page.line(
                    text,
                    at,
                    base,
                    type.at(level=level, bold=bold),
                    align=align,
                    cell=(row, column),
                    kind="cell",
                )
                base += pitch
        tops.append(top + high)
    end = tops[-1]
    if rules != "none":
        drawn = tops if rules in ("all", "rows") else tops[:2] + tops[-1:]
        for row_top in drawn:
            page.canvas.rule(x, row_top, edges[-1], row_top, ink, thick)
    if rules == "all":
        for edge in edges:
            page.canvas.rule(edge, tops[0], edge, end, ink, thick)
    return end


def _cell(
    page: Composer, kind: str, width: float, type: Type, head: bool, row: int, khmer: bool
) -> list[str]:
    """The lines of a cell, no wider than `width`."""
    if head:
        kind = "words"
    if kind == "digit":
        number = str(row)
        if page.chance(0.2):
            number = str(page.rng.randint(0, 99))
        return [number.translate(_KHMER_DIGITS) if khmer else number]
    if kind == "text" and page.chance(0.8):
        text = page.running(page.rng.randint(5, 60), type)
        return page.setter.wrap(text, type, width, 0, 0.5)[:4]
    if kind in ("words", "text"):
        return [page.fitting(page.rng.choice(("single_word", "words", "latin")), width, type)]
    if page.chance(0.06):
        return [page.rng.choice(("-", "–", "0", "០"))]
    return [page.fitting("table_cell" if kind == "table_cell" else "numbers", width, type)]
