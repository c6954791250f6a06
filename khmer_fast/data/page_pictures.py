"""Pictures and parts of screens that are no text: photographs, codes, icons, charts, keyboards."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import draw_mask

Rect = tuple[float, float, float, float]  # left, top, right, bottom


def photograph(page: Composer, box: Rect, radius: float = 0) -> None:
    """A photograph or drawing in a box, unless a line's ink is there: soft fields, hard edges."""
    x0, y0, x1, y1 = (round(v) for v in box)
    w, h = x1 - x0, y1 - y0
    if w < 4 or h < 4 or page.inked(box):
        return
    picture = scene(page, h, w)
    if radius:
        mask = draw_mask(
            h, w, lambda pen, s: pen.rounded_rectangle((0, 0, w * s, h * s), radius * s, fill=255)
        )
        under = np.full(
            (h, w), page.canvas.grey[min(y0, page.height - 1), min(x0, page.width - 1)], np.int32
        )
        picture = (under + (picture.astype(np.int32) - under) * mask // 255).astype(np.uint8)
    page.canvas.paste(picture, x0, y0)


def scene(page: Composer, h: int, w: int) -> np.ndarray:
    """Grey levels uint8 [h, w] that look like a photograph: no text in them."""
    rng, numbers = page.rng, page.numbers
    low, high = sorted((rng.uniform(0, 255), rng.uniform(0, 255)))
    if high - low < 60:
        low, high = max(0.0, low - 60), min(255.0, high + 60)
    out = np.zeros((h, w), np.float32)
    total = 0.0
    for cells, weight in ((2, 1.0), (5, 0.6), (13, 0.35), (40, 0.2)):
        if rng.random() < 0.8:
            coarse = numbers.random((cells, max(2, round(cells * w / h))), dtype=np.float32)
            out += weight * np.asarray(
                Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC)
            )
            total += weight
    image = Image.fromarray(
        np.clip(low + (high - low) * out / max(total, 0.2), 0, 255).astype(np.uint8)
    )
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(0, 14)):
        cx, cy = rng.uniform(0, w), rng.uniform(0, h)
        rx, ry = rng.uniform(0.02, 0.3) * w, rng.uniform(0.02, 0.3) * h
        level = round(rng.uniform(0, 255))
        shape = rng.randrange(4)
        if shape == 0:
            pen.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=level)
        elif shape == 1:
            pen.polygon(
                [
                    (cx + rx * rng.uniform(-1, 1), cy + ry * rng.uniform(-1, 1))
                    for _ in range(rng.randint(3, 6))
                ],
                fill=level,
            )
        elif shape == 2:
            for k in range(rng.randint(3, 12)):  # fences, windows, stairs
                x = cx + k * 0.2 * rx
                pen.line(
                    (x, cy - ry, x + rng.uniform(-2, 2), cy + ry),
                    fill=level,
                    width=max(1, round(rng.uniform(0.005, 0.02) * w)),
                )
        else:
            pen.line(
                [(cx, cy), (cx + rx, cy - ry), (cx + 2 * rx, cy + 0.3 * ry)],
                fill=level,
                width=max(1, round(0.01 * w)),
            )
    if rng.random() < 0.7:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.5, 0.012 * max(w, h) + 0.6)))
    picture = np.asarray(image).astype(np.int16)
    if rng.random() < 0.6:
        picture = picture + (
            numbers.standard_normal((h, w), dtype=np.float32) * rng.uniform(2, 14)
        ).astype(np.int16)
    if rng.random() < 0.1:  # a halftone
        screen = (np.add.outer(np.arange(h), np.arange(w)) % 4 < 2) * 60
        picture = picture + screen.astype(np.int16) - 30
    return np.clip(picture, 0, 255).astype(np.uint8)


