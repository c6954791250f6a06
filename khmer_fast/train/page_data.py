"""The pages a run trains on: rendered anew, or stored by `khmer-fast render --pages --owners`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from khmer_fast.data.page_files import OWNER_SUFFIX, read_page
from khmer_fast.data.pages import PageSample, PageSource
from khmer_fast.train.options import DataPart
from khmer_fast.train.sources import DataError, Mixture

HELD_OUT = 20  # every 20th stored page measures, where no validation set is given
MEASURE_SEED = 1_000_003  # added to the seed of rendered pages that measure
RENDERED_PAGES = 2_000  # of an epoch of rendered pages
LONG_SIDE = 1280  # of rendered pages that measure, px


@dataclass(frozen=True)
class PageData:
    """What a run trains on and what it measures on."""

    train: Mixture
    measure: list[tuple[Any, int, float]]  # source, pages it has, weight
    pages: int  # of an epoch when no number is asked for
    digest: str  # of the stored pages' names

    def measured(self, seed: int, count: int) -> list[PageSample]:
        """`count` pages to measure on, fewer where fewer are stored."""
        whole = sum(weight for _, _, weight in self.measure)
        pages = []
        for source, most, weight in self.measure:
            share = min(max(1, round(count * weight / whole)), most)
            pages += [source.sample(seed, index) for index in range(share)]
        return pages


class StoredPages:
    """Stored pages as a source: `sample(seed, index)` is page `index` of an endless sequence, each
    pass over the folder in an order of its own.

    `held_out` takes every 20th page only (True), all others (False), or all (None). Raises
    DataError for a folder without rendered pages and their owners.
    """

    def __init__(self, folder: str | Path, held_out: bool | None = None):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(
                f"{folder}: expected a folder of `khmer-fast render --pages --owners`, found none"
            )
        names = sorted(
            path.name.removesuffix(OWNER_SUFFIX)
            for path in self.folder.iterdir()
            if path.name.endswith(OWNER_SUFFIX)
        )
        if not names:
            raise DataError(
                f"{folder}: expected rendered pages with their owners, found none; render them "
                "with `khmer-fast render --pages N --owners --out FOLDER`"
            )
        if held_out is not None and len(names) > 1:
            held = set(names[::HELD_OUT])
            names = [name for name in names if (name in held) == held_out]
        self.names = names
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def sample(self, seed: int, index: int) -> PageSample:
        """Page `index` (>= 0) in the order that `seed` (>= 0) gives."""
        epoch, at = divmod(index, len(self.names))
        if self._order is None or self._order[0] != (seed, epoch):
            order = np.random.default_rng((seed, epoch)).permutation(len(self.names))
            self._order = ((seed, epoch), order)
        return read_page(self.folder / f"{self.names[self._order[1][at]]}.json")


@dataclass(frozen=True)
class _Unseen:
    """Rendered pages in fonts and layouts that training never sees, under other seeds."""

    source: PageSource

    def sample(self, seed: int, index: int) -> PageSample:
        return self.source.sample(seed + MEASURE_SEED, index)


def open_pages(data: Sequence[DataPart], validation: Sequence[DataPart]) -> PageData:
    """The sources of a run on pages.

    Without `validation`, every 20th stored page measures, and rendered pages in unseen fonts and
    layouts. Raises DataError where there is nothing to train on, and KhmerFastError for a source
    that cannot be used.
    """
    if not data:
        raise DataError(
            "expected something to train on, got no --data; give `rendered` or folders of "
            "`khmer-fast render --pages --owners`"
        )
    train: list[Any] = []
    measure: list[tuple[Any, int, float]] = []
    for part in data:
        if _is_rendered(part):
            train.append(PageSource(_mixture(part)))
        else:
            train.append(StoredPages(part.source, None if validation else False))
        if not validation:
            measure.append(_measured(part, True))
    measure += [_measured(part, None) for part in validation]
    stored = [s for s in (*train, *(s for s, _, _ in measure)) if isinstance(s, StoredPages)]
    names = "\n".join(name for source in stored for name in source.names)
    pages = sum(len(source.names) for source in train if isinstance(source, StoredPages))
    return PageData(
        Mixture(train, [part.weight for part in data]),
        measure,
        pages or RENDERED_PAGES,
        hashlib.sha256(names.encode()).hexdigest(),
    )


def _measured(part: DataPart, held_out: bool | None) -> tuple[Any, int, float]:
    if _is_rendered(part):
        unseen = PageSource(_mixture(part), held_out=True, long_side=LONG_SIDE)
        return _Unseen(unseen), RENDERED_PAGES, part.weight
    source = StoredPages(part.source, held_out)
    return source, len(source.names), part.weight


def _is_rendered(part: DataPart) -> bool:
    return part.source == "rendered" or part.source.startswith("rendered:")


def _mixture(part: DataPart) -> str | None:
    return part.source.partition(":")[2] or None
