"""A short run of the fuzzer of the operators' borders, and that it can find something."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import torch

from tests.fuzz import ops


def test_a_short_run_finds_nothing():
    """In a process of its own: a crash is a finding."""
    command = [sys.executable, "-m", "tests.fuzz.ops", "--cases", "400", "--seed", "20261126"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "400 inputs" in done.stdout


def test_mistakes_that_are_planted_are_found():
    def forgets_the_sign(x):  # as a kernel would that takes the pointer of a negated view
        if not isinstance(x, torch.Tensor):
            raise TypeError("x must be a tensor")
        return torch._neg_view(x) if x.is_neg() else x

    def wrong_error(x):
        raise KeyError("x")

    for call in (forgets_the_sign, wrong_error):
        planted = {"planted": (call, {"x": torch.rand(3, 4)})}
        found = 0
        for index in range(200):
            try:
                ops.run_case(1, index, planted)
            except (AssertionError, KeyError):
                found += 1
        assert found > 3


def test_cases_are_a_pure_function():
    x = torch.rand(3, 4)
    assert str(ops.odd(x, random.Random(5))) == str(ops.odd(x, random.Random(5)))
