import io
import json
import random
import tarfile

import numpy as np
import pytest
from PIL import Image

from khmer_fast.cli import main
from khmer_fast.data import guard
from khmer_fast.data.check import Checker, known_lines
from khmer_fast.data.corpus import data_folder
from khmer_fast.data.dataset import (
    FORMS,
    DatasetError,
    StoredLine,
    StoredSource,
    read_lines,
    write_lines,
)
from khmer_fast.data.guard import RealImageError, image_hash, real_images, refuse_real
from khmer_fast.errors import KhmerFastError
from khmer_fast.evaluation.labels import LabelError
from khmer_fast.files.images import load_grey
from tests.data_fixtures import KHMER_FONTS, needs_fonts, write_texts


def _png(seed: int, columns: int = 200) -> bytes:
    page = np.full((40, columns), 255, np.uint8)
    rng = np.random.default_rng(seed)
    for x in range(5, columns - 5, 8):
        page[8 : 8 + int(rng.integers(10, 24)), x : x + 3] = 0
    file = io.BytesIO()
    Image.fromarray(page).save(file, "PNG")
    return file.getvalue()


def _lines(count: int = 5) -> list[StoredLine]:
    texts = ["សាលារៀន", "ផ្ទះលេខ ១២", "", '"ABC', "ក្រុមហ៊ុន"]
    return [
        StoredLine(f"{i:04}", _png(i), ".png", texts[i % 5], {"kind": f"k{i}"})
        for i in range(count)
    ]


def _content(path) -> list[tuple]:
    found = read_lines(path)
    return [(line.name.split("/")[-1], line.image, line.text, line.columns) for line in found]


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_forms_convert_without_loss(tmp_path, first, second):
    write_lines(_lines(), tmp_path / "a", first, shard_lines=2)
    assert write_lines(read_lines(tmp_path / "a"), tmp_path / "b", second, shard_lines=3) == 5
    expected = _content(tmp_path / "a")
    if "pairs" in (first, second):  # pairs hold no further columns
        expected = [(*line[:3], {}) for line in expected]
    assert _content(tmp_path / "b") == expected
    assert [line[2] for line in expected] == [line.text for line in _lines()]


def test_shards_hold_what_was_asked_for(tmp_path):
    write_lines(_lines(), tmp_path / "a", "shards", shard_lines=2)
    assert [path.name for path in sorted((tmp_path / "a").iterdir())] == [
        "lines-000000.tar", "lines-000001.tar", "lines-000002.tar"
    ]  # fmt: skip


