"""Watches a run while it trains: warnings with the likely cause and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from khmer_fast.train import trend
from khmer_fast.train.history import Record

# Entropy of Khmer text, nats a character: by letter frequencies alone, and given the letter before
# (measured on 6 million characters of web text). A loss between the two has not used the image.
UNIGRAM_ENTROPY, BIGRAM_ENTROPY = 3.85, 2.95

LOCKED, NOT_LOCKED = 0.6, 0.25  # lock-on scores; at 0.5 pictures still show a fog that drifts
QUIET_RECORDS = 5  # records before a warning that still holds is repeated
GRADIENT_MEMORY = 200  # steps
STARVED = 0.05  # share of the time that may go into waiting for data
EARLY_SECONDS = 60  # of training, before which starting workers and filling a pool count too much
EARLY_LINES = 20_000  # lines before which a run is not judged: attention locks on at about 16,000


@dataclass(frozen=True)
class Finding:
    """What a good colleague would say about one thing."""

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
class LockOn:
    """How well attention follows the line; all 0 to 1."""

    monotonicity: float  # net way forward over the whole way walked
    sharpness: float  # 1 - entropy of the weights over that of even weights
    coverage: float  # share of the line's width between the first and the last position read
    score: float  # the geometric mean of the three


def lock_on(weights: np.ndarray) -> LockOn:
    """Lock-on of one line from its attention weights [S, T], T without padding, rows sum to 1."""
    weights = np.asarray(weights, dtype=np.float64)
    steps, positions = weights.shape
    if steps < 2 or positions < 2 or not np.isfinite(weights).all():
        return LockOn(0.0, 0.0, 0.0, 0.0)
    place = weights @ np.arange(positions)  # [S], expected position
    moves = np.diff(place)
    walked = np.abs(moves).sum()
    forward = place[-1] - place[0]
    monotonicity = float(max(forward, 0) / walked) if walked > 1e-9 * positions else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(weights > 0, weights * np.log(weights), 0.0)
    sharpness = float(1 + terms.sum(1).mean() / math.log(positions))
    coverage = float(min(max(forward / (positions - 1), 0), 1))
    sharpness = min(max(sharpness, 0.0), 1.0)
    score = (monotonicity * sharpness * coverage) ** (1 / 3)
    return LockOn(monotonicity, sharpness, coverage, score)


def mean_lock_on(lines: Sequence[np.ndarray]) -> dict[str, float]:
    """The history's four attention figures, the mean over lines of attention weights [S, T]."""
    each = [lock_on(weights) for weights in lines]
    if not each:
        return {}
    return {
        "attention_monotonicity": float(np.mean([one.monotonicity for one in each])),
        "attention_sharpness": float(np.mean([one.sharpness for one in each])),
        "attention_coverage": float(np.mean([one.coverage for one in each])),
        "lock_on": float(np.mean([one.score for one in each])),
    }


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
            for rule in (cer_above_one, attention_state, collapse, overfitting, stopped, starved)
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
            return Finding(
                "loss",
                "gradient.not_finite",
                "problem",
                f"The gradient is {norm} at step {step}.",
                "A number in the forward or backward pass overflowed: one such step spoils all "
                "weights, and those of the last checkpoint are the last good ones.",
                "It will happen again at the same place.",
                "Resume from the last checkpoint with half the learning rate, or --amp off.",
                {"step": step},
            )
        self.gradients.append(norm)
        del self.gradients[:-GRADIENT_MEMORY]
        before, last = self.gradients[:-10], self.gradients[-10:]
        if len(before) < 20:
            return None
        usual = float(np.median(before))
        high = sum(value > 10 * usual for value in last)
        if high < 3:
            return None
        return Finding(
            "loss",
            "gradient.explodes",
            "warning",
            f"The gradient norm at step {step} is {norm:.3g}, and {high} of the last 10 steps "
            f"were above ten times the usual {usual:.3g}.",
            "Steps this steep undo what was learned; the learning rate is too high for here, or "
            "a batch holds broken lines.",
            "Clipping holds it for a while; the loss rises if it goes on.",
            "Lower --learning-rate by half or --clip, and look at the lines of these steps.",
            {"step": step, "norm": norm, "usual": usual},
        )

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


