"""Marks on paper that are no text: seals, signatures, handwriting, crests, ornaments, holes, edges.

What they draw belongs to no line; text under them keeps its owner.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_type import Type

_FINE = 3  # masks are drawn this many times larger, for smooth edges


def draw_mask(
    height: float, width: float, draw: Callable[[ImageDraw.ImageDraw, float], None]
) -> np.ndarray:
    """Alpha uint8 [h, w] of what `draw(pen, scale)` draws white on an image `scale` times as
    large."""
    size = (max(1, round(width)), max(1, round(height)))
    image = Image.new("L", (size[0] * _FINE, size[1] * _FINE), 0)
    draw(ImageDraw.Draw(image), _FINE)
    return np.asarray(image.reduce(_FINE))


def crest(page: Composer, cx: float, cy: float, radius: float, level: int | None = None) -> None:
    """A coat of arms or a logo: symmetrical, ornate, with letters in it at times."""
    rng = page.rng
    side = 2 * radius

    def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
        r = radius * scale
        ringed = rng.random() < 0.6
        if ringed:
            for share in (1.0, rng.uniform(0.86, 0.95), rng.uniform(0.55, 0.75))[
                : rng.randint(1, 3)
            ]:
                box = (r - r * share, r - r * share, r + r * share, r + r * share)
                pen.ellipse(box, outline=255, width=max(1, round(rng.uniform(0.02, 0.06) * r)))
        inner = r * (0.6 if ringed else 0.95)
        for _ in range(rng.randint(5, 16)):
            dx, dy = rng.uniform(0, inner), rng.uniform(-inner, inner)
            if math.hypot(dx, dy) > inner:
                continue
            w, h = rng.uniform(0.05, 0.4) * inner, rng.uniform(0.05, 0.4) * inner
            shape = rng.randrange(4)
            fill = rng.choice((None, 255, 160))
            thick = max(1, round(rng.uniform(0.02, 0.06) * r))
            turn = rng.uniform(0, 360)
            for sign in (-1, 1):
                x, y = r + sign * dx, r + dy
                box = (x - w, y - h, x + w, y + h)
                if shape == 0:
                    pen.ellipse(box, fill=fill, outline=255, width=thick)
                elif shape == 1:
                    pen.polygon(
                        [(x, y - h), (x + w, y + h), (x - w, y + h)], fill=fill, outline=255
                    )
                elif shape == 2:
                    start = turn if sign > 0 else 180 - turn - 200
                    pen.arc(box, start, start + 200, fill=255, width=thick)
                else:
                    pen.line([(x, y - h), (x + sign * w, y), (x, y + h)], fill=255, width=thick)
        if rng.random() < 0.5:
            points = rng.randint(5, 12)
            size = rng.uniform(0.15, 0.45) * r
            star = []
            for k in range(2 * points):
                a = math.pi * k / points - math.pi / 2
                long = size if k % 2 == 0 else 0.5 * size
                star.append((r + long * math.cos(a), r + long * math.sin(a)))
            pen.polygon(star, fill=255)

    alpha = draw_mask(side, side, draw)
    if level is None:
        level = page.rng.choice((20, 60, 90, 130, 170))
    if page.chance(0.3):
        page.canvas.darken(
            np.asarray(Image.fromarray(alpha).filter(ImageFilter.BoxBlur(radius / 8))),
            round(cx - radius),
            round(cy - radius),
            page.some(0.1, 0.5),
        )
    page.canvas.blend(alpha, round(cx - radius), round(cy - radius), level)
    if page.chance(0.3):
        letters = page.body.at(size=max(4.0, radius * 0.3), level=level)
        ring_letters(page, cx, cy, 0.78 * radius, letters, page.rng.randint(3, 12))


def seal(page: Composer, cx: float, cy: float, radius: float) -> None:
    """A round stamp with letters in its ring and a picture in its middle, translucent and worn."""
    rng = page.rng
    side = math.ceil(2 * radius)
    rings = [(1.0, 0.035), (0.93, 0.015), (rng.uniform(0.55, 0.66), 0.015)]

    def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
        r = radius * scale
        for share, thick in rings:
            box = (r - r * share, r - r * share, r + r * share, r + r * share)
            pen.ellipse(box, outline=255, width=max(2, round(thick * r)))
        for _ in range(rng.randint(6, 18)):  # the picture
            x, y = (rng.uniform(-0.4, 0.4) * r for _ in range(2))
            w, h = rng.uniform(0.03, 0.2) * r, rng.uniform(0.05, 0.25) * r
            for sign in (-1, 1):
                box = (r + sign * x - w, r + y - h, r + sign * x + w, r + y + h)
                if rng.random() < 0.5:
                    pen.arc(box, 180, 360, fill=255, width=max(1, round(0.02 * r)))
                else:
                    pen.rectangle(box, outline=255, width=max(1, round(0.02 * r)))

    mark = draw_mask(side, side, draw).copy()
    letters = page.heading.at(size=max(4.0, 0.2 * radius), level=0)
    ring_letters(page, radius, radius, 0.77 * radius, letters, rng.randint(10, 22), mark)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / max(1, side)
    worn = 0.75 + 0.25 * np.sin(9 * x + rng.uniform(0, 6)) * np.sin(7 * y + rng.uniform(0, 6))
    mark = np.asarray(
        Image.fromarray((mark * worn).astype(np.uint8))
        .filter(ImageFilter.GaussianBlur(max(0.3, radius / 90)))
        .rotate(rng.uniform(-30, 30))
    )
    page.canvas.darken(mark, round(cx - radius), round(cy - radius), page.some(0.25, 0.75))


def ring_letters(
    page: Composer,
    cx: float,
    cy: float,
    radius: float,
    type: Type,
    count: int,
    mark: np.ndarray | None = None,
) -> None:
    """Letters round a circle, into `mark` [h, w] or onto the page; they are no line's."""
    arc = page.some(0.5, 0.95) * math.tau
    for k in range(count):
        text = page.text("single_word", 2, type)
        placed, _ = page.setter.ink(text, type, 0, 0)
        angle = arc * (k / count - 0.5)
        turned = Image.fromarray(placed.alpha).rotate(
            -math.degrees(angle), Image.Resampling.BILINEAR, expand=True
        )
        alpha = np.asarray(turned)
        x = round(cx + radius * math.sin(angle) - alpha.shape[1] / 2)
        y = round(cy - radius * math.cos(angle) - alpha.shape[0] / 2)
        if mark is None:
            page.canvas.blend(alpha, x, y, type.level)
        else:
            y0, x0 = max(0, y), max(0, x)
            view = mark[y0 : y + alpha.shape[0], x0 : x + alpha.shape[1]]
            if view.size:
                part = alpha[y0 - y : y0 - y + view.shape[0], x0 - x : x0 - x + view.shape[1]]
                np.maximum(view, part, out=view)


