"""Pictures of lines, opened: `files.images.load_grey`, with a shorter way for plain PNG files."""

from __future__ import annotations

import os
import stat
from typing import Any

import numpy as np

from khmer_fast.errors import printable
from khmer_fast.files.images import load_grey

MAX_BYTES = 2**23  # of a file that is read at once


def open_grey(source: Any, name: str | None = None) -> np.ndarray:
    """A picture's grey values, uint8 [Y', X'], from what `load_grey` takes, and as it gives them.

    A PNG of 8 bits, grey or RGB, with nothing else in it is opened by csrc/cpu/png.cpp, in about a
    third of Pillow's time. Raises ImageError, which says `name` (by default the path).
    """
    data = source if isinstance(source, bytes) else _content(source)
    if data is None:
        return load_grey(source, name)
    from khmer_fast.ops import read_png  # the compiled module only where it is needed

    grey = read_png(data)
    if grey is not None:
        return grey
    if name is None and data is not source:
        name = printable(os.fspath(source))
    return load_grey(data, name)


def _content(source: Any) -> bytes | None:
    """The bytes of a file; None for what is no regular file, large, or cannot be read."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        status = os.stat(source)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return None
        with open(source, "rb", buffering=0) as file:
            return file.read()
    except (OSError, ValueError):  # load_grey says what is wrong
        return None
