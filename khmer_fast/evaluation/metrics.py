"""Scores of predicted lines against references: error rates, their intervals, confusions.

All over canonical text (docs/spec.md, section 4). Micro rates: edits of all lines over reference
characters of all lines; a space is a character but no cluster. An empty reference counts its
prediction's characters as insertions and adds none to the denominator; where no line has a
reference character, the rate is None, not 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from khmer_fast.errors import KhmerFastError
from khmer_fast.text import canonical, clusters

RESAMPLES = 1000
_DRAWN_TOGETHER = 100_000  # lines of several resamples: more is no faster
_LEVEL = (0.025, 0.975)


@dataclass(frozen=True)
class LineEdits:
    """What one line adds to the counts; the edits turn the reference into the prediction."""

    characters: int  # of the reference
    substitutions: int
    deletions: int
    insertions: int
    clusters: int  # of the reference, spaces left out
    cluster_edits: int
    characters_without_spaces: int
    edits_without_spaces: int
    exact: bool

    @property
    def edits(self) -> int:
        """Substitutions, deletions and insertions together: the Levenshtein distance."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class Scores:
    """Scores of a set of lines; rates are fractions, each with its 95 % bootstrap interval.

    A rate is None where there is nothing to divide by: no reference character in the whole set.
    """

    lines: int
    characters: int
    substitutions: int
    deletions: int
    insertions: int
    clusters: int
    cluster_edits: int
    cer: float | None
    cluster_error_rate: float | None
    exact_lines: float | None
    cer_without_spaces: float | None
    interval: tuple[float, float] | None
    cluster_error_rate_interval: tuple[float, float] | None
    exact_lines_interval: tuple[float, float] | None
    cer_without_spaces_interval: tuple[float, float] | None

    def as_json(self) -> dict[str, Any]:
        """The scores under the key names of docs/spec.md, section 5, as JSON can hold them."""
        return {
            "cer": self.cer,
            "interval": _as_list(self.interval),
            "substitutions": self.substitutions,
            "deletions": self.deletions,
            "insertions": self.insertions,
            "characters": self.characters,
            "cluster_error_rate": self.cluster_error_rate,
            "cluster_error_rate_interval": _as_list(self.cluster_error_rate_interval),
            "cluster_edits": self.cluster_edits,
            "clusters": self.clusters,
            "exact_lines": self.exact_lines,
            "exact_lines_interval": _as_list(self.exact_lines_interval),
            "cer_without_spaces": self.cer_without_spaces,
            "cer_without_spaces_interval": _as_list(self.cer_without_spaces_interval),
            "lines": self.lines,
        }


@dataclass(frozen=True)
class Comparison:
    """Paired bootstrap of the character error rates of two readings of the same lines."""

    lines: int
    cer_a: float
    cer_b: float
    difference: float  # cer_b - cer_a: below 0, B is better
    interval: tuple[float, float]
    b_better: float  # share of the resamples in which B has the lower rate; ties count half

    @property
    def verdict(self) -> str:
        """ "a" or "b" is better at the 95 % level, or "undecided"."""
        low, high = self.interval
        return "b" if high < 0 else "a" if low > 0 else "undecided"

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON can hold it."""
        return {
            "lines": self.lines,
            "cer_a": self.cer_a,
            "cer_b": self.cer_b,
            "difference": self.difference,
            "interval": list(self.interval),
            "b_better": self.b_better,
            "verdict": self.verdict,
        }


def line_edits(reference: str, prediction: str) -> LineEdits:
    """Count the edits of one line; both texts are canonical already."""
    if reference == prediction:
        size = len(reference)
        return LineEdits(
            characters=size,
            substitutions=0,
            deletions=0,
            insertions=0,
            clusters=len(clusters(reference.replace(" ", ""))),
            cluster_edits=0,
            characters_without_spaces=size - reference.count(" "),
            edits_without_spaces=0,
            exact=True,
        )
    tags = Counter(edit.tag for edit in Levenshtein.editops(reference, prediction))
    bare, bare_prediction = reference.replace(" ", ""), prediction.replace(" ", "")
    bare_clusters = clusters(bare)
    return LineEdits(
        characters=len(reference),
        substitutions=tags["replace"],
        deletions=tags["delete"],
        insertions=tags["insert"],
        clusters=len(bare_clusters),
        cluster_edits=Levenshtein.distance(bare_clusters, clusters(bare_prediction)),
        characters_without_spaces=len(bare),
        edits_without_spaces=Levenshtein.distance(bare, bare_prediction),
        exact=False,
    )


def score(
    references: Sequence[str],
    predictions: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score predictions against references, line by line, over canonical text.

    Raises KhmerFastError for an empty set and for lists of different lengths.
    """
    _check_pairs(references, predictions)
    pairs = zip(map(canonical, references), map(canonical, predictions), strict=True)
    return summarise([line_edits(*pair) for pair in pairs], resamples, seed)


