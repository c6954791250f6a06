"""Lines on several papers: a marker's colour behind some words, a cell that is white on black.

Where the paper changes at once along a line, each stretch is brought to dark ink on white apart.
"""

from __future__ import annotations

import numpy as np

from khmer_fast.recognize import two_inks

BLOCK = 4  # columns that are looked at together
ROWS = 16  # rows that are looked at
STEP = 18  # grey levels between two papers
EVEN = 8  # grey levels that a paper varies within NEAR blocks of a step
NEAR = 5
SHORT = 0.5  # of the height: a stretch of paper is wider
WHOLE = 0.7  # of the rows that change at a step: ink alone does not fill a column
LEAST_PAPER = 0.3  # of a stretch's pixels
NARROW = 6  # columns of a marked stretch, at least, or an eighth of the height
MOST = 12  # steps in a line: more is no marker
UNSTEADY = 0.1  # of a marked stretch's columns may be lighter or darker than its paper
SEAM = 3  # columns on either side of a step that belong to both papers


def even(grey: np.ndarray) -> np.ndarray:
    """A line on one paper: uint8 [Y, X] both, the same if it was."""
    Y, X = grey.shape
    if Y < ROWS or X < 8 * BLOCK or not (_varies(grey[:2]) or _varies(grey[-2:])):
        return grey
    steps = _marked(grey)
    if steps:
        return _scaled(grey, steps, lightest=True)
    steps = _reversed(grey)
    ends = list(zip([0, *steps], [*steps, X], strict=True))
    if not steps or min(_share_of_paper(grey[:, i:j]) for i, j in ends) < LEAST_PAPER:
        return grey  # grain
    steady = np.concatenate([two_inks.steady_windows(grey[:, i:j]) for i, j in ends])
    if steady.mean() < two_inks.LEAST_STEADY:
        return grey  # a gradient
    return _scaled(grey, steps, lightest=False)


def _scaled(grey: np.ndarray, steps: list[int], lightest: bool) -> np.ndarray:
    """The stretches between steps, each on white; columns near a step are as light as in either."""
    out = np.zeros_like(grey)
    for left, right in zip([0, *steps], [*steps, grey.shape[1]], strict=True):
        first, last = max(0, left - SEAM), min(grey.shape[1], right + SEAM)
        own = grey[:, left:right]
        paper = round(float(np.median(_lightest(own)))) if lightest else two_inks.paper_of(own)
        view = out[:, first:last]
        np.maximum(view, two_inks.scale(own, paper)[grey[:, first:last]], out=view)
    return out


def _lightest(grey: np.ndarray) -> np.ndarray:  # uint8 [Y, X] -> [X]
    """How light each column is, but for a tenth of its pixels: paper, where ink is dark."""
    row = len(grey) * 9 // 10
    return np.partition(grey, row, axis=0)[row]


