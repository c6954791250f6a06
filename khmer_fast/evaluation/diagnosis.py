"""Where the errors of an evaluation are: by group, by confidence, and which text was invented."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from khmer_fast.evaluation.labels import Label
from khmer_fast.evaluation.metrics import LineEdits, Scores, align, summarise
from khmer_fast.text import clusters

BINS = 10  # of the reliability curve
CHANCE_DRAWS = 100
SET_ASIDE = 0.1  # share of the lines that a reader of the confidences would check by hand
MAX_GROUPS = 40  # a column with more values names lines, not groups of them
TABLE_RESAMPLES = 400
LENGTHS = (0, 1, 11, 21, 41, 61, 81, 101)  # lower ends, in reference characters
HEIGHTS = (1, 20, 32, 48, 64, 96)  # lower ends, in pixels of the image

_repetition = re.compile(r"(.{1,24}?)\1{3,}", re.DOTALL)
LOOP = 8  # characters of repetition beyond the reference's own that count as a loop


@dataclass(frozen=True)
class LineResult:
    """One evaluated line: canonical reference and prediction, and what the reader said of it."""

    label: Label
    reference: str
    prediction: str
    edits: LineEdits
    confidence: float | None = None
    characters: tuple[tuple[str, float], ...] | None = None  # clusters and their probabilities
    truncated: bool = False
    height: int | None = None  # of its ink, in pixels


@dataclass(frozen=True)
class Table:
    """Scores of groups of lines: one (group, scores) row for each."""

    by: str
    rows: tuple[tuple[str, Scores], ...]


@dataclass(frozen=True)
class Reliability:
    """How far confidences are probabilities: bins of [0, 1], and the expected calibration error.

    `error_by_chance` is what that error would be on average if each confidence were exactly the
    probability of being right: with few lines it is far from 0.
    """

    bins: tuple[tuple[float, float, int], ...]  # mean confidence, share right, count; none empty
    expected_calibration_error: float
    error_by_chance: float
    count: int


@dataclass(frozen=True)
class Calibration:
    """Calibration of line and cluster confidences, and what setting lines aside by them gains."""

    lines: Reliability  # right: the whole line is exact
    clusters: Reliability | None  # right: the cluster stands in the reference
    set_aside: int  # lines: the least sure SET_ASIDE of all
    share_of_errors_set_aside: float | None
    cer_of_the_rest: float | None
    curve: tuple[tuple[float, float], ...]  # share of the lines kept, CER of those


@dataclass(frozen=True)
class Hallucination:
    """Text that stands on no paper."""

    blank_lines: int
    blank_lines_with_text: int
    characters_on_blank_lines: int
    insertions: int
    insertions_per_1000: float | None  # reference characters
    loops: tuple[LineResult, ...]  # lines that repeat what the reference does not
    truncated: tuple[LineResult, ...]  # lines that ran into the step limit


def tables(results: Sequence[LineResult]) -> list[Table]:
    """Tables by length, by height where it is known, and by each column that names groups."""
    found = [_table("length", results, lambda r: _range(r.edits.characters, LENGTHS))]
    if any(result.height for result in results):
        found.append(_table("height", results, lambda r: _range(r.height, HEIGHTS)))
    columns = dict.fromkeys(name for result in results for name in result.label.columns)
    for name in columns:
        values = {result.label.columns.get(name, "") for result in results}
        if len(values) <= max(8, min(MAX_GROUPS, len(results) // 2)):
            found.append(_table(name, results, _column(name)))
    return found


def _column(name: str) -> Callable[[LineResult], tuple[int, str]]:
    return lambda result: (0, result.label.columns.get(name, "") or "(none)")


def _table(
    by: str, results: Sequence[LineResult], group: Callable[[LineResult], tuple[int, str]]
) -> Table:
    groups: dict[tuple[int, str], list[LineEdits]] = defaultdict(list)
    for result in results:
        groups[group(result)].append(result.edits)
    return Table(
        by,
        tuple(
            (name, summarise(edits, TABLE_RESAMPLES)) for (_, name), edits in sorted(groups.items())
        ),
    )


def _range(value: int | None, lower_ends: tuple[int, ...]) -> tuple[int, str]:
    """The place and name of the range that a value lies in."""
    if value is None:
        return -1, "unknown"
    low = max(end for end in lower_ends if end <= value)
    high = next((end - 1 for end in lower_ends if end > value), None)
    if high is None:
        return low, f"{low} and more"
    return low, str(low) if low == high else f"{low} to {high}"


def calibrate(results: Sequence[LineResult]) -> Calibration | None:
    """How good the confidences are; None if no line has one."""
    sure = [result for result in results if result.confidence is not None]
    if not sure:
        return None
    confidences = [result.confidence for result in sure if result.confidence is not None]
    lines = reliability(confidences, [result.edits.exact for result in sure])
    by_cluster = [pair for result in sure for pair in _judged_clusters(result)]
    edits, characters = (
        np.array([getattr(result.edits, name) for result in sure], dtype=np.int64)
        for name in ("edits", "characters")
    )  # [lines]
    surest_last = np.argsort(confidences, kind="stable")
    kept_edits = edits[surest_last][::-1].cumsum()  # [lines], of the surest 1, 2, … lines
    kept_characters = characters[surest_last][::-1].cumsum()
    aside = int(np.ceil(SET_ASIDE * len(sure)))
    rest = len(sure) - aside
    total = int(edits.sum())
    places = np.unique(np.linspace(1, len(sure), min(100, len(sure))).round().astype(int))
    return Calibration(
        lines=lines,
        clusters=reliability(*zip(*by_cluster, strict=True)) if by_cluster else None,
        set_aside=aside,
        share_of_errors_set_aside=(
            1 - (float(kept_edits[rest - 1]) if rest else 0.0) / total if total else None
        ),
        cer_of_the_rest=(
            float(kept_edits[rest - 1] / kept_characters[rest - 1])
            if rest and kept_characters[rest - 1]
            else None
        ),
        curve=tuple(
            (float(n / len(sure)), float(kept_edits[n - 1] / kept_characters[n - 1]))
            for n in places
            if kept_characters[n - 1]
        ),
    )


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> Reliability:
    """Bins of equal width over [0, 1]; the calibration error is the mean gap weighted by count."""
    confidence = np.asarray(confidences, dtype=np.float64)  # [n]
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)  # [BINS]
    expected = np.bincount(bins, confidence, BINS)
    found = np.bincount(bins, np.asarray(right, dtype=np.float64), BINS)
    rng = np.random.default_rng(0)
    chance = [
        np.abs(expected - np.bincount(bins, rng.random(len(bins)) < confidence, BINS)).sum()
        for _ in range(CHANCE_DRAWS)
    ]
    used = np.flatnonzero(count)
    rows = zip(
        (expected[used] / count[used]).tolist(),
        (found[used] / count[used]).tolist(),
        count[used].tolist(),
        strict=True,
    )
    return Reliability(
        bins=tuple(rows),
        expected_calibration_error=float(np.abs(expected - found).sum() / len(bins)),
        error_by_chance=float(np.mean(chance) / len(bins)),
        count=len(bins),
    )


def _judged_clusters(result: LineResult) -> list[tuple[float, bool]]:
    """(probability, whether the reference has it there) of the prediction's clusters."""
    predicted = clusters(result.prediction)
    given = result.characters
    if given is None or [text for text, _ in given] != predicted:
        return []
    if result.edits.exact:
        return [(probability, True) for _, probability in given]
    right = [
        tag == "equal" for tag, _, cluster in align(result.reference, result.prediction) if cluster
    ]
    return [(probability, ok) for (_, probability), ok in zip(given, right, strict=True)]


