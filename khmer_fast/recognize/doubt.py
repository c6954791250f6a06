"""Readings that lost something: ink that no token looked at, and a second opinion that differs.

What costs nothing is looked at for every line: whether the places that attention looked at leave
ink uncovered or jump back, and how sure the decoder is. Only then the CTC head is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein

INK = 160  # grey value below which a pixel is ink
NEAR = 18  # pixels, at 48 px height, around a token within which ink is read
FAR = 20  # and from which on it surely is not
ODD_COLUMNS = 4  # columns of ink beyond NEAR that let the CTC head be asked
UNREAD_COLUMNS = 16  # and beyond FAR that are unread whatever it says
BACK = 32  # pixels that attention may jump back: two parts of a cluster stand in any order
UNSURE = 0.05  # probability of a reading below which the CTC head is asked
ALONE = 14  # pixels that a character of the CTC head is from all tokens if nobody read it
UNREAD = 2  # such characters, neighbours, that are unread ink
WINDOW = 12  # characters of the CTC head's reading
EDITS = 6  # edits within them that make a reading doubtful


def is_odd(image: np.ndarray, x: Sequence[float], probability: float) -> bool:
    """Whether the CTC head should be asked about a reading of a line.

    image: uint8 [Y, X], prepared; x [n]: where the characters were looked at, in pixels.
    """
    if probability < UNSURE:
        return True
    furthest, hole = 0.0, False
    for at in x:
        if at > furthest:
            hole = hole or at - furthest > NEAR
            furthest = at
        elif at < furthest - BACK:
            return True
    hole = hole or image.shape[1] - furthest > NEAR
    return hole and uncovered(image, x, NEAR) >= ODD_COLUMNS


def uncovered(image: np.ndarray, x: Sequence[float], reach: float) -> int:
    """Columns of ink that lie further than `reach` from all of `x`; arguments as of `is_odd`."""
    width = image.shape[1]
    at = np.array([-math.inf, *sorted(x), math.inf])
    gaps = np.flatnonzero(np.diff(at) > 2 * reach)
    total = 0
    for i in gaps.tolist():
        left = max(0, math.ceil(at[i] + reach)) if i else 0
        right = min(width, math.floor(at[i + 1] - reach) + 1) if i + 2 < len(at) else width
        if left < right:
            total += int(np.count_nonzero(image[:, left:right].min(axis=0) < INK))
    return total


def flags(
    image: np.ndarray,  # uint8 [Y, X], prepared
    text: str,
    x: Sequence[float],  # [n] of `text`, in pixels
    other: str,  # what the CTC head reads
    other_x: Sequence[float],  # where
) -> tuple[str, ...]:
    """What is to be said of a reading that was odd: some of document.FLAGS."""
    found = []
    if uncovered(image, x, FAR) >= UNREAD_COLUMNS or _alone(x, other, other_x) >= UNREAD:
        found.append("unread ink")
    if most_edits(text, other) >= EDITS:
        found.append("doubtful")
    return tuple(found)


def _alone(x: Sequence[float], other: str, other_x: Sequence[float]) -> int:
    """The most neighbouring characters of the CTC head's that no token stands near to."""
    away = np.abs(np.array(x)[None, :] - np.array(other_x)[:, None]).min(1, initial=math.inf)
    most = run = 0
    for character, alone in zip(other, (away > ALONE).tolist(), strict=True):
        if character == " ":
            continue
        run = run + 1 if alone else 0
        most = max(most, run)
    return most


def most_edits(text: str, other: str) -> float:
    """The most edits between two readings within any WINDOW characters of `other`."""
    cost = np.zeros(len(other) + 1)
    for edit in Levenshtein.opcodes(text, other):
        if edit.tag == "equal":
            continue
        here = max(1, edit.dest_end - edit.dest_start)
        edits = max(edit.src_end - edit.src_start, edit.dest_end - edit.dest_start)
        start = min(edit.dest_start, len(other))
        cost[start : start + here] += edits / here
    sums = np.concatenate([[0.0], cost.cumsum()])
    return float((sums[min(WINDOW, len(cost)) :] - sums[: max(1, len(sums) - WINDOW)]).max())
