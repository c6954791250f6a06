"""No dependency may be of a version with a known hole."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from scripts.check_dependencies import complaints, requirements


def test_what_is_required_has_no_known_hole():
    found = requirements()
    assert {r.name for r in found["setup.py"]} >= {"pillow", "numpy", "safetensors", "tqdm"}
    assert complaints(found) == []


@pytest.mark.parametrize(
    ("allowed", "count"),
    [
        ("pillow>=13.0", 0), ("pillow==13.0.0", 0), ("Pillow>=12.3", 4), ("pillow", 9),
        ("tqdm>4.66.2", 1), ("fonttools~=4.60.1", 1), ("numpy>=1.20,<3", 3), ("leftpad>=1", 1),
    ],
)  # fmt: skip
def test_old_versions_are_named(allowed, count):
    said = complaints({"setup.py": [Requirement(allowed)]})
    assert len(said) == count, said
    name = Requirement(allowed).name.lower()
    assert all(name in text.lower() for text in said)
