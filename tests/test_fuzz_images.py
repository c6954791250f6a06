"""A short run of the fuzzer of images, and that it can find something."""

from __future__ import annotations

import pytest

from tests.fuzz import images
from tests.fuzz.mutate import mutated


def test_what_once_went_wrong_is_one_error():
    for path in sorted(images.CORPUS.glob("*")):
        images.run_case(path.read_bytes())


def test_a_short_run_finds_nothing():
    assert list(images.fuzz(seed=20261126, cases=range(400))) == []


def test_seeds_are_read_and_cases_are_a_pure_function():
    files = images.seeds()
    for data in files[:25]:
        images.load_grey(data)
    assert mutated(files, 1, 7) == mutated(images.seeds(), 1, 7)
    assert len({mutated(files, 1, i) for i in range(50)}) > 45


@pytest.mark.parametrize("harm", [lambda data: [][0], lambda data: bytearray(2_000 << 20).clear()])
def test_the_fuzzer_sees_exceptions_and_feasts(harm, monkeypatch):
    monkeypatch.setattr(images, "run_case", harm)
    (index, what), *_ = images.fuzz(seed=1, cases=range(1))
    assert index == 0 and ("IndexError" in what or "MiB" in what)
