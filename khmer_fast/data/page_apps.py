"""Apps on telephones: lists, cards, buttons, keyboards, conversations."""

from __future__ import annotations

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import corners, divider
from khmer_fast.data.page_pictures import icon, keyboard, photograph
from khmer_fast.data.page_screens import Theme, choose_theme
from khmer_fast.data.page_type import Type


def app(page: Composer) -> None:
    """A telephone's screen: status bar, title bar, then parts of an app, a keyboard at times."""
    size = page.width / page.some(17, 27)
    page.body = page.body.at(size=size)
    page.heading = (
        page.body.at(size=1.2 * size, bold=1)
        if page.chance(0.6)
        else page.heading.at(size=1.2 * size)
    )
    theme = choose_theme(page)
    y = _status_bar(page, theme, size)
    if page.chance(0.85):
        y = _title_bar(page, theme, y, size)
    bottom = page.height - 1.2 * size
    if page.chance(0.6):
        bottom = _navigation(page, theme, size, bottom)
    if page.chance(0.25):
        bottom = _typing(page, theme, size, bottom)
    parts = (
        _search,
        _rows,
        _rows,
        _cards,
        _buttons,
        _paragraphs,
        _picture,
        _tiles,
        _switches,
        _splash,
    )
    while y < bottom - 4 * size:
        y = page.rng.choice(parts)(page, theme, y + page.some(0.3, 1.2) * size, size, bottom)
    if page.chance(0.15):  # a notice over everything
        text = page.text("running", 18, page.body)
        wide = page.setter.width(text, page.body) + 2 * size
        left, top = (page.width - wide) / 2, page.some(0.5, 0.8) * page.height
        box = (left, top, left + wide, top + 2.4 * size)
        if wide < page.width and not page.inked(box):
            page.canvas.fill(box, 110, 1.2 * size)
            page.region("text")
            page.line(
                text,
                page.width / 2,
                top + 1.5 * size,
                page.body.at(level=255),
                align="centre",
                kind="notice",
            )


def _status_bar(page: Composer, theme: Theme, size: float) -> float:
    if page.chance(0.4):
        page.canvas.fill((0, 0, page.width, 1.7 * size), theme.colour)
        level = theme.on_colour
    else:
        level = theme.ink
    type = page.body.at(size=0.72 * size, level=level)
    page.region("header")
    clock = f"{page.rng.randint(0, 23)}:{page.rng.randint(0, 59):02}"
    page.line(
        page.digits(clock) if page.chance(0.2) else clock,
        0.8 * size,
        1.15 * size,
        type,
        kind="clock",
    )
    right = page.width - 1.4 * size
    for name in page.rng.sample(
        ("battery", "wifi", "pin", "bell", "circle", "dots"), page.rng.randint(2, 4)
    ):
        icon(page, right, 0.45 * size, 0.75 * size, level, name)
        right -= 1.05 * size
    return 1.8 * size


def _title_bar(page: Composer, theme: Theme, y: float, size: float) -> float:
    high = page.some(2.6, 3.4) * size
    coloured = page.chance(0.5)
    level = theme.on_colour if coloured else theme.ink
    if coloured:
        page.canvas.fill((0, y, page.width, y + high), theme.colour)
    type = page.heading.at(level=level)
    x = size
    if page.chance(0.7):
        icon(
            page,
            x,
            y + high / 2 - 0.6 * size,
            1.2 * size,
            level,
            page.rng.choice(("back", "menu", "cross")),
        )
        x += 2.2 * size
    right = page.width - 1.8 * size
    for _ in range(page.rng.randint(0, 3)):
        icon(page, right, y + high / 2 - 0.55 * size, 1.1 * size, level)
        right -= 2 * size
    page.region("heading")
    centred = page.chance(0.25)
    text = page.fitting("heading", 0.8 * (right - x), type)
    at = page.width / 2 if centred else x
    if centred:
        text = page.fitting("heading", 0.45 * page.width, type)
    page.line(
        text,
        at,
        y + high / 2 + 0.4 * size,
        type,
        align="centre" if centred else "left",
        kind="title",
    )
    return y + high


