"""Predictions of any program, from a TSV or JSON file, matched to a data set's labels.

TSV: a header with `image` and `text` (or `prediction`), perhaps `confidence`; JSON: what
`khmer-fast read --json` or `evaluate --json` print, a list of {"image" or "file", "text"}, or one
object {image: text}.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from khmer_fast.errors import KhmerFastError, printable
from khmer_fast.evaluation.labels import Label, Problem, load_labels


@dataclass(frozen=True)
class Prediction:
    """What a program read in one line image, or why it read nothing."""

    image: str
    text: str
    confidence: float | None = None
    characters: tuple[tuple[str, float], ...] | None = None
    truncated: bool = False
    error: str | None = None


def load_predictions(path: str | Path) -> list[Prediction]:
    """Load a file of predictions; raises KhmerFastError naming what it does not understand."""
    path = Path(path)
    try:
        start = path.read_bytes()[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError as error:
        raise KhmerFastError(f"{printable(path)}: cannot be opened: {error.strerror}") from error
    return _load_json(path) if start[:1] in (b"{", b"[") else _load_tsv(path)


def match_predictions(
    labels: Sequence[Label], predictions: Sequence[Prediction]
) -> list[Prediction | Problem]:
    """One prediction for each label, or the problem that it has none or failed.

    Images match by name as the data set has it, by path, or by file name where that is unique.
    """
    by_key: dict[str, Prediction] = {}
    for prediction in predictions:
        for key in (prediction.image, os.path.abspath(prediction.image)):
            if by_key.setdefault(key, prediction) is not prediction:
                named = printable(key, 200)
                raise KhmerFastError(f"expected one prediction an image, got two: {named}")
    unique = _unique_names(labels, predictions)
    matched: list[Prediction | Problem] = []
    for label in labels:
        keys = (label.name, os.path.abspath(label.image), printable(label.name))
        prediction = next((by_key[key] for key in keys if key in by_key), None)
        prediction = prediction or unique.get(label.image.name)
        if prediction is None:
            matched.append(Problem(label.where, f"no prediction for image {label.name}"))
        elif prediction.error is not None:
            matched.append(Problem(label.where, f"prediction failed: {prediction.error}"))
        else:
            matched.append(prediction)
    return matched


def _unique_names(
    labels: Sequence[Label], predictions: Sequence[Prediction]
) -> dict[str, Prediction]:
    """The predictions by file name, but for names that stand for several images."""
    in_labels = Counter(label.image.name for label in labels)
    names = [Path(prediction.image).name for prediction in predictions]
    in_predictions = Counter(names)
    return {
        name: prediction
        for name, prediction in zip(names, predictions, strict=True)
        if in_labels[name] == in_predictions[name] == 1
    }


def _load_tsv(path: Path) -> list[Prediction]:
    predictions = []
    for label in load_labels(path, check_images=False, text_column=("text", "prediction")):
        value = label.columns.get("confidence", "")
        predictions.append(Prediction(label.name, label.text, _confidence(value, label.where)))
    return predictions


def _load_json(path: Path) -> list[Prediction]:
    name = printable(path)
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise KhmerFastError(f"{name}: not JSON: {printable(error, 200)}") from error
    if isinstance(document, dict):
        document = document.get("results", document)
    if isinstance(document, dict):
        document = [{"image": image, "text": text} for image, text in document.items()]
    if not isinstance(document, list):
        kind = type(document).__name__
        raise KhmerFastError(f"{name}: expected a list of predictions, got {kind}")
    if not document:
        raise KhmerFastError(f"{name}: expected at least one prediction, got none")
    return [_from_json(item, f"{name}: item {i}") for i, item in enumerate(document)]


def _from_json(item: Any, where: str) -> Prediction:
    if not isinstance(item, dict):
        raise KhmerFastError(f"{where}: expected an object, got {type(item).__name__}")
    image = item.get("image", item.get("file"))
    if not isinstance(image, str):
        got = printable(", ".join(sorted(item)), 200)
        raise KhmerFastError(f"{where}: expected an image or file, got {got or 'nothing'}")
    if "error" in item:
        return Prediction(image, "", error=str(item["error"]))
    lines = item.get("lines", [item])
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise KhmerFastError(
            f"{where}: expected lines to be a list of objects for {printable(image, 80)}"
        )
    texts = [line.get("text", line.get("prediction")) for line in lines]
    if not all(isinstance(text, str) for text in texts):
        raise KhmerFastError(f"{where}: expected a text or prediction for {printable(image, 80)}")
    if any("\ud800" <= c <= "\udfff" for text in texts for c in text):
        raise KhmerFastError(f"{where}: expected text, got half of a character (a surrogate)")
    if len(lines) != 1:
        return Prediction(image, " ".join(texts))
    line = lines[0]
    return Prediction(
        image,
        texts[0],
        _confidence(line.get("confidence"), where),
        _characters(line.get("characters"), where),
        bool(line.get("truncated", False)),
    )


def _characters(value: Any, where: str) -> tuple[tuple[str, float], ...] | None:
    if not isinstance(value, list):  # some programs count them
        return None
    try:
        return tuple((str(part["text"]), _probability(part["confidence"], where)) for part in value)
    except (TypeError, LookupError):
        raise KhmerFastError(
            f"{where}: expected characters with text and confidence, got {value!r:.60}"
        ) from None


def _confidence(value: Any, where: str) -> float | None:
    return None if value is None or value == "" else _probability(value, where)


def _probability(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= 1:
        raise KhmerFastError(
            f"{where}: expected a confidence in [0, 1], got {printable(repr(value), 80)}"
        )
    return number
