"""A page of a file, and which pages of a file are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from khmer_fast.document import Note, Page
from khmer_fast.errors import FileError
from khmer_fast.files.text_layer import TextLayer

MAX_PAGES = 1_000_000
_NO_GREY = np.zeros((0, 0), np.uint8)


@dataclass(frozen=True, eq=False)
class FilePage:
    """One page as its file shows it, or the reason why it cannot be shown."""

    number: int  # from 1, in its file
    grey: np.ndarray = field(default_factory=lambda: _NO_GREY)  # uint8 [Y, X]; [0, 0] with an error
    dpi: float | None = None
    # From pixels of `grey` to the file's: (a, b, c, d, e, f), x' = a x + c y + e,
    # y' = b x + d y + f. Of an image they are its stored pixels, of a PDF points (y up).
    transform: tuple[float, float, float, float, float, float] = (1, 0, 0, 1, 0, 0)
    notes: tuple[Note, ...] = ()
    text_layer: TextLayer | None = None  # of a PDF's page that has text; boxes in points
    error: str | None = None

    def unread(self) -> Page:
        """The document's page of which only the file is known, with its error if it has one."""
        height, width = self.grey.shape
        return Page(
            self.number,
            width,
            height,
            dpi=self.dpi,
            notes=self.notes,
            transform=self.transform,
            error=self.error,
        )


@dataclass(frozen=True)
class PageRanges:
    """Which pages of a file: ranges of numbers from 1, both ends included, in ascending order."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> PageRanges:
        """Of `1-3,7,12-` (12 and all after it). Raises FileError for anything else."""
        ranges = []
        for part in text.split(","):
            first, dash, last = (piece.strip() for piece in part.partition("-"))
            numbers = [first, last] if dash and last else [first]
            if not all(n.isascii() and n.isdigit() and len(n) <= 7 for n in numbers):
                raise FileError(f"expected pages such as 1-3,7 or 5-, got {text!r:.60}")
            end = int(last) if last else MAX_PAGES if dash else int(first)
            if not 1 <= int(first) <= end:
                raise FileError(f"expected pages from 1 on, in ascending order, got {part!r:.60}")
            ranges.append((int(first), end))
        return cls(tuple(sorted(ranges)))

    def __contains__(self, number: object) -> bool:
        return any(first <= number <= last for first, last in self.ranges)  # type: ignore[operator]

    @property
    def last(self) -> int:
        """The last page that is asked for."""
        return max(last for _, last in self.ranges)

    def __str__(self) -> str:
        return ",".join(
            f"{first}" if first == last else f"{first}-{'' if last == MAX_PAGES else last}"
            for first, last in self.ranges
        )


ALL_PAGES = PageRanges(((1, MAX_PAGES),))
