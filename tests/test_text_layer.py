"""Text layers: believed where the picture agrees, and what is said of the others."""

from __future__ import annotations

import io
import random
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from khmer_fast import formats
from khmer_fast.document import Document, Line, Page, Region
from khmer_fast.files.pages import open_pages
from khmer_fast.files.text_layer import LayerLine, TextLayer, apply, judge, layer_page
from khmer_fast.text import canonical, misplaced
from tests.support import documents
from tests.support.development import development_data
from tests.support.pdfs import image_bytes, picture

pikepdf = pytest.importorskip("pikepdf")
pytest.importorskip("pypdfium2")

TEXTS = [
    "ព្រះមហាក្សត្រទ្រង់គ្រងរាជ្យ ប៉ុន្តែទ្រង់មិនកាន់អំណាចឡើយ",
    "មាត្រា ១២ ប្រជាពលរដ្ឋខ្មែរមានសិទ្ធិស្មើគ្នាចំពោះមុខច្បាប់",
    "ក្រុមប្រឹក្សាធម្មនុញ្ញមានសមាជិកប្រាំបួនរូប ប្រកបដោយអាណត្តិ",
    "Article 12. The National Assembly consists of 120 members.",
    "ត្រូវបានទទួលស្គាល់ និងគោរពសិទ្ធិមនុស្ស ដូចមានចែងក្នុងសេចក្តីប្រកាស",
    "ក្រសួងអប់រំ យុវជន និងកីឡា ត្រួតពិនិត្យគ្រឹះស្ថានសិក្សា",
]


def read_page(texts=TEXTS, number=1) -> Page:
    """A page as it was read from its picture."""
    lines = tuple(documents.line(text, 50, 60 + 60 * i) for i, text in enumerate(texts))
    return Page(number, 1200, 800, (Region("text", (50, 60, 1150, 500), lines),))


def layer_of(lines, change=lambda text: text, fonts=()) -> TextLayer:
    """The layer of a page whose letters stand on those of `lines`, their texts changed."""
    layer_lines = []
    for line in lines:
        left, top, right, bottom = line.box
        text = change(line.text)
        step = (right - left) / max(len(text), 1)
        boxes = [
            (left + i * step, top + 5, left + (i + 1) * step, bottom) for i in range(len(text))
        ]
        layer_lines.append(LayerLine(text, tuple(boxes)))
    return TextLayer(tuple(layer_lines), fonts)


def misread(text: str, share: float, rng: random.Random) -> str:
    """Text as OCR reads it: a share of its letters are others."""
    return "".join(rng.choice("កខគងចជដតនប") if rng.random() < share else c for c in text)


# ---- the grammar of clusters ----


@pytest.mark.parametrize(
    "text, count",
    [
        ("ព្រះរាជាណាចក្រកម្ពុជា", 0),
        ("ស្ត្រី សង្គ្រោះ ស៊ី បុ័ណ្ណ ញ៉ាំ ប៊ុន ធម៌ យ៉ាង ឲ្យ ២០២៥។", 0),
        ("សួស្តី\u200bពិភពលោក", 0),
        ("កោ ក\u17c1\u17b6 ក\u17c1\u17b8", 0),  # a split vowel may be typed in its parts
        ("េសចក្តី", 1),  # drawn order
        ("ក្", 1),
        ("ក្ ា", 2),
        ("កាី", 1),
        ("កំំ", 1),
        ("ក្ក្ក្ក្ក", 1),
        ("abcា", 1),
        ("buBVkfa", 0),
    ],
)
def test_misplaced_letters_are_counted(text, count):
    assert misplaced(text) == count


def test_real_text_is_well_formed():
    text = development_data("documents", "const1993a.gt.txt").read_text("utf-8")
    assert misplaced(text) < 0.001 * len(text)


# ---- the verdict ----


def test_a_right_layer_is_believed_although_ocr_errs():
    rng = random.Random(5)
    page = read_page()
    layer = layer_of(page.lines())
    read = replace(
        page,
        regions=tuple(
            replace(
                region,
                lines=tuple(replace(x, text=misread(x.text, 0.02, rng)) for x in region.lines),
            )
            for region in page.regions
        ),
    )
    assert [line.text for line in read.lines()] != TEXTS
    told = apply(read, layer)
    assert told.origin.source == "text layer"
    assert told.origin.reason == "the layer agrees with the picture"
    assert 0 < told.origin.distance < 0.04
    assert [line.text for line in told.lines()] == [canonical(text) for text in TEXTS]
    for line in told.lines():
        assert " ".join(word.text for word in line.words) == line.text
        assert line.confidence == 1.0


def drawn_order(text: str) -> str:
    """Vowels that are drawn before their base stand before it."""
    out: list[str] = []
    base = 0
    for c in text:
        if "\u1780" <= c <= "\u17a2" and (not out or out[-1] != "\u17d2"):
            base = len(out)
        if c in "\u17c1\u17c2\u17c3":
            out.insert(base, c)
        else:
            out.append(c)
    return "".join(out)


