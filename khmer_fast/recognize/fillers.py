"""Runs of `<` in the machine-readable lines of passports and cards: found by their ink.

Their number is what the line is laid out by, and attention cannot count equal marks. They are
printed at one pitch, so that the ink gives it exactly; like leaders they are cut out of the line
before it is read.
"""

from __future__ import annotations

import numpy as np

from khmer_fast.recognize.leaders import Leader, runs

INK = 160  # grey value below which a pixel is ink
LEAST = 4  # marks of a run, clear of each other and alike; fewer are read
SPECK = 1  # pixels of every other row that may be ink between marks
HIGH = 16  # pixels that a mark is high, at least, at 48 px height: guillemets are lower
WIDE = (0.45, 1.5)  # width of a mark over its height
LEVEL = 0.12  # of the pitch, that neighbouring seeds differ in width and pitch, at most,
PIXELS = 2  # and at least so many pixels
TIP = 0.6  # of a mark's height, that its left fifth reaches over, at most
HALF = 0.8  # and its second fifth: arms are straight, not round
ARMS = 0.8  # and its right fifth, at least
ALIKE = 0.85  # correlation of a mark with those before it, at least,
WORN = 0.6  # and of one between two such
SPACE = 1.3  # of the pitch, that a gap beside a run is wide which is a space


def find(line: np.ndarray) -> list[Leader]:
    """The runs of `<` of a line, left to right: uint8 [Y, X], prepared, dark on white."""
    from khmer_fast.ops import may_hold_filler  # the compiled module only where it is needed

    return find_reference(line) if may_hold_filler(np.ascontiguousarray(line)) else []


def find_reference(line: np.ndarray) -> list[Leader]:
    """The specification of `find`, whose first look is compiled."""
    ink = np.add.reduce((line[::2] < INK).view(np.uint8), axis=0, dtype=np.uint8)  # [X]
    left, right = runs(ink > SPECK)
    found: list[Leader] = []
    end = 0  # of the last run
    for i in _even(left, right):
        first = left[i : i + LEAST].tolist()
        width = int((right[i : i + LEAST] - left[i : i + LEAST]).max())
        if (
            first[0] < end
            or first[-1] + width > line.shape[1]
            or not _are_marks(line, first, width)
        ):
            continue
        places = _extended(line, first, width, end)
        pitch = (places[-1] - places[0]) / (len(places) - 1)
        start, end = _edges(line, places[0], places[-1] + width)
        found.append(Leader(start, end, "<" * len(places), round(SPACE * pitch)))
    return found


def _even(left: np.ndarray, right: np.ndarray) -> list[int]:  # [runs] each
    """The first of each LEAST stretches of ink of one width and pitch that may be marks."""
    if len(left) < LEAST:
        return []
    step = left[1:] - left[:-1]
    level = np.maximum(PIXELS, LEVEL * step)  # [runs - 1]
    even = np.abs(step[1:] - step[:-1]) <= level[1:]  # [runs - 2]
    even = even[1:] & even[:-1]  # [runs - 3]
    if not even.any():
        return []
    width = right - left
    alike = (np.abs(width[1:] - width[:-1]) <= level) & (width[1:] >= WIDE[0] * HIGH)
    return np.flatnonzero(even & alike[2:] & alike[1:-1] & alike[:-2]).tolist()


def _are_marks(line: np.ndarray, places: list[int], width: int) -> bool:
    """Whether what begins in some columns of a line is like each other and a `<`."""
    usual = _usual(line, places, width)
    return _is_chevron(usual < INK) and all(
        _likeness(line[:, place : place + width], usual) >= ALIKE for place in places
    )


def _is_chevron(mark: np.ndarray) -> bool:  # bool [Y, w]
    """Whether a mark is a `<`: one tip in the middle of its left side, two straight arms."""
    rows, columns = np.flatnonzero(mark.any(axis=1)), np.flatnonzero(mark.any(axis=0))
    if len(rows) == 0:
        return False
    mark = mark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = mark.shape
    if height < HIGH or not WIDE[0] * height <= width <= WIDE[1] * height:
        return False
    if mark[round(0.4 * height) : round(0.6 * height), width * 2 // 3 :].any():
        return False
    inked = mark.any(axis=0)
    upper = np.where(inked, mark.argmax(axis=0), height // 2)  # [w]
    lower = np.where(inked, mark[::-1].argmax(axis=0), height // 2)  # [w], from below
    reach = height - upper - lower  # [w]
    fifth = max(1, width // 5)
    return bool(
        np.abs(upper - lower).mean() <= 0.1 * height + 1
        and reach[:fifth].mean() <= TIP * height
        and reach[2 * fifth] <= HALF * height
        and reach[-fifth:].max() >= ARMS * height
        and (np.diff(reach) >= -2).mean() >= 0.9
    )


def _extended(line: np.ndarray, seeds: list[int], width: int, first: int) -> list[int]:
    """The first columns of all marks of a run, from those of its seeds: at their pitch, as long as
    what stands there looks like the marks before it. None lies left of the column `first`."""
    places = list(seeds)
    while more := _next(line, places[-LEAST:], width, first):
        places += more
    while more := _next(line, places[LEAST - 1 :: -1], width, first):
        places = more[::-1] + places
    return places


def _next(line: np.ndarray, last: list[int], width: int, first: int) -> list[int]:
    """Where the mark behind the `last` ones in their direction stands, and the one behind a worn
    one; empty where none does."""
    usual = _usual(line, last, width)
    pitch = (last[-1] - last[0]) / (len(last) - 1)
    place, likeness = _most_alike(line, last[-1] + pitch, usual, abs(pitch), first)
    if likeness >= ALIKE:
        return [place]
    beyond, sure = _most_alike(line, place + pitch, usual, abs(pitch), first)
    return [place, beyond] if likeness >= WORN and sure >= ALIKE else []


def _most_alike(
    line: np.ndarray, around: float, usual: np.ndarray, pitch: float, first: int
) -> tuple[int, float]:
    """The column near `around` where a line looks most like a mark [Y, w], and how much."""
    reach = max(PIXELS, round(LEVEL * pitch))
    best, most = 0, -1.0
    for left in range(round(around) - reach, round(around) + reach + 1):
        if first <= left <= line.shape[1] - usual.shape[1]:
            part = line[:, left : left + usual.shape[1]]
            # a line may not be quite level
            likeness = max(_likeness(np.roll(part, down, axis=0), usual) for down in (-1, 0, 1))
            if likeness > most:
                best, most = left, likeness
    return best, most


def _edges(line: np.ndarray, left: int, right: int) -> tuple[int, int]:
    """The columns of a run with what is left of its outer marks' ink."""
    inked = line.min(axis=0) < INK  # [X]
    for _ in range(PIXELS):
        left -= int(left > 0 and inked[left - 1])
        right += int(right < len(inked) and inked[right])
    return left, right


def _usual(line: np.ndarray, places: list[int], width: int) -> np.ndarray:
    """The mean picture of marks that begin in some columns: float [Y, w]."""
    return np.mean([line[:, place : place + width] for place in places], axis=0)


def _likeness(mark: np.ndarray, usual: np.ndarray) -> float:
    """The correlation of two pictures [Y, w] in [-1, 1]."""
    a, b = mark - mark.mean(), usual - usual.mean()
    return float((a * b).sum() / max(1.0, float(np.linalg.norm(a) * np.linalg.norm(b))))
