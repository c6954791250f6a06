"""Searchable PDF: the pages as they are under invisible text that is found, selected and copied.

A PDF's own pages stay untouched below the text; pictures are put in with their own bytes. What was
written is extracted again with pdfium, and a difference is an error, not a result.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from khmer_fast.document import Page
from khmer_fast.errors import FormatError, printable
from khmer_fast.formats import glyphless_font
from khmer_fast.formats.pdf_check import check
from khmer_fast.formats.pdf_layer import Transform, expected_words, layer
from khmer_fast.formats.pdf_picture import embed
from khmer_fast.formats.pdf_replace import TextRemover
from khmer_fast.formats.software import program

_A4 = (595.28, 841.89)  # points
_WRONG_TYPE = (AttributeError, LookupError, RuntimeError, TypeError, ValueError, ArithmeticError)
_LONGEST = 14_400  # points: what PDF viewers take


class Writer:
    """Writes into a file that can be read and sought, from the file that was read.

    `original`: its path or bytes, PDF or image. `replace_text_layer` takes an old text layer out of
    pages whose text is OCR's; else it stays, and so may be found beside ours. Pages whose text is
    their own layer's stay as they are. Raises FormatError.
    """

    def __init__(
        self,
        file: BinaryIO,
        original: str | Path | bytes,
        password: str | None = None,
        replace_text_layer: bool = False,
    ):
        try:
            import pikepdf  # noqa: F401
        except ImportError as error:
            raise FormatError("pdf needs pikepdf: pip install 'khmer-fast[pdf]'") from error
        self._file, self._original, self._password = file, original, password
        self._replace = replace_text_layer
        self._pdf: Any = None  # opened with the first page: who reads the original says it first
        self._codes = glyphless_font.Codes()
        self._expected: dict[int, list[str]] = {}  # index of the page here: its words
        self._numbers: list[int] = []  # of the original's pages, in the order of the pages here

    def _begin(self) -> None:
        import pikepdf

        self._source = _open(self._original)
        self._is_pdf = b"%PDF-" in self._source.read(1024)
        self._source.seek(0)
        try:
            with _damage("it cannot be opened"):
                self._pdf = (
                    pikepdf.open(self._source, password=self._password or "")
                    if self._is_pdf
                    else pikepdf.new()
                )
                self._originals = list(self._pdf.pages)
        except pikepdf.PasswordError as error:
            raise FormatError(
                "the original PDF is encrypted; give its password with --password"
            ) from error
        self._remover = TextRemover(self._pdf)
        self._font = self._make_font()

    def write_page(self, page: Page) -> None:
        """Adds a page; one with an error comes without text."""
        if self._pdf is None:
            self._begin()
        with _damage(f"page {page.number}"):
            self._write_page(page)

    def _write_page(self, page: Page) -> None:
        index = len(self._numbers)
        self._numbers.append(page.number)
        target = self._original_page(page) if self._is_pdf else self._picture_page(page)
        if page.error or page.origin.source == "text layer":
            return
        words = expected_words(page)
        if self._replace and self._is_pdf:
            self._remover.remove(target)
        if not words:
            return
        from pikepdf import Name

        transform = page.transform if self._is_pdf else _points(page)
        name = target.add_resource(self._font, Name.Font, name=Name("/" + glyphless_font.NAME))
        content = layer(page, transform, str(name)[1:], self._codes)
        target.contents_add(self._pdf.make_stream(content), prepend=True)
        self._expected[index] = words

    def close(self) -> None:
        """Writes the file, and reads it again."""
        if self._pdf is None:
            self._begin()
        with _damage("it cannot be written"):
            self._save()
        self._pdf.close()
        self._source.close()
        alone = self._replace or not self._is_pdf
        check(self._file, self._expected, alone)
        self._file.seek(0, os.SEEK_END)

    def _save(self) -> None:
        import pikepdf

        if self._is_pdf and self._numbers != list(range(1, len(self._originals) + 1)):
            del self._pdf.pages[:]  # pages that were not read stay out
            self._pdf.pages.extend(self._originals[number - 1] for number in self._numbers)
        self._font.ToUnicode.write(self._codes.to_unicode())
        if "/Lang" not in self._pdf.Root:
            self._pdf.Root.Lang = pikepdf.String("km-KH")
        if not self._is_pdf:
            self._pdf.docinfo["/Producer"] = pikepdf.String(program())
        modes = pikepdf.ObjectStreamMode
        self._pdf.save(
            self._file,
            object_stream_mode=modes.preserve if self._is_pdf else modes.generate,
            deterministic_id=True,
        )

    def _original_page(self, page: Page) -> Any:
        if page.number > len(self._originals):
            raise FormatError(
                f"the original PDF has {len(self._originals)} pages, the document's page "
                f"{page.number} is not among them"
            )
        return self._originals[page.number - 1]

    def _picture_page(self, page: Page) -> Any:
        """A page of the picture's size, the picture on it as the page is shown upright."""
        from pikepdf import Array, Dictionary

        if page.error:
            return self._pdf.add_blank_page(page_size=_A4)
        picture = embed(self._pdf, self._source, page.number - 1)
        scale = _scale(page)
        width, height = page.width * scale, page.height * scale
        target = self._pdf.add_blank_page(page_size=(width, height))
        target.obj.Resources = Dictionary(XObject=Dictionary(Picture=picture))
        target.obj.MediaBox = Array([0, 0, round(width, 2), round(height, 2)])
        # unit square, y up > the file's pixels, y down > the page's pixels > points
        square: Transform = (int(picture.Width), 0, 0, -int(picture.Height), 0, int(picture.Height))
        placed = _after(square, _after(_inverse(page.transform), _points(page)))
        matrix = " ".join(f"{value:.5f}" for value in placed)
        content = f"q {matrix} cm /Picture Do Q".encode("ascii")
        target.obj.Contents = self._pdf.make_stream(content)
        return target

    def _make_font(self) -> Any:
        from pikepdf import Array, Dictionary, Name

        font = glyphless_font
        name = Name("/" + font.NAME)
        data = font.truetype()
        descriptor = Dictionary(
            Type=Name.FontDescriptor,
            FontName=name,
            FontFile2=self._pdf.make_stream(data, Length1=len(data)),
            FontBBox=Array([0, font.DESCENT, font.WIDTH, font.ASCENT]),
            Flags=5,  # of fixed width, symbolic
            ItalicAngle=0,
            Ascent=font.ASCENT,
            Descent=font.DESCENT,
            CapHeight=font.ASCENT,
            StemV=80,
        )
        descendant = Dictionary(
            Type=Name.Font,
            Subtype=Name.CIDFontType2,
            BaseFont=name,
            CIDSystemInfo=Dictionary(Registry="Adobe", Ordering="Identity", Supplement=0),
            CIDToGIDMap=self._pdf.make_stream(font.cid_to_gid()),
            DW=font.WIDTH,
            FontDescriptor=self._pdf.make_indirect(descriptor),
        )
        return self._pdf.make_indirect(
            Dictionary(
                Type=Name.Font,
                Subtype=Name.Type0,
                BaseFont=name,
                Encoding=Name("/Identity-H"),
                DescendantFonts=Array([self._pdf.make_indirect(descendant)]),
                ToUnicode=self._pdf.make_stream(b""),
            )
        )


