"""Figures in words: courses, slopes, and what comes if it goes on like this."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from khmer_fast.train import trend
from khmer_fast.train.trend import Trend

Best = Callable[[list[float]], float]  # min or max of a course


def figures_of(
    axis: str,  # epoch or step
    name: str,
    x: list[float],
    y: list[float],
    late: Trend | None,
    best: Best = min,
) -> dict[str, Any]:
    """First, last and best of a course under names for programs."""
    if not y:
        return {}
    figures: dict[str, Any] = {
        f"{name}_first": y[0],
        f"{name}_first_{axis}": x[0],
        f"{name}_last": y[-1],
        f"{name}_last_{axis}": x[-1],
        f"{name}_best": best(y),
        f"{name}_best_{axis}": x[y.index(best(y))],
    }
    if late is not None:
        figures[f"{name}_slope"] = late.slope
        figures[f"{name}_slope_interval"] = [late.low, late.high]
    return figures


def course(axis: str, x: list[float], y: list[float], shown: str, best: Best = min) -> str:
    """went from A (epoch 9) to B (epoch 41), best C (epoch 37)"""
    first, last, top = 0, len(y) - 1, y.index(best(y))
    said = [f"{y[i]:{shown}} ({axis} {number(x[i])})" for i in (first, last, top)]
    if len(y) == 1:
        return f"is {said[0]}"
    return f"went from {said[0]} to {said[1]}, best {said[2]}"


def slope(late: Trend | None, unit: str, percent: bool = False) -> str:
    """; of late -0.0123 ± 0.004 nats an epoch (last 8 values)"""
    if late is None:
        return ""
    scale = 100 if percent else 1
    change, half = (round(scale * x, 9) for x in (late.slope, (late.high - late.low) / 2))
    unit = f"points {unit}" if percent else unit
    return f"; of late {change:+.3g} ± {half:.2g} {unit} (last {late.points} values)"


def number(place: float) -> str:
    """An epoch or step: 3, 0.25, 120000."""
    return f"{round(place, 2):.12g}"


def an(axis: str) -> str:
    """an epoch, a step"""
    return f"an {axis}" if axis[0] in "aeiou" else f"a {axis}"


def halving(late: Trend | None, last: float) -> float:
    """Epochs until a loss is halved if it goes on to fall by the same share."""
    if late is None or late.slope >= 0 or last <= 0:
        return math.inf
    return math.log(2) / min(-late.slope / last, 0.99)


def ahead(x: list[float], y: list[float], further: float) -> float | None:
    """Where a positive figure is so much later if its logarithm goes on in a straight line."""
    line = trend.recent(x, [math.log(max(value, 1e-9)) for value in y])
    return None if line is None else math.exp(min(line.at(x[-1] + further), 700))
