"""Formats out: what each file holds, that it is well-formed and valid, and that it is streamed."""

from __future__ import annotations

import csv
import gc
import io
import re
import shutil
import subprocess
import tracemalloc
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from khmer_fast import formats
from khmer_fast.document import Document, Line, Page, Region
from khmer_fast.errors import FormatError
from khmer_fast.formats.paragraphs import items, joined, paragraph
from khmer_fast.formats.words import height_at, placed_words
from khmer_fast.text import canonical
from tests.support import documents
from tests.support.development import development_data

ALTO = "{http://www.loc.gov/standards/alto/ns-v4#}"
PAGE = "{http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15}"
XHTML = "{http://www.w3.org/1999/xhtml}"
XML_FORMATS = ("hocr", "alto", "page")
DOCUMENTS = {
    "usual": documents.document(),
    "hostile": documents.hostile_document(),
    "no pages": Document("empty.pdf"),
    "empty page": Document("blank.png", (Page(1, 100, 100),)),
}


def written(document: Document, format: str) -> bytes:
    """The document's bytes; of a format with a page a file those of its first page."""
    if formats.FORMATS[format].page_a_file:
        document = replace(document, pages=document.pages[:1] or (Page(1, 100, 100),))
    return formats.write(document, format)


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


# ---- all formats ----


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("format", [name for name in formats.FORMATS if name != "pdf"])
def test_every_document_can_be_written(format, name):
    data = written(DOCUMENTS[name], format)
    if formats.FORMATS[format].text:
        data.decode("utf-8")


@pytest.mark.parametrize("format", ["text", "json", "hocr", "alto", "page", "markdown"])
def test_every_line_is_in_the_file(format):
    document = replace(DOCUMENTS["usual"], pages=DOCUMENTS["usual"].pages[:1])
    text = formats.write(document, format).decode()
    for line in document.lines():
        for word in line.text.split():
            assert word in text or word in ("Cam-", "bodia", "1.", "•")
    if format != "markdown":
        assert "Cam-" in text


