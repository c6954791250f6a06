"""What a run measured: history.jsonl, history.csv and training_history.json, always in agreement.

history.jsonl is the truth; the other two are made from it. A record is flat: names to numbers,
strings, booleans and None. Rates are fractions, losses nats a token, times seconds.

Names that health, analyze and plots know (a record may leave any out, and may hold others):

epoch                   epochs completed, counting this one when `end_of_epoch`
step                    optimiser steps in all
end_of_epoch            False for a validation inside an epoch
lines, seconds          lines seen and training time, in all
train_loss, train_nll, train_ctc   mean since the record before; loss = nll + weight * ctc
val_loss, val_nll, val_ctc         the same on the validation lines
val_cer                 edits over reference characters, and its parts:
val_substitutions, val_deletions, val_insertions
val_cer_beam, val_ctc_cer          CER by beam search, and by the CTC head alone
val_cer_capped          CER by beam search (in epochs of CTC alone: by CTC) with no more edits of a
                        line than it has characters: the best checkpoint is chosen by it
val_cluster_error_rate, val_exact_lines
val_without_eos         share of lines that reached the step limit without <eos>
val_loops               share of lines that repeat what their reference does not
val_distinct            share of distinct texts among the predictions
val_length, val_true_length        mean characters predicted, and true
best_cer, best_loss     lowest val_cer_capped so far; of pages, lowest val_loss
train_band, train_dice, train_extent, train_offset, train_rotation   losses of pages
val_lines, val_missed, val_lost   lines of the validation pages, shares of them not found
val_invented, val_above, val_below, val_offset, val_turned   of pages (train/page_measure.py)
attention_monotonicity, attention_sharpness, attention_coverage, lock_on   0 to 1
learning_rate, gradient_norm       at the last step; largest norm since the record before
lines_per_second, data_share       share of the wall time spent waiting for data
seconds_left            of the whole run, its validations included, at this pace
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from khmer_fast.errors import KhmerFastError, printable

Record = dict[str, Any]
RECORDS = "history.jsonl"
TABLE = "history.csv"
COLUMNS = "training_history.json"
# what a record of ours holds as numbers; other names may hold anything flat
NUMBERS = frozenset(
    "epoch step lines seconds train_loss train_nll train_ctc val_loss val_nll val_ctc val_cer "
    "val_substitutions val_deletions val_insertions val_cer_beam val_ctc_cer val_cer_capped "
    "val_cluster_error_rate val_exact_lines val_without_eos val_loops val_distinct val_length "
    "val_true_length best_cer attention_monotonicity attention_sharpness attention_coverage "
    "lock_on learning_rate gradient_norm lines_per_second data_share seconds_left "
    "ctc_left_out".split()
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class HistoryError(KhmerFastError):
    """A history that cannot be read, or a record that it cannot hold."""


class History:
    """The records of a run, and their three files in its folder.

    `folder` has write(name, bytes), which replaces a file as a whole, and `path`: a RunFolder.
    """

    def __init__(self, folder: Any, records: Iterable[Record] = ()) -> None:
        self.folder = folder
        self.records = [dict(record) for record in records]

    def append(self, record: Record) -> None:
        """Adds one record and writes the files; step must not go back."""
        for name, value in record.items():
            if type(name) is not str or type(value) not in (int, float, str, bool, type(None)):
                raise HistoryError(
                    f"a record holds flat numbers, strings, booleans and None; got {name}={value!r}"
                )
        if self.records and place(record) < place(self.records[-1]):
            raise HistoryError(
                f"records must ascend: epoch and step {place(record)} after "
                f"{place(self.records[-1])}"
            )
        self.records.append(dict(record))
        self.write()

    def restore(self, records: Iterable[Record]) -> int:
        """Goes back to the records that a checkpoint held; returns how many later ones are left."""
        left = [dict(record) for record in records]
        dropped = max(len(self.records) - len(left), 0)
        self.records = left
        self.write()
        return dropped

    def truncate(self, epoch: int, step: int) -> int:
        """Drops the records made after a resumed checkpoint; returns how many.

        `step` (optimiser steps in all) decides, and `epoch` where a record has no step.
        """
        return self.restore(
            r
            for r in self.records
            if (r["step"] <= step if r.get("step") is not None else place(r)[0] <= epoch)
        )

    def write(self) -> None:
        """Writes the three files, the truth first."""
        self.folder.write(RECORDS, to_lines(self.records).encode())
        self.folder.write(TABLE, to_table(self.records).encode())
        self.folder.write(COLUMNS, to_columns(self.records).encode())


def open_history(folder: Any) -> History:
    """The history of a run folder, empty if it has none; a last line cut short is left out."""
    path = folder.path / RECORDS
    try:
        return History(folder, from_lines(path.read_text("utf-8")))
    except FileNotFoundError:
        return History(folder)
    except (OSError, UnicodeDecodeError) as error:
        raise HistoryError(f"cannot read {path}: {error}") from None
    except HistoryError as error:
        raise HistoryError(
            f"{path}: {error}; a resume of the run makes it again from {TABLE}, or delete the line"
        ) from None


def to_lines(records: Iterable[Record]) -> str:
    """JSON lines; what JSON has no number for is written "nan", "inf", "-inf"."""
    return "".join(
        json.dumps({k: _plain(v) for k, v in record.items()}) + "\n" for record in records
    )


def from_lines(text: str) -> list[Record]:
    """Records of JSON lines; a last line without its end is left out, other damage is an error."""
    records, damage = split_lines(text)
    if damage:
        raise HistoryError(damage[0])
    return records


def split_lines(text: str) -> tuple[list[Record], list[str]]:
    """Records of JSON lines, and what is wrong with each line that holds none.

    A last line without its end was cut short by a kill, and is neither.
    """
    records: list[Record] = []
    damage: list[str] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                reason = printable(error, 100)
                damage.append(f"line {number} of the history is not a record: {reason}")
    return records, damage


def from_table(text: str) -> list[Record]:
    """Records of the CSV, as far as its rows are whole; what is empty there is None."""
    records: list[Record] = []
    reader = csv.DictReader(io.StringIO(text), restkey="", restval="\0")
    try:
        for row in reader:
            with contextlib.suppress(ValueError):
                records.append(_record({k: _value(v) for k, v in row.items()}))
    except csv.Error:
        pass  # a row that is no CSV ends what can be read
    return records


def _value(text: str | list[str]) -> Any:
    """A value from its text in the CSV."""
    if type(text) is not str or text == "\0":
        raise ValueError("a row of another length than the header")
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _record(found: Any) -> Record:
    """A record from what a file holds; ValueError where it cannot be one."""
    if type(found) is not dict:
        raise ValueError("not an object")
    record = {name: _number(value) for name, value in found.items()}
    for name, value in record.items():
        if type(value) not in (int, float, str, bool, type(None)):
            raise ValueError(f"{name} is no number")
        if _SURROGATE.search(name) or (type(value) is str and _SURROGATE.search(value)):
            raise ValueError("half of a character (a surrogate)")
        if name in NUMBERS and value is not None:
            if type(value) not in (int, float):
                raise ValueError(f"{name} is {value!r}, expected a number")
            if type(value) is int and abs(value) >= 1 << 63:
                raise ValueError(f"{name} is too large")
    for name in ("epoch", "step"):
        if type(record.get(name, 0)) not in (int, type(None)) or (record.get(name) or 0) < 0:
            raise ValueError(f"{name} is {record[name]!r}, expected a whole number")
    if type(record.get("end_of_epoch", True)) is not bool:
        raise ValueError("end_of_epoch is neither true nor false")
    return record


def to_table(records: Iterable[Record]) -> str:
    """CSV with a column for each name, in order of first appearance; empty where there is none."""
    records = list(records)
    names = list(dict.fromkeys(name for record in records for name in record))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({k: "" if v is None else _plain(v) for k, v in record.items()})
    return out.getvalue()


def to_columns(records: Iterable[Record]) -> str:
    """One JSON object: name to the list of its values, one for each epoch's end."""
    ends = [record for record in records if record.get("end_of_epoch", True)]
    names = list(dict.fromkeys(name for record in ends for name in record))
    columns = {name: [_plain(record.get(name)) for record in ends] for name in names}
    return json.dumps(columns, indent=1) + "\n"


