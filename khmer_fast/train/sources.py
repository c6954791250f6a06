"""The lines a run trains on: rendered, read from folders and TSV files, or a mixture of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from khmer_fast.data.dataset import StoredSource
from khmer_fast.errors import KhmerFastError
from khmer_fast.text import Vocabulary, describe_character
from khmer_fast.train.options import DataPart

RENDERED_LINES = 10_000  # an epoch of rendered lines


class DataError(KhmerFastError):
    """Training data that cannot be used."""


class Mixture:
    """Draws from several sources in proportion to their weights."""

    def __init__(self, parts: Sequence[Any], weights: Sequence[float]):
        self.parts = list(parts)
        self.share = np.cumsum(weights) / np.sum(weights)  # [parts]

    def sample(self, seed: int, index: int):
        if len(self.parts) == 1:
            return self.parts[0].sample(seed, index)
        draw = np.random.default_rng((seed, index)).random()
        return self.parts[int(np.searchsorted(self.share, draw, "right"))].sample(seed, index)


def open_sources(data: Sequence[DataPart], validation: Sequence[DataPart]) -> tuple[Any, Any, int]:
    """Training source, validation source, and the lines of an epoch when none are asked for."""
    if not data:
        raise DataError(
            "expected something to train on, got no --data; give folders, TSV files or `rendered`"
        )
    train, measure, stored_lines = [], [], 0
    for part in data:
        if _is_rendered(part):
            train.append(_rendered(part))
            measure.append(_Reseeded(train[-1]))
            continue
        train.append(StoredSource(part.source, None if validation else False))
        stored_lines += len(train[-1])
        if not validation:
            measure.append(StoredSource(part.source, True))
    weights = [part.weight for part in data]
    if not validation:
        return Mixture(train, weights), Mixture(measure, weights), stored_lines or RENDERED_LINES
    measure = [
        _Reseeded(_rendered(part)) if _is_rendered(part) else StoredSource(part.source)
        for part in validation
    ]
    shares = [part.weight for part in validation]
    return Mixture(train, weights), Mixture(measure, shares), stored_lines or RENDERED_LINES


class _Reseeded:
    """The same renderer under seeds that training never draws."""

    OFFSET = 1_000_003

    def __init__(self, source: Any):
        self.source = source

    def sample(self, seed: int, index: int):
        return self.source.sample(seed + self.OFFSET, index)


def _is_rendered(part: DataPart) -> bool:
    return part.source == "rendered" or part.source.startswith("rendered:")


def _rendered(part: DataPart) -> Any:
    from khmer_fast.data import LineSource

    return LineSource(part.source.partition(":")[2] or None)


def stored_labels(source: Mixture) -> Iterator[tuple[str, str]]:
    """(where, canonical text) of every stored line; rendered lines are in the charset by nature."""
    for part in source.parts:
        if isinstance(part, StoredSource):
            yield from part.labels()


def refuse_characters(labels: Iterable[tuple[str, str]], vocabulary: Vocabulary) -> None:
    """Raises DataError that lists each unknown character with its count, a line and the remedy."""
    counts: Counter[str] = Counter()
    example: dict[str, str] = {}
    for where, text in labels:
        for character in vocabulary.unknown(text):
            counts[character] += text.count(character)
            example.setdefault(character, where)
    if not counts:
        return
    rows = [
        f"  {describe_character(c)}: {n} times, first in {example[c]}"
        for c, n in counts.most_common()
    ]
    raise DataError(
        "labels hold characters outside the charset:\n"
        + "\n".join(rows)
        + "\ncorrect the labels, leave the lines out with --skip-bad, or start from weights with "
        "--init-from WEIGHTS --new-characters extend"
    )