@pytest.mark.parametrize("format", ["text", "json", "hocr", "alto", "markdown", "csv", "docx"])
def test_memory_does_not_grow_with_pages(format):
    class Null(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return len(data)

    page = documents.page()
    writer = formats.open_writer(format, io.BufferedWriter(Null()), "long.pdf")
    writer.write_page(page)
    tracemalloc.start()
    for number in range(2, 40):
        writer.write_page(replace(page, number=number))
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(40, 240):
        writer.write_page(replace(page, number=number))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    writer.close()
    tracemalloc.stop()
    assert after - before < 50_000


def test_a_format_that_is_not_known():
    with pytest.raises(FormatError, match="expected a format of text, json, hocr.* got 'odt'"):
        formats.write(DOCUMENTS["usual"], "odt")
    with pytest.raises(FormatError, match=r"law\.odt: expected a name that ends in .*\.alto\.xml"):
        formats.format_of("law.odt")


@pytest.mark.parametrize("format", formats.FORMATS.values(), ids=str)
def test_a_suffix_means_its_format(format):
    assert formats.format_of(f"folder/Law{format.suffix.upper()}") == format.name


# ---- files ----


def test_save_writes_whole_files(tmp_path):
    document = DOCUMENTS["usual"]
    assert document.save(tmp_path / "law.txt") == [tmp_path / "law.txt"]
    assert (tmp_path / "law.txt").read_bytes() == formats.write(document, "text")
    pages = document.save(tmp_path / "law.page.xml")
    assert [path.name for path in pages] == ["law.0001.page.xml", "law.0002.page.xml"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["law.txt", *(path.name for path in pages)]
    )


def test_save_keeps_what_is_there(tmp_path):
    path = tmp_path / "law.txt"
    path.write_text("mine")
    with pytest.raises(FormatError, match="law.txt: is there already"):
        formats.save(DOCUMENTS["usual"], path, overwrite=False)
    huge = Region("table", (0, 0, 1, 1), (), (documents.Cell(10**6, 10**6, (0, 0, 1, 1)),))
    with pytest.raises(FormatError, match="at most 1,000,000 are written"):
        formats.save(Document("x", (Page(1, 10, 10, (huge,)),)), path)
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["law.txt"]


def test_a_page_file_holds_one_page():
    with pytest.raises(FormatError, match="holds one page, this document has 2"):
        formats.write(DOCUMENTS["usual"], "page")


# ---- text and tables ----


def test_text():
    text = formats.write(DOCUMENTS["usual"], "text").decode()
    first, second = text.split("\f")
    assert second == ""
    blocks = first.split("\n\n")
    assert blocks[0] == "ក្រសួងអប់រំ\nលេខ ១២៣"
    assert blocks[4] == "ឈ្មោះ\tចំនួន\tតម្លៃ\nក្រដាស\t១០\t=1+1\nសរុប 25,000 រៀល\t\t"
    assert first.endswith("\n\n៣\n")


def test_csv_does_not_compute():
    rows = list(
        csv.reader(io.StringIO(formats.write(DOCUMENTS["usual"], "csv").decode("utf-8-sig")))
    )
    assert rows == [
        ["ឈ្មោះ", "ចំនួន", "តម្លៃ"],
        ["ក្រដាស", "១០", "'=1+1"],
        ["សរុប 25,000 រៀល", "", ""],
    ]
    text = formats.write(DOCUMENTS["hostile"], "csv").decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert cells[1:] == ["'=cmd|' /C calc'!A0", "-5", "'-x"]


def test_xlsx_cells_are_texts():
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(io.BytesIO(formats.write(DOCUMENTS["usual"], "xlsx")))
    assert book.sheetnames == ["page 1, table 1"]
    sheet = book.active
    assert [cell.value for cell in sheet[2]] == ["ក្រដាស", "១០", "=1+1"]
    assert sheet["C2"].data_type == "s"
    assert str(sheet.merged_cells) == "A3:C3"


def test_markdown():
    text = formats.write(DOCUMENTS["usual"], "markdown").decode()
    assert "\n\n## ព្រះរាជាណាចក្រកម្ពុជា ជាតិ" in text
    assert "មាត្រា ១ ប្រទេសកម្ពុជាជាព្រះរាជាណាចក្រ Kingdom of Cambodia ។" in text
    assert "\n\n1. ទីមួយ\n- ទីពីរបន្ត\n- ក. ទីបី\n\n" in text
    assert "| ឈ្មោះ | ចំនួន | តម្លៃ |\n| --- | --- | --- |\n| ក្រដាស | ១០ | =1+1 |" in text
    assert text.endswith("\n\n<!-- page 2 -->\n") or "<!-- page 2 -->" in text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("# x", r"\# x"),
        ("1. x", r"1\. x"),
        ("- x", r"\- x"),
        ("-5", "-5"),
        ("a*b_c|d<e>", r"a\*b\_c\|d\<e\>"),
        ("២. ក", "២. ក"),
    ],
)
def test_markdown_shows_what_was_printed(text, shown):
    region = documents.region("text", [text], 0, 0)
    data = formats.write(Document("x", (Page(1, 800, 100, (region,)),)), "markdown")
    assert data.decode() == shown + "\n"


# ---- paragraphs and words ----


@pytest.mark.parametrize(
    "lines, text",
    [
        (["ក្រុម", "ប្រឹក្សា"], "ក្រុមប្រឹក្សា"),
        (["ច្បាប់។", "មាត្រា"], "ច្បាប់។ មាត្រា"),
        (["ឆ្នាំ ១៩៩៣", "ខែ"], "ឆ្នាំ ១៩៩៣ ខែ"),
        (["the king-", "dom of"], "the kingdom of"),
        (["1990-", "2000"], "1990- 2000"),
        (["the", "law"], "the law"),
        (["", "ក", "", "ខ"], "កខ"),
    ],
)
def test_lines_are_joined(lines, text):
    assert joined([documents.line(line, 0, 0) for line in lines]) == text


def test_a_short_line_ends_on_purpose():
    lines = (
        documents.line("ក" * 20, 0, 0, 700),
        documents.line("ខ" * 10, 0, 60, 350),
        documents.line("គ" * 20, 0, 120, 700),
        documents.line("ឃ" * 16, 0, 180, 600),
    )
    region = Region("text", (0, 0, 700, 240), lines)
    assert paragraph(region) == ["ក" * 20 + "ខ" * 10, "គ" * 20 + "ឃ" * 16]


