"""What a training run left behind, in one shape for our own runs and for logs of other programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from khmer_fast.train import history
from khmer_fast.train.history import Record

EXAMPLES = 3  # lines that were not understood, to show
LARGEST = 1e30  # of a figure; squares and sums of such numbers are finite


@dataclass
class RunLog:
    """The records of a run, its events, and what could not be understood."""

    source: str
    kind: str  # "run" or "log"
    axis: str = "epoch"  # what records are counted by: epoch or step
    records: list[Record] = field(default_factory=list)
    planned: int | None = None  # epochs (or steps) that the run is to have
    planned_epochs: int | None = None
    resumed: list[int] = field(default_factory=list)  # epochs that were resumed from
    saved: list[float | None] = field(default_factory=list)  # epochs saved; None: not said
    backups: int = 0
    same_file: int = 0
    backup_failures: list[str] = field(default_factory=list)
    epoch_seconds: dict[float, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    negative: list[tuple[str, float, str]] = field(default_factory=list)  # loss, value, where
    percent_assumed: bool | None = None  # CER had no % sign; None: it had
    loss_is_plain: bool = False  # the log says "loss" only, taken for the training loss
    cer_is_plain: bool = False  # the same of "cer", taken for the validation CER
    cer_from_accuracy: bool = False  # it has an accuracy of characters and no CER
    test_is_validation: bool = False  # it has figures of test lines and none of validation lines
    retrained: int = 0  # epochs that a resume or a restart made again
    restarts: int = 0  # times that the epochs went back without a word about resuming
    warnings: list[str] = field(default_factory=list)
    manifest: dict[str, str | None] | None = None  # file -> None if it verifies, else why not
    lines: int = 0
    unread: int = 0
    unread_examples: list[str] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)  # figures not understood: how often

    def places(self) -> list[float]:
        """Where each record stands on the axis."""
        if self.axis == "step":
            return [float(record["step"]) for record in self.records]
        return history.places(self.records)

    def series(self, name: str) -> tuple[list[float], list[float]]:
        """Epochs (or steps) and finite values of one figure."""
        pairs = [
            (place, record[name])
            for place, record in zip(self.places(), self.records, strict=True)
            if is_number(record.get(name))
        ]
        return [float(x) for x, _ in pairs], [float(y) for _, y in pairs]

    def of(self, records: Sequence[Record]) -> RunLog:
        """The same log with some of its records alone."""
        return replace(self, records=list(records))

    def watch(self, name: str, value: Any, where: str) -> None:
        """Keeps losses that cannot be: negative (CTC: beyond rounding) or not finite."""
        if isinstance(value, int | float):
            floor = -1e-3 if "ctc" in name else 0
            if not value >= floor or value == math.inf:
                self.negative.append((name, value, where))

    def not_understood(self, line: str) -> None:
        """Counts a line that says nothing that is known."""
        self.unread += 1
        if len(self.unread_examples) < EXAMPLES:
            self.unread_examples.append(line.strip()[:120])


def is_number(value: Any) -> bool:
    """Whether a record's value is a number that can have been measured."""
    return type(value) in (int, float) and abs(value) < LARGEST
