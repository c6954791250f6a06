"""Second copies of a run, made in the background and verified by reading them back.

A backup folder is itself a run folder: `--resume BACKUP` works with nothing else. It keeps its own
manifest and at least two generations of checkpoints. Whatever happens to it, training goes on.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from khmer_fast.atomic import replace_file, set_aside
from khmer_fast.train import history
from khmer_fast.train.checkpoint import CheckpointError, position_of, surplus
from khmer_fast.train.manifest import Entry, Manifest, Position, file_digest
from khmer_fast.train.run_folder import RunFolder, RunFolderError

FIRST_DELAY, LONGEST_DELAY = 1.0, 120.0  # seconds between two tries
LAST_DELAY, LAST_TRIES = 5.0, 4  # at the end of a run
_FOREIGN = "{} already holds another run; give another folder with --backup"
PLAIN_FILES = ("config.toml", "charset.txt", history.RECORDS, history.TABLE, history.COLUMNS)


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds at its end."""

    folder: Path
    enabled: bool  # False: the folder is the run's own, nothing was copied
    copied: int  # files copied and verified since the start
    failures: int  # tries that failed
    missing: tuple[str, ...]  # files of the run that have no verified copy
    error: str | None  # what the last failed try met, if files are missing

    def __str__(self) -> str:
        if not self.enabled:
            return f"No backup: {self.folder} is the run's own folder."
        if self.missing:
            return (
                f"Backup to {self.folder} is incomplete: no verified copy of "
                f"{', '.join(self.missing)} ({self.error}). The run's own folder is the truth."
            )
        return f"Backup to {self.folder} is complete and verified ({self.copied} files copied)."


