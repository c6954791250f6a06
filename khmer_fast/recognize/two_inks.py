"""Lines with words darker and words lighter than their paper: both become dark ink.

Nothing but such a line may pass the gate: what stands out from paper either way would take grain,
shadows and the rims of compressed letters for ink.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

NEAR = 12  # grey levels from the paper's that are still paper
APART = 24  # and from which on they are ink
LEAST_PAPER = 0.5  # of the pixels
LEAST_INK = 0.003  # of the pixels, on either side
LEAST_COLUMNS = 0.03  # of the columns that have ink of one side alone
LEAST_CONTRAST = 0.2  # of the stronger side's
STEADY = 8  # grey levels that one paper differs by from window to window
LEAST_STEADY = 0.9  # of the windows: a shadow or a gradient leaves 0.8 and less


def merge(grey: np.ndarray, counts: Sequence[int] | None = None) -> np.ndarray:
    """A line whose ink is all darker than its paper: uint8 [Y', X'] both, the same if it was.

    `counts` is its histogram [256], if it is known.
    """
    if counts is None:
        counts = Image.fromarray(grey).histogram()
    common = counts.index(max(counts))
    if min(common, 255 - common) < APART - NEAR:
        return grey  # at a glance
    histogram = np.array(counts)
    paper = _mode(histogram)
    if min(paper, 255 - paper) < APART:
        return grey
    least = LEAST_INK * grey.size
    darker, lighter = histogram[: paper - APART + 1], histogram[paper + APART :]
    if darker.sum() < least or lighter.sum() < least:
        return grey
    if histogram[max(0, paper - NEAR) : paper + NEAR + 1].sum() < LEAST_PAPER * grey.size:
        return grey
    dark = np.asarray((grey <= paper - APART).any(axis=0))  # [X]
    light = np.asarray((grey >= paper + APART).any(axis=0))
    columns = LEAST_COLUMNS * grey.shape[1]
    if _in_runs(dark & ~light) < columns or _in_runs(light & ~dark) < columns:
        return grey  # grain is on both sides nearly everywhere
    dark_contrast = paper - _rank(darker, 0.2)
    light_contrast = APART + _rank(lighter, 0.8)
    if min(dark_contrast, light_contrast) < LEAST_CONTRAST * max(dark_contrast, light_contrast):
        return grey
    if steady_windows(grey).mean() < LEAST_STEADY:
        return grey  # light and dark paper in turns
    return _table(paper, dark_contrast, light_contrast)[grey]


def steady_windows(grey: np.ndarray) -> np.ndarray:
    """Which windows, half as high as the line and as wide as it is high at most, are on the paper
    of the whole: uint8 [Y, X] -> bool [windows]."""
    Y, X = grey.shape
    paper = paper_of(grey)
    windows = [
        paper_of(part)
        for half in (grey[: Y // 2], grey[Y // 2 :])
        if len(half)
        for part in np.array_split(half, min(X, max(4, X // Y)), axis=1)
    ]
    return np.abs(np.array(windows) - paper) <= STEADY


def _in_runs(columns: np.ndarray) -> int:
    """How many of bool [X] are the middle of three."""
    return int((columns[2:] & columns[1:-1] & columns[:-2]).sum())


def scale(grey: np.ndarray, paper: int) -> np.ndarray:
    """The grey values of a stretch on white, whatever side of its paper its ink is on.

    uint8 [Y, X] -> uint8 [256]; without ink all is paper.
    """
    histogram = _histogram(grey)
    darker, lighter = histogram[: max(0, paper - APART + 1)], histogram[paper + APART :]
    least = LEAST_INK * grey.size
    dark_contrast = paper - _rank(darker, 0.2) if darker.sum() >= least else 1e9
    light_contrast = APART + _rank(lighter, 0.8) if lighter.sum() >= least else 1e9
    return _table(paper, dark_contrast, light_contrast)


def paper_of(grey: np.ndarray) -> int:
    """The grey value of the paper of uint8 [Y, X]: the usual one."""
    return _mode(_histogram(grey))


def _histogram(grey: np.ndarray) -> np.ndarray:  # uint8 [Y, X] -> [256]
    return np.array(Image.fromarray(np.ascontiguousarray(grey)).histogram())


def _mode(histogram: np.ndarray) -> int:  # [256]
    return int(np.convolve(histogram, np.ones(9), "same").argmax())


def _table(paper: int, dark_contrast: float, light_contrast: float) -> np.ndarray:
    """For each grey value how light it is on white, ink of either side dark: uint8 [256]."""
    levels = np.arange(256) - paper
    ink = np.where(levels < 0, -levels / dark_contrast, levels / light_contrast)
    return (255 - 255 * np.clip(ink, 0, 1)).round().astype(np.uint8)


def _rank(histogram: np.ndarray, share: float) -> int:
    """The level below or at which a share of the counts lies."""
    total = histogram.cumsum()
    return int(np.searchsorted(total, share * total[-1]))
