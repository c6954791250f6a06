"""Pages of running text: official letters, laws, reports and articles in one to three columns."""

from __future__ import annotations

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_type import Type

_STATE = "ព្រះរាជាណាចក្រកម្ពុជា"
_MOTTO = ("ជាតិ សាសនា ព្រះមហាក្សត្រ", "ជាតិ​ សាសនា​ ព្រះមហាក្សត្រ")


def pitch_of(page: Composer, type: Type, tight: float = 0.25) -> float:
    """The distance of lines: now and then so tight that subscripts touch the next line."""
    letter = page.letter(type)
    if page.chance(tight):
        return letter * page.some(2.2, 2.7)
    return letter * page.some(2.7, 4.2)


def letterhead(page: Composer, x: float, y: float, width: float) -> float:
    """The kingdom's name and motto, and the ministry's at the left; returns the next baseline."""
    title = page.heading.at(size=page.heading.size * page.some(0.95, 1.25))
    small = page.heading.at(size=page.body.size * page.some(0.9, 1.1))
    pitch = page.letter(title) * page.some(2.6, 3.6)
    beside = page.chance(0.4)  # ministry and kingdom stand side by side
    centre = x + width * (page.some(0.68, 0.8) if beside else 0.5)
    offices = [
        page.fitting("letterhead", 0.42 * width, small) for _ in range(page.rng.randint(1, 3))
    ]

    def ministry(top: float) -> float:
        page.region("header")
        middled = page.chance(0.6)
        wide = max(page.setter.width(text, small) for text in offices)
        at = x + wide / 2 if middled else x
        for text in offices:
            page.line(
                text, at, top, small, align="centre" if middled else "left", kind="letterhead"
            )
            top += page.letter(small) * 2.9
        return top

    def kingdom(top: float) -> float:
        page.region("header")
        page.line(_STATE, centre, top, title, align="centre", kind="letterhead")
        page.line(
            page.rng.choice(_MOTTO), centre, top + pitch, title, align="centre", kind="letterhead"
        )
        rule = top + 1.6 * pitch
        half = page.some(0.03, 0.1) * width
        page.canvas.rule(
            centre - half, rule, centre + half, rule, 60, page.unit * page.some(0.5, 2)
        )
        return top + 2.4 * pitch

    if not beside:
        y = kingdom(y)
        if page.chance(0.8):
            y = ministry(y + page.some(0, 1) * pitch)
        return y
    low = page.some(0, 1.5) * pitch
    left = ministry(y + low)
    return max(left, kingdom(y))


def titles(page: Composer, centre: float, y: float, width: float) -> float:
    """Centred headings, as laws and notices have them; returns the next baseline."""
    page.region("heading")
    for _ in range(page.rng.randint(1, 4)):
        type = page.heading.at(size=page.heading.size * page.some(0.9, 1.5))
        text = page.fitting(
            page.rng.choice(("heading", "letterhead", "heading")), 0.9 * width, type
        )
        page.line(text, centre, y, type, align="centre", kind="title")
        y += page.letter(type) * page.some(2.6, 3.6)
    return y


def prose(page: Composer, x: float, y: float, width: float, bottom: float) -> float:
    """Paragraphs and lists down to `bottom`, in the page's own manner."""
    type = page.body
    pitch = pitch_of(page, type)
    indent = page.rng.choice((0.0, page.some(1.5, 4) * type.size))
    align = page.rng.choice(("justify", "justify", "justify", "left"))
    gap = page.rng.choice((0.0, 0.3, 0.8)) * pitch
    loose = page.rng.choice((0.12, 0.25, 0.5))
    while y < bottom:
        roll = page.rng.random()
        if roll < 0.1:
            page.region("heading")
            text = page.fitting("heading", width, page.heading)
            page.line(text, x, y, page.heading, kind="heading")
            y += page.letter(page.heading) * 3.2
        elif roll < 0.25:
            page.region("list")
            inside = page.some(1, 4) * type.size
            for _ in range(page.rng.randint(2, 6)):
                text = page.text("list_item", page.rng.randint(10, 150), type)
                y = page.paragraph(
                    text, x + inside, y, width - inside, pitch=pitch, bottom=bottom, align="left",
                    loose=loose, kind="list",
                )  # fmt: skip
        else:
            page.region("text")
            text = page.running(page.rng.randint(40, 700), type)
            y = page.paragraph(
                text, x, y, width, pitch=pitch, bottom=bottom, align=align, indent=indent,
                loose=loose,
            )  # fmt: skip
        y += gap
    return y


