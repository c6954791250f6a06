"""Checkpoints: what is saved is loaded, and what is damaged is walked over and said."""

from __future__ import annotations

import errno
import json
import os

import pytest
import torch

from khmer_fast.train.checkpoint import (
    CheckpointError,
    checkpoint_name,
    checkpoint_position,
    load_verified,
)
from khmer_fast.train.run_folder import RunFolder, RunFolderError
from tests.support.runs import contents, new_run, same, state_of, write_weights


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


def test_the_manifest_is_for_people_too(tmp_path):
    folder = new_run(tmp_path / "run", epochs=1)
    manifest = json.loads(folder.manifest_path.read_text())
    entry = manifest["files"]["models/checkpoint_epoch_001.pth"]
    assert entry.keys() == {"size", "sha256", "epoch", "step"}
    assert entry["size"] == (folder.models / "checkpoint_epoch_001.pth").stat().st_size
