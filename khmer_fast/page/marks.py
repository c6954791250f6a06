"""What looks like a line and reads as nothing: strokes of signatures, rims of seals, dashes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from khmer_fast.document import Line, Note

UNSURE = 0.05  # confidence under which a flagged line may be a mark
LOW = 0.45  # of the height of a page's sure lines: no text is that low beside them
SURE = 0.5
DOUBTS = frozenset(("unread ink", "doubtful"))


def are_marks(lines: Sequence[Line]) -> list[bool]:
    """Which lines of a page are marks: much lower than its sure lines, doubted and hardly read.

    A page without sure lines has none: there is nothing to compare with.
    """
    heights = [_height(line) for line in lines if line.text and line.confidence >= SURE]
    if not heights:
        return [False] * len(lines)
    highest = LOW * statistics.median(heights)
    return [
        line.confidence < UNSURE and not DOUBTS.isdisjoint(line.flags) and _height(line) < highest
        for line in lines
    ]


def note_marks(marks: Sequence[Line]) -> tuple[Note, ...]:
    """What a page says about marks that were left out."""
    if not marks:
        return ()
    text = f"{len(marks)} marks that do not read as text were left out"
    return (Note("marks", text, boxes=tuple(line.box for line in marks)),)


def _height(line: Line) -> int:
    return line.box[3] - line.box[1]
