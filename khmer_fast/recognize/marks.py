"""What is said of a line beside its text."""

from __future__ import annotations

from dataclasses import replace

from khmer_fast.document import Line


def marked(line: Line, min_confidence: float | None) -> Line:
    """The line, flagged where it is under the confidence that was asked for."""
    if min_confidence is None or line.confidence >= min_confidence:
        return line
    return replace(line, flags=(*line.flags, "low confidence"))
