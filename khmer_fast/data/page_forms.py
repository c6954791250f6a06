"""Pages to be filled in or paid: forms, invoices, receipts."""

from __future__ import annotations

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_letters import letterhead
from khmer_fast.data.page_marks import crest, handwriting, seal
from khmer_fast.data.page_pictures import barcode, photograph, qr_code
from khmer_fast.data.page_prose import pitch_of, prose, titles
from khmer_fast.data.page_tables import TableStyle, cell_lines, choose_style, draw_cell
from khmer_fast.data.page_type import Run, Type
from khmer_fast.data.words import words


def form(page: Composer) -> None:
    """A form: fields with dotted leaders, boxes and rules, some of them filled in by hand."""
    x = page.some(0.06, 0.1) * page.width
    width = page.width - 2 * x
    y = page.some(0.05, 0.08) * page.height
    if page.chance(0.7):
        y = letterhead(page, x, y, width)
    y = titles(page, page.width / 2, y + page.body.size, width, most=2)
    if page.chance(0.3):
        side = page.unit * page.some(60, 85)
        box = (x + width - side, y, x + width, y + 1.3 * side)
        if not page.inked(box):
            page.canvas.outline(box, 0, page.unit)
            if page.chance(0.4):
                photograph(page, (box[0] + 2, box[1] + 2, box[2] - 2, box[3] - 2))
            elif page.chance(0.5):
                page.region("text")
                page.line(
                    "៤ x ៦", (box[0] + box[2]) / 2, y + 0.6 * side, align="centre", kind="box"
                )
            y = box[3] + 2 * page.body.size
    pitch = pitch_of(page, page.body, 0.05) * page.some(1.0, 1.25)
    bottom = page.height * page.some(0.7, 0.92)
    filled = page.rng.choice((0.0, 0.0, 0.4, 0.8))
    while y < bottom:
        roll = page.rng.random()
        if roll < 0.6:
            page.region("text")
            for _ in range(page.rng.randint(1, 5)):
                if y < bottom:
                    _dotted(page, x, y, width, filled)
                    y += pitch
        elif roll < 0.75:
            y = _boxes(page, x, y, width, pitch, filled)
        elif roll < 0.85:
            y = _ticks(page, x, y, width, pitch)
        else:
            y = prose(page, x, y, width, min(bottom, y + page.some(1, 5) * pitch))
    if page.chance(0.7) and y < 0.93 * page.height:
        page.region("text")
        page.line("ហត្ថលេខា និងត្រា", x + 0.75 * width, y, align="centre", kind="signature")


