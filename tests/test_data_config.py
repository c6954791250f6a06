import lzma
import re
from pathlib import Path

import pytest

from khmer_fast.data.config import DEFAULT_CONFIG, ConfigError, load_config
from khmer_fast.data.corpus import TextError, load_corpus, read_text
from khmer_fast.data.mixture import TextFile

DEFAULT = DEFAULT_CONFIG.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("natural_cut =", "natural_cuts =", r"text: unknown key 'natural_cuts'"),
        ("natural_cut = 0.7", "", r"text: missing key 'natural_cut'"),
        ("natural_cut = 0.7", 'natural_cut = "often"', r"natural_cut: expected float"),
        ("pitch = [1.25, 1.9]", "pitch = [1.9, 1.25]", r"pitch: expected \[low, high\]"),
        ("pitch = [1.25, 1.9]", "pitch = [1.9]", r"pitch: expected 2 values"),
        ('do = "jpeg"', 'do = "jpg"', r"unknown step 'jpg'"),
        ("\nrunning = 0.32", "\nwalking = 0.32", r"unknown kind of text 'walking'"),
        ('use = "words"', 'use = "wrods"', r"use must be"),
        ("natural_cut = 0.7", "natural_cut = 1.7", r"text.natural_cut: expected 0 to 1, got 1.7"),
        ("bold = 0.16", "bold = -0.1", r"style.bold: expected 0 to 1, got -0.1"),
        ('do = "warp", chance = 0.08', 'do = "warp", chance = 8', r"warp: chance: .* got 8.0"),
        ("size = [11, 42]", "size = [0, 42]", r"paper 'raster': size: expected 4 to 400, got 0"),
        ("ink = [0, 60]", "ink = [0, 600]", r"paper 'raster': ink: expected 0 to 255"),
        ("low = 12", "low = 0", r"text.lengths\[1\]: expected 1 to 1000, got 0 to 30"),
        ("[style]", "[[style]]", r"style: expected a table"),
        ("[style]", "[style", r"not valid TOML"),
    ],
)
def test_mistakes_in_a_mixture_are_named(tmp_path, old, new, message):
    assert old in DEFAULT
    path = tmp_path / "mixture.toml"
    path.write_text(DEFAULT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(str(path))) as caught:
        load_config(path)
    assert re.search(message, str(caught.value))


def test_weights_must_not_all_be_zero(tmp_path):
    text = re.sub(r"(\[\[papers\]\]\nname = .*\nweight = )[0-9.]+", r"\g<1>0", DEFAULT)
    path = tmp_path / "mixture.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="papers"):
        load_config(path)


def test_a_missing_mixture_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml")


def test_texts_are_read_compressed_and_plain(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffក ខ\r\nគ\n".encode())
    with lzma.open(tmp_path / "b.txt.xz", "wt", encoding="utf-8") as file:
        file.write("ឃ\n")
    assert read_text(tmp_path / "a.txt") == "ក ខ\nគ\n"
    assert read_text(tmp_path / "b.txt.xz") == "ឃ\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("ក\nខ\n".encode() + b"\xff\xfe", r"a\.txt:3: not UTF-8 \(byte 0xff\)"),
        ("ក\nខ\x00\n".encode(), r"a\.txt:2: control character U\+0000"),
        ("ក\u009f".encode(), r"a\.txt:1: control character U\+009F"),
    ],
)
def test_bad_text_names_file_and_line(tmp_path, data, message):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(TextError, match=message):
        read_text(tmp_path / "a.txt")


def test_control_characters_are_dropped_only_when_asked(tmp_path):
    (tmp_path / "a.txt").write_bytes("ក\x02ខ\n".encode())
    keep = TextFile("a.txt", "running", 1.0)
    with pytest.raises(TextError):
        load_corpus((keep,), tmp_path)
    corpus = load_corpus((TextFile("a.txt", "running", 1.0, True),), tmp_path)
    assert corpus.running == ("កខ\n",)


def test_texts_that_hold_nothing_are_errors(tmp_path):
    (tmp_path / "a.txt").write_text(" \n")
    (tmp_path / "b.xz").write_bytes(b"not xz")
    for name in ("a.txt", "b.xz", "absent.txt"):
        with pytest.raises(TextError, match=re.escape(name)):
            load_corpus((TextFile(name, "running", 1.0),), tmp_path)
    (tmp_path / "w.txt").write_text("ក\n", encoding="utf-8")
    with pytest.raises(TextError, match="running"):
        load_corpus((TextFile("w.txt", "words", 1.0),), tmp_path)


def test_the_example_is_a_mixture():
    assert load_config(Path(__file__).parents[1] / "examples" / "short_lines.toml").papers


def test_a_mixture_lies_over_its_base(tmp_path):
    varied = load_config(DEFAULT_CONFIG.with_name("varied.toml"))
    default = load_config()
    names = [paper.name for paper in varied.papers]
    assert names[: len(default.papers)] == [paper.name for paper in default.papers]
    assert "small type" in names and varied.papers[0] == default.papers[0]
    assert varied.text.kinds.keys() > default.text.kinds.keys()
    assert varied.text.lengths == default.text.lengths
    cells = load_config(DEFAULT_CONFIG.with_name("cells.toml"))
    assert cells.papers == varied.papers and cells.text.kinds["short_cell"] > 0.4
    own = tmp_path / "own.toml"
    own.write_text('base = "default"\n[[papers]]\nname = "raster"\nweight = 0.5\nsize = [9, 9]\n'
                   'ink = [0, 0]\npaper = [255, 255]\nsteps = []\n', "utf-8")  # fmt: skip
    over = load_config(own)
    assert over.papers[0].size == (9, 9) and over.papers[1:] == default.papers[1:]
    again = tmp_path / "again.toml"
    again.write_text('base = "own.toml"\n[text]\nblank = 0.5\n', "utf-8")
    assert load_config(again).text.blank == 0.5 and load_config(again).papers == over.papers


@pytest.mark.parametrize("base", ['"a.toml"', "3", '"missing.toml"'])
def test_a_wrong_base_is_an_error(tmp_path, base):
    (tmp_path / "a.toml").write_text(f"base = {base}\n", "utf-8")
    with pytest.raises(ConfigError):
        load_config(tmp_path / "a.toml")
