"""Checkpoints: what a kill, a full disk or a damaged file may cost, which is nothing older."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from khmer_fast import atomic
from khmer_fast.train.checkpoint import (
    CheckpointError,
    checkpoint_name,
    checkpoint_position,
    load_verified,
)
from khmer_fast.train.run_folder import RunFolder, RunFolderError


def state_of(epoch: int, step: int | None = None) -> dict:
    generator = torch.Generator().manual_seed(epoch * 1000 + (step or 0))
    return {
        "model": {"weight": torch.randn(40, 16, generator=generator)},
        "epoch": epoch,
        "step": step,
        "schedule": {"rate": 0.1 / 3, "kind": "cosine"},
        "history": [{"cer": 1.1739}, None, True],
    }


def same(left, right) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right) and left.dtype == right.dtype
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def write_weights(path: Path) -> None:
    path.write_bytes(b"weights " * 100)


def new_run(path: Path, epochs: int = 0, keep: int = 3) -> RunFolder:
    folder = RunFolder(path, keep)
    folder.create()
    for epoch in range(1, epochs + 1):
        folder.save(state_of(epoch), epoch, best=True, write_weights=write_weights)
    return folder


def test_what_is_saved_is_what_is_loaded(tmp_path):
    folder = new_run(tmp_path / "run")
    saved = folder.save(state_of(8), 8)
    assert saved.path == tmp_path / "run/models/checkpoint_epoch_008.pth"
    assert saved.size == saved.path.stat().st_size
    loaded = RunFolder(tmp_path / "run").load_newest()
    assert same(loaded.state, state_of(8))
    assert (loaded.epoch, loaded.step, loaded.skipped) == (8, None, ())


def test_names_and_their_order():
    assert checkpoint_name(8) == "checkpoint_epoch_008.pth"
    assert checkpoint_name(8, 123) == "checkpoint_epoch_008_step_000123.pth"
    names = [(1, None), (2, 5), (2, 10), (2, None), (10, 1), (1000, None), (1000000, 10000000)]
    positions = [checkpoint_position(checkpoint_name(*name)) for name in names[:-1]]
    assert positions == sorted(positions)
    assert checkpoint_position(checkpoint_name(*names[-1])) == names[-1]
    for other in ("best_model.pth", "checkpoint_epoch_008.pth.set_aside", "epoch_008.pth"):
        assert checkpoint_position(other) is None


def test_last_n_and_best_stay_and_the_manifest_names_exactly_them(tmp_path):
    folder = new_run(tmp_path / "run", keep=2)
    for epoch in range(1, 6):
        for step in (10, 20, 30):
            folder.save(state_of(epoch, step), epoch, step)
        folder.save(state_of(epoch), epoch, best=epoch == 1, write_weights=write_weights)
    names = {path.name for path in folder.models.iterdir()}
    assert names == {
        "checkpoint_epoch_004.pth",
        "checkpoint_epoch_005.pth",
        "checkpoint_epoch_005_step_000020.pth",
        "checkpoint_epoch_005_step_000030.pth",
        "best_model.pth",
        "best_model.safetensors",
    }
    assert folder.verify() == {f"models/{name}": None for name in names}
    assert torch.load(folder.best_path, weights_only=True)["epoch"] == 1


def test_resume_prefers_a_step_of_the_next_epoch(tmp_path):
    folder = new_run(tmp_path / "run", epochs=3)
    folder.save(state_of(4, 17), 4, 17)
    loaded = folder.load_newest()
    assert (loaded.epoch, loaded.step) == (4, 17)


def test_checkpoints_must_ascend(tmp_path):
    folder = new_run(tmp_path / "run", epochs=3)
    folder.save(state_of(3), 3)  # a signal right after the epoch's own checkpoint
    with pytest.raises(CheckpointError, match="ascend"):
        folder.save(state_of(3, 5), 3, 5)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "unlisted"])
def test_a_damaged_newest_checkpoint_is_walked_over(tmp_path, damage):
    folder = new_run(tmp_path / "run", epochs=3)
    for name in ("checkpoint_epoch_003.pth", "best_model.pth"):
        path = folder.models / name
        content = bytearray(path.read_bytes())
        if damage == "truncated":
            content = content[: len(content) // 2]
        elif damage == "empty":
            content = b""
        elif damage == "foreign":
            content = b"<html>quota exceeded</html>"
        else:
            content[content.index(state_of(3)["model"]["weight"].numpy().tobytes()) + 99] ^= 0x10
        path.write_bytes(content)
    if damage == "unlisted":
        folder.manifest_path.unlink()
    loaded = folder.load_newest()
    assert same(loaded.state, state_of(2))
    names = ["checkpoint_epoch_003.pth", "best_model.pth"]
    if damage == "unlisted":
        names.pop()  # its age stood in the manifest, so it is tried last
    assert [skip.path.name for skip in loaded.skipped] == names
    assert all(skip.reason for skip in loaded.skipped)
    # training goes on, and what did not verify is never resumed from again
    folder.save(state_of(3, 1), 3, 1)
    assert (folder.models / "checkpoint_epoch_003.pth.set_aside").is_file()
    again = RunFolder(folder.path).load_newest()
    assert same(again.state, state_of(3, 1))


def test_the_best_model_is_the_last_resort(tmp_path):
    folder = new_run(tmp_path / "run", epochs=3, keep=1)
    (folder.models / "checkpoint_epoch_003.pth").write_bytes(b"")
    loaded = folder.load_newest()
    assert loaded.path.name == "best_model.pth"
    assert same(loaded.state, state_of(3))
    assert (loaded.epoch, loaded.step) == (3, None)


def test_nothing_left_names_every_file(tmp_path):
    folder = new_run(tmp_path / "run", epochs=2)
    for path in folder.models.glob("*.pth"):
        path.write_bytes(b"x")
    with pytest.raises(CheckpointError) as error:
        folder.load_newest()
    for name in ("checkpoint_epoch_001.pth", "checkpoint_epoch_002.pth", "best_model.pth"):
        assert name in str(error.value)


def test_an_empty_folder_has_nothing_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="checkpoint_epoch_NNN"):
        RunFolder(tmp_path).load_newest()


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


def test_a_run_is_not_started_over_another(tmp_path):
    new_run(tmp_path / "run", epochs=1)
    with pytest.raises(RunFolderError, match="--resume"):
        RunFolder(tmp_path / "run").create()


ENTRY = '{"size": 5, "sha256": "a", "epoch": 3, "step": null}'


@pytest.mark.parametrize(
    "manifest",
    [
        "", "{", "[]", '{"files"', "\udcff\udcfe", "null", "5", "{}", '{"files": []}',
        '{"files": {}}', '{"files": {}, "run": 5}', "[" * 200_000, '{"a":' * 200_000,
        f'{{"run": "a", "files": {{"models/checkpoint_epoch_003.pth": {{}}, "b": {ENTRY}}}}}',
        '{"run": "a", "files": {"models/checkpoint_epoch_003.pth": 5}}',
        '{"run": "a", "files": {"models/checkpoint_epoch_003.pth": {"size": "5"}}}',
        f'{{"run": "a", "files": {{"../checkpoint_epoch_009.pth": {ENTRY}}}}}',
        f'{{"run": "a", "files": {{"models/best_model.pth": {ENTRY[:-1]}, "previous": 5}}}}}}',
    ],
)  # fmt: skip
def test_a_damaged_manifest_costs_nothing(tmp_path, manifest):
    folder = new_run(tmp_path / "run", epochs=3)
    run = folder.run_id()
    folder.manifest_path.write_bytes(manifest.encode("utf-8", "surrogateescape"))
    assert folder.read_manifest() is None and folder.verify() == {}
    assert same(RunFolder(folder.path).load_newest().state, state_of(3))
    folder.save(state_of(4), 4)
    assert folder.run_id() == run  # a trainer that is under way knows it
    assert same(RunFolder(folder.path).load_newest().state, state_of(4))


def test_a_checkpoint_that_is_whole_but_does_not_fit_is_walked_over(tmp_path):
    folder = new_run(tmp_path / "run", epochs=3)
    for epoch, content in ((7, {}), (8, {"model": 5}), (9, [1, 2])):
        torch.save(content, folder.models / checkpoint_name(epoch))

    def fits(state: dict) -> str | None:
        return None if isinstance(state.get("model"), dict) else "it has no model"

    loaded = folder.load_newest(fits)
    assert same(loaded.state, state_of(3))
    reasons = {skip.path.name: skip.reason for skip in loaded.skipped}
    assert reasons == {
        "checkpoint_epoch_009.pth": "holds a list, expected a dict",
        "checkpoint_epoch_008.pth": "cannot be used: it has no model",
        "checkpoint_epoch_007.pth": "cannot be used: it has no model",
    }


class Evil:
    def __reduce__(self):
        return print, ("it ran",)


def test_a_stranger_in_the_place_of_a_checkpoint_is_told_in_our_words(tmp_path, capsys):
    folder = new_run(tmp_path / "run", epochs=3)
    torch.save({"model": Evil()}, folder.models / checkpoint_name(4))
    loaded = folder.load_newest()
    assert same(loaded.state, state_of(3))
    assert "neither tensors nor plain values" in loaded.skipped[0].reason
    assert "weights_only" not in loaded.skipped[0].reason and capsys.readouterr().out == ""


def test_a_state_that_could_not_be_read_back_is_refused_before_writing(tmp_path):
    folder = new_run(tmp_path / "run", epochs=1)
    before = contents(folder.path)
    for value in (object(), {1, 2}, torch.device("cpu"), lambda: 0, torch.randn(1).numpy()):
        with pytest.raises(CheckpointError, match=r"state\['a'\]\[1\]"):
            folder.save({"a": [0, value]}, 2)
    assert contents(folder.path) == before


def test_every_plain_state_can_be_read_back(tmp_path):
    folder = new_run(tmp_path / "run")
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": torch.get_rng_state(),
        "parameter": model.weight,
        "other": {"infinite": float("inf"), 3: (1, "ខ្មែរ", None, False), "large": 2**70},
    }
    folder.save(state, 1)
    loaded = folder.load_newest().state
    assert same(loaded["optimiser"], state["optimiser"])
    assert same(dict(loaded["model"]), dict(state["model"]))
    assert same(loaded["other"], state["other"])


def test_a_save_in_the_background_is_the_state_of_its_call(tmp_path):
    folder = new_run(tmp_path / "run", epochs=1)
    heard = []
    state = state_of(2)
    with folder.lock():
        seconds = folder.save_later(
            state, 2, best=True, write_weights=write_weights, then=heard.append
        )
        state["model"]["weight"].zero_()  # the optimiser's next step
        state["epoch"] = 99
        folder.save_later(state_of(3), 3)
    loaded = RunFolder(folder.path).load_newest()
    assert same(loaded.state, state_of(3))
    state, stamp, held = load_verified(folder.best_path, None)
    assert same(state, state_of(2))
    assert (stamp.run, stamp.epoch, held.step) == (folder.run_id(), 2, None)
    assert [saved.path.name for saved in heard] == ["checkpoint_epoch_002.pth"]
    assert 0 < heard[0].seconds <= seconds
    with pytest.raises(CheckpointError, match="ascend"):
        folder.save_later(state_of(2), 2)


def test_an_error_in_the_background_is_raised_at_the_next_call(tmp_path, monkeypatch):
    folder = new_run(tmp_path / "run", epochs=1)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        folder.save_later(state_of(2), 2)
        with pytest.raises(CheckpointError, match="No space left"):
            folder.wait()
    folder.wait()
    folder.save_later(state_of(3), 3)
    assert folder.load_newest().epoch == 3


# --- a kill at every point ------------------------------------------------------------------------

POINTS = ("open", "write", "fsync", "replace", "unlink")


def in_child(action, *arguments) -> int:
    """Exit status of action(*arguments) in a forked child, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            action(*arguments)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"child: {error!r}\n".encode())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


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


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


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


def test_the_manifest_is_for_people_too(tmp_path):
    folder = new_run(tmp_path / "run", epochs=1)
    manifest = json.loads(folder.manifest_path.read_text())
    entry = manifest["files"]["models/checkpoint_epoch_001.pth"]
    assert entry.keys() == {"size", "sha256", "epoch", "step"}
    assert entry["size"] == (folder.models / "checkpoint_epoch_001.pth").stat().st_size