def _navigation(page: Composer, theme: Theme, size: float, bottom: float) -> float:
    """The bar of tabs with icons and tiny names, or the system's three keys."""
    if page.chance(0.4):
        level = page.rng.choice((0, theme.card))
        page.canvas.fill((0, bottom - 2.2 * size, page.width, page.height), level)
        for k, name in enumerate(("menu", "square", "back")):
            icon(page, page.width * (0.2 + 0.28 * k), bottom - 1.6 * size, size, 255 - level, name)
        return bottom - 2.6 * size
    top = bottom - 3 * size
    page.canvas.rule(0, top, page.width, top, theme.muted, 1)
    count = page.rng.randint(3, 5)
    drawn = [(page.width * (k + 0.5) / count, page.rng.random()) for k in range(count)]
    type = page.body.at(size=0.62 * size, level=theme.muted)
    named = page.chance(0.7)
    for at, _ in drawn:
        icon(page, at - 0.6 * size, top + 0.4 * size, 1.2 * size, theme.muted)
    if named:
        page.after.append(
            lambda: _tab_names(
                page, [at for at, _ in drawn], top + 2.5 * size, type, page.width / count
            )
        )
    return top - 0.6 * size


def _tab_names(page: Composer, places: list[float], y: float, type: Type, room: float) -> None:
    page.region("footer")
    for at in places:
        page.line(
            page.fitting("single_word", 0.85 * room, type), at, y, type, align="centre", kind="tab"
        )


def _typing(page: Composer, theme: Theme, size: float, bottom: float) -> float:
    """A keyboard, above it a row of words to choose from."""
    top = bottom - page.some(0.28, 0.36) * page.height
    dark = theme.ground < 128
    ground, key = (30, 70) if dark else (215, 252)
    keyboard(page, (0, top, page.width, bottom + size), ground, key, 240 if dark else 40)
    page.canvas.fill((0, top - 2.2 * size, page.width, top), ground)
    type = page.body.at(size=0.9 * size, level=240 if dark else 40)
    words = page.rng.randint(2, 4)

    def suggest() -> None:
        page.region("footer")
        for k in range(words):
            at = page.width * (k + 0.5) / words
            page.line(
                page.fitting("single_word", 0.8 * page.width / words, type),
                at,
                top - 0.75 * size,
                type,
                align="centre",
                kind="suggestion",
            )

    page.after.append(suggest)
    return top - 2.8 * size


