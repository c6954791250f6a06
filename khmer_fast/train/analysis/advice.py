"""What to do next, from all that was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from khmer_fast.train.analysis.finding import Finding, FindingRule
from khmer_fast.train.analysis.loss import is_early, remedy, too_early
from khmer_fast.train.history import counted
from khmer_fast.train.run_log import RunLog

LEAST_RECORDS = 8  # before a run is told to change something

MEND_THE_LOSS = FindingRule(
    "next", "advise.stop", "problem",
    "Stop. Mend the loss (log_softmax before NLLLoss), then start again.",
    "A negative loss means that what is minimised is no likelihood.",
)  # fmt: skip
GO_BACK = FindingRule(
    "next", "advise.stop", "problem",
    "Stop, and resume from the last checkpoint before it with half the learning rate.",
    "Weights after a loss that is not finite are of no use.",
)  # fmt: skip
LOOK_LATER = FindingRule(
    "next", "advise.continue", "note", "Go on, and look again later.", "{early}"
)
CHANGE = FindingRule(
    "next", "advise.change", "warning",
    "Do not go on like this. {remedy} CER should be below 50 % after some 16,000 lines.",
    "At the present pace the {axis}s that are left do not bring readable text.",
)  # fmt: skip
BY_HEART = FindingRule(
    "next", "advise.stop", "warning",
    "Stop and use the best model, or go on with more varied data.",
    "The model now learns its training lines by heart.",
)  # fmt: skip
GO_ON = FindingRule("next", "advise.continue", "good", "{words}", "The model is still improving.")
DONE = FindingRule(
    "next", "advise.done", "note",
    "Stop and use the best model; for less error train a new run from it with more varied data or "
    "a larger configuration.",
    "It no longer improves beyond the noise.",
)  # fmt: skip
WORSE = FindingRule(
    "next", "advise.change", "warning",
    "Go back to the best model and lower the learning rate.",
    "It gets worse.",
)  # fmt: skip
UNDECIDED = FindingRule(
    "next", "advise.continue", "note",
    "Go on, and look again in some {axis}s.",
    "There is too little here to judge by.",
)  # fmt: skip


def advice(log: RunLog, found: Sequence[Finding]) -> Finding:
    """The one thing to do."""
    codes = {finding.code for finding in found}
    cer = next((f.figures for f in found if f.topic == "cer" and "target_state" in f.figures), {})
    state, target = cer.get("target_state"), cer.get(f"target_{log.axis}")
    places = log.places()
    last = max(places) if places else 0
    figures: dict[str, Any] = {f"last_{log.axis}": last, f"target_{log.axis}": target}
    more = f"more_{log.axis}s"
    figures[more] = None
    if "loss.negative" in codes:
        return MEND_THE_LOSS.finding(figures)
    if "loss.not_finite" in codes:
        return GO_BACK.finding(figures)
    if is_early(log.records) and state != "reached":
        return LOOK_LATER.finding(figures, early=too_early(log.records))
    slow = codes & {"loss.slow", "cer.above_one"} and state in ("late", "never")
    if slow and len(places) >= LEAST_RECORDS:
        return CHANGE.finding(figures, remedy=remedy(log), axis=log.axis)
    if "loss.overfitting" in codes and "cer.falling" not in codes:
        return BY_HEART.finding(figures)
    if "cer.falling" in codes or ("loss.falling" in codes and state != "reached"):
        words = "Go on."
        if state == "reachable" and target is not None:
            figures[more] = count = max(math.ceil(target - last), 1)
            words = f"Go on for about {counted(count, f'more {log.axis}')}."
        elif log.planned and last < log.planned:
            figures[more] = count = int(log.planned - last)
            words = f"Go on; {counted(count, f'planned {log.axis}')} left. "
            words += "Stop where CER stands still."
        return GO_ON.finding(figures, words=words)
    if state == "reached" or "loss.flat" in codes:
        return DONE.finding(figures, "good" if state == "reached" else None)
    if {"loss.rising", "cer.rising"} & codes:
        return WORSE.finding(figures)
    return UNDECIDED.finding(figures, axis=log.axis)