def summarise(edits: Sequence[LineEdits], resamples: int = RESAMPLES, seed: int = 0) -> Scores:
    """The scores of lines whose edits are counted; the interval resamples lines.

    Raises KhmerFastError for an empty set.
    """
    if not edits:
        raise KhmerFastError("expected at least one line to score, got none: check the data set")
    counts = np.array(
        [
            (
                line.edits,
                line.characters,
                line.cluster_edits,
                line.clusters,
                line.exact,
                1,
                line.edits_without_spaces,
                line.characters_without_spaces,
            )
            for line in edits
        ],
        dtype=np.float64,
    )  # [lines, 8]: four pairs of numerator and denominator
    rates = _rates(counts.sum(axis=0)[None])[0]
    resampled = _rates(_resampled_sums(counts, resamples, seed))  # [resamples, 4]
    cer, cluster_error_rate, exact_lines, cer_without_spaces = (
        None if np.isnan(rate) else float(rate) for rate in rates
    )
    intervals = [_interval(column) for column in resampled.T]
    return Scores(
        lines=len(edits),
        characters=sum(line.characters for line in edits),
        substitutions=sum(line.substitutions for line in edits),
        deletions=sum(line.deletions for line in edits),
        insertions=sum(line.insertions for line in edits),
        clusters=sum(line.clusters for line in edits),
        cluster_edits=sum(line.cluster_edits for line in edits),
        cer=cer,
        cluster_error_rate=cluster_error_rate,
        exact_lines=exact_lines,
        cer_without_spaces=cer_without_spaces,
        interval=intervals[0],
        cluster_error_rate_interval=intervals[1],
        exact_lines_interval=intervals[2],
        cer_without_spaces_interval=intervals[3],
    )


def compare(
    edits_a: Sequence[LineEdits],
    edits_b: Sequence[LineEdits],
    resamples: int = 10 * RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two readings of the same lines, in the same order, by paired bootstrap.

    Raises KhmerFastError if the lines are not the same, or have no reference character.
    """
    characters = [line.characters for line in edits_a]
    if not characters or characters != [line.characters for line in edits_b]:
        raise KhmerFastError(
            f"expected two readings of the same lines, got {len(edits_a)} and {len(edits_b)} lines"
            " that differ in their references: evaluate both on one data set"
        )
    if not any(characters):
        raise KhmerFastError("expected references with text to compare on, got blank lines only")
    counts = np.array(
        [(a.edits, b.edits, a.characters) for a, b in zip(edits_a, edits_b, strict=True)],
        dtype=np.float64,
    )  # [lines, 3]
    cer_a, cer_b = (float(rate) for rate in counts[:, :2].sum(axis=0) / counts[:, 2].sum())
    sums = _resampled_sums(counts, resamples, seed)  # [resamples, 3]
    sums = sums[sums[:, 2] > 0]
    gap = sums[:, 1] - sums[:, 0]
    low, high = np.quantile(gap / sums[:, 2], _LEVEL)
    return Comparison(
        lines=len(counts),
        cer_a=cer_a,
        cer_b=cer_b,
        difference=cer_b - cer_a,
        interval=(float(low), float(high)),
        b_better=float(np.mean(gap < 0) + np.mean(gap == 0) / 2),
    )


def confusions(
    references: Sequence[str], predictions: Sequence[str], by_cluster: bool = False
) -> Counter[tuple[str, str]]:
    """How often each (reference, prediction) pair of characters or clusters was an edit.

    The texts are canonical already. An empty string stands for nothing: ("ា", "") is a deletion,
    ("", "ា") an insertion.
    """
    _check_pairs(references, predictions)
    split = clusters if by_cluster else list
    found: Counter[tuple[str, str]] = Counter()
    for reference, prediction in zip(references, predictions, strict=True):
        if reference == prediction:
            continue
        a, b = split(reference), split(prediction)
        for edit in Levenshtein.editops(a, b):
            gone = "" if edit.tag == "insert" else a[edit.src_pos]
            come = "" if edit.tag == "delete" else b[edit.dest_pos]
            found[gone, come] += 1
    return found


def align(reference: str, prediction: str) -> list[tuple[str, str, str]]:
    """The clusters of two canonical texts side by side: (tag, reference, prediction).

    Tags are "equal", "replace", "delete" and "insert"; the missing side is an empty string.
    """
    a, b = clusters(reference), clusters(prediction)
    aligned = []
    for stretch in Levenshtein.opcodes(a, b):
        ours = a[stretch.src_start : stretch.src_end]
        theirs = b[stretch.dest_start : stretch.dest_end]
        aligned += [(stretch.tag, *pair) for pair in zip_longest(ours, theirs, fillvalue="")]
    return aligned


def _check_pairs(references: Sequence[str], predictions: Sequence[str]) -> None:
    if len(references) != len(predictions):
        raise KhmerFastError(
            f"expected one prediction for each of the {len(references)} references, "
            f"got {len(predictions)}"
        )


def _resampled_sums(counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums of the rows of counts [lines, n] over lines drawn with replacement: [resamples, n]."""
    lines = len(counts)
    rng = np.random.default_rng(seed)
    sums = np.empty((resamples, counts.shape[1]))
    most = max(1, _DRAWN_TOGETHER // lines)
    for first in range(0, resamples, most):
        n = min(most, resamples - first)
        drawn = rng.integers(lines, size=(n, lines))
        drawn += lines * np.arange(n)[:, None]
        times = np.bincount(drawn.ravel(), minlength=n * lines).reshape(n, lines)
        sums[first : first + n] = times @ counts
    return sums


def _rates(sums: np.ndarray) -> np.ndarray:
    """Numerator over denominator of each pair of columns, [n, 2m] to [n, m]; NaN over zero."""
    numerator, denominator = sums[:, 0::2], sums[:, 1::2]
    rates = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=rates, where=denominator > 0)
    return rates


def _interval(rates: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of resampled rates [resamples], leaving out those that are NaN."""
    rates = rates[~np.isnan(rates)]
    if not rates.size:
        return None
    low, high = np.quantile(rates, _LEVEL)
    return float(low), float(high)


def _as_list(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
