"""Second copies: complete, verified, resumable alone, and never in the way of training."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest
import torch

from khmer_fast import atomic
from khmer_fast.train import backup as backup_module
from khmer_fast.train.backup import Backup, restore
from khmer_fast.train.history import open_history
from khmer_fast.train.run_folder import RunFolder, RunFolderError


def state_of(epoch: int) -> dict:
    return {"epoch": epoch, "weight": torch.full((50, 50), float(epoch))}


def save(folder: RunFolder, epoch: int, best: bool = True) -> None:
    history = open_history(folder)
    history.append({"epoch": epoch, "step": epoch * 10, "val_cer": 1 / epoch})
    folder.save(state_of(epoch), epoch, best=best, write_weights=lambda p: p.write_bytes(b"w" * 9))


def new_run(path: Path, epochs: int = 2, keep: int = 3) -> RunFolder:
    folder = RunFolder(path, keep)
    folder.create()
    folder.write("config.toml", b"epochs = 3\n")
    folder.write("charset.txt", "កខគ".encode())
    (folder.logs / "train.log").write_text("Epoch 1\n")
    for epoch in range(1, epochs + 1):
        save(folder, epoch)
    return folder


class Heard(list):
    def __call__(self, line: str) -> None:
        self.append(line)


def until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_the_backup_alone_is_a_run(tmp_path):
    folder = new_run(tmp_path / "run")
    heard = Heard()
    backup = Backup(folder, tmp_path / "drive/copy", heard)
    backup.notify()
    save(folder, 3, best=False)
    backup.notify()
    report = backup.close()
    assert (report.missing, report.error, report.failures, heard) == ((), None, 0, [])
    assert report.copied >= 10 and "complete" in str(report)

    copy = RunFolder(tmp_path / "drive/copy")
    assert set(copy.verify().values()) == {None}
    loaded = copy.load_newest()
    assert (loaded.epoch, loaded.state["epoch"], loaded.skipped) == (3, 3, ())
    for name in ("config.toml", "charset.txt", "history.jsonl", "history.csv", "logs/train.log"):
        assert (copy.path / name).read_bytes() == (folder.path / name).read_bytes()
    assert copy.best_weights_path.is_file()
    assert copy.run_id() == folder.run_id()

    # an empty disk, and only the backup: resume in another folder, and back up to the same place
    new = restore(copy.path, tmp_path / "machine2/run")
    assert new.load_newest().state["epoch"] == 3
    assert open_history(new).records == open_history(folder).records
    second = Backup(new, copy.path, heard)
    save(new, 4)
    second.notify()
    assert second.close().missing == ()
    assert copy.load_newest().epoch == 4
    # or in the backup itself
    with copy.lock():
        save(copy, 5)
    assert copy.load_newest().epoch == 5


def test_two_generations_at_least_and_no_more_than_needed(tmp_path):
    folder = new_run(tmp_path / "run", epochs=1, keep=1)
    backup = Backup(folder, tmp_path / "copy", Heard())
    for epoch in range(2, 7):
        save(folder, epoch)
        backup.notify()
        until(lambda: backup._completed == backup._requested)
        kept = [path.name for path in backup.target.checkpoints()]
        assert kept == [f"checkpoint_epoch_{e:03d}.pth" for e in (epoch, epoch - 1) if e >= 2]
    backup.close()
    assert len(folder.checkpoints()) == 1
    # the newest copy is damaged: there is another
    (tmp_path / "copy/models/checkpoint_epoch_006.pth").write_bytes(b"x")
    (tmp_path / "copy/models/best_model.pth").write_bytes(b"x")
    assert RunFolder(tmp_path / "copy").load_newest().epoch == 5


@pytest.mark.parametrize("link", ["same", "dots", "folder link", "models link"])
def test_the_runs_own_folder_is_one_quiet_line(tmp_path, link):
    folder = new_run(tmp_path / "run")
    target = tmp_path / "run"
    if link == "dots":
        target = tmp_path / "run/../run/logs/.."
    elif link == "folder link":
        target = tmp_path / "link"
        target.symlink_to(tmp_path / "run")
    elif link == "models link":
        target = tmp_path / "other"
        target.mkdir()
        (target / "models").symlink_to(tmp_path / "run/models")
    heard = Heard()
    backup = Backup(folder, target, heard)
    assert len(heard) == 1 and "own folder" in heard[0]
    for epoch in (3, 4, 5):
        save(folder, epoch)
        backup.notify()
    report = backup.close()
    assert len(heard) == 1
    assert not report.enabled and report.missing == ()
    assert folder.load_newest().epoch == 5


def test_a_folder_of_another_run_is_refused_and_untouched(tmp_path):
    folder = new_run(tmp_path / "run")
    other = new_run(tmp_path / "other")
    before = {p: p.read_bytes() for p in other.path.rglob("*") if p.is_file()}
    with pytest.raises(RunFolderError, match="another run"):
        Backup(folder, other.path, Heard())
    other.manifest_path.unlink()  # checkpoints of another program have none
    with pytest.raises(RunFolderError, match="another run"):
        Backup(folder, other.path, Heard())
    assert all(p.read_bytes() == content for p, content in before.items() if p.exists())


def test_a_failing_drive_is_said_once_retried_and_never_stops_training(tmp_path, monkeypatch):
    folder = new_run(tmp_path / "run")
    drive = tmp_path / "copy"
    broken = threading.Event()
    broken.set()
    real = os.write

    def write(descriptor, data):
        if broken.is_set() and threading.current_thread().name == "backup":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    heard = Heard()
    backup = Backup(folder, drive, heard, first_delay=0.01)
    for epoch in (3, 4, 5):
        save(folder, epoch)
        backup.notify()
    until(lambda: backup.failures >= 3)
    assert len(heard) == 1 and "No space left" in heard[0]
    broken.clear()
    until(lambda: backup.error is None)
    assert len(heard) == 2 and "works again" in heard[1]
    report = backup.close()
    assert report.missing == () and report.failures >= 3
    assert RunFolder(drive).load_newest().epoch == 5


def test_a_drive_that_never_works_does_not_hold_the_end_up(tmp_path, monkeypatch):
    monkeypatch.setattr(backup_module, "LAST_DELAY", 0.01)
    folder = new_run(tmp_path / "run")
    (tmp_path / "file").write_text("no folder")
    heard = Heard()
    backup = Backup(folder, tmp_path / "file/copy", heard, first_delay=0.01)
    backup.notify()
    start = time.monotonic()
    report = backup.close()
    assert time.monotonic() - start < 5
    assert "models/checkpoint_epoch_002.pth" in report.missing
    assert "incomplete" in str(report) and report.error
    assert report.failures >= 4
    assert len(heard) == 1
    assert folder.load_newest().epoch == 2


def test_a_copy_that_reads_back_wrong_is_made_again(tmp_path, monkeypatch):
    folder = new_run(tmp_path / "run")
    real = backup_module.replace_file
    spoilt = []

    def replace(target, content):
        real(target, content)
        if target.name == "checkpoint_epoch_002.pth" and len(spoilt) < 2:
            spoilt.append(target)
            with open(target, "r+b") as file:
                file.seek(100)
                file.write(b"\x00\x01")

    monkeypatch.setattr(backup_module, "replace_file", replace)
    heard = Heard()
    backup = Backup(folder, tmp_path / "copy", heard, first_delay=0.01)
    backup.notify()
    report = backup.close()
    assert len(spoilt) == 2 and report.failures == 2 and report.missing == ()
    assert "read back" in heard[0]
    assert set(RunFolder(tmp_path / "copy").verify().values()) == {None}


def test_a_copy_that_vanished_at_the_end_is_reported(tmp_path):
    folder = new_run(tmp_path / "run")
    backup = Backup(folder, tmp_path / "copy", Heard())
    backup.notify()
    until(lambda: backup._completed == backup._requested)
    real = backup._missing

    def missing():
        (tmp_path / "copy/models/checkpoint_epoch_001.pth").unlink()
        return real()

    backup._missing = missing
    report = backup.close()
    assert report.missing == ("models/checkpoint_epoch_001.pth",)
    assert "checkpoint_epoch_001.pth" in str(report)


def test_a_hanging_drive_does_not_slow_training(tmp_path, monkeypatch):
    folder = new_run(tmp_path / "run")
    release = threading.Event()
    real = backup_module.replace_file

    def replace(target, content):
        release.wait(20)
        real(target, content)

    monkeypatch.setattr(backup_module, "replace_file", replace)
    backup = Backup(folder, tmp_path / "copy", Heard())
    start = time.monotonic()
    for epoch in range(3, 13):
        save(folder, epoch)
        backup.notify()
    assert time.monotonic() - start < 5
    report = backup.close(timeout=0.2)
    assert report.missing and "not finished" in report.error
    release.set()


def test_copies_of_a_line_of_training_that_was_left_are_set_aside(tmp_path):
    folder = new_run(tmp_path / "run", epochs=4)
    backup = Backup(folder, tmp_path / "copy", Heard())
    backup.notify()
    backup.close()
    for name in ("checkpoint_epoch_004.pth", "best_model.pth"):
        (folder.models / name).write_bytes(b"x")
    assert folder.load_newest().epoch == 3
    folder.save({"epoch": 3.5}, 4, 7)
    heard = Heard()
    backup = Backup(folder, tmp_path / "copy", heard)
    backup.notify()
    backup.close()
    copy = RunFolder(tmp_path / "copy")
    assert copy.load_newest().state == {"epoch": 3.5}
    assert (copy.models / "checkpoint_epoch_004.pth.set_aside").is_file()
    assert any("renamed" in line for line in heard)


def test_the_history_of_a_backup_that_was_cut_short_reaches_its_checkpoint(tmp_path, monkeypatch):
    folder = new_run(tmp_path / "run", epochs=3)
    real = backup_module.replace_file
    last = []

    def replace(target, content):
        if last:
            raise OSError(errno.EIO, "the machine vanished")
        real(target, content)
        if target.name == "checkpoint_epoch_003.pth":
            last.append(target)

    monkeypatch.setattr(backup_module, "replace_file", replace)
    monkeypatch.setattr(backup_module, "LAST_DELAY", 0.01)
    backup = Backup(folder, tmp_path / "copy", Heard(), first_delay=0.01)
    backup.notify()
    backup.close()
    copy = RunFolder(tmp_path / "copy")
    assert copy.load_newest().epoch == 3
    assert open_history(copy).records == open_history(folder).records


def test_restore_says_what_is_wrong(tmp_path):
    folder = new_run(tmp_path / "run")
    with pytest.raises(RunFolderError, match="no run"):
        restore(tmp_path / "empty", tmp_path / "new")
    with pytest.raises(RunFolderError, match="already holds"):
        restore(folder.path, new_run(tmp_path / "other").path)
    with pytest.raises(RunFolderError, match="itself"):
        restore(folder.path, folder.path)


def test_a_restore_that_was_cut_short_is_made_again(tmp_path, monkeypatch):
    folder = new_run(tmp_path / "run")
    real = atomic.write_beside
    for allowed in range(30):
        new = tmp_path / f"new_{allowed}"
        count = 0

        def cut_short(target, content, allowed=allowed):
            nonlocal count
            count += 1
            if count > allowed:
                target.with_name(f".{target.name}.tmp").write_bytes(content[:5])
                raise KeyboardInterrupt
            return real(target, content)

        monkeypatch.setattr(atomic, "write_beside", cut_short)
        try:
            restore(folder.path, new)
            break
        except KeyboardInterrupt:
            monkeypatch.setattr(atomic, "write_beside", real)
        copy = restore(folder.path, new)
        with copy.lock():
            assert not list(new.rglob(".*.tmp"))
        assert copy.load_newest().epoch == 2 and not any(copy.verify().values())
        assert open_history(copy).records == open_history(folder).records
    assert allowed >= 9
    with pytest.raises(RunFolderError, match="already holds"):
        restore(folder.path, new)


def test_nothing_is_left_open_or_running(tmp_path):
    folder = new_run(tmp_path / "run")
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    threads = threading.active_count()
    backup = Backup(folder, tmp_path / "copy", Heard())
    for epoch in range(3, 30):
        save(folder, epoch)
        backup.notify()
    backup.close()
    until(lambda: threading.active_count() == threads)
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors
