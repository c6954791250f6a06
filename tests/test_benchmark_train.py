"""benchmarks.train: a red gate prints no speed, a green one its rows and JSON."""

from __future__ import annotations

import json

import pytest

from benchmarks import train


def test_quick_run(capsys):
    before = train.torch.get_num_threads()
    try:
        assert train.main(["--quick", "--threads", "1", "--rounds", "1"]) == 0
    finally:
        train.torch.set_num_threads(before)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["case"], row["engine"]) for row in result["rows"]] == [
        ("quick", "eager"),
        ("quick", "fused"),
    ]
    assert all(row["seconds"] > 0 for row in result["rows"])


@pytest.mark.parametrize("name", ["W_q", "v", "W_ih", "W_hh", "b_ih", "b_hh", "W_o", "b_o"])
def test_one_wrong_gradient_is_red(monkeypatch, capsys, name: str):
    def wrong(**arguments):
        x = arguments[name]
        return train.attn_gru_sequence(**arguments | {name: x + 0.01 * (x - x.detach())})[0]

    monkeypatch.setattr(train, "engines", lambda compile: {"wrong": wrong})
    assert train.main(["--quick"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"wrong: d_{name} " in said.err


def test_without_texts_the_rest_is_measured(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KHMER_FAST_DATA", str(tmp_path))
    monkeypatch.setitem(train.CASES, "512", train.CASES["quick"])
    monkeypatch.setattr(train, "peak_mb", lambda case, engine: 1.0)
    before = train.torch.get_num_threads()
    try:
        assert train.main(["--cases", "512", "--threads", "1", "--rounds", "1"]) == 0
    finally:
        train.torch.set_num_threads(before)
    said = capsys.readouterr()
    assert "KHMER_FAST_DATA is not set: texts are made up" in said.out
    result = json.loads(said.out.splitlines()[-1])
    assert result["left_out"] is None and result["training"]
    assert [row["engine"] for row in result["rows"]] == ["eager", "fused"]
