"""A PDF's pages as grey pictures, drawn by pdfium at the scale that their text needs."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from khmer_fast import pdfium
from khmer_fast.document import Note
from khmer_fast.errors import FileError, PasswordError
from khmer_fast.files.file_page import FilePage, PageRanges
from khmer_fast.files.frames import MAX_PAGE_PIXELS, MAX_SIDE
from khmer_fast.files.pdf_text import read_text_layer

DPI = 300  # of pages with letters or drawings of their own
MAX_SECONDS = 20.0  # to draw a page
MAX_IMAGE_BYTES = 400 * 2**20  # that one picture of a page takes, decoded
_MAX_OBJECTS = 20_000  # of a page that are looked at, and drawings that make it more than a scan
_MAX_FORM_DEPTH = 5
_WHOLE = 0.9  # of the page: its pictures cover it
_NOTABLE = 0.02  # of the page: a picture that counts
_SHEET_INCHES = 24  # a page longer than that says no true size

_Matrix = tuple[float, float, float, float, float, float]


def pdf_pages(
    file: Path | bytes, name: str, ranges: PageRanges, password: str | None, text_layer: bool
) -> Iterator[FilePage]:
    """The pages of a PDF. Raises FileError if it cannot be opened; a page that cannot be drawn is
    one with an error."""
    library = pdfium.load()
    with pdfium.LOCK:
        document = _open(library, file, name, password)
    try:
        with pdfium.LOCK:
            count = len(document)
        if count < 1:
            raise FileError(f"{name}: this PDF has no pages")
        for number in range(1, count + 1):
            if number not in ranges:
                continue
            try:
                with pdfium.LOCK:
                    page = _page(library, document, number, text_layer)
            except FileError as error:
                page = FilePage(number, error=f"{name}, page {number}: {error}")
            yield page
    finally:
        with pdfium.LOCK:
            document.close()


def pdf_page_count(file: Path | bytes, name: str, password: str | None) -> int:
    """How many pages a PDF has. Raises FileError if it cannot be opened."""
    library = pdfium.load()
    with pdfium.LOCK:
        document = _open(library, file, name, password)
        try:
            return len(document)
        finally:
            document.close()


def _open(library: Any, file: Path | bytes, name: str, password: str | None) -> Any:
    raw = library.raw
    try:
        document = library.PdfDocument(file, password=password)
    except library.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code == raw.FPDF_ERR_PASSWORD:
            wrong = "the password is wrong" if password else "it is encrypted"
            raise PasswordError(f"{name}: {wrong}; give its password with --password") from error
        if code == raw.FPDF_ERR_SECURITY:
            raise FileError(f"{name}: is encrypted in a way that cannot be opened") from error
        raise FileError(f"{name}: damaged PDF: it cannot be opened") from error
    except OSError as error:
        raise FileError(f"{name}: cannot be opened: {error.strerror or error}") from error
    if document.get_formtype() != raw.FORMTYPE_NONE:
        document.init_forms()
    return document


def _page(library: Any, document: Any, number: int, text_layer: bool) -> FilePage:
    try:
        page = document[number - 1]
    except library.PdfiumError as error:
        raise FileError("damaged: it cannot be loaded") from error
    try:
        width, height = page.get_size()  # points
        if not (0 < width < 1e6 and 0 < height < 1e6):
            raise FileError(f"has no usable size ({width:g} x {height:g} points)")
        pixels, dpi, notes = _size(library.raw, page, width, height)
        grey = _draw(library, document, page, *pixels)
        transform = _transform(library.raw, page, *pixels)
        layer = read_text_layer(library.raw, page) if text_layer else None
    finally:
        page.close()
    return FilePage(number, grey, dpi, transform, notes, layer)


@dataclass(frozen=True)
class _Contents:
    """What a page is made of, as far as its scale depends on it."""

    letters: bool  # text that is drawn
    drawings: int
    covered: float  # share of the page under pictures
    scale: float  # pixels a point of the finest picture of notable size


def _size(
    raw: Any, page: Any, width: float, height: float
) -> tuple[tuple[int, int], float, tuple[Note, ...]]:
    """The page's pixels (x, y), their number an inch, and notes about it.

    A page that pictures cover, with nothing drawn on it, gets their own pixels.
    """
    contents = _contents(raw, page, width * height)
    if contents.covered >= _WHOLE and not contents.letters and contents.drawings < 50:
        scale = contents.scale
    else:
        scale = max(DPI / 72, min(contents.scale, 2 * DPI / 72))
    most = min(math.sqrt(MAX_PAGE_PIXELS / (width * height)), MAX_SIDE / max(width, height))
    notes = []
    inches = f"{width / 72:.1f} x {height / 72:.1f} inches"
    if scale > most:
        text = f"a page of {inches} is drawn with {most * 72:.0f} dpi instead of {scale * 72:.0f}"
        notes.append(Note("scaled down", text))
        scale = most
    elif max(width, height) > 72 * _SHEET_INCHES:
        text = f"a page that says {inches} is drawn with {scale * 72:.0f} dpi"
        notes.append(Note("page size", text))
    pixels = (max(round(width * scale), 1), max(round(height * scale), 1))
    return pixels, round(scale * 72, 2), tuple(notes)


def _contents(raw: Any, page: Any, area: float) -> _Contents:
    letters, drawings, covered, scale = False, 0, 0.0, 0.0
    for kind, handle, matrix in _objects(raw, page):
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            mode = raw.FPDFTextObj_GetTextRenderMode(handle)
            letters = letters or mode != raw.FPDF_TEXTRENDERMODE_INVISIBLE
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            size = _image_size(raw, handle, page)
            a, b, c, d, _, _ = matrix
            share = abs(a * d - b * c) / area
            across, down = math.hypot(a, b), math.hypot(c, d)
            covered += share
            if share >= _NOTABLE and across and down:
                scale = max(scale, size[0] / across, size[1] / down)
        else:
            drawings += 1
    return _Contents(letters, drawings, covered, scale)


def _image_size(raw: Any, image: Any, page: Any) -> tuple[int, int]:
    """Pixels of a picture. Raises FileError for more than it may take when decoded."""
    data = raw.FPDF_IMAGEOBJ_METADATA()
    if not raw.FPDFImageObj_GetImageMetadata(image, page, data):
        return (0, 0)
    size = data.width * data.height * max(data.bits_per_pixel, 1) / 8
    if size > MAX_IMAGE_BYTES:
        raise FileError(
            f"a picture of {data.width} x {data.height} pixels takes {size / 2**20:,.0f} MiB, at "
            f"most {MAX_IMAGE_BYTES >> 20} MiB are read"
        )
    return data.width, data.height


def _objects(raw: Any, page: Any) -> Iterator[tuple[int, Any, _Matrix]]:
    """Kind, handle and matrix (to the page) of its objects and of those in its forms."""
    left = _MAX_OBJECTS

    def walk(get: Any, holder: Any, count: int, outer: _Matrix, depth: int) -> Any:
        nonlocal left
        for i in range(min(count, left)):
            handle = get(holder, i)
            if not handle:
                continue
            left -= 1
            kind = raw.FPDFPageObj_GetType(handle)
            if kind == raw.FPDF_PAGEOBJ_FORM and depth < _MAX_FORM_DEPTH:
                inner = _after(_matrix(raw, handle), outer)
                inside = raw.FPDFFormObj_CountObjects(handle)
                yield from walk(raw.FPDFFormObj_GetObject, handle, inside, inner, depth + 1)
            else:
                yield kind, handle, _after(_matrix(raw, handle), outer)
            if left <= 0:
                return

    whole: _Matrix = (1, 0, 0, 1, 0, 0)
    yield from walk(raw.FPDFPage_GetObject, page, raw.FPDFPage_CountObjects(page), whole, 0)


def _matrix(raw: Any, handle: Any) -> _Matrix:
    matrix = raw.FS_MATRIX()
    if not raw.FPDFPageObj_GetMatrix(handle, matrix):
        return (1, 0, 0, 1, 0, 0)
    return (matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f)


def _after(first: _Matrix, second: _Matrix) -> _Matrix:
    a, b, c, d, e, f = first
    p, q, r, s, t, u = second
    return (
        a * p + b * r,
        a * q + b * s,
        c * p + d * r,
        c * q + d * s,
        e * p + f * r + t,
        e * q + f * s + u,
    )


def _draw(library: Any, document: Any, page: Any, width: int, height: int) -> np.ndarray:
    """The page on white paper: uint8 [height, width]. Raises FileError if it takes too long."""
    raw = library.raw
    bitmap = library.PdfBitmap.new_native(width, height, raw.FPDFBitmap_Gray)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
    end = time.monotonic() + MAX_SECONDS
    pause = raw.IFSDK_PAUSE(version=1)
    callback_type = dict(raw.IFSDK_PAUSE._fields_)["NeedToPauseNow"]
    pause.NeedToPauseNow = callback_type(lambda _: time.monotonic() > end)
    arguments = (bitmap, page, 0, 0, width, height, 0, raw.FPDF_ANNOT)
    try:
        status = raw.FPDF_RenderPageBitmap_Start(*arguments, pause)
    finally:
        raw.FPDF_RenderPage_Close(page)
    if status == raw.FPDF_RENDER_TOBECONTINUED:
        raise FileError(f"takes more than {MAX_SECONDS:g} seconds to draw")
    if status != raw.FPDF_RENDER_DONE:
        raise FileError("damaged: it cannot be drawn")
    if document.formenv:
        raw.FPDF_FFLDraw(document.formenv, *arguments)
    return np.array(bitmap.to_numpy().reshape(height, -1)[:, :width])


def _transform(raw: Any, page: Any, width: int, height: int) -> _Matrix:
    """From pixels of the drawn page to its points, whatever its boxes and its turn are."""
    corners = []
    for x, y in ((0, 0), (width, 0), (0, height)):
        place = (ctypes.c_double(), ctypes.c_double())
        raw.FPDF_DeviceToPage(page, 0, 0, width, height, 0, x, y, *place)
        corners.append((place[0].value, place[1].value))
    (e, f), across, down = corners
    return (
        (across[0] - e) / width,
        (across[1] - f) / width,
        (down[0] - e) / height,
        (down[1] - f) / height,
        e,
        f,
    )
