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


GIVEN_BACK = 32 * 2**20  # bytes of pages after which free memory goes back
_taken = 0


def give_back(taken: int) -> None:
    """Returns the heap's free pages, which glibc otherwise keeps and scatters what comes next over,
    once GIVEN_BACK bytes were taken in all: it costs some milliseconds, as much as a part of a
    page's reading. Does nothing where the C library is another one."""
    global _taken
    _taken += taken  # of several threads one may be lost: the next ones make up for it
    trim = _trim()
    if _taken >= GIVEN_BACK and trim is not None:
        _taken = 0
        trim(0)
