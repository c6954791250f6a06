"""A whole run: options > sources > trainer > epochs > validation > checkpoints > report."""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from khmer_fast.errors import KhmerFastError, OptionError
from khmer_fast.threads import default_threads
from khmer_fast.train import options as options_module
from khmer_fast.train.backup import Backup, refuse_foreign, restore
from khmer_fast.train.health import Monitor
from khmer_fast.train.history import History, counted, epoch_line, open_history
from khmer_fast.train.line_task import LineTask
from khmer_fast.train.loop import Since, StepReport, Trainer
from khmer_fast.train.mend import mend_best, mend_history, mend_manifest
from khmer_fast.train.options import TrainOptions
from khmer_fast.train.page_task import PageTask
from khmer_fast.train.ranks import ranks
from khmer_fast.train.run_folder import RunFolder
from khmer_fast.train.samples import batch_count, batches
from khmer_fast.train.state import checkpoint_state, misfit_of_run, weights_writer
from khmer_fast.train.task import Measured, Task


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
    asked = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    if data:
        asked["data"] = data
    if out is not None:
        asked["out"] = str(out)
    return run(options_module.from_table(asked, "train()"), say)


def run(asked: dict[str, Any], say: Callable[[str], None] = print) -> Path:
    """Starts or resumes the run that `asked` (options by name) describes."""
    resume = asked.get("resume")
    if resume:
        source = RunFolder(resume)
        if Path(resume).is_file():
            raise OptionError(
                f"--resume {resume}: expected the folder of a run, got a file; to start a new run "
                f"from weights give --init-from {resume} --out NEW"
            )
        if not source.exists():
            raise OptionError(f"--resume {resume}: expected the folder of a run, found none")
        recorded = options_module.load_config(source.config_path)
        changes = {k: v for k, v in asked.items() if k not in ("resume", "out")}
        options = options_module.resumed(recorded, changes)
        path = Path(asked.get("out") or resume)
    else:
        options = TrainOptions(**asked)
        if options.out is None:
            raise OptionError("expected a folder for the run: give --out RUN")
        path = Path(options.out)
    folder = RunFolder(path, options.keep)
    with ranks(options) as place, contextlib.ExitStack() as stack:
        torch.set_num_threads(options.threads or default_threads())
        if place.rank > 0:
            say = _silent
        elif not resume:
            folder.refuse_existing()
            if options.backup:
                refuse_foreign(folder, options.backup)
        elif path.resolve() != Path(resume).resolve():
            restore(resume, path)  # from a backup to a new disk
        place.wait("the start")
        if resume and place.rank == 0:
            stack.enter_context(folder.lock())
            _mend(folder, options, say)
        opened = PageTask if options.task == "pages" else LineTask
        task: Task = opened(options, folder, bool(resume), place.device, place.rank == 0)
        trainer = Trainer(task.objective, options, place.device, place.rank, place.ranks)
        if task.start is not None:
            trainer.start_from(task.start)
        if place.rank == 0:
            files = {
                folder.config_path.name: options.to_toml().encode(),
                **task.files,
            }
            if not resume:
                stack.enter_context(folder.lock(new=files))
            elif changes:
                folder.write(folder.config_path.name, files[folder.config_path.name])
            for made in (folder.logs, folder.plots):
                made.mkdir(exist_ok=True)
            say(_start_line(trainer, task, options))
            left_out, words = task.left_out()
            if left_out:
                lines = "".join(f"{problem}\n" for problem in left_out)
                folder.write("logs/left_out.txt", lines.encode())
                what = counted(len(left_out), "line")
                say(f"Left out {what}, listed in logs/left_out.txt:\n{words}")
        if resume:
            _load(folder, trainer, task, say)
        place.wait("the start")
        Session(options, folder, trainer, task, say).train()
    return folder.path


def _mend(folder: RunFolder, options: TrainOptions, say: Callable[[str], None]) -> None:
    """Puts right what a damaged disk or a careless hand left of the run's small files."""
    backup = RunFolder(options.backup) if options.backup else None
    for said in (mend_manifest(folder, backup), mend_history(folder)):
        if said is not None:
            say(f"Mended: {said}")


