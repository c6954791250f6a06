"""The figures of a log's line: `loss: 3.1`, `loss=3.1`, `loss 3.1 | lr 1e-3`, {"loss": 3.1}."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from khmer_fast.train.log_names import name_of

NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf)"
_WORD = r"[A-Za-z][\w/.\-@]*"
_PART = re.compile(
    r"^\W*(train|val|test)(?:ing|idation|id)?(?:_inner|\s+set|\s+on\s+.*)?$|^\W*(eval)(?:uation)?$",
    re.IGNORECASE,
)
_UNIT = r"(?P<unit> ?(?:%|(?:ms|min(?:ute)?s?|h(?:ours?)?|s(?:ec(?:ond)?s?)?)\b)|[A-Za-z/]+)?"
_METRIC = re.compile(  # label: 3.1, label=3.1%, label: 1:02:03
    rf"(?<![\w/.])(?P<label>{_WORD}(?: +{_WORD}){{0,5}}) *[:=] *"
    rf"(?:(?P<clock>\d{{1,4}}:\d\d(?::\d\d)?)|(?P<value>{NUMBER}){_UNIT})(?![\w:]|\.\d)",
    re.IGNORECASE,
)
_PAIR = re.compile(  # label 3.1
    rf"\s*(?P<label>{_WORD}(?: {_WORD}){{0,3}}) (?P<value>{NUMBER}){_UNIT}(?=\s|$)", re.IGNORECASE
)
_ITEMS = re.compile(r" - |\t|, |; ")
_KERAS_TIME = re.compile(r"(?:^|\s)(\d{1,9})s (?:\d[\d.]*[mu]?s)/(?:step|epoch)$")
_OUR_RATES = {"sub": "val_substitutions", "del": "val_deletions", "ins": "val_insertions"}
OF_ONE = "of 1"  # the unit of a rate that is known to be a fraction


class Figure(NamedTuple):
    """One figure of a line; `name` is None where the label is not known."""

    label: str
    name: str | None
    value: float
    unit: str  # %, a unit of time, or nothing


def part_of(text: str) -> tuple[str, str]:
    """`train` or `val` where the text begins by saying so, and what follows."""
    part = ""
    while True:
        head, mark, rest = (text, "", "")
        found = re.match(r"\s*\|?\s*([^|:]{1,60}?)\s*[|:]\s", text)
        if found:
            head, mark, rest = found[1], found[0], text[found.end() :]
        match = _PART.match(head) if mark else None
        if match is None:
            return part, text
        part = (match[1] or "val").lower()
        text = rest


def figures(text: str, part: str) -> Iterator[Figure]:
    """The figures of a line, whose label is known or not."""
    for item in text.split(" | ") if " | " in text else _ITEMS.split(text):
        item = item.strip(" |")
        if match := _KERAS_TIME.search(item):
            yield Figure("time", "epoch_seconds", int(match[1]), "s")
            continue
        outer, _, inner = item.partition(" (")
        pairs = _pairs(outer)
        if pairs is not None:  # `loss 3.1 | lr 1e-3`, as lists of figures have it
            yield from _bare(pairs, inner, part)
            continue
        for match in _METRIC.finditer(item):
            label, unit = match["label"], (match["unit"] or "").strip()
            if match["clock"]:
                yield Figure(label, None, 0.0, "")
            else:
                yield Figure(label, name_of(label, part), _value(match["value"]), unit)


def _pairs(text: str) -> list[re.Match] | None:
    """The labels and values that a text consists of; None if it holds anything else."""
    text = re.sub(r"[\[\]]", " ", text)
    pairs, at = [], 0
    while match := _PAIR.match(text, at):
        pairs.append(match)
        at = match.end()
    return pairs if pairs and not text[at:].strip() else None


def _bare(pairs: list[re.Match], inner: str, part: str) -> Iterator[Figure]:
    """Figures without a sign between label and value; `inner` is what our own line puts in brackets
    behind one: `train loss 3.1 (nll 2.9, ctc 0.7)`."""
    name = None
    for match in pairs:
        label = match["label"]
        of_ours = label == "best" and match["unit"] == "%"
        name = "best_cer" if of_ours else name_of(label, part)
        if label != "left":  # the time that a run of ours still takes
            yield Figure(label, name, _value(match["value"]), (match["unit"] or "").strip())
    family = {"train_loss": "train_", "val_loss": "val_"}.get(name or "")
    for term in inner.rstrip(")").split(", "):
        pair = _PAIR.match(term)
        if pair is None:
            continue
        word = pair["label"].lower()
        of = family + word if family and word in ("nll", "ctc") else _OUR_RATES.get(word)
        yield Figure(word, of, _value(pair["value"]), (pair["unit"] or "").strip())


def figures_of_object(text: str) -> list[Figure] | None:
    """The figures of an object, as JSON or as Python prints it; None if the line is none."""
    table = _table(text)
    if table is None:
        return None
    return [Figure(label, name_of(label), value, unit) for label, value, unit in _flat(table)]


def _table(text: str) -> dict | None:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes that Python does not know
                table = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    return table if type(table) is dict else None


def _flat(table: dict, before: str = "", depth: int = 0) -> Iterator[tuple[str, float, str]]:
    """Label, value and unit of each number in an object, objects inside it included."""
    for key, value in table.items():
        label = f"{before} {key}".strip()
        if isinstance(value, dict) and depth < 3:
            yield from _flat(value, label, depth + 1)
        elif isinstance(value, str):
            match = re.fullmatch(rf"\s*({NUMBER})\s*(%?)\s*", value[:100], re.IGNORECASE)
            if match:
                yield label, _value(match[1]), match[2]
        elif type(value) in (int, float):
            try:
                yield label, value if isinstance(value, float) else int(float(value)), ""
            except OverflowError:
                yield label, math.inf, ""


def _value(text: str) -> Any:
    value = float(text.replace(",", ""))
    whole = value.is_integer() and not set(text.lower()) & set(".e")
    return int(value) if whole else value
