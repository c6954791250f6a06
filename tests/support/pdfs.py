"""Small PDFs made by hand, and what other programs extract from PDFs."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(width: int = 600, height: int = 800, seed: int = 1) -> Image.Image:
    """Grey noise in blocks: each pixel's place can be told."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 10 + 1, width // 10 + 1), np.uint8)
    return Image.fromarray(np.kron(blocks, np.ones((10, 10), np.uint8))[:height, :width])


def image_bytes(image: Image.Image, format: str = "PNG", **options) -> bytes:
    """An image file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pdf_bytes(
    contents: list[bytes],
    size: tuple[float, float, float, float] = (0, 0, 300, 400),
    rotate: int = 0,
    form: bytes | None = None,
    **save,
) -> bytes:
    """A PDF with these content streams, each a page, the font /F1 (Helvetica) and a form /Form."""
    from pikepdf import Array, Dictionary, Name, new

    pdf = new()
    font = pdf.make_indirect(
        Dictionary(
            Type=Name.Font,
            Subtype=Name.Type1,
            BaseFont=Name.Helvetica,
            Encoding=Name.WinAnsiEncoding,
        )
    )
    resources = Dictionary(Font=Dictionary(F1=font))
    if form is not None:
        stream = pdf.make_stream(form)
        stream.Type, stream.Subtype = Name.XObject, Name.Form
        stream.BBox = Array([0, 0, 1000, 1000])
        stream.Resources = Dictionary(Font=Dictionary(F1=font))
        resources.XObject = Dictionary(Form=stream)
    for content in contents:
        page = pdf.add_blank_page(page_size=(size[2], size[3]))
        page.obj.MediaBox = Array(list(size))
        page.obj.Contents = pdf.make_stream(content)
        page.obj.Resources = resources
        if rotate:
            page.obj.Rotate = rotate
    file = io.BytesIO()
    pdf.save(file, **save)
    return file.getvalue()


def rendered(data: bytes, page: int = 0, scale: float = 1.0) -> np.ndarray:
    """A page as pdfium draws it: uint8 [Y, X, 3]."""
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    array = document[page].render(scale=scale).to_numpy().copy()
    document.close()
    return array


def pdfium_words(data: bytes, page: int = 0) -> list[str]:
    """The words that pdfium extracts."""
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    words = document[page].get_textpage().get_text_range().split()
    document.close()
    return words


def poppler_words(data: bytes, folder: Path) -> list[str]:
    """The words that poppler's pdftotext extracts, in the order of the file."""
    program = shutil.which("pdftotext")
    if program is None:
        pytest.skip("no pdftotext (poppler-utils) here")
    (folder / "poppler.pdf").write_bytes(data)
    run = subprocess.run(
        [program, "-raw", folder / "poppler.pdf", "-"], capture_output=True, check=True
    )
    return run.stdout.decode().split()


def mupdf_words(data: bytes) -> list[str]:
    """The words that mupdf extracts."""
    pymupdf = pytest.importorskip("pymupdf")
    return [word for page in pymupdf.open("pdf", data) for word in page.get_text().split()]
