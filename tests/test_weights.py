"""Weights files: what is saved is loaded, and nothing else is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch

from khmer_fast import weights as module
from khmer_fast.errors import WeightsError
from khmer_fast.text import DEFAULT_CHARSET
from khmer_fast.weights import count_elements, load_weights, save_weights
from python_ref.config import ModelConfig, make_config
from python_ref.model import Model

CONFIG = make_config("tiny", len(DEFAULT_CHARSET) + 3)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in Model(CONFIG).state_dict().items()}


def edited(path: Path, target: Path, metadata: dict | None = None, tensors: dict | None = None):
    """A copy of a weights file with other metadata (None takes an entry out) or tensors."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    old = json.loads(data[8 : 8 + length])["__metadata__"]
    new = {k: v for k, v in {**old, **(metadata or {})}.items() if v is not None}
    kept = {**safetensors.torch.load(data), **(tensors or {})}
    kept = {k: v for k, v in kept.items() if v is not None}
    safetensors.torch.save_file(kept, target, new)
    return target


def message(path, **options) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_round_trip(tmp_path, state):
    path = tmp_path / "w.safetensors"
    calibration = json.dumps({"character": [0.5, 1.5]})
    digest = save_weights(path, state, CONFIG, extra={"commit": "abc", "calibration": calibration})
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load_weights(path)
    assert loaded.config == CONFIG and loaded.charset == DEFAULT_CHARSET
    assert loaded.metadata["commit"] == "abc" and loaded.sha256 == digest
    assert loaded.calibration() == {"character": (0.5, 1.5), "line": (1.0, 0.0)}
    assert loaded.state.keys() == state.keys()
    for name, tensor in loaded.state.items():
        assert tensor.dtype == torch.float32 and not tensor.requires_grad
        assert torch.equal(tensor, state[name].half().float())
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_not_replaced(tmp_path, state):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(WeightsError, match="expected the name of a file"):
            save_weights(path, state, CONFIG)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and [*tmp_path.iterdir()] == [pipe]


def test_loading_draws_no_random_numbers(tiny_weights):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    load_weights(tiny_weights)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_small_fits_the_wheel(tmp_path):
    config = make_config("small", len(DEFAULT_CHARSET) + 3)
    save_weights(tmp_path / "small.safetensors", Model(config).state_dict(), config)
    assert (tmp_path / "small.safetensors").stat().st_size < 12_000_000


def test_an_extended_charset_is_read(tmp_path):
    config = dataclasses.replace(CONFIG, V=CONFIG.V + 2)
    path = tmp_path / "w.safetensors"
    charset = DEFAULT_CHARSET + "ໃໄ"
    save_weights(path, Model(config).state_dict(), config, charset)
    assert load_weights(path).charset == charset


def test_files_that_are_no_weights(tmp_path, tiny_weights):
    data = tiny_weights.read_bytes()
    for name, content, word in (
        ("empty", b"", "empty"),
        ("text", b"not weights at all, just some text", "whole"),
        ("truncated", data[:-100], "whole"),
        ("header", data[:50], "whole"),
        ("surplus", data + b"x", "whole"),
        ("zip", b"PK\x03\x04" + b"\0" * 100, "checkpoint"),
    ):
        (tmp_path / name).write_bytes(content)
        assert word in message(tmp_path / name)
    assert "no such" in message(tmp_path / "missing")
    assert "folder" in message(tmp_path)


def test_foreign_safetensors(tmp_path):
    safetensors.torch.save_file({"layer.weight": torch.zeros(3, 3)}, tmp_path / "foreign")
    assert "not khmer_fast weights" in message(tmp_path / "foreign")


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"format": "pt"}, "not khmer_fast"),
        ({"format_version": "99"}, "99"),
        ({"charset": None}, "charset"),
        ({"charset": ""}, "charset"),
        ({"charset": "x" + DEFAULT_CHARSET[1:]}, "twice|several"),
        ({"charset": DEFAULT_CHARSET[:-1]}, "disagree"),
        ({"charset": DEFAULT_CHARSET[1:] + "ໃ"}, "charset is not this"),
        ({"charset": DEFAULT_CHARSET[::-1]}, "charset is not this"),
        ({"normalizer_version": "0"}, "normaliser"),
        ({"height": "32"}, "height"),
        ({"config": "{"}, "configuration"),
        ({"config": "[]"}, "configuration"),
        ({"config": json.dumps({"stages": [], "name": "x"})}, "configuration"),
        ({"calibration": "[1]"}, "calibration"),
        ({"calibration": '{"line": ["a", "b"]}'}, "calibration"),
        ({"calibration": '{"line": [1]}'}, "calibration"),
    ],
)
def test_metadata_that_disagrees(tmp_path, tiny_weights, metadata, word):
    text = message(edited(tiny_weights, tmp_path / "w", metadata))
    assert any(part in text for part in word.split("|")), text


def test_another_charset_names_the_character(tmp_path):
    config = make_config("tiny", 6)
    save_weights(tmp_path / "w", Model(config).state_dict(), config, "abc")
    text = message(tmp_path / "w")
    assert "U+0061" in text and "U+0020" in text
    assert load_weights(tmp_path / "w", charset="abc").charset == "abc"
    save_weights(tmp_path / "short", Model(config).state_dict(), config, DEFAULT_CHARSET[:3])
    assert "ends after 3" in message(tmp_path / "short")


