"""Labelled lines, read or taken over, and their scores."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from khmer_fast.errors import KhmerFastError, printable
from khmer_fast.evaluation.diagnosis import (
    Calibration,
    Hallucination,
    LineResult,
    Table,
    calibrate,
    calibration_as_json,
    hallucination,
    hallucination_as_json,
    tables,
    tables_as_json,
)
from khmer_fast.evaluation.labels import Label, Problem
from khmer_fast.evaluation.metrics import (
    Comparison,
    Scores,
    compare,
    confusions,
    line_edits,
    summarise,
)
from khmer_fast.evaluation.predictions import Prediction
from khmer_fast.text import DEFAULT_CHARSET, canonical, shorten_leaders


class LineReader(Protocol):
    """What evaluation needs of a reader (khmer_fast.Reader is one)."""

    def read_many(self, images: Iterable[Any], on_error: str) -> Iterator[Any]:
        """A Line, or the error in its place, for each image in turn."""


@dataclass(frozen=True)
class Evaluation:
    """A scored data set: what was read, how well, how fast, and what could not be used."""

    data: str
    reader: dict[str, Any]  # what read the lines, for the record
    results: tuple[LineResult, ...]
    problems: tuple[Problem, ...]  # lines left out
    scores: Scores
    tables: tuple[Table, ...]
    calibration: Calibration | None
    hallucination: Hallucination
    unknown: dict[str, int]  # characters of the references outside the vocabulary
    seconds: float | None = None  # from opening the first image to the last text
    load_seconds: float | None = None

    @property
    def lines_per_second(self) -> float | None:
        """Lines read a second, loading not counted; None where nothing was timed."""
        return len(self.results) / self.seconds if self.seconds else None

    def worst(self, most: int) -> list[LineResult]:
        """The lines with the most edits, most first; lines without any are none of them."""
        wrong = [result for result in self.results if result.edits.edits]
        return sorted(wrong, key=lambda r: (-r.edits.edits, r.edits.characters))[:most]

    def confusions(self, most: int, by_cluster: bool) -> list[tuple[str, str, int]]:
        """The most frequent edits: (reference, prediction, times); an empty string is nothing."""
        found = confusions(
            [result.reference for result in self.results],
            [result.prediction for result in self.results],
            by_cluster,
        )
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [(reference, prediction, times) for (reference, prediction), times in ordered]

    def as_json(self, confusion_count: int = 0, worst_count: int = 0) -> dict[str, Any]:
        """The evaluation under the key names of docs/spec.md (5), and what goes beyond."""
        document: dict[str, Any] = {
            **self.scores.as_json(),
            "seconds": self.seconds,
            "lines_per_second": self.lines_per_second,
            "load_seconds": self.load_seconds,
            "data": printable(self.data),
            "reader": {name: _valid(value) for name, value in self.reader.items()},
            "skipped": [
                {"where": printable(problem.where), "error": printable(problem.reason)}
                for problem in self.problems
            ],
            "unknown_characters": self.unknown,
            "tables": tables_as_json(self.tables),
            "calibration": calibration_as_json(self.calibration),
            "hallucination": hallucination_as_json(self.hallucination),
        }
        if confusion_count:
            document["confusions"] = {
                unit: [
                    {"reference": reference, "prediction": prediction, "count": times}
                    for reference, prediction, times in self.confusions(confusion_count, clusters)
                ]
                for unit, clusters in (("characters", False), ("clusters", True))
            }
        if worst_count:
            document["worst"] = [_result_as_json(result) for result in self.worst(worst_count)]
        document["results"] = [_result_as_json(result) for result in self.results]
        return document


def evaluate(
    data: str,
    labels: Sequence[Label],
    predictions: Sequence[Prediction | Problem],
    problems: Sequence[Problem] = (),
    charset: str = DEFAULT_CHARSET,
    heights: Sequence[int | None] | None = None,
    **facts: Any,
) -> Evaluation:
    """Score one prediction for each label; labels whose prediction is a Problem are left out.

    `heights` are those of the ink in pixels; `facts` are further fields of the Evaluation.
    Raises KhmerFastError if no line is left.
    """
    left_out = list(problems)
    results = []
    for i, (label, prediction) in enumerate(zip(labels, predictions, strict=True)):
        if isinstance(prediction, Problem):
            left_out.append(prediction)
            continue
        reference = shorten_leaders(canonical(label.text))
        text = shorten_leaders(canonical(prediction.text))
        results.append(
            LineResult(
                label=label,
                reference=reference,
                prediction=text,
                edits=line_edits(reference, text),
                confidence=prediction.confidence,
                characters=prediction.characters,
                truncated=prediction.truncated,
                height=heights[i] if heights else None,
            )
        )
    if not results:
        raise KhmerFastError(f"{printable(data)}: no line could be scored; {len(left_out)} are bad")
    known = set(charset)
    unknown = Counter(c for result in results for c in result.reference if c not in known)
    return Evaluation(
        data=data,
        results=tuple(results),
        problems=tuple(left_out),
        scores=summarise([result.edits for result in results]),
        tables=tuple(tables(results)),
        calibration=calibrate(results),
        hallucination=hallucination(results),
        unknown=dict(unknown.most_common()),
        **{"reader": {}, **facts},
    )


def read_lines(
    reader: LineReader, labels: Sequence[Label], progress: bool = False
) -> tuple[list[Prediction | Problem], list[int | None], float]:
    """Read each label's image: predictions, heights of the ink in pixels, and seconds it took."""
    from tqdm import tqdm

    predictions: list[Prediction | Problem] = []
    heights: list[int | None] = []
    start = time.perf_counter()
    lines = reader.read_many((label.image for label in labels), on_error="return")
    bar = tqdm(lines, total=len(labels), unit="line", disable=not progress, leave=False)
    for label, line in zip(labels, bar, strict=True):
        if isinstance(line, Exception):
            predictions.append(Problem(label.where, str(line)))
            heights.append(None)
            continue
        characters = tuple((part.text, part.confidence) for part in line.characters)
        predictions.append(
            Prediction(label.name, line.text, line.confidence, characters, line.truncated)
        )
        heights.append(None)
    seconds = time.perf_counter() - start
    for i, (label, found) in enumerate(zip(labels, predictions, strict=True)):
        if isinstance(found, Prediction):
            heights[i] = _picture_height(label.image)
    return predictions, heights, seconds


