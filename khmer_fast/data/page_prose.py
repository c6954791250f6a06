"""Running text: paragraphs, lists, headings, footnotes, page numbers, and pages made of them."""

from __future__ import annotations

import numpy as np

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import corners, divider
from khmer_fast.data.page_pictures import photograph
from khmer_fast.data.page_type import Run, Type


def pitch_of(page: Composer, type: Type, tight: float = 0.25) -> float:
    """The distance of lines: now and then so tight that subscripts touch the next line."""
    letter = page.letter(type)
    if page.chance(tight):
        return letter * page.some(2.15, 2.7)
    return letter * page.rng.triangular(2.4, 4.4, 2.9)


def titles(page: Composer, centre: float, y: float, width: float, most: int = 4) -> float:
    """Centred headings, as laws and notices have them; returns the next baseline."""
    page.region("heading")
    base = page.heading
    if page.chance(0.25):
        base = base.at(level=round(page.some(50, 120)))
    if page.chance(0.15):
        base = base.at(spacing=page.some(0.05, 0.3))
    for _ in range(page.rng.randint(1, most)):
        type = base.at(size=base.size * page.some(0.9, 1.5))
        kind = page.rng.choice(("heading", "letterhead", "heading"))
        text = page.fitting(kind, 0.9 * width, type)
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
    listed = page.rng.choice((0.05, 0.15, 0.4))
    while y < bottom:
        roll = page.rng.random()
        if roll < 0.1:
            page.region("heading")
            head = page.heading.at(level=page.rng.choice((page.heading.level, 90)))
            text = page.fitting("heading", width, head)
            page.line(text, x, y, head, kind="heading")
            y += max(pitch, page.letter(head) * 3.2)
        elif roll < 0.14:
            y = boxed(page, x, y, width, bottom, pitch, loose)
        elif roll < 0.14 + listed:
            y = bullets(page, x + page.some(0, 3) * type.size, y, width, bottom, pitch, loose)
        else:
            page.region("text")
            text = page.running(page.rng.randint(40, 700), type)
            y = page.paragraph(
                text, x, y, width, pitch=pitch, bottom=bottom, align=align, indent=indent,
                loose=loose,
            )  # fmt: skip
        y += gap
    return y


def boxed(
    page: Composer, x: float, y: float, width: float, bottom: float, pitch: float, loose: float
) -> float:
    """A paragraph in a frame or on a ground of its own, light on dark at times."""
    pad = page.some(0.6, 1.5) * page.body.size
    text = page.running(page.rng.randint(20, 300), page.body)
    lines = page.setter.wrap(text, page.body, width - 2 * pad, 0, loose)
    top = y - 0.6 * pitch
    lines = lines[: max(1, int((bottom - y - pad) / pitch))]
    box = (x, top, x + width, top + len(lines) * pitch + 2 * pad)
    if box[3] > bottom + pitch or page.inked(box):
        return y
    ground = page.rng.choice((None, 235, 215, 190, 90, 40))
    type = page.body
    if ground is None:
        page.canvas.outline(box, page.rng.choice((0, 80, 150)), page.unit)
    else:
        page.canvas.fill(box, ground, page.rng.choice((0.0, 0.5)) * type.size)
        type = type.at(level=250) if ground < 128 else type
    page.region("text")
    for i, line in enumerate(lines):
        base = top + pad + (i + 0.68) * pitch
        page.line(line, x + pad, base, type, kind="box")
    return box[3] + pitch


