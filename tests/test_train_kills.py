"""Run folders: what a kill, a failing disk or a second trainer may cost, which is nothing older."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from khmer_fast import atomic
from khmer_fast.train.checkpoint import CheckpointError, checkpoint_name
from khmer_fast.train.run_folder import RunFolder, RunFolderError
from tests.support.runs import contents, in_child, new_run, same, state_of, write_weights

# --- a kill at every point ------------------------------------------------------------------------

POINTS = ("open", "write", "fsync", "replace", "unlink")


def save_and_die(path: Path, deadly: int, when: str, save) -> None:
    """Calls save(RunFolder) and ends this process at its system call number `deadly`.

    `when` is before or after the call, or half way through a write. The state after a call is that
    before the next. With `deadly` 0 nothing dies, and the file `calls` gets the calls' names.
    """
    count = 0
    calls = []
    for name in POINTS:
        real = getattr(os, name)

        def call(*args, _real=real, _name=name, **kwargs):
            nonlocal count
            if _name == "open" and "tmp" not in str(args[0]) and not args[1] & os.O_CREAT:
                return _real(*args, **kwargs)
            count += 1
            calls.append(_name)
            if count == deadly and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if count == deadly and when == "half":
                _real(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            result = _real(*args, **kwargs)
            if count == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(os, name, call)
    folder = RunFolder(path, keep=2)
    with folder.lock():
        save(folder)
    if deadly == 0:
        (path / "calls").write_text(" ".join(calls))


def save_epoch(folder: RunFolder) -> None:
    folder.save(state_of(4), 4, best=True, write_weights=write_weights)


def save_epoch_in_the_background(folder: RunFolder) -> None:
    folder.save_later(state_of(4), 4, best=True, write_weights=write_weights)
    folder.wait()


def save_over_a_damaged_one(folder: RunFolder) -> None:
    if folder.load_newest().epoch == 2:
        folder.save(state_of(3, 7), 3, 7)
    folder.save(state_of(3), 3)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("case", ["next epoch", "in the background", "after walking back"])
def test_a_kill_at_every_point_of_a_save_loses_nothing(tmp_path, monkeypatch, capsys, case):
    monkeypatch.setattr(atomic, "WRITE_CHUNK", 1500)
    template = tmp_path / "template"
    folder = new_run(template, epochs=3, keep=2)
    save, oldest, newest = save_epoch, (3, None), (4, None)
    if case == "in the background":
        save = save_epoch_in_the_background
    if case == "after walking back":
        save, oldest, newest = save_over_a_damaged_one, (2, None), (3, None)
        for name in ("checkpoint_epoch_003.pth", "best_model.pth"):
            with open(folder.models / name, "r+b") as file:
                file.truncate(2000)

    counted = tmp_path / "counted"
    shutil.copytree(template, counted)
    assert in_child(save_and_die, counted, 0, "", save) == 0
    calls = (counted / "calls").read_text().split()
    points = [(number, "before") for number in range(1, len(calls) + 1)]
    points += [(number, "half") for number, name in enumerate(calls, 1) if name == "write"]
    points.append((len(calls), "after"))
    assert len(calls) > 20 and set(calls) >= {"open", "write", "fsync", "replace"}

    ends = set()
    for deadly, when in points:
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(template, run)
        assert in_child(save_and_die, run, deadly, when, save) == -signal.SIGKILL
        folder = RunFolder(run, keep=2)
        loaded = folder.load_newest()
        position = (loaded.epoch, loaded.step)
        ends.add(position)
        assert position in {oldest, (3, 7), newest}, (deadly, when)
        assert same(loaded.state, state_of(*position)), (deadly, when)
        # everything that the manifest names verifies, but for what was cut short or damaged
        broken = {key for key, reason in folder.verify().items() if reason}
        allowed = {"models/" + checkpoint_name(*newest), "models/" + checkpoint_name(3, 7)}
        if case == "after walking back":
            allowed.add("models/best_model.pth")
        assert broken <= allowed, (deadly, when, broken)
        # and the run goes on from there to the same end, with nothing left over
        with folder.lock():
            assert not list(run.rglob(".*.tmp"))
            save(folder)
        final = RunFolder(run).load_newest()
        assert (final.epoch, final.step, final.skipped) == (*newest, ())
        assert same(final.state, state_of(*newest))
    assert ends >= {oldest, newest}
    with capsys.disabled():  # CI's log says how many
        print(f"\n{case}: {len(calls)} system calls of a save, {len(points)} kills, each resumed")


def test_order_on_disk_is_safe_over_a_power_cut(tmp_path, monkeypatch):
    """A file is fsynced before its rename, its folder after it, before anything is deleted."""
    folder = new_run(tmp_path / "run", epochs=3)
    log = []
    names = {}
    real = {name: getattr(os, name) for name in POINTS}

    def opened(path, *args, **kwargs):
        descriptor = real["open"](path, *args, **kwargs)
        names[descriptor] = Path(path)
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda d: (log.append(("fsync", names[d])), real["fsync"](d)))
    monkeypatch.setattr(
        os, "replace", lambda a, b: (log.append(("to", Path(b))), real["replace"](a, b))
    )
    monkeypatch.setattr(
        os, "unlink", lambda p, **k: (log.append(("gone", Path(p))), real["unlink"](p, **k))
    )
    folder.save(state_of(4), 4, best=True, write_weights=write_weights)
    monkeypatch.undo()
    renames = [(i, path) for i, (what, path) in enumerate(log) if what == "to"]
    assert {path.name for _, path in renames} == {
        "checkpoint_epoch_004.pth",
        "best_model.pth",
        "best_model.safetensors",
        "manifest.json",
    }
    for index, path in renames:
        assert ("fsync", path.with_name(f".{path.name}.tmp")) in log[:index]
        assert ("fsync", path.parent) in log[index:]
    removal = log.index(("gone", folder.models / "checkpoint_epoch_001.pth"))
    assert ("fsync", folder.models) in log[:removal]
    assert removal > max(index for index, _ in renames)


# --- errors of the system -------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_failing_disk_is_a_clear_error_and_costs_nothing(tmp_path, monkeypatch, call, code):
    folder = new_run(tmp_path / "run", epochs=3)
    real = getattr(os, call)
    count = allowed = 0

    def failing(*args, **kwargs):
        nonlocal count
        if call == "open" and not args[1] & os.O_CREAT:
            return real(*args, **kwargs)
        count += 1
        if count > allowed:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    for good_calls in range(40):
        count, allowed = 0, good_calls
        monkeypatch.setattr(os, call, failing)
        try:
            folder.save(state_of(4), 4, best=True, write_weights=write_weights)
        except CheckpointError as error:
            message = str(error)
        else:
            message = None
        monkeypatch.setattr(os, call, real)
        if message is None:
            break
        assert os.strerror(code) in message
        assert "checkpoint_epoch_00" in message
        loaded = RunFolder(folder.path).load_newest()
        assert same(loaded.state, state_of(loaded.epoch))
        assert loaded.epoch in (3, 4)
        assert not list(folder.path.rglob(".*.tmp"))
    else:
        pytest.fail("the disk never recovered")
    assert good_calls >= 4
    assert folder.load_newest().epoch == 4


def test_a_disk_that_is_really_full(tmp_path):
    """The system itself refuses to write past a limit, in a process of its own."""
    folder = new_run(tmp_path / "run", epochs=2)
    before = contents(folder.path)

    def save_with_little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        try:
            folder.save(state_of(3), 3)
        except CheckpointError:
            os._exit(7)

    assert in_child(save_with_little_room) == 7
    assert contents(folder.path) == before
    assert folder.load_newest().epoch == 2


# --- the lock -------------------------------------------------------------------------------------


def test_a_second_trainer_refuses_and_names_the_first(tmp_path):
    folder = new_run(tmp_path / "run", epochs=1)
    code = (
        "import sys\n"
        "from khmer_fast.train.run_folder import RunFolder, RunFolderError\n"
        "try:\n"
        "    with RunFolder(sys.argv[1]).lock(): print('got it')\n"
        "except RunFolderError as error: print(error)\n"
    )

    def second() -> str:
        command = [sys.executable, "-c", code, str(folder.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with folder.lock():
        with pytest.raises(RunFolderError, match="in use"), RunFolder(folder.path).lock():
            pass
        assert f"process {os.getpid()}" in second()
    assert second().strip() == "got it"


def test_the_lock_ends_with_a_killed_trainer_though_its_workers_live(tmp_path):
    folder = new_run(tmp_path / "run")
    read_end, write_end = os.pipe()

    def trainer_with_a_worker():
        with folder.lock():
            worker = os.fork()
            if worker == 0:
                os.write(write_end, b"%d\n" % os.getpid())
                signal.pause()
            os.waitpid(worker, os.WNOHANG)
            signal.pause()

    child = os.fork()
    if child == 0:
        trainer_with_a_worker()
    worker = int(os.read(read_end, 20))
    try:
        with pytest.raises(RunFolderError), folder.lock():
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with folder.lock():
            os.kill(worker, 0)  # it is alive, and does not matter
    finally:
        os.kill(worker, signal.SIGKILL)
        os.close(read_end)
        os.close(write_end)


def test_a_lock_on_a_folder_that_is_missing_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"), RunFolder(tmp_path / "no").lock():
        pass


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_of_several_that_make_one_run_at_once_the_winner_has_its_own_files(tmp_path):
    def make(name: str, path: Path, start: int, won: int) -> None:
        os.read(start, 1)  # all wait for the same moment
        try:
            with RunFolder(path).lock(new={"config.toml": name.encode()}):
                os.write(won, name.encode())
        except RunFolderError as error:
            assert "already holds a run" in str(error) or "in use" in str(error)

    for number in range(30):
        path = tmp_path / f"run{number}"
        start, fire = os.pipe()
        told, won = os.pipe()
        children = []
        for name in "abc":
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    make(name, path, start, won)
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        os.write(fire, b"123")
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        os.close(won)
        winner = os.read(told, 10).decode()
        assert len(winner) == 1
        assert (path / "config.toml").read_text() == winner and RunFolder(path).run_id()
        for end in (start, fire, told):
            os.close(end)