def qr_code(page: Composer, x: float, y: float, side: float) -> None:
    """A QR code where no line has ink: modules at random, its three eyes in their corners."""
    if page.inked((x, y, x + side, y + side)):
        return
    count = page.rng.choice((21, 25, 29, 33))
    cells = (page.numbers.random((count, count)) < 0.5).astype(np.uint8)
    for r, c in ((0, 0), (0, count - 7), (count - 7, 0)):
        cells[max(0, r - 1) : r + 8, max(0, c - 1) : c + 8] = 0
        cells[r : r + 7, c : c + 7] = 1
        cells[r + 1 : r + 6, c + 1 : c + 6] = 0
        cells[r + 2 : r + 5, c + 2 : c + 5] = 1
    image = Image.fromarray(255 - 255 * cells).resize(
        (round(side), round(side)), Image.Resampling.BOX
    )
    page.canvas.paste(np.asarray(image), round(x), round(y))


def barcode(page: Composer, x: float, y: float, width: float, height: float) -> None:
    """Vertical bars of one to four units."""
    unit = max(1.0, width / 110)
    pen = x
    while pen < x + width:
        thick = unit * page.rng.randint(1, 4)
        page.canvas.fill((pen, y, pen + thick, y + height), 10)
        pen += thick + unit * page.rng.randint(1, 4)


