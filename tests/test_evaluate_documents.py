"""The verb `evaluate` on folders of documents, with a reader that stands in for the model."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from khmer_fast import cli
from khmer_fast.cli import evaluate as verb
from khmer_fast.document import Line, Page, Region
from khmer_fast.errors import FileError
from khmer_fast.evaluation.documents import holds_documents, scan_documents
from khmer_fast.evaluation.labels import LabelError

LAW = (
    ("ព្រះរាជាណាចក្រកម្ពុជា", "ជាតិ សាសនា ព្រះមហាក្សត្រ", "មាត្រា ១"),
    ("សេចក្តីណែនាំ", "លេខ ០៦ សណន"),
)


def page(number, *texts, rotation=0, error=None):
    lines = tuple(
        Line(text, 0.9, (10, 10 + 30 * k, 200, 30 + 30 * k)) for k, text in enumerate(texts)
    )
    regions = (Region("text", (10, 10, 200, 300), lines),) if lines else ()
    return Page(number, 300, 400, regions, rotation=rotation, error=error)


class FakeReader:
    """Answers by file name; a bad file gives its error, as the real reader does."""

    def __init__(self, answers):
        self.answers = answers
        choice = type("Choice", (), {"device": "cpu", "backend": "fast", "dtype": "float32"})
        self.reader = type("Reader", (), {"choice": choice})

    def stream(self, file, *, text_layer):
        assert text_layer == "never"
        answer = self.answers[file.name]
        if isinstance(answer, Exception):
            raise answer
        yield from answer


@pytest.fixture
def folder(tmp_path):
    pictures = [Image.new("L", (300, 400), 250) for _ in LAW]
    pictures[0].save(tmp_path / "law.tiff", save_all=True, append_images=pictures[1:])
    (tmp_path / "law.gt.txt").write_text(
        "\f".join("".join(f"{line}\n" for line in lines) for lines in LAW), encoding="utf-8"
    )
    Image.fromarray(np.full((400, 300), 240, np.uint8)).save(tmp_path / "note.png")
    (tmp_path / "note.gt.txt").write_text("កខគងចឆ\nជឈញដឋឌ\n", encoding="utf-8")
    return tmp_path


def run(monkeypatch, capsys, folder, answers, *options):
    monkeypatch.setattr(verb, "_open_page_reader", lambda args: FakeReader(answers))
    code = cli.main(["evaluate", str(folder), *options])
    return code, capsys.readouterr()


ANSWERS = {
    "law.tiff": [page(1, *LAW[0]), page(2, LAW[1][0], "លេខ ០៦ សណខ")],
    "note.png": [page(1, "ជឈញដឋឌ", "កខគងចឆ", "XYZ")],
}


def test_json(monkeypatch, capsys, folder):
    code, out = run(monkeypatch, capsys, folder, ANSWERS, "--json")
    found = json.loads(out.out)
    assert code == 0
    law, note = found["results"]
    assert (law["file"], law["edits_in_order"], law["missed"]) == ("law.tiff", 1, 0)
    assert [p["edits_without_order"] for p in law["pages"]] == [0, 1]
    assert note["edits_without_order"] == 3 and note["invented"] == 1
    assert note["edits_in_order"] > 3  # its lines are in the wrong order
    assert found["documents"] == 2 and found["pages"] == 3
    assert found["characters"] == law["characters"] + note["characters"]
    assert found["cer_without_order"] == pytest.approx(4 / found["characters"])
    assert found["reader"]["segmenter"] == "packaged" and found["skipped"] == []


def test_text(monkeypatch, capsys, folder):
    code, out = run(monkeypatch, capsys, folder, ANSWERS, "--worst", "1")
    assert code == 0
    assert "2 with 3 pages" in out.out and "law.tiff" in out.out
    assert re.search(r"worst lines\n\s+3  note.png", out.out)


def test_report(monkeypatch, capsys, folder, tmp_path):
    target = tmp_path / "out.html"
    code, out = run(monkeypatch, capsys, folder, ANSWERS, "--html", str(target))
    html = target.read_text(encoding="utf-8")
    assert code == 0 and str(target) in out.err
    assert html.count("data:image/jpeg") == 2  # of the two pages with errors
    assert "page 2" in html and "http" not in html.replace("http-equiv", "")


def test_pages_that_do_not_match_are_compared_as_one(monkeypatch, capsys, folder):
    answers = {**ANSWERS, "law.tiff": [page(1, *LAW[0], *LAW[1])]}
    _, out = run(monkeypatch, capsys, folder, answers, "--json")
    law = json.loads(out.out)["results"][0]
    assert law["edits_in_order"] == 0 and "2 pages, the file 1" in law["note"]


def test_a_page_that_could_not_be_read_is_said(monkeypatch, capsys, folder):
    answers = {**ANSWERS, "law.tiff": [page(1, *LAW[0]), page(2, error="damaged")]}
    _, out = run(monkeypatch, capsys, folder, answers, "--json")
    law = json.loads(out.out)["results"][0]
    assert law["note"] == "page 2: damaged" and law["missed"] == 2


def test_a_bad_file_stops_unless_it_is_skipped(monkeypatch, capsys, folder):
    answers = {**ANSWERS, "note.png": FileError("note.png: is damaged")}
    code, out = run(monkeypatch, capsys, folder, answers)
    assert code == 1 and "is damaged" in out.err
    code, out = run(monkeypatch, capsys, folder, answers, "--skip-bad", "--json")
    found = json.loads(out.out)
    assert code == 0 and found["documents"] == 1 and len(found["skipped"]) == 1


def test_which_folders_hold_documents(tmp_path, folder):
    assert holds_documents(folder)
    lines = tmp_path / "lines"
    lines.mkdir()
    (lines / "a.gt.txt").write_text("one line\n", encoding="utf-8")
    assert not holds_documents(lines)
    (lines / "a.pdf").write_bytes(b"%PDF-1.4")
    assert holds_documents(lines)
    assert not holds_documents(lines / "a.gt.txt") and not holds_documents(lines / "none")


def test_what_cannot_be_used_is_named(tmp_path):
    (tmp_path / "a.gt.txt").write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(LabelError, match="no file a with one of the endings .pdf"):
        scan_documents(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "b.gt.txt").write_bytes(b"\xff\xfe\n1\n")
    labels, problems = scan_documents(tmp_path)
    assert [label.name for label in labels] == ["a.png"]
    assert "expected UTF-8, got byte 0xFF" in str(problems[0])


def test_predictions_are_not_of_documents(monkeypatch, capsys, folder):
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, folder, ANSWERS, "--predictions", "x.tsv")
