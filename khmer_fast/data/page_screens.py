"""Screens: web pages and dashboards, and the grey levels that their parts share."""

from __future__ import annotations

from dataclasses import dataclass

from khmer_fast.data.page_charts import bar_chart
from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_pictures import icon, photograph


@dataclass(frozen=True)
class Theme:
    """The grey levels of an app: page, cards on it, ink, paler ink, colour, ink on the colour."""

    ground: int
    card: int
    ink: int
    muted: int
    colour: int
    on_colour: int


def choose_theme(page: Composer) -> Theme:
    """A light or a dark theme; the page is painted in its ground."""
    rng = page.rng
    if page.chance(0.3):
        ground = rng.choice((0, 12, 24, 40))
        theme = Theme(
            ground,
            ground + rng.choice((0, 12, 22)),
            rng.randint(215, 255),
            rng.randint(130, 180),
            rng.randint(70, 160),
            250,
        )
    else:
        ground = rng.choice((255, 250, 243, 235))
        theme = Theme(
            ground, 255, rng.randint(0, 50), rng.randint(90, 150), rng.randint(50, 130), 252
        )
    page.canvas.fill((0, 0, page.width, page.height), theme.ground)
    page.body = page.body.at(level=theme.ink)
    page.heading = page.heading.at(level=theme.ink)
    return theme


def web(page: Composer) -> None:
    """A web page: the browser's frame at times, navigation, an article, a column beside it."""
    size = page.body.size * page.some(0.75, 1.1)
    page.body = page.body.at(size=size)
    page.heading = page.heading.at(size=1.8 * size)
    theme = choose_theme(page)
    y = 0.0
    if page.chance(0.35):
        page.canvas.fill((0, 0, page.width, 3 * size), 222 if theme.ground > 128 else 50)
        for k in range(3):
            page.canvas.fill(
                (size * (0.8 + 1.2 * k), 1.1 * size, size * (1.6 + 1.2 * k), 1.9 * size),
                150,
                0.4 * size,
            )
        page.canvas.fill(
            (6 * size, 0.6 * size, 0.8 * page.width, 2.4 * size), theme.card, 0.9 * size
        )
        page.region("header")
        small = page.body.at(size=0.85 * size)
        page.line(
            page.fitting("url_in_text", 0.5 * page.width, small),
            7.5 * size,
            1.8 * size,
            small,
            kind="address",
        )
        y = 3 * size
    if page.chance(0.7):
        y = _menu(page, theme, y, size)
    x = page.some(0.03, 0.12) * page.width
    width = page.width - 2 * x
    side = 0.0
    if page.width > page.height and page.chance(0.5):
        side = 0.27 * width
    main = width - side - (2.5 * size if side else 0)
    bottom = page.height - 2 * size
    top = y + 3.4 * size
    y = top
    page.region("heading")
    y = page.paragraph(
        page.text("heading", 60, page.heading), x, y, main, page.heading,
        pitch=2.8 * page.letter(page.heading), bottom=bottom, align="left",
    )  # fmt: skip
    pale = page.body.at(size=0.8 * size, level=theme.muted)
    page.region("text")
    page.line(page.fitting("numbers", main, pale), x, y - 0.6 * size, pale, kind="date")
    y += 1.6 * size
    pitch = page.letter(page.body) * page.some(2.5, 3.6)
    while y < bottom:
        roll = page.rng.random()
        if roll < 0.2 and bottom - y > 10 * size:
            high = page.some(5, 0.4 * main / size) * size
            high = min(high, bottom - y)
            photograph(page, (x, y - size, x + main, y - size + high))
            y += high + 1.5 * size
        elif roll < 0.25:
            bar_chart(page, (x, y, x + main, min(bottom, y + 12 * size)))
            y += 14 * size
        else:
            page.region("text")
            y = page.paragraph(
                page.running(page.rng.randint(60, 400), page.body), x, y, main, pitch=pitch,
                bottom=bottom, align="left", loose=0.3,
            )  # fmt: skip
            y += 0.7 * pitch
    if side:
        _side(page, theme, x + main + 2.5 * size, top, side, size, bottom)