def _load(folder: RunFolder, trainer: Trainer, task: Task, say: Callable[[str], None]) -> None:
    """Takes up the newest checkpoint that fits; a run killed before its first starts anew."""
    if not folder.checkpoints() and not folder.best_path.is_file() and not folder.manifest().files:
        say("Resumed from the start: the run had no checkpoint yet")
        return

    def fits(state: dict[str, Any]) -> str | None:
        return misfit_of_run(state, checkpoint_state(trainer, task), trainer)

    loaded = folder.load_newest(fits)
    for skipped in loaded.skipped:
        say(f"Passed over {skipped.path}: {skipped.reason}")
    trainer.load_state(loaded.state)
    if trainer.rank == 0 and trainer.progress.best is not None:
        said = mend_best(folder, loaded, fits, functools.partial(weights_writer, task))
        if said is not None:
            say(f"Mended: {said}")
    progress = trainer.progress
    place = f", {progress.batch} batches into the next" if progress.batch else ""
    say(f"Resumed from epoch {progress.epoch}{place}, step {progress.step} ({loaded.path})")
    if loaded.state["data"] != task.about["data"]:
        say(
            "Warning: the labels of --data or --validation are not those that the run was trained "
            "on so far; from here on it is another run"
        )


def _start_line(trainer: Trainer, task: Task, options: TrainOptions) -> str:
    parameters = sum(p.numel() for p in trainer.model.parameters())
    sources = ", ".join(part.source for part in options.data)
    return (
        f"Training {options.config} ({parameters:,} parameters) on {sources}: {task.words()}; "
        f"{trainer.device}, {counted(trainer.ranks, 'process')}, "
        f"{counted(torch.get_num_threads(), 'thread')}, {counted(options.workers, 'worker')}"
    )


