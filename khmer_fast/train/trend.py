"""Straight lines through a run's figures, with honest uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# 97.5 % points of Student's t by degrees of freedom, 1 to 10; then 1.96 + 2.4 / df is close enough
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


@dataclass(frozen=True)
class Trend:
    """y = mean_y + slope * (x - mean_x), and the 95 % interval of the slope."""

    slope: float
    low: float
    high: float
    mean_x: float
    mean_y: float
    noise: float  # standard deviation of what the line leaves over
    points: int

    @property
    def falls(self) -> bool:
        """Whether the slope is below zero beyond doubt."""
        return self.high < 0

    @property
    def rises(self) -> bool:
        """Whether the slope is above zero beyond doubt."""
        return self.low > 0

    def at(self, x: float) -> float:
        return self.mean_y + self.slope * (x - self.mean_x)

    def reaches(self, y: float) -> tuple[float, float, float] | None:
        """Where the line gets down to `y`: (x, earliest, latest); None if it does not fall.

        `latest` is infinite where the interval of the slope contains zero.
        """
        if not self.slope < 0:
            return None
        x, earliest = (self.mean_x + (y - self.mean_y) / s for s in (self.slope, self.low))
        latest = self.mean_x + (y - self.mean_y) / self.high if self.falls else math.inf
        return x, min(earliest, latest), max(earliest, latest)


def fit(x: Sequence[float], y: Sequence[float]) -> Trend | None:
    """Least squares; None for fewer than three points.

    The uncertainty comes from what a parabola leaves over (of six points or more), so that a bend
    does not count as noise; neighbours that stray together widen it.
    """
    n = len(x)
    if n < 3:
        return None
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((a - mean_x) ** 2 for a in x)
    if spread == 0:
        return None
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    degree = 2 if n >= 6 else 1
    centred = np.asarray(x, dtype=float) - mean_x
    rest = y - np.polyval(np.polyfit(centred, y, degree), centred)
    square = float(rest @ rest)
    kinship = float(rest[1:] @ rest[:-1]) / square if square > 0 else 0.0
    kinship = min(max(kinship, 0.0), 0.9)
    freedom = max(n * (1 - kinship) / (1 + kinship) - degree - 1, 1.0)
    noise = math.sqrt(square / freedom)
    half = quantile(freedom) * noise / math.sqrt(spread)
    return Trend(slope, slope - half, slope + half, mean_x, mean_y, noise, n)


def quantile(freedom: float) -> float:
    """97.5 % point of Student's t."""
    if freedom >= len(_T):
        return 1.96 + 2.4 / freedom
    below = int(freedom)
    part = freedom - below
    return _T[below - 1] * (1 - part) + (_T[below] if below < len(_T) else 2.2) * part


def recent(x: Sequence[float], y: Sequence[float], at_least: int = 8) -> Trend | None:
    """The trend of the last half of the points, of `at_least` points if there are so many."""
    count = max(at_least, (len(x) + 1) // 2)
    return fit(x[-count:], y[-count:])
