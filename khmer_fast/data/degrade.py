"""What happens to a line on its way through paper, copiers, cameras and screens.

Every step takes `page` uint8 [Y', X'] (dark on light until `invert`), a strength whose unit its
docstring names, a numpy generator and the tones of the paper, and returns a page; those that move
ink first add the rows that it moves by, so that nothing is cut.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

BILINEAR = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Tones:
    """Grey levels of ink and of paper."""

    ink: int
    paper: int


Step = Callable[[np.ndarray, float, np.random.Generator, Tones], np.ndarray]
STEPS: dict[str, Step] = {}


def _step(function: Step) -> Step:
    STEPS[function.__name__] = function
    return function


def _image(page: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(page))


def _table(page: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Map grey levels through values [256]."""
    return np.clip(values, 0, 255).astype(np.uint8)[page]


def _add(page: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Add int16 [Y', X'] (or what broadcasts to it) and clip."""
    return np.clip(page.astype(np.int16) + change, 0, 255).astype(np.uint8)


def _light(page: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply by float32 that broadcasts to [Y', X'], at most 1."""
    return (page * factor).astype(np.uint8)


def _smooth(
    rng: np.random.Generator, shape: tuple[int, int], rows: int, columns: int
) -> np.ndarray:
    """Smooth noise in [0, 1], float32 of `shape`, with `rows` x `columns` independent values."""
    coarse = rng.random((max(2, rows), max(2, columns)), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((shape[1], shape[0]), BILINEAR))


@_step
def tone(page, strength, rng, tones):
    """Ink and paper take the tones of the paper; no strength."""
    del strength, rng
    levels = np.arange(256) * ((tones.paper - tones.ink) / 255) + tones.ink
    return _table(page, levels)


@_step
def invert(page, strength, rng, tones):
    """Light on dark; no strength."""
    del strength, rng, tones
    return 255 - page


@_step
def blur(page, strength, rng, tones):
    """Gaussian blur, made of three-pixel kernels of the same variance; strength is sigma in
    pixels, at most 3 % of the height: beyond that nobody can read a line."""
    del rng, tones
    strength = min(strength, 0.03 * page.shape[0])
    passes = max(1, math.ceil(strength * strength / 0.6))
    side = round(128 * strength * strength / passes)
    for _ in range(passes):
        page = _blur_rows(_blur_rows(page, side).T, side).T
    return page


def _blur_rows(page: np.ndarray, side: int) -> np.ndarray:
    """Mix each row with `side` / 256 of the row above and of the row below, the border repeated."""
    wide = page.astype(np.uint16)
    out = wide * (256 - 2 * side) + 128
    wide *= side
    out[1:] += wide[:-1]
    out[:-1] += wide[1:]
    out[0] += wide[0]
    out[-1] += wide[-1]
    return (out >> 8).astype(np.uint8)


@_step
def motion(page, strength, rng, tones):
    """Blur along the line or across it; strength is its length in pixels."""
    del tones
    size = max(2, round(strength) + 1)
    total = np.zeros(page.shape, np.uint16)
    axis = int(rng.random() < 0.7)
    for shift in range(size):
        total += np.roll(page, shift - size // 2, axis)
    return (total // size).astype(np.uint8)


@_step
def sharpen(page, strength, rng, tones):
    """Overshoot at edges as scanners and cameras add; strength is the gain."""
    del rng, tones
    low = np.asarray(_image(page).filter(ImageFilter.BoxBlur(1))).astype(np.float32)
    return np.clip(page + strength * (page - low), 0, 255).astype(np.uint8)


@_step
def noise(page, strength, rng, tones):
    """White noise; strength is its deviation in grey levels."""
    del tones
    count = page.size
    pool = rng.integers(0, 1 << 32, (count + 3) // 4, dtype=np.uint32).view(np.uint8)
    # The sum of a byte and its neighbour is a triangle of deviation 104.
    change = pool[:count].astype(np.int16)
    change[1:] += pool[: count - 1]
    change = ((change - 255) * np.float32(strength / 104)).astype(np.int16)
    return _add(page, change.reshape(page.shape))


@_step
def grain(page, strength, rng, tones):
    """Uneven paper, spots of a few pixels; strength is the range in grey levels."""
    del tones
    Y, X = page.shape
    spots = _smooth(rng, page.shape, Y // 4, X // 4)
    return _add(page, ((spots - 0.5) * (2 * strength)).astype(np.int16))


@_step
def jpeg(page, strength, rng, tones):
    """JPEG; strength 0 is quality 95, 1 is quality 15."""
    del rng, tones
    file = io.BytesIO()
    _image(page).save(file, "JPEG", quality=int(95 - 80 * strength))
    return np.asarray(Image.open(file))


@_step
def low_resolution(page, strength, rng, tones):
    """Down and up again; strength is the factor, lessened so that 16 rows are left."""
    del tones
    Y, X = page.shape
    factor = min(strength, Y / 16)
    if factor <= 1:
        return page
    filters = (Image.Resampling.BOX, BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    down, up = rng.integers(0, 4, 2)
    small = _image(page).resize((max(1, round(X / factor)), round(Y / factor)), filters[down])
    return np.asarray(small.resize((X, Y), filters[max(1, up)]))


@_step
def threshold(page, strength, rng, tones):
    """Bi-level; strength is the level between the ink as it is and white."""
    del rng, tones
    dark = float(np.partition(page.ravel(), page.size // 50)[page.size // 50])
    level = dark + strength * (255 - dark)
    return _table(page, np.where(np.arange(256) > level, 255, 0))


@_step
def bilevel(page, strength, rng, tones):
    """Bi-level, as `threshold`, for whole pages, few of which are 2 % ink: strength is the level
    between the tones of ink and of paper."""
    del rng
    level = tones.ink + strength * (tones.paper - tones.ink)
    return _table(page, np.where(np.arange(256) > level, 255, 0))


@_step
def weight(page, strength, rng, tones):
    """Ink runs (above 0) or thins (below 0) by up to one pixel."""
    del rng, tones
    amount = np.float32(min(1.0, abs(strength)))
    pick = np.minimum if strength > 0 else np.maximum
    moved = page.copy()
    pick(moved[:, 1:], page[:, :-1], out=moved[:, 1:])
    pick(moved[1:], page[:-1], out=moved[1:])
    return (page + (moved.astype(np.int16) - page) * amount).astype(np.uint8)


@_step
def fade(page, strength, rng, tones):
    """Ink fades in patches, as worn toner and weak copies do; strength 1 loses most of it."""
    del tones
    Y, X = page.shape
    patches = _smooth(rng, page.shape, Y // 6, X // 6)
    patches = patches * 0.6 + _smooth(rng, page.shape, 2, X // (2 * Y) + 2) * 0.4
    left = 255 - page
    kept = np.clip(1.4 - strength * 1.5 * patches, 1 - 0.7 * strength, 1.0)
    return 255 - (left * kept).astype(np.uint8)


@_step
def tilt(page, strength, rng, tones):
    """The line rises (or falls) by `strength` heights of the page from its middle to its ends."""
    del rng, tones
    Y, X = page.shape
    rise = strength * Y * min(1.0, X / (6 * Y))
    page = _pad(page, abs(rise) / 2)
    Y = page.shape[0]
    slope = rise / X
    coefficients = (1.0, 0.0, 0.0, slope, 1.0, -slope * X / 2)
    fill = _border(page)
    return np.asarray(
        _image(page).transform(
            (X, Y), Image.Transform.AFFINE, coefficients, BILINEAR, fillcolor=fill
        )
    )


@_step
def bend(page, strength, rng, tones):
    """A page that is not flat: the line waves by `strength` heights."""
    del tones
    Y, X = page.shape
    pieces = 8
    phase = rng.random() * math.tau
    waves = (0.25 + 0.75 * rng.random()) * math.tau / X
    at = [round(i * X / pieces) for i in range(pieces + 1)]
    lift = [0.5 * strength * Y * math.sin(phase + waves * x) for x in at]
    middle = (min(lift) + max(lift)) / 2
    lift = [value - middle for value in lift]
    page = _pad(page, max(lift))
    Y = page.shape[0]
    mesh = []
    for i in range(pieces):
        x0, x1 = at[i], at[i + 1]
        if x1 > x0:
            a, b = lift[i], lift[i + 1]
            mesh.append(((x0, 0, x1, Y), (x0, a, x0, Y + a, x1, Y + b, x1, b)))
    fill = _border(page)
    image = _image(page).transform((X, Y), Image.Transform.MESH, mesh, BILINEAR, fillcolor=fill)
    return np.asarray(image)


@_step
def warp(page, strength, rng, tones):
    """Shapes no font has: each place moves by up to `strength` heights, neighbours alike."""
    del tones
    Y, X = page.shape
    most = strength * Y
    page = _pad(page, most)
    Y = page.shape[0]
    rows, columns = 3, max(2, round(2 * X / Y))
    ys = np.linspace(0, Y, rows + 1).round().astype(int).tolist()
    xs = np.linspace(0, X, columns + 1).round().astype(int).tolist()
    move = ((rng.random((rows + 1, columns + 1, 2)) * 2 - 1) * most).tolist()
    at = [
        [(x + move[i][j][0], y + move[i][j][1]) for j, x in enumerate(xs)] for i, y in enumerate(ys)
    ]
    mesh = []
    for i in range(rows):
        for j in range(columns):
            box = (xs[j], ys[i], xs[j + 1], ys[i + 1])
            if box[2] > box[0] and box[3] > box[1]:
                corners = at[i][j], at[i + 1][j], at[i + 1][j + 1], at[i][j + 1]
                mesh.append((box, tuple(value for corner in corners for value in corner)))
    fill = _border(page)
    image = _image(page).transform((X, Y), Image.Transform.MESH, mesh, BILINEAR, fillcolor=fill)
    return np.asarray(image)


@_step
def hollow(page, strength, rng, tones):
    """Letters in outline, as on posters: the inside loses `strength` of its ink."""
    del rng, tones
    ink = 255 - page
    inside = ink.copy()
    np.minimum(inside[:, 1:], ink[:, :-1], out=inside[:, 1:])
    np.minimum(inside[:, :-1], ink[:, 1:], out=inside[:, :-1])
    np.minimum(inside[1:], ink[:-1], out=inside[1:])
    np.minimum(inside[:-1], ink[1:], out=inside[:-1])
    return page + (inside * np.float32(strength)).astype(np.uint8)


@_step
def drop_shadow(page, strength, rng, tones):
    """A paler copy one to three pixels down and right, as on posters; strength is its darkness."""
    del tones
    down, right = rng.integers(1, 4, 2)
    shadow = np.full_like(page, 255)
    shadow[down:, right:] = 255 - ((255 - page[:-down, :-right]) * np.float32(strength))
    return np.minimum(page, shadow)


@_step
def perspective(page, strength, rng, tones):
    """A camera at an angle: the ends differ in height and level by up to `strength` x 25 %."""
    del tones
    Y, X = page.shape
    left_top, left_bottom, right_top, right_bottom = (
        (rng.random(4) - 0.5) * (0.25 * strength * Y)
    ).tolist()
    slope = (rng.random() - 0.5) * strength * 0.5 * Y * min(1.0, X / (6 * Y))
    shear = (rng.random() - 0.5) * strength * 0.3 * Y
    moved = max(left_top, -left_bottom, right_top, -right_bottom, 0) + abs(slope) / 2
    page = _pad(page, moved)
    Y = page.shape[0]
    quad = (
        -shear / 2, left_top - slope / 2, shear / 2, Y + left_bottom - slope / 2,
        X + shear / 2, Y + right_bottom + slope / 2, X - shear / 2, right_top + slope / 2,
    )  # fmt: skip
    fill = _border(page)
    image = _image(page).transform((X, Y), Image.Transform.QUAD, quad, BILINEAR, fillcolor=fill)
    return np.asarray(image)


def _pad(page: np.ndarray, rows: float) -> np.ndarray:
    """The page with `rows` more of paper above and below."""
    return np.pad(page, ((math.ceil(rows),) * 2, (0, 0)), constant_values=_border(page))


def _border(page: np.ndarray) -> int:
    """The paper's grey level: the lightest corner."""
    return int(max(page[0, 0], page[0, -1], page[-1, 0], page[-1, -1]))


@_step
def shade(page, strength, rng, tones):
    """Uneven light: a gradient and a soft shadow; strength 1 darkens the darkest place to 0."""
    del tones
    Y, X = page.shape
    field = _smooth(rng, page.shape, 2, 2 + X // (8 * Y))
    return _light(page, 1 - np.float32(strength) * field)


@_step
def ground(page, strength, rng, tones):
    """A designed background: a gradient, lighter or darker; strength 1 is the whole range."""
    del tones
    Y, X = page.shape
    field = (_smooth(rng, page.shape, 2, 2) - 0.5) * (255 * strength)
    return _add(page, field.astype(np.int16))


@_step
def bleed_through(page, strength, rng, tones):
    """The page's back shows, mirrored; strength is its share of the ink."""
    del tones
    back = np.roll(page[:, ::-1], tuple(rng.integers(-200, 200, 2).tolist()), (0, 1))
    back = np.asarray(_image(np.ascontiguousarray(back)).filter(ImageFilter.BoxBlur(1)))
    lost = (255 - back) * np.float32(strength)
    return np.clip(page - lost, 0, 255).astype(np.uint8)


@_step
def specks(page, strength, rng, tones):
    """Dirt and missing spots of one to three pixels; strength 1 is about one a 10 x 10 pixels."""
    Y, X = page.shape
    count = int(strength * strength * Y * X / 100) + 1
    ys, xs = rng.integers(0, Y, count), rng.integers(0, X, count)
    out = page.copy()
    dark = rng.random(count) < 0.75
    values = np.where(dark, tones.ink, tones.paper).astype(np.uint8)
    out[ys, xs] = values
    big = rng.random(count) < 0.3
    ys, xs, values = ys[big], xs[big], values[big]
    out[np.minimum(ys + 1, Y - 1), xs] = values
    out[ys, np.minimum(xs + 1, X - 1)] = values
    return out


@_step
def streaks(page, strength, rng, tones):
    """Lines that a dirty scanner or drum leaves, along or across; strength is their darkness."""
    out = page.copy()
    Y, X = page.shape
    level = round(tones.paper - strength * (tones.paper - tones.ink))
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.5:
            row = int(rng.integers(0, Y))
            np.minimum(out[row], level, out=out[row])
        else:
            column = int(rng.integers(0, X))
            np.minimum(out[:, column], level, out=out[:, column])
    return out


@_step
def fax_rows(page, strength, rng, tones):
    """Rows are lost, repeated or shifted, as in a bad transmission; strength is their share / 5."""
    del tones
    Y = page.shape[0]
    rows = np.arange(Y)
    hit = rng.random(Y) < strength / 5
    rows[1:][hit[1:]] -= 1
    out = page[rows]
    for row in np.flatnonzero(rng.random(Y) < strength / 10):
        out[row] = np.roll(out[row], int(rng.integers(-2, 3)))
    return out


@_step
def fold(page, strength, rng, tones):
    """A crease across the line: a dark and a light edge; strength 1 is black."""
    del tones
    Y, X = page.shape
    at = rng.random() * X
    lean = (rng.random() - 0.5) * Y
    width = 1 + 3 * rng.random()
    place = (
        np.arange(X, dtype=np.float32)[None]
        - at
        - lean * np.linspace(-0.5, 0.5, Y, dtype=np.float32)[:, None]
    )
    crease = np.exp(-((place / width) ** 2)) - 0.5 * np.exp(-(((place - 2 * width) / width) ** 2))
    return _add(page, (-crease * (150 * strength)).astype(np.int16))


@_step
def rule(page, strength, rng, tones):
    """A ruled line of a form or an underline through the lower third; strength is its darkness."""
    del tones
    Y, X = page.shape
    out = page.copy()
    row = int(Y * (0.72 + 0.28 * rng.random()))
    thick = 1 + int(rng.random() < 0.3)
    level = int(255 * (1 - strength))
    view = out[row : row + thick]
    if rng.random() < 0.25:
        view = view[:, :: int(rng.integers(2, 5))]
    np.minimum(view, level, out=view)
    return out


@_step
def frame(page, strength, rng, tones):
    """Borders of a table's cell at some edges of the crop; strength is their darkness."""
    del tones
    out = page.copy()
    level = int(255 * (1 - strength))
    sides = (out, out[::-1], out.T, out.T[::-1])
    for side in sides:
        if rng.random() < 0.4:
            at, thick = rng.integers(0, 3), rng.integers(1, 3)
            view = side[at : at + thick]
            np.minimum(view, level, out=view)
    return out


def _overlay(page: np.ndarray, mark: Image.Image, darkness: float) -> np.ndarray:
    """Darken by a mark, L image of [Y', X'] with 255 where it is fully inked."""
    ink = np.asarray(mark).astype(np.float32) * np.float32(darkness / 255)
    return (page * (1 - ink)).astype(np.uint8)


@_step
def stamp(page, strength, rng, tones):
    """A round stamp lies across the line; strength is its darkness / 0.6."""
    del tones
    Y, X = page.shape
    mark = Image.new("L", (X, Y), 0)
    pen = ImageDraw.Draw(mark)
    radius = Y * (0.8 + 1.8 * rng.random())
    x, y = rng.random() * X, Y * (rng.random() * 2 - 0.5)
    for share, width in ((1.0, 2), (0.93, 1), (0.62, 1)):
        r = radius * share
        pen.ellipse((x - r, y - r, x + r, y + r), outline=255, width=width)
    for angle in np.arange(0, math.tau, math.tau / 26):  # letters between the rings
        a, r = angle + 0.1, radius * 0.77
        cx, cy, s = x + r * math.cos(a), y + r * math.sin(a), radius * 0.07
        dx, dy = (rng.random(2) - 0.5).tolist()
        pen.line((cx - s * dx, cy - s, cx + s, cy + s * dy, cx - s, cy + s), fill=220, width=1)
    mark = mark.filter(ImageFilter.GaussianBlur(0.7))
    worn = 0.4 + 0.6 * _smooth(rng, page.shape, 4, X // 12 + 2)
    mark = Image.fromarray((np.asarray(mark) * worn).astype(np.uint8))
    return _overlay(page, mark, 0.6 * strength)


@_step
def signature(page, strength, rng, tones):
    """A pen stroke runs across the line; strength is its darkness."""
    del tones
    Y, X = page.shape
    mark = Image.new("L", (X, Y), 0)
    count = 24
    t = np.linspace(0, 1, count)
    start, span = rng.random() * X, Y * (2 + 4 * rng.random())
    phases = rng.random(4) * math.tau
    x = start + span * t + 0.5 * Y * np.sin(phases[0] + t * (6 + 14 * phases[1] / math.tau))
    y = Y * (0.5 + 0.6 * np.sin(phases[2] + t * (4 + 14 * phases[3] / math.tau)))
    points = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    ImageDraw.Draw(mark).line(points, fill=255, width=1 + int(rng.integers(0, 2)), joint="curve")
    return _overlay(page, mark.filter(ImageFilter.GaussianBlur(0.5)), strength)


@_step
def subpixel(page, strength, rng, tones):
    """Sub-pixel text of a screen seen in grey: spread along the row; strength is the share."""
    del tones
    shift = 1 if rng.random() < 0.5 else -1
    near = page.astype(np.int16)
    spread = (2 * near + np.roll(near, 1, 1) + np.roll(near, shift, 1)) / 4
    return (page + (spread - near) * np.float32(0.7 * strength)).astype(np.uint8)


@_step
def dots(page, strength, rng, tones):
    """A dot-matrix printer: ink on a grid of dots; strength is how far they stand apart."""
    del tones
    Y, X = page.shape
    pitch = 2.0 + rng.random() * 0.8
    rows = 0.5 + 0.5 * np.cos(np.arange(Y, dtype=np.float32) * (math.tau / pitch))
    columns = 0.5 + 0.5 * np.cos(np.arange(X, dtype=np.float32) * (math.tau / pitch))
    grid = 1 - np.float32(strength * 0.8) * (1 - rows[:, None] * columns)
    return 255 - ((255 - page) * grid).astype(np.uint8)