def _stroke(page: Composer, points: np.ndarray, thick: float, level: int) -> None:
    """A pen stroke through points [N, 2] of the page."""
    low = np.floor(points.min(0) - thick - 1)
    high = np.ceil(points.max(0) + thick + 1)
    size = high - low

    def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
        path = [tuple(p) for p in ((points - low) * scale).tolist()]
        pen.line(path, fill=255, width=max(1, round(thick * scale)), joint="curve")

    page.canvas.blend(draw_mask(size[1], size[0], draw), int(low[0]), int(low[1]), level)


def signature(page: Composer, x: float, y: float, width: float) -> None:
    """A signature about (x, y), of a pen that hardly leaves the paper."""
    rng = page.rng
    level = rng.choice((10, 50, 90, 120))
    for _ in range(rng.randint(1, 3)):
        t = np.linspace(0, 1, 90)
        fast = rng.uniform(4, 16)
        xs = x + width * (t - 0.5) + width * 0.2 * np.sin(rng.uniform(0, 6) + fast * t * 2)
        ys = y + width * rng.uniform(0.1, 0.3) * np.sin(
            rng.uniform(0, 6) + fast * t * rng.uniform(1, 2.5)
        )
        ys += width * rng.uniform(-0.2, 0.2) * t
        _stroke(page, np.stack((xs, ys), 1), page.unit * page.some(0.7, 1.8), level)


