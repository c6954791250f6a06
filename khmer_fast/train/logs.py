"""Reads what a training run left: our run folders, and plain logs that other programs wrote.

A line is either understood or counted as unread; nothing is guessed. What a log calls Train Loss,
train_loss or "training loss" becomes a record under the names of khmer_fast.train.history.
"""

from __future__ import annotations

import ast
import json
import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from khmer_fast.errors import KhmerFastError
from khmer_fast.train import history
from khmer_fast.train.history import Record

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf)"
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_TIME = re.compile(r"^\s*\[?(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:[.,]\d+)?Z?\]?[\s,|:-]*")
_LEVEL = re.compile(r"^\s*\[?(?:DEBUG|INFO|WARNING|WARN|ERROR)\]?[\s|:-]+(?!:)")
_HEADER = re.compile(
    r"^[\s=*#>\-\[(]*(?:(?:training|starting|begin)\s+)?epoch\b[\s:=#\[(]*(\d+)\b"
    r"(?:\s*(?:/|of)\s*(\d+))?",
    re.IGNORECASE,
)
_RESUMED = re.compile(r"\bresum(?:ed|ing)\b.*?\bepoch[\s_:=]*(\d+)", re.IGNORECASE)
_SAVED = re.compile(r"\bsav(?:ed|ing)\b.*?\b(?:checkpoint|model)", re.IGNORECASE)
_SAVED_EPOCH = re.compile(r"epoch[_\s]*(\d+)", re.IGNORECASE)
_BACKUP_FAILED = re.compile(
    r"(?:fail\w*\s+to\s+back\s?up|back\s?up\b.*\bfailed|could not back\s?up)", re.IGNORECASE
)
_SAME_FILE = re.compile(r"\bare the same file\b|\brun's own folder\b", re.IGNORECASE)
_BACKED_UP = re.compile(
    r"\bback(?:ed)?\s?(?:up)\b.*\b(?:complete|done|saved|copied|to)\b", re.IGNORECASE
)
_METRIC = re.compile(
    rf"(?P<label>[A-Za-z][A-Za-z _/\-]*?)\s*[:=]\s*(?P<value>{_NUMBER})\s*"
    r"(?P<unit>%|(?:min(?:ute)?s?|h(?:ours?)?|s(?:ec(?:onds?)?)?)\b)?(?<! )(?![\w:]|\.\d)",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?:epoch[ _])?(?:time|elapsed|duration)\s*[:=]?\s*(?:(\d+):)?(\d+):(\d\d)\b", re.IGNORECASE
)
_PROGRESS = re.compile(r"\d+%\|")
_WARNING = re.compile(r"^(?:\S+: )?\w*Warning: ", re.IGNORECASE)
_OURS = re.compile(
    r"^(?:Training \w+ \([\d,]+ parameters\)|Done: \d+ epochs?|The history goes back|Left out \d+ "
    r"|No backup: |Passed over|Backup |Waiting for the backup|SIG[A-Z]+: )"
)
_RULE = re.compile(r"^[\s=\-_*#~.+|]*$")
_SEGMENT = re.compile(rf"^(?P<label>[a-z][a-z /\-]*?) (?P<value>{_NUMBER})(?P<unit>%?)(?: |$)")

_NAMES = {
    "train_loss": "train loss|training loss|loss train|train epoch loss|loss/train|train/loss",
    "val_loss": "val loss|valid loss|validation loss|eval loss|dev loss|loss val|val/loss|loss/val",
    "val_cer": "val cer|valid cer|validation cer|eval cer|dev cer|cer val|val/cer|cer/val",
    "train_cer": "train cer|training cer",
    "best_cer": "best cer|best val cer|best validation cer|best so far",
    "val_wer": "val wer|validation wer|wer",
    "train_ctc": "train ctc|train ctc loss|ctc loss",
    "train_nll": "train nll|nll loss",
    "val_ctc": "val ctc|val ctc loss|validation ctc loss",
    "val_nll": "val nll",
    "learning_rate": "lr|learning rate",
    "gradient_norm": "grad norm|gradient norm",
    "lines_per_second": "lines/s|lines per second|samples/s|samples per second|images/s",
    "data_share": "data wait",
    "lock_on": "lock-on|lock on",
    "val_without_eos": "no eos|val without eos",
    "val_cer_beam": "beam cer|val cer beam",
    "val_ctc_cer": "ctc cer|val ctc cer",
    "epoch_seconds": "time|epoch time|elapsed|duration|took",
    "step": "step|global step|steps",
    "epoch": "epoch",
    "planned_epochs": "epochs|num epochs|total epochs|max epochs",
    "batch_size": "batch size|batch",
    "loss": "loss",
    "cer": "cer",
    "ctc_weight": "ctc weight",
}
_LABELS = {label: name for name, labels in _NAMES.items() for label in labels.split("|")}
_RATES = ("val_cer", "train_cer", "best_cer", "val_wer", "cer", "val_cer_beam", "val_ctc_cer")
_EMPTY_WORDS = {"new", "avg", "average", "mean", "final", "current", "epoch", "total", "info"}
_SETTINGS = ("planned_epochs", "batch_size", "ctc_weight")


