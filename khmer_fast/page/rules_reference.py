"""What csrc/cpu/page_rules.cpp does, in plain numpy: straight level rules and edges in grey pixels.

A rule is a long thin run of pixels that differ from what is above and below it. They are thickened
by a pixel up and down, so that the steps of a skewed rule are one run; a run counts where it is of
one grey, thin, and has paper on one of its sides at least.
"""

from __future__ import annotations

import numpy as np

SHORTEST = 28  # pixels of a piece: longer than the strokes of a letter
THICKEST = 6  # pixels
SIDES = (3, 5)  # pixels above and below that a rule differs from
SMOOTH = 4  # pixels along a rule over which grey is averaged
TALLEST = 10  # rows of the runs of one piece
REACH = 8  # pixels above and below a piece that are looked at
STEEPEST = 0.1  # rise over run
EVEN = 0.9  # of a rule is of one grey
EVEN_SHARE = 0.35  # of a rule's contrast that its grey may vary by
CLEAR, HALF_CLEAR = 0.9, 0.4  # of a rule has paper on its better side, and on the other
THIN = 0.7  # of a rule must be thin: letters touch underlines
NEAR_EDGE, FAR_EDGE = 1, 4  # rows from an edge between which a ground must be even
EVEN_GROUND = 2, 5  # of an edge's difference that its grounds may vary by: two fifths
STEEP_EDGE = 3  # rows above each other in which an edge is found, at most


