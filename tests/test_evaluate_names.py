"""`evaluate` with names and predictions of strangers: reports stay, JSON is JSON, no escapes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from khmer_fast import cli
from khmer_fast.errors import KhmerFastError, printable
from khmer_fast.evaluation.predictions import load_predictions

NOT_UTF8 = os.fsdecode(b"b\xff")
ESCAPES = "a\x1b[2J\x1b]0;x\x07\n\u202etxt"


@pytest.fixture
def pairs(tmp_path) -> Path:
    """A folder of pairs whose names are not UTF-8, or move the cursor."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in (NOT_UTF8, ESCAPES, "plain"):
        Image.new("L", (20, 10), 255).save(folder / f"{name}.png")
        (folder / f"{name}.gt.txt").write_text("ក", "utf-8")
    return folder


def predictions(folder: Path, text: str, names=(NOT_UTF8, ESCAPES, "plain")) -> Path:
    """A JSON file of predictions, which names images as `evaluate --json` does."""
    path = folder.parent / "predictions.json"
    found = [{"image": printable(f"{name}.png"), "text": text} for name in names]
    path.write_text(json.dumps(found, ensure_ascii=False), "utf-8")
    return path


def test_json_is_json_and_the_report_is_utf8(pairs, tmp_path, capfdbinary):
    report = tmp_path / "r.html"
    report.write_text("the report of before")
    done = cli.main(
        ["evaluate", str(pairs), "--predictions", str(predictions(pairs, "ខ")), "--json",
         "--worst", "3", "--html", str(report)]
    )  # fmt: skip
    assert done == 0
    document = json.loads(capfdbinary.readouterr().out.decode("utf-8"))
    names = {line["image"] for line in document["results"]}
    assert names == {r"b\xff.png", printable(f"{ESCAPES}.png"), "plain.png"}
    html = report.read_text("utf-8")
    assert r"b\xff.png" in html and "\x1b" not in html and "before" not in html


def test_the_terminal_sees_no_escape(pairs, tmp_path, capfdbinary):
    text = "ក\x1b[31mred\x07\u2028"
    command = ["evaluate", str(pairs), "--predictions", str(predictions(pairs, text))]
    assert cli.main([*command, "--worst", "3", "--confusions", "9"]) == 0
    out = capfdbinary.readouterr().out.decode("utf-8")
    assert all(line.isprintable() for line in out.split("\n"))
    assert r"\x1b[31mred\x07" in out and r"b\xff.png" in out


def test_a_bad_line_is_named_without_escapes(pairs, capfdbinary):
    found = predictions(pairs, "ក", names=("plain",))
    assert cli.main(["evaluate", str(pairs), "--predictions", str(found), "--skip-bad"]) == 0
    err = capfdbinary.readouterr().err.decode("utf-8")
    assert err.count("skipped: ") == 2 and r"b\xff.png" in err
    assert all(line.isprintable() for line in err.split("\n"))
    assert (
        cli.main(["evaluate", str(pairs), "--predictions", str(found), "--skip-bad", "--json"]) == 0
    )
    document = json.loads(capfdbinary.readouterr().out.decode("utf-8"))
    assert len(document["skipped"]) == 2


def test_a_report_that_fails_leaves_the_one_before(pairs, tmp_path, monkeypatch, capsys):
    from khmer_fast.evaluation import html

    report = tmp_path / "r.html"
    report.write_text("the report of before")
    command = ["evaluate", str(pairs), "--predictions", str(predictions(pairs, "ខ"))]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert cli.main([*command, "--html", str(report)]) == 1
    assert "No space left" in capsys.readouterr().err
    assert report.read_text() == "the report of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pairs",
        "predictions.json",
        "r.html",
    ]
    monkeypatch.undo()
    monkeypatch.setattr(html, "render_report", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main([*command, "--html", str(report)])
    assert report.read_text() == "the report of before"


def test_a_report_goes_through_links_and_into_pipes(pairs, tmp_path, capfd):
    command = ["evaluate", str(pairs), "--predictions", str(predictions(pairs, "ខ"))]
    (tmp_path / "target.html").write_text("before")
    (tmp_path / "link.html").symlink_to("target.html")
    assert cli.main([*command, "--html", str(tmp_path / "link.html")]) == 0
    assert (tmp_path / "link.html").is_symlink()
    assert "<!doctype html>" in (tmp_path / "target.html").read_text("utf-8")
    capfd.readouterr()
    assert cli.main([*command, "--html", "/dev/stdout"]) == 0
    assert "</html>" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (r'[{"image": "a.png", "text": "\ud800"}]', "surrogate"),
        ("[" * 100_000, "not JSON"),
        ('{"results": ' + "[" * 100_000, "not JSON"),
        (r'[{"\u001b[2J\n": 5}]', r"\x1b[2J\n"),
        (r'[{"image": "\u001b[2J", "text": 5}]', r"\x1b[2J"),
        ('[{"image": "a", "text": "b", "confidence": NaN}]', "confidence"),
        ('[{"image": "a", "text": "b"}, {"image": "a", "text": "c"}]', ""),
    ],
)
def test_predictions_that_were_made_to_do_harm(tmp_path, content, word):
    path = tmp_path / "p.json"
    path.write_text(content)
    if not word:
        assert len(load_predictions(path)) == 2
        return
    with pytest.raises(KhmerFastError) as error:
        load_predictions(path)
    assert word in str(error.value) and str(error.value).isprintable()
    assert len(str(error.value)) < 500