def impossible_loss(name: str, value: float, where: str) -> Finding | None:
    """A finding for a loss that is negative (CTC: beyond rounding) or not finite."""
    if not math.isfinite(value):
        return Finding(
            "loss",
            "loss.not_finite",
            "problem",
            f"The {name.removesuffix(' loss')} loss is {value} at {where}.",
            "A number overflowed or was divided by zero; the weights may be spoilt from here on.",
            "It does not mend itself.",
            "Resume from the last checkpoint with half the learning rate, or --amp off.",
            {"loss": str(value), "where": where},
        )
    floor = -1e-3 if "ctc" in name.lower() else 0.0
    if value < floor:
        return Finding(
            "loss",
            "loss.negative",
            "problem",
            f"The {name.removesuffix(' loss')} loss is {value:.4f} at {where}.",
            "The negative logarithm of a probability is never negative: what goes into the loss "
            "is no log-probability. log_softmax is missing before NLLLoss (or is over the wrong "
            "dimension).",
            "The loss will go on falling below zero without the text getting better.",
            "Put log_softmax over the vocabulary before the loss, and start again: weights "
            "trained this way are of no use.",
            {"loss": value, "where": where},
        )
    return None


def one_measure(records: Sequence[Record]) -> Sequence[Record]:
    """The records since the decoder came in: loss and CER of CTC alone are other measures."""
    alone = [i for i, r in enumerate(records) if "train_nll" in r and r["train_nll"] is None]
    after = records[alone[-1] + 1 :] if alone else records
    return after or records


def cer_above_one(records: Sequence[Record]) -> Finding | None:
    last = records[-1]
    cer = last.get("val_cer")
    if cer is None or not cer > 1:
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
        words = "follows the line" if locked else "has not locked on yet"
        parts.append(f"attention {words} (lock-on {score:.2f})")
    meaning = "; ".join(parts) + ". "
    meaning += (
        "The text is too long although attention is right: <eos> is not learnt yet, or labels lack "
        "part of what the images show."
        if locked
        else "This is expected before attention locks on to the line."
    )
    return Finding(
        "cer",
        "cer.above_one",
        "note",
        f"Validation CER is {cer:.2%}, above 100 %.",
        meaning,
        "It falls below 100 % within an epoch or two of lock-on.",
        "If it lasts: train with CTC beside the decoder (--ctc-weight 0.3) or begin with CTC alone "
        "(--ctc-only-epochs 1), and see that the learning rate is not too low.",
        {"cer": cer},
    )


def attention_state(records: Sequence[Record]) -> Finding | None:
    scores = [r["lock_on"] for r in records if r.get("lock_on") is not None]
    if not scores:
        return None
    score, best = scores[-1], max(scores)
    if best >= LOCKED and score < 0.6 * best:
        return Finding(
            "attention",
            "attention.wanders",
            "warning",
            f"Lock-on fell from {best:.2f} to {score:.2f}.",
            "Attention had found its way along the line and lost it: a learning rate too high, or "
            "lines much longer than before.",
            "CER rises with it, most of all on long lines.",
            "Look at plots/attention of both epochs; lower the learning rate, or go back to the "
            "best model with --init-from.",
            {"lock_on": score, "best": best},
        )
    lines = records[-1].get("lines")
    late = lines >= 50_000 and len(scores) >= 3 if lines is not None else len(scores) >= 8
    if best < NOT_LOCKED and late:
        seen = f" after {lines:,} lines" if lines is not None else ""
        return Finding(
            "attention",
            "attention.not_locked",
            "warning",
            f"Lock-on is {score:.2f}{seen} (best {best:.2f}; {LOCKED} is locked).",
            "Attention does not follow the line yet. With CTC beside it, it does after about "
            "16,000 lines.",
            "The decoder learns which letters are frequent, and nothing from the image.",
            "Use --ctc-weight 0.3 or more, begin with CTC alone (--ctc-only-epochs 1), or raise "
            "the learning rate.",
            {"lock_on": score, "best": best, "lines": lines},
        )
    return None


