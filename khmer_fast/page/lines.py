"""A line that was found on a page, before it is read."""

from __future__ import annotations

from dataclasses import dataclass

from khmer_fast.document import Box, Point


@dataclass(frozen=True)
class FoundLine:
    """Where a line stands; lengths are pixels of the upright page."""

    box: Box  # of the line's ink
    baseline: tuple[Point, ...]  # left to right, at least two points
    polygon: tuple[Point, ...]  # round the line's ink, clockwise
    letter_height: float  # of a plain consonant without marks
