"""Pages of what is hard to find, to train more of it than pages hold: text under seals and strokes,
lone figures and letters of all sizes, titles with wide gaps, words over photographs."""

from __future__ import annotations

import math

import numpy as np

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import handwriting, seal, signature
from khmer_fast.data.page_pictures import scene
from khmer_fast.data.page_posters import ground
from khmer_fast.data.page_type import Run, Type

Box = tuple[float, float, float, float]  # left, top, right, bottom

_LONE = ("{}", "{}", "{}", "{}.", "({})", "{})", "{}%", "-{}", "{}៛", "$ {}", "№ {}")
_LETTERS = "កខគឃងចឆជឈញABCDabx"


def overprinted(page: Composer) -> None:
    """Blocks of offices and names with seals, signatures and scribbles over them, lines under a
    title above."""
    x, width = 0.07 * page.width, 0.86 * page.width
    y = page.some(0.05, 0.12) * page.height
    _title(page, x + width / 2, y, width, page.heading.at(size=page.unit * page.some(12, 34)))
    y += page.some(3, 5) * page.heading.size
    while y < 0.9 * page.height:
        count = page.rng.choice((1, 2, 2, 3))
        deep = max(_signed(page, x + width * (k + 0.5) / count, y, width / count)
                   for k in range(count))  # fmt: skip
        y = deep + page.some(0.5, 3) * page.body.size


def _signed(page: Composer, centre: float, y: float, room: float) -> float:
    """Offices, and a name below them; what lies over them belongs to nobody. Returns where it
    ends."""
    type = page.heading if page.chance(0.5) else page.body
    type = type.at(size=page.unit * page.some(7, 19))
    pitch = page.letter(type) * page.some(2.3, 3.2)
    page.region("text")
    top, first = y, len(page.lines)
    for _ in range(page.rng.randint(1, 3)):
        kind = page.rng.choice(("letterhead", "heading", "numbers", "running", "single_word"))
        page.line(page.fitting(kind, 0.9 * room, type), centre, y, type, align="centre")
        y += pitch
    if page.chance(0.6):
        y += page.some(0, 2.5) * pitch
        name = type.at(level=page.rng.choice((type.level, 110)))
        text = page.fitting("single_word", 0.4 * room, name)
        page.line(text + " " + page.fitting("single_word", 0.4 * room, name), centre, y, name,
                  align="centre")  # fmt: skip
    if page.chance(0.75):
        over_lines(page, first)
    return y + pitch if y < page.height else top + pitch


def over_lines(page: Composer, first: int = 0) -> None:
    """A seal, a signature or a scribble over one of the lines from number `first` on."""
    if len(page.lines) <= first:
        return
    line = page.rng.choice(page.lines[first:])
    x, y = page.some(line.x0, line.x1), line.y + page.some(-1.5, 0.7) * line.letter_height
    roll = page.rng.random()
    if roll < 0.55:
        seal(page, x, y, page.unit * page.some(25, 60))
    if roll > 0.45:
        signature(page, x, y, page.unit * page.some(50, 140))
    if roll > 0.85:
        size = line.letter_height * page.some(0.8, 2)
        handwriting(page, x, line.y, page.some(2, 8) * size, size)


def figures(page: Composer) -> None:
    """Lone figures, letters and short words in type of all sizes, far from one another."""
    ink = ground(page) if page.chance(0.4) else page.rng.randint(0, 90)
    y = page.some(0.02, 0.1) * page.height
    while True:
        size = page.unit * math.exp(page.some(math.log(6), math.log(130)))
        type = (page.heading if page.chance(0.4) else page.body).at(
            size=size, level=ink, hinted=False, bold=page.rng.choice((0, 0, 1, 2))
        )
        high = page.letter(type)
        y += 1.2 * high
        if y + 0.4 * high > page.height:
            return
        count = max(1, min(9, int(page.width / (page.some(3.3, 8) * size))))
        wide = page.width / count
        shift = page.some(0.3, 0.7)
        page.region("text")
        for k in range(count):
            if page.chance(0.8):
                text = _lone(page, type)
                if page.setter.width(text, type) < 0.9 * wide:
                    page.line(text, (k + shift) * wide, y, type, align="centre", kind="figure")
        if page.chance(0.4):  # what they are of
            small = page.body.at(size=page.unit * page.some(7, 14), level=ink)
            y += 0.6 * high + 1.5 * small.size
            for k in range(count):
                text = page.fitting("words", 0.8 * wide, small)
                page.line(text, (k + shift) * wide, y, small, align="centre", kind="label")
        y += page.some(0.6, 2.5) * high + 3 * page.unit


