"""Pages on which text stands among what looks like text and is none: keys, tool bars, crests,
borders of ornaments, codes, maps, scales, strokes, letters seen through the paper."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_hard import over_lines
from khmer_fast.data.page_marks import (
    crest,
    curl,
    divider,
    draw_mask,
    handwriting,
    ring_letters,
    scrawl,
    seal,
    signature,
)
from khmer_fast.data.page_pictures import Rect, barcode, icon, photograph, qr_code
from khmer_fast.data.page_type import Type

_SYMBOLS = "+-×÷=%.,?!@#&*/()<>"
_LATIN = "QWERTYUIOPASDFGHJKLZXCVBNMqwertyuiopasdfghjklzxcvbnm"


def decoys(page: Composer) -> None:
    """Boxes of a page cut up at random: some hold lines, the others what is no text."""
    dark = page.chance(0.2)
    if dark:
        page.canvas.fill((0, 0, page.width, page.height), page.rng.choice((0, 25, 60)))
    ink = page.rng.randint(200, 255) if dark else page.rng.choice((0, 20, 60, 100))
    share = page.some(0.15, 0.6)  # of boxes with text
    smallest = page.some(0.03, 0.2) * page.width * page.height
    edge = page.some(0, 0.05) * page.width
    boxes: list[Rect] = [(edge, edge, page.width - edge, page.height - edge)]
    while boxes:
        box = boxes.pop()
        wide, high = box[2] - box[0], box[3] - box[1]
        if wide * high > smallest:
            boxes += _halves(page, box)
        elif page.chance(share):
            _lines(page, box, ink)
        else:
            page.rng.choices(tuple(DECOYS), tuple(DECOYS.values()))[0](page, box, ink)


def _halves(page: Composer, box: Rect) -> tuple[Rect, Rect]:
    x0, y0, x1, y1 = box
    part = page.some(0.3, 0.7)
    if page.chance(0.75) == (y1 - y0 > x1 - x0):  # mostly the longer side
        y = y0 + part * (y1 - y0)
        return (x0, y, x1, y1), (x0, y0, x1, y)
    x = x0 + part * (x1 - x0)
    return (x, y0, x1, y1), (x0, y0, x, y1)


def _lines(page: Composer, box: Rect, ink: int) -> None:
    """A few lines of one size, now and then under a seal or a stroke, or above a divider."""
    x0, y0, x1, y1 = box
    size = min(page.unit * math.exp(page.some(math.log(7), math.log(34))), 0.45 * (y1 - y0))
    type = (page.heading if page.chance(0.5) else page.body).at(
        size=size, level=ink, hinted=False, bold=page.rng.choice((0, 0, 0, 2))
    )
    align = page.rng.choice(("left", "centre", "centre", "right"))
    x = {"left": x0 + 0.05 * (x1 - x0), "right": x1 - 0.05 * (x1 - x0)}.get(align, (x0 + x1) / 2)
    pitch = page.letter(type) * page.some(2.3, 3.4)
    y = y0 + page.some(0.5, 1.0) * pitch
    page.region("text")
    first = len(page.lines)
    for _ in range(page.rng.randint(1, 6)):
        if y + 0.5 * page.letter(type) > y1:
            break
        kind = page.rng.choice(("heading", "running", "running", "letterhead", "numbers", "words"))
        page.line(page.fitting(kind, 0.9 * (x1 - x0), type), x, y, type, align=align)
        y += pitch
    if page.chance(0.35):
        over_lines(page, first)
    elif page.chance(0.15) and y < y1:
        divider(page, (x0 + x1) / 2, y, page.some(0.2, 0.6) * (x1 - x0), ink)


# ---- decoys: each fills a box with ink of a level ----


def _keys(page: Composer, box: Rect, ink: int) -> None:
    """Keys of a keyboard, a calculator, a lock or a remote control, and what stands on them."""
    x0, y0, x1, y1 = box
    wide, high = x1 - x0, y1 - y0
    pitch = page.unit * math.exp(page.some(math.log(13), math.log(75)))
    columns = max(2, min(page.rng.choice((3, 4, 10, 11, 14)), int(wide / pitch)))
    rows = max(1, min(page.rng.randint(2, 6), int(high / pitch)))
    step = (wide / columns if page.chance(0.5) else min(wide / columns, 1.3 * pitch)), high / rows
    step = step[0], min(step[1], step[0] * page.some(0.7, 1.6))
    form = page.rng.choice(("filled", "filled", "outlined", "round", "bare"))
    ground = int(np.median(page.canvas.grey[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]))
    if form == "filled" and page.chance(0.6):
        ground = page.rng.choice((30, 60, 200, 215, 235))
        page.canvas.fill((x0, y0, x0 + columns * step[0], y0 + rows * step[1]), ground)
    key = min(255, max(0, ground + page.rng.choice((-40, -20, 20, 40, 70))))
    level = ink if abs(ink - key) > 90 else 255 - ink
    letters = page.rng.choice(("khmer", "khmer", "latin", "digits", "mixed"))
    body = (page.heading if page.chance(0.3) else page.body).at(
        size=min(step) * page.some(0.3, 0.62), level=level, hinted=False
    )
    below = page.rng.choice((None, None, "khmer", "latin"))
    pad, radius = page.some(0.03, 0.15) * min(step), page.some(0, 0.5) * min(step)
    stagger = page.rng.choice((0.0, 0.0, 0.25, 0.5))
    for row in range(rows):
        for column in range(columns):
            left = x0 + (column + stagger * (row % 2)) * step[0]
            top = y0 + row * step[1]
            if left + step[0] > x1 + 1 or page.chance(0.04):
                continue
            at = (left + pad, top + pad, left + step[0] - pad, top + step[1] - pad)
            if form == "filled":
                page.canvas.fill(at, key, radius)
            elif form == "outlined":
                page.canvas.outline(at, level, page.unit * 0.7, radius)
            elif form == "round":
                page.canvas.outline(at, level, page.unit * 0.7, min(step))
            centre = (at[0] + at[2]) / 2, (at[1] + at[3]) / 2
            if page.chance(0.08):
                side = 0.45 * min(step)
                icon(page, centre[0] - side / 2, centre[1] - side / 2, side, level)
                continue
            _letter(page, centre, _key(page, letters, row * columns + column, body), body)
            if below and page.chance(0.8):
                small = body.at(size=0.5 * body.size)
                x = centre[0] + page.rng.choice((-0.25, 0, 0.25)) * step[0]
                y = centre[1] + page.rng.choice((-0.33, 0.36)) * step[1]
                _letter(page, (x, y), _key(page, below, 0, small), small)


def _key(page: Composer, letters: str, number: int, type: Type) -> str:
    if letters == "mixed":
        letters = page.rng.choice(("khmer", "latin", "digits", "symbols"))
    if letters == "latin":
        text = page.rng.choice(_LATIN)
    elif letters == "digits":
        text = page.digits(str((number + 1) % 10))
    elif letters == "symbols":
        text = page.rng.choice(_SYMBOLS)
    else:
        text = ""
    return text if text and page.setter.spans(text, type) else page.text("single_word", 1, type)


def _letter(page: Composer, centre: tuple[float, float], text: str, type: Type) -> None:
    """Letters about a place that are no line's."""
    placed, advance = page.setter.ink(text, type, 0, 0)
    left = round(centre[0] - advance / 2)
    base = round(centre[1] + page.letter(type) / 2)
    page.canvas.blend(placed.alpha, placed.left + left, placed.top + base, type.level)


