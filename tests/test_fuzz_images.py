"""A short run of the fuzzer of images, and that it can find something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import images
from tests.fuzz.mutate import mutated

ROOT = Path(__file__).resolve().parents[1]


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


@pytest.mark.parametrize(
    "harm, said", [("[][0]", "IndexError"), ('len(b"x" * (2_000 << 20))', "MiB")]
)
def test_the_fuzzer_sees_exceptions_and_feasts(harm, said):
    """In a process of its own: this one may have had its feast before."""
    code = (
        f"from tests.fuzz import images\nimages.run_case = lambda data: {harm}\n"
        "print(*images.fuzz(seed=1, cases=range(1)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("(0,") and said in done.stdout