def bullets(
    page: Composer, x: float, y: float, width: float, bottom: float, pitch: float, loose: float
) -> float:
    """A list: dashes, numbers or drawn dots, second lines under the text of the first."""
    type = page.body
    page.region("list")
    form = page.rng.choice(("-", "-", "{}.", "{})", "{}-", "({})", "dot", "letter"))
    hang = page.some(0.9, 2.2) * type.size
    items = page.rng.randint(2, 7)
    room = width - hang - 3 * type.size
    for item in range(1, items + 1):
        text = page.running(page.rng.randint(10, 150), type)
        lines = page.setter.wrap(text, type, room, 0, loose)
        mark = form.format(item)
        if form == "letter":
            mark = "កខគឃងចឆជ"[item % 8] + "."
        mark = page.digits(mark)
        for i, line in enumerate(lines):
            if y > bottom:
                return y
            runs = page.styled(line, type)
            if i or form == "dot":
                if i == 0:
                    r = 0.14 * type.size
                    base = y - 0.5 * page.letter(type)
                    page.canvas.fill((x, base - r, x + 2 * r, base + r), type.level, r)
                page.line(runs, x + hang, y, kind="list")
            else:
                used = page.setter.width(mark + " ", type)
                space = max(0.0, hang - used) / (type.size * type.stretch)
                first = Run(mark + " ", type.at(word_space=type.word_space + space))
                page.line([first, *runs], x, y, kind="list")
            y += pitch
    return y


def footnotes(page: Composer, x: float, y: float, width: float) -> None:
    """Small notes under a short rule, each begun by its raised figure."""
    type = page.body.at(size=page.body.size * page.some(0.65, 0.8))
    pitch = page.letter(type) * page.some(2.4, 2.9)
    page.canvas.rule(x, y - 2 * type.size, x + 0.3 * width, y - 2 * type.size, 40, 0.8)
    page.region("footer")
    for number in range(1, page.rng.randint(2, 4)):
        text = page.running(page.rng.randint(20, 130), type)
        small = type.at(size=type.size * 0.65)
        for i, line in enumerate(page.setter.wrap(text, type, width - type.size, 0, 0.2)):
            if y > page.height - 0.5 * type.size:
                return
            figure = page.digits(str(number))
            start = [Run(figure, small, lift=0.45), Run(" ", type)] if i == 0 else []
            page.line([*start, Run(line, type)], x, y, kind="footnote")
            y += pitch


def page_number(page: Composer, x: float, width: float, y: float) -> None:
    """A lone number at the foot."""
    page.region("footer")
    number = page.digits(str(page.rng.randint(1, 999)))
    form = page.rng.choice(("{}", "{}", "{}", "- {} -", "ទំព័រ {}", "({})", "ទំព័រទី{}"))
    align = page.rng.choice(("centre", "centre", "right", "left"))
    at = {"centre": x + width / 2, "right": x + width, "left": x}[align]
    type = page.body.at(size=page.body.size * page.some(0.7, 1.0), slant=0.0)
    page.line(form.format(number), at, y, type, align=align, kind="page number")


def running_head(page: Composer, x: float, y: float, width: float) -> float:
    """A line at the top over a rule: a title, and a number or date at the right at times."""
    page.region("header")
    type = page.body.at(size=page.body.size * page.some(0.7, 1), slant=page.rng.choice((0, 0, 0.2)))
    right = page.chance(0.5)
    text = page.fitting("heading", 0.55 * width, type)
    if not right and page.chance(0.5):
        page.line(text, x + width, y, type, align="right", kind="running head")
    else:
        end = page.line(text, x, y, type, kind="running head")
        room = x + width - end - 4 * type.size
        if right and room > 2 * type.size:
            text = page.fitting("numbers", room, type)
            page.line(text, x + width, y, type, align="right", kind="running head")
    if page.chance(0.7):
        page.canvas.rule(x, y + 0.8 * type.size, x + width, y + 0.8 * type.size, 40)
    return y + 3 * type.size


