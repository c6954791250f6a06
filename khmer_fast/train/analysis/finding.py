"""Rules and findings: what a good colleague would say about one thing, and its figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that was found in a run."""

    topic: str  # loss, cer, attention, checkpoints, speed, log, next
    code: str  # what was found, for programs: "cer.above_one"
    level: str  # good, note, warning, problem
    observation: str
    meaning: str
    expectation: str = ""
    next_step: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """One line for a log: what, why, what next."""
        parts = (self.observation, self.meaning, self.next_step)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class FindingRule:
    """What is said where something is found: templates with {names} that the judge fills in."""

    topic: str
    code: str
    level: str
    observation: str
    meaning: str
    expectation: str = ""
    next_step: str = ""

    def finding(
        self, figures: dict[str, Any] | None = None, level: str | None = None, **words: Any
    ) -> Finding:
        """The rule about one run; `level` goes before its own, and `words` fill the templates."""
        said = (self.observation, self.meaning, self.expectation, self.next_step)
        filled = (" ".join(text.format(**words).split()) for text in said)
        return Finding(self.topic, self.code, level or self.level, *filled, dict(figures or {}))
