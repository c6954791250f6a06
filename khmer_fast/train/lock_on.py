"""How well attention follows the line, from its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOCKED, NOT_LOCKED = 0.6, 0.25  # lock-on scores; at 0.5 pictures still show a fog that drifts


@dataclass(frozen=True)
class LockOn:
    """How well attention follows the line; all 0 to 1."""

    monotonicity: float  # net way forward over the whole way walked
    sharpness: float  # 1 - entropy of the weights over that of even weights
    coverage: float  # share of the line's width between the first and the last position read
    score: float  # the geometric mean of the three


def lock_on(weights: np.ndarray) -> LockOn:
    """Lock-on of one line from its attention weights [S, T], T without padding, rows sum to 1."""
    weights = np.asarray(weights, dtype=np.float64)
    steps, positions = weights.shape
    if steps < 2 or positions < 2 or not np.isfinite(weights).all():
        return LockOn(0.0, 0.0, 0.0, 0.0)
    place = weights @ np.arange(positions)  # [S], expected position
    moves = np.diff(place)
    walked = np.abs(moves).sum()
    forward = place[-1] - place[0]
    monotonicity = float(max(forward, 0) / walked) if walked > 1e-9 * positions else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(weights > 0, weights * np.log(weights), 0.0)
    sharpness = float(1 + terms.sum(1).mean() / math.log(positions))
    coverage = float(min(max(forward / (positions - 1), 0), 1))
    sharpness = min(max(sharpness, 0.0), 1.0)
    score = (monotonicity * sharpness * coverage) ** (1 / 3)
    return LockOn(monotonicity, sharpness, coverage, score)


def mean_lock_on(lines: Sequence[np.ndarray]) -> dict[str, float]:
    """The history's four attention figures, the mean over lines of attention weights [S, T]."""
    each = [lock_on(weights) for weights in lines]
    if not each:
        return {}
    return {
        "attention_monotonicity": float(np.mean([one.monotonicity for one in each])),
        "attention_sharpness": float(np.mean([one.sharpness for one in each])),
        "attention_coverage": float(np.mean([one.coverage for one in each])),
        "lock_on": float(np.mean([one.score for one in each])),
    }