def find_rules(
    grey: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of level and of upright rules, and of level and upright edges between two grounds at
    half the scale, and the rules' pixels: uint8 [Y, X] -> 4 x float64 [P, 5], bool [Y, X].

    `least` is the difference of grey that counts.
    """
    level, mask = rule_pieces(grey, least)
    upright, mask_across = rule_pieces(grey.T, least)
    half = _halved(grey)
    edges, upright_edges = edge_pieces(half, least), edge_pieces(half.T, least)
    return level, upright, edges, upright_edges, (mask | mask_across.T).astype(bool)


def _halved(grey: np.ndarray) -> np.ndarray:
    """Half as many pixels each way: uint8 [Y, X] -> uint8 [Y // 2, X // 2]."""
    height, width = grey.shape[0] // 2 * 2, grey.shape[1] // 2 * 2
    rows = grey[:height:2, :width].astype(np.uint16) + grey[1:height:2, :width]
    return ((rows[:, ::2] + rows[:, 1::2]) >> 2).astype(np.uint8)


def rule_pieces(grey: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of level rules in grey uint8 [Y, X], and their pixels uint8 [Y, X], 1 or 0.

    A piece is float64 (left, right, slope, offset, thickness): y = slope x + offset for columns
    left to right (exclusive). `least` is the difference of grey that counts.
    """
    wide = grey.astype(np.int16)
    found = _stands_out(wide, least)
    mask = np.zeros(grey.shape, dtype=np.uint8)
    pieces = []
    for sign in (1, -1):  # darker, lighter than what is beside
        for top, bottom, left, right in _groups(found == sign, TALLEST):
            piece = _fit(wide, sign, top, bottom, left, right, least)
            if piece is not None:
                pieces.append(piece)
                _mark(found == sign, mask, piece)
    return np.array(pieces, dtype=np.float64).reshape(-1, 5), mask


def _stands_out(grey: np.ndarray, least: int) -> np.ndarray:
    """Where a pixel, smoothed along x, is darker or lighter than what is above and below it.

    int16 [Y, X] to int8 [Y, X]: 1 darker, -1 lighter, 0 neither.
    """
    height, width = grey.shape
    out = np.zeros((height, width), dtype=np.int8)
    if height < 2 * max(SIDES) + 1 or width < SMOOTH:
        return out
    four = grey[:, :-3] + grey[:, 1:-2] + grey[:, 2:-1] + grey[:, 3:]  # [Y, X - 3]
    for side in SIDES:
        middle, above, below = four[side:-side], four[: -2 * side], four[2 * side :]
        darker = np.minimum(above, below) - middle > 4 * least
        lighter = middle - np.maximum(above, below) > 4 * least
        found = out[side:-side, 1:-2]
        found[darker & (found == 0)] = 1
        found[lighter & (found == 0)] = -1
    return out


def _groups(found: np.ndarray, tallest: int) -> list[tuple[int, int, int, int]]:
    """Long runs of what was found, thickened, those over one another together, at most `tallest`
    rows: bool [Y, X] -> (top, bottom, left, right), bottom and right exclusive."""
    height, width = found.shape
    thick = found.copy()
    thick[1:] |= found[:-1]
    thick[:-1] |= found[1:]
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = thick
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # of one run after the other: start, end
    start, end = edges[::2], edges[1::2]
    long = end - start >= SHORTEST
    row, left = np.divmod(start[long], width + 2)
    right = left + (end[long] - start[long])
    groups: list[list[int]] = []  # top, last row, left, right, left and right of the last run
    near: list[list[int]] = []  # those that the row above has a run of
    for y, x0, x1 in zip(row.tolist(), left.tolist(), right.tolist(), strict=True):
        near = [group for group in near if group[1] >= y - 1]
        for group in near:
            if x0 < group[5] and group[4] < x1 and y - group[0] < tallest:
                group[1] = y
                group[2], group[3] = min(group[2], x0), max(group[3], x1)
                group[4], group[5] = x0, x1
                break
        else:
            groups.append([y, y, x0, x1, x0, x1])
            near.append(groups[-1])
    return [(group[0], group[1] + 1, group[2], group[3]) for group in groups]


def _fit(
    grey: np.ndarray, sign: int, top: int, bottom: int, left: int, right: int, least: int
) -> tuple[float, float, float, float, float] | None:
    """The rule in a group of runs, or None where it is none: grey int16 [Y, X]."""
    first = max(0, top - REACH)
    window = -sign * grey[first : bottom + REACH, left:right]  # [h, w], rules are high
    height, width = window.shape
    x = np.arange(width)
    # 1. the straight line through the highest pixel of each column
    middle = top - first + window[top - first : bottom - first].argmax(axis=0)  # [w]
    third = max(1, width // 3)
    low, high = np.median(middle[:third]), np.median(middle[-third:])
    slope = float(high - low) / float(width - third)
    if abs(slope) > STEEPEST:
        return None
    offset = float(np.median(middle - slope * x))
    at = np.rint(slope * x + offset).astype(int)  # [w]

    def row(shift: int) -> np.ndarray:
        return window[np.clip(at + shift, 0, height - 1), x]

    # 2. one grey along it, paper beside it
    ridge = np.maximum(np.maximum(row(-1), row(0)), row(1))  # [w]
    sides = row(-SIDES[1]), row(SIDES[1])
    level = float(np.median(ridge))
    contrast = level - min(float(np.median(side)) for side in sides)
    if contrast < least:
        return None
    even = np.abs(ridge - level) < EVEN_SHARE * contrast + least / 2
    clear = sorted(int((ridge - side > 0.5 * contrast).sum()) for side in sides)
    if even.sum() < EVEN * width or clear[1] < CLEAR * width or clear[0] < HALF_CLEAR * width:
        return None
    # 3. thin
    thickness = _thickness(window > level - 0.5 * contrast, at)
    thin = thickness[(thickness <= THICKEST) & (thickness > 0)]
    if len(thin) < THIN * width:
        return None
    typical = float(np.median(thin))
    return float(left), float(right), slope, offset + first - slope * left, typical


def _thickness(inside: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How many pixels of each column of inside, bool [h, w], are one stretch with row at[w], or
    with the next row or the one before where that is outside."""
    height, width = inside.shape
    x = np.arange(width)
    start = np.clip(at, 0, height - 1)
    for shift in (1, -1):
        beside = np.clip(at + shift, 0, height - 1)
        start = np.where(inside[start, x], start, beside)
    thickness = inside[start, x].astype(int)
    for direction in (-1, 1):
        going, reached = inside[start, x].copy(), start.copy()
        for _ in range(THICKEST + 1):
            reached = reached + direction
            going &= (reached >= 0) & (reached < height)
            going &= inside[np.clip(reached, 0, height - 1), x]
            thickness += going
    return thickness


def _mark(found: np.ndarray, mask: np.ndarray, piece: tuple[float, ...]) -> None:
    """Marks what was found, bool [Y, X], of a piece and no farther from it than it is thick."""
    left, right, slope, offset, thickness = piece
    x = np.arange(int(left), int(right))
    at = np.rint(slope * x + offset).astype(int)
    half = int(np.ceil(thickness / 2)) + 1
    for shift in range(-half, half + 1):
        y = at + shift
        on = (y >= 0) & (y < found.shape[0])
        mask[y[on], x[on]] |= found[y[on], x[on]]


def edge_pieces(grey: np.ndarray, least: int) -> np.ndarray:
    """Pieces of level edges between two grounds in grey uint8 [Y, X], as those of `rule_pieces`
    with a thickness of 0: float64 [P, 5]."""
    found = _edges(grey.astype(np.int16), least)
    pieces = []
    for sign in (1, -1):  # darker below, lighter below
        for top, bottom, left, right in _groups(found == sign, TALLEST):
            rows = found[top:bottom, left:right] == sign  # [h, w]
            count = rows.sum(axis=0)  # [w]
            has = count > 0
            if count.sum() > STEEP_EDGE * (right - left) or has.sum() < EVEN * (right - left):
                continue
            x = np.flatnonzero(has)
            middle = (rows * np.arange(bottom - top)[:, None]).sum(axis=0)[has] / count[has]  # [n]
            third = max(1, len(x) // 3)
            low, high = np.median(middle[:third]), np.median(middle[-third:])
            slope = float(high - low) / float(len(x) - third)
            if abs(slope) > STEEPEST:
                continue
            offset = float(np.median(middle - slope * x))
            pieces.append((left, right, slope, offset + top - slope * left, 0.0))
    return np.array(pieces, dtype=np.float64).reshape(-1, 5)


def _edges(grey: np.ndarray, least: int) -> np.ndarray:
    """Where the ground below a pixel, smoothed along x, is darker (1) or lighter (-1) than that
    above it, both of them even: int16 [Y, X] to int8 [Y, X]."""
    height, width = grey.shape
    out = np.zeros((height, width), dtype=np.int8)
    if height < 2 * FAR_EDGE + 1 or width < SMOOTH:
        return out
    four = grey[:, :-3] + grey[:, 1:-2] + grey[:, 2:-1] + grey[:, 3:]  # [Y, X - 3]

    def row(shift: int) -> np.ndarray:
        return four[FAR_EDGE + shift : height - FAR_EDGE + shift]

    difference = row(-NEAR_EDGE) - row(NEAR_EDGE)  # above 0: darker below
    above = np.abs(row(-FAR_EDGE) - row(-NEAR_EDGE))
    below = np.abs(row(FAR_EDGE) - row(NEAR_EDGE))
    size = np.abs(difference)
    edge = (size > 4 * least) & (EVEN_GROUND[1] * np.maximum(above, below) < EVEN_GROUND[0] * size)
    out[FAR_EDGE:-FAR_EDGE, 1:-2] = np.sign(difference) * edge
    return out