def handwriting(page: Composer, x: float, y: float, width: float, size: float) -> None:
    """Handwritten words on the baseline y, as strokes that no font has."""
    rng = page.rng
    level = rng.choice((10, 60, 100))
    pen = x
    thick = max(0.8, 0.08 * size)
    while pen < x + width:
        count = rng.randint(1, 5)  # loops of a word
        t = np.linspace(0, count, 14 * count)
        wide = size * rng.uniform(0.4, 0.8)
        tall = np.interp(t, np.arange(count + 1), [rng.uniform(0.3, 1.0) for _ in range(count + 1)])
        xs = pen + wide * t + 0.3 * size * np.sin(t * math.tau + rng.uniform(0, 6))
        ys = y - 0.35 * size + 0.6 * size * tall * np.sin(t * math.tau * rng.choice((1, 1, 1.5, 2)))
        _stroke(page, np.stack((xs, ys), 1), thick, level)
        if rng.random() < 0.3:
            foot = np.array(((pen, y + 0.2 * size), (pen + wide, y + 0.3 * size)))
            _stroke(page, foot, thick, level)
        pen += wide * count + rng.uniform(0.3, 1.2) * size


def curl(page: Composer, x: float, y: float, size: float, sx: int, sy: int, level: int) -> None:
    """A corner ornament of spirals that grow from (x, y) in the directions of sx and sy."""
    rng = page.rng
    for k in range(rng.randint(2, 5)):
        turns = rng.uniform(1, 2.2)
        t = np.linspace(0, 1, 50)
        radius = size * rng.uniform(0.1, 0.3) * (1 - t)
        a = turns * math.tau * t + rng.uniform(0, 6)
        along = size * (0.15 + 0.22 * k)
        flat = k % 2 == 0
        cx = along if flat else 0.2 * size
        cy = 0.2 * size if flat else along
        points = np.stack(
            (x + sx * (cx + radius * np.cos(a)), y + sy * (cy + radius * np.sin(a))), 1
        )
        _stroke(page, points, max(0.8, 0.03 * size), level)
    stem = np.linspace(0, 1, 20)
    points = np.stack((x + sx * size * stem, y + sy * size * 0.12 * np.sin(stem * 5)), 1)
    _stroke(page, points, max(0.8, 0.03 * size), level)
    points = np.stack((x + sx * size * 0.12 * np.sin(stem * 5), y + sy * size * stem), 1)
    _stroke(page, points, max(0.8, 0.03 * size), level)


def corners(page: Composer, inset: float, size: float, level: int) -> None:
    """Ornaments in the four corners, alike."""
    state = page.rng.getstate()
    right, bottom = page.width - inset, page.height - inset
    for x, sx in ((inset, 1), (right, -1)):
        for y, sy in ((inset, 1), (bottom, -1)):
            page.rng.setstate(state)
            curl(page, x, y, size, sx, sy, level)


