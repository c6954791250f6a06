"""Tables: with rules and without, with coloured cells, with lone digits in them."""

from __future__ import annotations

from dataclasses import dataclass

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_prose import page_number, prose, titles
from khmer_fast.data.page_type import Type


@dataclass(frozen=True)
class TableStyle:
    """How one table looks: `rules` is all, rows, head, columns or none; levels are grey."""

    type: Type
    pad: float
    pitch: float
    rules: str
    ink: int
    thick: float
    head: int | None
    stripe: int | None
    odd_cells: float  # chance of a cell on a ground of its own


def table(page: Composer) -> None:
    """A page with one or more tables and some text about them."""
    x = page.some(0.05, 0.1) * page.width
    width = page.width - 2 * x
    y = page.some(0.05, 0.1) * page.height
    size = page.body.size
    if page.chance(0.7):
        y = titles(page, x + width / 2, y, width)
    bottom = 0.93 * page.height
    while y < bottom - 6 * size:
        if page.chance(0.4):
            y = prose(page, x, y + size, width, min(bottom, y + page.some(2, 20) * size))
        y = draw_table(page, x, y + size, width, bottom) + 2 * size
    if page.chance(0.4):
        page_number(page, x, width, 0.97 * page.height)


def choose_style(page: Composer) -> TableStyle:
    """A table's manner."""
    rng = page.rng
    type = page.body.at(size=page.body.size * page.some(0.75, 1.0))
    return TableStyle(
        type=type,
        pad=page.some(0.25, 0.8) * type.size,
        pitch=page.letter(type) * page.some(2.4, 3.2),
        rules=rng.choice(("all", "all", "all", "rows", "head", "columns", "none")),
        ink=rng.choice((0, 0, 60, 140, 190)),
        thick=page.unit * rng.choice((0.5, 0.8, 1.2)),
        head=rng.choice((None, None, 215, 180, 120, 70, 30, 0)),
        stripe=rng.choice((None, None, None, 240, 225)),
        odd_cells=rng.choice((0.0, 0.02, 0.1)),
    )


def draw_table(page: Composer, x: float, y: float, width: float, bottom: float) -> float:
    """Draw a table from the top y down; returns where it ends, y if there was no room."""
    rng = page.rng
    style = choose_style(page)
    type = style.type
    count = rng.randint(2, 7)
    kinds = [
        rng.choice(("words", "amount", "amount", "digit", "text", "number")) for _ in range(count)
    ]
    shares = [rng.uniform(0.5, 2) * (0.4 if kind == "digit" else 1) for kind in kinds]
    if page.chance(0.6):
        kinds[0], shares[0] = "digit", 0.3
    edges = [x]
    for share in shares:
        edges.append(edges[-1] + width * share / sum(shares))
    aligns = [rng.choice(("left", "centre", "right")) if k != "text" else "left" for k in kinds]
    headed = page.chance(0.85)
    grounds: list[tuple[float, float, float, float, int]] = []
    drafts = []
    tops = [y]
    for row in range(rng.randint(3, 18)):
        head = headed and row == 0
        rooms = [edges[i + 1] - edges[i] - 2 * style.pad for i in range(count)]
        cells = [
            cell_lines(page, kind, room, type, head, row)
            for kind, room in zip(kinds, rooms, strict=True)
        ]
        high = max(len(cell) for cell in cells) * style.pitch + 1.3 * style.pad
        top = tops[-1]
        if top + high > bottom:
            break
        tops.append(top + high)
        drafts.append((head, top, high, cells))
    if len(tops) < 3:
        return y
    page.region("table")
    for row, (head, top, high, cells) in enumerate(drafts):
        ground = 255
        if head and style.head is not None:
            ground = style.head
        elif style.stripe is not None and row % 2:
            ground = style.stripe
        if ground != 255:
            page.canvas.fill((x, top, edges[-1], top + high), ground)
        bold = 1 if head and page.chance(0.8) else type.bold
        for column, cell in enumerate(cells):
            level, under = type.level, ground
            if page.chance(style.odd_cells):
                under = rng.choice((200, 225, 90, 40))
                grounds.append((edges[column], top, edges[column + 1], top + high, under))
                page.canvas.fill(grounds[-1][:4], under)
            if under < 140:
                level = 250
            elif page.chance(0.05):
                level = page.coloured(level)
            align = "centre" if head else aligns[column]
            draw_cell(
                page, cell, (edges[column], top, edges[column + 1], top + high),
                type.at(level=level, bold=bold), style, align, (row, column),
            )  # fmt: skip
    _rules(page, style, edges, tops)
    return tops[-1]


def draw_cell(
    page: Composer,
    lines: list[str],
    box: tuple[float, float, float, float],
    type: Type,
    style: TableStyle,
    align: str,
    cell: tuple[int, int],
) -> None:
    """A cell's lines, in the middle of its height."""
    left, right = box[0] + style.pad, box[2] - style.pad
    at = {"left": left, "centre": (left + right) / 2, "right": right}[align]
    letter = page.letter(type)
    base = (box[1] + box[3]) / 2 - (len(lines) - 1) * style.pitch / 2 + 0.5 * letter
    for text in lines:
        page.line(text, at, base, type, align=align, cell=cell, kind="cell")
        base += style.pitch


def _rules(page: Composer, style: TableStyle, edges: list[float], tops: list[float]) -> None:
    canvas = page.canvas
    if style.rules in ("all", "rows", "head"):
        for top in tops if style.rules != "head" else [*tops[:2], tops[-1]]:
            canvas.rule(edges[0], top, edges[-1], top, style.ink, style.thick)
    if style.rules in ("all", "columns"):
        for edge in edges:
            canvas.rule(edge, tops[0], edge, tops[-1], style.ink, style.thick)
    if page.chance(0.1):
        canvas.outline((edges[0], tops[0], edges[-1], tops[-1]), style.ink, 2 * style.thick)


def cell_lines(
    page: Composer, kind: str, width: float, type: Type, head: bool, row: int
) -> list[str]:
    """The lines of a cell, no wider than `width`."""
    if head:
        text = page.text(
            page.rng.choice(("single_word", "words", "heading")), page.rng.randint(2, 24), type
        )
        return page.setter.wrap(text, type, width, 0, 0.5)[:2]
    if kind == "digit":
        number = str(row) if page.chance(0.75) else str(page.rng.randint(0, 99))
        return [page.digits(number)]
    if kind == "text" and page.chance(0.8):
        text = page.running(page.rng.randint(5, 60), type)
        return page.setter.wrap(text, type, width, 0, 0.5)[:4]
    if kind in ("words", "text"):
        return [page.fitting(page.rng.choice(("single_word", "words", "latin")), width, type)]
    if page.chance(0.06):
        return [page.digits(page.rng.choice(("-", "–", "0")))]
    return [page.fitting("table_cell" if kind == "amount" else "numbers", width, type)]