def _tools(page: Composer, box: Rect, ink: int) -> None:
    """Rows of icons, some in frames: tool bars, menus of pictures."""
    x0, y0, x1, y1 = box
    size = page.unit * page.some(7, 26)
    step = size * page.some(1.2, 2.6)
    framed = page.chance(0.3)
    y = y0 + 0.2 * size
    for _ in range(page.rng.choice((1, 1, 1, 2, 5))):
        x = x0
        while x + size < x1 and y + size < y1:
            if page.chance(0.9):
                icon(page, x, y, size, ink)
                if framed:
                    around = (x - 0.1 * size, y - 0.1 * size, x + 1.1 * size, y + 1.1 * size)
                    page.canvas.outline(around, ink, page.unit * 0.6, 0.2 * size)
            x += step
        y += step


def _curls(page: Composer, box: Rect, ink: int) -> None:
    """Spirals from the corners of a frame, or about its middle."""
    x0, y0, x1, y1 = box
    size = page.some(0.15, 0.5) * min(x1 - x0, y1 - y0)
    if page.chance(0.5):
        for shift in (0.0, page.unit * 5)[: page.rng.randint(1, 2)]:
            frame = (x0 + shift, y0 + shift, x1 - shift, y1 - shift)
            page.canvas.outline(frame, ink, page.unit * page.some(0.5, 4))
    state = page.rng.getstate()
    shift = page.some(0, 8) * page.unit
    if page.chance(0.3):
        x0 = x1 = (x0 + x1) / 2
        y0 = y1 = (y0 + y1) / 2
        shift = 0
    for x, sx in ((x0 + shift, 1), (x1 - shift, -1)):
        for y, sy in ((y0 + shift, 1), (y1 - shift, -1)):
            if page.chance(0.8):
                page.rng.setstate(state)  # corners are alike
            curl(page, x, y, size, sx, sy, ink)


