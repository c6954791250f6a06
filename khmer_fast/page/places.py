"""Where lines and rules would stand on a page that is neither skewed nor bent.

Order and structure are judged there: rows are level, columns upright, and a line is no higher than
its plain consonants, so that tight lines do not touch.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from khmer_fast.document import Point
from khmer_fast.page.lines import FoundLine
from khmer_fast.page.rules import Rule, Rules

_LONG = 3.0  # letter heights: baselines of shorter lines say little about the page's slope
_FLAT = 0.002  # slope that is none
_RIDGE = 0.02  # how strongly a bend must be seen to be believed


@dataclass(frozen=True)
class Place:
    """A line by its index, or several that belong together (a table): where it stands, level.

    `top` and `bottom` are those of its plain consonants; `letter` their height.
    """

    index: int
    left: float
    right: float
    top: float
    bottom: float
    letter: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def middle(self) -> float:
        """Half way from left to right."""
        return (self.left + self.right) / 2


@dataclass(frozen=True)
class LevelRule:
    """A rule on the level page: along x (horizontal) or y (vertical) from low to high, at `at`."""

    low: float
    high: float
    at: float
    thickness: float


@dataclass(frozen=True)
class LevelPage:
    """A page's lines, rules and edges of grounds, level."""

    lines: tuple[Place, ...]
    horizontal: tuple[LevelRule, ...]
    vertical: tuple[LevelRule, ...]
    level_edges: tuple[LevelRule, ...]
    upright_edges: tuple[LevelRule, ...]
    width: float
    height: float

    @cached_property
    def letter(self) -> float:
        """The height of most letters: the median over the lines' lengths."""
        lines = sorted(self.lines, key=lambda place: place.letter)
        half, seen = sum(max(place.width, 1.0) for place in lines) / 2, 0.0
        for place in lines:
            seen += max(place.width, 1.0)
            if seen >= half:
                return place.letter
        return 1.0


def level(lines: Sequence[FoundLine], rules: Rules, page_size: tuple[int, int]) -> LevelPage:
    """The page without its skew and bend; page_size is (width, height) in pixels."""
    bend = _Bend(lines, page_size)
    outlines = [line.polygon or _corners(line) for line in lines]
    bases = [line.baseline for line in lines]
    across = _parted(bend.level(_points(outlines))[:, 0], outlines)
    down = _parted(bend.level(_points(bases))[:, 1], bases)
    places = []
    for index, (line, x, y) in enumerate(zip(lines, across, down, strict=True)):
        bottom, letter = statistics.median(y), max(float(line.letter_height), 1.0)
        places.append(Place(index, min(x), max(x), bottom - letter, bottom, letter))
    return LevelPage(
        tuple(places),
        _level_rules(rules.horizontal, bend, 0),
        _level_rules(rules.vertical, bend, 1),
        _level_rules(rules.level_edges, bend, 0),
        _level_rules(rules.upright_edges, bend, 1),
        *map(float, page_size),
    )


def _points(parts: Sequence[Sequence[Point]]) -> np.ndarray:
    """The points of all parts, one after the other: float64 [n, 2]."""
    numbers = itertools.chain.from_iterable(itertools.chain.from_iterable(parts))
    return np.fromiter(numbers, np.float64).reshape(-1, 2)


def _parted(values: np.ndarray, parts: Sequence[Sequence[Point]]) -> list[list[float]]:
    """Values [n] of all points, part by part."""
    rest = iter(values.tolist())
    return [list(itertools.islice(rest, len(part))) for part in parts]


def _corners(line: FoundLine) -> list[tuple[float, float]]:
    left, top, right, bottom = line.box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _level_rules(rules: Sequence[Rule], bend: _Bend, axis: int) -> tuple[LevelRule, ...]:
    """Rules that run along an axis, level."""
    ends = bend.level(_points([(rule.start, rule.end) for rule in rules])).reshape(-1, 2, 2)
    along, across = ends[:, :, axis].tolist(), ends[:, :, 1 - axis].tolist()
    return tuple(
        LevelRule(min(x), max(x), sum(y) / 2, rule.thickness)
        for rule, x, y in zip(rules, along, across, strict=True)
    )


class _Bend:
    """The slope of lines over the page: a polynomial in x, a little different from top to bottom,
    fitted to all baselines."""

    def __init__(self, lines: Sequence[FoundLine], page_size: tuple[int, int]):
        self.size = max(page_size[0], 1), max(page_size[1], 1)
        long = [
            line.baseline
            for line in lines
            if line.baseline[-1][0] - line.baseline[0][0] >= _LONG * line.letter_height
        ]
        start, end = _points([line[:-1] for line in long]), _points([line[1:] for line in long])
        step, middle = end - start, (start + end) / 2  # [n, 2]
        wide = step[:, 0] > 0
        self.weights = np.zeros(5)
        if wide.any():
            step = step[wide]
            self.weights = self._fit(middle[wide], step[:, 1] / step[:, 0], step[:, 0])

    def _fit(self, at: np.ndarray, slope: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Coefficients of the slope from slopes [n] at points [n, 2] of a weight [n] each."""
        middle = _weighted_median(slope, weight)
        near = np.abs(slope - middle) < 0.12  # a signature's or an ornament's are far off
        if not near.any():
            return np.array([middle, 0, 0, 0, 0])
        terms, slope, weight = self._terms(at[near]), slope[near] - middle, weight[near]
        weight = weight / weight.sum()
        for _ in range(2):
            normal = terms.T @ (weight[:, None] * terms) + np.diag([1e-9, *[_RIDGE] * 4])
            found = np.linalg.solve(normal, terms.T @ (weight * slope))
            rest = np.abs(terms @ found - slope)
            weight = weight / (1 + (rest / (0.01 + np.median(rest))) ** 2)
        found[0] += middle
        return np.zeros(5) if np.abs(found).max() < _FLAT else found

    def _terms(self, points: np.ndarray) -> np.ndarray:
        u, v = self._unit(points)
        return np.stack([np.ones_like(u), u, u * u, v, u * v], axis=1)

    def _unit(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [n, 2] in [-1, 1] over the page."""
        half = np.array(self.size) / 2
        unit = points / half - 1
        return unit[:, 0], unit[:, 1]

    def level(self, points: np.ndarray) -> np.ndarray:
        """Points [n, 2] where they would stand on the level page."""
        if not self.weights.any():
            return points
        u, v = self._unit(points)
        a, b, c, d, e = self.weights
        half = self.size[0] / 2
        fall = half * (a * u + b * u**2 / 2 + c * u**3 / 3 + d * u * v + e * u**2 * v / 2)
        lean = a * (points[:, 1] - self.size[1] / 2)
        return np.stack([points[:, 0] + lean, points[:, 1] - fall], axis=1)


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