@pytest.mark.parametrize(
    "change, fonts, reason",
    [
        (lambda t: t.replace("្រ", ""), (), "differs from the picture in|lacks ្រ where"),
        (drawn_order, (), "no well-formed Khmer|lacks ែ"),
        (lambda t: "buBVkfa RBHraC" * 3, ("ABCDEF+LimonS1",), r"legacy encoding \(Limon\)"),
        (lambda t: "buBVkfa RBHraC" * 3, ("Helvetica",), "no Khmer letters where the picture"),
        (lambda t: "699" if "មាត្រា" in t else "", (), "the layer holds 3 letters of about"),
        (lambda t: " ".join(t), (), "no well-formed Khmer"),
        (lambda t: t.replace("ា", "ា\u200b"), (), None),
        (lambda t: t[::-1], (), "no well-formed Khmer"),
        (lambda t: t.replace("ក", "ខ"), (), "lacks ក where the picture shows it"),
        (lambda t: t.replace("ត្រ", "ត\ufffd"), (), "no well-formed Khmer: 3 of"),
    ],
)
def test_what_is_said_of_layers(change, fonts, reason):
    page = read_page()
    verdict = judge(layer_of(page.lines(), change, fonts), list(page.lines()))
    if reason is None:
        assert verdict.believed, verdict.reason
        return
    assert not verdict.believed
    assert re.search(reason, verdict.reason)
    told = apply(page, layer_of(page.lines(), change, fonts))
    assert told.origin.source == "ocr" and told.regions == page.regions


def test_a_letter_that_is_always_lost_is_no_misreading():
    """One subscript in forty letters: near the picture, but lost each time."""
    texts = ["កម្ពុជាជារាជាណាចក្រ" + "បទដ្ឋានគតិយុត្ត" * 3 for _ in range(6)]
    page = read_page(texts)
    verdict = judge(layer_of(page.lines(), lambda t: t.replace("្រ", "")), list(page.lines()))
    assert verdict.distance < 0.04
    assert (
        not verdict.believed
        and verdict.reason == "the layer lacks ្រ where the picture shows it, 6 times"
    )


def test_letters_and_lines_are_matched_by_place():
    """A layer in another order, and one line of it over two cells."""
    page = read_page(TEXTS[:2])
    first, second = page.lines()
    cell = documents.line("សរុប", 700, 60)
    lines = [first, second, cell]
    layer = layer_of([second, first])
    joined = layer_of([cell]).lines[0]
    last = layer.lines[1]
    layer = TextLayer(
        (
            layer.lines[0],
            LayerLine(f"{last.text} {joined.text}", (*last.boxes, (0, 0, 0, 0), *joined.boxes)),
        )
    )
    verdict = judge(layer, lines)
    assert verdict.believed and verdict.distance == 0
    assert [" ".join(w.text for w in words) for words in verdict.match.words] == [
        first.text,
        second.text,
        "សរុប",
    ]


def test_what_only_the_layer_has_is_kept_and_said():
    page = read_page()
    small = documents.line("៥", 600, 700)
    told = apply(page, layer_of([*page.lines(), small]))
    assert [line.text for line in told.lines()][-1] == "៥"
    (note,) = told.notes
    assert note.kind == "text layer" and "1 lines stand only in the text layer" in note.text


def test_what_ocr_alone_has_stays():
    page = read_page()
    stamp = Region("stamp", (700, 600, 900, 700), (documents.line("ត្រា", 720, 620),))
    page = replace(page, regions=(*page.regions, stamp))
    told = apply(page, layer_of(list(page.lines())[:-1]))
    assert told.origin.source == "text layer"
    assert told.regions[-1].lines[0].text == "ត្រា"


def test_a_blank_page_with_a_number():
    page = Page(2, 800, 1000, (Region("text", (0, 0, 1, 1), (documents.line("៧០០", 400, 20),)),))
    told = apply(page, layer_of(page.lines(), lambda t: "700"))
    assert told.origin.source == "ocr" and [line.text for line in told.lines()] == ["៧០០"]
    nothing = apply(replace(page, regions=()), layer_of(page.lines()))
    assert nothing.origin.reason == "nothing was read on this page"
    assert apply(page, None).origin.reason == "no text layer"


@pytest.mark.parametrize(
    "font, family",
    [
        ("OKCNNB+LimonS1", "Limon"),
        ("Limon R1", "Limon"),
        ("ABC-TEXT-05", "ABC"),
        ("Khek Mool", "Khek"),
        ("Khmer OS Battambang", None),
        ("Helvetica", None),
    ],
)
def test_legacy_fonts_have_names(font, family):
    assert TextLayer((), ("Times", font)).legacy_encoding == family


# ---- from files ----


def as_shown(page: Page, shown) -> Page:
    """The page as it is read from a page of a file."""
    return replace(page, transform=shown.transform)


