"""A run folder that a disk or a careless hand damaged is put right, or what is lost is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from khmer_fast.train.checkpoint import checkpoint_name, load_verified
from khmer_fast.train.history import open_history
from khmer_fast.train.mend import mend_history, mend_manifest
from khmer_fast.train.run import train
from khmer_fast.train.run_folder import RunFolder
from tests.test_train_run import lines, options, quiet, whole  # noqa: F401  two are fixtures


@pytest.fixture
def run(whole, tmp_path) -> Path:  # noqa: F811
    """A copy of a run that has come to its end; a resume of it loads, mends and stops."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def resumed(run: Path, **changes) -> list[str]:
    said: list[str] = []
    train(resume=run, say=said.append, **changes)
    return said


def mended(said: list[str]) -> list[str]:
    return [line for line in said if line.startswith("Mended: ")]


def state_of_newest(run: Path) -> dict:
    return RunFolder(run).load_newest().state


# --- the manifest ---------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", ['{"run": "abc", "files', None])
def test_a_lost_manifest_is_made_again_and_the_run_stays_itself(run, tmp_path, manifest):
    resumed(run, backup=str(tmp_path / "backup"))
    folder = RunFolder(run)
    before = folder.read_manifest()
    folder.manifest_path.unlink()
    if manifest is not None:
        folder.manifest_path.write_text(manifest)
    said = resumed(run)
    assert "comes from its checkpoints" in mended(said)[0]
    assert any("complete and verified" in line for line in said)  # its backup is still its own
    after = folder.read_manifest()
    assert after.run == before.run == RunFolder(tmp_path / "backup").run_id()
    assert after.files == before.files
    assert not any(folder.verify().values())
    assert mended(resumed(run)) == []


def test_checkpoints_of_an_older_version_take_the_run_from_the_backup(tmp_path):
    folder, backup = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "backup")
    folder.create()
    shutil.copytree(folder.path, backup.path)
    torch.save({"a": 1}, folder.models / checkpoint_name(1))
    torch.save({"a": 1}, folder.best_path)
    run = folder.run_id()
    folder.manifest_path.write_text("")
    assert "its backup" in mend_manifest(folder, backup)
    assert folder.run_id() == run
    assert folder.manifest().files.keys() == {"models/checkpoint_epoch_001.pth"}
    folder.manifest_path.write_text("")
    assert "new one" in mend_manifest(folder)
    assert folder.run_id() not in (None, run)
    assert mend_manifest(folder) is None


# --- checkpoints ----------------------------------------------------------------------------------


def change(state: dict, path: str, value) -> dict:
    """A copy of a state with another value at `path`, or without it."""
    key, _, rest = path.partition("/")
    key = int(key) if key.isdigit() else key
    copy = dict(state)
    if rest:
        copy[key] = change(copy[key], rest, value)
    elif value is None:
        del copy[key]
    else:
        copy[key] = value
    return copy


MISFITS = {  # what a checkpoint has in the place of what it should: what is said
    "config": ("base", "config is not the run's"),
    "charset": ("abc", "charset is not the run's"),
    "normalizer_version": (torch.zeros(3), "normalizer_version"),
    "data": (5, "'data'"),
    "progress": (None, "how far"),
    "progress/since": (5, "how far"),
    "progress/step": ("abc", "'step'"),
    "progress/epoch": (1.5, "'epoch'"),
    "progress/since/nll": ("a", "'nll'"),
    "progress/later": (5, "later"),
    "model": ({}, "lacks"),
    "model/decoder.v": (torch.zeros(2), "'decoder.v'"),
    "model/ctc.bias": (5, "'ctc.bias'"),
    "average": (None, "lacks 'average'"),
    "optimizer": (None, "optimizer"),
    "optimizer/state/3": ({"exp_avg": torch.zeros(1)}, "parameter 3"),
    "optimizer/state/4/exp_avg": (torch.zeros(2), "parameter 4"),
    "optimizer/state/9999": ({}, "9999"),
    "optimizer/param_groups": ([], "other parameters"),
}


def test_checkpoints_that_are_whole_but_misshapen_are_walked_over_and_said(run):
    state, folder = state_of_newest(run), RunFolder(run)
    for number, (path, (value, _)) in enumerate(MISFITS.items(), 100):
        torch.save(change(state, path, value), folder.models / checkpoint_name(number))
    torch.save({}, folder.models / checkpoint_name(99))
    said = resumed(run)
    passed = {line.split()[2].rstrip(":"): line for line in said if "Passed over" in line}
    assert len(passed) == len(MISFITS) + 1
    for number, (_, word) in enumerate(MISFITS.values(), 100):
        line = passed[str(folder.models / checkpoint_name(number))]
        assert "cannot be used" in line and word in line
    assert any(line.startswith("Resumed from epoch 2, step") for line in said)


