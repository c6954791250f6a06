"""`benchmarks.read` and `benchmarks.tesseract`: the gate, the sums, and what the baseline gets."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks import line_floors, line_rows, machine, read, tesseract
from khmer_fast.data.corpus import data_folder
from khmer_fast.evaluation.labels import Label
from khmer_fast.recognize.reader import Reader
from khmer_fast.text import DEFAULT_CHARSET
from khmer_fast.weights import load_weights, save_weights
from python_ref.beam_search import EOS, PAD
from python_ref.config import make_config
from python_ref.ctc import ctc_greedy
from python_ref.model import Model
from tests.conftest import draw

SHARED = data_folder()
PUBLISHED = {"khm": 0.0389, "Khmer": 0.0254, "khm+Khmer": 0.0176}  # CER on real_lines


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three lines with a `kind` column."""
    rows = ["image\ttext\tkind"]
    for i, (text, kind) in enumerate([("Khmer", "scan"), ("12345", "scan"), ("OCR", "photo")]):
        Image.fromarray(draw(text, width=120 + 20 * i)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png\t{text}\t{kind}")
    (tmp_path / "labels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def no_tesseract(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


@pytest.fixture
def fake_tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a program in place of Tesseract that runs the given shell lines."""

    def make(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "tesseract"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return make


# ---- greedy CTC ----


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_ctc_greedy_drops_repeats_blanks_and_padding(given_data):
    paths = given_data.draw(
        st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=9), min_size=1, max_size=4)
    )
    T = max(map(len, paths))
    logits = torch.zeros(len(paths), T, 7)
    logits[:, :, 5] = 9  # what padding would say
    for b, path in enumerate(paths):
        for t, token in enumerate(path):
            logits[b, t] = torch.nn.functional.one_hot(torch.tensor(token), 7) * 9
    length = torch.tensor([len(path) for path in paths])
    result = ctc_greedy(logits, length)
    step = float(logits[0, 0].log_softmax(0).max())
    for b, path in enumerate(paths):
        expected = [
            token
            for t, token in enumerate(path)
            if token > EOS and (t == 0 or path[t - 1] != token)
        ]
        count = int(result.length[b, 0])
        assert result.tokens[b, 0, :count].tolist() == [*expected, EOS]
        assert (result.tokens[b, 0, count:] == PAD).all()
        for token, position in zip(expected, result.position[b, 0, :count].tolist(), strict=False):
            assert path[position] == token and (position == 0 or path[position - 1] != token)
        assert int(result.position[b, 0, count - 1]) == len(path) - 1
        assert float(result.score[b, 0]) == pytest.approx(step * len(expected), abs=1e-4)
        assert float(result.log_prob[b, 0].sum()) == pytest.approx(float(result.score[b, 0]))


def test_ctc_reader_reads_by_the_ctc_head(tiny_weights: Path, line_image: np.ndarray):
    weights = load_weights(tiny_weights)
    token = 3 + DEFAULT_CHARSET.index("ក")
    weights.model.ctc.weight.zero_()
    weights.model.ctc.bias.zero_()
    weights.model.ctc.bias[token] = 50
    assert read.ctc_reader(weights).read(line_image).text == "ក"
    weights.model.ctc.bias[PAD] = 99
    assert read.ctc_reader(weights).read(line_image).text == ""


# ---- Tesseract ----


def test_border_is_white_on_white_paper_and_the_papers_colour_elsewhere():
    for paper, border in ((255, 255), (241, 255), (200, 200), (30, 30)):
        pixels = np.full((24, 100), paper, np.uint8)
        pixels[8:16, 20:60] = 255 - paper
        bordered = np.asarray(tesseract.with_border(Image.fromarray(pixels)))
        assert bordered.shape == (68, 220)
        assert (bordered[:10] == border).all() and (bordered[:, -10:] == border).all()
        assert bordered[10:-10, 10:-10].std() > 0 or paper == 255 - paper


def test_tesseract_answers_once_a_line_with_one_thread(fake_tesseract, tmp_path: Path, monkeypatch):
    fake_tesseract(
        '[ "$OMP_THREAD_LIMIT" = 1 ] && [ "$*" = "$LIST - -l khm --psm 7" ] || exit 3\n'
        'printf "one  two\\n\\f\\fthree\\n"'
    )
    images = []
    for i in range(3):
        images.append(tmp_path / f"{i}.png")
        Image.fromarray(draw()).save(images[-1])
    listed = tesseract.prepare(images, tmp_path / "bin")
    monkeypatch.setenv("LIST", str(listed))
    run = tesseract.read(listed, "khm")
    assert run.texts == ("one two", "", "three")
    assert run.seconds > 0


@pytest.mark.parametrize(
    "script", ['printf "one\\n"', 'printf "a\\fb\\fc"', "echo no language >&2; exit 1"]
)
def test_missing_or_surplus_answers_are_an_error(fake_tesseract, tmp_path: Path, script: str):
    fake_tesseract(script)
    listed = tmp_path / "list.txt"
    listed.write_text("a.png\nb.png\n", encoding="utf-8")
    with pytest.raises(tesseract.TesseractError, match="expected 2 texts"):
        tesseract.read(listed, "khm")


def test_last_page_may_be_ended_by_a_separator(fake_tesseract, tmp_path: Path):
    fake_tesseract('printf "one\\n\\ftwo\\n\\f"')
    listed = tmp_path / "list.txt"
    listed.write_text("a.png\nb.png\n", encoding="utf-8")
    assert tesseract.read(listed, "khm").texts == ("one", "two")


def test_models_are_found_where_distributions_put_them(fake_tesseract):
    fake_tesseract('printf "List of available languages (3):\\nkhm\\nscript/Khmer\\n"')
    assert tesseract.installed_models() == {
        "khm": "khm", "Khmer": "script/Khmer", "khm+Khmer": "khm+script/Khmer",
    }  # fmt: skip


def test_models_that_lack_a_part_are_missing(fake_tesseract):
    fake_tesseract('printf "List of available languages (2):\\neng\\nkhm\\n"')
    assert tesseract.installed_models() == {"khm": "khm"}
    found, sentences = read.tesseract_models()
    assert found == {"khm": "khm"}
    assert "Khmer, khm+Khmer: left out" in sentences[0]


@pytest.mark.skipif(
    not (SHARED / "real_lines").is_dir(), reason="needs KHMER_FAST_DATA with real_lines"
)
@pytest.mark.skipif(
    "khm+Khmer" not in tesseract.installed_models(), reason=f"needs {tesseract.PACKAGES}"
)
def test_tesseract_gives_the_published_error_rate(tmp_path: Path):
    found = line_rows.load_data_set(str(SHARED / "real_lines"), quick=False)
    listed = tesseract.prepare(found.images, tmp_path)
    languages = tesseract.installed_models()["khm+Khmer"]
    engine = read.tesseract_engine(
        "khm+Khmer", languages, listed, tesseract.prepare_blank(tmp_path)
    )
    engine.take_turn()
    cer = line_rows.make_row(engine, found).scores.cer
    assert abs(cer - PUBLISHED["khm+Khmer"]) < 0.001


# ---- rows ----


def make_set(*texts: str) -> line_rows.DataSet:
    labels = [
        Label(Path(f"{i}.png"), text, {"kind": "scan" if i else "photo"}, f"{i}.png")
        for i, text in enumerate(texts)
    ]
    return line_rows.DataSet("made", tuple(labels))


def contender(name: str, *readings: line_rows.Reading) -> line_rows.Contender:
    return line_rows.Contender(name, lambda: readings[0], list(readings))


def test_row_takes_the_median_round_less_the_start():
    texts = ("abc", "defg")
    row = line_rows.make_row(
        contender(
            "x",
            line_rows.Reading(texts, 3.0, 2.0, 1.0, 0.5),
            line_rows.Reading(texts, 5.0, 2.2, 1.0, 0.5),
            line_rows.Reading(texts, 99.0, 2.1, 1.2, 0.5),
        ),
        make_set("abc", "defg"),
    )
    assert row.lines_per_second == pytest.approx(2 / 4.0)
    assert row.characters_per_second == pytest.approx(7 / 4.0)
    assert row.cpu_ms_a_line == pytest.approx(1000 * 1.6 / 2)
    assert row.scores.cer == 0 and row.scores.exact_lines == 1


def test_row_without_time_left_has_no_speed():
    row = line_rows.make_row(
        contender("x", line_rows.Reading(("a",), 1.0, 1.0, 2.0, 2.0)), make_set("a")
    )
    assert row.lines_per_second is None and row.cpu_ms_a_line is None
    assert json.loads(json.dumps(row.as_json(), allow_nan=False))["lines_per_second"] is None


def test_row_scores_canonical_text_and_kinds():
    row = line_rows.make_row(
        contender("x", line_rows.Reading(("ក\u200bខ", "abx", "ab"), 1.0, 1.0)),
        make_set("កខ", "abc", "abcd"),
    )
    assert row.scores.cer == pytest.approx(3 / 9)
    assert {kind: s.lines for kind, s in row.kinds.items()} == {"photo": 1, "scan": 2}
    assert row.kinds["photo"].cer == 0 and row.kinds["scan"].cer == pytest.approx(3 / 7)


def test_ratios_compare_ours_with_each_and_bfloat16_with_float32():
    data = make_set("abcd", "efgh")
    rows = [
        line_rows.make_row(contender(name, line_rows.Reading(texts, seconds, cpu)), data)
        for name, texts, seconds, cpu in [
            (line_rows.OURS, ("abcd", "efgh"), 1.0, 1.0),
            (line_rows.FLOAT32, ("abcd", "efgh"), 2.0, 1.6),
            (line_rows.BFLOAT16, ("abcd", "efgx"), 1.0, 0.8),
            (line_rows.BAR, ("abcx", "efgh"), 4.0, 3.0),
        ]
    ]
    float32, bar, bfloat16 = line_rows.ratios(rows)
    assert (float32.a, float32.b) == (line_rows.OURS, line_rows.FLOAT32)
    assert float32.speed == pytest.approx(2)
    assert (bar.a, bar.b) == (line_rows.OURS, line_rows.BAR)
    assert bar.speed == pytest.approx(4) and bar.cpu == pytest.approx(3)
    assert bar.cer_difference == pytest.approx(-1 / 8)
    assert (bfloat16.a, bfloat16.b) == (line_rows.BFLOAT16, line_rows.FLOAT32)
    assert bfloat16.speed == pytest.approx(2)
    assert bfloat16.cer_difference == pytest.approx(1 / 8)
    assert line_rows.ratios([rows[0], rows[2]])[0].b == line_rows.OURS  # weights without scales


def test_quick_takes_lines_from_the_whole_set(tmp_path: Path):
    rows = ["image\ttext"]
    for i in range(3 * line_rows.QUICK_LINES):
        Image.fromarray(draw("x", width=60)).save(tmp_path / f"{i:03}.png")
        rows.append(f"{i:03}.png\t{i}")
    path = tmp_path / "some.tsv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = line_rows.load_data_set(str(path), quick=True)
    assert found.name == "some"
    assert [label.text for label in found.labels] == [
        str(3 * i) for i in range(line_rows.QUICK_LINES)
    ]


# ---- the whole command ----


def test_parity_names_lines_that_two_models_read_differently(
    data: Path, tiny_weights: Path, other_weights: Path
):
    found = line_rows.load_data_set(str(data), quick=False)
    fast, reference = Reader(tiny_weights), Reader(tiny_weights, backend="reference")
    assert read.parity_failures(fast, reference, found) == []
    red = read.parity_failures(Reader(other_weights), reference, found)
    assert len(red) == 3 and "1.png" in red[1]


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = make_config("tiny", len(DEFAULT_CHARSET) + 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        model = Model(config)
    path = tmp_path_factory.mktemp("other") / "tiny.safetensors"
    save_weights(path, model.state_dict(), config)
    return path


def test_red_gate_prints_no_speed(
    data: Path, tiny_weights: Path, other_weights: Path, monkeypatch, capsys, no_tesseract
):
    monkeypatch.setattr(read, "readers", lambda weights: wrong)
    wrong = (
        {line_rows.OURS: Reader(other_weights), line_rows.GREEDY: Reader(other_weights, beam=1)}, []
    )  # fmt: skip
    assert read.main([str(data), "--weights", str(tiny_weights)]) == 1
    out, err = capsys.readouterr()
    assert "parity is red" in err and "0.png" in err
    assert "lines/s" not in out and "{" not in out


def test_command_without_tesseract(data: Path, tiny_weights: Path, capsys, no_tesseract):
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0)
    assert read.main([str(data), "--weights", str(tiny_weights), "--quick"]) == 0
    assert torch.get_num_threads() == threads and os.sched_getaffinity(0) == cores
    lines = capsys.readouterr().out.splitlines()
    document = json.loads(lines[-1])
    assert document["parity"] == {"lines": 3, "beams": [5, 1], "differ": 0}
    (only,) = document["sets"]
    names = [row["engine"] for row in only["rows"]]
    assert names[:3] == [line_rows.OURS, line_rows.GREEDY, line_rows.CTC]
    assert not any("Tesseract" in name for name in names)
    assert any("Tesseract khm, Khmer, khm+Khmer: left out" in text for text in lines)
    for row in only["rows"]:
        assert row["lines_per_second"] > 0
        assert row["interval"][0] <= row["cer"] <= row["interval"][1]
        assert set(row["kinds"]) == {"photo", "scan"}
    where = only["stages"]
    shares = [where[name] for name in ("prepare", "encode", "decode", "rest")]
    assert sum(shares) == pytest.approx(1)
    assert 1 <= where["mean_parents"] <= where["mean_live"] <= line_rows.BEAM
    assert min(where["floors"].values()) > 0 and where["ms_a_line"] > 0
    assert any(", floor " in text for text in lines)
    assert 0 < document["single_line"]["p50_ms"] <= document["single_line"]["p99_ms"]
    assert document["start_seconds"]["read_one_line"] > 0
    if document["memory_mb"]:
        assert 0 < document["memory_mb"]["above"] < document["memory_mb"]["reading"]


def test_products_of_the_encoder():
    """As docs/performance.md, section 3, says of 640 px: 311 M of convolutions, 12 M and 71 M."""
    products = line_floors.encoder_products(make_config("small", 100), 640)
    stated = 248 * 30 / 108 + 53 / 2 + 10 + 12 + 71
    assert 0.95 * stated < products / 1e6 < stated
    assert line_floors.encoder_products(make_config("tiny", 100), 1) > 0


def test_one_core_binds_this_process_and_what_it_starts():
    before = os.sched_getaffinity(0)
    with machine.one_core() as core:
        if core is not None:
            assert os.sched_getaffinity(0) == {core}
        assert torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == before


def test_bad_data_is_an_error_and_no_traceback(tmp_path: Path, tiny_weights: Path, capsys):
    (tmp_path / "labels.tsv").write_text("image\ttext\nmissing.png\tx\n", encoding="utf-8")
    assert read.main([str(tmp_path), "--weights", str(tiny_weights)]) == 1
    out, err = capsys.readouterr()
    assert "missing.png" in err and not out
    assert read.main([str(tmp_path / "nowhere"), "--weights", str(tiny_weights)]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_broken_image_is_an_error_that_names_it(data: Path, tiny_weights: Path, capsys):
    (data / "1.png").write_bytes(b"")
    assert read.main([str(data), "--weights", str(tiny_weights)]) == 1
    assert "1.png" in capsys.readouterr().err
