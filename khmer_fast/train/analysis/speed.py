"""What a run's times say: its pace, what is left, and whether it waits for data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from khmer_fast.train import trend
from khmer_fast.train.analysis.finding import Finding, FindingRule
from khmer_fast.train.history import Record, duration
from khmer_fast.train.run_log import RunLog

STARVED_SHARE = 0.05  # of the time that may go into waiting for data
EARLY_SECONDS = 60  # of training, before which starting workers and filling a pool count too much

UNKNOWN = FindingRule(
    "speed", "speed.unknown", "note",
    "The log holds no times.",
    "How long the rest takes cannot be told.",
    next_step="Log the time of each epoch.",
)  # fmt: skip
STEADY = FindingRule(
    "speed", "speed.steady", "good", "{observation}", "The pace is steady.", "{expectation}"
)  # fmt: skip
SLOWS = FindingRule(
    "speed", "speed.slows", "warning",
    "{observation}",
    "Epochs take longer and longer: memory or open files grow, or other work came.",
    "{expectation}",
    "Look at memory and at other processes; a resume starts fresh.",
)  # fmt: skip
STARVED = FindingRule(
    "speed", "speed.starved", "warning",
    "{share:.0%} of the time goes into waiting for data.",
    "Rendering or reading does not keep up with the model.",
    "It stays so.",
    "Resume with more --workers, and with as many --threads fewer where all cores are busy; or put "
    "the images on a local disk.",
)  # fmt: skip


def speed(log: RunLog) -> list[Finding]:
    """Findings about the times of a log."""
    rates = log.series("lines_per_second")[1]
    epochs = sorted(log.epoch_seconds)
    times = [log.epoch_seconds[epoch] for epoch in epochs]
    if not times and not rates:
        return [UNKNOWN.finding()]
    figures: dict[str, Any] = {}
    said = []
    expectation = ""
    if times:
        usual = sorted(times)[len(times) // 2]
        figures.update(epoch_seconds=usual, total_seconds=sum(times))
        said.append(f"an epoch takes {duration(usual)}")
        done = log.series("epoch")[1]
        if log.planned_epochs and done:
            missing = max(log.planned_epochs - max(done), 0)
            figures["seconds_left"] = left = missing * usual
            expectation = (
                f"The {missing:.0f} epochs that are left take about {duration(left)}."
                if left
                else "All planned epochs are done."
            )
    if rates:
        figures["lines_per_second"] = rates[-1]
        said.append(f"{rates[-1]:.1f} lines/s at the end")
    waiting = log.series("data_share")[1]
    if waiting:
        figures["data_share"] = waiting[-1]
        said.append(f"{1 - waiting[-1]:.1%} of the time is in the step")
    observation = ", ".join(said)
    observation = f"{observation[:1].upper()}{observation[1:]}."
    line = trend.recent([float(e) for e in epochs], times) if times else None
    slows = line is not None and line.rises and line.slope * line.points > 0.2 * line.mean_y
    rule = SLOWS if slows else STEADY
    found = [rule.finding(figures, observation=observation, expectation=expectation)]
    waits = starved(log.records) if waiting else None
    return [*found, waits] if waits is not None else found


def starved(records: Sequence[Record]) -> Finding | None:
    """A run that waits for its data."""
    last = records[-1]
    share, seconds = last.get("data_share"), last.get("seconds")
    early = seconds is not None and seconds < EARLY_SECONDS
    if share is None or share <= STARVED_SHARE or early:
        return None
    return STARVED.finding({"data_share": share}, share=share)