def test_progress_of_an_older_version_is_taken_up(run):
    folder = RunFolder(run)
    state = state_of_newest(run)
    del state["progress"]["ctc_left_out"], state["progress"]["since"]["waited"]
    torch.save(state, folder.models / checkpoint_name(3))
    said = resumed(run)
    assert not any("Passed over" in line for line in said)
    assert any("checkpoint_epoch_003" in line for line in said)


# --- the best model -------------------------------------------------------------------------------


def best_step(run: Path) -> int:
    return load_verified(RunFolder(run).best_path, None)[0]["progress"]["step"]


def test_best_weights_that_were_deleted_are_made_again(run):
    folder = RunFolder(run)
    before = folder.best_weights_path.read_bytes()
    step = best_step(run)
    for damage in (
        folder.best_weights_path.unlink,
        lambda: folder.best_weights_path.write_bytes(b"x"),
    ):
        damage()
        (said,) = mended(resumed(run))
        assert "made again from best_model.pth" in said
        assert folder.best_weights_path.read_bytes() == before
        assert best_step(run) == step and not any(folder.verify().values())


def test_a_best_model_that_was_deleted_is_made_again_or_replaced(run):
    folder = RunFolder(run)
    before, step = folder.best_weights_path.read_bytes(), best_step(run)
    folder.best_path.unlink()
    (said,) = mended(resumed(run))
    assert folder.best_weights_path.read_bytes() == before
    assert "stands, and a better" in said or best_step(run) == step
    for path in folder.models.glob("best_model.*"):
        path.unlink()
    heard = resumed(run)
    (said,) = mended(heard)
    assert "stands in for the best" in said or best_step(run) == step
    assert str(folder.best_weights_path) in heard[-1] and folder.best_weights_path.is_file()
    assert not any(folder.verify().values())
    assert mended(resumed(run)) == []


def test_a_best_model_deleted_during_the_run_is_not_named_as_there(lines, tmp_path):  # noqa: F811
    def delete(text: str) -> None:
        said.append(text)
        if text.startswith("Saved"):
            for path in (tmp_path / "run/models").glob("best_model.*"):
                path.unlink()

    said: list[str] = []
    train(out=tmp_path / "run", say=delete, **options(lines, epochs=1))
    assert "was deleted meanwhile" in said[-1]
    assert "made again from checkpoint_epoch_001.pth" in mended(resumed(tmp_path / "run"))[0]


# --- the history ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["inside", "step", "missing", "order", "bytes"])
def test_a_damaged_history_is_made_again_from_its_table(run, damage):
    folder = RunFolder(run)
    path = run / "history.jsonl"
    before = open_history(folder).records
    rows = path.read_bytes().splitlines(keepends=True)
    assert len(rows) >= 4
    if damage == "inside":
        rows[1] = rows[1][:40] + b"\n"
    elif damage == "step":
        rows[1] = rows[1].replace(b'"step": ', b'"step": "abc", "was": ')
    elif damage == "order":
        rows[0], rows[2] = rows[2], rows[0]
    elif damage == "bytes":
        rows[1] = b"\xff\xfe\0" * 50 + b"\n"
    path.write_bytes(b"".join(rows))
    if damage == "missing":
        path.unlink()
    (said,) = mended(resumed(run))
    assert "history.csv" in said
    assert open_history(folder).records == before
    if damage != "missing":
        assert (run / "history.jsonl.set_aside").read_bytes() == b"".join(rows)
    assert mended(resumed(run)) == []


def test_what_no_file_holds_any_more_is_lost_and_said(run):
    folder = RunFolder(run)
    before = open_history(folder).records
    rows = (run / "history.jsonl").read_text().splitlines(keepends=True)
    (run / "history.jsonl").write_text("rubbish\n" + "".join(rows[1:]))
    (run / "history.csv").write_text("\0")
    assert f"{len(before) - 1} records were whole, 0 made again" in mend_history(folder)
    assert open_history(folder).records == before[1:]


def test_an_empty_folder_has_no_history_to_mend(tmp_path):
    folder = RunFolder(tmp_path)
    folder.create()
    assert mend_history(folder) is None and mend_manifest(folder) is None
    assert not (tmp_path / "history.jsonl").exists()
    quiet("")
