"""A short run of the fuzzer of logs, labels, weights and run folders; it finds what is planted."""

from __future__ import annotations

import time

import pytest

from khmer_fast.errors import KhmerFastError
from tests.fuzz import readers
from tests.fuzz.structured import STRUCTURED, odd

CASES = 150  # of each target; scripts/fuzz.sh runs a minute of each


@pytest.mark.parametrize("target", readers.TARGETS)
def test_a_short_run_finds_nothing(target):
    found = list(readers.fuzz(target, seed=20261126, cases=CASES, guided=False))
    assert not found, found[0].what


@pytest.mark.parametrize("target", readers.TARGETS)
def test_inputs_are_a_pure_function_and_not_all_the_same(target):
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        planted = dict(readers.TARGETS)
        try:
            readers.TARGETS[target] = lambda data, folder: seen.append(data)
            assert not list(readers.fuzz(target, seed, cases=60, guided=False))
        finally:
            readers.TARGETS.update(planted)
        return seen

    first = inputs(1)
    assert first[: len(readers.seeds(target))] == readers.seeds(target)
    assert first == inputs(1) != inputs(2)
    assert len(set(first)) > 50


def plant(monkeypatch, mistake) -> list[readers.Finding]:
    monkeypatch.setitem(readers.TARGETS, "labels", mistake)
    return list(readers.fuzz("labels", seed=1, cases=30, guided=False))


def test_mistakes_that_are_planted_are_found(monkeypatch):
    def traceback(data, folder):
        {}["missing"]

    def error(data, folder):
        readers._answers(lambda: (_ for _ in ()).throw(KhmerFastError("said")))

    assert all("KeyError" in found.what for found in plant(monkeypatch, traceback))
    assert len(plant(monkeypatch, traceback)) > 30
    assert plant(monkeypatch, error) == []


def test_what_hangs_or_grows_is_found(monkeypatch):
    monkeypatch.setattr(readers, "SECONDS", 1)
    monkeypatch.setitem(readers.TARGETS, "labels", lambda data, folder: time.sleep(60))
    what, _ = readers.run_one("labels", b"x")
    assert "TooSlow" in what
    monkeypatch.setattr(readers, "MEMORY_MIB", -1)
    monkeypatch.setitem(readers.TARGETS, "labels", lambda data, folder: None)
    assert "MiB" in readers.run_one("labels", b"x")[0]


def test_coverage_guides():
    """A line that is reached for the first time counts once."""
    coverage = readers.Coverage()
    first = readers.run_one("labels", b"image\ttext\n", coverage)[1]
    again = readers.run_one("labels", b"image\ttext\n", coverage)[1]
    other = readers.run_one("labels", b"image\ttext\nb\tc\td\n", coverage)[1]
    assert first > 20 and again == 0 and other > 0


@pytest.mark.parametrize("target", STRUCTURED)
def test_odd_documents_are_odd_and_repeatable(target):
    import random

    made = [STRUCTURED[target](random.Random(seed)) for seed in range(40)]
    assert len(set(made)) > 20
    assert made[:9] == [STRUCTURED[target](random.Random(seed)) for seed in range(9)]
    value = {"a": [1, {"b": 2}]}
    odd(value, random.Random(1))
    assert value == {"a": [1, {"b": 2}]}  # what it was given stays
