"""Free memory goes back to the system, so that a long document needs no more than a short one."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


@cache
def _trim() -> Any:
    """glibc's malloc_trim; None where the C library has none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def give_back() -> None:
    """Returns the heap's free pages, which glibc otherwise keeps and scatters what comes next over:
    some milliseconds, and nothing where the C library is another one."""
    trim = _trim()
    if trim is not None:
        trim(0)