class LogError(KhmerFastError):
    """A log or run folder that cannot be read, or holds no training figures."""


@dataclass
class RunLog:
    """What a run left behind."""

    source: str
    kind: str  # "run" or "log"
    records: list[Record] = field(default_factory=list)
    planned_epochs: int | None = None
    resumed: list[int] = field(default_factory=list)  # epochs that were resumed from
    saved: list[int | None] = field(default_factory=list)  # epochs saved; None: not said
    backups: int = 0
    same_file: int = 0
    backup_failures: list[str] = field(default_factory=list)
    epoch_seconds: dict[int, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    negative: list[tuple[str, float, str]] = field(default_factory=list)  # loss, value, where
    percent_assumed: bool | None = None  # CER had no % sign; None: it had
    loss_is_plain: bool = False  # the log says "loss" only, taken for the training loss
    retrained: int = 0  # epochs that a resume or a restart made again
    restarts: int = 0  # times that the epochs went back without a word about resuming
    warnings: list[str] = field(default_factory=list)
    manifest: dict[str, str | None] | None = None  # file -> None if it verifies, else why not
    lines: int = 0
    unread: int = 0
    unread_examples: list[str] = field(default_factory=list)

    def series(self, name: str) -> tuple[list[float], list[float]]:
        """Epochs and finite values of one figure."""
        pairs = [
            (place, record[name])
            for place, record in zip(history.places(self.records), self.records, strict=True)
            if isinstance(record.get(name), int | float) and math.isfinite(record[name])
        ]
        return [float(x) for x, _ in pairs], [float(y) for _, y in pairs]


def read_run_or_log(path: str | Path) -> RunLog:
    """A run folder or a log file; LogError if it holds no training figures."""
    path = Path(path)
    if path.is_dir():
        log = _read_run(path)
    else:
        try:
            with open(path, "rb") as file:
                start = file.read(2)
            encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
            with open(path, encoding=encoding, errors="replace") as file:
                log = read_lines(file, str(path))
        except OSError as error:
            raise LogError(f"cannot read {path}: {error.strerror}") from None
    if not log.records and not log.negative and not log.saved:
        raise LogError(
            f"{path} holds no training figures ({log.lines} lines, {log.unread} unread); expected "
            "a run folder with history.jsonl, or a log with lines such as 'Epoch 9/150' and "
            "'Train Loss: 3.6855', or 'epoch=9 train_loss=3.6855'"
        )
    return log


def read_lines(lines: Iterable[str], source: str) -> RunLog:
    """What the lines of a plain log say."""
    parser = _Parser(RunLog(source, "log"))
    for line in lines:
        parser.line(line)
    return parser.finish()


def _read_run(path: Path) -> RunLog:
    from khmer_fast.train.checkpoint import checkpoint_position
    from khmer_fast.train.options import OptionError, load_config
    from khmer_fast.train.run_folder import RunFolder

    folder = RunFolder(path)
    events = RunLog(str(path), "run")
    for log_path in sorted(folder.logs.glob("*.log")) if folder.logs.is_dir() else ():
        with open(log_path, encoding="utf-8", errors="replace") as file:
            parser = _Parser(events)
            for line in file:
                parser.line(line)
    log = RunLog(
        str(path),
        "run",
        resumed=events.resumed,
        backups=events.backups,
        same_file=events.same_file,
        backup_failures=events.backup_failures,
        warnings=events.warnings,
    )
    try:
        with open(path / history.RECORDS, encoding="utf-8", errors="replace") as file:
            for line in file:
                _run_record(log, line)
    except FileNotFoundError:
        pass
    before: Record = {}
    for record in log.records:
        place = f"epoch {record.get('epoch')}"
        for name in ("train_loss", "train_nll", "train_ctc", "val_loss", "val_nll", "val_ctc"):
            _watch(log, name, record.get(name), place)
        seconds, last = record.get("seconds"), before.get("seconds", 0.0)
        if seconds is not None and record.get("end_of_epoch", True):
            if seconds > last:
                log.epoch_seconds[record.get("epoch", len(log.epoch_seconds))] = seconds - last
            before = record
    try:
        options = load_config(folder.config_path)
        log.planned_epochs = options.epochs
        log.settings = {
            "learning_rate": options.learning_rate,
            "ctc_weight": options.ctc_weight,
            "batch_size": options.batch_lines,
        }
    except OptionError:
        pass  # a run of another version: its history is all there is
    log.saved = [checkpoint_position(p.name)[0] for p in reversed(folder.checkpoints())]
    log.manifest = folder.verify()
    return log


def _run_record(log: RunLog, line: str) -> None:
    log.lines += 1
    try:
        log.records += history.from_lines(line.rstrip("\n") + "\n")
    except history.HistoryError:
        _unread(log, line)


class _Parser:
    """Goes through a log line by line, and knows which epoch it is in."""

    def __init__(self, log: RunLog) -> None:
        self.log = log
        self.records: dict[int, Record] = {}
        self.epoch: int | None = None
        self.clock: tuple[int, datetime] | None = None
        self.bare_rates: list[tuple[Record, str]] = []  # CER without a % sign

    def line(self, line: str) -> None:
        text = _COLOUR.sub("", line).strip("\r\n\ufeff ")
        if _RULE.match(text):
            return
        self.log.lines += 1
        time = _TIME.match(text)
        if time:
            text = text[time.end() :]
        moment = datetime.fromisoformat(time[1].replace("T", " ")) if time else None
        text = _LEVEL.sub("", text)
        if not self._understood(text, moment):
            _unread(self.log, line)

    def finish(self) -> RunLog:
        log = self.log
        values = [record[name] for record, name in self.bare_rates if math.isfinite(record[name])]
        if values:
            log.percent_assumed = max(values) > 10
            if log.percent_assumed:
                for record, name in self.bare_rates:
                    record[name] /= 100
        records = [self.records[epoch] for epoch in sorted(self.records)]
        for plain, name in (("loss", "train_loss"), ("cer", "val_cer")):
            named = any(name in record for record in records)
            for record in records:
                value = record.pop(plain, None)
                if value is not None and not named:
                    record[name] = value
                    log.loss_is_plain = log.loss_is_plain or plain == "loss"
        for record in records:
            seconds = record.pop("epoch_seconds", None)
            if seconds is not None:
                log.epoch_seconds[record["epoch"]] = seconds
        log.records = [record for record in records if len(record) > 1]
        return log

    def _understood(self, text: str, moment: datetime | None) -> bool:
        log = self.log
        if text[:1] == "{":
            return self._object(text)
        if match := _RESUMED.search(text):
            epoch = int(match[1])
            log.resumed.append(epoch)
            self._forget_after(epoch)
            self.epoch = None
            self.clock = None
            return True
        if _BACKUP_FAILED.search(text) or _SAME_FILE.search(text):
            if _SAME_FILE.search(text):
                log.same_file += 1
            else:
                log.backup_failures.append(text[:200])
            return True
        if _SAVED.search(text):
            match = _SAVED_EPOCH.search(text)
            best = re.search(r"\bbest", text, re.IGNORECASE)
            if match or not best:
                log.saved.append(int(match[1]) if match else self.epoch)
            self._figures(text)
            return True
        if _BACKED_UP.search(text):
            log.backups += 1
            return True
        if _WARNING.search(text):
            log.warnings.append(textwrap.shorten(_WARNING.sub("", text), 200, placeholder=" ..."))
            return True
        known = bool(_OURS.search(text))
        if match := _HEADER.match(text):
            self._begin(int(match[1]), moment)
            if match[2]:
                log.planned_epochs = int(match[2])
            text = text[match.end() :]
            known = True
            if " | " in text:
                self._segments(text)
        if match := _CLOCK.search(text):
            hours, minutes, seconds = (int(part or 0) for part in match.groups())
            self._put("epoch_seconds", hours * 3600 + minutes * 60 + seconds, "")
            known = True
        if self._figures(text):
            known = True
        return known or bool(_PROGRESS.search(text))

    def _forget_after(self, epoch: int) -> None:
        again = [other for other in self.records if other > epoch]
        for other in again:
            del self.records[other]
        self.log.retrained += len(again)

    def _begin(self, epoch: int, moment: datetime | None) -> None:
        if self.epoch is not None and epoch < self.epoch:
            self.log.restarts += 1
            self._forget_after(epoch - 1)
            self.clock = None
        if epoch != self.epoch and moment is not None:
            if self.clock is not None and self.clock[0] == epoch - 1:
                seconds = (moment - self.clock[1]).total_seconds()
                if seconds > 0 and epoch - 1 in self.records:
                    self.records[epoch - 1].setdefault("epoch_seconds", seconds)
            self.clock = (epoch, moment)
        self.epoch = epoch
        self.records.setdefault(epoch, {"epoch": epoch})

    def _segments(self, text: str) -> None:
        """Our own epoch line: `train loss 3.1 (nll 2.9, ctc 0.7) | val cer 12.30% (...) | ...`."""
        for segment in text.split(" | "):
            outer, _, inner = segment.strip().partition(" (")
            match = _SEGMENT.match(outer)
            if match is None:
                continue
            name = "best_cer" if match["label"] == "best" else _LABELS.get(match["label"])
            if name is None:
                continue
            self._put(name, _value(match["value"]), match["unit"])
            family = {"train_loss": "train_", "val_loss": "val_"}.get(name)
            for part in inner.rstrip(")").split(", "):
                match = _SEGMENT.match(part)
                if match is None:
                    continue
                if family:
                    self._put(family + match["label"], _value(match["value"]), "")
                elif name == "val_cer":
                    long = {"sub": "substitutions", "del": "deletions", "ins": "insertions"}
                    if match["label"] in long:
                        rate = f"val_{long[match['label']]}"
                        self._put(rate, _value(match["value"]), match["unit"])

    def _figures(self, text: str) -> bool:
        found = list(_metrics(text))
        for name, value, _ in found:
            if name == "epoch" and value == int(value):
                self._begin(int(value), None)
        placed = False
        for name, value, unit in found:
            if name == "epoch":
                placed = True
            elif name in _SETTINGS or (name == "learning_rate" and self.epoch is None):
                self.log.settings[name] = value
                if name == "planned_epochs":
                    self.log.planned_epochs = int(value)
                placed = True
            elif self._put(name, value, unit):
                placed = True
        return placed

    def _object(self, text: str) -> bool:
        try:
            table = json.loads(text)
        except ValueError:
            try:
                table = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return False
        if type(table) is not dict:
            return False
        words = [f"{k}={v}" for k, v in table.items() if isinstance(v, int | float | str)]
        return self._figures(" ; ".join(words))

    def _put(self, name: str, value: float, unit: str) -> bool:
        """Stores a figure with its epoch; False if no epoch has begun."""
        if name.endswith(("loss", "nll", "ctc")):
            _watch(self.log, name, value, f"epoch {self.epoch}" if self.epoch is not None else "")
        if self.epoch is None:
            return False
        record = self.records[self.epoch]
        if name == "epoch_seconds":
            value *= {"m": 60, "h": 3600}.get(unit[:1].lower(), 1)
        elif unit == "%":
            value /= 100
            self.bare_rates = [b for b in self.bare_rates if b[0] is not record or b[1] != name]
        elif name in _RATES and not any(b[0] is record and b[1] == name for b in self.bare_rates):
            self.bare_rates.append((record, name))
        record[name] = value
        return True


def _metrics(text: str) -> Iterator[tuple[str, float, str]]:
    """(name, value, unit) of each figure whose label is known."""
    for match in _METRIC.finditer(text):
        words = re.sub(r"[ _]+", " ", match["label"].lower()).strip(" -/").split(" ")
        while words:
            name = _LABELS.get(" ".join(words))
            if name is not None:
                yield name, _value(match["value"]), match["unit"] or ""
                break
            if words[0] not in _EMPTY_WORDS and words[0] != "-":
                break
            words = words[1:]


def _value(text: str) -> float:
    value = float(text.replace(",", ""))
    whole = value.is_integer() and not set(text.lower()) & set(".e")
    return int(value) if whole else value


def _watch(log: RunLog, name: str, value: Any, where: str) -> None:
    """Keeps losses that cannot be: negative (CTC: beyond rounding) or not finite."""
    if not isinstance(value, int | float):
        return
    floor = -1e-3 if "ctc" in name else 0
    if not value >= floor or value == math.inf:
        log.negative.append((name, value, where))


def _unread(log: RunLog, line: str) -> None:
    log.unread += 1
    if len(log.unread_examples) < 3:
        log.unread_examples.append(line.strip()[:120])
