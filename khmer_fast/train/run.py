"""A whole run: options > sources > trainer > epochs > validation > checkpoints > report."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from khmer_fast.errors import KhmerFastError
from khmer_fast.text import DEFAULT_CHARSET, Vocabulary
from khmer_fast.train import options as options_module
from khmer_fast.train.backup import Backup, restore
from khmer_fast.train.checkpoint import Loaded, RunFolder
from khmer_fast.train.health import Monitor, mean_lock_on
from khmer_fast.train.history import History, epoch_line, open_history
from khmer_fast.train.loop import StepReport, Trainer, Validation, validate
from khmer_fast.train.options import TrainOptions
from khmer_fast.train.plots import draw_epoch
from khmer_fast.train.samples import LineDataset, TrainLine, batch_count, batches
from khmer_fast.train.sources import Mixture, open_sources, refuse_characters, stored_labels
from khmer_fast.weights import load_weights, save_weights
from python_ref.config import ModelConfig, make_config

RANK_TIMEOUT = timedelta(minutes=10)
DRAWN_LINES = 3  # validation lines whose attention is drawn each epoch


class Interrupted(KhmerFastError):
    """Ctrl-C or SIGTERM: a checkpoint was written, the run can be resumed."""


def train(
    data: Any = (),
    out: str | Path | None = None,
    say: Callable[[str], None] = print,
    **options: Any,
) -> Path:
    """Trains a model and returns the run's folder; options are the fields of TrainOptions.

    `train(resume=RUN)` continues a run. Raises KhmerFastError for options or data that cannot be
    used, before the first step, and Interrupted after Ctrl-C once a checkpoint is written.
    """
    asked = dict(options)
    if data:
        asked["data"] = data
    if out is not None:
        asked["out"] = str(out)
    return run(options_module.from_table(asked, "train()"), say)


def run(asked: dict[str, Any], say: Callable[[str], None] = print) -> Path:
    """Starts or resumes the run that `asked` (options by name) describes."""
    resume = asked.get("resume")
    if resume:
        folder = RunFolder(resume)
        if asked.get("out") and Path(asked["out"]).resolve() != Path(resume).resolve():
            folder = restore(resume, asked["out"])  # from a backup to a new disk
        if not folder.exists():
            raise KhmerFastError(f"--resume {resume}: expected the folder of a run, found none")
        recorded = options_module.load_config(folder.config_path)
        changes = {k: v for k, v in asked.items() if k not in ("resume", "out")}
        options = options_module.resumed(recorded, changes)
        folder = RunFolder(folder.path, options.keep)
    else:
        options = TrainOptions(**asked)
        if options.out is None:
            raise KhmerFastError("expected a folder for the run: give --out RUN")
        folder = RunFolder(options.out, options.keep)
    with _ranks(options) as (rank, ranks, device):
        if options.threads:
            torch.set_num_threads(options.threads)
        quiet = say if rank == 0 else _silent
        if rank > 0:
            return _train(options, folder, bool(resume), quiet, rank, ranks, device)
        if not resume:
            folder.create()
        with folder.lock():
            return _train(options, folder, bool(resume), quiet, rank, ranks, device)


def _train(
    options: TrainOptions,
    folder: RunFolder,
    resume: bool,
    say: Callable[[str], None],
    rank: int,
    ranks: int,
    device: torch.device,
) -> Path:
    source, measure, stored_lines = open_sources(options.data, options.validation)
    lines_per_epoch = options.lines_per_epoch or stored_lines
    first, charset = _start_weights(options, source)
    if resume:
        charset = folder.charset_path.read_text("utf-8")
    vocabulary = Vocabulary(charset)
    if not options.skip_bad:
        refuse_characters(stored_labels(source), vocabulary)
        refuse_characters(stored_labels(measure), vocabulary)
    config = make_config(options.config, vocabulary.size)
    trainer = Trainer(config, options, device, rank, ranks)
    history = open_history(folder) if rank == 0 else None
    if first is not None:
        trainer.start_from(first.model.state_dict())
    if resume:
        loaded = folder.load_newest()
        trainer.load_state(loaded.state)
        if history is not None:
            history.truncate(loaded.state["progress"]["epoch"], trainer.progress.step)
        _say_resumed(loaded, trainer, say)
    elif rank == 0:
        folder.write(folder.config_path.name, options.to_toml().encode())
        folder.write(folder.charset_path.name, charset.encode())
    dataset = LineDataset(source, vocabulary, config.height, options.seed)
    validation = [
        LineDataset(measure, vocabulary, config.height, options.seed)[i]
        for i in range(options.validate_lines if rank == 0 else 0)
    ]
    backup = Backup(folder, options.backup, say) if options.backup and rank == 0 else None
    session = Session(
        options, folder, trainer, vocabulary, config, dataset, validation, lines_per_epoch,
        history, backup, say,
    )  # fmt: skip
    try:
        session.epochs()
    finally:
        if rank == 0:
            folder.wait()
        if backup is not None:
            backup.notify()
            report = backup.close()
            if report.enabled:
                say(str(report))
    return folder.path


class Session:
    """The epochs of one process, from where the run stands to its end."""

    def __init__(
        self,
        options: TrainOptions,
        folder: RunFolder,
        trainer: Trainer,
        vocabulary: Vocabulary,
        config: ModelConfig,
        dataset: LineDataset,
        validation: list[TrainLine],
        lines_per_epoch: int,
        history: History | None,
        backup: Backup | None,
        say: Callable[[str], None],
    ):
        self.options, self.folder, self.trainer = options, folder, trainer
        self.vocabulary, self.config = vocabulary, config
        self.dataset, self.validation = dataset, validation
        self.lines_per_epoch = lines_per_epoch
        self.batches = batch_count(lines_per_epoch, options.batch_lines)
        self.steps_per_epoch = -(-self.batches // options.accumulate)
        self.history, self.backup, self.say = history, backup, say
        self.monitor = Monitor()
        if history is not None:
            self.monitor.restore(history.records)
        self.signal: int | None = None
        self.reports: list[StepReport] = []
        self.waited = 0.0  # seconds spent on data since the last record
        self.since = time.monotonic()

    @property
    def leads(self) -> bool:
        return self.trainer.rank == 0

    def epochs(self) -> None:
        options, progress = self.options, self.trainer.progress
        total_steps = options.epochs * self.steps_per_epoch
        with self._signals():
            while progress.epoch < options.epochs:
                for micro_batches in self._steps():
                    report = self.trainer.train_step(micro_batches, total_steps)
                    progress.batch += len(micro_batches)
                    self._after_step(report)
                progress.epoch += 1
                progress.batch = 0
                self._record(progress.epoch, None)

    def _steps(self) -> Iterator[list[list[TrainLine]]]:
        """Micro-batches of each optimiser step of the epoch, from where it stands."""
        options, progress = self.options, self.trainer.progress
        stream = batches(
            self.dataset, progress.epoch, self.lines_per_epoch, options.batch_lines,
            progress.batch, options.workers,
        )  # fmt: skip
        group: list[list[TrainLine]] = []
        while True:
            start = time.monotonic()
            lines = next(stream, None)
            self.waited += time.monotonic() - start
            if lines is not None:
                group.append(lines)
            if group and (lines is None or len(group) == options.accumulate):
                yield group
                group = []
            if lines is None:
                return

    def _after_step(self, report: StepReport) -> None:
        options, progress = self.options, self.trainer.progress
        self.reports.append(report)
        losses = {"nll": report.nll, "ctc": report.ctc}
        for finding in self.monitor.step(progress.step, losses, report.gradient_norm):
            self.say(f"Warning: {finding.line()}")
        mid_epoch = progress.batch < self.batches
        if _due(options.validate_every_steps, progress.step) and mid_epoch:
            self._record(progress.epoch + 1, progress.step)
        elif _due(options.checkpoint_every_steps, progress.step) and mid_epoch and self.leads:
            self._save(progress.epoch + 1, progress.step, best=False)
        if self.signal is not None:
            name = signal.Signals(self.signal).name
            if mid_epoch and self.leads:
                self._save(progress.epoch + 1, progress.step, best=False)
                self.folder.wait()
                raise Interrupted(
                    f"{name}: saved a checkpoint at epoch {progress.epoch + 1}, step "
                    f"{progress.step}; continue with --resume {self.folder.path}"
                )
            if mid_epoch:
                raise Interrupted(f"{name}: stopped at step {progress.step}")

    def _record(self, epoch: int, step: int | None) -> None:
        """Validates, writes history and checkpoint, and says the epoch's line."""
        if not self.leads:
            return
        trainer, options, progress = self.trainer, self.options, self.trainer.progress
        seconds = time.monotonic() - self.since
        progress.seconds += seconds
        reports = self.reports
        nll = float(np.mean([r.nll for r in reports])) if reports else None
        ctc = float(np.mean([r.ctc for r in reports])) if reports else None
        found = validate(trainer, self.validation, self.vocabulary)
        lock_on = mean_lock_on([w.numpy() for w in found.attention]) if trainer.decoder_on() else {}
        cer = found.record["val_cer"]
        best = progress.best is None or cer < progress.best
        if step is None:
            trainer.plateau(cer)
        if best:
            progress.best = cer
        steps_left = options.epochs * self.steps_per_epoch - progress.step
        record = {
            "epoch": epoch,
            "step": progress.step,
            "end_of_epoch": step is None,
            "lines": progress.lines,
            "train_loss": _train_loss(nll, ctc, options, trainer.decoder_on()),
            "train_nll": nll if trainer.decoder_on() else None,
            "train_ctc": ctc,
            **found.record,
            "best_cer": progress.best,
            **lock_on,
            "learning_rate": reports[-1].learning_rate if reports else None,
            "gradient_norm": max((r.gradient_norm for r in reports), default=None),
            "lines_per_second": len(reports) * options.batch_lines * options.accumulate / seconds,
            "data_share": self.waited / seconds,
            "ctc_left_out": progress.ctc_left_out,
            "seconds": progress.seconds,
            "seconds_left": seconds / max(len(reports), 1) * steps_left,
        }
        self.history.append(record)
        self.say(epoch_line(record, options.epochs))
        for finding in self.monitor.record(record):
            self.say(f"Warning: {finding.line()}")
        self._save(epoch, step, best)
        if step is None:
            self._draw(epoch, found)
        self.reports, self.waited, self.since = [], 0.0, time.monotonic()

    def _draw(self, epoch: int, found: Validation) -> None:
        """Plots of the history, and the attention of the first validation lines."""
        lines = [
            (line.image, self.vocabulary.decode(line.ids)) for line in self.validation[:DRAWN_LINES]
        ]
        attention = [w.float().numpy() for w in found.attention[:DRAWN_LINES]]
        if not self.trainer.decoder_on():
            lines = attention = []
        try:
            draw_epoch(self.folder.plots, epoch, self.history.records, lines, attention)
        except OSError as error:
            self.say(f"Warning: cannot draw the plots of epoch {epoch}: {error}")

    def _save(self, epoch: int, step: int | None, best: bool) -> None:
        state = {**self.trainer.state(), "charset": self.vocabulary.charset}

        def write_weights(path: Path) -> None:
            save_weights(
                path, self.trainer.average.state_dict(), self.config, self.vocabulary.charset
            )

        def then(saved: Any) -> None:
            self.say(f"Saved checkpoint: {saved.path}")
            if self.backup is not None:
                self.backup.notify()

        self.folder.save_later(
            state, epoch, step, best=best, write_weights=write_weights, then=then
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run after the step under way; a second one ends it at once."""

        def remember(number: int, frame: Any) -> None:
            if self.signal is not None:
                raise KeyboardInterrupt
            self.signal = number
            self.say(f"{signal.Signals(number).name}: saving a checkpoint after this step.")

        try:
            old = {n: signal.signal(n, remember) for n in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread: the caller has the signals
            old = {}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def _due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _train_loss(nll, ctc, options: TrainOptions, decoder_on: bool) -> float | None:
    if nll is None:
        return None
    return nll + options.ctc_weight * ctc if decoder_on else ctc


def _start_weights(options: TrainOptions, source: Mixture):
    """Weights to begin with (or None), and the charset of the run."""
    if options.init_from is None:
        return None, DEFAULT_CHARSET
    weights = load_weights(None if options.init_from == "packaged" else options.init_from)
    if weights.config.name != options.config:
        raise KhmerFastError(
            f"--init-from {options.init_from} holds the size {weights.config.name!r}, but the run "
            f"asks for --config {options.config}; give --config {weights.config.name}"
        )
    charset = weights.charset
    if options.new_characters == "extend":
        known = Vocabulary(charset)
        new = {c for _, text in stored_labels(source) for c in known.unknown(text)}
        charset += "".join(sorted(new))
    return weights, charset


def _say_resumed(loaded: Loaded, trainer: Trainer, say: Callable[[str], None]) -> None:
    for skipped in loaded.skipped:
        say(f"Passed over {skipped.path}: {skipped.reason}")
    progress = trainer.progress
    say(f"Resumed from epoch {progress.epoch}, step {progress.step} ({loaded.path})")


@contextlib.contextmanager
def _ranks(options: TrainOptions) -> Iterator[tuple[int, int, torch.device]]:
    """This process's rank, how many there are (torchrun's variables), and its device."""
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and ranks > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    device = torch.device(name)
    if ranks == 1:
        yield 0, 1, device
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=RANK_TIMEOUT)
    try:
        torch.distributed.barrier()
        yield rank, ranks, device
    finally:
        torch.distributed.destroy_process_group()


def _silent(text: str) -> None:
    """What ranks other than 0 say."""


def say_and_log(folder: Path) -> Callable[[str], None]:
    """Prints each line and keeps it in the run's logs."""
    path = folder / "logs" / "train.log"

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        with contextlib.suppress(FileNotFoundError), path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    return say
