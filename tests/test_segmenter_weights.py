"""Weights of the segmenter: what is written is read, and anything else is one clear error."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from khmer_fast import segmenter_weights as module
from khmer_fast.errors import WeightsError
from khmer_fast.segmenter_weights import (
    FORMAT,
    count_segmenter_elements,
    load_segmenter,
    save_segmenter,
)
from khmer_fast.weights import PACKAGED, load_weights
from python_ref.segmenter import SEGMENTERS, Segmenter, SegmenterConfig

TINY = SEGMENTERS["tiny"]


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Segmenter(TINY).state_dict()


def message(path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_segmenter(path)
    return str(caught.value)


def test_what_is_written_is_read(tmp_path, state):
    digest = save_segmenter(tmp_path / "w", state, TINY, {"trained": "on nothing"})
    weights = load_segmenter(tmp_path / "w")
    assert (weights.config, weights.sha256) == (TINY, digest)
    assert weights.metadata["trained"] == "on nothing"
    for name, tensor in weights.model.state_dict().items():
        assert torch.equal(tensor, state[name].half().float()) and not tensor.requires_grad
    assert save_segmenter(tmp_path / "again", state, TINY, {"trained": "on nothing"}) == digest


def test_building_the_model_draws_no_numbers(tmp_path, state):
    save_segmenter(tmp_path / "w", state, TINY)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_segmenter(tmp_path / "w")
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("config", [*SEGMENTERS.values(), SegmenterConfig("x", 3, 5, (7,), (0,))])
def test_the_numbers_of_a_model_are_counted_without_it(config):
    assert count_segmenter_elements(config) == sum(
        p.numel() for p in Segmenter(config).parameters()
    )


def test_weights_of_the_other_kind_are_told_apart(tmp_path, state):
    save_segmenter(tmp_path / "w", state, TINY)
    assert "metadata format is 'khmer_fast', expected 'khmer_fast_segmenter'" in message(PACKAGED)
    with pytest.raises(WeightsError, match="metadata format is 'khmer_fast_segmenter'"):
        load_weights(tmp_path / "w")


def test_what_is_missing_damaged_or_foreign(tmp_path, state):
    save_segmenter(tmp_path / "w", state, TINY)
    whole = (tmp_path / "w").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-7])
    (tmp_path / "text").write_text("no weights")
    (tmp_path / "empty").write_bytes(b"")
    assert "not a whole safetensors file" in message(tmp_path / "cut")
    assert "not a whole safetensors file" in message(tmp_path / "text")
    assert "is empty" in message(tmp_path / "empty")
    assert "no such weights file" in message(tmp_path / "nothing")
    assert "is a folder" in message(tmp_path)
    torch.save({"config": "tiny", "model": state}, tmp_path / "lines.pth")
    assert "no checkpoint of a segmenter" in message(tmp_path / "lines.pth")


def written(tmp_path, state, **metadata):
    halves = {name: tensor.half() for name, tensor in state.items()}
    table = {"format": FORMAT, "format_version": "1"}
    table["config"] = json.dumps(dataclasses.asdict(TINY))
    path = tmp_path / "w"
    path.write_bytes(safetensors.torch.save(halves, table | metadata))
    return path


def test_tensors_that_do_not_fit(tmp_path, state):
    fewer = {name: tensor for name, tensor in state.items() if name != "head.bias"}
    assert "missing head.bias" in message(written(tmp_path, fewer))
    wrong = state | {"head.bias": torch.zeros(5)}
    assert "head.bias must have shape [4], got [5]" in message(written(tmp_path, wrong))
    bad = state | {"head.bias": torch.full((4,), torch.nan)}
    assert "head.bias has numbers that are not finite" in message(written(tmp_path, bad))
    assert "format version '2'" in message(written(tmp_path, state, format_version="2"))


@pytest.mark.parametrize(
    "change",
    [
        {"channels": [8, 16, 10**9]},
        {"blocks": [1, 1, 10**6]},
        {"channels": []},
        {"stem": 2.5},
        {"stem": True},
        {"name": 3},
        {"channels": 8},
        {"more": 1},
    ],
)
def test_hostile_configurations_build_nothing(tmp_path, state, change):
    config = dataclasses.asdict(TINY) | change
    assert "its configuration" in message(written(tmp_path, state, config=json.dumps(config)))


def test_sizes_that_the_file_does_not_hold(tmp_path, state):
    config = dataclasses.asdict(TINY) | {"channels": [2048, 2048, 2048]}
    path = written(tmp_path, state, config=json.dumps(config))
    assert "fewer numbers than its configuration needs" in message(path)


def test_packaged_weights_are_pinned(tmp_path, state, monkeypatch):
    digest = save_segmenter(tmp_path / "pages.safetensors", state, TINY)
    monkeypatch.setattr(module, "PACKAGED_SEGMENTER", tmp_path / "pages.safetensors")
    monkeypatch.setattr(module, "PACKAGED_SEGMENTER_SHA256", "0" * 64)
    assert "not those of this release" in message(None)
    monkeypatch.setattr(module, "PACKAGED_SEGMENTER_SHA256", digest)
    assert load_segmenter().sha256 == digest


def test_the_packaged_weights():
    weights = load_segmenter()
    assert module.PACKAGED_SEGMENTER.stat().st_size < 1_000_000
    assert weights.config == SEGMENTERS["small"]
    assert weights.metadata["trained"] and len(weights.metadata["commit"]) == 40


def test_the_packaged_weights_find_lines_and_hardly_see_padding():
    """Lines of letter-like blocks; the same page with paper around it gives the same bands."""
    page = np.zeros((480, 640), np.float32)
    for top in (60, 110, 160, 300):
        for x in range(60, 520, 14):
            page[top : top + 12, x : x + 9] = 0.9
            page[top + 3 : top + 12, x + 3 : x + 6] = 0
    image = torch.from_numpy(page)[None, None]
    model = load_segmenter().model
    alone = torch.sigmoid(model(image).band)[0]
    strength = alone[:, 30:110].mean(1)  # by row of cells
    lines = [strength[top // 4 : top // 4 + 4].max() for top in (60, 110, 160, 300)]
    assert min(lines) > 0.5 and strength[190 // 4 : 280 // 4].max() < 0.1
    padded = torch.nn.functional.pad(image, (0, 96, 0, 96))
    filled = torch.sigmoid(model(padded).band)[0, :120, :160]
    assert float((alone - filled).abs().mean()) < 0.005