class _IconPen:
    """Draws white in a unit square on an image of `side` pixels."""

    def __init__(self, pen: ImageDraw.ImageDraw, side: float):
        self._pen, self._side = pen, side
        self._thick = max(1, round(0.09 * side))

    def _at(self, *values: float) -> list[float]:
        return [value * self._side for value in values]

    def line(self, *points: float) -> None:
        self._pen.line(self._at(*points), fill=255, width=self._thick)

    def area(self, *points: float) -> None:
        self._pen.polygon(self._at(*points), fill=255)

    def ring(self, x: float, y: float, radius: float, squeeze: float = 1.0) -> None:
        wide = radius * squeeze
        box = self._at(x - wide, y - radius, x + wide, y + radius)
        self._pen.ellipse(box, outline=255, width=self._thick)

    def disc(self, x: float, y: float, radius: float) -> None:
        self._pen.ellipse(self._at(x - radius, y - radius, x + radius, y + radius), fill=255)

    def frame(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self._pen.rectangle(self._at(x0, y0, x1, y1), outline=255, width=self._thick)

    def block(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self._pen.rectangle(self._at(x0, y0, x1, y1), fill=255)

    def arc(self, x: float, y: float, radius: float, start: float, end: float) -> None:
        box = self._at(x - radius, y - radius, x + radius, y + radius)
        self._pen.arc(box, start, end, fill=255, width=self._thick)

    def dome(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """The upper half of an ellipse in a box."""
        self._pen.pieslice(self._at(x0, y0, x1, y1), 180, 360, fill=255)


def _gear(pen: _IconPen) -> None:
    pen.ring(0.5, 0.5, 0.35)
    for k in range(8):
        x, y = math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)
        pen.line(0.5 + 0.33 * x, 0.5 + 0.33 * y, 0.5 + 0.48 * x, 0.5 + 0.48 * y)


# Each icon: the strokes of its picture, method and arguments, in a unit square.
_ICONS: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "search": (("ring", (0.38, 0.38, 0.28)), ("line", (0.6, 0.6, 0.9, 0.9))),
    "plus": (("line", (0.5, 0.1, 0.5, 0.9)), ("line", (0.1, 0.5, 0.9, 0.5))),
    "cross": (("line", (0.2, 0.2, 0.8, 0.8)), ("line", (0.8, 0.2, 0.2, 0.8))),
    "back": (
        ("line", (0.9, 0.5, 0.15, 0.5)),
        ("line", (0.5, 0.15, 0.15, 0.5, 0.5, 0.85)),
    ),
    "menu": tuple(("line", (0.1, y, 0.9, y)) for y in (0.25, 0.5, 0.75)),
    "home": (("area", (0.5, 0.1, 0.95, 0.5, 0.05, 0.5)), ("block", (0.2, 0.5, 0.8, 0.9))),
    "globe": (
        ("ring", (0.5, 0.5, 0.35)),
        ("ring", (0.5, 0.5, 0.35, 0.43)),
        ("line", (0.15, 0.5, 0.85, 0.5)),
    ),
    "bell": (("dome", (0.2, 0.1, 0.8, 1.2)), ("disc", (0.5, 0.84, 0.08))),
    "heart": (
        ("disc", (0.3, 0.37, 0.22)),
        ("disc", (0.7, 0.37, 0.22)),
        ("area", (0.1, 0.48, 0.9, 0.48, 0.5, 0.92)),
    ),
    "person": (("disc", (0.5, 0.28, 0.2)), ("dome", (0.12, 0.52, 0.88, 1.4))),
    "pin": (("ring", (0.5, 0.33, 0.28)), ("area", (0.28, 0.5, 0.72, 0.5, 0.5, 0.95))),
    "phone": (
        ("arc", (0.7, 0.3, 0.6, 90, 180)),
        ("disc", (0.17, 0.28, 0.13)),
        ("disc", (0.72, 0.82, 0.13)),
    ),
    "dots": tuple(("disc", (x, 0.5, 0.09)) for x in (0.2, 0.5, 0.8)),
    "check": (("line", (0.1, 0.55, 0.4, 0.85, 0.9, 0.2)),),
    "trash": (
        ("frame", (0.25, 0.3, 0.75, 0.92)),
        ("line", (0.12, 0.25, 0.88, 0.25)),
        ("line", (0.42, 0.45, 0.42, 0.8)),
        ("line", (0.58, 0.45, 0.58, 0.8)),
    ),
    "play": (("area", (0.2, 0.1, 0.9, 0.5, 0.2, 0.9)),),
    "wifi": tuple(("arc", (0.5, 0.85, radius, 225, 315)) for radius in (0.2, 0.4, 0.6)),
    "battery": (("frame", (0.1, 0.3, 0.85, 0.7)), ("block", (0.15, 0.35, 0.6, 0.65))),
    "square": (("frame", (0.2, 0.2, 0.8, 0.8)),),
    "circle": (("ring", (0.5, 0.5, 0.35)),),
    "gear": (),  # _gear draws it
}


def icon(page: Composer, x: float, y: float, size: float, level: int, name: str = "") -> None:
    """An icon whose box's corner is (x, y)."""
    name = name or page.rng.choice(tuple(_ICONS))

    def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
        icon_pen = _IconPen(pen, size * scale)
        if name == "gear":
            _gear(icon_pen)
        for method, arguments in _ICONS[name]:
            getattr(icon_pen, method)(*arguments)

    page.canvas.blend(draw_mask(size, size, draw), round(x), round(y), level)


def keyboard(page: Composer, box: Rect, ground: int, key: int, level: int) -> None:
    """The keys of a screen's keyboard: their letters are no text of the page."""
    x0, y0, x1, y1 = box
    page.canvas.fill(box, ground)
    rows = 4
    high = (y1 - y0) / (rows + 0.3)
    for row in range(rows):
        count = page.rng.choice((10, 10, 9, 8)) if row < rows - 1 else 6
        wide = (x1 - x0) / count
        for column in range(count):
            left, top = x0 + column * wide, y0 + (row + 0.15) * high
            if row == rows - 1 and column in (3, 4):
                continue
            right = left + wide * (3 if row == rows - 1 and column == 2 else 1)
            pad = 0.06 * wide
            page.canvas.fill(
                (left + pad, top + pad, right - pad, top + high - pad), key, 0.15 * wide
            )
            if row == rows - 1 and column == 2:
                continue
            if page.chance(0.12):
                icon(page, left + 0.3 * wide, top + 0.3 * high, 0.4 * min(wide, high), level)
                continue
            type = page.body.at(size=0.42 * high, level=level, hinted=False)
            letter = page.text("single_word", 1, type)
            placed, advance = page.setter.ink(letter, type, 0, 0)
            at = round((left + right - advance) / 2), round(top + 0.65 * high)
            page.canvas.blend(placed.alpha, placed.left + at[0], placed.top + at[1], level)
            if page.chance(0.6):
                small = type.at(size=0.2 * high, level=min(200, level + 110))
                placed, _ = page.setter.ink(page.text("single_word", 1, small), small, 0, 0)
                page.canvas.blend(
                    placed.alpha,
                    placed.left + round(left + 2 * pad),
                    placed.top + round(top + 0.3 * high),
                    small.level,
                )