def _search(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    box = (0.8 * size, y, page.width - 0.8 * size, y + 2.2 * size)
    page.canvas.fill(
        box,
        (theme.card + theme.muted) // 2 if theme.ground < 128 else 232,
        page.rng.choice((0.3, 1.1)) * size,
    )
    icon(page, box[0] + 0.6 * size, y + 0.6 * size, size, theme.muted, "search")
    page.region("text")
    type = page.body.at(level=page.rng.choice((theme.ink, theme.muted)))
    page.line(
        page.fitting("running", 0.6 * page.width, type),
        box[0] + 2.2 * size,
        y + 1.45 * size,
        type,
        kind="field",
    )
    if page.chance(0.5):
        icon(page, box[2] - 1.6 * size, y + 0.6 * size, size, theme.muted, "cross")
    return y + 2.6 * size


def _rows(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    """A list: a picture or an icon, a name, a paler line below it, something at the right."""
    pictured, second = page.chance(0.6), page.chance(0.6)
    trailing = page.rng.choice((None, "icon", "time"))
    high = (3.4 if second else 2.4) * size * page.some(1, 1.3)
    pale = page.body.at(size=0.8 * size, level=theme.muted)
    bold = page.body.at(bold=page.rng.choice((0, 1)))
    for _ in range(page.rng.randint(2, 9)):
        if y + high > bottom:
            break
        page.region("list")
        x = size
        if pictured:
            side = 0.66 * high
            top = y + 0.17 * high
            if page.chance(0.5):
                photograph(page, (x, top, x + side, top + side), side / 2)
            else:
                page.canvas.fill((x, top, x + side, top + side), theme.colour, side / 2)
                icon(page, x + 0.25 * side, top + 0.25 * side, 0.5 * side, theme.on_colour)
            x += side + 0.8 * size
        room = page.width - x - (4 if trailing else 1) * size
        base = y + (0.42 if second else 0.6) * high
        page.line(
            page.fitting(page.rng.choice(("heading", "running", "latin")), room, bold),
            x,
            base,
            bold,
            kind="row",
        )
        if trailing == "time":
            text = page.digits(f"{page.rng.randint(0, 23)}:{page.rng.randint(0, 59):02}")
            page.line(text, page.width - 0.8 * size, base, pale, align="right", kind="time")
        elif trailing == "icon":
            icon(page, page.width - 2.2 * size, y + 0.3 * high, size, theme.muted)
        if second:
            page.line(page.fitting("running", room, pale), x, y + 0.82 * high, pale, kind="row")
        y += high
        if page.chance(0.5):
            page.canvas.rule(x, y, page.width, y, (theme.muted + theme.ground) // 2, 1)
    return y


def _cards(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    """A card: a picture over a title and some lines."""
    high = page.some(8, 16) * size
    if y + high > bottom:
        return y + size
    box = (0.7 * size, y, page.width - 0.7 * size, y + high)
    page.canvas.fill(box, theme.card, 0.6 * size)
    page.canvas.outline(box, (theme.muted + theme.card) // 2, 1, 0.6 * size)
    x, width = box[0] + 0.8 * size, box[2] - box[0] - 1.6 * size
    top = y
    if page.chance(0.6):
        photograph(page, (box[0], y, box[2], y + 0.5 * high), 0.4 * size)
        top += 0.5 * high
    page.region("text")
    base = top + 1.9 * size
    bold = page.body.at(bold=1)
    page.line(page.fitting("heading", width, bold), x, base, bold, kind="title")
    pale = page.body.at(size=0.85 * size, level=page.rng.choice((theme.ink, theme.muted)))
    page.paragraph(
        page.running(140, pale), x, base + 2.2 * size, width, pale, pitch=2.7 * page.letter(pale),
        bottom=box[3] - 0.8 * size, align="left",
    )  # fmt: skip
    return box[3] + 0.5 * size


def _buttons(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    """Buttons with centred words, filled or outlined, one below or beside another."""
    count = page.rng.choice((1, 1, 2, 3))
    beside = count > 1 and page.chance(0.5)
    page.region("text")
    high = page.some(2.2, 3.2) * size
    for k in range(count):
        if y + high > bottom:
            break
        wide = (page.width - 2 * size) / count if beside else page.some(0.4, 0.9) * page.width
        left = size + k * wide if beside else (page.width - wide) / 2
        box = (left + 0.2 * size, y, left + wide - 0.2 * size, y + high)
        filled = page.chance(0.6)
        radius = page.rng.choice((0.3, 0.6, 1.3)) * size
        if filled:
            page.canvas.fill(box, theme.colour, radius)
        else:
            page.canvas.outline(box, theme.colour, max(1, page.unit), radius)
        level = theme.on_colour if filled else theme.ink
        type = page.body.at(level=level, bold=page.rng.choice((0, 1)))
        text = page.fitting("heading", 0.75 * wide, type)
        page.line(
            text,
            (box[0] + box[2]) / 2,
            y + high / 2 + 0.35 * size,
            type,
            align="centre",
            kind="button",
        )
        if not beside:
            y += high + 0.7 * size
    return y + (high + 0.7 * size if beside else 0)


def _paragraphs(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    page.region("text")
    type = page.body.at(size=size * page.some(0.85, 1.1))
    return page.paragraph(
        page.running(page.rng.randint(40, 400), type), size, y + 1.2 * size, page.width - 2 * size,
        type, pitch=page.letter(type) * page.some(2.5, 3.6), bottom=bottom,
        align=page.rng.choice(("left", "left", "centre")),
    )  # fmt: skip


def _picture(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    """A picture over the whole width, with words over it at times."""
    end = min(bottom, y + page.some(6, 16) * size)
    photograph(page, (0, y, page.width, end))
    if page.chance(0.4) and end - y > 4 * size:
        page.canvas.darken(page.full_mask(end - y, page.width), 0, round(y), page.some(0.4, 0.7))
        page.region("text")
        type = page.heading.at(level=255)
        text = page.fitting("heading", 0.85 * page.width, type)
        page.line(text, size, end - 1.2 * size, type, kind="title")
    return end


def _tiles(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    """A grid of icons with their names below."""
    count = page.rng.randint(3, 5)
    room = page.width / count
    type = page.body.at(size=0.7 * size)
    page.region("text")
    for _ in range(page.rng.randint(1, 3)):
        if y + room > bottom:
            break
        side = 0.5 * room
        for k in range(count):
            x = k * room + 0.25 * room
            page.canvas.fill(
                (x, y, x + side, y + side),
                page.rng.choice((theme.colour, 160, 90)),
                page.rng.choice((0.2, 0.5)) * side,
            )
            icon(page, x + 0.25 * side, y + 0.25 * side, 0.5 * side, theme.on_colour)
            text = page.fitting("single_word", 0.9 * room, type)
            page.line(
                text, (k + 0.5) * room, y + side + 1.1 * size, type, align="centre", kind="tile"
            )
        y += side + 2.4 * size
    return y


def _switches(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    """Settings: words at the left, a switch or a value at the right."""
    pale = page.body.at(level=theme.muted)
    for _ in range(page.rng.randint(2, 6)):
        if y + 3 * size > bottom:
            break
        page.region("text")
        base = y + 1.8 * size
        page.line(page.fitting("heading", 0.55 * page.width, page.body), size, base, kind="row")
        right = page.width - size
        if page.chance(0.6):
            on = page.chance(0.5)
            box = (right - 2 * size, y + 0.9 * size, right, y + 2 * size)
            page.canvas.fill(box, theme.colour if on else theme.muted, 0.6 * size)
            at = box[2] - size if on else box[0] + 0.1 * size
            page.canvas.fill((at, y + size, at + 0.9 * size, y + 1.9 * size), 255, 0.45 * size)
        else:
            text = page.fitting(
                page.rng.choice(("numbers", "single_word")), 0.25 * page.width, pale
            )
            page.line(text, right, base, pale, align="right", kind="value")
        y += 3 * size
    return y


def _splash(page: Composer, theme: Theme, y: float, size: float, bottom: float) -> float:
    """A large name in the middle of an empty screen with ornaments."""
    if bottom - y < 0.5 * page.height:
        return y + 0.5 * size
    if page.chance(0.5):
        corners(page, 0.02 * page.width, page.some(0.15, 0.3) * page.width, theme.muted)
    big = page.heading.at(
        size=size * page.some(1.8, 3.5), level=page.rng.choice((theme.ink, theme.colour))
    )
    base = y + page.some(0.2, 0.4) * (bottom - y)
    page.region("heading")
    page.line(
        page.fitting("single_word", 0.8 * page.width, big),
        page.width / 2,
        base,
        big,
        align="centre",
        kind="title",
    )
    base += 1.6 * big.size
    divider(page, page.width / 2, base, 0.4 * page.width, theme.muted)
    base += 3 * size
    page.region("text")
    for _ in range(page.rng.randint(1, 3)):
        text = page.fitting("running", 0.85 * page.width, page.body)
        page.line(text, page.width / 2, base, align="centre")
        base += 2.2 * size
    return base + page.some(2, 8) * size


def chat(page: Composer) -> None:
    """A conversation: bubbles at the left and the right, with times."""
    size = page.width / page.some(18, 28)
    page.body = page.body.at(size=size)
    page.heading = page.heading.at(size=1.2 * size)
    theme = choose_theme(page)
    y = _title_bar(page, theme, _status_bar(page, theme, size), size) + size
    pale = page.body.at(size=0.65 * size, level=theme.muted)
    while y < page.height - 5 * size:
        mine = page.chance(0.5)
        ground = theme.colour if mine else (228 if theme.ground > 128 else 60)
        type = page.body.at(level=theme.on_colour if mine else theme.ink)
        room = 0.66 * page.width
        text = page.running(page.rng.randint(3, 120), type)
        lines = page.setter.wrap(text, type, room, 0, 0.4)[:6]
        pitch = page.letter(type) * 2.7
        wide = max(page.setter.width(line, type) for line in lines) + 1.6 * size
        high = len(lines) * pitch + 1.3 * size
        left = page.width - wide - size if mine else 3 * size
        if y + high > page.height - size:
            break
        page.canvas.fill((left, y, left + wide, y + high), ground, 0.9 * size)
        if not mine:
            photograph(page, (0.6 * size, y, 2.4 * size, y + 1.8 * size), 0.9 * size)
        page.region("text")
        for k, line in enumerate(lines):
            base = y + 0.5 * size + (k + 0.68) * pitch
            page.line(line, left + 0.8 * size, base, type, kind="bubble")
        y += high + 0.5 * size
        if page.chance(0.4):
            time = page.digits(f"{page.rng.randint(0, 23)}:{page.rng.randint(0, 59):02}")
            page.line(time, page.width / 2, y + 0.8 * size, pale, align="centre", kind="time")
            y += 1.6 * size
