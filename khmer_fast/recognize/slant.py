"""How far a line leans, by its own ink, and turning it upright.

The angle is the one at which the rows' sums differ most (Postl 1986, "Detection of linear oblique
structures and skew scan in digitized documents"), looked for only where the ink's middle drifts.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

LEAST = 1.5  # degrees: a line that leans less is left as it is
MOST = 12.0  # degrees that are looked for
DRIFT = 1.0  # degrees of the ink's middle along the line below which nothing is looked for
SHORT = 4.0  # times as wide as high: shorter ink has no direction
BLOCK = 8  # columns that are summed at the start
FINER = 2  # pixels of a turned picture for one of it, so that turning blurs little
MOST_PIXELS = 2**21  # of a picture that is turned finer
REACH = 4.0  # degrees that the drift is off, at most
STEPS = (1.0, 0.25, 0.0625)  # degrees


def angle(ink: np.ndarray) -> float:
    """Degrees by which a line falls to the right, 0 below LEAST: ink uint8 [Y, X], paper 255."""
    rows, columns = ink.shape
    if columns < SHORT / 2 * rows:
        return 0.0
    found = math.degrees(math.atan(_drift(ink)))
    if abs(found) < DRIFT:
        return 0.0
    means = np.asarray(Image.fromarray(ink).reduce((BLOCK, 1)))
    blocks = np.subtract(255, means, dtype=np.float32)  # [Y, blocks]
    found, reach = max(-MOST, min(MOST, found)), REACH
    for step in STEPS:
        angles = np.arange(found - reach, found + reach + step / 2, step)
        found = float(angles[np.argmax([_sharpness(blocks, a) for a in angles.tolist()])])
        reach = step
    # how long the line is, turned back: a box grows by what it leans
    upright_rows = max(1.0, rows - columns * math.tan(math.radians(abs(found))))
    return found if abs(found) >= LEAST and columns >= SHORT * upright_rows else 0.0


def _drift(ink: np.ndarray) -> float:  # uint8 [Y, X], paper 255 -> rows a column
    """The slope of the ink's middle, by least squares over columns weighted by their ink."""
    sample = np.subtract(255, ink[::2, :: BLOCK // 2], dtype=np.float32)
    weight = sample.sum(axis=0)
    total = float(weight.sum())
    if total == 0:
        return 0.0
    rows = np.arange(0, len(ink), 2, dtype=np.float32) @ sample  # [columns], weighted
    at = np.arange(0, ink.shape[1], BLOCK // 2, dtype=np.float32)
    at -= float(weight @ at) / total
    spread = float(weight @ (at * at))
    return float(at @ rows) / spread if spread else 0.0


def _sharpness(blocks: np.ndarray, degrees: float) -> float:
    """The sum of squares of the rows' sums of a line turned back by an angle: [Y, blocks]."""
    rows, count = blocks.shape
    at = BLOCK * (np.arange(count) - (count - 1) / 2)
    shift = np.rint(math.tan(math.radians(degrees)) * at).astype(np.int64)  # [blocks]
    row = np.arange(rows)[:, None] - shift[None, :]
    row -= row.min()
    profile = np.bincount(row.ravel(), blocks.ravel())
    return float(profile @ profile)


def upright(
    grey: np.ndarray, degrees: float, paper: int
) -> tuple[np.ndarray, tuple[float, float, float, float, float, float]]:
    """A picture turned back by an angle, nothing lost and FINER as large: uint8 [Y, X] -> [Y', X'].

    Also (a, b, c, d, e, f), which leads from its pixels to those before: x' = a x + c y + e,
    y' = b x + d y + f.
    """
    Y, X = grey.shape
    finer = FINER if grey.size <= MOST_PIXELS else 1
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    width = math.ceil(finer * (X * cosine + Y * abs(sine)))
    height = math.ceil(finer * (Y * cosine + X * abs(sine)))
    a, b, c, d = cosine / finer, sine / finer, -sine / finer, cosine / finer
    e, f = (X - a * width - c * height) / 2, (Y - b * width - d * height) / 2
    turned = Image.fromarray(grey).transform(
        (width, height),
        Image.Transform.AFFINE,
        (a, c, e, b, d, f),
        Image.Resampling.BICUBIC,
        fillcolor=paper,
    )
    return np.asarray(turned), (a, b, c, d, e, f)
