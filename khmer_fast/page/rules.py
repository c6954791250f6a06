"""Straight rules on a page: the lines of tables, frames and leaders, which are no text's ink.

A rule is a long thin run, horizontal or vertical but for a small skew, of pixels that differ from
what is on both of their sides. They are thickened by a pixel across the direction that is looked
for, so that the steps of a skewed rule are one run; pieces in line are joined over small breaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from khmer_fast.document import Point

SHORTEST = 28  # pixels of a piece: longer than the strokes of a letter
SHORTEST_RULE = 40  # pixels of a whole rule
THICKEST = 6  # pixels
_REACH = 8  # pixels across a rule that are looked at
_THIN = 0.7  # of a rule must be thin: letters touch underlines
_EVEN = 0.9  # of a rule is of one grey
_CLEAR = 0.9  # of a rule has paper on its better side
_BREAK = 16  # pixels, or a share of the shorter piece
_BREAK_SHARE = 0.3
_STEEPEST = 0.1  # rise over run
LEAST_DIFFERENCE = 7  # grey levels
_SIDES = (3, 5)  # pixels above and below that a rule differs from
_SMOOTH = 4  # pixels along a rule over which grey is averaged


@dataclass(frozen=True)
class Rule:
    """A rule from its left or upper end to its right or lower end; page pixels."""

    start: Point
    end: Point
    thickness: float


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules of a page, those from left to right and those from top to bottom."""

    horizontal: tuple[Rule, ...] = ()
    vertical: tuple[Rule, ...] = ()
    mask: np.ndarray | None = None  # bool [Y, X], their ink at the network's scale


def find_rules(grey: np.ndarray, scale: float = 1.0) -> Rules:
    """The rules of a page: grey uint8 [Y, X].

    `scale` is the size of a pixel of `grey` over one of the page: rules are in pixels of the page,
    the mask in those of `grey`.
    """
    mask = np.zeros(grey.shape, dtype=bool)
    wide = np.ascontiguousarray(grey).astype(np.int16)
    least = _least_difference(wide)
    horizontal = _find_horizontal(wide, least, mask)
    across = np.ascontiguousarray(wide.T)
    vertical = [
        Rule(r.start[::-1], r.end[::-1], r.thickness)
        for r in _find_horizontal(across, least, mask.T)
    ]
    return Rules(
        tuple(_scaled(rule, scale) for rule in horizontal),
        tuple(_scaled(rule, scale) for rule in vertical),
        mask,
    )


