"""The lines a run trains on: rendered, read from folders and TSV files, or a mixture of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from khmer_fast.data.dataset import StoredSource
from khmer_fast.errors import ImageError, KhmerFastError
from khmer_fast.evaluation.labels import LabelError, Problem
from khmer_fast.text import Vocabulary, describe_character
from khmer_fast.train.history import counted
from khmer_fast.train.options import DataPart
from python_ref.config import ModelConfig

RENDERED_LINES = 10_000  # an epoch of rendered lines
SHOWN = 5  # bad lines that are named, of each kind


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
        part = min(int(np.searchsorted(self.share, draw, "right")), len(self.parts) - 1)
        return self.parts[part].sample(seed, index)


@dataclass
class BadLines:
    """Lines that cannot be used, by what is wrong with them."""

    unreadable: list[Problem] = field(default_factory=list)  # rows, and images missing or damaged
    unknown: list[Problem] = field(default_factory=list)  # characters outside the charset
    too_long: list[Problem] = field(default_factory=list)
    characters: Counter[str] = field(default_factory=Counter)  # those outside of the charset
    example: dict[str, str] = field(default_factory=dict)  # character: where it is first

    def all(self) -> list[Problem]:
        return [*self.unreadable, *self.unknown, *self.too_long]

    def __str__(self) -> str:
        parts = []
        if self.unreadable:
            parts.append(_listed("bad rows or images missing or damaged", self.unreadable))
        if self.characters:
            rows = [
                f"  {describe_character(c)}: {n} times, first in {self.example[c]}"
                for c, n in self.characters.most_common()
            ]
            head = f"{len(self.unknown)} with characters outside the charset:"
            parts.append("\n".join([head, *rows]))
        if self.too_long:
            parts.append(_listed("labels longer than their images can hold", self.too_long))
        return "\n".join(parts)


@dataclass
class Data:
    """What a run trains on and what it measures on."""

    train: list[Any]
    weights: list[float]
    measure: list[Any]
    measure_weights: list[float]
    bad: BadLines

    def mixture(self) -> Mixture:
        return Mixture(self.train, self.weights)

    def stored(self) -> list[StoredSource]:
        return [part for part in (*self.train, *self.measure) if isinstance(part, StoredSource)]

    def lines(self) -> int:
        """Lines of an epoch when none are asked for."""
        stored = [len(part) for part in self.train if isinstance(part, StoredSource)]
        return sum(stored) or RENDERED_LINES

    def measured(self, count: int) -> Iterator[tuple[Any, int]]:
        """(source, index) of `count` validation lines, fewer where fewer are stored."""
        whole = sum(self.measure_weights)
        for part, weight in zip(self.measure, self.measure_weights, strict=True):
            share = max(1, round(count * weight / whole))
            if isinstance(part, StoredSource):
                share = min(share, len(part))
            for index in range(share):
                yield part, index

    def new_characters(self, charset: str) -> str:
        """Characters of stored labels that the charset lacks, by code point."""
        known = Vocabulary(charset)
        texts = (text for part in self.stored() for _, text in part.labels())
        return "".join(sorted({c for text in texts for c in known.unknown(text)}))

    def digest(self) -> str:
        """sha256 of the stored labels in their order; rendered lines have none."""
        digest = hashlib.sha256()
        for part in self.stored():
            for _, text in part.labels():
                digest.update(text.encode() + b"\n")
        return digest.hexdigest()

    def check(self, vocabulary: Vocabulary, config: ModelConfig, skip_bad: bool) -> None:
        """Finds the stored lines that cannot be trained on or measured with.

        They are left out with `skip_bad`; else DataError lists them.
        """
        useless = []
        for part in self.stored():
            wrong = set()
            for number, (where, text) in enumerate(part.labels()):
                if self._unknown(where, text, vocabulary) or self._unfit(
                    part, number, where, text, config
                ):
                    wrong.add(number)
            if len(wrong) == len(part):
                useless.append(part)
            else:
                part.leave_out(wrong)
        bad = self.bad.all()
        if bad and not skip_bad:
            raise DataError(f"{counted(len(bad), 'line')} cannot be used:\n{self.bad}\n{_REMEDY}")
        for part in useless:
            if part in self.measure:
                what = "none of its lines to measure on can be used; give others with --validation"
            else:
                what = "none of its lines can be used; leave it out of --data"
            raise DataError(f"{part.path}: {what}\n{self.bad}")

    def _unknown(self, where: str, text: str, vocabulary: Vocabulary) -> bool:
        unknown = vocabulary.unknown(text)
        for character in set(unknown):
            self.bad.characters[character] += text.count(character)
            self.bad.example.setdefault(character, where)
        if unknown:
            shown = ", ".join(map(describe_character, sorted(set(unknown))))
            self.bad.unknown.append(Problem(where, f"outside the charset: {shown}"))
        return bool(unknown)

    def _unfit(
        self, part: StoredSource, number: int, where: str, text: str, config: ModelConfig
    ) -> bool:
        """Whether the image is damaged, or has fewer encoder positions than the label characters.

        The header tells both but for what trimming takes away, so that only labels near the limit
        need their image.
        """
        from khmer_fast.recognize.line_image import prepare_line

        try:
            width, height = part.size(number)
            if 2 * len(text) <= config.positions(max(1, width * config.height // height)):
                return False
            line = prepare_line(part.grey(number), config.height)
        except ImageError as error:
            self.bad.unreadable.append(Problem(where, str(error).removeprefix(f"{where}: ")))
            return True
        positions = config.positions(line.shape[1])
        if len(text) <= positions:
            return False
        reason = f"{len(text)} characters, but the image has {positions} encoder positions"
        self.bad.too_long.append(Problem(where, reason))
        return True


_REMEDY = (
    "correct these lines, or leave them out with --skip-bad; for characters outside the charset "
    "there is also --new-characters extend"
)


def open_data(data: Sequence[DataPart], validation: Sequence[DataPart]) -> Data:
    """The sources of a run; stored lines that cannot be read are in `bad`.

    Without `validation`, every 20th stored line measures and rendered lines come under other seeds.
    Raises DataError where there is nothing to train on, and LabelError, DatasetError or
    KhmerFastError for a set that as a whole cannot be read.
    """
    if not data:
        raise DataError(
            "expected something to train on, got no --data; give folders, TSV files or `rendered`"
        )
    bad = BadLines()
    opened = Data([], [part.weight for part in data], [], [], bad)
    for part in data:
        if _is_rendered(part):
            opened.train.append(_rendered(part))
            held_out: Any = _Reseeded(opened.train[-1])
        else:
            held = None if validation else False
            opened.train.append(_stored(part, held, bad.unreadable.append))
            held_out = None if validation else _stored(part, True, _ignore)
        if not validation:
            opened.measure.append(held_out)
            opened.measure_weights.append(part.weight)
    for part in validation:
        source = _Reseeded(_rendered(part)) if _is_rendered(part) else None
        opened.measure.append(source or _stored(part, None, bad.unreadable.append))
        opened.measure_weights.append(part.weight)
    return opened


def _stored(
    part: DataPart, held_out: bool | None, on_problem: Callable[[Problem], None]
) -> StoredSource:
    try:
        return StoredSource(part.source, held_out, on_problem)
    except LabelError as error:  # no line of the set is usable
        bad = BadLines(unreadable=error.problems)
        raise DataError(f"{part.source}: none of its lines can be used\n{bad}") from None


def _ignore(problem: Problem) -> None:
    """The same problem was noted when the set was opened to train on."""


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


def _listed(what: str, problems: Sequence[Problem]) -> str:
    shown = [f"  {problem}" for problem in problems[:SHOWN]]
    if len(problems) > len(shown):
        shown.append(f"  and {len(problems) - len(shown)} more")
    return "\n".join([f"{len(problems)} {what}:", *shown])
