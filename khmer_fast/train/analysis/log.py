"""What can be said about a log itself: what it holds, what was assumed, what was not understood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from khmer_fast.train.analysis.finding import Finding, FindingRule
from khmer_fast.train.analysis.words import number
from khmer_fast.train.history import Record, counted
from khmer_fast.train.run_log import RunLog

SHOWN = 8  # figures that are not understood, most frequent first

READ = FindingRule("log", "log.read", "note", "{observation}", "{meaning}")
UNKNOWN_FIGURES = FindingRule(
    "log", "log.unknown_figures", "note",
    "{count} not understood: {listed}{more}.",
    "What they measure is not known here, so nothing below is about them.",
    next_step="If one of them is a loss or an error rate, give it its usual name (train_loss, "
    "val_cer, ...).",
)  # fmt: skip
CTC_FIRST = FindingRule(
    "log", "log.ctc_first", "note",
    "The first {records}, up to epoch {epoch}, are of CTC alone.",
    "Loss and CER of the CTC head are other measures than the decoder's: what follows is about the "
    "records after them.",
)  # fmt: skip
PERCENT_ASSUMED = FindingRule(
    "log", "cer.unit_assumed", "note",
    "CER stands in the log without a % sign; the values are taken for percent.",
    "A value above 10 cannot be a fraction.",
    next_step="If that is wrong, all CER below is wrong by a factor of 100.",
)  # fmt: skip
FRACTION_ASSUMED = FindingRule(
    "log", "cer.unit_assumed", "note",
    "CER stands in the log without a % sign; the values are taken for fractions.",
    "No value is above 10, so they can be fractions (1.17 is 117 %).",
    next_step="If that is wrong, all CER below is wrong by a factor of 100.",
)  # fmt: skip
PLAIN_LOSS = FindingRule(
    "log", "loss.name_assumed", "note",
    "The log says only `loss`; it is taken for the training loss.",
    "No line names a training loss.",
)  # fmt: skip
PLAIN_CER = FindingRule(
    "log", "cer.name_assumed", "note",
    "The log says only `cer`; it is taken for the validation CER.",
    "No line names a validation CER.",
)  # fmt: skip
FROM_ACCURACY = FindingRule(
    "log", "cer.from_accuracy", "note",
    "The log has an accuracy of characters and no CER; CER is what is left of it to 100 %.",
    "That is how kraken and others define it.",
)  # fmt: skip
TEST_LINES = FindingRule(
    "log", "log.test_lines", "note",
    "The log measures on test lines and on no validation lines; those figures stand for them.",
    "A model that is chosen by them is measured too well.",
)  # fmt: skip


def about_log(log: RunLog, records: Sequence[Record]) -> list[Finding]:
    """Findings about the log itself; `records` are those of one measure."""
    found = [_read(log)]
    if log.unknown:
        found.append(_unknown(log))
    alone = len(log.records) - len(records)
    if alone:
        said = counted(alone, "record")
        epoch = log.records[alone - 1].get("epoch")
        found.append(CTC_FIRST.finding({"records": alone}, records=said, epoch=epoch))
    if log.percent_assumed is not None:
        rule = PERCENT_ASSUMED if log.percent_assumed else FRACTION_ASSUMED
        found.append(rule.finding({"percent": log.percent_assumed}))
    for rule, holds in (
        (PLAIN_LOSS, log.loss_is_plain),
        (PLAIN_CER, log.cer_is_plain),
        (FROM_ACCURACY, log.cer_from_accuracy),
        (TEST_LINES, log.test_is_validation),
    ):
        if holds:
            found.append(rule.finding())
    return found


def _read(log: RunLog) -> Finding:
    places = log.places()
    figures: dict[str, Any] = {
        "lines": log.lines,
        "unread_lines": log.unread,
        "records": len(log.records),
        "planned_epochs": log.planned_epochs,
    }
    span = f"no {log.axis}s"
    if places:
        figures |= {f"first_{log.axis}": min(places), f"last_{log.axis}": max(places)}
        planned = f" of {log.planned} planned" if log.planned else ""
        span = f"{log.axis}s {number(min(places))} to {number(max(places))}{planned}"
    what = counted(log.lines, "record" if log.kind == "run" else "line")
    what += " in the run's history" if log.kind == "run" else ""
    observation = f"{what}: {span}."
    if log.unread:
        examples = "; ".join(repr(example) for example in log.unread_examples)
        observation += f" {counted(log.unread, 'line')} not understood, such as {examples}."
    if log.warnings:
        figures["warnings"] = len(log.warnings)
        observation += f" {counted(len(log.warnings), 'warning')}, last: {log.warnings[-1]}"
    meaning = (
        "What was not understood is left out; nothing is guessed."
        if log.unread or log.unknown
        else "Everything in it was understood."
    )
    return READ.finding(figures, observation=observation, meaning=meaning)


def _unknown(log: RunLog) -> Finding:
    names = sorted(log.unknown, key=lambda name: (-log.unknown[name], name))
    listed = ", ".join(f"{name} ({counted(log.unknown[name], 'time')})" for name in names[:SHOWN])
    rest = len(names) - SHOWN
    more = f" and {counted(rest, 'other')}" if rest > 0 else ""
    count = counted(len(names), "figure")
    return UNKNOWN_FIGURES.finding(
        {"unknown": dict(log.unknown)}, count=count, listed=listed, more=more
    )