def test_items_begin_at_markers():
    region = documents.region("list", ["១. មួយ", "បន្ត", "• ពីរ", "(a) three", "ខ- បួន"], 0, 0)
    assert items(region) == ["១. មួយបន្ត", "• ពីរ", "(a) three", "ខ- បួន"]


def test_words_of_a_corrected_line_still_stand_in_it():
    line = documents.line("មាត្រា ១ ច្បាប់", 100, 50, 600)
    assert placed_words(line) is line.words
    fixed = replace(line, text="មាត្រា ២ ច្បាប់")
    assert [w.box for w in placed_words(fixed)] == [w.box for w in line.words]
    fewer = placed_words(replace(line, text="មាត្រា២ ច្បាប់"))
    assert [word.text for word in fewer] == ["មាត្រា២", "ច្បាប់"]
    assert fewer[0].box[0] == 100 and fewer[1].box[2] == 700
    assert fewer[0].box[2] < fewer[1].box[0]


def test_height_along_a_bent_baseline():
    bent = ((0.0, 10.0), (10.0, 20.0), (20.0, 20.0))
    assert [height_at(bent, x) for x in (-5, 0, 5, 10, 15, 25)] == [5, 10, 15, 20, 20, 20]


# ---- XML ----


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("format", XML_FORMATS)
def test_xml_is_well_formed(format, name):
    root = ElementTree.fromstring(written(DOCUMENTS[name], format))
    ids = [value for e in root.iter() for key, value in e.items() if key.lower() == "id"]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z][\w.-]*", id) for id in ids)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("format, schema", [("alto", "alto-4-4"), ("page", "page-2019-07-15")])
def test_xml_validates(format, schema, name):
    etree = pytest.importorskip("lxml.etree")
    path = development_data("schemas", f"{schema}.xsd")
    if (format, name) == ("alto", "no pages"):
        pytest.skip("ALTO has no way to say no page")
    etree.XMLSchema(etree.parse(path)).assertValid(
        etree.fromstring(written(DOCUMENTS[name], format))
    )


def test_hocr_structure():
    root = ElementTree.fromstring(formats.write(DOCUMENTS["usual"], "hocr"))
    parents = {child: parent for parent in root.iter() for child in parent}
    above = {
        "ocrx_word": {"ocr_line"},
        "ocr_line": {"ocr_par"},
        "ocr_par": {"ocr_carea"},
        "ocr_carea": {"ocr_page"},
        "ocr_photo": {"ocr_page"},
    }
    for element in root.iter():
        kind = element.get("class")
        if kind in above:
            assert parents[element].get("class") in above[kind]
            assert re.match(r"bbox -?\d+ -?\d+ -?\d+ -?\d+(;|$)", element.get("title"))
    words = [e.text for e in root.iter() if e.get("class") == "ocrx_word"]
    assert words == [w.text for line in DOCUMENTS["usual"].lines() for w in line.words]
    pages = [e for e in root.iter() if e.get("class") == "ocr_page"]
    assert "scan_res 120 120" in pages[0].get("title")
    assert 'x_error "page 2 is damaged: <no & tree>"' in pages[1].get("title")


def test_hocr_baseline_is_from_the_boxs_bottom_left():
    line = documents.line("ក", 100, 100, 200, baseline=((100.0, 130.0), (300.0, 134.0)))
    region = Region("text", line.box, (line,))
    data = formats.write(Document("x", (Page(1, 400, 400, (region,)),)), "hocr").decode()
    assert "baseline 0.0200 -10.0" in data