def test_writing_refuses_what_would_be_lost(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(DatasetError, match="empty folder"):
        write_lines(_lines(), tmp_path / "full", "tsv")
    with pytest.raises(DatasetError, match="at least one line"):
        write_lines([], tmp_path / "none", "shards")
    with pytest.raises(DatasetError, match="twice"):
        write_lines(_lines()[:1] * 2, tmp_path / "twice", "pairs")
    with pytest.raises(DatasetError, match="tab"):
        write_lines([StoredLine("a", b"", ".png", "a\tb")], tmp_path / "tab", "tsv")
    with pytest.raises(DatasetError, match="forms"):
        write_lines(_lines(), tmp_path / "form", "zip")


def test_damaged_shards_are_named(tmp_path):
    write_lines(_lines(), tmp_path / "a", "shards")
    shard = tmp_path / "a" / "lines-000000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[:1700])
    with pytest.raises(DatasetError, match=r"lines-000000\.tar"):
        list(read_lines(tmp_path / "a"))
    with tarfile.open(shard, "w") as tar:
        member = tarfile.TarInfo("0001.png")
        tar.addfile(member)
    with pytest.raises(DatasetError, match=r"0001: expected an image and a text"):
        list(read_lines(shard))
    problems: list = []
    assert list(read_lines(shard, problems.append)) == [] and len(problems) == 1


@pytest.mark.parametrize("form", FORMS)
def test_stored_source_visits_every_line_once_an_epoch(tmp_path, form):
    write_lines(_lines(), tmp_path / "a", form, shard_lines=2)
    stored = StoredSource(tmp_path / "a")
    assert len(stored) == 5
    expected = sorted((line.text, load_grey(line.image).tobytes()) for line in _lines())
    for epoch in range(2):
        seen = [stored.sample(3, 5 * epoch + i) for i in range(5)]
        assert sorted((s.text, s.image.tobytes()) for s in seen) == expected
    order = [[stored.sample(s, i).text for i in range(5)] for s in range(8)]
    assert len({tuple(texts) for texts in order}) > 1
    assert stored.sample(3, 2).text == StoredSource(tmp_path / "a").sample(3, 2).text


@pytest.mark.parametrize("form", FORMS)
def test_training_refuses_real_images(tmp_path, monkeypatch, form):
    write_lines(_lines(), tmp_path / "a", form)
    real = image_hash(load_grey(_lines()[3].image))
    monkeypatch.setattr(guard, "real_images", lambda: frozenset({real}))
    stored = StoredSource(tmp_path / "a")
    with pytest.raises(RealImageError, match="never trained on"):
        for i in range(5):
            stored.sample(0, i)


def test_all_real_images_are_listed():
    folder = data_folder()
    paths = sorted(folder.glob("real_*/images/*.png"))
    if not paths:
        pytest.skip(f"no real lines below {folder}")
    assert len(real_images()) > 250
    for path in random.Random(0).sample(paths, 25):
        with pytest.raises(RealImageError):
            refuse_real(load_grey(path), str(path))


def test_hashes_are_of_pixels_not_of_files():
    grey = load_grey(_png(1))
    file = io.BytesIO()
    Image.fromarray(grey).convert("RGB").save(file, "BMP")
    assert image_hash(load_grey(file.getvalue())) == image_hash(grey)
    assert image_hash(grey.T.copy()) != image_hash(grey)
    assert image_hash(grey.reshape(1, -1)) != image_hash(grey)


def _findings(lines: list[StoredLine], against: list[StoredLine] = ()) -> list[tuple[str, str]]:
    checker = Checker(*known_lines([against]))
    found = [finding for line in lines for finding in checker.check(line)]
    return [(finding.where, finding.check) for finding in [*found, *checker.finish()]]


def _line(where: str, text: str, seed: int = 1, columns: int = 200) -> StoredLine:
    return StoredLine(where, _png(seed, columns), ".png", text, {}, where)


@pytest.mark.parametrize(
    ("line", "check"),
    [
        (_line("a", "ក" * 90, columns=60), "too many characters"),
        (_line("a", "ក", columns=2000), "too few characters"),
        (_line("a", "ក្ដី"), "not canonical"),
        (_line("a", "ក漢"), "unknown character"),
        (_line("a", "\u17b6កាប់"), "stray sign"),
        (StoredLine("a", b"no image", ".png", "ក", {}, "a"), "broken image"),
    ],
)
def test_labels_that_cannot_be_right_are_found(line, check):
    assert ("a", check) in _findings([line])


def test_good_lines_have_no_findings():
    assert _findings([_line(str(i), "សាលារៀន ១២", seed=i) for i in range(6)]) == []
    assert _findings([_line("a", "")]) == []


def test_duplicates_and_shared_lines_are_found():
    assert _findings([_line("a", "ក", 1), _line("b", "ខ", 1)]) == [("b", "duplicate image")]
    shared = _line("test", "សាលារៀនវិទ្យាល័យ", 2)
    assert _findings([_line("a", shared.text, 1)], [shared]) == [("a", "shared text")]
    assert _findings([_line("a", "ផ្សេង", 2)], [shared]) == [("a", "shared image")]


def test_uncommon_characters_are_found_in_large_sets():
    text = "សាលារៀនវិទ្យាល័យ" * 60
    lines = [_line(str(i), text, seed=i, columns=5000) for i in range(110)]
    lines.append(_line("odd", "ក~", seed=999))
    assert ("odd", "uncommon character") in _findings(lines)
    assert _findings(lines[50:]) == []


def test_empty_sets_are_errors(tmp_path):
    (tmp_path / "labels.tsv").write_text("image\ttext\n")
    with pytest.raises(KhmerFastError, match="at least one"):
        StoredSource(tmp_path)
    (tmp_path / "labels.tsv").write_text("picture\ttext\n")
    with pytest.raises(KhmerFastError, match=r"labels\.tsv:1: expected a header.*got picture"):
        StoredSource(tmp_path)
    (tmp_path / "labels.tsv").write_text("image\ttext\na.png\tក\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"labels\.tsv:2: .*missing"):
        StoredSource(tmp_path)


@needs_fonts
def test_render_is_the_same_with_any_number_of_workers(tmp_path, capsys):
    write_texts(tmp_path)
    common = ["render", "--text", str(tmp_path / "running.txt"), "--fonts", str(KHMER_FONTS)]
    common += ["--lines", "70", "--seed", "5", "--json"]
    for workers in ("1", "2"):
        out = tmp_path / workers
        assert main([*common, "--out", str(out), "--workers", workers]) == 0
        assert json.loads(capsys.readouterr().out)["lines"] == 70
    assert _content(tmp_path / "1") == _content(tmp_path / "2")
    columns = [line.columns for line in read_lines(tmp_path / "1")]
    assert all(row.keys() == {"kind", "paper"} and all(row.values()) for row in columns)
    described = json.loads((tmp_path / "1" / "render.json").read_text(encoding="utf-8"))
    assert described["seed"] == 5 and described["versions"]["raqm"]
    out = tmp_path / "later"
    assert main([*common, "--out", str(out), "--start", "64", "--form", "shards"]) == 0
    later, whole = _content(out), _content(tmp_path / "1")
    assert [line[1] for line in later[:6]] == [line[1] for line in whole[64:]]


@needs_fonts
def test_sheet_shows_the_lines(tmp_path):
    write_texts(tmp_path)
    sheet = tmp_path / "sheet.png"
    arguments = ["render", "--text", str(tmp_path / "running.txt"), "--sheet", str(sheet)]
    assert main([*arguments, "--fonts", str(KHMER_FONTS), "--lines", "6"]) == 0
    grey = np.asarray(Image.open(sheet).convert("L"))
    assert grey.shape[0] > 6 * 30 and len(np.unique(grey)) > 8


@pytest.mark.parametrize(
    "arguments",
    [[], ["--out", "x", "--lines", "0"], ["--out", "x", "--form", "zip"], ["--seed", "-1"]],
)
def test_render_usage_errors(arguments):
    with pytest.raises(SystemExit) as stop:
        main(["render", *arguments])
    assert stop.value.code == 2


def test_render_says_what_it_needs(tmp_path, capsys):
    (tmp_path / "bad.txt").write_bytes(b"a\n\xff")
    out = str(tmp_path / "out")
    assert main(["render", "--out", out, "--text", str(tmp_path / "bad.txt")]) == 1
    assert "bad.txt:2" in capsys.readouterr().err


def test_data_check_and_convert(tmp_path, capsys):
    write_lines(_lines(), tmp_path / "a", "tsv")
    assert main(["data", "check", str(tmp_path / "a"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"lines": 5, "counts": {}, "findings": []}
    table = tmp_path / "a" / "labels.tsv"
    table.write_text(table.read_text(encoding="utf-8") + "images/none.png\tក\tk\n", "utf-8")
    assert main(["data", "check", str(tmp_path / "a")]) == 1
    assert "labels.tsv:7: unusable line" in capsys.readouterr().out
    convert = ["data", "convert", str(tmp_path / "a"), str(tmp_path / "b"), "--form", "shards"]
    assert main(convert) == 1
    assert "labels.tsv:7" in capsys.readouterr().err
    assert main([*convert, "--skip-bad"]) == 1
    assert "5 lines" in capsys.readouterr().err
    assert len(_content(tmp_path / "b")) == 5
