"""Watches a run while it trains: warnings with the likely cause and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from khmer_fast.train.analysis.attention import collapse, lock_on_state
from khmer_fast.train.analysis.cer import above_one
from khmer_fast.train.analysis.finding import Finding, FindingRule
from khmer_fast.train.analysis.loss import impossible_loss, overfitting, stopped
from khmer_fast.train.analysis.speed import starved
from khmer_fast.train.history import Record, one_measure

QUIET_RECORDS = 5  # records before a warning that still holds is repeated
GRADIENT_MEMORY = 200  # steps

GRADIENT_NOT_FINITE = FindingRule(
    "loss", "gradient.not_finite", "problem",
    "The gradient is {norm} at step {step}.",
    "A number in the forward or backward pass overflowed: one such step spoils all weights, and "
    "those of the last checkpoint are the last good ones.",
    "It will happen again at the same place.",
    "Resume from the last checkpoint with half the learning rate, or --amp off.",
)  # fmt: skip
GRADIENT_EXPLODES = FindingRule(
    "loss", "gradient.explodes", "warning",
    "The gradient norm at step {step} is {norm:.3g}, and {high} of the last 10 steps were above "
    "ten times the usual {usual:.3g}.",
    "Steps this steep undo what was learned; the learning rate is too high for here, or a batch "
    "holds broken lines.",
    "Clipping holds it for a while; the loss rises if it goes on.",
    "Lower --learning-rate by half or --clip, and look at the lines of these steps.",
)  # fmt: skip


class Monitor:
    """Looks at every step and every record of a run, and warns without repeating itself."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.gradients: list[float] = []
        self.said: dict[str, int] = {}  # code -> number of records when it was last said

    def step(
        self, step: int, losses: Mapping[str, float], gradient_norm: float | None = None
    ) -> list[Finding]:
        """Findings about one optimiser step; losses in nats by name, gradient before clipping."""
        found = []
        for name, value in losses.items():
            finding = impossible_loss(name, value, f"step {step}")
            if finding is not None:
                found.append(finding)
        if gradient_norm is not None:
            finding = self._gradient(step, gradient_norm)
            if finding is not None:
                found.append(finding)
        return self._news(found)

    def record(self, record: Record) -> list[Finding]:
        """Findings about a new record of the history, given those before it."""
        self.records.append(dict(record))
        found = [
            rule(one_measure(self.records))
            for rule in (above_one, lock_on_state, collapse, overfitting, stopped, starved)
        ]
        present = [finding for finding in found if finding is not None]
        codes = {finding.code for finding in present}
        for code in [code for code in self.said if code in _RECORD_CODES and code not in codes]:
            del self.said[code]  # it is over; if it comes back it is news
        return self._news(present)

    def restore(self, records: Sequence[Record]) -> None:
        """Takes over the history of a resumed run."""
        self.records = [dict(record) for record in records]

    def _gradient(self, step: int, norm: float) -> Finding | None:
        if not math.isfinite(norm):
            return GRADIENT_NOT_FINITE.finding({"step": step}, step=step, norm=norm)
        self.gradients.append(norm)
        del self.gradients[:-GRADIENT_MEMORY]
        before, last = self.gradients[:-10], self.gradients[-10:]
        if len(before) < 20:
            return None
        usual = float(np.median(before))
        high = sum(value > 10 * usual for value in last)
        if high < 3:
            return None
        figures = {"step": step, "norm": norm, "usual": usual}
        return GRADIENT_EXPLODES.finding(figures, high=high, **figures)

    def _news(self, found: list[Finding]) -> list[Finding]:
        news = []
        for finding in found:
            said = self.said.get(finding.code)
            if said is None or len(self.records) - said >= QUIET_RECORDS:
                self.said[finding.code] = len(self.records)
                news.append(finding)
        return news


_RECORD_CODES = {
    "cer.above_one",
    "attention.not_locked",
    "attention.wanders",
    "output.collapsed",
    "loss.overfitting",
    "learning.stopped",
    "speed.starved",
}