def _marked(grey: np.ndarray) -> list[int]:
    """Columns at which a marker's colour begins or ends behind dark ink: each stretch is steady."""
    light = _lightest(grey).astype(np.int16)
    change = np.abs(light[4:] - light[:-4])  # [X - 4], around column + 2
    least = max(NARROW, grey.shape[0] // 8)
    steps: list[int] = []
    while change.max(initial=0) >= STEP and len(steps) < MOST:
        at = int(change.argmax())
        change[max(0, at - least) : at + least + 1] = 0
        steps.append(at + 2)
    steps.sort()
    ends = list(zip([0, *steps], [*steps, len(light)], strict=True))
    if not steps or any(right - left < least for left, right in ends):
        return []
    usual = [float(np.median(light[left:right])) for left, right in ends]
    for paper, (left, right) in zip(usual, ends, strict=True):
        own = light[left + 2 : right - 2]
        if (np.abs(own - paper) > EVEN).mean() > UNSTEADY:
            return []
    if min(abs(x - y) for x, y in zip(usual[:-1], usual[1:], strict=True)) < STEP:
        return []
    return steps


def _share_of_paper(grey: np.ndarray) -> float:
    """The share of a stretch's pixels, uint8 [Y, X], that are about as light as its paper."""
    paper = two_inks.paper_of(grey)
    return float((np.abs(grey.astype(np.int16) - paper) <= two_inks.NEAR).mean())


def _reversed(grey: np.ndarray) -> list[int]:
    """Columns at which another paper begins, whatever side of it the ink is on."""
    Y, X = grey.shape
    count = X // BLOCK
    if count < 2 * NEAR:
        return []
    sample = grey[:: Y // ROWS, : count * BLOCK : 2]
    blocks = sample.reshape(len(sample), count, -1).transpose(1, 0, 2).reshape(count, -1)
    middle = blocks.shape[1] // 2
    paper = np.partition(blocks, middle, axis=1)[:, middle].astype(np.int16)  # [blocks]
    if int(paper.max()) - int(paper.min()) < STEP:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(paper, NEAR)  # [blocks - NEAR + 1, NEAR]
    usual = np.partition(windows, NEAR // 2, axis=1)[:, NEAR // 2]  # NEAR is odd
    rough = np.partition(np.abs(windows - usual[:, None]), NEAR // 2, axis=1)[:, NEAR // 2]
    before, after = usual[: -NEAR - 1], usual[NEAR + 1 :]
    quiet = np.maximum(rough[: -NEAR - 1], rough[NEAR + 1 :]) <= EVEN
    jump = np.where(quiet, np.abs(after - before), 0)
    steps: list[int] = []
    while jump.max(initial=0) >= STEP:
        at = int(jump.argmax())
        jump[max(0, at - NEAR) : at + NEAR + 1] = 0
        column = _edge(grey, BLOCK * (at + NEAR), bool(before[at] < after[at]))
        if column and all(abs(column - other) >= SHORT * Y for other in (0, X, *steps)):
            steps.append(column)
    return _between_papers(grey, sorted(steps))


def _varies(border: np.ndarray) -> bool:  # uint8 [2, X]
    """Whether the border's paper may have a step: most lines are done with here."""
    count = border.shape[1] // (4 * BLOCK)
    lightest = border[:, : 4 * BLOCK * count].max(axis=0).reshape(count, -1).max(axis=1)
    return int(lightest.max()) - int(lightest.min()) >= STEP // 2


def _edge(grey: np.ndarray, column: int, lighter: bool) -> int:
    """The column near `column` at which most rows become lighter (or darker); 0 if none is."""
    first = max(2, column - NEAR * BLOCK)
    part = grey[:, first - 2 : column + NEAR * BLOCK + 2].astype(np.int16)
    if part.shape[1] < 5:
        return 0
    change = part[:, 4:] - part[:, :-4] if lighter else part[:, :-4] - part[:, 4:]
    row = int((1 - WHOLE) * len(change))
    least = np.partition(change, row, axis=0)[row]  # [columns], what WHOLE of the rows change by
    return first + int(least.argmax()) if least.max() >= STEP / 2 else 0


def _between_papers(grey: np.ndarray, steps: list[int]) -> list[int]:
    """The steps that have another paper on either side, at the upper or lower border, too."""
    while steps:
        ends = zip([0, *steps], [*steps, grey.shape[1]], strict=True)
        papers = [two_inks.paper_of(grey[:, left:right]) for left, right in ends]
        ends = zip([0, *steps], [*steps, grey.shape[1]], strict=True)
        borders = [
            (two_inks.paper_of(grey[:2, left:right]), two_inks.paper_of(grey[-2:, left:right]))
            for left, right in ends
        ]
        differ = [
            min(abs(a - b), 2 * max(abs(x - y) for x, y in zip(c, d, strict=True)))
            for a, b, c, d in zip(papers[:-1], papers[1:], borders[:-1], borders[1:], strict=True)
        ]
        if min(differ) >= STEP:
            return steps
        del steps[differ.index(min(differ))]
    return []
