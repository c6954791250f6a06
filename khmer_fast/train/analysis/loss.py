"""What a run's losses say: whether they can be, where they go, and training against validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from khmer_fast.train import trend
from khmer_fast.train.analysis import words
from khmer_fast.train.analysis.finding import Finding, FindingRule
from khmer_fast.train.history import Record
from khmer_fast.train.lock_on import NOT_LOCKED
from khmer_fast.train.run_log import RunLog, is_number

# Entropy of Khmer text, nats a character: by letter frequencies alone, and given the letter before
# (measured on 6 million characters of web text). A loss between the two has not used the image.
UNIGRAM_ENTROPY, BIGRAM_ENTROPY = 3.85, 2.95
NO_CHARACTERS = 8.0  # nats; a loss above is one of lines, not of characters: another program's
EARLY_LINES = 20_000  # lines before which a run is not judged: attention locks on at about 16,000
SLOW_HALVING = 100  # epochs to halve a loss, above which the pace is too slow
STEPS_OF_AN_EPOCH = 1000  # where a log counts steps alone

NOT_FINITE = FindingRule(
    "loss", "loss.not_finite", "problem",
    "The {name} is {value} at {where}.{more}",
    "A number overflowed or was divided by zero; the weights may be spoilt from here on.",
    "It does not mend itself.",
    "Resume from the last checkpoint with half the learning rate, or --amp off.",
)  # fmt: skip
NEGATIVE = FindingRule(
    "loss", "loss.negative", "problem",
    "The {name} is {value:.4f} at {where}.{more}",
    "The negative logarithm of a probability is never negative: what goes into the loss is no "
    "log-probability. log_softmax is missing before NLLLoss (or is over the wrong dimension).",
    "The loss will go on falling below zero without the text getting better.",
    "Put log_softmax over the vocabulary before the loss, and start again: weights trained this "
    "way are of no use.",
)  # fmt: skip
UNKNOWN = FindingRule(
    "loss", "loss.unknown", "note",
    "There is no training loss.",
    "Whether the model learns can be told from CER alone.",
    next_step="Log the mean training loss of each epoch.",
)  # fmt: skip
COURSE = FindingRule(
    "loss", "loss.course", "note", "{observation}", "No trend of it means anything."
)  # fmt: skip
EARLY = FindingRule(
    "loss", "loss.early", "note",
    "{observation}",
    "{positive} {early}",
    "It should fall clearly within the first 10,000 lines.",
    "Go on.",
)  # fmt: skip
RISING = FindingRule(
    "loss", "loss.rising", "warning",
    "{observation}",
    "{positive} But training loss rises: the steps are too large, or data changed.",
    "It will not come down by itself.",
    "Go back to the best model and lower the learning rate.",
)  # fmt: skip
SLOW = FindingRule(
    "loss", "loss.slow", "warning",
    "{observation}",
    "{positive} Training loss is falling, but at this pace it takes about {halving} to halve: too "
    "slow. {stage} Likely causes: {causes}.",
    "More epochs of the same change little.",
    "{remedy}",
)  # fmt: skip
STANDING = FindingRule(
    "loss", "loss.flat", "warning",
    "{observation}",
    "{positive} Training loss does not fall beyond doubt. {stage} Likely causes: {causes}.",
    "More epochs of the same change little.",
    "{remedy}",
)  # fmt: skip
FLAT = FindingRule(
    "loss", "loss.flat", "note",
    "{observation}",
    "{positive} Training loss no longer falls beyond doubt.",
    "It stays about where it is.",
    "Stop, or go on with a lower learning rate or more varied data.",
)  # fmt: skip
FALLING = FindingRule(
    "loss", "loss.falling", "good",
    "{observation}",
    "{positive} Training loss falls: the model is learning. {stage}",
    "{expectation}",
    "Go on.",
)  # fmt: skip
OVERFITTING = FindingRule(
    "loss", "loss.overfitting", "warning",
    "Validation loss rose {rise:.1%} since {since} ({val[0]:.4f} to {val[1]:.4f}) while training "
    "loss fell ({train[0]:.4f} to {train[1]:.4f}).",
    "The model learns its training lines by heart{though}.",
    "Going on makes it worse, not better, on new lines.",
    "More data or more augmentation, or stop: best_model.safetensors holds the best.",
)  # fmt: skip
GAP = "Validation loss lies {gap:+.4f} from training loss at the end."
GAP_SMALL = FindingRule(
    "loss", "loss.gap_small", "good", GAP,
    "They are close together: the model does not learn its lines by heart. {little}",
)  # fmt: skip
GAP_OF_AVERAGES = FindingRule(
    "loss", "loss.gap_negative", "note", GAP,
    "Validation loss is the lower one. That is no fault: it is measured with the averaged weights, "
    "and at the end of the epoch that training loss is the mean of.",
)  # fmt: skip
GAP_NEGATIVE = FindingRule(
    "loss", "loss.gap_negative", "note", GAP,
    "Validation loss is the lower one: dropout, augmentation or smoothing make training harder, or "
    "validation lines are easier. That is no fault.",
)  # fmt: skip
GAP_WIDE = FindingRule(
    "loss", "loss.gap_wide", "note", GAP,
    "The model knows its training lines better than others.",
    "The gap grows if the data stays the same.",
    "More varied data or stronger augmentation closes it.",
)  # fmt: skip
STOPPED = FindingRule(
    "loss", "learning.stopped", "warning",
    "Over the last {count} records training loss stands at {loss:.4f} and CER at {cer:.2%}, "
    "without a clear fall.",
    "Learning has stopped: the learning rate is too low (or its schedule has ended), too high to "
    "settle, or the model cannot learn more from this data.",
    "More epochs of the same bring nothing.",
    "Start from the best model (--init-from) with another learning rate, with more varied data, or "
    "with a larger --config.",
)  # fmt: skip
CONVERGED = FindingRule(
    "loss", "learning.stopped", "note", STOPPED.observation,
    "Training has converged.",
    STOPPED.expectation,
    "Stop and use the best model, or add data.",
)  # fmt: skip


def loss(log: RunLog, records: Sequence[Record]) -> list[Finding]:
    """Findings about the losses of a log, whose `records` are of one measure."""
    judged = log.of(records)
    impossible = impossible_losses(log)
    x, y = judged.series("train_loss")
    if not y:
        return impossible or [UNKNOWN.finding()]
    val_x, val = judged.series("val_loss")
    whole, late = trend.fit(x, y), trend.recent(x, y)
    figures = words.figures_of(log.axis, "train_loss", x, y, late)
    figures |= words.figures_of(log.axis, "val_loss", val_x, val, None)
    observation = f"Training loss {words.course(log.axis, x, y, '.4f')}"
    observation += f"{words.slope(late, f'nats {words.an(log.axis)}')}."
    if val:
        observation += f" Validation loss {words.course(log.axis, val_x, val, '.4f')}."
    if impossible:  # a loss that cannot be has no trend worth a word
        return [*impossible, COURSE.finding(figures, observation=observation)]
    if whole is not None:
        figures["train_loss_slope_whole"] = whole.slope
    main = _course(judged, x, y, whole, late, figures, observation)
    return [main, *_gap(judged, y, val)]


def _course(
    log: RunLog,
    x: list[float],
    y: list[float],
    whole: trend.Trend | None,
    late: trend.Trend | None,
    figures: dict[str, Any],
    observation: str,
) -> Finding:
    """The one finding about where training loss goes."""
    halving = words.halving(late, y[-1])
    figures["halving_epochs"] = None if math.isinf(halving) else halving
    if late is None:
        falls = y[-1] < y[0]
    else:  # of late, or over the whole run while it still tends down
        falls = late.falls or (whole is not None and whole.falls and late.slope < 0)
    nlls = log.series("train_nll")[1]
    said: dict[str, Any] = {
        "observation": observation,
        "positive": (
            "Losses are positive, as a negative log-likelihood must be: log_softmax is in place."
            if log.kind == "log"
            else "Losses are positive."
        ),
        "stage": stage(nlls[-1] if nlls else y[-1], log.kind),
    }
    slow_pace = SLOW_HALVING * (STEPS_OF_AN_EPOCH if log.axis == "step" else 1)
    if not falls and is_early(log.records):
        return EARLY.finding(figures, early=too_early(log.records), **said)
    if late is not None and late.rises:
        return RISING.finding(figures, **said)
    if y[-1] > 0.5 and len(y) >= 5 and halving > slow_pace:
        figures["causes"] = causes(log)
        said |= {"causes": "; ".join(figures["causes"]), "remedy": remedy(log)}
        if not falls:
            return STANDING.finding(figures, **said)
        return SLOW.finding(figures, halving=f"{halving:.0f} {log.axis}s", **said)
    if late is not None and not late.falls and len(y) >= 5:
        return FLAT.finding(figures, **said)
    span = x[-1] - x[0]
    further = min(10.0, max(len(y) / 2, 1)) if log.axis == "epoch" else max(span / 2, 1.0)
    later = words.ahead(x, y, further)
    expectation = (
        f"If it goes on like this, about {later:.3g} in {further:.0f} {log.axis}s."
        if later is not None
        else f"Too few {log.axis}s to look ahead."
    )
    return FALLING.finding(figures, expectation=expectation, **said)


def impossible_losses(log: RunLog) -> list[Finding]:
    """One finding a kind of impossible loss: the first of its values, and how many there are."""
    found = []
    negative = [entry for entry in log.negative if entry[1] < 0 and math.isfinite(entry[1])]
    others = [entry for entry in log.negative if entry not in negative]
    for entries in (negative, others):
        if not entries:
            continue
        name, value, where = entries[0]
        figures: dict[str, Any] = {"count": len(entries)}
        if entries is negative:
            figures["lowest"] = min(entry[1] for entry in entries)
        finding = impossible_loss(
            name.replace("_", " "), value, where or "the start", len(entries), figures
        )
        if finding is not None:
            found.append(finding)
    return found


def impossible_loss(
    name: str, value: float, where: str, count: int = 1, figures: dict[str, Any] | None = None
) -> Finding | None:
    """A finding for a loss that is negative (CTC: beyond rounding) or not finite."""
    said: dict[str, Any] = {
        "name": name if name.endswith("loss") else f"{name} loss",
        "value": value,
        "where": where,
        "more": f" {count} values are like that." if count > 1 else "",
    }
    figures = {"where": where, **(figures or {})}
    if not math.isfinite(value):
        return NOT_FINITE.finding({"loss": str(value), **figures}, **said)
    floor = -1e-3 if "ctc" in name.lower() else 0.0
    if value < floor:
        return NEGATIVE.finding({"loss": value, **figures}, **said)
    return None


def _gap(log: RunLog, train: list[float], val: list[float]) -> list[Finding]:
    """Training against validation loss."""
    if not val:
        return []
    over = overfitting(log.records, log.axis)
    if over is not None:
        return [over]
    gap = val[-1] - train[-1]
    figures = {"gap": gap, "train_loss": train[-1], "val_loss": val[-1]}
    if abs(gap) <= max(0.1 * train[-1], 0.05):
        little = "It has learned too little yet, not too much." if train[-1] > 2 else ""
        return [GAP_SMALL.finding(figures, gap=gap, little=little)]
    if gap < 0:
        rule = GAP_OF_AVERAGES if log.kind == "run" else GAP_NEGATIVE
        return [rule.finding(figures, gap=gap)]
    return [GAP_WIDE.finding(figures, gap=gap)]


def overfitting(records: Sequence[Record], axis: str = "epoch") -> Finding | None:
    """Validation loss that rises while training loss falls."""
    both = [
        (r["val_loss"], r["train_loss"], r.get(axis, i))
        for i, r in enumerate(records)
        if is_number(r.get("val_loss")) and is_number(r.get("train_loss"))
    ]
    if len(both) < 5:
        return None
    best = min(range(len(both)), key=lambda i: both[i][0])
    since = both[best:]
    if len(since) < 4:
        return None
    places = [float(i) for i in range(len(since))]
    val = trend.fit(places, [v for v, _, _ in since])
    train = trend.fit(places, [t for _, t, _ in since])
    rise = since[-1][0] / since[0][0] - 1 if since[0][0] > 0 else 0.0
    if val is None or train is None or not (val.rises and train.slope < 0 and rise > 0.02):
        return None
    cers = [r["val_cer"] for r in records if is_number(r.get("val_cer"))]
    still = len(cers) >= 2 and min(cers[-3:]) <= min(cers)
    return OVERFITTING.finding(
        {"rise": rise, f"since_{axis}": since[0][2]},
        "note" if still else None,
        rise=rise,
        since=f"{axis} {words.number(since[0][2])}",
        val=(since[0][0], since[-1][0]),
        train=(since[0][1], since[-1][1]),
        though=", though CER still gets better" if still else "",
    )


def stopped(records: Sequence[Record]) -> Finding | None:
    """Loss and CER that no longer fall."""
    if is_early(records):
        return None
    count = 8
    losses, cers = (
        [r[name] for r in records if is_number(r.get(name))][-count:]
        for name in ("train_loss", "val_cer")
    )
    if len(losses) < count or len(cers) < count:
        return None
    for values in (losses, cers):
        line = trend.fit([float(i) for i in range(count)], values)
        if line is None:
            return None
        middle = abs(line.mean_y)
        if line.falls and -line.slope * count > 0.01 * middle:
            return None
        if line.slope * -count > 0.03 * middle:
            return None
    rule = CONVERGED if cers[-1] < 0.02 else STOPPED
    figures = {"train_loss": losses[-1], "cer": cers[-1]}
    return rule.finding(figures, count=count, loss=losses[-1], cer=cers[-1])


def stage(value: float, kind: str) -> str:
    """What a loss in nats a character says about what was learned."""
    if kind == "log" and value > NO_CHARACTERS:
        return ""
    if value >= UNIGRAM_ENTROPY:
        return (
            f"At {value:.2f} nats a character the model knows less than the frequencies of the "
            f"Khmer letters alone would tell ({UNIGRAM_ENTROPY})."
        )
    if value >= BIGRAM_ENTROPY:
        return (
            f"At {value:.2f} nats a character it lies between what letter frequencies tell "
            f"({UNIGRAM_ENTROPY}) and what the letter before tells ({BIGRAM_ENTROPY}): the model "
            "has learned a little of the language and nothing yet from the image."
        )
    if value >= 1.5:
        return "The model knows the language and begins to use the image."
    return ""


def is_early(records: Sequence[Record]) -> bool:
    """Whether the run says how many lines it has seen, and that is too few to judge it."""
    lines = records[-1].get("lines") if records else None
    return lines is not None and lines < EARLY_LINES


def too_early(records: Sequence[Record]) -> str:
    """That, in words."""
    return (
        f"Only {records[-1]['lines']:,} lines were seen: too early to judge. With CTC, attention "
        "locks on after about 16,000 lines."
    )


def causes(log: RunLog) -> list[str]:
    """Why a run may learn too slowly, as far as its log tells."""
    rates = log.series("learning_rate")[1]
    rate = max(rates) if rates else log.settings.get("learning_rate")
    if rate is None:
        found = ["a learning rate that is too low (the log does not say it)"]
    elif rate < 3e-4:
        found = [f"a learning rate of {rate:g}, which is too low for this model"]
    elif rate > 5e-3:
        found = [f"a learning rate of {rate:g}, which is too high to settle"]
    else:
        found = [f"the learning rate ({rate:g}) or its schedule"]
    weight = log.settings.get("ctc_weight")
    if weight == 0 or (weight is None and not log.series("train_ctc")[1]):
        found.append(
            "no CTC help for the encoder, without which reading is learnt from twice as many lines "
            "(short ones, measured)"
        )
    lock_on = log.series("lock_on")[1]
    if lock_on and max(lock_on) < NOT_LOCKED:
        found.append("attention that has not locked on")
    return found


def remedy(log: RunLog) -> str:
    """What makes a run learn that does not, leaving out what it has already."""
    rate = log.settings.get("learning_rate")
    steps = []
    if not log.settings.get("ctc_weight"):
        steps.append("CTC beside the decoder (--ctc-weight 0.3)")
    else:
        steps.append("CTC alone for the first epoch (--ctc-only-epochs 1)")
    if rate is None or not 1e-3 <= rate <= 2e-3:
        steps.append("a learning rate of 1e-3 to 2e-3 with warm-up")
    steps.append("varied lines, rendered anew each epoch")
    return f"Start again with {', '.join(steps[:-1])} and {steps[-1]}."
