"""Lone words and figures that the network hardly saw: ink of no line that stands in a row with one,
as amounts beside their names do, or quite alone, as the number of a page does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from khmer_fast.page.bands import LEAST_REACH, Band, Maps, page_slope
from khmer_fast.page.ink import Owners, PageInk
from khmer_fast.page.parts import STRIDE

SEEN = -2.2  # logit: what the network saw so much of somewhere may be text
HALF_SEEN = -1.1  # and so much of a figure that stands in no row
LETTER = 0.45, 2.2  # of the row's letters: height of a letter
WIDEST = 3.0  # letter heights of a piece
LEAST_INK = 0.08  # letter heights squared of a piece
LEVEL = 0.45  # letter heights between the middles of the row and of a letter in it
FARTHEST = 60.0  # letter heights from the row's line
WORD = 1.0  # letter heights between pieces of one word
AROUND = 0.7  # letter heights around a word
OTHERS = 0.2  # of its ink that stands there, at most: a picture's pieces have more
LONGEST = 6.0  # letter heights of a word: longer ones are seen
BARE = 1.5  # letter heights without any ink around a figure that stands in no row
MOST = 300  # pieces; more are a picture's


def lone_bands(found: PageInk, owners: Owners, bands: Sequence[Band], maps: Maps) -> list[Band]:
    """Bands for words of the page's rows that no line took, each with its row's letters, and for
    figures that stand in no row."""
    if not bands:
        return []
    letters = np.array([band.letter_height for band in bands])
    ends = np.array([(*band.middle[0], *band.middle[-1]) for band in bands])  # [L, 4]
    slope = page_slope(bands)
    free = _free_pieces(found, owners, letters)
    rows: dict[int | None, list[np.ndarray]] = {}
    for box in free if len(free) <= MOST else ():
        rows.setdefault(_row_of(box, ends, letters, slope), []).append(box)
    lone = []
    for row, boxes in rows.items():
        if row is None:
            letter, seen, around = float(np.median(letters)), HALF_SEEN, BARE
        else:
            letter, seen, around = float(letters[row]), SEEN, AROUND
        for word in _words(boxes, WORD * letter):
            short = word[2] - word[0] <= LONGEST * letter
            if short and _seen(maps.band, *word, seen) and _alone(owners, word, around * letter):
                lone.append(_band(None if row is None else bands[row], word, slope))
    return lone


def _free_pieces(found: PageInk, owners: Owners, letters: np.ndarray) -> np.ndarray:
    """Boxes [n, 4] of pieces that are nobody's and may be letters of some row."""
    width, height = (found.boxes[:, i + 2] - found.boxes[:, i] for i in (0, 1))
    free = (
        (owners.unread[:, 0] == found.areas)
        & (found.areas >= LEAST_INK * letters.min() ** 2)
        & (height >= LETTER[0] * letters.min())
        & (height <= LETTER[1] * letters.max())
        & (width <= WIDEST * letters.max())
    )
    return found.boxes[free]


def _row_of(
    box: np.ndarray,  # [4]
    ends: np.ndarray,  # [L, 4] (x, y) of each band's first and last point
    letters: np.ndarray,  # [L]
    slope: float,
) -> int | None:
    """The nearest band in whose row, straight on from its end, a piece stands as its letters do."""
    left, top, right, bottom = (float(v) for v in box)
    after = left >= ends[:, 2]
    away = np.where(after, left - ends[:, 2], ends[:, 0] - right)
    x, y = (np.where(after, ends[:, i + 2], ends[:, i]) for i in (0, 1))
    level = y + slope * ((left + right) / 2 - x)
    fits = (
        (away > 0)
        & (away < FARTHEST * letters)
        & (np.abs((top + bottom) / 2 - level) <= LEVEL * letters)
        & (bottom - top >= LETTER[0] * letters)
        & (bottom - top <= LETTER[1] * letters)
        & (right - left <= WIDEST * letters)
    )
    return int(np.where(fits, away, np.inf).argmin()) if fits.any() else None


def _words(boxes: Sequence[np.ndarray], gap: float) -> list[tuple[int, int, int, int]]:
    """The boxes of pieces that stand close to each other."""
    words: list[tuple[int, int, int, int]] = []
    for left, top, right, bottom in sorted(tuple(box.tolist()) for box in boxes):
        if words and left - words[-1][2] <= gap:
            a, b, c, d = words[-1]
            words[-1] = a, min(b, top), max(c, right), max(d, bottom)
        else:
            words.append((left, top, right, bottom))
    return words


def _seen(band: np.ndarray, left: int, top: int, right: int, bottom: int, least: float) -> bool:
    """Whether the network saw so much in a box somewhere: band [y, x], logits at STRIDE."""
    rows = slice(top // STRIDE, -(-bottom // STRIDE))
    columns = slice(left // STRIDE, -(-right // STRIDE))
    return bool(band[rows, columns].max(initial=-np.inf) >= least)


def _alone(owners: Owners, word: tuple[int, int, int, int], around: float) -> bool:
    """Whether hardly any ink stands around a word: it is no piece of a picture or a stamp."""
    left, top, right, bottom = word
    reach = int(around)
    rows = slice(max(top - reach, 0), bottom + reach)
    columns = slice(max(left - reach, 0), right + reach)
    inside = np.count_nonzero(owners.owners[top:bottom, left:right])
    around_too = np.count_nonzero(owners.owners[rows, columns])
    return bool(around_too <= (1 + OTHERS) * inside)


def _band(row: Band | None, word: tuple[int, int, int, int], slope: float) -> Band:
    """The band of a word in the row of another one, straight on from its end; in no row a level
    one, whose letters are as high as the word."""
    left, top, right, bottom = word
    x = np.arange(left + STRIDE / 2, max(right - STRIDE / 2, left + STRIDE / 2) + 1, STRIDE)
    if row is None:
        letter = float(bottom - top)
        y = np.full(len(x), (top + bottom) / 2)
        above = below = LEAST_REACH * letter
    else:
        end = -1 if left >= row.middle[-1, 0] else 0
        letter = row.letter_height
        y = row.middle[end, 1] + slope * (x - row.middle[end, 0])
        above, below = row.above[end], row.below[end]
    return Band(
        np.stack([x, y], 1).astype(np.float32),
        np.full(len(x), above, np.float32),
        np.full(len(x), below, np.float32),
        letter,
        0.5,
    )