def _least_difference(grey: np.ndarray) -> int:
    """Grey levels by which a rule differs from its paper: more than the page's noise does."""
    some = grey[:: max(1, grey.shape[0] // 64), :]
    bend = np.abs(2 * some[:, 1:-1] - some[:, :-2] - some[:, 2:])
    noise = float(np.median(bend)) if bend.size else 0.0
    return max(LEAST_DIFFERENCE, round(1.3 * noise))


def _stands_out(grey: np.ndarray, least: int) -> np.ndarray:
    """Where a pixel, smoothed along x, is darker or lighter than what is above and below it.

    int16 [Y, X] to int8 [Y, X]: 1 darker, -1 lighter, 0 neither.
    """
    height, width = grey.shape
    out = np.zeros((height, width), dtype=np.int8)
    if height < 2 * max(_SIDES) + 1 or width < _SMOOTH:
        return out
    two = grey[:, :-1] + grey[:, 1:]
    four = two[:, :-2] + two[:, 2:]  # [Y, X - 3], 4 times the mean
    for side in _SIDES:
        middle, above, below = four[side:-side], four[: -2 * side], four[2 * side :]
        darker = np.minimum(above, below) - middle > 4 * least
        lighter = middle - np.maximum(above, below) > 4 * least
        found = out[side:-side, 1:-2]
        found[darker] = 1
        found[lighter & (found == 0)] = -1
    return out


def _scaled(rule: Rule, scale: float) -> Rule:
    (x0, y0), (x1, y1) = rule.start, rule.end
    return Rule((x0 / scale, y0 / scale), (x1 / scale, y1 / scale), rule.thickness / scale)


@dataclass(frozen=True)
class _Piece:
    """A thin straight run: y = slope x + offset over the columns left to right (exclusive)."""

    left: int
    right: int
    slope: float
    offset: float
    thickness: float

    def at(self, x: float) -> float:
        return self.slope * x + self.offset


def _find_horizontal(grey: np.ndarray, least: int, mask: np.ndarray) -> list[Rule]:
    """Rules from left to right in grey, int16 [Y, X]; marks them in mask, bool [Y, X]."""
    found = _stands_out(grey, least)
    pieces = []
    for sign in (1, -1):  # darker, lighter than what is beside
        for rows, left, right in _run_groups(found == sign):
            piece = _fit(grey, sign, rows, left, right, least)
            if piece is not None:
                pieces.append(piece)
                _mark(found == sign, mask, piece)
    rules = []
    for piece in _joined(pieces):
        if piece.right - piece.left >= SHORTEST_RULE:
            ends = (
                (float(piece.left), piece.at(piece.left) + 0.5),
                (float(piece.right), piece.at(piece.right) + 0.5),
            )
            rules.append(Rule(*ends, piece.thickness))
    return rules


def _run_groups(dark: np.ndarray) -> list[tuple[tuple[int, int], int, int]]:
    """Long runs of the thickened ink, those over one another together: (rows, left, right)."""
    height, width = dark.shape
    thick = dark.copy()
    thick[1:] |= dark[:-1]
    thick[:-1] |= dark[1:]
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = thick
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # of one run after the other: start, end
    start, end = edges[::2], edges[1::2]
    long = end - start >= SHORTEST
    row, left = np.divmod(start[long], width + 2)
    right = left + (end[long] - start[long])
    groups: list[list[int]] = []  # [first row, last row, left, right, left and right of the last]
    open_groups: list[list[int]] = []
    for y, x0, x1 in zip(row.tolist(), left.tolist(), right.tolist(), strict=True):
        open_groups = [group for group in open_groups if group[1] >= y - 1]
        for group in open_groups:
            if x0 < group[5] and group[4] < x1 and y - group[0] <= THICKEST + 4:
                group[1] = y
                group[2], group[3] = min(group[2], x0), max(group[3], x1)
                group[4], group[5] = x0, x1
                break
        else:
            groups.append([y, y, x0, x1, x0, x1])
            open_groups.append(groups[-1])
    return [((g[0], g[1] + 1), g[2], g[3]) for g in groups]


def _fit(
    grey: np.ndarray, sign: int, rows: tuple[int, int], left: int, right: int, least: int
) -> _Piece | None:
    """The thin straight run in a group of runs, or None where it is no rule.

    A rule is of one grey along its length, and clear paper stands on one of its sides at least.
    """
    top = max(0, rows[0] - _REACH)
    window = -sign * grey[top : rows[1] + _REACH, left:right]  # [h, w], rules are high
    height, width = window.shape
    x = np.arange(width)
    low, high = rows[0] - top, rows[1] - top
    middle = low + window[low:high].argmax(axis=0)  # [w]
    slope, offset = _straight(x, middle)
    if abs(slope) > _STEEPEST:
        return None
    at = np.rint(slope * x + offset).astype(int)  # [w], row in the window
    near = [window[np.clip(at + k, 0, height - 1), x] for k in (-1, 0, 1)]
    ridge = np.maximum(np.maximum(near[0], near[1]), near[2])  # [w]
    sides = [window[np.clip(at + k, 0, height - 1), x] for k in (-_SIDES[1], _SIDES[1])]
    contrast = float(np.median(ridge) - min(np.median(side) for side in sides))
    if contrast < least:
        return None
    even = np.abs(ridge - np.median(ridge)) < 0.35 * contrast + least / 2
    clear = sorted(float((ridge - side > 0.5 * contrast).mean()) for side in sides)
    if even.mean() < _EVEN or clear[1] < _CLEAR or clear[0] < 0.4:
        return None
    inside = window > np.median(ridge) - 0.5 * contrast  # [h, w]
    thickness = _thickness(inside, at, x)
    thin = (thickness <= THICKEST) & (thickness > 0)
    if thin.mean() < _THIN:
        return None
    typical = float(np.median(thickness[thin]))
    return _Piece(left, right, slope, offset + top - slope * left, typical)


def _straight(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the line through points [n], by medians of the two halves."""
    third = max(1, len(x) // 3)
    x0, y0 = float(np.median(x[:third])), float(np.median(y[:third]))
    x1, y1 = float(np.median(x[-third:])), float(np.median(y[-third:]))
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    return slope, float(np.median(y - slope * x))


def _thickness(window: np.ndarray, at: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Ink in one stretch with row at[w] (or the next one) of each column of window [h, w]."""
    height = window.shape[0]
    at = np.clip(at, 0, height - 1)
    beside = np.where(window[at, x], at, np.clip(at + 1, 0, height - 1))
    beside = np.where(window[beside, x], beside, np.clip(at - 1, 0, height - 1))
    thickness = window[beside, x].astype(int)  # [w]
    for direction in (-1, 1):
        reached = beside.copy()
        going = window[beside, x].copy()
        for _ in range(THICKEST + 1):
            reached = reached + direction
            going &= (reached >= 0) & (reached < height)
            going &= window[np.clip(reached, 0, height - 1), x]
            thickness += going
    return thickness


def _mark(dark: np.ndarray, mask: np.ndarray, piece: _Piece) -> None:
    """Marks a piece's ink, where it is as thin as the piece is."""
    x = np.arange(piece.left, piece.right)
    at = np.rint(piece.slope * x + piece.offset).astype(int)
    half = int(np.ceil(piece.thickness / 2)) + 1
    for shift in range(-half, half + 1):
        y = np.clip(at + shift, 0, dark.shape[0] - 1)
        mask[y, x] |= dark[y, x]


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Pieces in one line made one, over small breaks."""
    rules: list[_Piece] = []
    for piece in sorted(pieces, key=lambda p: p.left):
        for i, rule in enumerate(rules):
            gap = piece.left - rule.right
            shorter = min(rule.right - rule.left, piece.right - piece.left)
            if gap > max(_BREAK, _BREAK_SHARE * shorter) or piece.right <= rule.right:
                continue
            x = (rule.right + piece.left) / 2
            if abs(rule.at(x) - piece.at(x)) > 2.5 or abs(rule.slope - piece.slope) > 0.05:
                continue
            wide = piece.right - rule.left
            y0, y1 = rule.at(rule.left), piece.at(piece.right)
            slope = (y1 - y0) / wide
            thickness = max(rule.thickness, piece.thickness)
            rules[i] = _Piece(rule.left, piece.right, slope, y0 - slope * rule.left, thickness)
            break
        else:
            rules.append(piece)
    return rules
