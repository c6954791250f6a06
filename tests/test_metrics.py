"""Scores against brute force and by hand."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from khmer_fast.errors import KhmerFastError
from khmer_fast.evaluation.metrics import align, compare, confusions, line_edits, score, summarise
from khmer_fast.text import canonical, clusters

khmer = st.text(st.sampled_from("កខគតនប្រាិុំះ៍ ១២a។"), max_size=12)
pairs = st.lists(st.tuples(khmer, khmer), min_size=1, max_size=8)


def distance(a, b):
    """Levenshtein distance by the textbook table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


@given(pairs)
def test_counts_equal_brute_force(lines):
    references, predictions = (list(side) for side in zip(*lines, strict=True))
    scores = score(references, predictions, resamples=20)
    texts = [(canonical(a), canonical(b)) for a, b in lines]
    characters = sum(len(a) for a, _ in texts)
    edits = sum(distance(a, b) for a, b in texts)
    assert scores.substitutions + scores.deletions + scores.insertions == edits
    assert scores.insertions - scores.deletions == sum(len(b) - len(a) for a, b in texts)
    assert scores.characters == characters
    assert scores.lines == len(lines)
    assert scores.exact_lines == sum(a == b for a, b in texts) / len(texts)
    if not characters:
        assert scores.cer is scores.interval is scores.cluster_error_rate is None
        return
    assert scores.cer == pytest.approx(edits / characters)
    bare = [(a.replace(" ", ""), b.replace(" ", "")) for a, b in texts]
    cluster_pairs = [(clusters(a), clusters(b)) for a, b in bare]
    assert scores.cluster_error_rate == pytest.approx(
        sum(distance(a, b) for a, b in cluster_pairs) / sum(len(a) for a, _ in cluster_pairs)
    )
    assert scores.cer_without_spaces == pytest.approx(
        sum(distance(a, b) for a, b in bare) / sum(len(a) for a, _ in bare)
    )
    json.dumps(scores.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("reference", "prediction", "counts"),  # characters, substitutions, deletions, insertions
    [
        ("", "", (0, 0, 0, 0)),
        ("", "កខ", (0, 0, 0, 2)),
        ("កខគ", "", (3, 0, 3, 0)),
        ("ក", "ខកខកខ", (1, 0, 0, 4)),
        ("កខគ", "កឃគ", (3, 1, 0, 0)),
        ("ក\u200bា", "កា", (2, 0, 0, 0)),
        ("កេី", "កើ", (2, 0, 0, 0)),
    ],
)
def test_counts_by_hand(reference, prediction, counts):
    scores = score([reference], [prediction], resamples=10)
    found = (scores.characters, scores.substitutions, scores.deletions, scores.insertions)
    assert found == counts
    line = line_edits(canonical(reference), canonical(prediction))
    assert (line.characters, line.substitutions, line.deletions, line.insertions) == counts


def test_an_empty_reference_adds_to_the_edits_only():
    scores = score(["", "កខគឃ"], ["ងច", "កខគឃ"])
    assert (scores.cer, scores.characters, scores.insertions) == (0.5, 4, 2)
    assert scores.exact_lines == 0.5


def test_the_rate_can_pass_one():
    assert score(["ក"], ["ខគឃ"]).cer == 3.0


@pytest.mark.parametrize(("references", "predictions"), [([], []), (["a"], []), ([], ["a"])])
def test_bad_sets_are_errors(references, predictions):
    with pytest.raises(KhmerFastError):
        score(references, predictions)


def random_lines(count, seed):
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        reference = "".join(rng.choices("កខគឃង", k=rng.randint(1, 30)))
        noise = rng.choice([0.0, 0.05, 0.4])
        prediction = "".join("ច" if rng.random() < noise else c for c in reference)
        lines.append((reference, prediction))
    return lines


def test_interval_agrees_with_a_brute_force_bootstrap():
    lines = random_lines(60, seed=1)
    scores = score(*zip(*lines, strict=True), resamples=4000)
    counts = [(Levenshtein.distance(a, b), len(a)) for a, b in lines]
    rng = random.Random(2)
    rates = []
    for _ in range(4000):
        drawn = rng.choices(counts, k=len(counts))
        rates.append(sum(edits for edits, _ in drawn) / sum(size for _, size in drawn))
    low, high = np.quantile(rates, (0.025, 0.975))
    width = high - low
    assert scores.interval[0] == pytest.approx(low, abs=0.06 * width)
    assert scores.interval[1] == pytest.approx(high, abs=0.06 * width)
    assert scores.interval[0] < scores.cer < scores.interval[1]


def test_intervals_are_reproducible_and_differ_by_seed():
    edits = [line_edits(*pair) for pair in random_lines(40, seed=3)]
    assert summarise(edits) == summarise(edits)
    assert summarise(edits, seed=1).interval != summarise(edits).interval


def test_comparison_is_paired():
    lines = random_lines(80, seed=4)
    edits = [line_edits(*pair) for pair in lines]
    # One more error on every third line: the unpaired intervals overlap, the paired one is clear.
    worse = [line_edits(a, b + "ឆ" * (i % 3 == 0)) for i, (a, b) in enumerate(lines)]
    found = compare(worse, edits)
    assert found.verdict == "b" and found.b_better == 1.0
    assert found.difference < 0 and found.interval[0] <= found.difference <= found.interval[1]
    assert summarise(worse).interval[0] < summarise(edits).interval[1]
    assert compare(edits, worse).verdict == "a"
    same = compare(edits, edits)
    assert (same.verdict, same.difference, same.b_better) == ("undecided", 0.0, 0.5)
    json.dumps(same.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("a", "b"), [([], []), ([("ក", "ក")], [("កខ", "ក")]), ([("", "ក")], [("", "")])]
)
def test_what_cannot_be_compared_is_an_error(a, b):
    with pytest.raises(KhmerFastError):
        compare([line_edits(*pair) for pair in a], [line_edits(*pair) for pair in b])


def test_confusions():
    references, predictions = ["ស្ត្រី", "កា", ""], ["ស្ត្រី", "ក", "ខ"]
    assert confusions(references, predictions) == {("ា", ""): 1, ("", "ខ"): 1}
    assert confusions(["ក្រុម"], ["ក្រម"], by_cluster=True) == {("ក្រុ", "ក្រ"): 1}


@given(khmer, khmer)
def test_alignment_gives_both_texts_back(reference, prediction):
    aligned = align(reference, prediction)
    assert "".join(a for _, a, _ in aligned) == reference
    assert "".join(b for _, _, b in aligned) == prediction
    edits = sum(tag != "equal" for tag, _, _ in aligned)
    assert edits == distance(clusters(reference), clusters(prediction))
