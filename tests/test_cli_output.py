"""Where documents go: what is refused before work, what is left after errors, what stdout holds."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace

import pytest

from khmer_fast import document as document_module
from khmer_fast import formats
from khmer_fast.cli.output import (
    OutputOptions,
    Outputs,
    add_output_arguments,
    output_name,
    output_options,
)
from khmer_fast.document import Document, Page, Region
from khmer_fast.errors import FileError, FormatError
from tests.support import documents
from tests.support.pdfs import image_bytes, pdfium_words, picture

PAGES = documents.document(3).pages[:2]


def options(*arguments: str) -> OutputOptions:
    parser = argparse.ArgumentParser()
    add_output_arguments(parser)
    return output_options(parser.parse_args(arguments))


def written(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(outputs: Outputs, source: str, pages=PAGES) -> None:
    with outputs.start(source) as output:
        for page in pages:
            output.write_page(page)


# ---- options ----


def test_formats_are_named_several_times_or_with_commas():
    assert options().formats == ("text",)
    asked = options("--format", "text,json", "--format", "docx", "--format", "json", "--out", "x")
    assert asked.formats == ("text", "json", "docx") and asked.out == "x"
    with pytest.raises(SystemExit):
        options("--format", "odt")


@pytest.mark.parametrize(
    "source, name",
    [("a/law.pdf", "law"), ("law.tar.pdf", "law.tar"), ("law", "law"), ("-", "stdin")],
)
def test_names(source, name):
    assert output_name(source) == name


# ---- a folder ----


def test_all_formats_of_two_documents(tmp_path):
    png = tmp_path / "b.png"
    png.write_bytes(image_bytes(picture(1000, 1400)))
    names = [name for name in formats.FORMATS if name != "pdf"]
    out = tmp_path / "out" / "deep"
    outputs = Outputs(OutputOptions((*names, "pdf"), str(out)), ["x/a.tif", str(png)])
    tiff = image_bytes(picture(), "TIFF", save_all=True, append_images=[picture()])
    with outputs.start("x/a.tif", tiff) as output:
        for page in PAGES:
            output.write_page(page)
    write(outputs, str(png), PAGES[:1])
    outputs.close()
    suffixes = [format.suffix for format in formats.FORMATS.values()]
    expected = [f"{n}{s}" for n in "ab" for s in suffixes if (n, s) != ("a", ".page.xml")]
    expected += ["a.0001.page.xml", "a.0002.page.xml"]
    assert written(out) == sorted(expected)
    document = Document("x/a.tif", PAGES)
    assert (out / "a.txt").read_bytes() == formats.write(document, "text")
    assert (out / "a.json").read_bytes() == formats.write(document, "json")
    assert "ត្រាក្រសួង" in pdfium_words((out / "b.pdf").read_bytes())
    assert (out / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_two_sources_of_one_name(tmp_path):
    with pytest.raises(FormatError, match="a.png and x/a.jpg would both become a.txt"):
        Outputs(OutputOptions(out=str(tmp_path)), ["a.png", "b.png", "x/a.jpg"])


def test_an_original_that_no_pdf_can_be_made_of(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture any more")
    out = tmp_path / "out"
    outputs = Outputs(OutputOptions(("pdf", "text"), str(out)), [str(tmp_path / "a.png")])
    with pytest.raises(FormatError, match="cannot be put into a PDF: no known format"):
        write(outputs, str(tmp_path / "a.png"))
    assert written(out) == ["a.txt"]


@pytest.mark.parametrize("name", ["a.txt", "a.0007.page.xml"])
def test_nothing_is_overwritten_unless_forced(tmp_path, name):
    (tmp_path / name).write_text("mine")
    asked = OutputOptions(("text", "page"), str(tmp_path))
    with pytest.raises(FormatError, match=f"{name}: is there already; --force overwrites it"):
        Outputs(asked, ["a.png"])
    Outputs(asked, ["b.png"])
    outputs = Outputs(replace(asked, force=True), ["a.png"])
    write(outputs, "a.png")
    assert (tmp_path / "a.txt").read_bytes() == formats.write(Document("a.png", PAGES), "text")


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    outputs = Outputs(OutputOptions(("json", "text"), str(tmp_path)), ["a.png"])
    with pytest.raises(FormatError, match="a.txt: is there already"):
        with outputs.start("a.png") as output:
            output.write_page(PAGES[0])
            (tmp_path / "a.txt").write_text("mine")
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert written(tmp_path) == ["a.json", "a.txt"]


def test_the_source_is_never_overwritten(tmp_path):
    source = tmp_path / "law.pdf"
    source.write_bytes(b"%PDF-")
    asked = OutputOptions(("pdf",), str(tmp_path), force=True)
    with pytest.raises(FormatError, match="law.pdf is what is read: --out must be another folder"):
        Outputs(asked, [str(source)])


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        Outputs(OutputOptions(out=str(tmp_path / "file")), ["a.png"])
    locked = tmp_path / "locked"
    locked.mkdir(0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("root may write everywhere")
    with pytest.raises(FormatError, match="locked: cannot be written to"):
        Outputs(OutputOptions(out=str(locked)), ["a.png"])


def test_an_error_leaves_nothing(tmp_path):
    outputs = Outputs(OutputOptions(("text", "json", "page"), str(tmp_path)), ["a.png"])
    with pytest.raises(KeyboardInterrupt):
        with outputs.start("a.png") as output:
            output.write_page(PAGES[0])
            raise KeyboardInterrupt
    assert written(tmp_path) == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    outputs = Outputs(OutputOptions(("text", "json"), str(tmp_path)), ["a.png"])
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(outputs, "a.png")
    assert written(tmp_path) == []


def test_one_format_that_fails_takes_no_other_with_it(tmp_path):
    huge = Region("table", (0, 0, 1, 1), (), (documents.Cell(2**20, 2**20, (0, 0, 1, 1)),))
    outputs = Outputs(OutputOptions(("xlsx", "json"), str(tmp_path)), ["a.png"])
    with pytest.raises(FormatError, match="at most 1,000,000 are written"):
        write(outputs, "a.png", [Page(1, 9, 9, (huge,))])
    assert written(tmp_path) == ["a.json"]
    outputs = Outputs(OutputOptions(("page", "json"), str(tmp_path)), ["b.png"])
    write(outputs, "b.png", [])
    assert written(tmp_path) == ["a.json", "b.json"]


def test_many_pages_do_not_need_many_open_files(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    outputs = Outputs(OutputOptions(("page",), str(tmp_path)), ["a.png"])
    with outputs.start("a.png") as output:
        for number in range(1, 60):
            output.write_page(replace(PAGES[0], number=number))
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert len(written(tmp_path)) == 59


# ---- stdout ----


def line_page(text: str, number: int = 1) -> Page:
    return document_module.line_page(documents.line(text, 0, 0), 300, 60, number)


def test_stdout_takes_one_text_format():
    for formats_, sources in ((("text", "json"), ["a"]), (("docx",), ["a"])):
        with pytest.raises(FormatError, match="needs --out FOLDER to write files to"):
            Outputs(OutputOptions(formats_), sources)
    with pytest.raises(FormatError, match="alto of 2 files needs --out FOLDER"):
        Outputs(OutputOptions(("alto",)), ["a", "b"])


def test_lines_of_images_are_lines_of_stdout(capsysbinary):
    outputs = Outputs(OutputOptions(), ["a", "b", "c"])
    write(outputs, "a", [line_page("មួយ")])
    with pytest.raises(FileError):
        with outputs.start("b"):
            raise FileError("b: damaged")
    write(outputs, "c", [line_page("បី")])
    outputs.close()
    assert capsysbinary.readouterr().out.decode() == "មួយ\n\nបី\n"


def test_form_feeds_stand_between_pages(capsysbinary):
    outputs = Outputs(OutputOptions(), ["a", "b", "c"])
    write(outputs, "a", [line_page("១"), line_page("២", 2)])
    write(outputs, "b", [line_page("៣")])
    write(outputs, "c", [line_page("៤")])
    outputs.close()
    assert capsysbinary.readouterr().out.decode() == "១\n\f២\n\f៣\n៤\n"


def test_json_of_one_document_is_that_of_its_file(capsysbinary):
    outputs = Outputs(OutputOptions(("json",)), ["a.png"])
    write(outputs, "a.png")
    outputs.close()
    assert capsysbinary.readouterr().out == formats.write(Document("a.png", PAGES), "json")


def test_json_of_several_is_one_answer(capsysbinary):
    outputs = Outputs(OutputOptions(("json",)), ["a.png", "b.png", "c.png"])
    write(outputs, "a.png")
    with pytest.raises(FileError):
        with outputs.start("b.png"):
            raise FileError("b.png: damaged")
    write(outputs, "c.png", [])
    outputs.close()
    first, second, *rest = json.loads(capsysbinary.readouterr().out)
    assert first["source"] == "a.png" and len(first["pages"]) == 2
    assert second == {"source": "b.png", "error": "b.png: damaged"}


def test_json_of_a_file_that_fails_is_its_error(capsysbinary):
    outputs = Outputs(OutputOptions(("json",)), ["b.png"])
    with pytest.raises(FileError):
        with outputs.start("b.png"):
            raise FileError("b.png: damaged")
    outputs.close()
    assert json.loads(capsysbinary.readouterr().out) == {
        "source": "b.png",
        "error": "b.png: damaged",
    }


def test_a_page_that_failed_and_a_line_without_text_are_empty_lines(capsysbinary):
    outputs = Outputs(OutputOptions(), ["a", "b", "c"])
    write(outputs, "a", [Page(1, 9, 9, error="too small")])
    write(outputs, "b", [line_page("")])
    write(outputs, "c", [line_page("ក")])
    outputs.close()
    assert capsysbinary.readouterr().out.decode() == "\n\f\nក\n"


def test_an_error_amid_pages_still_ends_the_json(capsysbinary):
    outputs = Outputs(OutputOptions(("json",)), ["a.png"])
    with pytest.raises(FileError):
        with outputs.start("a.png") as output:
            output.write_page(PAGES[0])
            raise FileError("a.png: gone")
    assert len(json.loads(capsysbinary.readouterr().out)["pages"]) == 1