class Session:
    """The epochs of one process, from where the run stands to its end."""

    def __init__(
        self,
        options: TrainOptions,
        folder: RunFolder,
        trainer: Trainer,
        task: Task,
        say: Callable[[str], None],
    ):
        self.options, self.folder, self.trainer, self.task = options, folder, trainer, task
        self.batches = batch_count(task.samples_per_epoch, options.batch_lines)
        self.steps_per_epoch = -(-self.batches // options.accumulate)
        self.say = say
        self.monitor = Monitor()
        self.history: History | None = None
        self.backup: Backup | None = None
        if self.leads:
            self.history = open_history(folder)
            dropped = self.history.truncate(trainer.progress.epoch, trainer.progress.step)
            if dropped:
                say(f"The history goes back to step {trainer.progress.step}: {dropped} fewer")
            self.monitor.restore(self.history.records)
            if options.backup:
                self.backup = Backup(folder, options.backup, say)
        self.signal: int | None = None
        self.clock = time.monotonic()

    @property
    def leads(self) -> bool:
        return self.trainer.rank == 0

    def train(self) -> None:
        """Trains to the last epoch, and leaves no checkpoint or backup half done, come what may."""
        try:
            with self._signals():
                self._epochs()
        finally:
            if self.leads:
                self.folder.wait()
            if self.backup is not None:
                self.backup.notify()
                report = self.backup.close()
                if report.enabled:
                    self.say(str(report))
        best = self.trainer.progress.best
        if self.leads and best is not None:
            weights = self.folder.best_weights_path
            reads = self.task.reads(weights)
            if not weights.is_file():
                reads = f"{weights} was deleted meanwhile: --resume makes it again"
            epochs = counted(self.trainer.progress.epoch, "epoch")
            self.say(f"Done: {epochs}, best validation {self.task.scored(best)}; {reads}")

    def _epochs(self) -> None:
        options, progress = self.options, self.trainer.progress
        total_steps = options.epochs * self.steps_per_epoch
        if options.warmup_steps >= total_steps:
            self.say(
                f"Warning: the warm-up of {options.warmup_steps} steps is as long as the run, of "
                f"{total_steps}: it never trains at its --learning-rate; give less --warmup-steps"
            )
        self.clock = time.monotonic()
        while progress.epoch < options.epochs:
            for micro_batches in self._steps():
                stop = self.signal is not None
                report = self.trainer.train_step(micro_batches, total_steps, stop)
                self.folder.raise_failure()  # not an epoch later, at the next save
                self._after_step(report)
            progress.epoch += 1
            progress.batch = 0
            self._record(progress.epoch, None)
            # with several ranks the next step tells them all
            if self.signal is not None and self.trainer.ranks == 1:
                self._interrupt()

    def _steps(self) -> Iterator[list[list[Any]]]:
        """Micro-batches of each optimiser step of the epoch, from where it stands."""
        options, progress = self.options, self.trainer.progress
        stream = batches(
            self.task.dataset, progress.epoch, self.task.samples_per_epoch, options.batch_lines,
            progress.batch, options.workers,
        )  # fmt: skip
        group: list[list[Any]] = []
        while True:
            start = time.monotonic()
            samples = next(stream, None)
            progress.since.waited += time.monotonic() - start
            if samples is not None:
                group.append(samples)
            if group and (samples is None or len(group) == options.accumulate):
                yield group
                group = []
            if samples is None:
                return

    def _after_step(self, report: StepReport) -> None:
        options, progress = self.options, self.trainer.progress
        for finding in self.monitor.step(progress.step, report.losses, report.gradient_norm):
            self.say(f"Warning: {finding.line()}")
        if progress.batch >= self.batches:
            return  # the epoch's own record and checkpoint follow
        if _due(options.validate_every_steps, progress.step):
            self._record(progress.epoch_under_way, progress.step)
        elif _due(options.checkpoint_every_steps, progress.step):
            self._save(progress.epoch_under_way, progress.step, best=False)
        if report.stop or (self.signal is not None and self.trainer.ranks == 1):
            self._interrupt()

    def _interrupt(self) -> None:
        """Ends the run where it stands, which a checkpoint holds."""
        progress = self.trainer.progress
        name = "a signal" if self.signal is None else signal.Signals(self.signal).name
        if self.leads:
            step = progress.step if progress.batch else None
            if step is not None:
                self._save(progress.epoch_under_way, step, best=False)
            self.folder.wait()
        raise Interrupted(
            f"{name}: saved a checkpoint at step {progress.step} of epoch "
            f"{progress.epoch_under_way}; continue with --resume {self.folder.path}"
        )

    def _record(self, epoch: int, step: int | None) -> None:
        """Validates, says the epoch's line, writes history and checkpoint; all ranks call it."""
        trainer, progress = self.trainer, self.trainer.progress
        self._tick()
        start = time.monotonic()
        measured = self.task.measure(trainer, epoch) if self.leads else None
        score = trainer.from_rank_0(0.0 if measured is None else measured.score)
        best = trainer.judge(score, not self.task.first_measure(epoch), step is None)
        since, progress.since = progress.since, trainer.since()
        if measured is not None:
            self._write_record(epoch, step, since, measured, time.monotonic() - start)
            self._save(epoch, step, best)
            if step is None:
                self._draw(epoch, measured)
        self.clock = time.monotonic()

    def _write_record(
        self,
        epoch: int,
        step: int | None,
        since: Since,
        measured: Measured,
        validation: float,  # seconds that this look at the validation samples took
    ) -> None:
        options, progress, task = self.options, self.trainer.progress, self.task
        total = options.epochs * self.steps_per_epoch
        steps_left = total - progress.step
        validations_left = options.epochs - progress.epoch
        if options.validate_every_steps:
            every = options.validate_every_steps
            validations_left += total // every - progress.step // every
        seconds = max(since.seconds, 1e-9)
        means = {name: value / since.steps for name, value in since.losses.items()}
        record = {
            "epoch": epoch,
            "step": progress.step,
            "end_of_epoch": step is None,
            "lines": progress.lines,
            **task.figures(means, epoch),
            **measured.record,
            **task.best(progress.best),
            "learning_rate": since.learning_rate,
            "gradient_norm": since.gradient_norm,
            "lines_per_second": since.lines / seconds,
            "data_share": since.waited / seconds,
            "ctc_left_out": progress.ctc_left_out,
            "seconds": progress.seconds,
            "seconds_left": seconds / since.steps * steps_left + validation * validations_left,
        }
        self.history.append(record)
        self.say(epoch_line(record, options.epochs))
        for finding in self.monitor.record(record):
            self.say(f"Warning: {finding.line()}")

    def _tick(self) -> None:
        """Adds the time since it was last called to the training time."""
        now = time.monotonic()
        self.trainer.progress.seconds += now - self.clock
        self.trainer.progress.since.seconds += now - self.clock
        self.clock = now

    def _draw(self, epoch: int, measured: Measured) -> None:
        try:
            self.task.draw(self.folder.plots, epoch, self.history.records, measured)
        except OSError as error:
            self.say(f"Warning: cannot draw the plots of epoch {epoch}: {error}")

    def _save(self, epoch: int, step: int | None, best: bool) -> None:
        if not self.leads:
            return
        if self.trainer.progress.batch:
            self._tick()
        state = checkpoint_state(self.trainer, self.task)
        average = {k: v.detach().clone() for k, v in self.trainer.average.state_dict().items()}
        write_weights = weights_writer(self.task, {"average": average})

        def then(saved: Any) -> None:
            self.say(f"Saved checkpoint: {saved.path}")
            if self.backup is not None:
                self.backup.notify()

        self.folder.save_later(
            state, epoch, step, best=best, write_weights=write_weights, then=then
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP (a terminal that is closed) end the run after the step under
        way; a second one ends it at once. What was ignored before (nohup) still is."""

        def remember(number: int, frame: Any) -> None:
            if self.signal is not None:
                raise KeyboardInterrupt
            self.signal = number
            self.say(f"{signal.Signals(number).name}: saving a checkpoint after this step.")

        old = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                with contextlib.suppress(ValueError):  # not the main thread: the caller has them
                    old[number] = signal.signal(number, remember)
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def _due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _silent(text: str) -> None:
    """What ranks other than 0 say."""
