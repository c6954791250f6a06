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
    rules = rng.choice(("all", "all", "all", "rows", "head", "columns", "none"))
    apart = (0.25, 0.8) if rules in ("all", "columns") else (0.9, 2.0)  # no rule parts the cells
    return TableStyle(
        type=type,
        pad=page.some(*apart) * type.size,
        pitch=page.letter(type) * page.some(2.4, 3.2),
        rules=rules,
        ink=rng.choice((0, 0, 60, 140, 190)),
        thick=page.unit * rng.choice((0.5, 0.8, 1.2)),
        head=rng.choice((None, None, 215, 180, 120, 70, 30, 0)),
        stripe=rng.choice((None, None, None, 240, 225)),
        odd_cells=rng.choice((0.0, 0.02, 0.1)),
    )


@dataclass(frozen=True)
class _Row:
    """A row before it is drawn: its top and height, each cell's lines and its first and last
    column."""

    head: bool
    top: float
    high: float
    cells: list[list[str]]
    columns: list[tuple[int, int]]


def draw_table(page: Composer, x: float, y: float, width: float, bottom: float) -> float:
    """Draw a table from the top y down; returns where it ends, y if there was no room."""
    rng = page.rng
    style = choose_style(page)
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
    rows = _rows(page, style, kinds, edges, y, bottom)
    if len(rows) < 2:
        return y
    page.region("table")
    aligns = [rng.choice(("left", "centre", "right")) if k != "text" else "left" for k in kinds]
    for number, row in enumerate(rows):
        _draw_row(page, style, row, number, edges, aligns)
    _rules(page, style, edges, rows)
    return rows[-1].top + rows[-1].high


def _rows(
    page: Composer, style: TableStyle, kinds: list[str], edges: list[float], y: float, bottom: float
) -> list[_Row]:
    """The rows that fit between y and `bottom`, heads first; some heads span columns."""
    rng = page.rng
    count = len(kinds)
    heads = rng.choice((0, 1, 1, 1, 1, 2))
    rows: list[_Row] = []
    top = y
    for number in range(rng.randint(3, 18)):
        head = number < heads
        columns = [(i, i) for i in range(count)]
        if heads == 2 and number == 0 and count > 2:  # one cell over several columns
            first = rng.randint(0, count - 2)
            last = rng.randint(first + 1, count - 1)
            columns = [c for c in columns if not first <= c[0] <= last]
            columns = sorted([*columns, (first, last)])
        cells = []
        for first, last in columns:
            room = edges[last + 1] - edges[first] - 2 * style.pad
            cells.append(cell_lines(page, kinds[first], room, style.type, head, number))
        high = max(len(cell) for cell in cells) * style.pitch + 1.3 * style.pad
        if top + high > bottom:
            break
        rows.append(_Row(head, top, high, cells, columns))
        top += high
    return rows


def _draw_row(
    page: Composer,
    style: TableStyle,
    row: _Row,
    number: int,
    edges: list[float],
    aligns: list[str],
) -> None:
    ground = 255
    if row.head and style.head is not None:
        ground = style.head
    elif style.stripe is not None and number % 2:
        ground = style.stripe
    elif page.chance(0.3 * style.odd_cells):
        ground = page.rng.choice((225, 200, 90))
    bottom = row.top + row.high
    if ground != 255:
        page.canvas.fill((edges[0], row.top, edges[-1], bottom), ground)
    bold = 1 if row.head and page.chance(0.8) else style.type.bold
    for cell, (first, last) in zip(row.cells, row.columns, strict=True):
        level, under = style.type.level, ground
        box = (edges[first], row.top, edges[last + 1], bottom)
        if page.chance(style.odd_cells):
            under = page.rng.choice((200, 225, 90, 40))
            page.canvas.fill(box, under)
        if under < 140:
            level = 250
        elif page.chance(0.05):
            level = page.coloured(level)
        align = "centre" if row.head else aligns[first]
        type = style.type.at(level=level, bold=bold)
        draw_cell(page, cell, box, type, style, align, (number, first))


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
        runs = page.styled(text, type)
        page.line(runs, at, base, type, align=align, cell=cell, kind="cell")
        base += style.pitch


def _rules(page: Composer, style: TableStyle, edges: list[float], rows: list[_Row]) -> None:
    canvas = page.canvas
    tops = [row.top for row in rows] + [rows[-1].top + rows[-1].high]
    if style.rules in ("all", "rows", "head"):
        for top in tops if style.rules != "head" else [*tops[:2], tops[-1]]:
            canvas.rule(edges[0], top, edges[-1], top, style.ink, style.thick)
    if style.rules in ("all", "columns"):
        for row in rows:
            for edge in [edges[first] for first, _ in row.columns] + edges[-1:]:
                canvas.rule(edge, row.top, edge, row.top + row.high, style.ink, style.thick)
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
