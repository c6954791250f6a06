"""Searchable PDF: the text comes back from three programs, and the pages look as before."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from khmer_fast import formats
from khmer_fast.document import Document, Origin, Page, Region
from khmer_fast.errors import FormatError
from khmer_fast.formats import PdfOptions, glyphless_font
from khmer_fast.formats.pdf_layer import expected_words, layer
from khmer_fast.text import DEFAULT_CHARSET
from tests.support import documents
from tests.support.pdfs import (
    image_bytes,
    mupdf_words,
    pdf_bytes,
    pdfium_words,
    picture,
    poppler_words,
    rendered,
)

pikepdf = pytest.importorskip("pikepdf")
pytest.importorskip("pypdfium2")

FLIPPED = (1, 0, 0, -1, 0, 400)  # pixels of a page of 300 x 400 to its points


def page_of(lines, width=1000, height=1400, **more) -> Page:
    region = Region("text", (0, 0, width, height), tuple(lines))
    return Page(more.pop("number", 1), width, height, (region,), **more)


def pdf_of(page: Page, original: bytes | None = None, **options) -> bytes:
    original = original or image_bytes(picture(page.width, page.height))
    return formats.write(Document("x", (page,)), "pdf", PdfOptions(original, **options))


def words_of(page: Page) -> list[str]:
    return [word for line in page.lines() for word in line.text.split()]


def full_page() -> Page:
    """35 lines of a law, slightly skewed, as a reader gives them."""
    text = "មាត្រា ១២ ព្រះមហាក្សត្រទ្រង់គ្រងរាជ្យ ប៉ុន្តែព្រះអង្គពុំកាន់អំណាចឡើយ Article 12."
    lines = []
    for i in range(35):
        y = 60 + 36 * i
        lines.append(
            documents.line(
                f"{text} {i}", 60, y, 880, 30, baseline=((60.0, y + 22.0), (940.0, y + 24.0))
            )
        )
    return page_of(lines)


# ---- the text ----


@pytest.mark.parametrize("page", [documents.page(), full_page()], ids=["regions", "full"])
def test_three_programs_give_the_text_back(page, tmp_path):
    data = pdf_of(page)
    words = words_of(page)
    joined = " ".join(words).replace("Cam- bodia", "Cam-bodia").split()  # pdfium joins lines
    assert " ".join(pdfium_words(data)).replace("\ufffe", "-").split() == joined
    assert poppler_words(data, tmp_path) == words
    assert "".join(mupdf_words(data)) == "".join(words)  # it ends lines within words


def test_every_character_comes_back(tmp_path):
    characters = [c for c in DEFAULT_CHARSET if not c.isspace()]
    rows = [" ".join(characters[i : i + 16]) for i in range(0, len(characters), 16)]
    page = page_of([documents.line(row, 20, 20 + 60 * i) for i, row in enumerate(rows)])
    data = pdf_of(page)  # checked with pdfium as it is written
    assert poppler_words(data, tmp_path) == words_of(page)
    assert mupdf_words(data) == words_of(page)


def test_characters_beyond_the_basic_plane(tmp_path):
    page = page_of([documents.line("ok 😀x 𑜀 ᧠ \ufb01", 20, 20)])
    data = pdf_of(page)
    assert poppler_words(data, tmp_path)[:4] == ["ok", "😀x", "𑜀", "᧠"]


def test_right_to_left_letters_do_not_stop_the_file():
    pdf_of(page_of([documents.line("ក سلام שלום ខ", 20, 20)]))


def test_hostile_texts():
    page = documents.hostile_document().pages[0]
    found = "".join(pdfium_words(pdf_of(page)))
    assert "".join(expected_words(page)[:3]) in found
    assert "\x07" not in found and "\x1b" not in found


def test_a_difference_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    encode = glyphless_font.Codes.encode
    monkeypatch.setattr(
        glyphless_font.Codes, "encode", lambda self, text: encode(self, text.replace("្រ", "រ"))
    )
    (tmp_path / "a.png").write_bytes(image_bytes(picture()))
    document = Document(str(tmp_path / "a.png"), (page_of([documents.line("ប្រជា", 9, 9)]),))
    with pytest.raises(FormatError, match="page 1 .* does not give its text back: expected 'ប្រជា'"):
        document.save(tmp_path / "a.pdf")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_words_stand_where_they_were_read():
    """A line that falls by 0.1 in 1: pdfium's boxes of its letters lie on its words."""
    import pypdfium2

    line = documents.line("កក ខខ គគ", 100, 200, 800, 120, baseline=((100.0, 230.0), (900.0, 310.0)))
    page = page_of([line], 1000, 1000, dpi=72.0)
    document = pypdfium2.PdfDocument(pdf_of(page))
    text_page = document[0].get_textpage()
    at = 0
    for word in line.words:
        first, last = text_page.get_charbox(at), text_page.get_charbox(at + len(word.text) - 1)
        assert first[0] == pytest.approx(word.box[0], abs=15)  # the slope moves corners
        assert last[2] == pytest.approx(word.box[2], abs=15)
        baseline = 1000 - (230 + 0.1 * (word.box[0] - 100))
        assert first[1] < baseline < first[3]
        at += len(word.text) + 1
    document.close()


