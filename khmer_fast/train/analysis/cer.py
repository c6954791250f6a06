"""What a run's character error rate says: where it goes, when it gets there, and above 100 %."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from khmer_fast.train import trend
from khmer_fast.train.analysis import words
from khmer_fast.train.analysis.finding import Finding, FindingRule
from khmer_fast.train.analysis.loss import is_early, too_early
from khmer_fast.train.history import Record, counted
from khmer_fast.train.lock_on import LOCKED
from khmer_fast.train.run_log import RunLog, is_number

UNKNOWN = FindingRule(
    "cer", "cer.unknown", "note",
    "There is no validation CER.",
    "The loss says how sure the model is, not how well it reads.",
    next_step="Measure CER on validation lines each epoch.",
)  # fmt: skip
ENDS = ("{observation}", "{expectation}", "{next_step}")
SHORT, FALLING, RISING, FLAT = (
    FindingRule("cer", f"cer.{code}", level, ENDS[0], meaning + " {ago}", *ENDS[1:])
    for code, level, meaning in (
        ("short", "note", "Too few epochs to tell a trend."),
        ("falling", "good", "CER falls beyond the noise."),
        ("rising", "warning", "CER gets worse of late."),
        ("flat", "note", "Of late CER moves no more than its noise."),
    )
)
ABOVE_ONE = FindingRule(
    "cer", "cer.above_one", "note",
    "Validation CER is {cer:.2%}, above 100 %.",
    "{parts}. {lock_on}",
    "It falls below 100 % within an epoch or two of lock-on.",
    "If it lasts: train with CTC beside the decoder (--ctc-weight 0.3) or begin with CTC alone "
    "(--ctc-only-epochs 1), and see that the learning rate is not too low.",
)  # fmt: skip
BEFORE_LOCK_ON = "This is expected before attention locks on to the line."
AFTER_LOCK_ON = (
    "The text is too long although attention is right: <eos> is not learnt yet, or labels lack "
    "part of what the images show."
)


@dataclass(frozen=True)
class Projection:
    """When CER gets to a target if its logarithm goes on in a straight line."""

    state: str  # reached, reachable, late, never, unknown
    expectation: str
    next_step: str
    place: float | None = None  # epoch or step
    figures: dict[str, Any] = field(default_factory=dict)


def cer(log: RunLog, records: Sequence[Record], target: float) -> list[Finding]:
    """Findings about the CER of a log, whose `records` are of one measure."""
    log = log.of(records)
    x, y = log.series("val_cer")
    if not y:
        return [UNKNOWN.finding()]
    late = trend.recent(x, y)
    best = min(range(len(y)), key=lambda i: y[i])
    figures = words.figures_of(log.axis, "val_cer", x, y, late)
    observation = f"Validation CER {words.course(log.axis, x, y, '.2%')}"
    observation += f"{words.slope(late, words.an(log.axis), percent=True)}."
    reported = log.series("best_cer")[1]
    if log.series("val_cer_capped")[1]:
        reported = []  # the best of another measure
    if reported and min(reported) < y[best] - 1e-9:
        figures["reported_best"] = min(reported)
        observation += f" The log itself reports a best of {min(reported):.2%}."
    parts = _parts(log)
    if parts:
        observation += f" At the end: {parts}."
    rule = SHORT if late is None else FALLING if late.falls else RISING if late.rises else FLAT
    ago = ""
    if best < len(y) - 1 and y[-1] > 1.2 * y[best] and y[-1] - y[best] > 0.01:
        ago = f"The best was {counted(len(y) - 1 - best, 'measurement')} ago."
    projection = project(log, x, y, target)
    figures |= projection.figures
    level = None
    expectation, next_step = projection.expectation, projection.next_step
    if projection.state in ("late", "never"):
        if is_early(log.records):
            level, expectation, next_step = "note", too_early(log.records), "Go on."
        elif rule is FALLING:
            level = "note"
    found = [
        rule.finding(
            figures, level, observation=observation, ago=ago, expectation=expectation,
            next_step=next_step,
        )
    ]  # fmt: skip
    if y[-1] > 1:
        above = above_one([r for r in log.records if is_number(r.get("val_cer"))])
        found += [above] if above is not None else []
    return found


def above_one(records: Sequence[Record]) -> Finding | None:
    """A CER above 100 %, which comes from predictions that are longer than the truth."""
    last = records[-1]
    rate = last.get("val_cer")
    if rate is None or not rate > 1:
        return None
    parts = ["Insertions outnumber the characters that are right"]
    predicted, true = last.get("val_length"), last.get("val_true_length")
    if predicted is not None and true:
        parts.append(f"predictions are {predicted / true:.1f} times as long as the truth")
    without = last.get("val_without_eos")
    if without is not None and without > 0.1:
        parts.append(f"{without:.0%} of the lines never reach <eos>")
    score = last.get("lock_on")
    locked = score is not None and score >= LOCKED
    if len(parts) == 1:
        parts.append("predictions are longer than the truth, for want of <eos> or of attention")
    if score is not None:
        state = "follows the line" if locked else "has not locked on yet"
        parts.append(f"attention {state} (lock-on {score:.2f})")
    return ABOVE_ONE.finding(
        {"cer": rate},
        cer=rate,
        parts="; ".join(parts),
        lock_on=AFTER_LOCK_ON if locked else BEFORE_LOCK_ON,
    )


def _parts(log: RunLog) -> str:
    names = ("substitutions", "deletions", "insertions")
    last = log.records[-1]
    return ", ".join(
        f"{name} {last[f'val_{name}']:.2%}" for name in names if is_number(last.get(f"val_{name}"))
    )


def project(log: RunLog, x: list[float], y: list[float], target: float) -> Projection:
    """When CER gets to `target`."""
    axis = log.axis

    def projection(state: str, said: str, then: str, place: float | None = None, **figures: Any):
        found = {"target": target, "target_state": state, f"target_{axis}": place, **figures}
        return Projection(state, said, then, place, found)

    reached = next((place for place, value in zip(x, y, strict=True) if value <= target), None)
    if reached is not None:
        said = f"CER {target:.0%} was reached at {axis} {words.number(reached)}."
        return projection("reached", said, "", reached)
    line = trend.recent(x, [math.log(max(value, 1e-6)) for value in y])
    if line is None:
        said = f"Too few {axis}s to look ahead."
        return projection("unknown", said, f"Train for some more {axis}s.")
    when = line.reaches(math.log(target))
    if when is None or not line.falls:
        return projection(
            "never",
            f"At this trend CER {target:.0%} is not reached at all: no fall can be told from the "
            "noise.",
            "Change something before going on.",
        )
    place, early, late = when
    figures = {f"target_{axis}_earliest": early, f"target_{axis}_latest": late}
    said = f"At this trend CER {target:.0%} is reached at about {axis} {place:.0f} "
    said += f"({early:.0f} to {late:.0f})"
    limit = log.planned or 3 * x[-1] + (50 if axis == "epoch" else 0)
    if place <= limit:
        return projection("reachable", said + ".", "Go on.", place, **figures)
    beyond = f"{log.planned} planned {axis}s" if log.planned else f"{x[-1]:.0f} {axis}s so far"
    return projection(
        "late",
        said + f", far beyond the {beyond}: this pace does not get there.",
        "Do not wait for it: change something first.",
        place,
        **figures,
    )