def _crests(page: Composer, box: Rect, ink: int) -> None:
    """A crest or a row of logos, letters round them at times."""
    x0, y0, x1, y1 = box
    radius = min(page.some(0.2, 0.5) * (y1 - y0), 0.5 * (x1 - x0))
    count = page.rng.choice((1, 1, 1, 2, max(1, int((x1 - x0) / (2.3 * radius)))))
    for k in range(count):
        x, y = x0 + (k + 0.5) * (x1 - x0) / count, (y0 + y1) / 2
        crest(page, x, y, radius, page.rng.choice((ink, None)))
        if page.chance(0.3):
            letters = page.body.at(size=page.some(0.15, 0.4) * radius, level=ink)
            ring_letters(page, x, y, 1.15 * radius, letters, page.rng.randint(5, 24))


def _border(page: Composer, box: Rect, ink: int) -> None:
    """Rows of one ornament again and again, every second one mirrored at times."""
    x0, y0, x1, y1 = box
    side = page.unit * page.some(6, 40)
    rng = page.rng

    def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
        s = side * scale
        wide = max(1, round(s * rng.uniform(0.04, 0.14)))
        for _ in range(rng.randint(2, 6)):
            x, y = rng.uniform(0, s), rng.uniform(0, s)
            r = rng.uniform(0.1, 0.45) * s
            shape = rng.randrange(4)
            if shape == 0:
                start = rng.uniform(0, 360)
                end = start + rng.uniform(90, 360)
                pen.arc((x - r, y - r, x + r, y + r), start, end, fill=255, width=wide)
            elif shape == 1:
                pen.line([(x, y), (x + r, y - r), (x + 2 * r, y)], fill=255, width=wide)
            elif shape == 2:
                pen.ellipse((x - r / 3, y - r / 3, x + r / 3, y + r / 3), fill=255)
            else:
                pen.line((x, 0, x + rng.uniform(-r, r), s), fill=255, width=wide)

    motif = draw_mask(side, side, draw)
    mirrored = page.chance(0.5)
    count = max(1, int((x1 - x0) / side))
    row = np.hstack([motif[:, :: -1 if mirrored and k % 2 else 1] for k in range(count)])
    y = y0
    for _ in range(page.rng.choice((1, 1, 2, 4))):
        if y + side > y1:
            break
        page.canvas.blend(row, round(x0), round(y), ink)
        y += side * page.some(1, 2.5)
    if page.chance(0.4):
        column = np.vstack([motif] * max(1, int((y1 - y0) / side)))
        page.canvas.blend(column, round(x0), round(y0), ink)


def _scale(page: Composer, box: Rect, ink: int) -> None:
    """Marks of a ruler, an axis, a dial: short strokes side by side; rows of dots or boxes."""
    x0, y0, x1, y1 = box
    step = page.unit * page.some(2, 16)
    long = page.unit * page.some(3, 22)
    every = page.rng.choice((1, 2, 5, 10))
    form = page.rng.choice(("strokes", "strokes", "dots", "boxes", "slanted"))
    thick = page.unit * page.some(0.5, 2.5)
    y = y0 + long
    for _ in range(page.rng.choice((1, 1, 2, 6))):
        if y + long > y1:
            break
        for k in range(int((x1 - x0) / step)):
            x, high = x0 + k * step, long if k % every == 0 else 0.5 * long
            if form == "dots":
                page.canvas.fill((x, y, x + thick + 1, y + thick + 1), ink, thick / 2)
            elif form == "boxes":
                page.canvas.outline((x, y - 0.8 * step, x + 0.8 * step, y), ink, thick)
            elif form == "slanted":
                scale = draw_mask(long, long, lambda pen, s: pen.line(
                    (0, long * s, long * s, 0), fill=255, width=max(1, round(thick * s))
                ))  # fmt: skip
                page.canvas.blend(scale, round(x), round(y - long), ink)
            else:
                page.canvas.rule(x, y - high, x, y, ink, thick)
        y += long * page.some(1.5, 4)


