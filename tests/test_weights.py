"""Weights files: what is saved is loaded, and nothing else is."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from khmer_fast import weights as module
from khmer_fast.errors import WeightsError
from khmer_fast.text import DEFAULT_CHARSET
from khmer_fast.weights import count_elements, load_weights, save_weights
from python_ref.config import ModelConfig, Stage, make_config
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


# --- files that were made to do harm --------------------------------------------------------------


# Loads files in a process of its own, and says what came of each: message, seconds, bytes.
LOADER = """
import json, resource, sys, time
from khmer_fast.errors import WeightsError
from khmer_fast.weights import load_weights
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
for path in sys.argv[1:]:
    before, start, said = peak(), time.process_time(), None
    try: load_weights(path)
    except WeightsError as error: said = str(error)
    print(json.dumps([said, time.process_time() - start, peak() - before]))
"""


def large_config() -> ModelConfig:
    """Sizes within bounds whose model would take 2 TB."""
    return dataclasses.replace(CONFIG, stages=(Stage(8192, 1, 1, 0),), height=8192, features=8192)


def stretched(config: ModelConfig) -> dict[str, torch.Tensor]:
    """One number a tensor, which strides of 0 stretch to as many as the configuration needs."""
    return {"decoder.v": torch.zeros(1).expand(count_elements(config))}


def hostile_checkpoint(name: str) -> bytes:
    """A checkpoint of a few bytes that would take gigabytes or minutes if it were believed."""
    config = large_config() if name == "sizes" else CONFIG
    content = {
        "config": dataclasses.asdict(config),
        "charset": DEFAULT_CHARSET,
        "model": stretched(config),
    }
    if name == "shared":  # each tensor holds its elements, but all hold the same
        one = torch.zeros(count_elements(CONFIG) // 8)
        content["model"] = {f"t{i}": one.view(-1) for i in range(9)}
    elif name in ("charset", "repeats"):
        content["charset"] = DEFAULT_CHARSET * (50_000 if name == "charset" else 5_000)
        content |= {"config": "tiny", "model": {"a": torch.zeros(3)}}
    elif name == "bytearray":
        content["surplus"] = Allocates(bytearray)
    elif name == "tensor":
        content["surplus"] = Allocates(torch.Tensor)
    elif name == "nested":
        inner = {}
        for _ in range(60):
            inner = {"a": inner, "b": inner}
        content["config"] = inner
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


class Allocates:
    """Pickled as a call that allocates 20 GB."""

    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call, (20 * 10**9,)


def write_zeros(path: Path) -> None:
    """A compressed archive of a few hundred kilobytes with 300 MB of zeros."""
    file = io.BytesIO()
    torch.save({"config": "tiny", "model": {"a": torch.zeros(1)}}, file)
    with zipfile.ZipFile(file) as plain, zipfile.ZipFile(path, "w", compresslevel=1) as packed:
        for part in plain.infolist():
            content = bytes(300_000_000) if part.filename.endswith("data/0") else plain.read(part)
            packed.writestr(part.filename, content, zipfile.ZIP_DEFLATED)


def test_small_files_take_no_time_and_no_memory(tmp_path, tiny_weights):
    words = {
        "strides.pth": "does not hold",
        "sizes.pth": "does not hold",
        "shared.pth": "more numbers than the file holds",
        "charset.pth": "4,194,304 bytes",
        "repeats.pth": "fewer numbers than its configuration",
        "bytearray.pth": "bytearray",
        "tensor.pth": "torch Tensor",
        "nested.pth": "configuration cannot be read",
        "zeros.pth": "compressed",
        "charset.safetensors": "header",
    }
    for name in words:
        kind, _, suffix = name.partition(".")
        if kind == "zeros":
            write_zeros(tmp_path / name)
        elif suffix == "pth":
            (tmp_path / name).write_bytes(hostile_checkpoint(kind))
    charset = DEFAULT_CHARSET * 12_000  # 9 MB
    edited(tiny_weights, tmp_path / "charset.safetensors", {"charset": charset})
    command = [sys.executable, "-c", LOADER, *(str(tmp_path / name) for name in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == ""
    for (name, word), line in zip(words.items(), done.stdout.splitlines(), strict=True):
        said, seconds, growth = json.loads(line)
        assert word in said and name in said and "weights_only" not in said, name
        assert len(said) < 1000 and said.isprintable(), name
        assert seconds < 2 and growth < 150e6, (name, seconds, growth)


def test_a_charset_with_repeats_is_no_charset(tmp_path, tiny_weights):
    path = edited(tiny_weights, tmp_path / "w", {"charset": DEFAULT_CHARSET * 100})
    assert "disagree" in message(path)


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"config": '{"stages":' + "[" * 100_000}, "configuration"),
        ({"config": '{"a":' * 100_000 + "1" + "}" * 100_000}, "configuration"),
        ({"config": '{"stages": [5]}'}, "configuration"),
        ({"config": '{"stages": {"channels": 1}}'}, "configuration"),
        ({"config": "1" * 10_000}, "configuration"),
        ({"calibration": "[" * 100_000}, "calibration"),
        ({"calibration": '{"line": [NaN, 0]}'}, "not finite"),
        ({"calibration": '{"line": [1e999, 0]}'}, "not finite"),
        ({"calibration": '{"line": [1, -Infinity]}'}, "not finite"),
        ({"calibration": '{"line": [1' + "0" * 400 + ", 0]}"}, "calibration"),
        ({"calibration": '{"line": null}'}, "calibration"),
        ({"format": "\x1b]0;owned\x07\nkhmer-fast: all is well"}, r"\x1b]0;owned\x07\nkhmer-fast"),
        ({"normalizer_version": "9" * 100_000}, "100,000 characters"),
    ],
)
def test_metadata_that_was_made_to_do_harm(tmp_path, tiny_weights, metadata, word):
    said = message(edited(tiny_weights, tmp_path / "w", metadata))
    assert word in said and len(said) < 1000 and said.isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"model": {5: torch.zeros(3)}},
        {"model": {"a": torch.zeros(3), 5: torch.zeros(3)}},
        {"model": torch.zeros(3)},
        {"average": torch.zeros(3)},
        {"average": {"a": 5}},
        {"charset": torch.zeros(3)},
        {"normalizer_version": torch.zeros(3)},
        {"config": {5: 5}},
        {"config": {"stages": torch.zeros(3)}},
        {"config": {"stages": [{"channels": torch.zeros(3)}]}},
        {"config": torch.zeros(3)},
        {"config": ("tiny",)},
        {"config": {**dataclasses.asdict(CONFIG), "A": torch.tensor(24)}},
        {"config": {**dataclasses.asdict(CONFIG), "name": torch.tensor(24)}},
    ],
)
def test_tensors_and_numbers_in_the_place_of_others(tmp_path, state, change):
    path = tmp_path / "w.pth"
    torch.save({"config": "tiny", "charset": DEFAULT_CHARSET, "model": state, **change}, path)
    message(path)


@pytest.mark.parametrize("kind", ["sparse", "meta", "complex", "float8", "expanded"])
def test_tensors_that_are_no_plain_numbers(tmp_path, state, kind):
    v = state["decoder.v"]
    odd = {
        "sparse": lambda: v.to_sparse(),
        "meta": lambda: v.to("meta"),
        "complex": lambda: v.to(torch.complex64),
        "float8": lambda: v.to(torch.float8_e4m3fn),
        "expanded": lambda: v[:1].expand(len(v)),
    }[kind]()
    path = tmp_path / "w.pth"
    torch.save({"config": "tiny", "model": {**state, "decoder.v": odd}}, path)
    message(path)


def test_views_are_read_as_what_they_show(tmp_path, state):
    """Transposed, negated and shared storage are torch's ways of keeping the same numbers."""
    W = state["decoder.W_q"]
    imaginary = torch.view_as_complex(torch.stack([torch.zeros(CONFIG.A), -state["decoder.v"]], 1))
    changed = {**state, "decoder.W_q": W.T.contiguous().T}
    changed["decoder.v"] = imaginary.conj().imag.contiguous()
    changed["decoder.b_k"] = torch._neg_view(-state["decoder.b_k"])
    path = tmp_path / "w.pth"
    torch.save({"config": "tiny", "model": changed}, path)
    loaded = load_weights(path)
    for name in ("decoder.W_q", "decoder.v", "decoder.b_k"):
        assert torch.equal(loaded.state[name], state[name]) and not loaded.state[name].is_neg()


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in message(tmp_path / "pipe")
    with pytest.raises(WeightsError, match=r"\\x00"):
        load_weights("a\0b")


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