def test_alto_structure():
    root = ElementTree.fromstring(formats.write(DOCUMENTS["usual"], "alto"))
    strings = [e.get("CONTENT") for e in root.iter(f"{ALTO}String")]
    assert strings == [w.text for line in DOCUMENTS["usual"].lines() for w in line.words]
    (composed,) = root.iter(f"{ALTO}ComposedBlock")
    assert len(composed.findall(f"{ALTO}TextBlock")) == 7
    first = next(root.iter(f"{ALTO}TextLine"))
    assert first.get("BASELINE") == "60.0,48.0 172.0,48.0"
    assert first.find(f"{ALTO}Shape/{ALTO}Polygon") is not None
    tags = {e.get("ID") for e in root.iter(f"{ALTO}LayoutTag")}
    used = {e.get("TAGREFS") for e in root.iter() if e.get("TAGREFS")}
    assert used <= tags and len(used) == 8
    pages = list(root.iter(f"{ALTO}Page"))
    assert [page.get("QUALITY") for page in pages] == [None, "Damaged"]


def test_page_structure():
    root = ElementTree.fromstring(written(DOCUMENTS["usual"], "page"))
    order = [e.get("regionRef") for e in root.iter(f"{PAGE}RegionRefIndexed")]
    ids = [e.get("id") for e in root.find(f"{PAGE}Page") if e.tag.endswith("Region")]
    assert order == ids
    roles = [e.attrib for e in root.iter(f"{PAGE}TableCellRole")]
    assert roles[-1] == {"rowIndex": "2", "columnIndex": "0", "rowSpan": "1", "colSpan": "3"}
    texts = [e.find(f"{PAGE}TextEquiv/{PAGE}Unicode").text for e in root.iter(f"{PAGE}TextLine")]
    assert texts == [line.text for line in DOCUMENTS["usual"].lines()]
    assert root.find(f".//{PAGE}ImageRegion") is not None


def test_control_characters_never_reach_xml():
    data = formats.write(DOCUMENTS["hostile"], "alto").decode()
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", data)
    strings = [e.get("CONTENT") for e in ElementTree.fromstring(data).iter(f"{ALTO}String")]
    assert strings[0] == 'a<b>&"quote\'s"]]>'
    assert "\ufffd\ufffd\ufffd[31m" in strings


# ---- docx ----


def test_docx_says_complex_script():
    docx = pytest.importorskip("docx")
    document = docx.Document(io.BytesIO(formats.write(DOCUMENTS["usual"], "docx")))
    runs = document.element.findall(".//{*}r")
    assert runs
    w = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
    for run in runs:
        properties = run.find(f"{w}rPr")
        names = [child.tag.removeprefix(w) for child in properties]
        heading = "bCs" in names
        assert names == ["rFonts", *(["b", "bCs"] if heading else []), "sz", "szCs", "cs", "lang"]
        assert properties.find(f"{w}rFonts").get(f"{w}cs") == "Khmer OS Battambang"
        assert properties.find(f"{w}lang").get(f"{w}bidi") == "km-KH"
        assert properties.find(f"{w}szCs").get(f"{w}val") == ("28" if heading else "22")
    styles = [p.style.name for p in document.paragraphs]
    assert styles[1] == "Heading 1" and "List Bullet" in styles
    (table,) = document.tables
    assert table.cell(2, 0)._tc is table.cell(2, 2)._tc
    assert document.paragraphs[-1].paragraph_format.page_break_before


def test_libreoffice_reads_the_docx(tmp_path):
    soffice = shutil.which("soffice")
    if soffice is None:
        pytest.skip("no LibreOffice here")
    document = DOCUMENTS["usual"]
    formats.save(document, tmp_path / "law.docx")
    command = [soffice, f"-env:UserInstallation=file://{tmp_path}/profile", "--headless"]
    command += ["--convert-to", "txt:Text (encoded):UTF8", "--outdir", tmp_path, "law.docx"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    text = canonical((tmp_path / "law.txt").read_text("utf-8-sig"))
    ours = "".join(line.text for line in document.lines()).replace("Cam-", "Cam")
    ours = ours.replace("- ទីពីរ", "ទីពីរ")  # a real bullet
    assert squeezed(text).replace("•", "") == squeezed(ours)


# ---- one line ----


def test_a_line_without_words_is_whole(tmp_path):
    line = Line("មួយ ពីរ", 0.5, (10, 10, 110, 40))
    document = Document("x", (Page(1, 120, 50, (Region("text", line.box, (line,)),)),))
    for format in ("hocr", "alto", "page"):
        data = formats.write(document, format).decode()
        assert "មួយ" in data and "ពីរ" in data