def test_numbers_have_no_exponents():
    """A line that falls by a hair: PDF knows no 1e-06."""
    line = documents.line("ក ខ គ", 0, 100, 900, baseline=((0.0, 130.0), (900.0, 130.0001)))
    content = layer(page_of([line]), (1, 0, 0, -1, 0, 1400), "F", glyphless_font.Codes())
    assert not re.search(rb"\de[+-]?\d", re.sub(rb"<[0-9a-f]*>", b"", content))


def test_lines_that_lie_on_each_other_keep_their_letters():
    """As where a stamp's text runs over a line's, both with the same letters."""
    lines = [
        documents.line("ព្រះរាជាណាចក្រកម្ពុជា ជាតិ សាសនា", 50, 100, 600),
        documents.line("ព្រះរាជាណាចក្រកម្ពុជា ជាតិ", 52, 103, 500),
        documents.line("ក្រសួង", 300, 95, 100),
        documents.line("មិនជាប់គ្នា", 50, 160),
    ]
    page = page_of(lines)
    words = pdfium_words(pdf_of(page))
    assert words == words_of(page)


def test_words_that_lie_on_each_other_keep_their_letters():
    """A loop of the reader: three words that look at one place."""
    line = documents.line("សង្គម កិច្ច កិច្ច កិច្ច", 50, 100, 500)
    first, second, _, _ = line.words
    words = (first, second, *(replace(second, box=second.box),) * 2)
    page = page_of([replace(line, words=words), documents.line("abc abc", 50, 200, 3, 60)])
    assert pdfium_words(pdf_of(page)) == words_of(page)


def test_lines_side_by_side_in_any_order():
    """A number that was read before the words that it stands behind."""
    lines = [documents.line("១", 300, 105, 20, 30), documents.line("មាត្រាទី", 100, 100, 207)]
    assert pdfium_words(pdf_of(page_of(lines))) == ["១", "មាត្រាទី"]


def test_the_layer_is_small_and_the_font_is_always_the_same():
    page = full_page()
    original = pdf_bytes([b"0 0 m 9 9 l S"] * 20)
    pages = tuple(
        replace(page, number=n, transform=(0.3, 0, 0, -0.28, 0, 400)) for n in range(1, 21)
    )
    data = formats.write(Document("x", pages), "pdf", PdfOptions(original))
    assert len(data) - len(original) < 10_000 * 20
    assert formats.write(Document("x", pages), "pdf", PdfOptions(original)) == data
    glyphless_font.truetype.cache_clear()
    assert len(glyphless_font.truetype()) < 1000


# ---- pictures ----


