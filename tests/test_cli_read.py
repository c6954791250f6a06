"""`khmer-fast read` with documents: PDFs, pages, folders, standard input, jobs, text layers."""

from __future__ import annotations

import io
import json
import sys

import pytest

from khmer_fast import formats
from khmer_fast.cli import main
from khmer_fast.document import Document, Page, Region
from khmer_fast.formats import PdfOptions
from tests.support import documents
from tests.support.pdfs import image_bytes, pdf_bytes, pdfium_words, picture

pytest.importorskip("pikepdf")
pytest.importorskip("pypdfium2")

DRAWN = b"BT /F1 24 Tf 30 %d Td (page %d) Tj ET"


@pytest.fixture(scope="module")
def options(tiny_weights) -> list[str]:
    """A reader that is too small to read, each picture as one line."""
    weights = ["--weights", str(tiny_weights), "--backend", "reference", "--beam", "2"]
    return [*weights, "--layout", "line"]


def drawn(pages: int) -> bytes:
    return pdf_bytes([DRAWN % (300, number) for number in range(1, pages + 1)], (0, 0, 300, 340))


def layered(text: str) -> bytes:
    """A picture with our own invisible text."""
    line = documents.line(text, 50, 60)
    page = Page(1, 600, 300, (Region("text", line.box, (line,)),), 150.0)
    return formats.write(Document("x", (page,)), "pdf", PdfOptions(image_bytes(picture(600, 300))))


def test_a_pdf_in_every_format(options, tmp_path, capsys):
    (tmp_path / "law.pdf").write_bytes(drawn(3))
    (tmp_path / "bad.pdf").write_bytes(b"Unexpected error.")
    out = tmp_path / "out"
    names = ",".join(formats.FORMATS)
    arguments = ["read", str(tmp_path), *options, "--format", names, "--out", str(out)]
    assert main([*arguments, "--pages", "2-"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "bad.pdf: is not a PDF" in said.err and "law.pdf: 2 pages" in said.err
    suffixes = [f.suffix for f in formats.FORMATS.values() if not f.page_a_file]
    expected = [f"law{s}" for s in suffixes] + ["law.0002.page.xml", "law.0003.page.xml"]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    record = json.loads((out / "law.json").read_text("utf-8"))
    assert [page["number"] for page in record["pages"]] == [2, 3]
    assert (out / "law.txt").read_text("utf-8").count("\f") == 1
    assert "page" in pdfium_words((out / "law.pdf").read_bytes())
    assert main([*arguments, "--pages", "2-"]) == 1  # nothing is overwritten
    assert "is there already; --force overwrites it" in capsys.readouterr().err


def test_jobs_give_the_same_files(options, tmp_path, capsys):
    for name in "abc":
        (tmp_path / f"{name}.pdf").write_bytes(drawn(2))
    (tmp_path / "d.pdf").write_bytes(b"")
    files = [str(tmp_path / f"{name}.pdf") for name in "abcd"]
    arguments = ["read", *files, *options, "--format", "text", "--format", "json"]
    assert main([*arguments, "--out", str(tmp_path / "one")]) == 1
    assert main([*arguments, "--out", str(tmp_path / "two"), "--jobs", "2"]) == 1
    said = capsys.readouterr().err
    assert said.count("d.pdf: is empty") == 2 and said.count("a.pdf: 2 pages") == 2
    for name in "abc":
        one, two = (tmp_path / folder / f"{name}.txt" for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        one, two = (
            json.loads((tmp_path / folder / f"{name}.json").read_bytes())
            for folder in ("one", "two")
        )  # confidences may differ in the last digits: other lines are read together
        assert [page["width"] for page in one["pages"]] == [page["width"] for page in two["pages"]]
    assert not (tmp_path / "two" / "d.json").exists()


def test_layers_alone_need_no_model(tmp_path, capsys):
    (tmp_path / "law.pdf").write_bytes(layered("ព្រះរាជាណាចក្រកម្ពុជា ជាតិ"))
    arguments = ["read", str(tmp_path / "law.pdf"), "--text-layer", "only"]
    assert main([*arguments, "--weights", "no such file"]) == 0
    assert capsys.readouterr().out == "ព្រះរាជាណាចក្រកម្ពុជា ជាតិ\n"


def test_what_is_said_of_layers_is_in_the_json(options, tmp_path, capsys):
    (tmp_path / "law.pdf").write_bytes(layered("ព្រះរាជាណាចក្រកម្ពុជា"))
    arguments = ["read", str(tmp_path / "law.pdf"), *options, "--json"]
    assert main(arguments) == 0
    (page,) = json.loads(capsys.readouterr().out)["pages"]
    origin = page["origin"]  # a reader that cannot read agrees with nothing
    assert origin["source"] == "ocr" and origin["reason"] and origin["distance"] > 0.5
    assert main([*arguments, "--text-layer", "never"]) == 0
    (page,) = json.loads(capsys.readouterr().out)["pages"]
    assert page["origin"] == {"source": "ocr", "reason": "no text layer", "distance": None}


def test_standard_input_becomes_a_searchable_pdf(options, tmp_path, monkeypatch, capsys):
    class Stdin:
        buffer = io.BytesIO(drawn(1))

    monkeypatch.setattr(sys, "stdin", Stdin)
    out = tmp_path / "out"
    assert main(["read", "-", *options, "--format", "pdf,text", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["stdin.pdf", "stdin.txt"]


def test_passwords(options, tmp_path, capsys):
    import pikepdf

    data = pdf_bytes([DRAWN % (300, 1)], encryption=pikepdf.Encryption(user="key", owner="x"))
    (tmp_path / "law.pdf").write_bytes(data)
    arguments = ["read", str(tmp_path / "law.pdf"), *options, "--format", "pdf"]
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 1
    assert "give its password with --password" in capsys.readouterr().err
    assert list((tmp_path / "a").iterdir()) == []
    assert main([*arguments, "--out", str(tmp_path / "b"), "--password", "key"]) == 0
    assert (tmp_path / "b" / "law.pdf").exists()


def test_two_wrong_options(options, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["read", "a.png", "b.png", *options, "--jobs", "2"])
    assert "--jobs 2 needs --out FOLDER" in capsys.readouterr().err
    assert main(["read", "a.png", *options, "--pages", "3-1"]) == 1
    assert "expected pages from 1 on" in capsys.readouterr().err