def columns(page: Composer) -> None:
    """One to three columns of text, with or without a running head, pictures and footnotes."""
    x = page.some(0.05, 0.12) * page.width
    width = page.width - x - page.some(0.05, 0.1) * page.width
    y = page.some(0.05, 0.09) * page.height
    if page.chance(0.35):
        y = running_head(page, x, y, width)
    if page.chance(0.4):
        y = titles(page, x + width / 2, y + page.body.size, width)
    bottom = page.height * page.some(0.85, 0.94)
    noted = page.chance(0.2)
    if noted:
        bottom = page.height * page.some(0.75, 0.82)
    count = page.rng.choice((1, 1, 1, 2, 2, 3))
    if count > 1:
        page.body = page.body.at(size=page.body.size * page.some(0.7, 0.95))
    gap = page.some(1.3, 3) * page.body.size
    each = (width - gap * (count - 1)) / count
    top = y + 0.5 * page.body.size
    if count > 1 and page.chance(0.25):
        for i in range(1, count):
            at = x + i * (each + gap) - gap / 2
            page.canvas.rule(at, top - page.body.size, at, bottom, 60)
    lowest = top
    for i in range(count):
        whole = i < count - 1 or page.chance(0.5)
        end = bottom if whole else top + (bottom - top) * page.some(0.1, 1)
        left, start = x + i * (each + gap), top
        if page.chance(0.2):
            high = each * page.some(0.4, 0.8)
            if start + high < end - 5 * page.body.size:
                photograph(page, (left, start - page.body.size, left + each, start + high))
                start += high + 2 * page.body.size
                if page.chance(0.6):
                    start = caption(page, left + each / 2, start, each)
        lowest = max(lowest, prose(page, left, start, each, end))
    if noted:
        footnotes(page, x, lowest + 2 * page.body.size, width)
    elif page.chance(0.6):
        page_number(page, x, width, page.height * page.some(0.96, 0.98))


def caption(page: Composer, centre: float, y: float, width: float) -> float:
    """A line or two under a picture; returns the next baseline."""
    page.region("text")
    type = page.body.at(
        size=page.body.size * page.some(0.75, 0.95), slant=page.rng.choice((0, 0.2))
    )
    text = page.fitting("heading", width, type, least=8)
    page.line(text, centre, y, type, align="centre", kind="caption")
    return y + 3.5 * page.letter(type)


def contents(page: Composer) -> None:
    """A table of contents: titles, dotted leaders, page numbers."""
    x = page.some(0.07, 0.13) * page.width
    width = page.width - 2 * x
    y = titles(page, page.width / 2, 0.1 * page.height, width, most=1)
    pitch = pitch_of(page, page.body, 0.1)
    bottom = 0.93 * page.height
    page.region("list")
    dots = page.body.at(spacing=page.some(0.0, 0.25), bold=0)
    dot = page.setter.width(".", dots)
    if 90 * dot < width:
        dots = dots.at(spacing=dots.spacing + (width / 90 - dot) / (dots.size * dots.stretch))
        dot = width / 90
    while y < bottom:
        inset = page.rng.choice((0, 0, 1.5, 3)) * page.body.size
        title = page.fitting("heading", 0.7 * width, page.body, least=5)
        number = page.digits(str(page.rng.randint(1, 300)))
        used = page.setter.width(title + " ", page.body) + page.setter.width(number, page.body)
        count = int((width - inset - used) / dot) - 1
        if count > 2:
            runs = [Run(title + " ", page.body), Run("." * count, dots), Run(number, page.body)]
            page.line(runs, x + inset, y, kind="contents")
        y += pitch
    page_number(page, x, width, 0.97 * page.height)


def book(page: Composer) -> None:
    """A page of a book, or two that lie open side by side; ornaments at times."""
    page.body = page.body.at(size=page.body.size * page.some(1.0, 1.5))
    page.emphasis = 0.0
    if page.width > page.height:
        middle = 0.5 * page.width
        page.body = page.body.at(size=page.body.size * 0.7)
        if page.chance(0.7):  # the gutter's shadow
            wide = page.some(0.02, 0.08) * page.width
            shadow = 255 * np.exp(-(((np.arange(page.width) - middle) / wide) ** 2))
            mark = np.broadcast_to(shadow.astype(np.uint8), (page.height, page.width))
            page.canvas.darken(mark, 0, 0, page.some(0.15, 0.7))
        for left in (0.0, middle):
            _leaf(page, left, middle)
    else:
        if page.chance(0.3):
            corners(page, 0.03 * page.width, page.some(0.08, 0.18) * page.width, 60)
        _leaf(page, 0.0, page.width)


