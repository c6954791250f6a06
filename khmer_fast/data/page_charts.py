"""Charts: bars beside numbers, axes, and a report's pages with them."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageDraw

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import draw_mask
from khmer_fast.data.page_pictures import Rect, photograph
from khmer_fast.data.page_prose import caption, page_number, prose, running_head
from khmer_fast.data.page_type import Type


def bar_chart(page: Composer, box: Rect) -> None:
    """Bars to the right with names and numbers, or upright with names below."""
    size = page.body.size * page.some(0.6, 0.85)
    type = page.body.at(size=size, stretch=1.0)
    ink = page.body.level
    bars = round(page.some(70, 150)) if ink < 128 else round(page.some(110, 200))
    if page.chance(0.55):
        _lying(page, box, type, bars)
    else:
        _standing(page, box, type, bars)
    if page.chance(0.25):  # the axis' name, on its side: no line
        placed, _ = page.setter.ink(page.text("heading", 14, type), type, 0, 0)
        turned = np.rot90(placed.alpha)
        top = (box[1] + box[3] - turned.shape[0]) / 2
        left = box[0] - turned.shape[1] - 0.2 * size
        if left > 0:
            page.canvas.blend(turned, round(left), round(top), type.level)


def _lying(page: Composer, box: Rect, type: Type, level: int) -> None:
    x0, y0, x1, y1 = box
    names = 0.3 * (x1 - x0)
    count = max(2, min(page.rng.randint(3, 9), int((y1 - y0) / (2.2 * type.size))))
    pitch = (y1 - y0) / count
    thick = pitch * page.some(0.3, 0.7)
    room = x1 - x0 - names - 4 * type.size
    if page.chance(0.5):
        for k in range(6):
            at = x0 + names + room * k / 5
            page.canvas.rule(at, y0, at, y1, (type.level + 3 * 200) // 4, 1)
    page.region("text")
    for k in range(count):
        middle = y0 + (k + 0.5) * pitch
        base = middle + 0.35 * page.letter(type)
        page.line(
            page.fitting("words", 0.95 * names, type),
            x0 + names - 0.4 * type.size,
            base,
            type,
            align="right",
            kind="chart",
        )
        long = max(0.5 * type.size, room * page.rng.random() ** 1.5)
        start = x0 + names
        page.canvas.fill((start, middle - thick / 2, start + long, middle + thick / 2), level)
        if page.chance(0.9):
            number = page.digits(str(page.rng.randint(1, 99)))
            page.line(number, start + long + 0.4 * type.size, base, type, kind="chart")
    page.canvas.rule(x0 + names, y0, x0 + names, y1, type.level, 1)


def _standing(page: Composer, box: Rect, type: Type, level: int) -> None:
    x0, y0, x1, y1 = box
    bottom = y1 - 2 * type.size
    count = page.rng.randint(3, 8)
    left = x0 + 3 * type.size
    pitch = (x1 - left) / count
    page.region("text")
    tall = bottom - y0 - 1.5 * type.size
    if tall < 2 * type.size:
        return
    steps = page.rng.randint(2, 5)
    for k in range(steps + 1):
        at = bottom - tall * k / steps
        page.line(
            page.digits(str(k * 10)),
            left - 0.5 * type.size,
            at + 0.3 * type.size,
            type,
            align="right",
            kind="chart",
        )
        page.canvas.rule(left, at, x1, at, (type.level + 3 * 200) // 4, 1)
    heights = [tall * page.some(0.05, 1) for _ in range(count)]
    for k, high in enumerate(heights):
        at = left + (k + 0.5) * pitch
        wide = 0.35 * pitch
        page.canvas.fill((at - wide, bottom - high, at + wide, bottom), level)
        if page.chance(0.8):
            number = page.digits(str(page.rng.randint(1, 999)))
            page.line(
                number, at, bottom - high - 0.4 * type.size, type, align="centre", kind="chart"
            )
    page.region("text")
    for k in range(count):
        text = page.fitting("single_word", 0.95 * pitch, type)
        page.line(
            text,
            left + (k + 0.5) * pitch,
            bottom + 1.5 * type.size,
            type,
            align="centre",
            kind="chart",
        )


def pie_chart(page: Composer, box: Rect) -> None:
    """Slices, and a legend of small squares with words."""
    x0, y0, x1, y1 = box
    radius = 0.45 * min(x1 - x0, y1 - y0)
    levels = [page.rng.choice((60, 100, 140, 180, 215)) for _ in range(page.rng.randint(2, 5))]
    shares = [page.some(0.3, 1) for _ in levels]
    start = page.some(0, 360)
    for share, level in zip(shares, levels, strict=True):
        end = start + 360 * share / sum(shares)

        def draw(pen: ImageDraw.ImageDraw, scale: float, a: float = start, b: float = end) -> None:
            pen.pieslice((0, 0, 2 * radius * scale, 2 * radius * scale), a, b, fill=255)

        page.canvas.blend(draw_mask(2 * radius, 2 * radius, draw), round(x0), round(y0), level, 0)
        start = end
    type = page.body.at(size=0.8 * page.body.size)
    page.region("list")
    for k, level in enumerate(levels):
        base = y0 + (k + 1) * 2 * type.size
        at = x0 + 2 * radius + 2 * type.size
        page.canvas.fill((at, base - 0.7 * type.size, at + 0.7 * type.size, base), level)
        room = x1 - at - 1.5 * type.size
        if room > 2 * type.size:
            page.line(
                page.fitting("words", room, type), at + 1.2 * type.size, base, type, kind="legend"
            )


def line_chart(page: Composer, box: Rect) -> None:
    """Polylines over a grid: no text but the axis' numbers."""
    x0, y0, x1, y1 = box
    type = page.body.at(size=0.7 * page.body.size)
    page.region("text")
    left = x0 + 3 * type.size
    for k in range(5):
        at = y1 - (y1 - y0) * k / 4
        page.canvas.rule(left, at, x1, at, 200, 1)
        page.line(
            page.digits(str(25 * k)),
            left - 0.6 * type.size,
            at + 0.3 * type.size,
            type,
            align="right",
            kind="chart",
        )
    wide, high = x1 - left, y1 - y0
    for _ in range(page.rng.randint(1, 3)):
        phase, speed = page.some(0, 6), page.some(3, 12)
        points = [
            (t, 0.5 + 0.35 * math.sin(phase + speed * t) + page.some(-0.08, 0.08))
            for t in np.linspace(0, 1, 12).tolist()
        ]

        def draw(
            pen: ImageDraw.ImageDraw, scale: float, path: list[tuple[float, float]] = points
        ) -> None:
            at = [(x * wide * scale, y * high * scale) for x, y in path]
            pen.line(at, fill=255, width=round(1.5 * scale * page.unit), joint="curve")

        page.canvas.blend(
            draw_mask(high, wide, draw), round(left), round(y0), page.rng.choice((30, 90, 140))
        )


def report(page: Composer) -> None:
    """A report's page: text, then a chart or photographs with captions, then text."""
    x = page.some(0.06, 0.12) * page.width
    width = page.width - 2 * x
    size = page.body.size
    y = page.some(0.05, 0.08) * page.height
    if page.chance(0.6):
        y = running_head(page, x, y, width)
    bottom = 0.92 * page.height
    while y < bottom:
        y = prose(page, x, y + size, width, min(bottom, y + page.some(4, 20) * size)) + size
        high = page.some(8, 18) * size
        if y + high > bottom:
            break
        roll = page.rng.random()
        box = (x + 2 * size, y, x + width, y + high)
        if roll < 0.35:
            bar_chart(page, box)
        elif roll < 0.5:
            pie_chart(page, box)
        elif roll < 0.6:
            line_chart(page, box)
        else:
            count = page.rng.choice((1, 1, 2, 3))
            each = (width - (count - 1) * size) / count
            for k in range(count):
                left = x + k * (each + size)
                photograph(page, (left, y, left + each, y + high))
        y += high + 2 * size
        if page.chance(0.7):
            y = caption(page, x + width / 2, y, width)
    page_number(page, x, width, 0.97 * page.height)
