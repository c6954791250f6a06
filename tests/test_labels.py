"""Data sets on disk: what loads, and what is refused with file and line."""

import os

import pytest
from PIL import Image

from khmer_fast.errors import KhmerFastError
from khmer_fast.evaluation.labels import LabelError, load_labels, scan_labels


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (20, 10), 255).save(tmp_path / name)
    return tmp_path


def write(folder, data):
    file = folder / "labels.tsv"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return file


def test_tsv(folder):
    data = '\ufefftext\timage\tkind\r\n"ក ខ\ta.png\tscan\r\n\n\tb.png\t\r\n'
    file = write(folder, data)
    first, second = load_labels(file)
    assert (first.text, first.name, first.image) == ('"ក ខ', "a.png", folder / "a.png")
    assert first.columns == {"kind": "scan"} and first.where == f"{file}:2"
    assert (second.text, second.columns) == ("", {"kind": ""})
    assert load_labels(folder) == [first, second]


def test_pairs(folder):
    for name, text in (("a", "ក\n"), ("b", ""), ("c", "ខ\r\n")):
        (folder / f"{name}.gt.txt").write_bytes(text.encode())
    labels = load_labels(folder)
    assert [(label.image.name, label.text) for label in labels] == [
        ("a.png", "ក"),
        ("b.png", ""),
        ("c.png", "ខ"),
    ]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (b"a.png\t\xff\xfe", "0xFF"),
        (b"a.png\tk\x07", "U+0007"),
        ("a.png\tក\u0085".encode(), "U+0085"),
        (b"a.png", "2 columns"),
        (b"a.png\tk\tmore", "2 columns"),
        (b"\tk", "path"),
        (b"none.png\tk", "none.png"),
        (b"./b.png\tk", "b.png"),
    ],
)
def test_bad_rows_name_file_and_line_and_can_be_skipped(folder, row, named):
    file = write(folder, b"image\ttext\nb.png\tk\n" + row + b"\nc.png\tk\n")
    with pytest.raises(LabelError) as error:
        load_labels(file)
    assert f"{file}:3" in str(error.value) and named in str(error.value)
    labels, problems = scan_labels(file)
    assert [label.name for label in labels] == ["b.png", "c.png"]
    assert [problem.where for problem in problems] == [f"{file}:3"]


@pytest.mark.parametrize(
    "data", ["", "image\ttext\n", "image\tlabel\na.png\tk\n", "image\ttext\ttext\na.png\tk\tk\n"]
)
def test_unusable_sets_are_errors(folder, data):
    with pytest.raises(KhmerFastError, match="labels.tsv"):
        scan_labels(write(folder, data))


def test_many_bad_rows_are_counted(folder):
    rows = "".join(f"{i}.png\tk\n" for i in range(20))
    with pytest.raises(LabelError, match="15 more") as error:
        load_labels(write(folder, "image\ttext\n" + rows))
    assert len(error.value.problems) == 20


def test_bad_pairs_are_named(folder):
    (folder / "a.gt.txt").write_bytes("ក\nខ".encode())
    (folder / "b.gt.txt").write_bytes("ក".encode())
    (folder / "gone.gt.txt").write_bytes("ក".encode())
    labels, problems = scan_labels(folder)
    assert [label.name for label in labels] == ["b.png"]
    assert {problem.where.rpartition("/")[2] for problem in problems} == {
        "a.gt.txt",
        "c.png",
        "gone.gt.txt",
    }


@pytest.mark.parametrize("name", ["none.tsv", "empty"])
def test_missing_paths_are_errors(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(KhmerFastError, match=name):
        load_labels(tmp_path / name)


def test_texts_need_no_images(folder):
    file = write(folder, "image\ttext\nnone.png\tក\n")
    assert load_labels(file, check_images=False)[0].text == "ក"


# --- names and files of strangers -----------------------------------------------------------------


def test_a_name_that_no_file_can_have_is_one_bad_line(tmp_path):
    Image.new("L", (20, 10), 255).save(tmp_path / "good.png")
    rows = ["image\ttext", "good.png\tក", "x" * 300 + ".png\tខ", "y" * 5000 + "\tគ"]
    (tmp_path / "labels.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    labels, problems = scan_labels(tmp_path / "labels.tsv")
    assert [label.name for label in labels] == ["good.png"]
    assert [problem.where.rsplit(":", 1)[1] for problem in problems] == ["3", "4"]
    assert all("File name too long" in str(problem) for problem in problems)
    assert all(len(str(problem)) < 400 for problem in problems)
    with pytest.raises(LabelError, match="labels.tsv:3"):
        load_labels(tmp_path / "labels.tsv")


def test_names_cannot_move_the_cursor_or_forge_a_message(tmp_path):
    name = "a\x1b[2J\x1b]0;x\x07\n\u202ekhmer-fast: error: forged"
    (tmp_path / f"{name}.gt.txt").write_bytes(b"\xff")
    (tmp_path / f"{name}.jpg").write_bytes(b"")
    with pytest.raises(LabelError) as error:
        scan_labels(tmp_path)
    said = str(error.value)
    assert said.isprintable() and r"\x1b[2J\x1b]0;x\x07\n\u202ekhmer" in said


def test_a_pipe_among_pairs_is_not_waited_for(tmp_path):
    (tmp_path / "good.gt.txt").write_text("ក", "utf-8")
    Image.new("L", (20, 10), 255).save(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.gt.txt")
    os.mkfifo(tmp_path / "image.png")
    (tmp_path / "image.gt.txt").write_text("ខ", "utf-8")
    labels, problems = scan_labels(tmp_path)
    assert [label.name for label in labels] == ["good.png"]
    assert "expected a file" in str(problems[0]) or "expected a file" in str(problems[1])
    assert len(problems) == 2
