"""What is hardly a page: one line, one word, a few lines; and pages without any text."""

from __future__ import annotations

import numpy as np

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import corners, crest, handwriting, holes, scrawl, seal, signature
from khmer_fast.data.page_pictures import barcode, icon, keyboard, photograph, qr_code, scene
from khmer_fast.data.page_prose import pitch_of
from khmer_fast.data.page_type import Type


def line(page: Composer) -> None:
    """One line that is the whole picture."""
    type = page.body
    text = page.texts.line(page.rng).text or "ក"
    if page.setter.spans(text, type) is None:
        text = page.running(page.rng.randint(5, 80), type)
    room = 0.92 * page.width
    size = type.size * min(page.some(1.5, 4), room / page.setter.width(text, type))
    type = type.at(size=min(size, 0.5 * page.height), hinted=False)
    _alone(page, text, type)


def word(page: Composer) -> None:
    """One word, one number or one letter that is the whole picture."""
    kind = page.rng.choice(("single_word", "single_word", "numbers", "table_cell", "latin"))
    type = page.heading if page.chance(0.4) else page.body
    text = page.text(kind, page.rng.choice((1, 4, 12)), type)
    if page.chance(0.1):
        text = page.digits(str(page.rng.randint(0, 9)))
    wide = page.setter.width(text, type)
    size = min(type.size * page.some(1, 6), 0.8 * page.width / wide * type.size, 0.4 * page.height)
    _alone(page, text, type.at(size=size, hinted=False))


def _alone(page: Composer, text: str, type: Type) -> None:
    page.region("text")
    x, y = 0.04 * page.width, 0.5 * page.height
    page.line(text, x, y, type, kind="line")
    box = page.ink_box()
    if box is None:
        return
    low, high = page.rng.choice(((0.02, 0.3), (0.2, 1.5)))
    pads = [page.some(low, high) * type.size for _ in range(4)]
    page.crop((box[0] - pads[0], box[1] - pads[1], box[2] + pads[2], box[3] + pads[3]))
    if page.chance(0.25):
        page.canvas.invert()


def lines(page: Composer) -> None:
    """Two to eight lines cut from a page, bits of their neighbours at the edges at times."""
    type = page.body = page.body.at(size=page.body.size * page.some(1.2, 2.6), hinted=False)
    pitch = pitch_of(page, type)
    x, width = 0.04 * page.width, page.some(0.4, 0.92) * page.width
    count = page.rng.randint(2, 8)
    top = 2 * pitch
    bottom = min(page.height - pitch, top + (count - 0.5) * pitch)
    page.region("text")
    page.paragraph(
        page.running(900, type),
        x,
        top,
        width,
        pitch=pitch,
        bottom=bottom,
        indent=page.rng.choice((0, 2 * type.size)),
    )
    box = page.ink_box()
    if box is None:
        return
    over = page.some(-0.25, 0.8) * pitch
    under = page.some(-0.25, 0.8) * pitch
    page.crop(
        (
            box[0] - page.some(0, 2) * type.size,
            box[1] - over,
            box[2] + page.some(0, 2) * type.size,
            box[3] + under,
        )
    )
    if page.chance(0.2):
        page.canvas.invert()


def blank(page: Composer) -> None:
    """No text: an empty page, noise, a photograph, ornaments, seals, drawings, codes, rules."""
    kinds = page.rng.sample(
        ("nothing", "noise", "photograph", "ornaments", "seals", "icons", "rules", "writing",
         "codes", "keys", "specks", "grid", "drawing"), page.rng.choice((1, 1, 1, 2, 3)),
    )  # fmt: skip
    w, h, unit = page.width, page.height, page.unit
    if page.chance(0.15):
        page.canvas.fill((0, 0, w, h), page.rng.choice((0, 40, 120, 200)))
    for kind in kinds:
        if kind == "noise":
            noise = page.numbers.normal(page.some(60, 200), page.some(10, 70), (h, w))
            page.canvas.paste(np.clip(noise, 0, 255).astype(np.uint8), 0, 0)
        elif kind == "photograph":
            if page.chance(0.5):
                page.canvas.paste(scene(page, h, w), 0, 0)
            else:
                x, y = page.some(0, 0.4) * w, page.some(0, 0.4) * h
                photograph(page, (x, y, x + page.some(0.2, 0.55) * w, y + page.some(0.2, 0.55) * h))
        elif kind == "ornaments":
            corners(page, 0.03 * w, page.some(0.1, 0.3) * w, 60)
            for _ in range(page.rng.randint(0, 4)):
                crest(
                    page,
                    page.some(0.2, 0.8) * w,
                    page.some(0.2, 0.8) * h,
                    unit * page.some(20, 120),
                )
        elif kind == "seals":
            for _ in range(page.rng.randint(1, 3)):
                seal(
                    page, page.some(0.1, 0.9) * w, page.some(0.1, 0.9) * h, unit * page.some(25, 90)
                )
        elif kind == "icons":
            for _ in range(page.rng.randint(5, 40)):
                icon(
                    page,
                    page.some(0, 0.95) * w,
                    page.some(0, 0.95) * h,
                    unit * page.some(10, 50),
                    page.rng.choice((0, 60, 120)),
                )
        elif kind == "rules":
            _ruled(page)
        elif kind == "writing":
            for _ in range(page.rng.randint(1, 8)):
                size = unit * page.some(10, 30)
                handwriting(
                    page,
                    page.some(0.05, 0.5) * w,
                    page.some(0.1, 0.95) * h,
                    page.some(3, 14) * size,
                    size,
                )
            if page.chance(0.5):
                signature(
                    page,
                    page.some(0.2, 0.8) * w,
                    page.some(0.2, 0.8) * h,
                    unit * page.some(60, 200),
                )
        elif kind == "codes":
            side = unit * page.some(50, 200)
            qr_code(page, page.some(0, 0.6) * w, page.some(0, 0.6) * h, side)
            if page.chance(0.5):
                barcode(page, page.some(0, 0.5) * w, page.some(0.7, 0.9) * h, unit * 180, unit * 50)
        elif kind == "keys":
            top = page.some(0.2, 0.7) * h
            keyboard(page, (0, top, w, min(h, top + 0.35 * h)), 220, 250, 40)
        elif kind == "specks":
            count = page.rng.randint(20, 3000)
            ys, xs = page.numbers.integers(0, h, count), page.numbers.integers(0, w, count)
            page.canvas.grey[ys, xs] = page.rng.randint(0, 120)
        elif kind == "drawing":
            for _ in range(page.rng.randint(4, 60)):
                scrawl(page)
        elif kind == "grid":
            step = unit * page.some(8, 40)
            for k in range(int(w / step)):
                page.canvas.rule(k * step, 0, k * step, h, 180)
            for k in range(int(h / step)):
                page.canvas.rule(0, k * step, w, k * step, 180)
    if page.chance(0.1):
        holes(page)


def _ruled(page: Composer) -> None:
    """An empty form: rules, boxes, a table without entries."""
    x, width = 0.08 * page.width, 0.84 * page.width
    y = 0.1 * page.height
    step = page.unit * page.some(16, 40)
    count = page.rng.randint(1, 6)
    ink = page.rng.choice((0, 80, 150))
    boxed = page.chance(0.5)
    top = y
    while y < 0.9 * page.height:
        page.canvas.rule(x, y, x + width, y, ink, page.unit * 0.8)
        y += step
    if boxed:
        for k in range(count + 1):
            at = x + width * k / count
            page.canvas.rule(at, top, at, y - step, ink, page.unit * 0.8)
