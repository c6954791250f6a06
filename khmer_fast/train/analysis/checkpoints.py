"""What a run's checkpoints and backups say: what a crash would cost."""

from __future__ import annotations

from khmer_fast.train.analysis.finding import Finding, FindingRule
from khmer_fast.train.analysis.words import number
from khmer_fast.train.history import counted
from khmer_fast.train.run_log import RunLog

NONE = FindingRule(
    "checkpoints", "checkpoint.none", "warning",
    "{said}",
    "If none was saved, all goes when the machine goes.",
    next_step="Save a checkpoint each epoch; khmer-fast train does.",
)  # fmt: skip
SAVED = FindingRule(
    "checkpoints", "checkpoint.saved", "good",
    "{observation}",
    "A run that is cut off now loses nothing but the epoch under way.",
)  # fmt: skip
BEHIND = FindingRule(
    "checkpoints", "checkpoint.behind", "warning",
    "{observation}",
    "The last {behind:.0f} epochs are in no checkpoint and would be lost.",
)  # fmt: skip
RESUMED = FindingRule(
    "checkpoints", "run.resumed", "note",
    "Resumed {times}, last from epoch {last}. {again}",
    "The run was interrupted and its checkpoints did their work.",
    next_step="{next_step}",
)  # fmt: skip
RESTARTED = FindingRule(
    "checkpoints", "run.restarted", "note",
    "{times} the epochs went back without a word about resuming; {again} epochs were trained "
    "again.",
    "Either the run began anew, or the log does not say that it resumed. Later values stand for "
    "earlier ones.",
)  # fmt: skip
BROKEN = FindingRule(
    "checkpoints", "checkpoint.broken", "warning",
    "{count} of {all} files do not verify: {listed}.",
    "Resume walks back to the newest that verifies.",
    next_step="Copy them from the backup, if there is one; look after the disk.",
)  # fmt: skip
VERIFIED = FindingRule(
    "checkpoints", "checkpoint.verified", "good",
    "All {all} files have the size and sha256 of the manifest.",
    "They can be resumed from.",
)  # fmt: skip
SAME_FILE = FindingRule(
    "checkpoints", "backup.same_file", "note",
    "{lines} said that copy and original are the same file.",
    "Harmless: the checkpoint is already in the folder that it was to be copied to. But there is "
    "only this one copy.",
    next_step="Give the backup another folder, or leave it out; khmer-fast train says it once.",
)  # fmt: skip
BACKUP_FAILED = FindingRule(
    "checkpoints", "backup.failed", "warning",
    "{backups} failed, last: {last}",
    "The second copy is not up to date.",
    "Nothing is lost while the first copy stands.",
    "See whether the drive is mounted and has room.",
)  # fmt: skip


def checkpoints(log: RunLog) -> list[Finding]:
    """Findings about the checkpoints, resumes and backups of a log."""
    found = [_saved(log)]
    if log.resumed:
        times = "once" if len(log.resumed) == 1 else f"{len(log.resumed)} times"
        again = f"{log.retrained} epochs were trained a second time." if log.retrained else ""
        more = "--checkpoint-every STEPS saves inside long epochs too." if log.retrained else ""
        figures = {"resumed_from": log.resumed, "retrained": log.retrained}
        found.append(
            RESUMED.finding(figures, times=times, last=log.resumed[-1], again=again, next_step=more)
        )
    if log.restarts:
        found.append(
            RESTARTED.finding(
                {"restarts": log.restarts, "retrained": log.retrained},
                times=counted(log.restarts, "time"),
                again=log.retrained,
            )
        )
    if log.manifest:
        broken = {name: why for name, why in log.manifest.items() if why is not None}
        listed = "; ".join(f"{name} {why}" for name, why in broken.items())
        if broken:
            found.append(
                BROKEN.finding(
                    {"broken": sorted(broken)},
                    count=len(broken), all=len(log.manifest), listed=listed,
                )
            )  # fmt: skip
        else:
            found.append(VERIFIED.finding({"files": len(log.manifest)}, all=len(log.manifest)))
    if log.same_file:
        lines = counted(log.same_file, "line")
        found.append(SAME_FILE.finding({"count": log.same_file}, lines=lines))
    if log.backup_failures:
        count = len(log.backup_failures)
        found.append(
            BACKUP_FAILED.finding(
                {"count": count},
                backups=counted(count, "backup"), last=log.backup_failures[-1],
            )
        )  # fmt: skip
    return found


def _saved(log: RunLog) -> Finding:
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
        return NONE.finding(figures, said=said)
    kept = "kept" if log.kind == "run" else "saved"
    observation = f"{counted(len(log.saved), 'checkpoint')} {kept}"
    observation += f", the newest of epoch {number(max(saved))}." if saved else "."
    behind = last - max(saved) if saved and last is not None else 0
    figures["behind"] = behind
    if behind > 1:
        return BEHIND.finding(figures, observation=observation, behind=behind)
    return SAVED.finding(figures, observation=observation)
