"""Questions with their answers in two columns below them: short ones stand in the left one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from khmer_fast.page.places import Place
from khmer_fast.page.white import bands_of

_OUT = 0.45  # letter heights that a question begins left of its answers
_EDGE = 0.7  # letter heights between where answers begin
_ANSWERS = 3  # rows of answers to a question, at most


def questions_and_answers(
    columns: Sequence[Sequence[Place]],
) -> list[tuple[list[Place], list[Place]]]:
    """Questions, each a line or some, and what is answered below them, from top to bottom; none
    where columns are something else. Answers begin at one x, right of where all questions begin;
    those above the first question answer one that is wider than its column."""
    if len(columns) < 2:
        return []
    first = {place.index for place in columns[0]}
    bands, _ = bands_of([place for column in columns for place in column])
    asked = [all(place.index in first for place in band) for band in bands]
    if not any(asked) or asked[-1]:
        return []
    rows = [min(band, key=lambda place: place.left) for band in bands]  # where each begins
    questions = [place for place, q in zip(rows, asked, strict=True) if q]
    answers = [place for place, q in zip(rows, asked, strict=True) if not q]
    letter = statistics.median(place.letter for place in answers)
    edge = statistics.median(place.left for place in answers)
    if any(abs(place.left - edge) > _EDGE * letter for place in answers):
        return []
    if any(place.left > edge - _OUT * letter for place in questions):
        return []
    pairs: list[tuple[list[Place], list[Place]]] = []
    for k, band in enumerate(bands):
        if not pairs or asked[k] and pairs[-1][1]:
            pairs.append(([], []))
        pairs[-1][0 if asked[k] else 1].extend(band)
    most = max(len(bands_of(answers)[0]) for _, answers in pairs)
    return pairs if most <= _ANSWERS else []