@contextmanager
def _damage(where: str) -> Iterator[None]:
    """What pikepdf raises on objects of a damaged PDF, as FormatError; a wrong password aside.

    Objects are of other types than their names say, hence errors of any kind.
    """
    import pikepdf

    try:
        yield
    except (pikepdf.PasswordError, FormatError):
        raise
    except (pikepdf.PdfError, *_WRONG_TYPE) as error:
        raise FormatError(f"the original PDF is damaged, {where}: {error}") from error


def _open(original: str | Path | bytes) -> BinaryIO:
    if isinstance(original, bytes):
        return io.BytesIO(original)
    try:
        return open(original, "rb")
    except OSError as error:
        raise FormatError(
            f"{printable(original)}: a searchable PDF is made from the file that was read, which "
            f"cannot be opened: {error.strerror}; name it as the original"
        ) from error


def _scale(page: Page) -> float:
    """Points a pixel: by the page's resolution, or so that it is as long as an A4 page."""
    longest = max(page.width, page.height, 1)
    scale = 72 / page.dpi if page.dpi else _A4[1] / longest
    return min(scale, _LONGEST / longest)


def _points(page: Page) -> Transform:
    """From pixels of the page (y down) to points of a PDF page of its own (y up)."""
    scale = _scale(page)
    return (scale, 0, 0, -scale, 0, page.height * scale)


def _after(first: Transform, second: Transform) -> Transform:
    """The transform that does `first`, then `second`."""
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


def _inverse(transform: Transform) -> Transform:
    a, b, c, d, e, f = transform
    det = a * d - b * c
    if not det:
        raise FormatError(f"the page's transform {transform} cannot be turned round")
    return (
        d / det,
        -b / det,
        -c / det,
        a / det,
        (c * f - d * e) / det,
        (b * e - a * f) / det,
    )
