"""Dotted leaders, dashes and rules of forms: found in a prepared line, and what they say.

Attention loses its place on a row of equal marks, and what stands beside it is misread. A leader's
text is known from its marks alone, so that it is cut out before the line is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from khmer_fast.recognize import long_lines

INKS = (160, 208)  # grey values below which a pixel is ink: clear marks, then faint ones
LEAST = 6  # marks of a leader
FLAT = 9  # pixels that a mark is high, at most, at 48 px height
BAND = 8  # rows: a mark touches two such bands, at most
ROOM = 24  # pixels of a leader, at least
DASH = 34  # pixels that a dash is wide, at most
GAP = 40  # pixels between the marks of a leader, at most
RULE = 90  # pixels of a mark that is a rule by itself,
LOW_RULE = 60  # and of one on the line, where no dash stands
RAISED = 4  # pixels that a dash stands above the row that letters end at, at least
LEVEL = 3  # pixels that neighbouring marks differ in height and place, at most
TOP = 14  # row that a leader's middle lies below: quotation marks stand higher
EVEN = 0.3  # share that widths and distances of a leader's marks differ from the usual, at most
LONG = 1.6  # times as wide as high: a dash, less is a dot,
LONG_RAISED = 1.02  # and where a mark stands above the line
TOUCHING = 4  # marks that may have grown together to one, at most
WAVES = 0.3  # of its greatest ink, that a rule of marks that touch varies along its way
LONE = 24  # times as long as high: a rule that stands by itself, a shorter one is a dash
WORD = 96  # pixels beside a leader that are looked at for its going on below the words,
WORD_GAP = 16  # and a gap that ends a word there
OPEN = 4  # columns between letters, at least, that say whether it does
BELOW = 2  # rows of white between most letters and what underlines them
SOLID = 0.95  # of a rule's columns
RULE_SPACE = 6  # pixels of a gap beside a rule that is a space: its marks have no white around
UNDERSCORE, LONG_DASH = 14.0, 28.0  # pixels of one of those that do not even vary, about


@dataclass(frozen=True)
class Leader:
    """A run of equal marks: its columns, and its text without spaces."""

    left: int
    right: int
    text: str
    space: int = long_lines.SPACE  # pixels of a gap beside it that is a space


@dataclass(frozen=True)
class _Mark:
    """A flat stretch of ink, in pixels of the line."""

    left: int
    right: int
    top: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def find(line: np.ndarray) -> list[Leader]:
    """The leaders of a line, left to right: uint8 [Y, X], prepared, dark on white."""
    from khmer_fast.ops import may_hold_leader  # the compiled module only where it is needed

    return find_reference(line) if may_hold_leader(np.ascontiguousarray(line)) else []


def find_reference(line: np.ndarray) -> list[Leader]:
    """The specification of `find`, whose first looks are compiled."""
    rows = line.shape[0] // BAND * BAND  # a margin's rows may be left over
    bands = line[:rows].reshape(-1, BAND, line.shape[1])  # [Y / BAND, BAND, X]
    # letters are higher than two bands: where they stand close, there is no room for a leader
    inked = bands[:, ::2].min(axis=1) < INKS[0]  # [Y / BAND, X], every other row
    high = np.flatnonzero(inked.sum(axis=0, dtype=np.uint8) > 2)
    if len(high) and max(high[0], line.shape[1] - high[-1], np.diff(high).max(initial=0)) < ROOM:
        return []
    bands = bands.min(axis=1)  # [Y / BAND, X]
    found: list[Leader] = []
    for ink in INKS:
        if _may_hold_marks(bands < ink):
            rows = _rows(_flat_marks(line < ink))
            more = [leader for row in rows if (leader := _leader(row, line, ink)) is not None]
            found = _merged(found, more)
    return found


def _may_hold_marks(bands: np.ndarray) -> bool:
    """Whether enough is flat, at a glance: bool [bands, X], bands with ink."""
    inked = bands.sum(axis=0, dtype=np.uint8)  # [X]
    thin = inked <= 2
    if np.count_nonzero(thin & (inked > 0)) < LEAST:
        return False
    left, _ = runs(inked > 0)
    if np.count_nonzero(np.logical_and.reduceat(thin, left)) >= LEAST:
        return True
    start, end = runs(thin & (inked > 0))
    return bool((end - start >= LOW_RULE).any())


def _merged(found: list[Leader], more: list[Leader]) -> list[Leader]:
    """Both, left to right; of two that overlap the first, unless the other has clearly more."""
    for leader in more:
        rivals = [x for x in found if x.left < leader.right and leader.left < x.right]
        if 1.15 * sum(len(x.text) for x in rivals) < len(leader.text):
            found = [x for x in found if x not in rivals] + [leader]
    return sorted(found, key=lambda leader: leader.left)


def runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # bool [X] -> [runs] each
    """Where runs of True begin and end (exclusive)."""
    edges = np.zeros(len(mask) + 2, np.bool_)
    edges[1:-1] = mask
    at = np.flatnonzero(edges[1:] != edges[:-1])
    return at[::2], at[1::2]


def _flat_marks(dark: np.ndarray) -> list[_Mark | None]:  # bool [Y, X]
    """The runs of inked columns, left to right, that are low and flat; None for others.

    A rule may touch the letters beside it: its flat columns are a mark of their own.
    """
    rows = dark.shape[0]
    inked = np.asarray(dark.any(axis=0))
    tops = np.where(inked, dark.argmax(axis=0), rows)  # [X]
    bottoms = np.where(inked, rows - dark[::-1].argmax(axis=0), 0)  # [X]
    left, right = runs(inked)
    top, bottom = np.minimum.reduceat(tops, left), np.maximum.reduceat(bottoms, left)  # [runs]
    flat = (bottom - top <= FLAT) & (top + bottom > 2 * TOP)
    marks: list[_Mark | None] = []
    for i, is_flat in enumerate(flat.tolist()):
        if is_flat:
            marks.append(_Mark(int(left[i]), int(right[i]), int(top[i]), int(bottom[i])))
            continue
        marks.append(None)
        if right[i] - left[i] < RULE:
            continue
        part = slice(left[i], right[i])
        thin = (bottoms[part] - tops[part] <= FLAT) & (tops[part] + bottoms[part] > 2 * TOP)
        thin[1:] &= np.abs(np.diff(bottoms[part])) <= 1
        for start, end in zip(*runs(thin), strict=True):
            if end - start >= RULE:
                columns = slice(left[i] + start, left[i] + end)
                mark = _Mark(
                    int(columns.start), int(columns.stop),
                    int(tops[columns].min()), int(bottoms[columns].max()),
                )  # fmt: skip
                marks += [mark, None]
    return marks


def _rows(marks: list[_Mark | None]) -> list[list[_Mark]]:
    """Marks that follow each other and look alike."""
    rows: list[list[_Mark]] = []
    last: _Mark | None = None
    for mark in marks:
        if mark is not None and last is not None and _alike(last, mark):
            rows[-1].append(mark)
        elif mark is not None:
            rows.append([mark])
        last = mark
    return rows


def _alike(a: _Mark, b: _Mark) -> bool:
    return (
        b.left - a.right <= GAP
        and abs(a.height - b.height) <= LEVEL
        and abs(a.bottom - b.bottom) <= LEVEL
        and max(a.width, b.width) <= max(TOUCHING * min(a.width, b.width), 3 + LEVEL)
    )


def _leader(row: list[_Mark], line: np.ndarray, ink: int) -> Leader | None:
    """What a row of marks says; None if they are no leader."""
    left, right = row[0].left, row[-1].right
    if len(row) < LEAST and right - left < LOW_RULE:
        return None
    widths = np.array([mark.width for mark in row])
    usual = float(np.median(widths))
    high = float(np.median([mark.height for mark in row]))
    if len(row) >= LEAST and usual <= DASH and high >= 2 and _level(row):
        starts = np.diff([mark.left for mark in row])
        pitch = float(np.median(starts))
        single = np.abs(widths - usual) <= max(LEVEL, EVEN * usual)
        steps = starts / pitch  # 1, or more after marks that touch
        regular = np.abs(steps - np.rint(steps)) <= max(EVEN, 2.2 / pitch)
        count = len(row) if single.all() else round((right - left - usual) / pitch) + 1
        # at the edge, bits of a neighbouring line look like dots
        cut = row[0].bottom >= _last_row(line, ink)
        if (
            single.mean() >= (0.95 if cut else 0.7)
            and regular.mean() >= (0.9 if cut else 0.65)
            and count >= LEAST
            and _alone(line[:, left:right])
        ):
            mark = _mark(usual, high, row, line, ink)
            return None if _underlines(row, line, ink) else Leader(left, right, mark * count)
    one = widths.max() >= LOW_RULE or (np.abs(widths - usual) <= EVEN * usual).mean() >= 0.7
    if _end_of_letters(row, line, ink) is None and right - left < LONE * high:
        return None
    low = _is_low(row, line, ink, alone=True)
    long = right - left >= (LOW_RULE if low else RULE) and widths.sum() >= 0.6 * (right - left)
    if one and long and not _underlines(row, line, ink):
        wave = _wave(line[:, left:right])
        if wave:
            mark, width = _mark(0.7 * wave, high, row, line, ink), wave
        else:
            mark, width = ("_", UNDERSCORE) if low else ("—", LONG_DASH)
        space = RULE_SPACE if mark == "_" else long_lines.SPACE
        return Leader(left, right, mark * max(1, round((right - left) / width)), space)
    return None


def _underlines(row: list[_Mark], line: np.ndarray, ink: int) -> bool:
    """Whether a row of marks goes on below the letters of a word beside it, and between them."""
    top, bottom = min(mark.top for mark in row), max(mark.bottom for mark in row)
    marks = np.asarray((line[top:bottom] < ink).any(axis=0))  # [X]
    above = np.asarray(line[:top] < ink)
    letters = np.asarray(above.any(axis=0))
    white = above[::-1].argmax(axis=0)  # rows between marks and letters
    left, right = row[0].left, row[-1].right
    share = float(marks[left:right].mean())
    for side in (slice(left - 1, None, -1) if left else slice(0), slice(right, None)):
        at = np.flatnonzero(letters[side])
        at = at[at < WORD + at.min(initial=0)]
        if not len(at):
            continue
        gaps = np.flatnonzero(np.diff(at) > WORD_GAP)
        word = slice(int(at[0]), int(at[gaps[0]] if len(gaps) else at[-1]) + 1)
        lettered, marked = letters[side][word], marks[side][word]
        if np.percentile(white[side][word][lettered], 25) < BELOW:
            continue
        between = marked[~lettered]
        if len(between) >= OPEN and between.mean() >= 0.6 * share:
            return True
        if share > SOLID and marked.mean() > SOLID:
            return True
    return False


def _last_row(line: np.ndarray, ink: int) -> int:
    """The last row with ink, + 1."""
    return int(np.flatnonzero((line < ink).any(axis=1))[-1]) + 1


def _alone(marks: np.ndarray) -> bool:
    """Whether nothing faint stands above or below marks, uint8 [Y, X]: they are no bits of it."""
    faint = np.flatnonzero((marks < INKS[-1]).any(axis=1))
    return int(faint[-1] - faint[0]) < FLAT + LEVEL


def _level(row: list[_Mark]) -> bool:
    bottoms = np.array([mark.bottom for mark in row])
    return bool((np.abs(bottoms - np.median(bottoms)) <= 2).mean() >= 0.9)


def _mark(width: float, height: float, row: list[_Mark], line: np.ndarray, ink: int) -> str:
    """The character of a mark of this width and height."""
    end = _end_of_letters(row, line, ink)
    raised = end is not None and row[0].bottom <= end - RAISED
    if width < (LONG_RAISED if raised else LONG) * height:
        return "."
    return "_" if _is_low(row, line, ink, alone=False) else "-"


def _is_low(row: list[_Mark], line: np.ndarray, ink: int, alone: bool) -> bool:
    """Whether marks lie on or below the row that most columns of the other text end at; `alone` is
    the answer where there is none."""
    end = _end_of_letters(row, line, ink)
    return alone if end is None else row[0].bottom >= end - 1


def _end_of_letters(row: list[_Mark], line: np.ndarray, ink: int) -> float | None:
    """The row that most columns of the text beside marks end at; None where there is none, but for
    more such marks."""
    outside = np.concatenate([line[:, : row[0].left], line[:, row[-1].right :]], axis=1) < ink
    outside = outside[:, outside.any(axis=0)]
    top, bottom = outside.argmax(axis=0), line.shape[0] - outside[::-1].argmax(axis=0)
    letters = (top < row[0].top - LEVEL) | (bottom > row[0].bottom + LEVEL)
    return float(np.median(bottom[letters])) if letters.any() else None


def _wave(rule: np.ndarray) -> float:  # uint8 [Y, X] -> pixels
    """The distance of marks that touch, by how the ink varies along them; 0 where it does not."""
    ink = (255.0 - rule).sum(axis=0)
    low, high = np.percentile(ink, (10, 90))
    if high - low < WAVES * high:
        return 0.0
    power = np.abs(np.fft.rfft(ink - ink.mean()))
    power[: len(ink) // DASH] = 0  # slower than the longest dash
    return len(ink) / int(power.argmax()) if power.argmax() else 0.0
