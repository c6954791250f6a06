"""What a run or its log tells: figures, what they mean, what to expect, what to do next."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from khmer_fast.train import health, history, trend
from khmer_fast.train.health import BIGRAM_ENTROPY, UNIGRAM_ENTROPY, Finding
from khmer_fast.train.history import counted
from khmer_fast.train.logs import RunLog
from khmer_fast.train.trend import Trend

TARGET = 0.10  # CER that a projection is made for
SLOW_HALVING = 100  # epochs to halve a loss, above which the pace is too slow


def analyze(log: RunLog, target: float = TARGET) -> list[Finding]:
    """The findings about a run, by topic, and at the end what to do."""
    judged = replace(log, records=list(health.one_measure(log.records)))
    found = _log(log, target)
    for about in (_loss, _cer):
        found += about(judged, target)
    for about in (_attention, _checkpoints, _speed):
        found += about(log, target)
    return [*found, _advice(judged, found)]


# ---- the log itself ----


def _log(log: RunLog, _target: float) -> list[Finding]:
    epochs = log.series("epoch")[1]
    figures: dict[str, Any] = {
        "lines": log.lines,
        "unread_lines": log.unread,
        "records": len(log.records),
        "planned_epochs": log.planned_epochs,
    }
    if epochs:
        figures.update(first_epoch=min(epochs), last_epoch=max(epochs))
    planned = f" of {log.planned_epochs} planned" if log.planned_epochs else ""
    span = f"epochs {min(epochs):.0f} to {max(epochs):.0f}{planned}" if epochs else "no epochs"
    what = "records in the run's history" if log.kind == "run" else "lines"
    observation = f"{log.lines} {what}: {span}."
    if log.unread:
        examples = "; ".join(repr(example) for example in log.unread_examples)
        observation += f" {counted(log.unread, 'line')} not understood, such as {examples}."
    if log.warnings:
        figures["warnings"] = len(log.warnings)
        observation += f" {counted(len(log.warnings), 'warning')}, last: {log.warnings[-1]}"
    meaning = (
        "What was not understood is left out; nothing is guessed."
        if log.unread
        else "Everything in it was understood."
    )
    found = [Finding("log", "log.read", "note", observation, meaning, figures=figures)]
    alone = len(log.records) - len(health.one_measure(log.records))
    if alone:
        found.append(
            Finding(
                "log",
                "log.ctc_first",
                "note",
                f"The first {counted(alone, 'record')}, up to epoch "
                f"{log.records[alone - 1]['epoch']}, are of CTC alone.",
                "Loss and CER of the CTC head are other measures than the decoder's: what follows "
                "is about the records after them.",
                figures={"records": alone},
            )
        )
    if log.percent_assumed is not None:
        unit = "percent" if log.percent_assumed else "fractions"
        found.append(
            Finding(
                "log",
                "cer.unit_assumed",
                "note",
                f"CER stands in the log without a % sign; the values are taken for {unit}.",
                "A value above 10 cannot be a fraction."
                if log.percent_assumed
                else "No value is above 10, so they can be fractions (1.17 is 117 %).",
                next_step="If that is wrong, all CER below is wrong by a factor of 100.",
                figures={"percent": log.percent_assumed},
            )
        )
    if log.loss_is_plain:
        found.append(
            Finding(
                "log",
                "loss.name_assumed",
                "note",
                "The log says only `loss`; it is taken for the training loss.",
                "No line names a training loss.",
            )
        )
    return found


# ---- loss ----


def _loss(log: RunLog, _target: float) -> list[Finding]:
    found = _impossible(log)
    x, y = log.series("train_loss")
    if not y:
        if not found:
            found.append(
                Finding(
                    "loss",
                    "loss.unknown",
                    "note",
                    "There is no training loss.",
                    "Whether the model learns can be told from CER alone.",
                    next_step="Log the mean training loss of each epoch.",
                )
            )
        return found
    val_x, val = log.series("val_loss")
    whole, late = trend.fit(x, y), trend.recent(x, y)
    figures = _figures("train_loss", x, y, late) | _figures("val_loss", val_x, val, None)
    observation = f"Training loss {_course(x, y, '.4f')}{_slope(late, 'nats an epoch')}."
    if val:
        observation += f" Validation loss {_course(val_x, val, '.4f')}."
    if found:  # a loss that cannot be has no trend worth a word
        return [*found, _finding_of_course("loss.course", observation, figures)]
    halving = _halving(late, y[-1])
    figures["halving_epochs"] = None if math.isinf(halving) else halving
    positive = (
        "Losses are positive, as a negative log-likelihood must be: log_softmax is in place. "
        if log.kind == "log"
        else "Losses are positive. "
    )
    if late is None:
        falls = y[-1] < y[0]
    else:  # of late, or over the whole run while it still tends down
        falls = late.falls or (whole.falls and late.slope < 0)
    slow = y[-1] > 0.5 and len(y) >= 5 and halving > SLOW_HALVING
    level, code = "good", "loss.falling"
    nlls = log.series("train_nll")[1]
    stage = _stage(nlls[-1] if nlls else y[-1])
    if not falls and health.is_early(log.records):
        level, code = "note", "loss.early"
        meaning = positive + _too_early(log)
        expectation = "It should fall clearly within the first 10,000 lines."
        next_step = "Go on."
    elif late is not None and late.rises:
        level, code = "warning", "loss.rising"
        meaning = positive + "But training loss rises: the steps are too large, or data changed."
        expectation = "It will not come down by itself."
        next_step = "Go back to the best model and lower the learning rate."
    elif slow:
        level, code = "warning", "loss.slow" if falls else "loss.flat"
        pace = (
            f"is falling, but at this pace it takes about {halving:.0f} epochs to halve: too slow"
            if falls
            else "does not fall beyond doubt"
        )
        meaning = positive + f"Training loss {pace}. {stage}"
        causes = _causes(log)
        meaning += "Likely causes: " + "; ".join(causes) + "."
        figures["causes"] = causes
        expectation = "More epochs of the same change little."
        next_step = _remedy(log)
    elif late is not None and not late.falls and len(y) >= 5:
        level, code = "note", "loss.flat"
        meaning = positive + "Training loss no longer falls beyond doubt."
        expectation = "It stays about where it is."
        next_step = "Stop, or go on with a lower learning rate or more varied data."
    else:
        meaning = positive + "Training loss falls: the model is learning. " + stage
        ahead = min(10.0, max(len(y) / 2, 1))
        later = _ahead(x, y, ahead)
        expectation = (
            f"If it goes on like this, about {later:.3g} in {ahead:.0f} epochs."
            if later is not None
            else "Too few epochs to look ahead."
        )
        next_step = "Go on."
    if whole is not None:
        figures["train_loss_slope_whole"] = whole.slope
    main = Finding(
        "loss", code, level, observation, meaning.strip(), expectation, next_step, figures
    )
    return [main, *_gap(log, y, val)]


def _impossible(log: RunLog) -> list[Finding]:
    """One finding a kind of impossible loss: the first of its values, and how many there are."""
    found = []
    negative = [entry for entry in log.negative if entry[1] < 0 and math.isfinite(entry[1])]
    others = [entry for entry in log.negative if entry not in negative]
    for entries in (negative, others):
        if not entries:
            continue
        name, value, where = entries[0]
        finding = health.impossible_loss(name.replace("_", " "), value, where or "the start")
        if finding is None:
            continue
        figures = {**finding.figures, "count": len(entries)}
        if negative is entries:
            figures["lowest"] = min(entry[1] for entry in entries)
        observation = finding.observation
        if len(entries) > 1:
            observation += f" {len(entries)} values are like that."
        found.append(Finding(**{**vars(finding), "observation": observation, "figures": figures}))
    return found


def _gap(log: RunLog, train: list[float], val: list[float]) -> list[Finding]:
    """Training against validation loss."""
    if not val:
        return []
    over = health.overfitting(log.records)
    if over is not None:
        return [over]
    gap = val[-1] - train[-1]
    figures = {"gap": gap, "train_loss": train[-1], "val_loss": val[-1]}
    observation = f"Validation loss lies {gap:+.4f} from training loss at the end."
    if abs(gap) <= max(0.1 * train[-1], 0.05):
        meaning = "They are close together: the model does not learn its lines by heart."
        if train[-1] > 2:
            meaning += " It has learned too little yet, not too much."
        return [Finding("loss", "loss.gap_small", "good", observation, meaning, figures=figures)]
    if gap < 0:
        meaning = (
            "Validation loss is the lower one. That is no fault: it is measured with the averaged "
            "weights, and at the end of the epoch that training loss is the mean of."
            if log.kind == "run"
            else "Validation loss is the lower one: dropout, augmentation or smoothing make "
            "training harder, or validation lines are easier. That is no fault."
        )
        return [Finding("loss", "loss.gap_negative", "note", observation, meaning, figures=figures)]
    return [
        Finding(
            "loss",
            "loss.gap_wide",
            "note",
            observation,
            "The model knows its training lines better than others.",
            "The gap grows if the data stays the same.",
            "More varied data or stronger augmentation closes it.",
            figures,
        )
    ]


def _stage(loss: float) -> str:
    """What a loss in nats a character says about what was learned."""
    if loss >= UNIGRAM_ENTROPY:
        return (
            f"At {loss:.2f} nats a character the model knows less than the frequencies of the "
            f"Khmer letters alone would tell ({UNIGRAM_ENTROPY}). "
        )
    if loss >= BIGRAM_ENTROPY:
        return (
            f"At {loss:.2f} nats a character it lies between what letter frequencies tell "
            f"({UNIGRAM_ENTROPY}) and what the letter before tells ({BIGRAM_ENTROPY}): the model "
            "has learned a little of the language and nothing yet from the image. "
        )
    if loss >= 1.5:
        return "The model knows the language and begins to use the image. "
    return ""


def _too_early(log: RunLog) -> str:
    return (
        f"Only {log.records[-1]['lines']:,} lines were seen: too early to judge. With CTC, "
        "attention locks on after about 16,000 lines."
    )


def _causes(log: RunLog) -> list[str]:
    rates = log.series("learning_rate")[1]
    rate = max(rates) if rates else log.settings.get("learning_rate")
    if rate is None:
        causes = ["a learning rate that is too low (the log does not say it)"]
    elif rate < 3e-4:
        causes = [f"a learning rate of {rate:g}, which is too low for this model"]
    elif rate > 5e-3:
        causes = [f"a learning rate of {rate:g}, which is too high to settle"]
    else:
        causes = [f"the learning rate ({rate:g}) or its schedule"]
    weight = log.settings.get("ctc_weight")
    if weight == 0 or (weight is None and not log.series("train_ctc")[1]):
        causes.append(
            "no CTC help for the encoder, without which reading is learnt from twice as many lines "
            "(short ones, measured)"
        )
    if log.series("lock_on")[1] and max(log.series("lock_on")[1]) < health.NOT_LOCKED:
        causes.append("attention that has not locked on")
    return causes


def _remedy(log: RunLog) -> str:
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


# ---- CER ----


def _cer(log: RunLog, target: float) -> list[Finding]:
    x, y = log.series("val_cer")
    if not y:
        return [
            Finding(
                "cer",
                "cer.unknown",
                "note",
                "There is no validation CER.",
                "The loss says how sure the model is, not how well it reads.",
                next_step="Measure CER on validation lines each epoch.",
            )
        ]
    late = trend.recent(x, y)
    best = min(range(len(y)), key=lambda i: y[i])
    figures = _figures("val_cer", x, y, late)
    observation = f"Validation CER {_course(x, y, '.2%')}{_slope(late, 'an epoch', percent=True)}."
    reported = log.series("best_cer")[1]
    if reported and min(reported) < y[best] - 1e-9:
        figures["reported_best"] = min(reported)
        observation += f" The log itself reports a best of {min(reported):.2%}."
    parts = _cer_parts(log)
    if parts:
        observation += f" At the end: {parts}."
    if late is None:
        code, level, meaning = "cer.short", "note", "Too few epochs to tell a trend."
    elif late.falls:
        code, level, meaning = "cer.falling", "good", "CER falls beyond the noise."
    elif late.rises:
        code, level, meaning = "cer.rising", "warning", "CER gets worse of late."
    else:
        code, level = "cer.flat", "note"
        meaning = "Of late CER moves no more than its noise."
    if best < len(y) - 1 and y[-1] > 1.2 * y[best] and y[-1] - y[best] > 0.01:
        meaning += f" The best was {counted(len(y) - 1 - best, 'measurement')} ago."
    expectation, next_step, projection = _project(x, y, target, log.planned_epochs)
    figures.update(projection)
    if projection["target_state"] in ("late", "never") and health.is_early(log.records):
        level, expectation, next_step = "note", _too_early(log), "Go on."
    if level == "good" and projection["target_state"] in ("late", "never"):
        level = "note"
    found = [
        Finding("cer", code, level, observation, meaning, expectation, next_step, figures),
    ]
    if y[-1] > 1:
        above = health.cer_above_one(
            [r for r in log.records if isinstance(r.get("val_cer"), int | float)]
        )
        if above is not None:
            found.append(above)
    return found


def _cer_parts(log: RunLog) -> str:
    names = ("substitutions", "deletions", "insertions")
    last = log.records[-1]
    parts = [
        f"{name} {last[f'val_{name}']:.2%}"
        for name in names
        if isinstance(last.get(f"val_{name}"), int | float)
    ]
    return ", ".join(parts)


def _project(
    x: list[float], y: list[float], target: float, planned: int | None
) -> tuple[str, str, dict[str, Any]]:
    """When CER gets to `target` if log(CER) goes on in a straight line: words, advice, figures."""
    reached = next((epoch for epoch, value in zip(x, y, strict=True) if value <= target), None)
    figures: dict[str, Any] = {"target": target}
    if reached is not None:
        figures.update(target_state="reached", target_epoch=reached)
        return f"CER {target:.0%} was reached at epoch {reached:.0f}.", "", figures
    line = trend.recent(x, [math.log(max(value, 1e-6)) for value in y])
    when = line.reaches(math.log(target)) if line is not None else None
    if line is None:
        figures.update(target_state="unknown", target_epoch=None)
        return "Too few epochs to look ahead.", "Train for some more epochs.", figures
    if when is None or not line.falls:
        figures.update(target_state="never", target_epoch=None)
        return (
            f"At this trend CER {target:.0%} is not reached at all: no fall can be told from the "
            "noise.",
            "Change something before going on.",
            figures,
        )
    epoch, early, late = when
    figures.update(target_epoch=epoch, target_epoch_earliest=early, target_epoch_latest=late)
    words = f"At this trend CER {target:.0%} is reached at about epoch {epoch:.0f} "
    words += f"({early:.0f} to {late:.0f})"
    limit = planned if planned else 3 * x[-1] + 50
    if epoch <= limit:
        figures["target_state"] = "reachable"
        return words + ".", "Go on.", figures
    figures["target_state"] = "late"
    beyond = f"{planned} planned epochs" if planned else f"{x[-1]:.0f} epochs so far"
    return (
        words + f", far beyond the {beyond}: this pace does not get there.",
        "Do not wait for it: change something first.",
        figures,
    )


# ---- attention ----


def _attention(log: RunLog, _target: float) -> list[Finding]:
    x, y = log.series("lock_on")
    if not y:
        cer = log.series("val_cer")[1]
        if cer and cer[-1] > 1:
            meaning = "CER above 100 % says that it has not locked on to the line yet."
        elif cer and cer[-1] < 0.5:
            meaning = "A CER this low is not possible without it: it has locked on."
        else:
            meaning = "Whether it follows the line cannot be told."
        return [
            Finding(
                "attention",
                "attention.unknown",
                "note",
                "The log holds no figure for attention.",
                meaning,
                next_step="khmer-fast train measures it each epoch and draws it in "
                "plots/attention; look at such pictures first.",
            )
        ]
    late = trend.recent(x, y)
    figures = _figures("lock_on", x, y, late, best=max)
    observation = f"Lock-on {_course(x, y, '.2f', best=max)}."
    wrong = health.attention_state(log.records)
    if wrong is not None:
        return [Finding(**{**vars(wrong), "observation": f"{observation} {wrong.observation}"})]
    if y[-1] >= health.LOCKED:
        since = next(epoch for epoch, value in zip(x, y, strict=True) if value >= health.LOCKED)
        figures["locked_since"] = since
        return [
            Finding(
                "attention",
                "attention.locked",
                "good",
                observation,
                f"Attention follows the line since epoch {since:.0f}.",
                "From here on CER falls with the loss.",
                figures=figures,
            )
        ]
    return [
        Finding(
            "attention",
            "attention.on_its_way",
            "note",
            observation,
            f"Attention does not follow the line yet ({health.LOCKED} is locked).",
            "With CTC beside it, it locks on after about 16,000 lines.",
            "Look at plots/attention: a diagonal should appear.",
            figures,
        )
    ]


# ---- checkpoints and backups ----


def _checkpoints(log: RunLog, _target: float) -> list[Finding]:
    found = []
    epochs = log.series("epoch")[1]
    last = max(epochs) if epochs else None
    saved = [epoch for epoch in log.saved if epoch is not None]
    figures = {
        "saved": len(log.saved),
        "newest": max(saved) if saved else None,
        "last_epoch": last,
        "resumed_from": log.resumed,
        "retrained": log.retrained,
    }
    if not log.saved:
        said = "The log names no checkpoint." if log.kind == "log" else "There is no checkpoint."
        found.append(
            Finding(
                "checkpoints",
                "checkpoint.none",
                "warning",
                said,
                "If none was saved, all goes when the machine goes.",
                next_step="Save a checkpoint each epoch; khmer-fast train does.",
                figures=figures,
            )
        )
    else:
        kept = "kept" if log.kind == "run" else "saved"
        observation = f"{counted(len(log.saved), 'checkpoint')} {kept}"
        observation += f", the newest of epoch {max(saved)}." if saved else "."
        behind = last - max(saved) if saved and last is not None else 0
        meaning = "A run that is cut off now loses nothing but the epoch under way."
        level, code = "good", "checkpoint.saved"
        if behind > 1:
            level, code = "warning", "checkpoint.behind"
            meaning = f"The last {behind:.0f} epochs are in no checkpoint and would be lost."
        figures["behind"] = behind
        found.append(Finding("checkpoints", code, level, observation, meaning, figures=figures))
    if log.resumed:
        times = "once" if len(log.resumed) == 1 else f"{len(log.resumed)} times"
        again = f" {log.retrained} epochs were trained a second time." if log.retrained else ""
        found.append(
            Finding(
                "checkpoints",
                "run.resumed",
                "note",
                f"Resumed {times}, last from epoch {log.resumed[-1]}.{again}",
                "The run was interrupted and its checkpoints did their work.",
                next_step="--checkpoint-every STEPS saves inside long epochs too."
                if log.retrained
                else "",
                figures={"resumed_from": log.resumed, "retrained": log.retrained},
            )
        )
    if log.restarts:
        found.append(
            Finding(
                "checkpoints",
                "run.restarted",
                "note",
                f"{counted(log.restarts, 'time')} the epochs went back without a word about "
                f"resuming; {log.retrained} epochs were trained again.",
                "Either the run began anew, or the log does not say that it resumed. Later values "
                "stand for earlier ones.",
                figures={"restarts": log.restarts, "retrained": log.retrained},
            )
        )
    if log.manifest is not None:
        broken = {name: why for name, why in log.manifest.items() if why is not None}
        if broken:
            listed = "; ".join(f"{name} {why}" for name, why in broken.items())
            found.append(
                Finding(
                    "checkpoints",
                    "checkpoint.broken",
                    "warning",
                    f"{len(broken)} of {len(log.manifest)} files do not verify: {listed}.",
                    "Resume walks back to the newest that verifies.",
                    next_step="Copy them from the backup, if there is one; look after the disk.",
                    figures={"broken": sorted(broken)},
                )
            )
        elif log.manifest:
            found.append(
                Finding(
                    "checkpoints",
                    "checkpoint.verified",
                    "good",
                    f"All {len(log.manifest)} files have the size and sha256 of the manifest.",
                    "They can be resumed from.",
                    figures={"files": len(log.manifest)},
                )
            )
    return found + _backups(log)


def _backups(log: RunLog) -> list[Finding]:
    found = []
    if log.same_file:
        found.append(
            Finding(
                "checkpoints",
                "backup.same_file",
                "note",
                f"{counted(log.same_file, 'line')} said that copy and original are the same file.",
                "Harmless: the checkpoint is already in the folder that it was to be copied to. "
                "But there is only this one copy.",
                next_step="Give the backup another folder, or leave it out; khmer-fast train says "
                "it once.",
                figures={"count": log.same_file},
            )
        )
    if log.backup_failures:
        found.append(
            Finding(
                "checkpoints",
                "backup.failed",
                "warning",
                f"{counted(len(log.backup_failures), 'backup')} failed, last: "
                f"{log.backup_failures[-1]}",
                "The second copy is not up to date.",
                "Nothing is lost while the first copy stands.",
                "See whether the drive is mounted and has room.",
                {"count": len(log.backup_failures)},
            )
        )
    return found


# ---- speed ----


def _speed(log: RunLog, _target: float) -> list[Finding]:
    x, rates = log.series("lines_per_second")
    epochs = sorted(log.epoch_seconds)
    times = [log.epoch_seconds[epoch] for epoch in epochs]
    if not times and not rates:
        return [
            Finding(
                "speed",
                "speed.unknown",
                "note",
                "The log holds no times.",
                "How long the rest takes cannot be told.",
                next_step="Log the time of each epoch.",
            )
        ]
    found = []
    figures: dict[str, Any] = {}
    words = []
    expectation = ""
    if times:
        usual = sorted(times)[len(times) // 2]
        figures.update(epoch_seconds=usual, total_seconds=sum(times))
        words.append(f"an epoch takes {history.duration(usual)}")
        done = log.series("epoch")[1]
        if log.planned_epochs and done:
            left = max(log.planned_epochs - max(done), 0) * usual
            figures["seconds_left"] = left
            expectation = (
                f"The {log.planned_epochs - max(done):.0f} epochs that are left take about "
                f"{history.duration(left)}."
                if left
                else "All planned epochs are done."
            )
    if rates:
        figures["lines_per_second"] = rates[-1]
        words.append(f"{rates[-1]:.1f} lines/s at the end")
    waiting = log.series("data_share")[1]
    if waiting:
        figures["data_share"] = waiting[-1]
        words.append(f"{1 - waiting[-1]:.1%} of the time is in the step")
    level, code, meaning, next_step = "good", "speed.steady", "The pace is steady.", ""
    line = trend.recent([float(e) for e in epochs], times) if times else None
    if line is not None and line.rises and line.slope * line.points > 0.2 * line.mean_y:
        level, code = "warning", "speed.slows"
        meaning = "Epochs take longer and longer: memory or open files grow, or other work came."
        next_step = "Look at memory and at other processes; a resume starts fresh."
    found.append(
        Finding(
            "speed",
            code,
            level,
            _sentence(", ".join(words)),
            meaning,
            expectation,
            next_step,
            figures,
        )
    )
    starved = health.starved(log.records) if waiting else None
    return [*found, starved] if starved is not None else found


# ---- what to do ----


def _advice(log: RunLog, found: list[Finding]) -> Finding:
    codes = {finding.code for finding in found}
    cer = next((f.figures for f in found if f.topic == "cer" and "target_state" in f.figures), {})
    state, epoch = cer.get("target_state"), cer.get("target_epoch")
    epochs = log.series("epoch")[1]
    last = max(epochs) if epochs else 0
    figures = {"last_epoch": last, "target_epoch": epoch, "more_epochs": None}

    def advise(code: str, level: str, words: str, why: str) -> Finding:
        return Finding("next", code, level, words, why, figures=figures)

    if "loss.negative" in codes:
        return advise(
            "advise.stop",
            "problem",
            "Stop. Mend the loss (log_softmax before NLLLoss), then start again.",
            "A negative loss means that what is minimised is no likelihood.",
        )
    if "loss.not_finite" in codes:
        return advise(
            "advise.stop",
            "problem",
            "Stop, and resume from the last checkpoint before it with half the learning rate.",
            "Weights after a loss that is not finite are of no use.",
        )
    if health.is_early(log.records) and state != "reached":
        return advise("advise.continue", "note", "Go on, and look again later.", _too_early(log))
    if codes & {"loss.slow", "cer.above_one"} and state in ("late", "never") and len(epochs) >= 8:
        return advise(
            "advise.change",
            "warning",
            f"Do not go on like this. {_remedy(log)} CER should be below 50 % after some 16,000 "
            "lines.",
            "At the present pace the epochs that are left do not bring readable text.",
        )
    if "loss.overfitting" in codes and "cer.falling" not in codes:
        return advise(
            "advise.stop",
            "warning",
            "Stop and use the best model, or go on with more varied data.",
            "The model now learns its training lines by heart.",
        )
    if "cer.falling" in codes or ("loss.falling" in codes and state != "reached"):
        words = "Go on."
        if state == "reachable":
            figures["more_epochs"] = more = max(math.ceil(epoch - last), 1)
            words = f"Go on for about {counted(more, 'more epoch')}."
        elif log.planned_epochs and last < log.planned_epochs:
            figures["more_epochs"] = more = int(log.planned_epochs - last)
            words = f"Go on; {counted(more, 'planned epoch')} left. Stop where CER stands still."
        return advise("advise.continue", "good", words, "The model is still improving.")
    if state == "reached" or "loss.flat" in codes:
        return advise(
            "advise.done",
            "good" if state == "reached" else "note",
            "Stop and use the best model; for less error train a new run from it with more "
            "varied data or a larger configuration.",
            "It no longer improves beyond the noise.",
        )
    if {"loss.rising", "cer.rising"} & codes:
        return advise(
            "advise.change",
            "warning",
            "Go back to the best model and lower the learning rate.",
            "It gets worse.",
        )
    return advise(
        "advise.continue",
        "note",
        "Go on, and look again in some epochs.",
        "There is too little here to judge by.",
    )


# ---- words and figures ----


def _figures(
    name: str,
    x: list[float],
    y: list[float],
    late: Trend | None,
    best: Callable[[list[float]], float] = min,
) -> dict[str, Any]:
    if not y:
        return {}
    figures = {
        f"{name}_first": y[0],
        f"{name}_first_epoch": x[0],
        f"{name}_last": y[-1],
        f"{name}_last_epoch": x[-1],
        f"{name}_best": best(y),
        f"{name}_best_epoch": x[y.index(best(y))],
    }
    if late is not None:
        figures[f"{name}_slope"] = late.slope
        figures[f"{name}_slope_interval"] = [late.low, late.high]
    return figures


def _course(
    x: list[float],
    y: list[float],
    shown: str,
    best: Callable[[list[float]], float] = min,
) -> str:
    """went from A (epoch 9) to B (epoch 41), best C (epoch 37)"""
    first, last, top = 0, len(y) - 1, y.index(best(y))
    said = [f"{y[i]:{shown}} (epoch {round(x[i], 2):g})" for i in (first, last, top)]
    if len(y) == 1:
        return f"is {said[0]}"
    return f"went from {said[0]} to {said[1]}, best {said[2]}"


def _slope(late: Trend | None, unit: str, percent: bool = False) -> str:
    if late is None:
        return ""
    scale = 100 if percent else 1
    slope, half = (round(scale * x, 9) for x in (late.slope, (late.high - late.low) / 2))
    words = f"{slope:+.3g} ± {half:.2g}"
    unit = f"points {unit}" if percent else unit
    return f"; of late {words} {unit} (last {late.points} values)"


def _halving(late: Trend | None, last: float) -> float:
    """Epochs until a loss is halved if it goes on to fall by the same share."""
    if late is None or late.slope >= 0 or last <= 0:
        return math.inf
    return math.log(2) / min(-late.slope / last, 0.99)


def _ahead(x: list[float], y: list[float], epochs: float) -> float | None:
    line = trend.recent(x, [math.log(max(value, 1e-9)) for value in y])
    return None if line is None else math.exp(line.at(x[-1] + epochs))


def _finding_of_course(code: str, observation: str, figures: dict[str, Any]) -> Finding:
    return Finding(
        "loss", code, "note", observation, "No trend of it means anything.", figures=figures
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."