def collapse(records: Sequence[Record]) -> Finding | None:
    distinct = records[-1].get("val_distinct")
    if distinct is None or distinct > 0.1:
        return None
    return Finding(
        "attention",
        "output.collapsed",
        "warning",
        f"Only {distinct:.1%} of the validation lines were read as different texts.",
        "The model writes nearly the same whatever it sees: the decoder does not look at the "
        "image. That is usual in the first thousand steps, and a fault later.",
        "Loss stays near the entropy of the letters (3 to 4 nats a character).",
        "If it lasts: more CTC weight, a longer warm-up, or a lower learning rate.",
        {"distinct": distinct},
    )


def overfitting(records: Sequence[Record]) -> Finding | None:
    both = [
        (r["val_loss"], r["train_loss"], r.get("epoch", i))
        for i, r in enumerate(records)
        if _finite(r.get("val_loss")) and _finite(r.get("train_loss"))
    ]
    if len(both) < 5:
        return None
    best = min(range(len(both)), key=lambda i: both[i][0])
    since = both[best:]
    if len(since) < 4:
        return None
    places = list(range(len(since)))
    val = trend.fit(places, [v for v, _, _ in since])
    train = trend.fit(places, [t for _, t, _ in since])
    rise = since[-1][0] / since[0][0] - 1 if since[0][0] > 0 else 0.0
    if not (val.rises and train.slope < 0 and rise > 0.02):
        return None
    cers = [r["val_cer"] for r in records if r.get("val_cer") is not None]
    still = len(cers) >= 2 and min(cers[-3:]) <= min(cers)
    return Finding(
        "loss",
        "loss.overfitting",
        "note" if still else "warning",
        f"Validation loss rose {rise:.1%} since epoch {since[0][2]} ({since[0][0]:.4f} to "
        f"{since[-1][0]:.4f}) while training loss fell ({since[0][1]:.4f} to {since[-1][1]:.4f}).",
        "The model learns its training lines by heart"
        + (", though CER still gets better." if still else "."),
        "Going on makes it worse, not better, on new lines.",
        "More data or more augmentation, or stop: best_model.safetensors holds the best.",
        {"rise": rise, "since_epoch": since[0][2]},
    )


def is_early(records: Sequence[Record]) -> bool:
    """Whether the run says how many lines it has seen, and that is too few to judge it."""
    lines = records[-1].get("lines") if records else None
    return lines is not None and lines < EARLY_LINES


def stopped(records: Sequence[Record]) -> Finding | None:
    if is_early(records):
        return None
    count = 8
    losses = _series(records, "train_loss")[-count:]
    cers = _series(records, "val_cer")[-count:]
    if len(losses) < count or len(cers) < count:
        return None
    for values in (losses, cers):
        line = trend.fit(list(range(count)), values)
        middle = abs(line.mean_y)
        if line.falls and -line.slope * count > 0.01 * middle:
            return None
        if line.slope * -count > 0.03 * middle:
            return None
    low = cers[-1] < 0.02
    return Finding(
        "loss",
        "learning.stopped",
        "note" if low else "warning",
        f"Over the last {count} records training loss stands at {losses[-1]:.4f} and CER at "
        f"{cers[-1]:.2%}, without a clear fall.",
        "Training has converged."
        if low
        else "Learning has stopped: the learning rate is too low (or its schedule has ended), "
        "too high to settle, or the model cannot learn more from this data.",
        "More epochs of the same bring nothing.",
        "Stop and use the best model, or add data."
        if low
        else "Start from the best model (--init-from) with another learning rate, with more varied "
        "data, or with a larger --config.",
        {"train_loss": losses[-1], "cer": cers[-1]},
    )


def starved(records: Sequence[Record]) -> Finding | None:
    last = records[-1]
    share, seconds = last.get("data_share"), last.get("seconds")
    if share is None or share <= STARVED or (seconds is not None and seconds < EARLY_SECONDS):
        return None
    return Finding(
        "speed",
        "speed.starved",
        "warning",
        f"{share:.0%} of the time goes into waiting for data.",
        "Rendering or reading does not keep up with the model.",
        "It stays so.",
        "Resume with more --workers, and with as many --threads fewer where all cores are busy; or "
        "put the images on a local disk.",
        {"data_share": share},
    )


def _series(records: Sequence[Record], name: str) -> list[float]:
    return [record[name] for record in records if _finite(record.get(name))]


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
