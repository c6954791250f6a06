"""What looks like a line and reads as nothing: strokes of signatures, writing in seals, dashes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from khmer_fast.document import Box, Line, Note

UNSURE = 0.05  # confidence under which a flagged line may be a mark
LOW = 0.45  # of the height of a page's sure lines: no text is that low beside them
SURE = 0.5
INSIDE, ONLY = 0.8, 0.3  # of a line's box within a seal; it stays if it is surer
SEAL, ROUND = 6.0, 1.6  # heights of a sure line that a seal is high, at most; its aspect
DOUBTS = frozenset(("unread ink", "doubtful"))


def are_marks(lines: Sequence[Line]) -> list[bool]:
    """Which lines of a page are marks: much lower than its sure lines, doubted and hardly read.

    A page without sure lines has none: there is nothing to compare with.
    """
    highest = LOW * _usual_height(lines)
    return [
        line.confidence < UNSURE and not DOUBTS.isdisjoint(line.flags) and _height(line) < highest
        for line in lines
    ]


def are_in_seals(lines: Sequence[Line], unread: Sequence[Box]) -> list[bool]:
    """Which lines are read unsurely and stand within a seal or a crest: a piece of ink of no line,
    one of the boxes `unread`, as wide as high and not as large as pictures are.

    A page without sure lines has none.
    """
    most = SEAL * _usual_height(lines)
    seals = [box for box in unread if _is_round(box) and box[3] - box[1] <= most]
    return [
        line.confidence < ONLY and any(_share_inside(line.box, seal) >= INSIDE for seal in seals)
        for line in lines
    ]


def _usual_height(lines: Sequence[Line]) -> float:
    """The height of a page's sure lines, 0 where there are none."""
    heights = [_height(line) for line in lines if line.text and line.confidence >= SURE]
    return statistics.median(heights) if heights else 0.0


def _is_round(box: Box) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    return max(width, height) <= ROUND * min(width, height)


def _share_inside(box: Box, around: Box) -> float:
    """The share of a box that lies within another one."""
    left, top = max(box[0], around[0]), max(box[1], around[1])
    right, bottom = min(box[2], around[2]), min(box[3], around[3])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(right - left, 0) * max(bottom - top, 0) / max(area, 1)


def note_marks(marks: Sequence[Line]) -> tuple[Note, ...]:
    """What a page says about marks that were left out."""
    if not marks:
        return ()
    text = f"{len(marks)} marks that do not read as text were left out"
    return (Note("marks", text, boxes=tuple(line.box for line in marks)),)


def _height(line: Line) -> int:
    return line.box[3] - line.box[1]
