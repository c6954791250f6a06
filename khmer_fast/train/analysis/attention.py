"""What a run's attention says: whether it follows the line, and whether the decoder looks at it."""

from __future__ import annotations

from collections.abc import Sequence

from khmer_fast.train.analysis import words
from khmer_fast.train.analysis.finding import Finding, FindingRule
from khmer_fast.train.history import Record
from khmer_fast.train.lock_on import LOCKED, NOT_LOCKED
from khmer_fast.train.run_log import RunLog

UNKNOWN = FindingRule(
    "attention", "attention.unknown", "note",
    "The log holds no figure for attention.",
    "{meaning}",
    next_step="khmer-fast train measures it each epoch and draws it in plots/attention; look at "
    "such pictures first.",
)  # fmt: skip
FOLLOWS = FindingRule(
    "attention", "attention.locked", "good",
    "{observation}",
    "Attention follows the line since {since}.",
    "From here on CER falls with the loss.",
)  # fmt: skip
ON_ITS_WAY = FindingRule(
    "attention", "attention.on_its_way", "note",
    "{observation}",
    f"Attention does not follow the line yet ({LOCKED} is locked).",
    "With CTC beside it, it locks on after about 16,000 lines.",
    "Look at plots/attention: a diagonal should appear.",
)  # fmt: skip
WANDERS = FindingRule(
    "attention", "attention.wanders", "warning",
    "{observation} Lock-on fell from {best:.2f} to {score:.2f}.",
    "Attention had found its way along the line and lost it: a learning rate too high, or lines "
    "much longer than before.",
    "CER rises with it, most of all on long lines.",
    "Look at plots/attention of both epochs; lower the learning rate, or go back to the best model "
    "with --init-from.",
)  # fmt: skip
NOT_YET = FindingRule(
    "attention", "attention.not_locked", "warning",
    f"{{observation}} Lock-on is {{score:.2f}}{{seen}} (best {{best:.2f}}; {LOCKED} is locked).",
    "Attention does not follow the line yet. With CTC beside it, it does after about 16,000 lines.",
    "The decoder learns which letters are frequent, and nothing from the image.",
    "Use --ctc-weight 0.3 or more, begin with CTC alone (--ctc-only-epochs 1), or raise the "
    "learning rate.",
)  # fmt: skip
COLLAPSED = FindingRule(
    "attention", "output.collapsed", "warning",
    "Only {distinct:.1%} of the validation lines were read as different texts.",
    "The model writes nearly the same whatever it sees: the decoder does not look at the image. "
    "That is usual in the first thousand steps, and a fault later.",
    "Loss stays near the entropy of the letters (3 to 4 nats a character).",
    "If it lasts: more CTC weight, a longer warm-up, or a lower learning rate.",
)  # fmt: skip


def attention(log: RunLog) -> list[Finding]:
    """Findings about the attention of a log."""
    x, y = log.series("lock_on")
    if not y:
        cer = log.series("val_cer")[1]
        if cer and cer[-1] > 1:
            meaning = "CER above 100 % says that it has not locked on to the line yet."
        elif cer and cer[-1] < 0.5:
            meaning = "A CER this low is not possible without it: it has locked on."
        else:
            meaning = "Whether it follows the line cannot be told."
        return [UNKNOWN.finding(meaning=meaning)]
    observation = f"Lock-on {words.course(log.axis, x, y, '.2f', best=max)}."
    wrong = lock_on_state(log.records, observation)
    if wrong is not None:
        return [wrong]
    figures = words.figures_of(log.axis, "lock_on", x, y, None, best=max)
    if y[-1] < LOCKED:
        return [ON_ITS_WAY.finding(figures, observation=observation)]
    since = next(place for place, value in zip(x, y, strict=True) if value >= LOCKED)
    figures["locked_since"] = since
    said = f"{log.axis} {words.number(since)}"
    return [FOLLOWS.finding(figures, observation=observation, since=said)]


def lock_on_state(records: Sequence[Record], observation: str = "") -> Finding | None:
    """Attention that lost its way, or that should have found it by now."""
    scores = [r["lock_on"] for r in records if r.get("lock_on") is not None]
    if not scores:
        return None
    score, best = scores[-1], max(scores)
    figures = {"lock_on": score, "best": best}
    if best >= LOCKED and score < 0.6 * best:
        return WANDERS.finding(figures, observation=observation, score=score, best=best)
    lines = records[-1].get("lines")
    late = lines >= 50_000 and len(scores) >= 3 if lines is not None else len(scores) >= 8
    if best < NOT_LOCKED and late:
        seen = f" after {lines:,} lines" if lines is not None else ""
        figures["lines"] = lines
        return NOT_YET.finding(figures, observation=observation, score=score, best=best, seen=seen)
    return None


def collapse(records: Sequence[Record]) -> Finding | None:
    """A model that writes the same whatever it sees."""
    distinct = records[-1].get("val_distinct")
    if distinct is None or distinct > 0.1:
        return None
    return COLLAPSED.finding({"distinct": distinct}, distinct=distinct)