def _menu(page: Composer, theme: Theme, y: float, size: float) -> float:
    """A site's bar: its name and a row of words."""
    high = page.some(2.5, 3.6) * size
    coloured = page.chance(0.6)
    if coloured:
        page.canvas.fill((0, y, page.width, y + high), theme.colour)
    level = theme.on_colour if coloured else theme.ink
    base = y + high / 2 + 0.4 * size
    page.region("header")
    name = page.heading.at(size=1.2 * size, level=level)
    pen = page.line(
        page.fitting("single_word", 0.25 * page.width, name), size, base, name, kind="title"
    )
    pen += page.some(2.5, 5) * size
    type = page.body.at(level=level)
    while pen < 0.75 * page.width:
        text = page.fitting("single_word", 0.15 * page.width, type)
        pen = page.line(text, pen, base, type, kind="menu") + page.some(1.8, 3) * size
    icon(page, page.width - 2.4 * size, y + high / 2 - 0.6 * size, 1.2 * size, level, "search")
    return y + high


def _side(
    page: Composer, theme: Theme, x: float, y: float, width: float, size: float, bottom: float
) -> None:
    """The narrow column beside an article: titles with small pictures."""
    type = page.body.at(size=0.85 * size)
    while y < bottom - 4 * size:
        room = width
        left = x
        if page.chance(0.5):
            photograph(page, (x, y - size, x + 0.3 * width, y + 2.2 * size))
            left, room = x + 0.34 * width, 0.66 * width
        page.region("text")
        end = page.paragraph(
            page.text("heading", page.rng.randint(10, 60), type), left, y, room, type,
            pitch=2.8 * page.letter(type), bottom=min(bottom, y + 5 * size), align="left",
        )  # fmt: skip
        y = max(end, y + 3.4 * size) + size


def dashboard(page: Composer) -> None:
    """Cards with large figures, charts, a few words each."""
    size = page.body.size
    theme = choose_theme(page)
    y = 3 * size
    if page.chance(0.8):
        page.region("heading")
        page.line(
            page.fitting("heading", 0.7 * page.width, page.heading),
            size,
            y,
            page.heading,
            kind="title",
        )
        y += 2 * size
    gap = page.some(0.5, 1.2) * size
    while y < page.height - 8 * size:
        count = (
            page.rng.choice((1, 2, 3, 4))
            if page.width > page.height
            else page.rng.choice((1, 2, 3))
        )
        high = page.some(5, 9) * size
        wide = (page.width - gap * (count + 1)) / count
        charted = page.chance(0.25)
        if charted:
            high *= 1.8
        high = min(high, page.height - y - size)
        for k in range(count):
            left = gap + k * (wide + gap)
            ground = page.rng.choice((theme.card, theme.card, theme.colour, 150, 60, 210))
            box = (left, y, left + wide, y + high)
            page.canvas.fill(box, ground, page.rng.choice((0.0, 0.6)) * size)
            if ground == theme.card:
                page.canvas.outline(box, (theme.muted + theme.card) // 2, 1)
            if charted and wide > 14 * size and ground > 128:
                bar_chart(page, (left + size, y + size, left + wide - size, y + high - size))
            else:
                _figure(page, box, 250 if ground < 150 else 15, size)
        y += high + gap


def _figure(
    page: Composer, box: tuple[float, float, float, float], level: int, size: float
) -> None:
    """A card's words: a name, a large number, a smaller line."""
    left, top, right, bottom = box
    room = right - left - size
    big = page.body.at(size=size * page.some(1.3, 2.4), bold=1, level=level)
    small = page.body.at(size=size * page.some(0.7, 1.0), level=level)
    parts = [("heading", small), ("table_cell", big), ("heading", small)]
    if page.chance(0.4):
        parts = parts[1:] + parts[:1]
    parts = parts[: page.rng.randint(2, 3)]
    centred = page.chance(0.6)
    total = sum(1.75 * type.size for _, type in parts)
    shrunk = min(1.0, 0.9 * (bottom - top) / total)
    parts = [(kind, type.at(size=type.size * shrunk)) for kind, type in parts]
    base = (top + bottom - total * shrunk) / 2
    page.region("text")
    for kind, type in parts:
        base += 1.25 * type.size
        text = page.fitting(kind, room, type)
        at = (left + right) / 2 if centred else left + 0.6 * size
        page.line(text, at, base, type, align="centre" if centred else "left", kind="card")
        base += 0.5 * type.size