def _plan(page: Composer, box: Rect, ink: int) -> None:
    """A map or the plan of a house: crossing ways, rooms, doors, trees."""
    x0, y0, x1, y1 = box
    rng, wide, high = page.rng, x1 - x0, y1 - y0

    def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
        thick = max(1, round(page.unit * rng.uniform(0.5, 3) * scale))
        w, h = wide * scale, high * scale
        for _ in range(rng.randint(2, 14)):
            x, y = rng.uniform(0, w), rng.uniform(0, h)
            r = rng.uniform(0.03, 0.3) * min(w, h)
            shape = rng.randrange(4)
            if shape == 0:
                ways = [(rng.uniform(0, w), rng.uniform(0, h)) for _ in range(rng.randint(2, 5))]
                pen.line(ways, fill=255, width=thick, joint="curve")
            elif shape == 1:
                pen.rectangle((x, y, x + 2 * r, y + r), outline=255, width=thick)
            elif shape == 2:
                pen.arc((x - r, y - r, x + r, y + r), 0, 90, fill=255, width=thick)
            else:
                pen.ellipse((x - r / 4, y - r / 4, x + r / 4, y + r / 4), outline=255, width=thick)

    page.canvas.blend(draw_mask(high, wide, draw), round(x0), round(y0), ink)


def _strokes(page: Composer, box: Rect, ink: int) -> None:
    """Signatures, scribbles and handwriting."""
    x0, y0, x1, y1 = box
    for _ in range(page.rng.randint(1, 4)):
        x, y = page.some(x0, x1), page.some(y0, y1)
        roll = page.rng.random()
        if roll < 0.5:
            signature(page, x, y, page.unit * page.some(30, 180))
        elif roll < 0.8:
            size = page.unit * page.some(7, 24)
            handwriting(page, x0, y, page.some(0.3, 1) * (x1 - x0), size)
        else:
            scrawl(page)


def _seals(page: Composer, box: Rect, ink: int) -> None:
    """A seal, at times of one ink with the page."""
    x0, y0, x1, y1 = box
    radius = min(page.unit * page.some(22, 80), 0.6 * (x1 - x0), 0.6 * (y1 - y0))
    seal(page, page.some(x0, x1), page.some(y0, y1), max(radius, 8 * page.unit))


def _code(page: Composer, box: Rect, ink: int) -> None:
    """A QR code or bars."""
    x0, y0, x1, y1 = box
    side = min(x1 - x0, y1 - y0) * page.some(0.4, 1)
    if page.chance(0.6):
        qr_code(page, x0, y0, side)
    else:
        barcode(page, x0, y0, (x1 - x0) * page.some(0.4, 1), side * page.some(0.3, 1))


def _picture(page: Composer, box: Rect, ink: int) -> None:
    photograph(page, box, page.rng.choice((0, 0, 8)) * page.unit)


def _seen_through(page: Composer, box: Rect, ink: int) -> None:
    """Mirrored lines of the other side of the paper, pale."""
    x0, y0, x1, y1 = box
    type = page.body.at(size=page.unit * page.some(8, 24))
    share, y = page.some(0.06, 0.35), y0 + 1.5 * type.size
    while y + type.size < y1:
        text = page.fitting("running", 0.9 * (x1 - x0), type)
        placed, _ = page.setter.ink(text, type, 0, 0)
        page.canvas.darken(placed.alpha[:, ::-1], round(x0), round(y + placed.top), share)
        y += 1.6 * type.size


def _grain(page: Composer, box: Rect, ink: int) -> None:
    """A dark field that a copier broke up: grains, rows of them at times."""
    x0, y0, x1, y1 = (round(v) for v in box)
    h, w = y1 - y0, x1 - x0
    grains = page.numbers.random((max(1, h // page.rng.choice((1, 2, 3))), max(1, w // 2)))
    grains = grains + page.numbers.normal(0, page.some(0, 0.3), (len(grains), 1))
    some = (255 * (grains < page.some(0.05, 0.9))).astype(np.uint8)
    mask = np.asarray(Image.fromarray(some).resize((w, h), Image.Resampling.NEAREST))
    page.canvas.blend(mask, x0, y0, ink)


DECOYS: dict[Callable[[Composer, Rect, int], None], float] = {
    _keys: 0.26,
    _tools: 0.08,
    _curls: 0.13,
    _crests: 0.1,
    _border: 0.07,
    _scale: 0.06,
    _plan: 0.05,
    _strokes: 0.07,
    _seals: 0.06,
    _code: 0.05,
    _picture: 0.03,
    _seen_through: 0.02,
    _grain: 0.02,
}
