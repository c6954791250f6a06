"""Files to pages: a path, bytes, a PIL image or an array in, grey pages out, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from khmer_fast.files.images import load_grey


@dataclass(frozen=True, eq=False)
class PageImage:
    """One page as it lies in its file."""

    grey: np.ndarray  # [page Y, page X] uint8
    number: int = 1  # from 1
    dpi: float | None = None


def open_pages(source: Any, name: str | None = None) -> Iterator[PageImage]:
    """The pages of a file, as `load_grey` takes it. Raises ImageError where it cannot be opened."""
    yield PageImage(load_grey(source, name))