def one_measure(records: Sequence[Record]) -> Sequence[Record]:
    """The records since the decoder came in: loss and CER of CTC alone are other measures."""
    alone = [i for i, r in enumerate(records) if "train_nll" in r and r["train_nll"] is None]
    after = records[alone[-1] + 1 :] if alone else records
    return after or records


def places(records: Sequence[Record]) -> list[float]:
    """Where each record stands on the axis of epochs; one inside an epoch by its steps."""
    ends = [r for r in records if r.get("end_of_epoch", True) and r.get("epoch") and r.get("step")]
    pace = ends[-1]["step"] / ends[-1]["epoch"] if ends else None
    found = []
    for number, record in enumerate(records, 1):
        if pace and record.get("step") is not None and not record.get("end_of_epoch", True):
            found.append(record["step"] / pace)
        else:
            found.append(float(record.get("epoch", number)))
    return found


def epoch_line(record: Record, epochs: int | None = None) -> str:
    """The line that a run prints and logs for a record; khmer-fast analyze reads it back."""
    of = f"/{epochs}" if epochs else ""
    head = f"Epoch {record.get('epoch', '?')}{of}"
    if record.get("step") is not None:
        head += f" step {record['step']}"
    parts = []

    def add(name: str, label: str, shown: str) -> None:
        value = record.get(name)
        if value is not None:
            parts.append(f"{label} {format(value, shown)}")

    for name, label in (("train", "train loss"), ("val", "val loss")):
        if record.get(f"{name}_loss") is None:
            continue
        text = f"{label} {record[f'{name}_loss']:.4f}"
        terms = [
            f"{part} {record[f'{name}_{part}']:.4f}"
            for part in ("nll", "ctc")
            if record.get(f"{name}_{part}") is not None
        ]
        parts.append(text + (f" ({', '.join(terms)})" if terms else ""))
    if record.get("val_cer") is not None:
        text = f"val cer {record['val_cer']:.2%}"
        terms = [
            f"{label} {record[name]:.2%}"
            for name, label in (
                ("val_substitutions", "sub"),
                ("val_deletions", "del"),
                ("val_insertions", "ins"),
            )
            if record.get(name) is not None
        ]
        parts.append(text + (f" ({', '.join(terms)})" if terms else ""))
    for name in ("missed", "lost", "invented", "turned"):
        add(f"val_{name}", name, ".2%")
    add("val_cer_beam", "beam cer", ".2%")
    add("val_cer_capped", "capped cer", ".2%")
    add("val_ctc_cer", "ctc cer", ".2%")
    add("best_cer", "best", ".2%")
    add("val_without_eos", "no eos", ".1%")
    add("lock_on", "lock-on", ".2f")
    add("learning_rate", "lr", ".3g")
    add("gradient_norm", "grad norm", ".3g")
    add("lines_per_second", "lines/s", ".1f")
    add("data_share", "data wait", ".1%")
    if record.get("seconds_left") is not None:
        parts.append(f"left {duration(record['seconds_left'])}")
    return " | ".join([head, *parts])


def duration(seconds: float) -> str:
    """A time for people: 42 s, 7 min, 3 h 20 min, 4 d 2 h."""
    if not math.isfinite(seconds):
        return "unknown"
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def counted(number: int, noun: str) -> str:
    """A number of things for people: 1 line, 3 lines, 2 processes."""
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def place(record: Record) -> tuple[int, int]:
    """Epoch and step of a record, by which records ascend."""
    return record.get("epoch") or 0, record.get("step") or 0


def _plain(value: Any) -> Any:
    if type(value) is float and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def _number(value: Any) -> Any:
    return _NOT_FINITE.get(value, value) if type(value) is str else value
