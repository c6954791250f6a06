"""Reads what a training run left: our run folders, and plain logs that other programs wrote."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from khmer_fast.errors import KhmerFastError, printable
from khmer_fast.train import history
from khmer_fast.train.history import Record, counted
from khmer_fast.train.log_lines import LONGEST_LINE, LogParser
from khmer_fast.train.run_log import RunLog


class LogError(KhmerFastError):
    """A log or run folder that cannot be read, or holds no training figures."""


def read_run_or_log(path: str | Path) -> RunLog:
    """A run folder or a log file; LogError if it holds no training figures."""
    path = Path(path)
    if path.is_dir():
        log = _read_run(path)
    else:
        try:
            with open(path, "rb") as file:  # once: it may be a pipe
                utf16 = file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
                text = io.TextIOWrapper(file, "utf-16" if utf16 else "utf-8", errors="replace")
                lines = iter(lambda: text.readline(LONGEST_LINE), "")
                log = read_lines(lines, str(path))
        except OSError as error:
            raise LogError(f"cannot read {printable(path)}: {error.strerror}") from None
    if not log.records and not log.negative and not log.saved:
        raise LogError(
            f"{printable(path)} holds no training figures ({counted(log.lines, 'line')}, "
            f"{log.unread} unread); expected "
            "a run folder with history.jsonl, or a log with lines such as 'Epoch 9/150' and "
            "'Train Loss: 3.6855', or 'epoch=9 train_loss=3.6855'"
        )
    return log


def read_lines(lines: Iterable[str], source: str) -> RunLog:
    """What the lines of a plain log say."""
    parser = LogParser(RunLog(source, "log"))
    for line in lines:
        parser.line(line)
    return parser.finish()


def _read_run(path: Path) -> RunLog:
    from khmer_fast.train.checkpoint import position_of
    from khmer_fast.train.options import OptionError, load_config
    from khmer_fast.train.run_folder import RunFolder

    folder = RunFolder(path)
    events = RunLog(str(path), "run")
    for log_path in sorted(folder.logs.glob("*.log")) if folder.logs.is_dir() else ():
        with open(log_path, encoding="utf-8", errors="replace") as file:
            parser = LogParser(events)
            for line in file:
                parser.line(line)
    log = RunLog(
        str(path),
        "run",
        resumed=events.resumed,
        backups=events.backups,
        same_file=events.same_file,
        backup_failures=events.backup_failures,
        warnings=events.warnings,
    )
    try:
        with open(path / history.RECORDS, encoding="utf-8", errors="replace") as file:
            for line in file:
                _run_record(log, line)
    except FileNotFoundError:
        pass
    before: Record = {}
    for record in log.records:
        place = f"epoch {record.get('epoch')}"
        for name in ("train_loss", "train_nll", "train_ctc", "val_loss", "val_nll", "val_ctc"):
            log.watch(name, record.get(name), place)
        seconds, last = record.get("seconds"), before.get("seconds", 0.0)
        if seconds is not None and record.get("end_of_epoch", True):
            if seconds > last:
                log.epoch_seconds[record.get("epoch", len(log.epoch_seconds))] = seconds - last
            before = record
    try:
        options = load_config(folder.config_path)
        log.planned = log.planned_epochs = options.epochs
        log.settings = {
            "learning_rate": options.learning_rate,
            "ctc_weight": options.ctc_weight,
            "batch_size": options.batch_lines,
        }
    except OptionError:
        pass  # a run of another version: its history is all there is
    log.saved = [position_of(path)[0] for path in reversed(folder.checkpoints())]
    log.manifest = folder.verify()
    return log


def _run_record(log: RunLog, line: str) -> None:
    log.lines += 1
    try:
        log.records += history.from_lines(line.rstrip("\n") + "\n")
    except history.HistoryError:
        log.not_understood(line)