class Backup:
    """Copies a run folder to `folder` in the background, whenever notify() is called.

    `say` gets a line for people now and then. No method but the constructor raises for what goes
    wrong in `folder`, and none but close() waits for it.
    """

    def __init__(
        self,
        source: RunFolder,
        folder: str | Path,
        say: Callable[[str], None] = print,
        first_delay: float = FIRST_DELAY,
    ) -> None:
        """Raises RunFolderError if `folder` holds what is no backup of this run."""
        self.source = source
        self.target = RunFolder(folder, max(2, source.keep))
        self.say = say
        self.first_delay = first_delay
        self.enabled = not _same(source, self.target)
        self.copied = 0
        self.failures = 0
        self.error: str | None = None
        self._changed = threading.Condition()
        self._requested = 0  # calls of notify()
        self._completed = 0  # how many of them are on the backup
        self._closing = False
        self._stopped = False
        if not self.enabled:
            say(f"Backup folder {folder} is the run's own folder: no second copy is made.")
            return
        with contextlib.suppress(OSError):  # a folder that is not there yet is tried again later
            _check_ours(self.source, self.target)
        threading.Thread(target=self._work, name="backup", daemon=True).start()

    def notify(self) -> None:
        """The run folder has changed; returns at once."""
        with self._changed:
            self._requested += 1
            self._changed.notify_all()

    def close(self, timeout: float = 600.0) -> BackupReport:
        """Waits for the copies, reads them back once more, and reports.

        It waits up to `timeout` seconds while copies go on, and for LAST_TRIES tries that fail.
        """
        if not self.enabled:
            return BackupReport(self.target.path, False, 0, 0, (), None)
        end = time.monotonic() + timeout
        with self._changed:
            failures = self.failures
            self._closing = True
            self._requested += 1
            self._changed.notify_all()
            while self._completed < self._requested:
                rest = end - time.monotonic()
                if rest <= 0 or self.failures - failures >= LAST_TRIES:
                    break
                if not self._changed.wait(min(rest, 30.0)):
                    self.say(f"Waiting for the backup to {self.target.path}.")
            finished = self._completed == self._requested
            self._stopped = True
            self._changed.notify_all()
        error = self.error or (None if finished else f"not finished after {timeout:.0f} s")
        missing: tuple[str, ...] = ("what came last",)
        if finished or self.error is not None:
            missing, reason = self._missing()
            error = error or reason
        return BackupReport(
            self.target.path,
            True,
            self.copied,
            self.failures,
            missing,
            error if missing else None,
        )

    def _work(self) -> None:
        delay = self.first_delay
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._requested > self._completed)
                if self._stopped:
                    return
                request = self._requested
            try:
                self._copy_all()
            except Exception as error:  # whatever it is, training goes on; it is said and retried
                words = getattr(error, "strerror", None) or str(error) or repr(error)
                if words != self.error:
                    self.say(
                        f"Backup to {self.target.path} failed: {words}. Training goes on, and the "
                        "backup is tried again."
                    )
                with self._changed:
                    self.error = words
                    self.failures += 1
                    self._changed.notify_all()
                    if self._closing:
                        self._changed.wait_for(lambda: self._stopped, min(delay, LAST_DELAY))
                    else:
                        self._changed.wait_for(lambda: self._closing, delay)
                delay = min(2 * delay, LONGEST_DELAY)
                continue
            if self.error is not None:
                self.say(f"Backup to {self.target.path} works again.")
            delay = self.first_delay
            with self._changed:
                self.error = None
                self._completed = request
                self._changed.notify_all()

    def _copy_all(self) -> None:
        """Copies what the run holds and the backup does not: history first, oldest checkpoint next.

        So the backup's history reaches at least as far as its newest checkpoint.
        """
        _check_ours(self.source, self.target)
        for folder in (self.target.models, self.target.logs):
            folder.mkdir(parents=True, exist_ok=True)
        ours = self.source.read_manifest()
        if ours is None:
            raise CheckpointError(f"{self.source.manifest_path} cannot be read")
        theirs = self.target.read_manifest() or Manifest(ours.run)
        done = theirs.files
        self._set_aside_newer(theirs)
        logs = [f"logs/{path.name}" for path in self.source.logs.glob("*")]
        for name in (*PLAIN_FILES, *logs):
            try:
                content = (self.source.path / name).read_bytes()
            except FileNotFoundError:
                continue
            if not _holds(self.target.path / name, content):
                self._copy(name, content)
        for key, entry in sorted(ours.files.items(), key=_age):
            path = self.target.path / key
            if entry.previous is not None:
                continue  # a save is under way; its end brings a notify()
            if done.get(key) == entry and _size(path) == entry.size:
                continue
            try:
                content = (self.source.path / key).read_bytes()
            except FileNotFoundError:
                continue  # it made room for a newer one meanwhile
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                continue  # replaced meanwhile, or damaged: nobody wants a copy of that
            if done.pop(key, None) is not None:
                self.target.write_manifest(theirs)  # it must not vouch for what is being replaced
            elif path.is_file():
                set_aside(path)  # no copy of ours
            self._copy(key, content)
            done[key] = entry
            self.target.write_manifest(theirs)
            self._make_room(theirs)

    def _copy(self, key: str, content: bytes) -> None:
        target = self.target.path / key
        replace_file(target, content)
        _forget_cached(target)
        if not _holds(target, content):
            raise CheckpointError(f"{target} does not read back as it was written")
        self.copied += 1

    def _make_room(self, manifest: Manifest) -> None:
        """Deletes old copies beyond `keep`, and nothing that the manifest does not name."""
        copies = [p for p in self.target.checkpoints() if f"models/{p.name}" in manifest.files]
        old = surplus(copies, self.target.keep)
        if not old:
            return
        for path in old:
            del manifest.files[f"models/{path.name}"]
        self.target.write_manifest(manifest)
        for path in old:
            path.unlink(missing_ok=True)

    def _set_aside_newer(self, manifest: Manifest) -> None:
        """Renames copies newer than the run: it was resumed from before them."""
        newest = self.source.checkpoints()
        if not newest:
            return
        for path in self.target.newer_than(position_of(newest[0])):
            manifest.files.pop(f"models/{path.name}", None)
            self.target.write_manifest(manifest)
            set_aside(path)
            self.say(
                f"Backup {self.target.path} held {path.name}, newer than this run: renamed to "
                f"{path.name}.set_aside."
            )

    def _missing(self) -> tuple[tuple[str, ...], str | None]:
        """Files of the run whose copy does not read back now, and why the last one does not."""
        missing: list[str] = []
        reason = None
        wanted: dict[str, Entry | None] = dict.fromkeys(
            name for name in PLAIN_FILES if (self.source.path / name).is_file()
        )
        wanted.update(self.source.manifest().files)
        for key, entry in wanted.items():
            try:
                if entry is None:
                    same = _holds(self.target.path / key, (self.source.path / key).read_bytes())
                else:
                    _forget_cached(self.target.path / key)
                    same = file_digest(self.target.path / key) == (entry.size, entry.sha256)
            except OSError as error:
                same, reason = False, error.strerror
            if not same:
                missing.append(key)
        return tuple(missing), reason or "it does not read back as it was written"