def embedded(data: bytes):
    pdf = pikepdf.open(io.BytesIO(data))
    (image,) = pdf.pages[0].get_images().values()
    return pdf, image


def test_jpeg_goes_in_as_it_is():
    for mode in ("L", "RGB", "CMYK"):
        jpeg = image_bytes(picture().convert(mode), "JPEG")
        pdf, image = embedded(pdf_of(page_of([], 600, 800), jpeg))
        assert image.read_raw_bytes() == jpeg
        pdf.close()


def test_png_keeps_its_compressed_rows():
    png = image_bytes(picture().convert("RGB"))
    pdf, image = embedded(pdf_of(page_of([], 600, 800), png))
    assert image.read_raw_bytes() in png
    pdf.close()


def test_g4_tiff_keeps_its_strip():
    tiff = image_bytes(picture().convert("1"), "TIFF", compression="group4", tiffinfo={278: 800})
    pdf, image = embedded(pdf_of(page_of([], 600, 800), tiff))
    assert image.Filter == "/CCITTFaxDecode" and image.read_raw_bytes() in tiff
    pdf.close()


PICTURES = {
    "grey JPEG": image_bytes(picture(), "JPEG"),
    "RGB JPEG": image_bytes(Image.merge("RGB", [picture(seed=s) for s in (1, 2, 3)]), "JPEG"),
    "grey PNG": image_bytes(picture()),
    "RGB PNG": image_bytes(Image.merge("RGB", [picture(seed=s) for s in (1, 2, 3)])),
    "palette PNG": image_bytes(picture().quantize(16)),
    "black and white PNG": image_bytes(picture().convert("1", dither=Image.Dither.NONE)),
    "dithered PNG": image_bytes(picture().convert("1")),
    "G4 TIFF": image_bytes(picture().convert("1"), "TIFF", compression="group4"),
    "G3 TIFF": image_bytes(picture().convert("1"), "TIFF", compression="group3"),
    "LZW TIFF": image_bytes(picture(), "TIFF", compression="tiff_lzw"),
    "16-bit PNG": image_bytes(Image.fromarray(np.asarray(picture()).astype(np.uint16) * 257)),
    "BMP": image_bytes(picture().convert("RGB"), "BMP"),
    "GIF": image_bytes(picture(), "GIF"),
    "WebP": image_bytes(picture().convert("RGB"), "WEBP", lossless=True),
    "alpha PNG": image_bytes(Image.merge("LA", [picture(), picture(seed=2)])),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_looks_as_before(name):
    source = Image.open(io.BytesIO(PICTURES[name]))
    data = pdf_of(page_of([documents.line("ក", 50, 50)], 600, 800, dpi=72.0), PICTURES[name])
    if name == "alpha PNG":
        white = Image.new("RGBA", source.size, "white")
        wanted = np.asarray(Image.alpha_composite(white, source.convert("RGBA")).convert("RGB"))
    elif name == "16-bit PNG":
        wanted = np.asarray(picture().convert("RGB"))
    else:
        wanted = np.asarray(source.convert("RGB"))
    shown = rendered(data)
    assert shown.shape == (800, 600, 3)
    tolerance = 40 if "JPEG" in name else 1  # chroma is enlarged differently
    assert np.abs(shown[:, :, ::-1].astype(int) - wanted).max() <= tolerance


def test_frames_of_a_tiff_are_pages():
    frames = [picture(seed=s) for s in (1, 2, 3)]
    tiff = image_bytes(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    pages = tuple(page_of([], 600, 800, number=n, dpi=72.0) for n in (1, 3))
    data = formats.write(Document("x", pages), "pdf", PdfOptions(tiff))
    for i, frame in enumerate((frames[0], frames[2])):
        assert np.array_equal(rendered(data, i)[:, :, 0], np.asarray(frame))


@pytest.mark.parametrize(
    "turned, transform",
    [
        (Image.Transpose.ROTATE_90, (0, -1, 1, 0, 0, 600)),  # x' = y, y' = 600 - x
        (Image.Transpose.ROTATE_180, (-1, 0, 0, -1, 600, 800)),
        (Image.Transpose.ROTATE_270, (0, 1, -1, 0, 800, 0)),
        (Image.Transpose.FLIP_LEFT_RIGHT, (-1, 0, 0, 1, 600, 0)),
    ],
)
def test_a_turned_picture_is_shown_upright(turned, transform):
    upright = picture()
    jpeg = image_bytes(upright.transpose(turned))
    data = pdf_of(page_of([], 600, 800, dpi=72.0, transform=transform), jpeg)
    assert np.array_equal(rendered(data)[:, :, 0], np.asarray(upright))


def test_a_scaled_page_keeps_the_pictures_own_pixels():
    png = image_bytes(picture(1200, 1600))
    data = pdf_of(
        page_of([documents.line("ក", 50, 50)], 600, 800, transform=(2, 0, 0, 2, 0, 0)), png
    )
    pdf, image = embedded(data)
    assert (image.Width, image.Height) == (1200, 1600)
    assert float(pdf.pages[0].MediaBox[3]) == pytest.approx(841.89, abs=0.01)  # as long as A4
    pdf.close()


def test_what_is_no_picture():
    with pytest.raises(FormatError, match="cannot be put into a PDF: no known format"):
        pdf_of(page_of([]), b"hello")
    with pytest.raises(FormatError, match="missing.png: .* name it as the original"):
        formats.write(Document("missing.png", (page_of([]),)), "pdf")


# ---- PDFs ----

DRAWN = b"BT /F1 24 Tf 30 300 Td (buBVkfa RBHraC) Tj ET 20 20 m 200 90 l S"
HIDDEN = b"BT 3 Tr /F1 24 Tf 30 200 Td (scanner junk) Tj ET 10 10 80 30 re f"


def ours(**more) -> Page:
    return page_of(
        [documents.line("ព្រះរាជា ណាចក្រ", 30, 76, 200, 24)], 300, 400, transform=FLIPPED, **more
    )


def test_a_pdfs_page_stays_under_the_text():
    original = pdf_bytes([DRAWN])
    data = pdf_of(ours(), original)
    assert np.array_equal(rendered(data, scale=2), rendered(original, scale=2))
    with pikepdf.open(io.BytesIO(data)) as pdf:
        assert pdf.pages[0].Contents[-1].read_bytes() == DRAWN
    assert "".join(pdfium_words(data)) == "ព្រះរាជាណាចក្រbuBVkfaRBHraC"


@pytest.mark.parametrize(
    "content", [DRAWN, HIDDEN, b"q /Form Do Q"], ids=["drawn", "hidden", "form"]
)
def test_an_old_layer_is_taken_out(content, tmp_path):
    original = pdf_bytes([content], form=DRAWN + b" " + HIDDEN)
    data = pdf_of(ours(), original, replace_text_layer=True)
    assert np.array_equal(rendered(data, scale=2), rendered(original, scale=2))
    assert pdfium_words(data) == ["ព្រះរាជា", "ណាចក្រ"]
    assert poppler_words(data, tmp_path) == ["ព្រះរាជា", "ណាចក្រ"]
    assert mupdf_words(data) == ["ព្រះរាជា", "ណាចក្រ"]
    with pikepdf.open(io.BytesIO(data)) as pdf:
        assert all(
            b"junk" not in o.read_bytes() for o in pdf.objects if isinstance(o, pikepdf.Stream)
        )


def test_a_believed_layer_stays_alone():
    """Page 1 is OCR's, page 2 its own layer's; they share font and resources."""
    original = pdf_bytes([DRAWN, DRAWN])
    believed = ours(number=2, origin=Origin("text layer", "agrees with the picture", 0.002))
    document = Document("x", (ours(), believed))
    data = formats.write(document, "pdf", PdfOptions(original, replace_text_layer=True))
    assert pdfium_words(data, 0) == ["ព្រះរាជា", "ណាចក្រ"]
    assert pdfium_words(data, 1) == ["buBVkfa", "RBHraC"]
    for page in (0, 1):
        assert np.array_equal(rendered(data, page), rendered(original, page))


def test_actual_text_goes_with_the_old_layer(tmp_path):
    content = b"/Span <</ActualText (wrong)>> BDC BT /F1 24 Tf 30 300 Td (abc) Tj ET EMC"
    data = pdf_of(ours(), pdf_bytes([content]), replace_text_layer=True)
    assert poppler_words(data, tmp_path) == ["ព្រះរាជា", "ណាចក្រ"]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_turned_and_shifted_pages(rotate):
    """The text stands on its place of the page as it is shown, whatever its boxes are."""
    import pypdfium2

    original = pdf_bytes([DRAWN], size=(50, 60, 350, 460), rotate=rotate)
    shown = rendered(original)
    height, width = shown.shape[:2]
    to_points = {
        0: (1, 0, 0, -1, 50, 460),
        90: (0, 1, 1, 0, 50, 60),
        180: (-1, 0, 0, 1, 350, 60),
        270: (0, -1, -1, 0, 350, 460),
    }[rotate]
    line = documents.line("ព្រះ", 100, 50, 90, 30)
    page = page_of([line], width, height, transform=to_points)
    document = pypdfium2.PdfDocument(pdf_of(page, original))
    text_page = document[0].get_textpage()
    left, bottom, right, top = text_page.get_charbox(0)
    device = [np.array([x, y, 1]) for x, y in ((left, bottom), (right, top))]
    a, b, c, d, e, f = to_points
    inverse = np.linalg.inv(np.array([[a, c, e], [b, d, f], [0, 0, 1]]))
    corners = np.array([(inverse @ point)[:2] for point in device])
    assert corners.min(0) == pytest.approx([100, 50], abs=2)
    assert corners.max(0) == pytest.approx([100 + 90 / 4, 80], abs=2)
    document.close()


def test_only_the_pages_that_were_read():
    original = pdf_bytes([b"BT /F1 9 Tf 9 9 Td (%d) Tj ET" % n for n in range(1, 6)])
    document = Document("x", (ours(number=2), ours(number=4)))
    data = formats.write(document, "pdf", PdfOptions(original))
    with pikepdf.open(io.BytesIO(data)) as pdf:
        assert len(pdf.pages) == 2
    assert "2" in pdfium_words(data, 0) and "4" in pdfium_words(data, 1)


def test_a_page_with_an_error_comes_without_text():
    bad = Page(2, 0, 0, error="damaged")
    original = pdf_bytes([DRAWN, DRAWN])
    data = formats.write(Document("x", (ours(), bad)), "pdf", PdfOptions(original))
    assert pdfium_words(data, 1) == ["buBVkfa", "RBHraC"]
    data = formats.write(Document("x", (bad,)), "pdf", PdfOptions(image_bytes(picture())))
    assert pdfium_words(data) == []


def test_encrypted_originals():
    protection = pikepdf.Encryption(user="secret", owner="secret")
    original = pdf_bytes([DRAWN], encryption=protection)
    with pytest.raises(FormatError, match="encrypted; give its password"):
        pdf_of(ours(), original)
    assert "ណាចក្រ" in pdfium_words(pdf_of(ours(), original, password="secret"))


def test_more_pages_than_the_original():
    with pytest.raises(FormatError, match="has 1 pages, the document's page 3 is not among them"):
        pdf_of(ours(number=3), pdf_bytes([DRAWN]))


def test_the_code_maps_are_what_the_font_needs():
    assert len(glyphless_font.cid_to_gid()) == 2 * 65536
    cmap = glyphless_font.Codes().to_unicode().decode()
    assert cmap.count("beginbfrange") == 3 and "<1700> <17FF> <1700>" in cmap
    assert "<D800>" not in cmap
    assert len(zlib.compress(cmap.encode())) < 3000
