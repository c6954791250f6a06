"""A short run of the fuzzer of files, and that it can find something."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("pikepdf")
pytest.importorskip("pypdfium2")

from tests.fuzz import files  # noqa: E402
from tests.fuzz.mutate import mutated  # noqa: E402


def test_cases_are_a_pure_function():
    seeds = files.seeds()
    assert mutated(seeds, 1, 7) == mutated(files.seeds(), 1, 7)
    assert len({mutated(seeds, 1, i) for i in range(50)}) > 45


def test_a_short_run_finds_nothing():
    assert list(files.fuzz(seed=20261126, cases=range(150))) == []


@pytest.mark.parametrize(
    "harm, said",
    [
        (lambda data: os.abort(), "the process died"),
        (lambda data: [][0], "IndexError"),
    ],
)
def test_the_fuzzer_sees_crashes_and_exceptions(harm, said, monkeypatch):
    """In this process' own child: the harm is planted before it forks."""
    import multiprocessing

    monkeypatch.setattr(files, "run_case", harm)
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(files.multiprocessing, "get_context", lambda _: fork)
    findings = list(files.fuzz(seed=1, cases=range(2)))
    assert [finding.index for finding in findings] == [0, 1]
    assert all(said in finding.what for finding in findings)
