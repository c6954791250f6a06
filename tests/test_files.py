"""Files in: frames, PDFs, folders and standard input as grey pages; what is wrong with them."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from PIL import Image

from khmer_fast.errors import FileError
from khmer_fast.files import frames, pdf
from khmer_fast.files.pages import FilePage, PageRanges, find_files, open_pages
from tests.support.pdfs import image_bytes, pdf_bytes, picture

pikepdf = pytest.importorskip("pikepdf")
pytest.importorskip("pypdfium2")

TEXT = b"BT /F1 24 Tf 30 300 Td (hello) Tj 0 -40 Td (there) Tj ET"


def only(source, **options) -> FilePage:
    (page,) = open_pages(source, **options)
    return page


def picture_pdf(size, pixels=(600, 800), filter="flate", more=b"", rotate=0) -> bytes:
    """A PDF page of `size` points that one picture covers."""
    from pikepdf import Dictionary, Name, new

    document = new()
    page = document.add_blank_page(page_size=size)
    grey = picture(*pixels)
    if filter == "jpeg":
        stream = document.make_stream(image_bytes(grey, "JPEG"), Filter=Name.DCTDecode)
    else:
        stream = document.make_stream(grey.tobytes())
    stream.Type, stream.Subtype = Name.XObject, Name.Image
    stream.Width, stream.Height, stream.BitsPerComponent = *pixels, 8
    stream.ColorSpace = Name.DeviceGray
    page.obj.Resources = Dictionary(XObject=Dictionary(Im=stream))
    content = b"q %f 0 0 %f 0 0 cm /Im Do Q " % size + more
    page.obj.Contents = document.make_stream(content)
    if rotate:
        page.obj.Rotate = rotate
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


# ---- images ----


def test_all_frames_of_a_tiff(tmp_path):
    greys = [picture(seed=s) for s in (1, 2, 3)]
    path = tmp_path / "scan.tif"
    greys[0].save(path, save_all=True, append_images=greys[1:], dpi=(150, 150))
    pages = list(open_pages(path))
    assert [page.number for page in pages] == [1, 2, 3]
    for page, grey in zip(pages, greys, strict=True):
        assert np.array_equal(page.grey, np.asarray(grey))
        assert page.dpi == 150
    assert [page.number for page in open_pages(path, "2-")] == [2, 3]
    with pytest.raises(FileError, match="scan.tif: has none of the pages 7"):
        list(open_pages(path, "7"))


def test_frames_are_made_one_at_a_time(monkeypatch):
    loaded = []
    load = frames.load_grey
    monkeypatch.setattr(frames, "load_grey", lambda *a: loaded.append(1) or load(*a))
    tiff = image_bytes(picture(), "TIFF", save_all=True, append_images=[picture()] * 9)
    pages = open_pages(tiff)
    next(pages)
    assert len(loaded) == 1
    pages.close()


def test_the_first_frame_of_an_animation():
    gif = image_bytes(picture(seed=1), "GIF", save_all=True, append_images=[picture(seed=2)])
    page = only(gif)
    assert np.abs(page.grey.astype(int) - np.asarray(picture(seed=1))).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_undone_and_the_way_back_is_known(orientation):
    stored = picture(60, 80)
    exif = Image.Exif()
    exif[0x0112] = orientation
    page = only(image_bytes(stored, "PNG", exif=exif))
    a, b, c, d, e, f = page.transform
    values = np.asarray(stored)
    for x, y in ((0, 0), (7, 31), (41, 12)):
        column = int(np.floor(a * (x + 0.5) + c * (y + 0.5) + e))
        row = int(np.floor(b * (x + 0.5) + d * (y + 0.5) + f))
        assert page.grey[y, x] == values[row, column]


def test_a_damaged_frame_is_its_pages_error():
    tiff = bytearray(
        image_bytes(
            picture(), "TIFF", save_all=True, append_images=[picture()], compression="tiff_lzw"
        )
    )
    with Image.open(io.BytesIO(tiff)) as image:
        image.seek(1)
        start = image.tag_v2[273][0]
    tiff[start + 40 : start + 3000] = b"\xff" * 2960
    first, second = open_pages(bytes(tiff), name="scan.tif")
    assert first.error is None
    assert "scan.tif, frame 2: damaged" in second.error and second.grey.size == 0


def test_a_large_picture_is_scaled_down_and_says_so(monkeypatch):
    monkeypatch.setattr(frames, "MAX_PAGE_PIXELS", 120_000)
    page = only(image_bytes(picture(600, 800), dpi=(200, 200)))
    assert page.grey.shape == (400, 300) and page.dpi == pytest.approx(100, abs=0.1)
    assert page.transform == (2, 0, 0, 2, 0, 0)
    assert [note.text for note in page.notes] == ["600 x 800 pixels were scaled down to 300 x 400"]


@pytest.mark.parametrize(
    "dpi, shown", [((300, 300), 300), ((72, 72), 72), ((1, 1), None), ((9999, 9999), None)]
)
def test_resolution_is_taken_where_it_can_be(dpi, shown):
    page = only(image_bytes(picture(600, 800), dpi=dpi))
    assert page.dpi == shown or page.dpi == pytest.approx(shown, abs=0.1)


def test_a_photographs_72_dpi_is_none():
    assert only(image_bytes(picture(3000, 4000), "JPEG", dpi=(72, 72))).dpi is None


def test_arrays_and_pictures_are_pages():
    grey = np.asarray(picture())
    assert np.array_equal(only(grey).grey, grey)
    assert np.array_equal(only(picture()).grey, grey)


# ---- PDFs ----


@pytest.mark.parametrize("filter", ["flate", "jpeg"])
@pytest.mark.parametrize("size", [(300.0, 400.0), (144.0, 192.0), (600.0, 800.0), (601.3, 801.7)])
def test_a_scan_gives_its_own_pixels(size, filter):
    page = only(picture_pdf(size, filter=filter))
    wanted = picture()
    if filter == "jpeg":
        wanted = Image.open(io.BytesIO(image_bytes(wanted, "JPEG")))
    assert np.array_equal(page.grey, np.asarray(wanted))
    assert page.dpi == pytest.approx(600 / size[0] * 72, abs=0.01)


def test_a_scans_invisible_text_does_not_change_its_pixels():
    data = picture_pdf((300.0, 400.0), more=b"BT 3 Tr /F1 9 Tf 9 9 Td (junk) Tj ET")
    assert np.array_equal(only(data).grey, np.asarray(picture()))


@pytest.mark.parametrize("rotate, turn", [(90, 3), (180, 2), (270, 1)])
def test_a_turned_page_is_shown_upright(rotate, turn):
    page = only(picture_pdf((300.0, 400.0), rotate=rotate))
    assert np.array_equal(page.grey, np.rot90(np.asarray(picture()), turn))


def test_letters_get_300_dpi_and_a_layer():
    page = only(pdf_bytes([TEXT]))
    assert page.grey.shape == (1667, 1250) and page.dpi == 300
    assert page.grey.min() == 0 and page.grey.max() == 255
    assert [line.text.strip() for line in page.text_layer.lines] == ["hello", "there"]
    left, bottom, right, top = page.text_layer.lines[0].boxes[0]  # points, y up
    assert left == pytest.approx(30, abs=3) and bottom == pytest.approx(300, abs=1)
    scale = 300 / 72
    letter = page.grey[round((400 - top) * scale) : round((400 - bottom) * scale)]
    letter = letter[:, round(left * scale) : round(right * scale)]
    assert (letter.min(1) < 99).all()  # its ink fills its box from top to bottom
    assert only(pdf_bytes([TEXT]), text_layer=False).text_layer is None
    assert only(pdf_bytes([b""])).text_layer is None


def test_the_transform_leads_to_points():
    page = only(pdf_bytes([TEXT], size=(50, 60, 350, 460), rotate=90))
    height, width = page.grey.shape
    a, b, c, d, e, f = page.transform
    assert (e, f) == pytest.approx((50, 60))
    assert (a * width + c * height + e, b * width + d * height + f) == pytest.approx((350, 460))


def test_a_huge_page_is_bounded_and_says_so():
    page = only(pdf_bytes([TEXT], size=(0, 0, 3000, 4000)))
    assert page.grey.size <= frames.MAX_PAGE_PIXELS * 1.001
    (note,) = page.notes
    assert note.kind == "scaled down" and "41.7 x 55.6 inches is drawn with 93 dpi" in note.text
    scan = only(picture_pdf((1800.0, 2400.0), (1800, 2400)))
    assert scan.grey.shape == (2400, 1800)
    assert [note.kind for note in scan.notes] == ["page size"]


def test_pages_that_are_asked_for():
    data = pdf_bytes([b"BT /F1 9 Tf 9 9 Td (%d) Tj ET" % n for n in range(1, 9)])
    pages = list(open_pages(data, "2,5-6"))
    assert [page.number for page in pages] == [2, 5, 6]
    assert [page.text_layer.text.strip() for page in pages] == ["2", "5", "6"]
    assert [page.number for page in open_pages(data, "7-")] == [7, 8]
    with pytest.raises(FileError, match="law.pdf: has none of the pages 9,12-"):
        list(open_pages(data, "12-,9", name="law.pdf"))


def test_an_encrypted_pdf_names_the_option():
    data = pdf_bytes([TEXT], encryption=pikepdf.Encryption(user="geheim", owner="x"))
    with pytest.raises(FileError, match="law.pdf: it is encrypted; .* --password"):
        list(open_pages(data, name="law.pdf"))
    with pytest.raises(FileError, match="the password is wrong"):
        list(open_pages(data, password="nein"))
    assert only(data, password="geheim").text_layer is not None


def test_what_is_no_pdf(tmp_path):
    for name, data, message in (
        (
            "error.pdf",
            b"Unexpected error. File \x1b[31m not found",
            r"is not a PDF: it begins with b'Unexp",
        ),
        ("empty.pdf", b"", r"empty.pdf: is empty \(0 bytes\)"),
        ("cut.pdf", pdf_bytes([TEXT])[:60], "cut.pdf: damaged PDF: it cannot be opened"),
        ("note.png", b"hello", "note.png: is not an image of a known format"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileError, match=message) as error:
            list(open_pages(tmp_path / name))
        assert "\x1b" not in str(error.value)
    with pytest.raises(FileError, match="missing.pdf: cannot be opened: No such file"):
        list(open_pages(tmp_path / "missing.pdf"))
    with pytest.raises(FileError, match="is a folder"):
        list(open_pages(tmp_path))


def test_a_damaged_page_is_an_error_in_its_place():
    with pikepdf.open(io.BytesIO(pdf_bytes([TEXT] * 3))) as document:
        document.Root.Pages.Kids[1] = document.make_indirect(pikepdf.Array([1]))
        file = io.BytesIO()
        document.save(file)
    pages = list(open_pages(file.getvalue(), name="law.pdf"))
    assert [page.number for page in pages] == [1, 2]
    assert pages[0].error is None and pages[0].text_layer is not None
    assert pages[1].error == "law.pdf, page 2: damaged: it cannot be loaded"


def test_a_picture_that_would_take_gigabytes():
    from pikepdf import Dictionary, Name, new

    document = new()
    page = document.add_blank_page(page_size=(300, 400))
    stream = document.make_stream(b"\0" * 9)
    stream.Type, stream.Subtype, stream.ColorSpace = Name.XObject, Name.Image, Name.DeviceRGB
    stream.Width, stream.Height, stream.BitsPerComponent = 60_000, 60_000, 8
    page.obj.Resources = Dictionary(XObject=Dictionary(Im=stream))
    page.obj.Contents = document.make_stream(b"300 0 0 400 0 0 cm /Im Do")
    document.add_blank_page(page_size=(300, 400))
    file = io.BytesIO()
    document.save(file)
    first, second = open_pages(file.getvalue(), name="bomb.pdf")
    assert "bomb.pdf, page 1: a picture of 60000 x 60000 pixels takes" in first.error
    assert second.error is None


def test_a_page_that_takes_too_long_is_an_error(monkeypatch):
    monkeypatch.setattr(pdf, "MAX_SECONDS", 0.0)
    page = only(pdf_bytes([b"0 0 m 9 9 l S " * 20_000]))
    assert "takes more than 0 seconds to draw" in page.error


def test_filled_forms_are_drawn():
    from pikepdf import Array, Dictionary, Name, String

    document = pikepdf.open(io.BytesIO(pdf_bytes([b""])))
    page = document.pages[0]
    field = document.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Subtype=Name.Widget,
            FT=Name.Tx,
            T=String("a"),
            V=String("filled"),
            DA=String("/F1 24 Tf 0 g"),
            Rect=Array([30, 30, 200, 70]),
            F=4,
        )
    )
    page.obj.Annots = Array([field])
    document.Root.AcroForm = Dictionary(
        Fields=Array([field]), DR=page.obj.Resources, NeedAppearances=True
    )
    file = io.BytesIO()
    document.save(file)
    assert only(file.getvalue()).grey.min() < 100


def test_threads_take_turns():
    """pdfium crashes or loses text where two threads call it at once."""
    data = pdf_bytes([TEXT] * 6)
    texts = []

    def work():
        for page in open_pages(data):
            texts.append(page.text_layer.text.split())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [["hello", "there"]] * 36


# ---- which files, which pages ----


def test_folders(tmp_path):
    for name in ("b10.png", "b2.png", "a.PDF", "note.txt", ".hidden.png", "sub/c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [f[len(str(tmp_path)) + 1 :] for f in find_files([str(tmp_path)])]
    assert names == ["a.PDF", "b2.png", "b10.png"]
    assert find_files([str(tmp_path)], recursive=True)[-1].endswith("sub/c.tif")
    assert find_files(["-", "missing.png"]) == ["-", "missing.png"]
    (tmp_path / "sub" / "c.tif").unlink()
    (empty,) = find_files([str(tmp_path / "sub")])
    with pytest.raises(FileError, match="sub: is a folder, expected a file .*--recursive"):
        list(open_pages(empty))


def test_standard_input(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(pdf_bytes([TEXT]))

    monkeypatch.setattr("sys.stdin", Stdin)
    assert only("-").text_layer is not None


@pytest.mark.parametrize(
    "text, numbers",
    [("1", [1]), ("1-3,7", [1, 2, 3, 7]), (" 2 - 4 ", [2, 3, 4]), ("9-,1", [1, 9, 10, 11])],
)
def test_page_ranges(text, numbers):
    ranges = PageRanges.parse(text)
    assert [n for n in range(1, 12) if n in ranges] == numbers


@pytest.mark.parametrize("text", ["", "0", "3-1", "a", "1,,2", "-3", "1-2-3", "១", "99999999"])
def test_page_ranges_that_are_none(text):
    with pytest.raises(FileError, match="expected pages"):
        PageRanges.parse(text)