def divider(page: Composer, cx: float, y: float, width: float, level: int = 60) -> None:
    """The small ornament under a motto or between parts: a tapering rule with a knot."""
    kind = page.rng.randrange(4)

    def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
        w, h = width * scale, 0.16 * width * scale
        middle = h / 2
        thin = max(1, 0.01 * w)
        pen.polygon(
            [(0, middle), (w / 2, middle - thin), (w, middle), (w / 2, middle + thin)], fill=255
        )
        if kind == 0:
            pen.polygon(
                [(w / 2 - h / 2, middle), (w / 2, 0), (w / 2 + h / 2, middle), (w / 2, h)], fill=255
            )
        elif kind == 1:
            for k in range(-3, 4):
                r = h * (0.3 - 0.06 * abs(k))
                x = w / 2 + k * 0.7 * h
                pen.ellipse((x - r, middle - r, x + r, middle + r), fill=255)
        elif kind == 2:
            for sign in (-1, 1):
                x = w / 2 + sign * h
                pen.arc(
                    (x - h * 0.8, 0, x + h * 0.8, h),
                    0,
                    360,
                    fill=255,
                    width=max(1, round(0.08 * h)),
                )

    alpha = draw_mask(0.16 * width, width, draw)
    page.canvas.blend(alpha, round(cx - width / 2), round(y - 0.08 * width), level)


def holes(page: Composer) -> None:
    """The holes of a binder along one edge."""
    radius = page.unit * page.some(6, 9)
    x = page.unit * page.some(15, 30)
    if page.chance(0.3):
        x = page.width - x
    level = page.rng.choice((0, 30, 90, 170, 200))
    for share in page.rng.choice(((0.35, 0.65), (0.12, 0.37, 0.63, 0.88), (0.5,))):

        def draw(pen: ImageDraw.ImageDraw, scale: float) -> None:
            pen.ellipse((0, 0, 2 * radius * scale, 2 * radius * scale), fill=255)

        y = share * page.height
        if not page.inked((x - radius, y - radius, x + radius, y + radius)):
            mask = draw_mask(2 * radius, 2 * radius, draw)
            page.canvas.blend(mask, round(x - radius), round(y - radius), level, 0)


def dark_border(page: Composer) -> None:
    """The dark strip that a scanner's lid leaves at some edges, up to the first text."""
    grey, owner = page.canvas.grey, page.canvas.owner
    level = page.rng.choice((0, 15, 40, 80))
    for k in range(4):
        if not page.chance(0.4):
            continue
        strip, taken = np.rot90(grey, k), np.rot90(owner, k)  # the edge on top
        rows = np.flatnonzero(taken.any(1))
        most = min(0.03 * strip.shape[0], (rows[0] if len(rows) else strip.shape[0]) - 2)
        if most < 2:
            continue
        ends = page.some(0, most), page.some(0, most)
        wave = np.linspace(*ends, strip.shape[1]) + page.some(0, 1.5) * np.sin(
            np.arange(strip.shape[1]) / page.some(5, 40)
        )
        wave = np.clip(wave, 0, most)
        strip[: int(most) + 1][np.arange(int(most) + 1)[:, None] < wave[None]] = level


def scrawl(page: Composer) -> None:
    """A stroke of a drawing or a map somewhere on the page: straight, bent or wandering."""
    numbers = page.numbers
    count = page.rng.choice((2, 3, 8, 40))
    start = numbers.random(2) * (page.width, page.height)
    steps = numbers.normal(0, page.some(0.3, 4) * page.unit * 60 / count, (count, 2))
    if count == 40:
        steps += numbers.normal(0, page.unit * 2, 2)
    points = start + np.cumsum(steps, 0)
    points = np.clip(points, 0, (page.width - 1, page.height - 1))
    _stroke(page, points, page.unit * page.some(0.5, 2.5), page.rng.choice((0, 60, 120, 170)))


def watermark(page: Composer) -> None:
    """Large pale words across the page, on the slant: no line."""
    type = page.heading.at(size=page.some(0.06, 0.14) * page.width, bold=2)
    placed, _ = page.setter.ink(page.text("heading", page.rng.randint(4, 14), type), type, 0, 0)
    angle = page.rng.choice((30, 45, 55, -45))
    turned = Image.fromarray(placed.alpha).rotate(angle, Image.Resampling.BILINEAR, expand=True)
    mark = np.asarray(turned)
    left, top = (page.width - mark.shape[1]) // 2, (page.height - mark.shape[0]) // 2
    page.canvas.darken(mark, left, top, page.some(0.05, 0.2))
