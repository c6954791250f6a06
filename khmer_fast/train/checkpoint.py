"""The run folder of a training run: checkpoints that survive a kill at any moment.

A file becomes visible only when it is whole: it is written beside its target, fsynced, announced in
the manifest with its size and sha256, renamed, and the folder is fsynced. Until the manifest is
written once more, it names both what a file held and what it is about to hold, so that a kill on
either side of the rename leaves a file that verifies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import functools
import hashlib
import io
import json
import math
import os
import re
import socket
import threading
import time
import uuid
import warnings
import weakref
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from khmer_fast.errors import KhmerFastError

WRITE_CHUNK = 4 << 20  # bytes a write() call
_CHECKPOINT = re.compile(r"checkpoint_epoch_(\d+)(?:_step_(\d+))?\.pth")


class CheckpointError(KhmerFastError):
    """A checkpoint cannot be written or read."""


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


def checkpoint_name(epoch: int, step: int | None = None) -> str:
    """Name of the checkpoint at the end of `epoch`, or at `step` while `epoch` is under way."""
    return f"checkpoint_epoch_{epoch:03d}" + ("" if step is None else f"_step_{step:06d}") + ".pth"


def checkpoint_position(name: str) -> tuple[int, float] | None:
    """(epoch, step) of a checkpoint's file name, step infinite at an epoch's end; else None."""
    match = _CHECKPOINT.fullmatch(name)
    if match is None:
        return None
    return int(match[1]), math.inf if match[2] is None else int(match[2])


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
        self._reached = (-1, 0.0)  # position of the last checkpoint saved or loaded here
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
        """Makes a new run: folders, `files`, and the manifest last; an error where a run stands."""
        self.refuse_existing()
        with _explain(self, f"make the run folder {self.path}"):
            for folder in (self.models, self.logs, self.plots):
                folder.mkdir(parents=True, exist_ok=True)
            for name, content in (files or {}).items():
                replace_file(self.path / name, content)
            self.write_manifest({"version": 1, "run": uuid.uuid4().hex, "files": {}})

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process; a second trainer gets an error that names the first.

        The system frees the lock when the process ends, however it ends. Workers forked later do
        not hold it. Left-overs of a save that was cut short are removed.
        """
        path = self.path / ".lock"
        with _explain(self, f"write in {self.path}"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        held = _Descriptor(descriptor)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                    warnings.warn(f"{self.path} cannot be locked: {error.strerror}", stacklevel=3)
                    yield
                    return
                if not isinstance(error, BlockingIOError):
                    raise
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
                raise RunFolderError(
                    f"{self.path} is in use by another trainer ({holder or 'unknown process'}); "
                    "wait for it or end it first, or give another folder with --out"
                ) from None
            os.ftruncate(descriptor, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.pwrite(
                descriptor,
                f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode(),
                0,
            )
            for folder in (self.path, self.models, self.logs):
                for left_over in folder.glob(".*.tmp"):
                    _remove(left_over)
            yield
        finally:
            if self._writer is not None:
                self._writer.join()
            held.close()

    def checkpoints(self) -> list[Path]:
        """Checkpoints by age, newest first; not best_model.pth."""
        if not self.models.is_dir():
            return []
        found = [path for path in self.models.iterdir() if checkpoint_position(path.name)]
        return sorted(found, key=lambda path: checkpoint_position(path.name), reverse=True)

    def save(
        self,
        state: dict[str, Any],
        epoch: int,
        step: int | None = None,
        *,
        best: bool = False,
        write_weights: Callable[[Path], None] | None = None,
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
        write_weights: Callable[[Path], None] | None = None,
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

    def wait(self) -> None:
        """Waits until what save_later() was given is on the disk; raises what went wrong."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def raise_failure(self) -> None:
        """Raises what went wrong in a save_later() that has ended; waits for nothing."""
        if self._failure is not None:
            self.wait()

    def _prepare(
        self,
        state: dict[str, Any],
        epoch: int,
        step: int | None,
        best: bool,
        write_weights: Callable[[Path], None] | None,
    ) -> Callable[[], Saved]:
        """Copies all that may change, and gives the function that puts it on the disk."""
        _check_plain(state, "state")
        position = (epoch, math.inf if step is None else step)
        name = checkpoint_name(epoch, step)
        if position < self._reached:
            raise CheckpointError(
                f"{name} is older than this run's last checkpoint "
                f"{checkpoint_name(*_plain_position(self._reached))}; checkpoints must ascend"
            )
        self._reached = position
        if not best:
            write_weights = None
        return functools.partial(self._write, epoch, step, _copied(state), best, write_weights)

    def _write(
        self,
        epoch: int,
        step: int | None,
        state: dict[str, Any],
        best: bool,
        write_weights: Callable[[Path], None] | None,
    ) -> Saved:
        name = checkpoint_name(epoch, step)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getbuffer()
        entry = {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "epoch": epoch,
            "step": step,
        }
        temporary: dict[Path, Path] = {}
        weights = None
        with _explain(self, f"save {name}"):
            try:
                if write_weights is not None:
                    weights = _temporary(self.best_weights_path)
                    temporary[self.best_weights_path] = weights
                    write_weights(weights)
                manifest = self._manifest_or_new()
                files = manifest["files"]
                for path in self.newer_than(_position(entry)):  # what resume could not verify
                    set_aside(path)
                    files.pop(self._key(path), None)
                new = {self.models / name: entry}
                temporary[self.models / name] = _write_beside(self.models / name, content)
                if best:
                    new[self.best_path] = entry
                    temporary[self.best_path] = _write_beside(self.best_path, content)
                if weights is not None:
                    _fsync(weights)
                    size, digest = file_digest(weights)
                    new[self.best_weights_path] = {**entry, "size": size, "sha256": digest}
                for target, value in new.items():
                    self._announce(files, target, value)
                self.write_manifest(manifest)
                for target, source in temporary.items():
                    os.replace(source, target)
                temporary = {}
                _fsync_folder(self.models)
            finally:
                for source in temporary.values():
                    _remove(source)
            removed = surplus(self.checkpoints(), self.keep)
            for path in removed:
                files.pop(self._key(path), None)
            for key in [key for key in files if not (self.path / key).is_file()]:
                del files[key]
            for value in files.values():
                value.pop("previous", None)
            self.write_manifest(manifest)
            for path in removed:
                _remove(path)
        removed_names = tuple(path.name for path in removed)
        return Saved(self.models / name, len(content), 0.0, removed_names)

    def load_newest(self) -> Loaded:
        """Loads the newest checkpoint that verifies, walking back over those that do not.

        best_model.pth counts too, at its own age. Raises CheckpointError if none is left.
        """
        self.wait()
        files = self._manifest_or_new()["files"]
        candidates = [(checkpoint_position(path.name), 1, path) for path in self.checkpoints()]
        best = files.get(self._key(self.best_path))
        if self.best_path.is_file():
            age = (0, 0.0) if best is None else _position(_standing(self.best_path, best))
            candidates.append((age, 0, self.best_path))
        for key, value in files.items():
            path = self.path / key
            if checkpoint_position(path.name) and not path.is_file() and "previous" not in value:
                candidates.append((checkpoint_position(path.name), 1, path))
        skipped: list[Skipped] = []
        for position, _, path in sorted(candidates, key=lambda c: c[:2], reverse=True):
            try:
                state = _load_verified(path, files.get(self._key(path)))
            except _Unverified as error:
                skipped.append(Skipped(path, str(error)))
                continue
            self._reached = position
            return Loaded(state, path, *_plain_position(position), tuple(skipped))
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

    def verify(self) -> dict[str, str | None]:
        """For each file of the manifest (path in the folder): None if it verifies, else why not."""
        result: dict[str, str | None] = {}
        for key, entry in sorted(self._manifest_or_new()["files"].items()):
            try:
                result[key] = _mismatch(*file_digest(self.path / key), entry)
            except OSError as error:
                result[key] = error.strerror or str(error)
        return result

    def run_id(self) -> str | None:
        """The identity that a run and its backup share, None if the manifest is unreadable."""
        return (self.read_manifest() or {}).get("run")

    def manifest_files(self) -> dict[str, dict[str, Any]]:
        """Size, sha256, epoch and step by path in the folder."""
        return self._manifest_or_new()["files"]

    def write(self, name: str, content: bytes) -> None:
        """Replaces a file of the folder (history, configuration) as a whole or not at all."""
        with _explain(self, f"write {name}"):
            replace_file(self.path / name, content)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _announce(self, files: dict[str, Any], target: Path, value: dict[str, Any]) -> None:
        old = files.get(self._key(target))
        files[self._key(target)] = dict(value)
        if old is not None and target.is_file():
            files[self._key(target)]["previous"] = _standing(target, old)

    def newer_than(self, position: tuple[int, float]) -> list[Path]:
        """What could be resumed from, of a line of training that `position` is no part of."""
        newer = [p for p in self.checkpoints() if checkpoint_position(p.name) > position]
        best = self._manifest_or_new()["files"].get(self._key(self.best_path))
        if best is not None and self.best_path.is_file():
            if _position(_standing(self.best_path, best)) > position:
                newer.append(self.best_path)
        return newer

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest, None if it is missing or damaged."""
        try:
            manifest = json.loads(self.manifest_path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, UnicodeDecodeError):
            return None
        return manifest if isinstance(manifest, dict) and "files" in manifest else None

    def _manifest_or_new(self) -> dict[str, Any]:
        return self.read_manifest() or {"version": 1, "run": uuid.uuid4().hex, "files": {}}

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replaces the manifest as a whole or not at all."""
        content = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        replace_file(self.manifest_path, content.encode())


def set_aside(path: Path) -> None:
    """Renames a file so that nothing takes it for part of the run; nothing is lost."""
    os.replace(path, path.with_name(path.name + ".set_aside"))


def surplus(checkpoints: list[Path], keep: int) -> list[Path]:
    """Of checkpoints by age, newest first, those that go.

    The newest `keep` epochs and the newest `keep` steps stay, but no step before all kept epochs.
    """
    ends = [path for path in checkpoints if checkpoint_position(path.name)[1] == math.inf]
    steps = [path for path in checkpoints if path not in ends]
    kept_ends, kept_steps = ends[:keep], steps[:keep]
    if len(ends) > len(kept_ends):
        oldest = checkpoint_position(kept_ends[-1].name)
        kept_steps = [path for path in kept_steps if checkpoint_position(path.name) > oldest]
    return [path for path in checkpoints if path not in kept_ends + kept_steps]


def replace_file(target: Path, content: bytes | memoryview) -> None:
    """Puts `content` in the place of `target`, whole or not at all, also over a power cut."""
    temporary = _write_beside(target, content)
    try:
        os.replace(temporary, target)
    except OSError:
        _remove(temporary)
        raise
    _fsync_folder(target.parent)


def file_digest(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(WRITE_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


class _Unverified(Exception):
    """Why a checkpoint cannot be trusted."""


def _load_verified(path: Path, entry: dict[str, Any] | None) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _Unverified("is missing: its save was cut short, or it was deleted") from None
    except OSError as error:
        raise _Unverified(f"cannot be read: {error.strerror}") from None
    if entry is not None:
        mismatch = _mismatch(len(content), hashlib.sha256(content).hexdigest(), entry)
        if mismatch is not None:
            raise _Unverified(mismatch)
    else:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                broken = archive.testzip()
        except zipfile.BadZipFile as error:
            raise _Unverified(f"not in the manifest, and not a whole file: {error}") from None
        if broken is not None:
            raise _Unverified(f"not in the manifest, and its part {broken} is damaged")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no exception types; any of them means: not usable
        raise _Unverified(f"cannot be loaded: {error}") from error
    if not isinstance(state, dict):
        raise _Unverified(f"holds a {type(state).__name__}, expected a dict")
    return state


def _mismatch(size: int, digest: str, entry: dict[str, Any]) -> str | None:
    accepted = [entry] + ([entry["previous"]] if "previous" in entry else [])
    if any(size == value["size"] and digest == value["sha256"] for value in accepted):
        return None
    if all(size != value["size"] for value in accepted):
        return f"has {size} bytes, the manifest says {entry['size']}"
    return "its content is not what was written (sha256 differs from the manifest)"


def _standing(path: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Of what a file holds and what was announced for it, what now stands there."""
    if "previous" in entry and _mismatch(*file_digest(path), entry["previous"]) is None:
        return entry["previous"]
    return {key: value for key, value in entry.items() if key != "previous"}


def _position(entry: dict[str, Any]) -> tuple[int, float]:
    return entry["epoch"], math.inf if entry["step"] is None else entry["step"]


def _plain_position(position: tuple[int, float]) -> tuple[int, int | None]:
    epoch, step = position
    return epoch, None if step == math.inf else int(step)


def _copied(value: Any) -> Any:
    """The same with tensors of its own, so that training can go on."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if type(value) in (dict, OrderedDict):
        return {key: _copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return value


def _check_plain(value: Any, where: str) -> None:
    """An error before writing what torch.load(weights_only=True) could not read back."""
    if value is None or type(value) in (str, int, float, bool) or type(value) is torch.Tensor:
        return
    if isinstance(value, torch.nn.Parameter):
        return
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            if type(key) not in (str, int):
                raise CheckpointError(f"{where} has the key {key!r}; expected str or int")
            _check_plain(item, f"{where}[{key!r}]")
        return
    if type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
        return
    raise CheckpointError(
        f"{where} is a {type(value).__module__}.{type(value).__name__}, which a checkpoint cannot "
        "hold; expected tensors, str, int, float, bool, None, and dicts, lists, tuples of them"
    )


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp")


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _write_beside(target: Path, content: bytes | memoryview) -> Path:
    """Writes and fsyncs a temporary file beside `target`; nothing is left of it on an error."""
    temporary = _temporary(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(content)
        while len(view):
            view = view[os.write(descriptor, view[:WRITE_CHUNK]) :]
        os.fsync(descriptor)
    except BaseException:
        _remove(temporary)
        raise
    finally:
        os.close(descriptor)
    return temporary


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync_folder(path: Path) -> None:
    try:
        _fsync(path)
    except OSError as error:
        # some network file systems cannot fsync a folder; the rename is then all there is
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES):
            raise


@contextlib.contextmanager
def _explain(folder: RunFolder, action: str) -> Iterator[None]:
    """Turns an OSError into a CheckpointError that says what is still there and what to do."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space, or lower --keep",
            errno.EDQUOT: "free some space, or lower --keep",
            errno.EROFS: "give a folder that can be written with --out",
            errno.EACCES: "give a folder that can be written with --out",
            errno.EPERM: "give a folder that can be written with --out",
            errno.ENOTDIR: "a file stands where a folder should: give another one with --out",
            errno.EEXIST: "a file stands where a folder should: give another one with --out",
        }.get(error.errno, "see whether the disk is well")
        kept = folder.checkpoints()
        state = f"; {kept[0].name} and older files are untouched" if kept else ""
        raise CheckpointError(f"cannot {action}: {error.strerror}{state}; {remedy}") from error


class _Descriptor:
    """A file descriptor that forked children close, so that they do not keep its lock alive."""

    open_ones: weakref.WeakSet[_Descriptor] = weakref.WeakSet()

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        self.open_ones.add(self)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _close_in_child() -> None:
    for held in list(_Descriptor.open_ones):
        held.close()


os.register_at_fork(after_in_child=_close_in_child)
