"""A training log line by line: which epoch (or step) a figure is of, and what it is.

A figure whose label is not known is listed, never passed over; a line without any figure or event
that is known counts as not understood. Nothing is guessed: what had to be assumed is recorded.
"""

from __future__ import annotations

import math
import re
import textwrap
from datetime import datetime

from khmer_fast.train.history import Record
from khmer_fast.train.log_figures import OF_ONE, Figure, figures, figures_of_object, part_of
from khmer_fast.train.log_names import RATES, SETTINGS
from khmer_fast.train.run_log import RunLog

LONGEST_LINE = 20_000  # characters that are looked at
MOST_PLACES = 1e12  # epochs or steps of a run
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TIME = re.compile(r"^\s*\[?(\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d)(?:[.,]\d+)?Z?\]?[\s,|:-]*")
_LEVEL = re.compile(
    r"^\s*\[?(?:[A-Za-z_][\w.]{0,40}\s+)?(?:DEBUG|INFO|WARNING|WARN|ERROR)\]?[\s|:-]+(?!:)"
)
_RULE = re.compile(r"^[\s=\-_*#~.+|]*$")
_EPOCH = re.compile(
    r"^[\s=*#>\-\[(|]*(?:results of\s+)?(?:(?:train|training|starting|begin)\s+)?(?:epoch|stage)\b"
    r"[\s:=#\[(]*0*(\d{1,12})\b(?:\s*(?:/|of)\s*(?:(\d{1,12})|∞))?(?!\.\d)",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"^[\s=*#>\-(|]*(?:(?P<at>at\s+)?iteration|iter|step)\b[\s:=#]*0*(\d{1,12})\b"
    r"(?:/0*(\d{1,12}))?(?!\.\d)|^\[(\d{1,12})/(\d{1,12})\](?=\s)",
    re.IGNORECASE,
)
_HASH = re.compile(r"^#(\d{1,12}(\.\d+)?):")  # Calamari's: an epoch with its part, or a step
_RESUMED = re.compile(r"\bresum(?:ed|ing)\b.*?\bepoch[\s_:=]*(\d{1,12})", re.IGNORECASE)
_SAVED = re.compile(r"\b(?:sav(?:e|ed|ing)|wrote)\b.*?\b(?:checkpoint|model)", re.IGNORECASE)
_SAVED_EPOCH = re.compile(r"epoch[_\s]*(\d{1,12})", re.IGNORECASE)
_BACKUP_FAILED = re.compile(
    r"(?:fail\w*\s+to\s+back\s?up|back\s?up\b.*\bfailed|could not back\s?up)", re.IGNORECASE
)
_SAME_FILE = re.compile(r"\bare the same file\b|\brun's own folder\b", re.IGNORECASE)
_BACKED_UP = re.compile(
    r"\bback(?:ed)?\s?(?:up)\b.*\b(?:complete|done|saved|copied|to)\b", re.IGNORECASE
)
_KRAKEN = re.compile(r"\bAccuracy report \(\d+\) -?[\d.]+ (\d{1,12}) (-?\d{1,12})\b")
_CLOCK = re.compile(
    r"(?:epoch[ _])?(?:time|elapsed|duration)\s*[:=]?\s*(?:(\d{1,6}):)?(\d{1,6}):(\d\d)\b",
    re.IGNORECASE,
)
_PROGRESS = re.compile(r"\d+%\|")
_WARNING = re.compile(r"^(?:\S+: )?\w*Warning: ", re.IGNORECASE)
_OURS = re.compile(
    r"^(?:Training \w+ \([\d,]+ parameters\)|Done: \d+ epochs?|The history goes back|Left out \d+ "
    r"|No backup: |Passed over|Mended: |Resumed from the start|Backup |Waiting for the backup"
    r"|SIG[A-Z]+: )"
)
_SECONDS = {"": 1, "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60}
_SECONDS |= {"h": 3600, "hr": 3600, "hour": 3600, "ms": 0.001}


class LogParser:
    """Goes through a log line by line, and knows which epoch or step it is in."""

    def __init__(self, log: RunLog) -> None:
        self.log = log
        self.records: dict[str, dict[float, Record]] = {"epoch": {}, "step": {}}
        self.axis: str | None = None  # epoch or step, once one began
        self.place: float | None = None  # on that axis
        self.clock: tuple[float, datetime] | None = None  # when an epoch began
        self.bare_rates: list[tuple[Record, str]] = []  # without a % sign
        self.planned_steps: int | None = None
        self.step_lines = 0  # understood by their steps alone
        self.percent = False  # this line's rates are percent, with or without the sign

    def line(self, line: str) -> None:
        """Takes in one line of the log."""
        text = _COLOUR.sub("", line[:LONGEST_LINE]).strip("\r\n\ufeff ")
        if _RULE.match(text):
            return
        self.log.lines += 1
        pieces = [piece for piece in re.split(r"[\r\b]+|(?<=.)(?=At iteration)", text) if piece]
        if not any([self._piece(piece) for piece in pieces]):
            self.log.not_understood(line)

    def _piece(self, text: str) -> bool:
        moment = None
        time = _TIME.match(text)
        if time:
            text = text[time.end() :]
            try:
                moment = datetime.fromisoformat(time[1].replace("/", "-").replace("T", " "))
            except ValueError:
                pass  # no day of any calendar
        text = _LEVEL.sub("", text)
        if text[:1] == "{":
            return self._object(text)
        return self._event(text) or self._figures_of(text, moment)

    # ---- events ----

    def _event(self, text: str) -> bool:
        log = self.log
        if match := _RESUMED.search(text):
            epoch = int(match[1])
            log.resumed.append(epoch)
            self._forget_after(epoch)
            self.place, self.clock = None, None
            return True
        if _SAME_FILE.search(text):
            log.same_file += 1
            return True
        if _BACKUP_FAILED.search(text):
            log.backup_failures.append(text[:200])
            return True
        if _WARNING.search(text):
            log.warnings.append(textwrap.shorten(_WARNING.sub("", text), 200, placeholder=" ..."))
            return True
        if _SAVED.search(text):
            self._figures_of(text, None)
            match = _SAVED_EPOCH.search(text)
            if match or not re.search(r"\bbest", text, re.IGNORECASE):
                at = int(match[1]) if match else self.place if self.axis == "epoch" else None
                log.saved.append(at)
            return True
        if _BACKED_UP.search(text):
            log.backups += 1
            return True
        return False

    # ---- where we are ----

    def _begin(self, axis: str, place: float, moment: datetime | None = None) -> None:
        """A new epoch or step; steps inside epochs are a figure of theirs."""
        if axis == "step" and self.axis == "epoch":
            if self.place is not None:
                self.records["epoch"][self.place]["step"] = place
            return
        before = self.place if self.axis == axis else None
        if axis == "epoch":
            if before is not None and place < before:
                self.log.restarts += 1
                self._forget_after(place - 1)
                self.clock = None
            if place != before and moment is not None:
                self._end_of_epoch(place, moment)
        self.axis, self.place = axis, place
        self.records[axis].setdefault(place, {axis: place})

    def _end_of_epoch(self, epoch: float, moment: datetime) -> None:
        if self.clock is not None and self.clock[0] == epoch - 1:
            seconds = (moment - self.clock[1]).total_seconds()
            if seconds > 0 and epoch - 1 in self.records["epoch"]:
                self.records["epoch"][epoch - 1].setdefault("epoch_seconds", seconds)
        self.clock = (epoch, moment)

    def _forget_after(self, epoch: float) -> None:
        again = [other for other in self.records["epoch"] if other > epoch]
        for other in again:
            del self.records["epoch"][other]
        self.log.retrained += len(again)

    # ---- figures ----

    def _figures_of(self, text: str, moment: datetime | None) -> bool:
        if _OURS.search(text):
            return True
        known = bool(_PROGRESS.search(text))
        self.percent = text.startswith("At iteration")  # Tesseract's
        part, text = part_of(text)
        if match := _EPOCH.match(text):
            self._begin("epoch", int(match[1]), moment)
            if match[2]:
                self.log.planned_epochs = int(match[2])
            known = True
        elif match := _STEP.match(text):
            self._begin("step", int(match[2] or match[4]))
            if (match[3] or match[5]) and not match["at"]:
                self.planned_steps = int(match[3] or match[5])
            self.step_lines += self.axis == "step"
            known = True
        elif match := _HASH.match(text):
            place = float(match[1])
            self._begin("epoch" if match[2] else "step", int(place) if place % 1 == 0 else place)
            known = True
        if match:
            inner, text = part_of(text[match.end() :])
            part = inner or part
        if match := _KRAKEN.search(text):
            known |= self._put("val_cer", int(match[2]) / max(int(match[1]), 1), OF_ONE)
        if match := _CLOCK.search(text):
            hours, minutes, seconds = (int(group or 0) for group in match.groups())
            known |= self._put("epoch_seconds", hours * 3600 + minutes * 60 + seconds, "")
            text = text[: match.start()] + text[match.end() :]
        return self._store(list(figures(text, part))) or known

    def _object(self, text: str) -> bool:
        found = figures_of_object(text)
        if found is None:
            return False
        if any(figure.label == "train_runtime" for figure in found):  # Transformers' last line:
            return True  # means over the whole run, of no epoch
        return self._store(found)

    def _store(self, found: list[Figure]) -> bool:
        """Files the figures of one line; whether any of them is known and has a place."""
        for figure in found:
            if figure.name == "epoch" and 0 <= figure.value < MOST_PLACES:
                whole = figure.value == int(figure.value)
                self._begin("epoch", int(figure.value) if whole else figure.value)
        stored = False
        for label, name, value, unit in found:
            if name is None:
                self.log.unknown[label[:40]] = self.log.unknown.get(label[:40], 0) + 1
            elif name == "epoch":
                stored = True
            elif name in SETTINGS or (name == "learning_rate" and self.place is None):
                if math.isfinite(value):
                    self.log.settings[name] = value
                    if name == "planned_epochs":
                        self.log.planned_epochs = int(value)
                stored = True
            elif name == "step" and self.axis != "epoch":
                if 0 <= value < MOST_PLACES:
                    self._begin("step", value)
                    stored = True
            elif self._put(name, value, unit):
                stored = True
        return stored

    def _put(self, name: str, value: float, unit: str) -> bool:
        """Files a figure with its epoch or step; False if none has begun."""
        if name.endswith(("loss", "nll", "ctc")):
            where = f"{self.axis} {self.place:g}" if self.place is not None else ""
            self.log.watch(name, value, where)
        if self.place is None or self.axis is None:
            return False
        record = self.records[self.axis][self.place]
        if name == "epoch_seconds":
            unit = unit.lower()
            value *= _SECONDS.get(unit, _SECONDS.get(unit.rstrip("s"), 1))
        elif unit == "%" or (self.percent and name in RATES):
            value /= 100
        if name in RATES:
            self.bare_rates = [b for b in self.bare_rates if b[0] is not record or b[1] != name]
            if unit not in ("%", OF_ONE) and not self.percent:
                self.bare_rates.append((record, name))
        record[name] = value
        return True

    # ---- the end ----

    def finish(self) -> RunLog:
        """The log, once all lines were taken in."""
        log = self.log
        by_epoch = self.records["epoch"]
        log.axis = "epoch" if by_epoch or not self.records["step"] else "step"
        log.planned = log.planned_epochs if log.axis == "epoch" else self.planned_steps
        if log.axis == "epoch" and self.records["step"]:
            log.unread += self.step_lines  # steps before the first epoch: of which one?
        chosen = self.records[log.axis]
        records = [chosen[place] for place in sorted(chosen)]
        self._settle_percent()
        _settle_accuracy(log, records)
        _settle_names(log, records)
        for record in records:
            seconds = record.pop("epoch_seconds", None)
            if seconds is not None and log.axis == "epoch":
                log.epoch_seconds[record["epoch"]] = seconds
            elif seconds is not None:
                log.unknown["time"] = log.unknown.get("time", 0) + 1
        log.records = [record for record in records if len(record) > 1]
        return log

    def _settle_percent(self) -> None:
        """A rate without its sign: a value above 10 cannot be a fraction."""
        for name in {name for _, name in self.bare_rates}:
            bare = [record for record, other in self.bare_rates if other == name]
            percent = any(10 < record[name] < math.inf for record in bare)
            if "accuracy" not in name and any(math.isfinite(record[name]) for record in bare):
                self.log.percent_assumed = percent or bool(self.log.percent_assumed)
            for record in bare if percent else ():
                record[name] /= 100


def _settle_accuracy(log: RunLog, records: list[Record]) -> None:
    """Accuracies of characters are what CER leaves of 1; any other accuracy is not understood."""
    words = any("val_word_accuracy" in record for record in records)
    named = any("val_cer" in record or "cer" in record for record in records)
    for record in records:
        for name in ("char_accuracy", "val_accuracy", "val_word_accuracy"):
            value = record.pop(name, None)
            if value is None:
                continue
            if not named and (name == "char_accuracy" or (name == "val_accuracy" and words)):
                record["val_cer"] = 1 - value
                log.cer_from_accuracy = True
            elif name != "val_word_accuracy" or not words:
                log.unknown[name] = log.unknown.get(name, 0) + 1


def _settle_names(log: RunLog, records: list[Record]) -> None:
    """What a plain `loss` or `cer` is of, and whether figures of test lines are for validation."""
    for name in ("loss", "cer"):
        test, val = f"test_{name}", f"val_{name}"
        if any(test in record for record in records) and not any(val in r for r in records):
            log.test_is_validation = True
            for record in records:
                if test in record:
                    record[val] = record.pop(test)
    cer_is_training = any("val_cer" in record for record in records)
    for record in records:
        loss, cer = record.pop("loss", None), record.pop("cer", None)
        if loss is not None and "train_loss" not in record:
            record["train_loss"] = loss
            log.loss_is_plain = True
        if cer is not None:
            record.setdefault("train_cer" if cer_is_training else "val_cer", cer)
            log.cer_is_plain = log.cer_is_plain or not cer_is_training
