"""Straight rules on a page: the lines of tables, frames and leaders, which are no text's ink.

A rule is a long thin run of ink, horizontal or vertical but for a small skew. Ink is thickened by a
pixel across the direction that is looked for, so that the steps of a skewed rule are one run; a run
counts where the ink itself is thin along it, or where it stands out from the ink beside it. Pieces
in one line are joined over small breaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from khmer_fast.document import Point

SHORTEST = 28  # pixels of a piece: longer than the strokes of a letter
SHORTEST_RULE = 40  # pixels of a whole rule
THICKEST = 7  # pixels
_REACH = 10  # pixels across a rule that are looked at
_THIN = 0.75  # of a rule's pixels must be thin: letters touch underlines
_BREAK = 16  # pixels, or a share of the shorter piece
_BREAK_SHARE = 0.3
_STEEPEST = 0.1  # rise over run


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


def find_rules(ink: np.ndarray, scale: float = 1.0) -> Rules:
    """The rules of a page: ink bool or uint8 [Y, X], not 0 where there is any.

    `scale` is the size of a pixel of `ink` over one of the page: rules are in pixels of the page,
    the mask in those of `ink`.
    """
    dark = np.ascontiguousarray(ink != 0)
    mask = np.zeros(dark.shape, dtype=bool)
    horizontal = _find_horizontal(dark, mask)
    across = _find_horizontal(np.ascontiguousarray(dark.T), mask.T)
    vertical = [Rule(r.start[::-1], r.end[::-1], r.thickness) for r in across]
    return Rules(
        tuple(_scaled(rule, scale) for rule in horizontal),
        tuple(_scaled(rule, scale) for rule in vertical),
        mask,
    )


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


def _find_horizontal(dark: np.ndarray, mask: np.ndarray) -> list[Rule]:
    """Rules from left to right in dark, bool [Y, X]; marks their ink in mask, bool [Y, X]."""
    pieces = []
    for rows, left, right in _run_groups(dark):
        piece = _fit(dark, rows, left, right)
        if piece is not None:
            pieces.append(piece)
            _mark(dark, mask, piece)
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


def _fit(dark: np.ndarray, rows: tuple[int, int], left: int, right: int) -> _Piece | None:
    """The thin straight run in a group of runs, or None where the ink is no rule."""
    top = max(0, rows[0] - _REACH)
    window = dark[top : rows[1] + _REACH, left:right]  # [h, w]
    core = window[rows[0] - top : rows[1] - top]
    count = core.sum(axis=0)  # [w]
    has = count > 0
    if has.mean() < 0.9:
        return None
    middle = (core * np.arange(core.shape[0])[:, None]).sum(axis=0) / np.maximum(count, 1)  # [w]
    x = np.arange(right - left)
    slope, offset = _straight(x[has], middle[has] + rows[0] - top)
    if abs(slope) > _STEEPEST:
        return None
    at = np.rint(slope * x + offset).astype(int)  # [w], row in the window
    thickness = _thickness(window, at, x)
    inked = thickness > 0
    thin = (thickness <= THICKEST) & inked
    if inked.mean() < 0.85 or thin.sum() < _THIN * inked.sum():
        return None
    typical = float(np.median(thickness[thin]))
    if right - left < 8 * typical:
        return None
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