def _picture_height(path: Path) -> int | None:
    """Pixels of an image that was read, from its header."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.height
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def compare_files(path_a: str, path_b: str) -> Comparison:
    """Compare two answers of `evaluate --json` on the same lines by paired bootstrap.

    Raises KhmerFastError if a file is no such answer, or the lines are not the same.
    """
    lines_a, lines_b = _scored_lines(path_a), _scored_lines(path_b)
    if lines_a.keys() != lines_b.keys():
        only = [len(lines_a.keys() - lines_b.keys()), len(lines_b.keys() - lines_a.keys())]
        raise KhmerFastError(
            f"expected the same lines in both files, got {only[0]} only in {path_a} and {only[1]} "
            f"only in {path_b}: evaluate both on one data set"
        )
    return compare(
        [line_edits(reference, lines_a[image, reference]) for image, reference in lines_a],
        [line_edits(reference, lines_b[image, reference]) for image, reference in lines_a],
    )


def _scored_lines(path: str) -> dict[tuple[str, str], str]:
    """The predictions of an `evaluate --json` answer, by image and reference."""
    try:
        document = json.loads(Path(path).read_bytes())
        return {
            (line["image"], canonical(line["reference"])): canonical(line["prediction"])
            for line in document["results"]
        }
    except OSError as error:
        raise KhmerFastError(f"{printable(path)}: cannot be opened: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise KhmerFastError(
            f"{printable(path)}: expected the answer of khmer-fast evaluate --json "
            f"({printable(repr(error), 200)})"
        ) from error


def _valid(value: Any) -> Any:
    """A value for JSON: names of files may hold what is no Unicode."""
    return printable(value) if isinstance(value, str) else value


def _result_as_json(result: LineResult) -> dict[str, Any]:
    return {
        "image": printable(result.label.name),
        "reference": result.reference,
        "prediction": result.prediction,
        "edits": result.edits.edits,
        "confidence": result.confidence,
        "truncated": result.truncated,
    }