def restore(backup: str | Path, out: str | Path) -> RunFolder:
    """Copies a backup to the new run folder `out`, so that the run goes on there.

    The manifest comes last, so that a copy that was cut short can be made again. What does not
    verify is found by RunFolder.load_newest, as in any run folder.
    """
    source, target = RunFolder(backup), RunFolder(out)
    if _same(source, target):
        raise RunFolderError(f"{out} is the backup itself: give --resume {backup} alone")
    if not source.exists():
        raise RunFolderError(f"{backup} holds no run and no backup of one")
    copies = all(_equal(path, source.models / path.name) for path in target.checkpoints())
    if target.manifest_path.is_file() or not copies:
        raise RunFolderError(f"{out} already holds a run: resume that, or give another folder")
    for folder in (target.models, target.logs, target.plots):
        folder.mkdir(parents=True, exist_ok=True)
    wanted = [*source.checkpoints(), source.best_path, source.best_weights_path]
    wanted += [source.path / name for name in PLAIN_FILES]
    wanted += list(source.logs.glob("*")) + [source.manifest_path]
    for path in wanted:
        if path.is_file():
            replace_file(target.path / path.relative_to(source.path), path.read_bytes())
    return target


def refuse_foreign(source: RunFolder, folder: str | Path) -> None:
    """Raises RunFolderError where another run stands in the backup folder of a new run."""
    target = RunFolder(folder)
    with contextlib.suppress(OSError):  # a folder that is not there yet is tried later
        if target.exists() and not _same(source, target):
            raise RunFolderError(_FOREIGN.format(target.path))


def _check_ours(source: RunFolder, target: RunFolder) -> None:
    """Raises RunFolderError if `target` holds checkpoints that are no copies of `source`."""
    manifest = target.read_manifest()
    if manifest is None:
        foreign = bool(target.checkpoints()) and not target.manifest_path.exists()
    else:
        foreign = source.run_id() not in (None, manifest.run)
    if foreign:
        raise RunFolderError(_FOREIGN.format(target.path))


def _same(source: RunFolder, target: RunFolder) -> bool:
    """Whether both are one folder, or their models are, links included."""
    for ours, theirs in ((source.path, target.path), (source.models, target.models)):
        try:
            if os.path.samefile(ours, theirs):
                return True
        except OSError:
            if os.path.realpath(ours) == os.path.realpath(theirs):
                return True
    return False


def _age(item: tuple[str, Entry]) -> tuple[Position, str]:
    key, entry = item
    return entry.position, key


def _holds(path: Path, content: bytes) -> bool:
    if _size(path) != len(content):
        return False
    return file_digest(path)[1] == hashlib.sha256(content).hexdigest()


def _equal(left: Path, right: Path) -> bool:
    return right.is_file() and file_digest(left) == file_digest(right)


def _size(path: Path) -> int:
    """Bytes of a file, -1 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _forget_cached(path: Path) -> None:
    """Asks the system to read `path` from the disk next time, where it can."""
    if not hasattr(os, "posix_fadvise"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)