def _lone(page: Composer, type: Type) -> str:
    """A figure, a letter or a word."""
    roll = page.rng.random()
    if roll < 0.7:
        number = str(page.rng.randrange(10 ** page.rng.choice((1, 1, 1, 2, 2, 3, 4))))
        text = page.rng.choice(_LONE).format(number)
        text = page.digits(text) if page.chance(0.8) else text
    elif roll < 0.85:
        text = page.rng.choice(_LETTERS) + page.rng.choice(("", "", ".", ")"))
    else:
        return page.text("single_word", page.rng.choice((1, 3, 6)), type)
    return text if page.setter.spans(text, type) else page.text("numbers", 2, type)


def signs(page: Composer) -> None:
    """Titles with wide gaps and lines of all sizes on photographs, colours that run, and paper."""
    gap = page.some(0, 0.03) * page.width
    y = gap
    while y < 0.95 * page.height:
        count = page.rng.choice((1, 1, 2))
        high = min(page.some(0.1, 0.45) * page.height, page.height - y)
        wide = page.width / count
        for k in range(count):
            _sign(page, (k * wide + gap, y, (k + 1) * wide - gap, y + high))
        y += high + gap


def _sign(page: Composer, box: Box) -> None:
    """Lines of one size on a ground of its own."""
    x0, y0, x1, y1 = box
    ink, busy = _behind(page, box)
    size = page.unit * page.rng.choice((page.some(8, 16), page.some(14, 30), page.some(28, 70)))
    type = (page.heading if page.chance(0.6) else page.body).at(
        size=size, level=ink, hinted=False, bold=page.rng.choice((0, 0, 2))
    )
    pitch = page.letter(type) * page.some(2.2, 3.2)
    y = y0 + page.some(0.6, 1) * pitch
    page.region("text")
    shadow = 255 - ink if busy and page.chance(0.4) else None
    outline = 255 - ink if busy and shadow is None and page.chance(0.3) else None
    while y + 0.5 * page.letter(type) < y1:
        if page.chance(0.35):
            _title(page, (x0 + x1) / 2, y, x1 - x0, type)
        else:
            text = page.fitting(page.rng.choice(("heading", "words", "running", "single_word")),
                                0.9 * (x1 - x0), type)  # fmt: skip
            run = Run(text, type, shadow=shadow, outline=outline)
            page.line([run], (x0 + x1) / 2, y, type, align="centre", kind="sign")
        y += pitch * page.rng.choice((1, 1, 1.5, 2.5))


def _behind(page: Composer, box: Box) -> tuple[int, bool]:
    """Paint a ground; returns the level of ink that can be read on it, and whether it is busy."""
    x0, y0, x1, y1 = (round(v) for v in box)
    roll = page.rng.random()
    if roll < 0.5:
        picture = scene(page, max(4, y1 - y0), max(4, x1 - x0)).astype(np.float32)
        share = page.some(0.35, 1.0)
        picture = share * picture + (1 - share) * page.rng.choice((0, 255))
        page.canvas.paste(picture.astype(np.uint8), x0, y0)
        mean = float(picture.mean())
    elif roll < 0.8:
        low, high = page.some(0, 255), page.some(0, 255)
        if abs(low - high) > 130:  # else one ink cannot be read on all of it
            high = low + math.copysign(130, high - low)
        page.canvas.gradient(box, (low, high), page.chance(0.5))
        mean = (low + high) / 2
    else:
        return page.rng.randint(0, 90), False
    return (page.rng.randint(225, 255) if mean < 128 else page.rng.randint(0, 30)), roll < 0.5


def _title(page: Composer, centre: float, y: float, width: float, type: Type) -> None:
    """A title whose words or letters stand far apart."""
    wide = type.at(word_space=page.some(0.4, 1.9))
    if page.chance(0.4):
        wide = wide.at(spacing=page.some(0.05, 0.6))
    text = page.fitting(page.rng.choice(("heading", "letterhead", "words")), 0.9 * width, wide)
    page.line(text, centre, y, wide, align="centre", kind="title")
