"""Pictures and parts of screens that are no text: photographs, codes, icons, charts, keyboards."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import draw_mask

Rect = tuple[float, float, float, float]  # left, top, right, bottom


def photograph(page: Composer, box: Rect, radius: float = 0) -> None:
    """A photograph or drawing in a box: soft fields, hard edges, grain."""
    x0, y0, x1, y1 = (round(v) for v in box)
    w, h = x1 - x0, y1 - y0
    if w < 4 or h < 4:
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
    """A QR code: modules at random, its three eyes in their corners."""
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


ICONS = (
    "search", "plus", "cross", "back", "menu", "home", "gear", "bell", "heart", "person", "pin",
    "phone", "dots", "check", "trash", "play", "wifi", "battery", "globe", "square", "circle",
)  # fmt: skip


def icon(page: Composer, x: float, y: float, size: float, level: int, name: str = "") -> None:
    """An icon whose box's corner is (x, y)."""
    name = name or page.rng.choice(ICONS)

    def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
        s = size * scale
        thick = max(1, round(0.09 * s))
        line = {"fill": 255, "width": thick}
        ring = {"outline": 255, "width": thick}
        if name == "search":
            pen.ellipse((0.1 * s, 0.1 * s, 0.65 * s, 0.65 * s), **ring)
            pen.line((0.6 * s, 0.6 * s, 0.9 * s, 0.9 * s), **line)
        elif name == "plus":
            pen.line((0.5 * s, 0.1 * s, 0.5 * s, 0.9 * s), **line)
            pen.line((0.1 * s, 0.5 * s, 0.9 * s, 0.5 * s), **line)
        elif name == "cross":
            pen.line((0.2 * s, 0.2 * s, 0.8 * s, 0.8 * s), **line)
            pen.line((0.8 * s, 0.2 * s, 0.2 * s, 0.8 * s), **line)
        elif name == "back":
            pen.line((0.9 * s, 0.5 * s, 0.15 * s, 0.5 * s), **line)
            pen.line((0.5 * s, 0.15 * s, 0.15 * s, 0.5 * s, 0.5 * s, 0.85 * s), **line)
        elif name == "menu":
            for k in (0.25, 0.5, 0.75):
                pen.line((0.1 * s, k * s, 0.9 * s, k * s), **line)
        elif name == "home":
            pen.polygon([(0.5 * s, 0.1 * s), (0.95 * s, 0.5 * s), (0.05 * s, 0.5 * s)], fill=255)
            pen.rectangle((0.2 * s, 0.5 * s, 0.8 * s, 0.9 * s), fill=255)
        elif name in ("gear", "globe"):
            pen.ellipse((0.15 * s, 0.15 * s, 0.85 * s, 0.85 * s), **ring)
            for k in range(8 if name == "gear" else 0):
                a = k * math.pi / 4
                pen.line(
                    (
                        s * (0.5 + 0.33 * math.cos(a)),
                        s * (0.5 + 0.33 * math.sin(a)),
                        s * (0.5 + 0.48 * math.cos(a)),
                        s * (0.5 + 0.48 * math.sin(a)),
                    ),
                    **line,
                )
            if name == "globe":
                pen.ellipse((0.35 * s, 0.15 * s, 0.65 * s, 0.85 * s), **ring)
                pen.line((0.15 * s, 0.5 * s, 0.85 * s, 0.5 * s), **line)
        elif name == "bell":
            pen.pieslice((0.2 * s, 0.1 * s, 0.8 * s, 1.2 * s), 180, 360, fill=255)
            pen.ellipse((0.42 * s, 0.75 * s, 0.58 * s, 0.92 * s), fill=255)
        elif name == "heart":
            pen.ellipse((0.08 * s, 0.15 * s, 0.52 * s, 0.6 * s), fill=255)
            pen.ellipse((0.48 * s, 0.15 * s, 0.92 * s, 0.6 * s), fill=255)
            pen.polygon([(0.1 * s, 0.48 * s), (0.9 * s, 0.48 * s), (0.5 * s, 0.92 * s)], fill=255)
        elif name == "person":
            pen.ellipse((0.3 * s, 0.08 * s, 0.7 * s, 0.48 * s), fill=255)
            pen.pieslice((0.12 * s, 0.52 * s, 0.88 * s, 1.4 * s), 180, 360, fill=255)
        elif name == "pin":
            pen.ellipse((0.22 * s, 0.05 * s, 0.78 * s, 0.6 * s), **ring)
            pen.polygon([(0.28 * s, 0.5 * s), (0.72 * s, 0.5 * s), (0.5 * s, 0.95 * s)], fill=255)
        elif name == "phone":
            pen.arc((0.1 * s, -0.3 * s, 1.3 * s, 0.9 * s), 90, 180, fill=255, width=2 * thick)
            pen.ellipse((0.05 * s, 0.15 * s, 0.3 * s, 0.4 * s), fill=255)
            pen.ellipse((0.6 * s, 0.7 * s, 0.85 * s, 0.95 * s), fill=255)
        elif name == "dots":
            for k in (0.2, 0.5, 0.8):
                pen.ellipse(
                    (k * s - thick, 0.5 * s - thick, k * s + thick, 0.5 * s + thick), fill=255
                )
        elif name == "check":
            pen.line((0.1 * s, 0.55 * s, 0.4 * s, 0.85 * s, 0.9 * s, 0.2 * s), **line)
        elif name == "trash":
            pen.rectangle((0.25 * s, 0.3 * s, 0.75 * s, 0.92 * s), **ring)
            pen.line((0.12 * s, 0.25 * s, 0.88 * s, 0.25 * s), **line)
            pen.line((0.42 * s, 0.45 * s, 0.42 * s, 0.8 * s), **line)
            pen.line((0.58 * s, 0.45 * s, 0.58 * s, 0.8 * s), **line)
        elif name == "play":
            pen.polygon([(0.2 * s, 0.1 * s), (0.9 * s, 0.5 * s), (0.2 * s, 0.9 * s)], fill=255)
        elif name == "wifi":
            for k in (0.2, 0.4, 0.6):
                pen.arc(
                    (0.5 * s - k * s, 0.85 * s - k * s, 0.5 * s + k * s, 0.85 * s + k * s),
                    225,
                    315,
                    **line,
                )
        elif name == "battery":
            pen.rectangle((0.1 * s, 0.3 * s, 0.85 * s, 0.7 * s), **ring)
            pen.rectangle((0.15 * s, 0.35 * s, 0.6 * s, 0.65 * s), fill=255)
        elif name == "square":
            pen.rectangle((0.2 * s, 0.2 * s, 0.8 * s, 0.8 * s), **ring)
        else:
            pen.ellipse((0.15 * s, 0.15 * s, 0.85 * s, 0.85 * s), **ring)

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
