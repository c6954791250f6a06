"""What happens to a line on its way through paper, copiers, cameras and screens.

Every step takes `page` uint8 [Y', X'] (dark on light until `invert`), a strength whose unit its
docstring names, a numpy generator and the tones of the paper, and returns a page; those that move
ink first add the rows that it moves by, so that nothing is cut.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageFilter

from khmer_fast.data import overlays
from khmer_fast.data.steps import (
    BILINEAR,
    STEPS,
    Tones,
    add,
    as_image,
    light,
    smooth_noise,
    step,
    through_table,
)

__all__ = ["STEPS", "Tones", "overlays"]  # with those that overlays.py adds to the table


@step
def tone(page, strength, rng, tones):
    """Ink and paper take the tones of the paper; no strength."""
    del strength, rng
    levels = np.arange(256) * ((tones.paper - tones.ink) / 255) + tones.ink
    return through_table(page, levels)


@step
def invert(page, strength, rng, tones):
    """Light on dark; no strength."""
    del strength, rng, tones
    return 255 - page


@step
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


@step
def motion(page, strength, rng, tones):
    """Blur along the line or across it; strength is its length in pixels."""
    del tones
    size = max(2, round(strength) + 1)
    total = np.zeros(page.shape, np.uint16)
    axis = int(rng.random() < 0.7)
    for shift in range(size):
        total += np.roll(page, shift - size // 2, axis)
    return (total // size).astype(np.uint8)


@step
def sharpen(page, strength, rng, tones):
    """Overshoot at edges as scanners and cameras add; strength is the gain."""
    del rng, tones
    low = np.asarray(as_image(page).filter(ImageFilter.BoxBlur(1))).astype(np.float32)
    return np.clip(page + strength * (page - low), 0, 255).astype(np.uint8)


@step
def noise(page, strength, rng, tones):
    """White noise; strength is its deviation in grey levels."""
    del tones
    count = page.size
    pool = rng.integers(0, 1 << 32, (count + 3) // 4, dtype=np.uint32).view(np.uint8)
    # The sum of a byte and its neighbour is a triangle of deviation 104.
    change = pool[:count].astype(np.int16)
    change[1:] += pool[: count - 1]
    change = ((change - 255) * np.float32(strength / 104)).astype(np.int16)
    return add(page, change.reshape(page.shape))


@step
def grain(page, strength, rng, tones):
    """Uneven paper, spots of a few pixels; strength is the range in grey levels."""
    del tones
    Y, X = page.shape
    spots = smooth_noise(rng, page.shape, Y // 4, X // 4)
    return add(page, ((spots - 0.5) * (2 * strength)).astype(np.int16))


@step
def jpeg(page, strength, rng, tones):
    """JPEG; strength 0 is quality 95, 1 is quality 15."""
    del rng, tones
    file = io.BytesIO()
    as_image(page).save(file, "JPEG", quality=int(95 - 80 * strength))
    return np.asarray(Image.open(file))


@step
def low_resolution(page, strength, rng, tones):
    """Down and up again; strength is the factor, lessened so that 16 rows are left."""
    del tones
    Y, X = page.shape
    factor = min(strength, Y / 16)
    if factor <= 1:
        return page
    filters = (Image.Resampling.BOX, BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    down, up = rng.integers(0, 4, 2)
    small = as_image(page).resize((max(1, round(X / factor)), round(Y / factor)), filters[down])
    return np.asarray(small.resize((X, Y), filters[max(1, up)]))


@step
def threshold(page, strength, rng, tones):
    """Bi-level; strength is the level between the ink as it is and white."""
    del rng, tones
    dark = float(np.partition(page.ravel(), page.size // 50)[page.size // 50])
    level = dark + strength * (255 - dark)
    return through_table(page, np.where(np.arange(256) > level, 255, 0))


@step
def bilevel(page, strength, rng, tones):
    """Bi-level, as `threshold`, for whole pages, few of which are 2 % ink: strength is the level
    between the tones of ink and of paper."""
    del rng
    level = tones.ink + strength * (tones.paper - tones.ink)
    return through_table(page, np.where(np.arange(256) > level, 255, 0))


@step
def weight(page, strength, rng, tones):
    """Ink runs (above 0) or thins (below 0) by up to one pixel."""
    del rng, tones
    amount = np.float32(min(1.0, abs(strength)))
    pick = np.minimum if strength > 0 else np.maximum
    moved = page.copy()
    pick(moved[:, 1:], page[:, :-1], out=moved[:, 1:])
    pick(moved[1:], page[:-1], out=moved[1:])
    return (page + (moved.astype(np.int16) - page) * amount).astype(np.uint8)


@step
def fade(page, strength, rng, tones):
    """Ink fades in patches, as worn toner and weak copies do; strength 1 loses most of it."""
    del tones
    Y, X = page.shape
    patches = smooth_noise(rng, page.shape, Y // 6, X // 6)
    patches = patches * 0.6 + smooth_noise(rng, page.shape, 2, X // (2 * Y) + 2) * 0.4
    left = 255 - page
    kept = np.clip(1.4 - strength * 1.5 * patches, 1 - 0.7 * strength, 1.0)
    return 255 - (left * kept).astype(np.uint8)


@step
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
        as_image(page).transform(
            (X, Y), Image.Transform.AFFINE, coefficients, BILINEAR, fillcolor=fill
        )
    )


@step
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
    image = as_image(page).transform((X, Y), Image.Transform.MESH, mesh, BILINEAR, fillcolor=fill)
    return np.asarray(image)


@step
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
    image = as_image(page).transform((X, Y), Image.Transform.MESH, mesh, BILINEAR, fillcolor=fill)
    return np.asarray(image)


@step
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


@step
def drop_shadow(page, strength, rng, tones):
    """A paler copy one to three pixels down and right, as on posters; strength is its darkness."""
    del tones
    down, right = rng.integers(1, 4, 2)
    shadow = np.full_like(page, 255)
    shadow[down:, right:] = 255 - ((255 - page[:-down, :-right]) * np.float32(strength))
    return np.minimum(page, shadow)


@step
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
    image = as_image(page).transform((X, Y), Image.Transform.QUAD, quad, BILINEAR, fillcolor=fill)
    return np.asarray(image)


def _pad(page: np.ndarray, rows: float) -> np.ndarray:
    """The page with `rows` more of paper above and below."""
    return np.pad(page, ((math.ceil(rows),) * 2, (0, 0)), constant_values=_border(page))


def _border(page: np.ndarray) -> int:
    """The paper's grey level: the lightest corner."""
    return int(max(page[0, 0], page[0, -1], page[-1, 0], page[-1, -1]))


@step
def shade(page, strength, rng, tones):
    """Uneven light: a gradient and a soft shadow; strength 1 darkens the darkest place to 0."""
    del tones
    Y, X = page.shape
    field = smooth_noise(rng, page.shape, 2, 2 + X // (8 * Y))
    return light(page, 1 - np.float32(strength) * field)


@step
def ground(page, strength, rng, tones):
    """A designed background: a gradient, lighter or darker; strength 1 is the whole range."""
    del tones
    Y, X = page.shape
    field = (smooth_noise(rng, page.shape, 2, 2) - 0.5) * (255 * strength)
    return add(page, field.astype(np.int16))


@step
def bleed_through(page, strength, rng, tones):
    """The page's back shows, mirrored; strength is its share of the ink."""
    del tones
    back = np.roll(page[:, ::-1], tuple(rng.integers(-200, 200, 2).tolist()), (0, 1))
    back = np.asarray(as_image(np.ascontiguousarray(back)).filter(ImageFilter.BoxBlur(1)))
    lost = (255 - back) * np.float32(strength)
    return np.clip(page - lost, 0, 255).astype(np.uint8)
