"""A whole run on pages: killed and resumed it equals the one that was not; bad data is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from khmer_fast.data.page_files import write_pages
from khmer_fast.data.pages import PageLine, PageRegion, PageSample
from khmer_fast.errors import KhmerFastError, OptionError
from khmer_fast.segmenter_weights import load_segmenter
from khmer_fast.train.history import open_history
from khmer_fast.train.run import train
from khmer_fast.train.run_folder import RunFolder
from tests.test_train_pages import draw_page
from tests.test_train_run import TIMES, assert_equal, command_line, quiet, start, wait_for

TINY = dict(
    task="pages", config="tiny", epochs=2, lines_per_epoch=16, batch_lines=2, warmup_steps=2,
    validate_lines=2, threads=1, checkpoint_every_steps=3, validate_every_steps=4, accumulate=2,
)  # fmt: skip


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> Path:
    """Stored pages of two lines of blocks each."""
    folder = tmp_path_factory.mktemp("pages") / "set"
    rng = np.random.default_rng(0)
    samples = []
    for number in range(22):
        top = int(rng.integers(30, 250))
        drawn = draw_page([(40, top, 300, top + 12), (40, top + 30, 200, top + 42)], (360, 340))
        lines = tuple(
            PageLine("x", line.baseline, line.letter_height, line.box, 0, None, "text", False)
            for line in drawn.lines
        )
        region = PageRegion("text", drawn.lines[0].box)
        samples.append(
            (f"{number:03}", PageSample(drawn.image, drawn.owner, lines, (region,), 0, 0, "a", "b"))
        )
    write_pages(samples, folder, owners=True)
    return folder


def options(pages: Path, **changes) -> dict:
    return {"data": [str(pages)], **TINY, **changes}


@pytest.fixture(scope="session")
def whole(pages, tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    return train(out=tmp_path_factory.mktemp("whole") / "run", say=quiet, **options(pages))


def assert_same_run(left: Path, right: Path) -> None:
    states = [RunFolder(path).load_newest().state for path in (left, right)]
    records = [open_history(RunFolder(path)).records for path in (left, right)]
    for state in states:
        for times in (state["progress"], state["progress"]["since"]):
            for name in ("seconds", "waited"):
                times.pop(name, None)
    assert_equal(*states)
    timeless = [[{k: v for k, v in r.items() if k not in TIMES} for r in run] for run in records]
    assert timeless[0] == timeless[1] and timeless[0]
    best = [load_segmenter(run / "models/best_model.safetensors").model for run in (left, right)]
    assert_equal(*(dict(model.state_dict()) for model in best))


@pytest.mark.parametrize(("workers", "saves"), [(0, 1), (2, 3)])
def test_killed_and_resumed_is_the_uninterrupted_run(whole, pages, tmp_path, workers, saves):
    out = tmp_path / "run"
    process = start(command_line(options(pages, out=out, workers=workers)))
    wait_for(process, "Saved checkpoint", saves)
    process.kill()
    process.wait()
    process.stderr.close()
    said = []
    train(resume=out, say=said.append)
    assert any("Resumed from epoch" in line for line in said)
    assert_same_run(whole, out)


def test_what_a_run_leaves(whole):
    last = open_history(RunFolder(whole)).records[-1]
    assert last["lines"] == 32 and last["train_loss"] > 0 and last["val_lines"] > 0
    assert last["best_loss"] <= last["val_loss"] and last["train_rotation"] is not None
    weights = load_segmenter(whole / "models/best_model.safetensors")
    checkpoint = load_segmenter(whole / "models/best_model.pth")
    assert weights.config == checkpoint.config and weights.config.name == "tiny"
    for name, tensor in checkpoint.model.state_dict().items():
        assert torch.equal(weights.model.state_dict()[name], tensor.half().float()), name
    assert (whole / "plots/history.png").exists()
    assert len(list((whole / "plots/bands").glob("*.png"))) == 4  # two pages, two epochs


def test_a_run_may_begin_with_weights(whole, pages, tmp_path):
    weights = whole / "models/best_model.safetensors"
    once = options(pages, epochs=1, lines_per_epoch=2, accumulate=1, learning_rate=0.0)
    train(out=tmp_path / "run", say=quiet, init_from=str(weights), **once)
    begun = load_segmenter(tmp_path / "run/models/best_model.safetensors").model
    assert_equal(dict(begun.state_dict()), dict(load_segmenter(weights).model.state_dict()))


def test_a_rate_of_zero_learns_nothing_and_training_learns(pages, tmp_path):
    runs = {}
    for rate in (0.0, 4e-3):
        out = tmp_path / f"run{rate}"
        changes = dict(learning_rate=rate, epochs=3, lines_per_epoch=40, accumulate=1)
        train(out=out, say=quiet, **options(pages, **changes))
        runs[rate] = [r["val_loss"] for r in open_history(RunFolder(out)).records]
    assert runs[4e-3][-1] < 0.8 * runs[0.0][-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(data=[]), "expected something to train on, got no --data"),
        (dict(data=["nowhere"]), "nowhere: expected a folder of .*render --pages --owners"),
        (dict(config="base"), "--config must be one of tiny, small for pages, got base"),
        (dict(init_from="nowhere.safetensors"), "there is no such weights file"),
    ],
)
def test_what_cannot_be_used_is_said_before_the_first_step(pages, tmp_path, change, message):
    with pytest.raises((KhmerFastError, OptionError), match=message):
        train(out=tmp_path / "run", say=quiet, **options(pages, **change))
    assert not (tmp_path / "run").exists()


def test_pages_without_owners_are_refused(pages, tmp_path):
    (tmp_path / "set").mkdir()
    for path in pages.glob("00*.png"):
        if "owner" not in path.name:
            (tmp_path / "set" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(KhmerFastError, match="with their owners, found none"):
        train(out=tmp_path / "run", say=quiet, **options(tmp_path / "set"))


def test_weights_of_lines_are_none_of_pages(pages, tmp_path):
    from khmer_fast.weights import PACKAGED

    with pytest.raises(KhmerFastError, match="these are not khmer_fast weights"):
        train(out=tmp_path / "run", say=quiet, **options(pages, init_from=str(PACKAGED)))
