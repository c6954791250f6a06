"""Development data, which is not in the repository: tests that need it skip without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def development_data(*parts: str) -> Path:
    """A path under KHMER_FAST_DATA; skips the test where that is not set or lacks it."""
    folder = os.environ.get("KHMER_FAST_DATA")
    if not folder:
        pytest.skip("KHMER_FAST_DATA is not set: no development data here")
    path = Path(folder, *parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} in KHMER_FAST_DATA")
    return path