def hallucination(results: Sequence[LineResult]) -> Hallucination:
    """Text on blank lines, insertions, repeated loops, and lines that never ended."""
    blank = [result for result in results if not result.reference]
    insertions = sum(result.edits.insertions for result in results)
    characters = sum(result.edits.characters for result in results)
    return Hallucination(
        blank_lines=len(blank),
        blank_lines_with_text=sum(bool(result.prediction) for result in blank),
        characters_on_blank_lines=sum(len(result.prediction) for result in blank),
        insertions=insertions,
        insertions_per_1000=1000 * insertions / characters if characters else None,
        loops=tuple(
            result
            for result in results
            if result.edits.edits >= LOOP
            and repetition(result.prediction) - repetition(result.reference) >= LOOP
        ),
        truncated=tuple(result for result in results if result.truncated),
    )


def repetition(text: str) -> int:
    """Characters of the longest stretch that repeats one unit at least four times; 0 if none."""
    return max((len(match.group()) for match in _repetition.finditer(text)), default=0)


def tables_as_json(found: Sequence[Table]) -> dict[str, list[dict[str, Any]]]:
    """Each table as a list of rows: the group and its scores."""
    return {
        table.by: [{"group": group, **scores.as_json()} for group, scores in table.rows]
        for table in found
    }


def calibration_as_json(found: Calibration | None) -> dict[str, Any] | None:
    """The calibration as JSON can hold it."""
    if found is None:
        return None
    return {
        "lines": _reliability_as_json(found.lines),
        "clusters": _reliability_as_json(found.clusters) if found.clusters else None,
        "set_aside": found.set_aside,
        "share_of_errors_set_aside": found.share_of_errors_set_aside,
        "cer_of_the_rest": found.cer_of_the_rest,
    }


def _reliability_as_json(found: Reliability) -> dict[str, Any]:
    return {
        "expected_calibration_error": found.expected_calibration_error,
        "error_by_chance": found.error_by_chance,
        "count": found.count,
        "bins": [
            {"confidence": confidence, "right": right, "count": count}
            for confidence, right, count in found.bins
        ],
    }


def hallucination_as_json(found: Hallucination) -> dict[str, Any]:
    """The figures as JSON can hold them, lines by their image."""
    return {
        "blank_lines": found.blank_lines,
        "blank_lines_with_text": found.blank_lines_with_text,
        "characters_on_blank_lines": found.characters_on_blank_lines,
        "insertions": found.insertions,
        "insertions_per_1000": found.insertions_per_1000,
        "loops": [result.label.name for result in found.loops],
        "truncated": [result.label.name for result in found.truncated],
    }