def test_a_page_that_was_turned_still_has_its_layer():
    """The picture lay on its side: its rotation was undone, its layer's boxes are the file's."""
    page = replace(read_page(), dpi=150.0)
    data = formats.write(
        Document("x", (page,)), "pdf", formats.PdfOptions(image_bytes(picture(1200, 800)))
    )
    with pikepdf.open(io.BytesIO(data)) as document:
        document.pages[0].obj.Rotate = 90
        file = io.BytesIO()
        document.save(file)
    (shown,) = open_pages(file.getvalue())
    assert shown.grey.shape == (1200, 800)
    a, b, c, d, e, f = shown.transform  # upright (x, y) is (800 - y, x) of the picture as it lies
    turned = (c, d, -a, -b, 800 * a + e, 800 * b + f)
    told = apply(replace(read_page(), transform=turned), shown.text_layer)
    assert told.origin.source == "text layer" and told.origin.distance == 0
    assert not apply(as_shown(read_page(), shown), shown.text_layer).origin.source == "text layer"


def test_our_own_searchable_pdf_is_believed():
    page = replace(read_page(), dpi=150.0)
    data = formats.write(
        Document("x", (page,)), "pdf", formats.PdfOptions(image_bytes(picture(1200, 800)))
    )
    (shown,) = open_pages(data)
    told = apply(as_shown(read_page(), shown), shown.text_layer)
    assert told.origin.source == "text layer" and told.origin.distance == 0
    assert [line.text for line in told.lines()] == [canonical(text) for text in TEXTS]
    for line, before in zip(told.lines(), page.lines(), strict=True):
        for word, old in zip(line.words, before.words, strict=True):
            assert abs(word.box[0] - old.box[0]) <= 3 and abs(word.box[2] - old.box[2]) <= 3


def test_only_the_layer():
    data = formats.write(
        Document("x", (replace(read_page(), dpi=150.0),)),
        "pdf",
        formats.PdfOptions(image_bytes(picture(1200, 800))),
    )
    (shown,) = open_pages(data)
    page = layer_page(as_shown(Page(1, 1200, 800), shown), shown.text_layer)
    assert [line.text for line in page.lines()] == [canonical(text) for text in TEXTS]
    assert page.origin.reason == "asked for, not compared"
    assert layer_page(read_page(), None).notes[0].kind == "text layer"


def flat_odt(texts: list[str], font: str) -> str:
    """A text document whose paragraphs are set in a Khmer font."""
    namespaces = {
        "office": "office",
        "style": "style",
        "text": "text",
        "fo": "xsl-fo-compatible",
        "svg": "svg-compatible",
    }
    base = "urn:oasis:names:tc:opendocument:xmlns"
    spaces = " ".join(f'xmlns:{short}="{base}:{name}:1.0"' for short, name in namespaces.items())
    style = f'fo:font-size="11pt" style:font-size-complex="11pt" style:font-name-complex="{font}"'
    paragraphs = "".join(f'<text:p text:style-name="P">{text}</text:p>' for text in texts)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document {spaces} office:version="1.2" '
        'office:mimetype="application/vnd.oasis.opendocument.text"><office:font-face-decls>'
        f'<style:font-face style:name="{font}" svg:font-family="{font}"/></office:font-face-decls>'
        '<office:automatic-styles><style:style style:name="P" style:family="paragraph">'
        f'<style:text-properties {style} fo:language="km" style:language-complex="km"/>'
        "</style:style></office:automatic-styles><office:body><office:text>"
        f"{paragraphs}</office:text></office:body></office:document>"
    )


@pytest.mark.parametrize("font", ["Khmer OS", "Noto Sans Khmer", "Khmer Mondulkiri"])
def test_what_libreoffice_exports(font, tmp_path):
    """Its layers are right in some fonts and wrong in others: each is judged as it is."""
    soffice = shutil.which("soffice")
    if soffice is None:
        pytest.skip("no LibreOffice here")
    (tmp_path / "law.fodt").write_text(flat_odt(TEXTS, font), "utf-8")
    command = [soffice, f"-env:UserInstallation=file://{tmp_path}/profile", "--headless"]
    command += ["--convert-to", "pdf", "--outdir", tmp_path, "law.fodt"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    (shown,) = open_pages(tmp_path / "law.pdf")
    lines = []
    layer = shown.text_layer.moved((1, 0, 0, -1, 0, 842))
    for text, own in zip(TEXTS, layer.lines, strict=True):
        boxes = [box for box in own.boxes if box[2] > box[0]]
        box = tuple(
            int(pick(box[side] for box in boxes)) for side, pick in enumerate((min, min, max, max))
        )
        lines.append(Line(text, 0.9, box))
    verdict = judge(layer, lines)
    text = shown.text_layer.text
    right = "".join(canonical(text).split()) == "".join(canonical("".join(TEXTS)).split())
    assert verdict.believed == right, (verdict.reason, text)