def page_number(page: Composer, x: float, width: float, y: float) -> None:
    """A lone number at the foot."""
    page.region("footer")
    number = str(page.rng.randint(1, 999))
    if page.chance(0.6):
        number = number.translate(str.maketrans("0123456789", "០១២៣៤៥៦៧៨៩"))
    form = page.rng.choice(("{}", "{}", "- {} -", "ទំព័រ {}", "({})"))
    align = page.rng.choice(("centre", "centre", "right", "left"))
    at = {"centre": x + width / 2, "right": x + width, "left": x}[align]
    type = page.body.at(size=page.body.size * page.some(0.7, 1.0))
    page.line(form.format(number), at, y, type, align=align, kind="page number")


def letter(page: Composer) -> None:
    """An official letter: head, date, titles, paragraphs, signature, foot."""
    x = page.some(0.06, 0.12) * page.width
    width = page.width - x - page.some(0.05, 0.1) * page.width
    y = letterhead(page, x, page.some(0.05, 0.1) * page.height, width)
    if page.chance(0.9):
        y = titles(page, x + width / 2, y + page.body.size, width)
    bottom = page.height * page.some(0.6, 0.85)
    y = prose(page, x, y + page.body.size, width, bottom)
    if page.chance(0.7):
        y += page.body.size
        page.region("text")
        for _ in range(page.rng.randint(1, 2)):
            text = page.fitting("numbers", 0.6 * width, page.body)
            page.line(text, x + width, y, align="right", kind="date")
            y += page.letter(page.body) * 3
        page.region("heading")
        text = page.fitting("letterhead", 0.45 * width, page.heading)
        page.line(text, x + width * 0.72, y, page.heading, align="centre", kind="signature")
    if page.chance(0.6):
        page_number(page, x, width, page.height * page.some(0.95, 0.975))


def columns(page: Composer) -> None:
    """One to three columns of text, with or without a running head."""
    x = page.some(0.05, 0.12) * page.width
    width = page.width - x - page.some(0.05, 0.1) * page.width
    y = page.some(0.05, 0.09) * page.height
    if page.chance(0.35):
        page.region("header")
        type = page.body.at(size=page.body.size * page.some(0.75, 1))
        end = page.line(
            page.fitting("heading", 0.55 * width, type), x, y, type, kind="running head"
        )
        if page.chance(0.6):
            text = page.fitting("numbers", max(20.0, 0.9 * (x + width - end - 2 * type.size)), type)
            page.line(text, x + width, y, type, align="right", kind="running head")
        if page.chance(0.7):
            page.canvas.rule(x, y + 0.8 * type.size, x + width, y + 0.8 * type.size, 40)
        y += 3 * type.size
    if page.chance(0.4):
        y = titles(page, x + width / 2, y + page.body.size, width)
    bottom = page.height * page.some(0.85, 0.94)
    count = page.rng.choice((1, 1, 1, 2, 2, 3))
    gap = page.some(1.2, 3) * page.body.size
    each = (width - gap * (count - 1)) / count
    top = y + 0.5 * page.body.size
    if count > 1:
        page.body = page.body.at(size=page.body.size * page.some(0.7, 0.95))
        if page.chance(0.25):
            for i in range(1, count):
                at = x + i * (each + gap) - gap / 2
                page.canvas.rule(at, top - page.body.size, at, bottom, 60)
    for i in range(count):
        end = (
            bottom
            if i < count - 1 or page.chance(0.5)
            else top + (bottom - top) * page.rng.random()
        )
        prose(page, x + i * (each + gap), top, each, end)
    if page.chance(0.6):
        page_number(page, x, width, page.height * page.some(0.96, 0.98))
