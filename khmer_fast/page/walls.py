"""Rules beside and in lines: which of them are strokes of letters, and which no line goes through.

Rules are in pixels of the page; `scale` is the network's pixels a page pixel; everything else is at
the network's scale.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from khmer_fast.page.pixels import Columns
from khmer_fast.page.rules import Rule, Rules

UPRIGHT_STROKE = 8.0  # letter heights: shorter rules that cross lines are strokes of letters
FOLD = 2  # network pixels to both sides of a fold that are its own
NEAR_FOLD = 0.3  # letter heights beside it in which letters stand
LETTERED = 0.5  # of the contrast of most ink: more is ink
FOLDED, FOLDED_LINES = 0.25, 2  # of the lines that it crosses have letters at both sides, at least
EDGE = 0.02  # of the page's height
LEVEL_STROKE = 3.5  # and shorter ones that run in a line


def without_strokes(rules: Rules, columns: Columns, scale: float) -> Rules:
    """The rules that are longer than the strokes of the text that they stand in."""
    upright = tuple(rule for rule in rules.vertical if _is_upright_rule(rule, columns, scale))
    level = tuple(rule for rule in rules.horizontal if _is_level_rule(rule, columns, scale))
    if rules.mask is None:
        return replace(rules, horizontal=level, vertical=upright)
    kept = Image.new("1", rules.mask.shape[::-1])
    draw = ImageDraw.Draw(kept)
    for rule in upright + level:
        ends = [(scale * x - 0.5, scale * y - 0.5) for x, y in (rule.start, rule.end)]
        draw.line(ends, 1, 3 + math.ceil(scale * rule.thickness))
    mask = rules.mask & np.asarray(kept)
    return replace(rules, horizontal=level, vertical=upright, mask=mask)


def walls_of(rules: Rules, scale: float) -> np.ndarray:
    """Upright rules at the network's scale: [W, 3] float32 (x, top, bottom)."""
    walls = [_wall(rule, scale) for rule in rules.vertical]
    return np.array(walls, np.float32).reshape(-1, 3)


def crossed(wall: np.ndarray, columns: Columns) -> np.ndarray:
    """The lines that a wall (x, top, bottom) stands in: their numbers, int64 [n]."""
    x, top, bottom = (float(v) for v in wall)
    middle = _middles(columns, x)
    inside = (columns.inner[:, 0] < x) & (x < columns.inner[:, 1])
    return np.flatnonzero(inside & (top < middle) & (middle < bottom))


def without_folds(walls: np.ndarray, columns: Columns, grey: np.ndarray) -> np.ndarray:
    """The walls but for folds, scratches and streaks of the paper, which run through the letters of
    lines, or from the page's upper edge to its lower one: [W, 3] float32 both. A rule that parts
    cells has white at both sides. grey uint8 [Y, X]."""
    counts = np.zeros((len(walls), 2), int)  # lines that each crosses, and of them those lettered
    for count, wall in zip(counts, walls, strict=True):
        lines = crossed(wall, columns)
        lettered = [_letters_at_both_sides(wall, int(line), columns, grey) for line in lines]
        count[:] = len(lines), sum(lettered)
    # pieces of one fold stand over each other
    near = np.abs(walls[:, None, 0] - walls[None, :, 0]) <= 2 * FOLD
    lines, lettered = (near @ counts).T
    tops, bottoms = (np.where(near, walls[:, i], walls[:, i, None]) for i in (1, 2))
    edge = EDGE * len(grey)
    streaks = (tops.min(1, initial=np.inf) < edge) & (bottoms.max(1, initial=0) > len(grey) - edge)
    return walls[(lettered < np.maximum(FOLDED_LINES, FOLDED * lines)) & ~streaks]


def _letters_at_both_sides(wall: np.ndarray, line: int, columns: Columns, grey: np.ndarray) -> bool:
    """Whether ink stands close to a wall on both sides of it in a line's band."""
    letter, x = float(columns.letter[line]), int(wall[0])
    middle = float(columns.middle[columns.at(line, x)])
    top, bottom = (max(round(middle + part * letter), 0) for part in (-0.5, 0.5))
    around = grey[top:bottom, max(x - int(4 * letter), 0) : x + int(4 * letter)].astype(np.int16)
    if not around.size:
        return False
    paper = np.median(around)
    least = LETTERED * np.percentile(np.abs(around - paper), 98)
    near = max(2, round(NEAR_FOLD * letter))
    sides = (
        grey[top:bottom, max(x - FOLD - near, 0) : max(x - FOLD, 0)],
        grey[top:bottom, x + FOLD + 1 : x + FOLD + 1 + near],
    )
    return all(side.size and (np.abs(side - paper) > least).sum() >= near for side in sides)


def _wall(rule: Rule, scale: float) -> tuple[float, float, float]:
    return (
        scale * (rule.start[0] + rule.end[0]) / 2,
        scale * rule.start[1],
        scale * rule.end[1],
    )


def _middles(columns: Columns, x: float) -> np.ndarray:
    """The middle of each line at page column x, or at its nearer end: [L]."""
    last = np.diff(columns.begin) - 1
    return columns.middle[columns.begin[:-1] + np.clip(int(x) - columns.left, 0, last)]


def _is_upright_rule(rule: Rule, columns: Columns, scale: float) -> bool:
    wall = _wall(rule, scale)
    lines = crossed(np.array(wall), columns)
    letter = float(columns.letter[lines].max(initial=0.0))
    return wall[2] - wall[1] >= UPRIGHT_STROKE * letter


def _is_level_rule(rule: Rule, columns: Columns, scale: float) -> bool:
    left, right = scale * rule.start[0], scale * rule.end[0]
    y = scale * (rule.start[1] + rule.end[1]) / 2
    shared = np.minimum(right, columns.inner[:, 1]) - np.maximum(left, columns.inner[:, 0])
    away = np.abs(_middles(columns, (left + right) / 2) - y)
    along = (shared > (right - left) / 2) & (away < 2 * columns.letter)
    return right - left >= LEVEL_STROKE * float(columns.letter[along].max(initial=0.0))