@pytest.mark.parametrize("field", ["A", "D", "H", "V", "features", "encoder_hidden", "height"])
@pytest.mark.parametrize("value", [0, -1, 10**6, 8000, 33, "24", 24.0, None, True])
def test_configurations_that_do_not_fit(tmp_path, tiny_weights, field, value):
    fields = dataclasses.asdict(CONFIG)
    fields[field] = value
    message(edited(tiny_weights, tmp_path / "w", {"config": json.dumps(fields)}))


def test_tensors_that_do_not_fit(tmp_path, tiny_weights, state):
    def said(**tensors) -> str:
        return message(edited(tiny_weights, tmp_path / "w", None, tensors))

    W_q = state["decoder.W_q"].half()
    assert "missing decoder.W_q" in said(**{"decoder.W_q": None})
    assert "unexpected surplus" in said(surplus=torch.zeros(3))
    assert "must have shape" in said(**{"decoder.W_q": W_q.T.contiguous()})
    assert "float dtype" in said(**{"decoder.W_q": W_q.to(torch.int32)})
    for number in (torch.nan, torch.inf):
        poisoned = W_q.clone()
        poisoned[1, 2] = number
        assert "decoder.W_q has numbers that are not finite" in said(**{"decoder.W_q": poisoned})


def test_what_cannot_be_saved(tmp_path, state):
    path = tmp_path / "w"
    for change, word in (
        ({"decoder.v": torch.full((CONFIG.A,), 1e6)}, "float16"),
        ({"decoder.v": torch.zeros(CONFIG.A + 1)}, "shape"),
    ):
        with pytest.raises(WeightsError, match=word):
            save_weights(path, {**state, **change}, CONFIG)
    with pytest.raises(WeightsError, match="disagree"):
        save_weights(path, state, CONFIG, "abc")
    with pytest.raises(FileNotFoundError):
        save_weights(tmp_path / "no" / "w", state, CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, state, monkeypatch):
    path = tmp_path / "w"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(path, state, CONFIG)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "config", ["tiny", dataclasses.asdict(CONFIG), json.dumps(dataclasses.asdict(CONFIG))]
)
def test_checkpoints_are_read(tmp_path, state, config):
    path = tmp_path / "checkpoint_epoch_3.pth"
    torch.save({"config": config, "charset": DEFAULT_CHARSET, "model": state}, path)
    loaded = load_weights(path)
    assert isinstance(loaded.config, ModelConfig) and loaded.config == CONFIG
    assert all(torch.equal(loaded.state[name], state[name]) for name in state)
    average = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"config": config, "model": state, "average": average}, path)
    assert torch.equal(load_weights(path).state["decoder.v"], average["decoder.v"])


class Bomb:
    def __reduce__(self):
        return (Path("bomb_went_off").touch, ())


def test_checkpoints_run_no_code(tmp_path, state, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"config": "tiny", "model": state, "extra": Bomb()}, tmp_path / "evil.pth")
    said = message(tmp_path / "evil.pth")
    assert "neither tensors nor plain values" in said and "option" not in said
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Bomb()))
    message(tmp_path / "evil.pkl")
    assert not (tmp_path / "bomb_went_off").exists()


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"model": 3},
        {"config": "tiny"},
        {"config": "huge", "model": {}},
        {"config": "tiny", "model": {}},
        {"config": "tiny", "charset": 5, "model": {"a": torch.zeros(1)}},
        {"config": None, "model": {"a": torch.zeros(1)}},
    ],
)
def test_foreign_checkpoints(tmp_path, content):
    torch.save(content, tmp_path / "foreign.pth")
    message(tmp_path / "foreign.pth")


def test_packaged_weights_are_pinned(tmp_path, tiny_weights, monkeypatch):
    packaged = tmp_path / "small.safetensors"
    monkeypatch.setattr(module, "PACKAGED", packaged)
    with pytest.raises(WeightsError, match="reinstall"):
        load_weights()
    packaged.write_bytes(tiny_weights.read_bytes())
    monkeypatch.setattr(module, "PACKAGED_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="sha256"):
        load_weights()
    digest = hashlib.sha256(packaged.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "PACKAGED_SHA256", digest)
    assert load_weights().config.name == "tiny"


def test_the_packaged_weights_are_those_of_this_release():
    if not module.PACKAGED.exists():
        pytest.skip(f"{module.PACKAGED.name} is not packaged yet")
    assert load_weights().config.name == "small"
    assert module.PACKAGED.stat().st_size < 12_000_000


@pytest.mark.parametrize("name", ["tiny", "small", "base"])
def test_the_numbers_of_a_model_are_counted_without_it(name):
    config = make_config(name, 77)
    assert count_elements(config) == sum(p.numel() for p in Model(config).parameters())


def test_equal_weights_are_equal_bytes(tmp_path, state):
    extra = {f"key{i}": str(i) for i in range(20)}
    for name in "abcde":
        save_weights(tmp_path / name, state, CONFIG, extra=extra)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    kept = safetensors.torch.load_file(tmp_path / "a")
    assert all(torch.equal(kept[key], state[key].half()) for key in state)