def _leaf(page: Composer, left: float, room: float) -> None:
    x = left + page.some(0.1, 0.15) * room
    width = 0.76 * room
    y = page.some(0.08, 0.14) * page.height
    if page.chance(0.5):
        y = titles(page, x + width / 2, y, width, most=2)
        divider(page, x + width / 2, y, page.unit * page.some(60, 140))
        y += 2.5 * page.body.size
    prose(page, x, y, width, 0.88 * page.height)
    page_number(page, x, width, 0.95 * page.height)


def newspaper(page: Composer) -> None:
    """A newspaper: its name, then articles of one to three columns under headlines, pictures."""
    x = 0.04 * page.width
    width = page.width - 2 * x
    page.body = page.body.at(size=page.body.size * page.some(0.6, 0.85))
    size = page.body.size
    y = 4 * size
    name = page.heading.at(size=size * page.some(3, 5))
    page.region("header")
    text = page.fitting("single_word", width, name)
    page.line(text, page.width / 2, y + name.size * 0.5, name, align="centre", kind="title")
    y += 1.6 * name.size
    page.canvas.rule(x, y, x + width, y, 0, 2 * page.unit)
    bottom = 0.97 * page.height
    while y < bottom - 12 * size:
        end = min(bottom, y + page.some(18, 45) * size)
        left = x
        while left < x + width - 8 * size:
            wide = min(page.rng.choice((0.33, 0.5, 0.66, 1.0)) * width, x + width - left)
            if x + width - left - wide < 8 * size:
                wide = x + width - left
            _article(page, left, y + 2 * size, wide - 1.5 * size, end - size)
            left += wide
            if left < x + width - 8 * size and page.chance(0.4):
                at = left - 0.75 * size
                page.canvas.rule(at, y + size, at, end - size, 120)
        if page.chance(0.6):
            page.canvas.rule(x, end, x + width, end, 60)
        y = end


def _article(page: Composer, x: float, y: float, width: float, bottom: float) -> None:
    """A headline over columns of one width."""
    size = page.body.size
    type = page.heading.at(size=size * page.some(1.4, 2.6))
    pitch = 2.6 * page.letter(type)
    page.region("heading")
    text = page.text("heading", page.rng.randint(8, 50), type)
    y = page.paragraph(
        text, x, y + page.letter(type), width, type, pitch=pitch, bottom=bottom, align="left",
        kind="headline",
    )  # fmt: skip
    y -= 0.3 * pitch
    count = max(1, min(3, round(width / (16 * size))))
    each = (width - (count - 1) * 1.5 * size) / count
    for k in range(count):
        left, top = x + k * (each + 1.5 * size), y
        if page.chance(0.3) and bottom - top > 14 * size:
            high = page.some(5, 9) * size
            photograph(page, (left, top - size, left + each, top + high))
            top += high + 2 * size
        page.region("text")
        page.paragraph(
            page.running(1200, page.body), left, top, each, pitch=2.75 * page.letter(page.body),
            bottom=bottom, loose=0.15,
        )  # fmt: skip


def exam(page: Composer) -> None:
    """Questions with answers to choose from in a row or below one another."""
    x = page.some(0.07, 0.11) * page.width
    width = page.width - 2 * x
    y = titles(page, page.width / 2, 0.08 * page.height, width, most=2)
    pitch = pitch_of(page, page.body, 0.1)
    bottom = 0.94 * page.height
    number = 1
    while y < bottom:
        page.region("text")
        text = page.digits(f"{number}. ") + page.running(page.rng.randint(15, 120), page.body)
        y = page.paragraph(text, x, y, width, pitch=pitch, bottom=bottom, align="left")
        number += 1
        beside = page.rng.choice((1, 2, 4))
        page.region("list")
        for k, mark in enumerate("កខគឃ"):
            if y > bottom:
                break
            room = width / beside - 2 * page.body.size
            answer = f"{mark}. " + page.fitting("words", room - 3 * page.body.size, page.body)
            column = k % beside
            page.line(answer, x + page.body.size + column * width / beside, y, kind="choice")
            if column == beside - 1:
                y += pitch
        y += 0.5 * pitch
    page_number(page, x, width, 0.97 * page.height)
