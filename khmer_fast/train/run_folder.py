"""The run folder of a training run: checkpoints that survive a kill at any moment.

A file becomes visible only when it is whole: it is written beside its target, fsynced, announced in
the manifest with its size and sha256, renamed, and the folder is fsynced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from khmer_fast import atomic
from khmer_fast.errors import KhmerFastError
from khmer_fast.train.checkpoint import (
    CheckpointError,
    Stamp,
    Unverified,
    check_plain,
    checkpoint_name,
    checkpoint_position,
    copied,
    load_verified,
    plain_position,
    position_of,
    surplus,
    to_bytes,
)
from khmer_fast.train.lock import Locked, lock_file
from khmer_fast.train.manifest import (
    Entry,
    Manifest,
    Position,
    file_digest,
    new_run_id,
    read_manifest,
)

Writer = Callable[[Path], None]  # writes best_model.safetensors at a path
_OTHER_FOLDER = "give a folder that can be written with --out"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, or lower --keep"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _OTHER_FOLDER),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EEXIST),
        "a file stands where a folder should: give another one with --out",
    ),
}


class RunFolderError(KhmerFastError):
    """A folder is not what the run needs: not a run, already a run, or in use."""


@dataclass(frozen=True)
class Saved:
    """What one call of RunFolder.save wrote."""

    path: Path
    size: int  # bytes
    seconds: float  # training time that it took
    removed: tuple[str, ...]  # names of old checkpoints that made room


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that was passed over, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Loaded:
    """The newest checkpoint that verifies."""

    state: dict[str, Any]
    path: Path
    epoch: int
    step: int | None  # None: the epoch was complete
    skipped: tuple[Skipped, ...]  # newer ones that did not verify


class RunFolder:
    """The files of one training run, under the names that its users know.

    `keep` is the number of epoch checkpoints, and likewise of step checkpoints, that stay;
    `best_model.pth` stays in any case.
    """

    def __init__(self, path: str | Path, keep: int = 3) -> None:
        if keep < 1:
            raise RunFolderError(f"keep must be at least 1 checkpoint, got {keep}")
        self.path = Path(path)
        self.keep = keep
        self.models = self.path / "models"
        self.logs = self.path / "logs"
        self.plots = self.path / "plots"
        self.manifest_path = self.path / "manifest.json"
        self.config_path = self.path / "config.toml"
        self.charset_path = self.path / "charset.txt"
        self.best_path = self.models / "best_model.pth"
        self.best_weights_path = self.models / "best_model.safetensors"
        self._reached: Position = (-1, 0.0)  # of the last checkpoint saved or loaded here
        self._run = new_run_id()  # of the manifest, once it was read
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None

    def exists(self) -> bool:
        """Whether a run was created here."""
        return self.manifest_path.is_file() or bool(self.checkpoints())

    def refuse_existing(self) -> None:
        """Raises RunFolderError where a run already stands."""
        if self.exists():
            raise RunFolderError(
                f"{self.path} already holds a run; continue it with --resume {self.path}, "
                "or give another folder with --out"
            )

    def create(self, files: Mapping[str, bytes] | None = None) -> None:
        """Makes a new run and lets go of it; an error where one stands or is being made."""
        with self.lock(new=files or {}):
            pass

    @contextlib.contextmanager
    def lock(self, new: Mapping[str, bytes] | None = None) -> Iterator[None]:
        """Holds the folder for this process; a second trainer gets an error that names the first.

        With `new` the run is made under the lock: folders, these files by name, and the manifest
        last. Left-overs of a save that was cut short are removed.
        """
        with contextlib.ExitStack() as stack:
            with self._explained(f"write in {self.path}"):
                if new is not None:
                    self.path.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(lock_file(self.path / ".lock"))
                except Locked as holder:
                    raise RunFolderError(
                        f"{self.path} is in use by another trainer ({holder}); wait for it or end "
                        "it first, or give another folder with --out"
                    ) from None
            stack.callback(self._join)
            if new is not None:
                self._make(new)
            for folder in (self.path, self.models, self.logs):
                for left_over in folder.glob(".*.tmp"):
                    atomic.remove(left_over)
            yield

    def _make(self, files: Mapping[str, bytes]) -> None:
        self.refuse_existing()
        with self._explained(f"make the run folder {self.path}"):
            for folder in (self.models, self.logs, self.plots):
                folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                atomic.replace_file(self.path / name, content)
            self.write_manifest(Manifest(self._run))

    def write(self, name: str, content: bytes) -> None:
        """Replaces a file of the folder (history, configuration) as a whole or not at all."""
        with self._explained(f"write {name}"):
            atomic.replace_file(self.path / name, content)

    def checkpoints(self) -> list[Path]:
        """Checkpoints by age, newest first; not best_model.pth."""
        if not self.models.is_dir():
            return []
        found = [path for path in self.models.iterdir() if checkpoint_position(path.name)]
        return sorted(found, key=position_of, reverse=True)

    # ---- saving ----

    def save(
        self,
        state: dict[str, Any],
        epoch: int,
        step: int | None = None,
        *,
        best: bool = False,
        write_weights: Writer | None = None,
    ) -> Saved:
        """Writes a checkpoint, and with `best` also best_model.pth, so that a kill loses nothing.

        `state` holds tensors, str, int, float, bool, None, and dicts, lists and tuples of them.
        `epoch` is complete when `step` is None, else under way at `step`; calls come in that order.
        `write_weights(path)` writes best_model.safetensors, perhaps in another thread: it owns what
        it writes. Raises CheckpointError; what was there before is then untouched.
        """
        self.wait()
        start = time.monotonic()
        write = self._prepare(state, epoch, step, best, write_weights)
        return dataclasses.replace(write(), seconds=time.monotonic() - start)

    def save_later(
        self,
        state: dict[str, Any],
        epoch: int,
        step: int | None = None,
        *,
        best: bool = False,
        write_weights: Writer | None = None,
        then: Callable[[Saved], None] | None = None,
    ) -> float:
        """Like save(), but only copies `state`; a thread writes it while training goes on.

        Returns the seconds it took. `then(saved)` is called in the thread once all is on the disk.
        An error of the thread is raised by the next save, save_later, wait or raise_failure.
        """
        self.wait()
        start = time.monotonic()
        write = self._prepare(state, epoch, step, best, write_weights)
        prepared = time.monotonic() - start

        def work() -> None:
            try:
                saved = dataclasses.replace(write(), seconds=prepared)
                if then is not None:
                    then(saved)
            except BaseException as error:  # raised where the caller can handle it
                self._failure = error

        self._writer = threading.Thread(target=work, name="checkpoint")
        self._writer.start()
        return time.monotonic() - start

    def save_best(
        self, state: dict[str, Any] | None, epoch: int, step: int | None, write_weights: Writer
    ) -> None:
        """Makes best_model.safetensors again, and with `state` also best_model.pth."""
        self.wait()
        targets = () if state is None else (self.best_path,)
        self._write(epoch, step, state, targets, write_weights)

    def wait(self) -> None:
        """Waits until what save_later() was given is on the disk; raises what went wrong."""
        self._join()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def raise_failure(self) -> None:
        """Raises what went wrong in a save_later() that has ended; waits for nothing."""
        if self._failure is not None:
            self.wait()

    def _join(self) -> None:
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def _prepare(
        self,
        state: dict[str, Any],
        epoch: int,
        step: int | None,
        best: bool,
        write_weights: Writer | None,
    ) -> Callable[[], Saved]:
        """Copies all that may change, and gives the function that puts it on the disk."""
        check_plain(state, "state")
        position = (epoch, math.inf if step is None else step)
        target = self.models / checkpoint_name(epoch, step)
        if position < self._reached:
            raise CheckpointError(
                f"{target.name} is older than this run's last checkpoint "
                f"{checkpoint_name(*plain_position(self._reached))}; checkpoints must ascend"
            )
        self._reached = position
        targets = (target, self.best_path) if best else (target,)
        writer = write_weights if best else None
        return functools.partial(self._write, epoch, step, copied(state), targets, writer)

    def _write(
        self,
        epoch: int,
        step: int | None,
        state: dict[str, Any] | None,
        targets: tuple[Path, ...],  # checkpoints that hold `state`
        write_weights: Writer | None,
    ) -> Saved:
        temporary: dict[Path, Path] = {}  # target: what will be renamed to it
        new: dict[Path, Entry] = {}
        first = (targets or (self.best_weights_path,))[0]
        with self._explained(f"save {first.name}"):
            manifest = self.manifest()
            content = to_bytes(state or {}, Stamp(manifest.run, epoch, step))
            entry = Entry(len(content), hashlib.sha256(content).hexdigest(), epoch, step)
            try:
                if write_weights is not None:
                    weights = atomic.temporary_name(self.best_weights_path)
                    temporary[self.best_weights_path] = weights
                    write_weights(weights)
                    atomic.fsync(weights)
                    new[self.best_weights_path] = Entry(*file_digest(weights), epoch, step)
                for target in targets:
                    temporary[target] = atomic.write_beside(target, content)
                    new[target] = entry
                if checkpoint_position(first.name):
                    self._set_aside_newer(manifest, entry.position)
                self._rename(manifest, new, temporary)
                temporary = {}
            finally:
                for source in temporary.values():
                    atomic.remove(source)
            removed = surplus(self.checkpoints(), self.keep)
            for path in removed:
                manifest.files.pop(self._key(path), None)
            manifest.files = {
                key: entry.alone()
                for key, entry in manifest.files.items()
                if (self.path / key).is_file()
            }
            self.write_manifest(manifest)
            for path in removed:
                atomic.remove(path)
        return Saved(first, len(content), 0.0, tuple(path.name for path in removed))

    def _set_aside_newer(self, manifest: Manifest, position: Position) -> None:
        """What resume could not verify is no part of this line of training."""
        for path in self.newer_than(position):
            atomic.set_aside(path)
            manifest.files.pop(self._key(path), None)

    def _rename(
        self, manifest: Manifest, new: Mapping[Path, Entry], temporary: Mapping[Path, Path]
    ) -> None:
        """Announces the new files in the manifest, then puts them in their places."""
        for target, entry in new.items():
            old = manifest.files.get(self._key(target))
            if old is not None and target.is_file():
                entry = dataclasses.replace(entry, previous=old.standing(target))
            manifest.files[self._key(target)] = entry
        self.write_manifest(manifest)
        for target, source in temporary.items():
            os.replace(source, target)
        atomic.fsync_folder(self.models)

    # ---- loading ----

    def load_newest(self, fits: Callable[[dict[str, Any]], str | None] | None = None) -> Loaded:
        """Loads the newest checkpoint that verifies, walking back over those that do not.

        `fits(state)` says what keeps a whole checkpoint from being used, None if nothing does.
        best_model.pth counts too, at its own age. Raises CheckpointError if none is left.
        """
        self.wait()
        files = self.manifest().files
        skipped: list[Skipped] = []
        for position, path in self._candidates(files):
            try:
                state, _, held = load_verified(path, files.get(self._key(path)))
                reason = fits(state) if fits is not None else None
                if reason is not None:
                    raise Unverified(f"cannot be used: {reason}")
            except Unverified as error:
                skipped.append(Skipped(path, str(error)))
                continue
            self._reached = max(position, held.position)
            return Loaded(state, path, *plain_position(self._reached), tuple(skipped))
        if not skipped:
            raise CheckpointError(
                f"no checkpoint in {self.models}: expected checkpoint_epoch_NNN.pth; "
                "give the folder of a run, or the folder given to --backup"
            )
        lines = "\n".join(f"  {entry.path.name}: {entry.reason}" for entry in skipped)
        raise CheckpointError(
            f"no checkpoint in {self.models} verifies:\n{lines}\n"
            "resume from the backup if there is one (--resume BACKUP)"
        )

    def _candidates(self, files: Mapping[str, Entry]) -> list[tuple[Position, Path]]:
        """What could be resumed from, newest first; at one age best_model.pth comes last."""
        found = [(position_of(path), 1, path) for path in self.checkpoints()]
        if self.best_path.is_file():
            best = files.get(self._key(self.best_path))
            age = (0, 0.0) if best is None else best.standing(self.best_path).position
            found.append((age, 0, self.best_path))
        for key, entry in files.items():
            path = self.path / key
            if checkpoint_position(path.name) and not path.is_file() and entry.previous is None:
                found.append((position_of(path), 1, path))
        found.sort(key=lambda candidate: candidate[:2], reverse=True)
        return [(position, path) for position, _, path in found]

    def newer_than(self, position: Position) -> list[Path]:
        """What could be resumed from, of a line of training that `position` is no part of."""
        newer = [path for path in self.checkpoints() if position_of(path) > position]
        best = self.manifest().files.get(self._key(self.best_path))
        if best is not None and self.best_path.is_file():
            if best.standing(self.best_path).position > position:
                newer.append(self.best_path)
        return newer

    def verify(self) -> dict[str, str | None]:
        """For each file of the manifest (path in the folder): None if it verifies, else why not."""
        result: dict[str, str | None] = {}
        for key, entry in sorted(self.manifest().files.items()):
            try:
                result[key] = entry.mismatch(*file_digest(self.path / key))
            except OSError as error:
                result[key] = error.strerror or str(error)
        return result

    def run_id(self) -> str | None:
        """The identity that a run and its backup share, None if the manifest is unreadable."""
        manifest = self.read_manifest()
        return None if manifest is None else manifest.run

    def read_manifest(self) -> Manifest | None:
        """The manifest, None if it is missing or damaged."""
        return read_manifest(self.manifest_path)

    def write_manifest(self, manifest: Manifest) -> None:
        """Replaces the manifest as a whole or not at all."""
        manifest.write(self.manifest_path)

    def manifest(self) -> Manifest:
        """The manifest, or where it is lost one of the same run without files."""
        manifest = self.read_manifest() or Manifest(self._run)
        self._run = manifest.run
        return manifest

    def _key(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    @contextlib.contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        """Turns an OSError into a CheckpointError: what is still there and what to do."""
        try:
            yield
        except OSError as error:
            kept = self.checkpoints()
            state = f"; {kept[0].name} and older files are untouched" if kept else ""
            remedy = _REMEDIES.get(error.errno or 0, "see whether the disk is well")
            raise CheckpointError(f"cannot {action}: {error.strerror}{state}; {remedy}") from error
