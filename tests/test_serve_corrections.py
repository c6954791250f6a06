"""Corrections become a data set that training takes."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from khmer_fast.cli import main
from khmer_fast.data.check import Checker
from khmer_fast.data.dataset import read_lines
from khmer_fast.document import Line, Page, Region
from khmer_fast.evaluation.labels import load_labels
from khmer_fast.serve.corrected import settled
from khmer_fast.serve.corrections import corrected_lines
from khmer_fast.text import clusters
from tests.support.documents import line
from tests.support.service import RunningService

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "examples" / "page.png").read_bytes()


def page_of(*lines: Line) -> Page:
    return Page(1, 1000, 800, (Region("text", (0, 0, 1000, 800), lines),))


# ---- what a correction is made of ----


@pytest.mark.parametrize(
    "before, after",
    [
        ("ភាសាខ្មែរ", "ភាសាខ្មរ"),
        ("ភាសាខ្មែរ", "ភាសា ខ្មែរ"),
        ("ក", "កម្ពុជា ១២៣"),
        ("កម្ពុជា", ""),
        ("", "កម្ពុជា"),
        ("abc def", "def"),
    ],
)
def test_characters_stand_where_the_old_ones_stood(before, after):
    old = line(before, 100, 100, 400)
    boxes = [(100 + 40 * i, 100, 140 + 40 * i, 140) for i in range(len(old.characters))]
    old = replace(
        old,
        characters=tuple(
            replace(c, box=b, confidence=0.5) for c, b in zip(old.characters, boxes, strict=True)
        ),
    )
    page = page_of(old)
    (new,) = settled(page_of(replace(old, text=after)), page).lines()
    assert new.text == after and new.confidence == 1.0
    assert [c.text for c in new.characters] == clusters(after)
    kept = {c.text: c.box for c in old.characters}
    for character in new.characters:
        left, top, right, bottom = character.box
        assert 100 <= left <= right <= 500 and (top, bottom) in ((100, 140),)
        if character.confidence == 0.5:
            assert character.box == kept[character.text]
    assert all(
        a.box[0] <= b.box[0] for a, b in zip(new.characters, new.characters[1:], strict=False)
    )
    assert [word.text for word in new.words] == after.split()


def test_texts_become_canonical():
    old = line("ក", 10, 10, 50)
    (new,) = settled(page_of(replace(old, text="ស្រី\u200bស្ត្រី ")), page_of(old)).lines()
    assert new.text == "ស្រីស្ត្រី"


def test_which_lines_are_corrections():
    sure, doubtful, wrong, gone = (line(x, 10, 60 * i, 90) for i, x in enumerate("កខគឃ"))
    doubtful = replace(doubtful, confidence=0.4, flags=("doubtful",))
    now = page_of(
        sure, replace(doubtful, confidence=1.0), replace(wrong, text="ង"), line("ច", 500, 500, 50),
        line("", 600, 600, 50),
    )  # fmt: skip
    found = corrected_lines(page_of(sure, doubtful, wrong, gone), now)
    assert [(x.text, x.read) for x in found] == [("ខ", "ខ"), ("ង", "គ"), ("ច", "")]


# ---- the whole circle ----


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    """A service with a job, of whose page the first three lines were corrected or accepted, one
    was joined with a drawn box; its data folder is there when it has ended, too."""
    folder = tmp_path_factory.mktemp("corrections")
    with RunningService(folder / "data") as service:
        job = service.make_job(PAGE, "letter.png").json()
        service.finished(job["id"])
        path = f"/v1/jobs/{job['id']}/pages/1"
        page = service.client.get(path).json()
        lines = [line for region in page["regions"] for line in region["lines"]]
        lines[0]["text"] = lines[0]["text"] + " ១"
        lines[1]["confidence"] = 1.0
        lines[2]["text"] = "\tកែ\u200bប្រែ  ២ "
        left, top, right, bottom = lines[3]["box"]
        lines[3]["box"] = [left, top, right - 5, bottom]
        answer = service.client.put(path, json=page, headers={"If-Match": '"1"'})
        assert answer.status_code == 200, answer.text
        expected = [line["text"] for line in answer.json()["regions"][0]["lines"]]
        download = service.client.get(f"/v1/jobs/{job['id']}/corrections")
        assert download.headers["content-type"] == "application/zip"
        yield service, job, download.content
    assert expected


def checked(data: Path) -> list[tuple[str, str]]:
    """Names and texts of a data set, after training's own checks of it."""
    labels = load_labels(data)
    checker = Checker()
    findings = [finding for x in read_lines(data) for finding in checker.check(x)]
    assert [f for f in findings if f.check not in ("too many characters",)] == []
    assert checker.lines == len(labels)
    return [(Path(label.name).name, label.text) for label in labels]


def test_the_download_is_a_training_set(corrected, tmp_path):
    _, job, data = corrected
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path)
    rows = checked(tmp_path / "labels.tsv")
    assert len(rows) == 4
    assert rows[0][0] == f"{job['id']}-0001-001.png" and rows[0][1].endswith(" ១")
    assert rows[2][1] == "កែប្រែ ២"


def test_the_verb_writes_the_same_set(corrected, tmp_path, capsys):
    service, job, data = corrected
    out = tmp_path / "labels.tsv"
    command = ["corrections", job["id"], "--data", str(service.data), "--out", str(out)]
    assert main(command) == 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "zip")
    assert checked(out) == checked(tmp_path / "zip" / "labels.tsv")
    for name, _ in checked(out):
        assert (tmp_path / "labels_images" / name).read_bytes() == (
            tmp_path / "zip" / name
        ).read_bytes()
    assert main(command) == 1 and "already" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert main(["corrections", "nojob", "--data", str(service.data), "--out", str(out)]) == 1
    assert main(["corrections", "--data", str(tmp_path), "--out", str(out)]) == 1


def test_lines_are_cut_as_the_reader_saw_them(corrected, tmp_path):
    """A line whose box was kept reads as it did on its page."""
    from khmer_fast.recognize.reader import Reader

    service, job, data = corrected
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path)
    (name, text) = checked(tmp_path / "labels.tsv")[1]  # accepted as it was read
    assert Reader(threads=1).read(tmp_path / name).text == text


def test_training_takes_them(corrected, tmp_path, tiny_weights):
    """Two steps from weights, on the corrected lines."""
    _, _, data = corrected
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "set")
    command = [
        "train", "--init-from", str(tiny_weights), "--data", str(tmp_path / "set" / "labels.tsv"),
        "--out", str(tmp_path / "run"), "--epochs", "1", "--lines-per-epoch", "4",
        "--batch-lines", "2", "--validate-lines", "2", "--threads", "1", "--skip-bad",
        "--config", "tiny",
    ]  # fmt: skip
    assert main(command) == 0
    assert (tmp_path / "run" / "models" / "best_model.safetensors").is_file()


def test_without_corrections_there_is_no_set(corrected):
    service, _, _ = corrected
    job = service.make_job((ROOT / "examples" / "line.png").read_bytes(), "line.png").json()
    service.finished(job["id"])
    answer = service.client.get(f"/v1/jobs/{job['id']}/corrections")
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "no_corrections"