def _dotted(page: Composer, x: float, y: float, width: float, filled: float) -> None:
    """One line of fields with leaders of dots up to the right margin; the dots are its text."""
    type = page.body
    dots = type.at(spacing=page.rng.choice((0.0, 0.05, 0.12)), bold=0)
    dot = page.setter.width(".", dots)
    labels = []
    for _ in range(page.rng.choice((1, 1, 2, 3))):
        labels.append(
            page.rng.choice(words("fields"))
            if page.chance(0.7)
            else page.text("single_word", 12, type)
        )
    labels = [label + page.rng.choice(("", "", "៖", " :")) for label in labels]
    total = sum(page.setter.width(label, type) for label in labels)
    each = int((width - total) / dot / len(labels)) - 1
    if each < 4 or each * len(labels) > 130:
        each = max(4, min(each, 130 // len(labels)))
    runs: list[Run] = []
    pen = x
    written: list[tuple[float, float]] = []
    for label in labels:
        runs += [Run(label, type), Run("." * each, dots)]
        start = pen + page.setter.width(label, type)
        pen = start + each * dot
        if page.chance(filled):
            written.append((start + type.size, pen - type.size))
    if page.setter.spans("".join(run.text for run in runs), type) is None:
        return
    page.line(runs, x, y, kind="field")
    for start, end in written:
        size = type.size * page.some(0.8, 1.2)
        room = (end - start) * page.some(0.3, 0.9) - 2 * size
        if room > size:
            handwriting(page, start, y - 0.15 * size, room, size)


def _boxes(page: Composer, x: float, y: float, width: float, pitch: float, filled: float) -> float:
    """A label and a row of boxes for single letters, or one box or rule to write on."""
    page.region("text")
    label = page.rng.choice(words("fields")) + " "
    end = page.line(label.strip(), x, y, kind="field") + page.body.size
    side = 1.5 * page.body.size
    top = y - 1.15 * page.body.size
    roll = page.rng.random()
    level = page.rng.choice((0, 80, 150))
    if roll < 0.45:
        count = min(page.rng.randint(4, 16), int((x + width - end) / side))
        typed = page.chance(0.4)
        for k in range(count):
            box = (end + k * side, top, end + (k + 1) * side + 1, top + side)
            page.canvas.outline(box, level, page.unit * 0.7)
        if typed and count > 0:
            page.region("text")
            digits = page.digits("".join(page.rng.choices("0123456789", k=count)))
            advance = page.setter.width(digits, page.body) / count
            space = (side - advance) / (page.body.size * page.body.stretch)
            type = page.body.at(spacing=page.body.spacing + space)
            page.line(digits, end + (side - advance) / 2, y, type, kind="boxes")
    elif roll < 0.7:
        box = (end, top, x + width * page.some(0.6, 1.0), top + side)
        page.canvas.outline(box, level, page.unit * 0.7)
        if page.chance(filled) and box[2] - end > 6 * side:
            handwriting(page, end + side, y, 4 * side, page.body.size)
    else:
        page.canvas.rule(end, y + 2, x + width * page.some(0.6, 1.0), y + 2, level, page.unit * 0.7)
    return y + 1.3 * pitch


def _ticks(page: Composer, x: float, y: float, width: float, pitch: float) -> float:
    """Boxes to tick beside words, in one row."""
    page.region("text")
    size = page.body.size
    pen = x + page.rng.choice((0, 2)) * size
    while pen < x + 0.7 * width:
        box = (pen, y - 0.8 * size, pen + 0.85 * size, y + 0.05 * size)
        page.canvas.outline(box, 0, page.unit * 0.8)
        if page.chance(0.3):
            handwriting(page, pen + 0.1 * size, y, 0.3 * size, 0.6 * size)
        text = page.fitting("single_word", 0.25 * width, page.body)
        pen = page.line(text, pen + 1.4 * size, y, kind="choice") + page.some(1.8, 4) * size
    return y + pitch


def invoice(page: Composer) -> None:
    """An invoice: name and logo, two blocks of particulars, a table of items, totals."""
    x = page.some(0.05, 0.09) * page.width
    width = page.width - 2 * x
    size = page.body.size * page.some(0.8, 1.0)
    body = page.body = page.body.at(size=size)
    small = body.at(size=0.78 * size, level=page.rng.choice((body.level, 110, 140)))
    big = page.heading.at(size=size * page.some(1.5, 2.4))
    y = page.some(0.06, 0.09) * page.height
    left = x
    if page.chance(0.6):
        radius = page.some(1.2, 2.2) * size
        crest(page, x + radius, y, radius)
        left += 2.6 * radius
    page.region("header")
    page.line(page.fitting("heading", 0.4 * width, big), left, y, big, kind="title")
    if page.chance(0.7):
        page.line(page.fitting("latin", 0.4 * width, small), left, y + 1.8 * size, small)
    page.region("header")
    title = page.rng.choice(("វិក្កយបត្រ", "បង្កាន់ដៃ", "វិក្កយបត្រអាករ", "តារាងតម្លៃ"))
    page.line(title, x + width, y, big, align="right", kind="title")
    for k in range(page.rng.randint(1, 3)):
        text = page.fitting(page.rng.choice(("numbers", "latin", "field")), 0.35 * width, small)
        page.line(text, x + width, y + (1.8 + 1.7 * k) * size, small, align="right", kind="number")
    y += 7 * size
    page.canvas.rule(x, y, x + width, y, 40, page.unit * page.some(0.5, 2))
    y += 2.2 * size
    for at, align in ((x, "left"), (x + width, "right")):
        page.region("text")
        base = y
        for _ in range(page.rng.randint(2, 6)):
            type = page.rng.choice((body, small))
            kind = page.rng.choice(("field", "address", "numbers", "latin"))
            page.line(page.fitting(kind, 0.42 * width, type), at, base, type, align=align)
            base += page.letter(body) * 2.8
    y += page.letter(body) * 2.8 * 6 + size
    y = _items(page, x, y, width, small)
    if page.chance(0.5):
        page.region("text")
        page.paragraph(
            page.running(page.rng.randint(20, 160), small), x, y + 2 * size, 0.6 * width, small,
            pitch=2.8 * page.letter(small), bottom=0.97 * page.height, align="left",
        )  # fmt: skip
    if page.chance(0.3):
        radius = page.unit * page.some(30, 50)
        seal(page, x + page.some(0.3, 0.9) * width, min(y, page.height - radius), radius)
    if page.chance(0.25):
        qr_code(page, x, 0.96 * page.height - 5 * size, 5 * size)


def _items(page: Composer, x: float, y: float, width: float, small: Type) -> float:
    """The items of an invoice, each a name over a smaller one, and the totals."""
    style = choose_style(page)
    shares = (0.5, 0.12, 0.18, 0.2)
    edges = [x]
    for share in shares:
        edges.append(edges[-1] + share * width)
    high = page.some(2.6, 4) * page.body.size
    two = page.chance(0.5)
    if two:
        high = max(high, 3.6 * page.body.size)
    page.region("table")
    bottom = 0.8 * page.height
    row = 0
    for row in range(page.rng.randint(2, 12)):
        if y + high > bottom:
            break
        ground = style.head if row == 0 and style.head is not None else 255
        if ground != 255:
            page.canvas.fill((x, y, x + width, y + high), ground)
        level = 250 if ground < 140 else page.body.level
        for column in range(4):
            _item(
                page,
                style,
                (edges[column], y, edges[column + 1], y + high),
                row,
                column,
                level,
                two,
                small,
            )
        y += high
        if style.rules != "none":
            page.canvas.rule(x, y, x + width, y, style.ink, style.thick)
    for k in range(page.rng.randint(1, 3)):
        type = page.body if k else page.body.at(bold=1)
        label = page.fitting("single_word", 0.3 * width, type)
        base = y + 2 * page.body.size
        page.line(label, x + 0.62 * width, base, type, cell=(row + 1 + k, 0), kind="cell")
        text = page.fitting("table_cell", 0.2 * width, type)
        page.line(
            text,
            x + width - style.pad,
            base,
            type,
            align="right",
            cell=(row + 1 + k, 1),
            kind="cell",
        )
        y += page.some(2, 2.6) * page.body.size
    return y + page.body.size


def _item(
    page: Composer,
    style: TableStyle,
    box: tuple[float, float, float, float],
    row: int,
    column: int,
    level: int,
    two: bool,
    small: Type,
) -> None:
    type = page.body.at(level=level)
    align = "left" if column == 0 else ("centre" if column == 1 else "right")
    room = box[2] - box[0] - 2 * style.pad
    if row == 0:
        words = cell_lines(page, "words", room, type, True, row)
        draw_cell(page, words, box, type.at(bold=1), style, align, (row, column))
    elif column == 1:
        draw_cell(
            page,
            [page.digits(str(page.rng.randint(1, 20)))],
            box,
            type,
            style,
            align,
            (row, column),
        )
    elif column == 0 and two:
        middle = (box[1] + box[3]) / 2
        page.line(
            page.fitting("words", room, type),
            box[0] + style.pad,
            middle - 0.2 * type.size,
            type,
            cell=(row, 0),
            kind="cell",
        )
        page.line(
            page.fitting("latin", room, small),
            box[0] + style.pad,
            middle + 1.15 * type.size,
            small,
            cell=(row, 0),
            kind="cell",
        )
    else:
        kind = "words" if column == 0 else "amount"
        draw_cell(
            page,
            cell_lines(page, kind, room, type, False, row),
            box,
            type,
            style,
            align,
            (row, column),
        )


def receipt(page: Composer) -> None:
    """A shop's receipt on a narrow roll: centred head, items and amounts, rules of dashes."""
    size = page.width / page.some(17, 28)
    page.body = page.body.at(size=size, stretch=1.0)
    type = page.body
    x, width = 0.06 * page.width, 0.88 * page.width
    pitch = page.letter(type) * page.some(2.5, 3.3)
    y = 3 * size
    if page.chance(0.5):
        crest(page, page.width / 2, y + size, 2.2 * size)
        y += 5.5 * size
    page.region("header")
    big = page.heading.at(size=size * page.some(1.2, 1.8))
    page.line(
        page.fitting("heading", width, big), page.width / 2, y, big, align="centre", kind="title"
    )
    y += pitch
    for _ in range(page.rng.randint(1, 4)):
        kind = page.rng.choice(("address", "numbers", "latin"))
        page.line(page.fitting(kind, width, type), page.width / 2, y, type, align="centre")
        y += pitch
    bottom = page.height * page.some(0.6, 0.85)
    row = 0
    page.region("table")
    while y < bottom:
        if row % page.rng.randint(4, 9) == 0:
            _dashes(page, x, y - 0.4 * size, width)
            y += pitch
        page.line(page.fitting("words", 0.55 * width, type), x, y, type, cell=(row, 0), kind="cell")
        amount = page.fitting("table_cell", 0.33 * width, type)
        page.line(amount, x + width, y, type, align="right", cell=(row, 1), kind="cell")
        y += pitch
        row += 1
    _dashes(page, x, y - 0.4 * size, width)
    page.region("text")
    total = big.at(bold=1)
    y += pitch
    page.line(page.fitting("single_word", 0.5 * width, total), x, y, total)
    page.line(page.fitting("table_cell", 0.4 * width, total), x + width, y, total, align="right")
    y += 1.4 * pitch
    page.region("footer")
    page.line(page.fitting("running", width, type), page.width / 2, y, type, align="centre")
    if page.chance(0.4):
        barcode(page, x + 0.1 * width, y + pitch, 0.8 * width, 3 * size)
        y += 4 * size
    elif page.chance(0.5):
        qr_code(page, page.width / 2 - 3 * size, y + pitch, 6 * size)
        y += 7 * size
    page.crop((0, 0, page.width, min(page.height, y + 3 * size)))


def _dashes(page: Composer, x: float, y: float, width: float) -> None:
    """A drawn rule of dashes, dots or a solid one."""
    step = page.some(0.25, 0.6) * page.body.size
    share = page.rng.choice((0.5, 0.7, 1.0))
    pen = x
    while pen < x + width:
        page.canvas.rule(pen, y, min(x + width, pen + share * step), y, page.body.level, page.unit)
        pen += step
