"""Degradations that lay something over a line or colour it: specks, rules, stamps, inks, markers.

Steps as in `degrade.py`: `page` uint8 [Y', X'], a strength, a generator and the tones of the paper.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from khmer_fast.data.steps import add, smooth_noise, step, through_table


@step
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


@step
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


@step
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


@step
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
    return add(page, (-crease * (150 * strength)).astype(np.int16))


@step
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


@step
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


@step
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
    worn = 0.4 + 0.6 * smooth_noise(rng, page.shape, 4, X // 12 + 2)
    mark = Image.fromarray((np.asarray(mark) * worn).astype(np.uint8))
    return _overlay(page, mark, 0.6 * strength)


@step
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


@step
def subpixel(page, strength, rng, tones):
    """Sub-pixel text of a screen seen in grey: spread along the row; strength is the share."""
    del tones
    shift = 1 if rng.random() < 0.5 else -1
    near = page.astype(np.int16)
    spread = (2 * near + np.roll(near, 1, 1) + np.roll(near, shift, 1)) / 4
    return (page + (spread - near) * np.float32(0.7 * strength)).astype(np.uint8)


@step
def dots(page, strength, rng, tones):
    """A dot-matrix printer: ink on a grid of dots; strength is how far they stand apart."""
    del tones
    Y, X = page.shape
    pitch = 2.0 + rng.random() * 0.8
    rows = 0.5 + 0.5 * np.cos(np.arange(Y, dtype=np.float32) * (math.tau / pitch))
    columns = 0.5 + 0.5 * np.cos(np.arange(X, dtype=np.float32) * (math.tau / pitch))
    grid = 1 - np.float32(strength * 0.8) * (1 - rows[:, None] * columns)
    return 255 - ((255 - page) * grid).astype(np.uint8)


def _words(page: np.ndarray) -> list[tuple[int, int]]:
    """Column ranges between the white gaps of a page that is still 255 on paper and 0 in ink."""
    inked = np.concatenate([[False], (page < 160).any(axis=0), [False]])
    edges = np.flatnonzero(inked[1:] != inked[:-1]).reshape(-1, 2)
    gap = max(3, page.shape[0] // 8)
    words: list[tuple[int, int]] = []
    for first, last in edges.tolist():
        if words and first - words[-1][1] < gap:
            words[-1] = (words[-1][0], last)
        else:
            words.append((first, last))
    return words


def _some_words(page: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
    """The columns of one to four neighbouring words; None where there is only one word."""
    words = _words(page)
    if len(words) < 2:
        return None
    first = int(rng.integers(len(words)))
    last = min(len(words) - 1, first + int(rng.integers(0, 4)))
    return words[first][0], words[last][1]


@step
def two_inks(page, strength, rng, tones):
    """Takes the place of `tone`: some words in a second ink, lighter or darker than the paper.

    Strength is the second ink's contrast to the paper, as a share of what there is room for.
    """
    columns = _some_words(page, rng)
    plain = through_table(page, np.arange(256) * ((tones.paper - tones.ink) / 255) + tones.ink)
    if columns is None:
        return plain
    lighter = rng.random() < 0.6
    room = 255 - tones.paper if lighter else tones.paper
    second = tones.paper + (1 if lighter else -1) * max(min(40, room), strength * room)
    first, last = columns
    values = np.arange(256) * ((tones.paper - second) / 255) + second
    out = plain.copy()
    out[:, first:last] = through_table(page[:, first:last], values)
    return out


@step
def highlight(page, strength, rng, tones):
    """A marker's box behind some words, darker than the paper; strength is how much, 0 to 1.

    Comes after `tone`; above 0.7 the words in the box turn light, as in reversed cells.
    """
    ink, paper = float(tones.ink), float(tones.paper)
    columns = _some_words(
        through_table(page, 255 * (np.arange(256) - ink) / max(1.0, paper - ink)), rng
    )
    if columns is None:
        return page
    Y = page.shape[0]
    pad = int(rng.integers(1, max(2, Y // 6)))
    first, last = max(0, columns[0] - pad), min(page.shape[1], columns[1] + pad)
    top, bottom = (int(rng.integers(0, max(1, Y // 10))) for _ in range(2))
    box = paper - strength * (paper - ink)
    text = ink if strength < 0.7 else min(255.0, paper + 10)
    if strength < 0.7:  # words must stay legible on the marker
        box = max(box, ink + 70.0)
    levels = (np.arange(256) - ink) / max(1.0, paper - ink)  # 0 ink, 1 paper
    out = page.copy()
    view = out[top : Y - bottom, first:last]
    view[:] = through_table(view, text + np.clip(levels, 0, 1) * (box - text))
    return out
