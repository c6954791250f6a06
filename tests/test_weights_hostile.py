"""Weights files that were made to do harm: an error at once, and nothing made of their sizes."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from khmer_fast.errors import WeightsError
from khmer_fast.text import DEFAULT_CHARSET
from khmer_fast.weights import count_elements, load_weights
from python_ref.config import ModelConfig, Stage
from tests.test_weights import CONFIG, edited, message, state  # noqa: F401  one is a fixture

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
def test_tensors_and_numbers_in_the_place_of_others(tmp_path, state, change):  # noqa: F811
    path = tmp_path / "w.pth"
    torch.save({"config": "tiny", "charset": DEFAULT_CHARSET, "model": state, **change}, path)
    message(path)


@pytest.mark.parametrize("kind", ["sparse", "meta", "complex", "float8", "expanded"])
def test_tensors_that_are_no_plain_numbers(tmp_path, state, kind):  # noqa: F811
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


def test_views_are_read_as_what_they_show(tmp_path, state):  # noqa: F811
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
