"""hOCR 1.2: XHTML with ocr_page > ocr_carea > ocr_par > ocr_line > ocrx_word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from khmer_fast.document import Box, Line, Page, Region
from khmer_fast.formats.software import program
from khmer_fast.formats.words import baseline, placed_words
from khmer_fast.formats.xml_stream import XmlStream

_DOCTYPE = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" '
    '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
)
_CAPABILITIES = "ocr_page ocr_carea ocr_par ocr_line ocrx_word ocr_photo"


class Writer:
    """Writes a file with all pages; ids hold the page's number."""

    def __init__(self, file: BinaryIO, source: str):
        self._source = source
        self._xml = XmlStream(file)
        self._xml.raw(_DOCTYPE)
        self._xml.start("html", {"xmlns": "http://www.w3.org/1999/xhtml", "xml:lang": "km"})
        with self._xml.element("head"):
            self._xml.leaf("title", text=source)
            self._xml.leaf("meta", {"charset": "utf-8"})
            self._meta("ocr-system", program())
            self._meta("ocr-capabilities", _CAPABILITIES)
        self._xml.start("body")

    def write_page(self, page: Page) -> None:
        """Writes an ocr_page."""
        properties = [
            f"image {_quoted(self._source)}",
            f"bbox 0 0 {page.width} {page.height}",
            f"ppageno {page.number - 1}",
        ]
        if page.dpi:
            properties.append(f"scan_res {page.dpi:g} {page.dpi:g}")
        if page.error:
            properties.append(f"x_error {_quoted(page.error)}")
        with self._element("div", "ocr_page", f"page_{page.number}", properties):
            for i, region in enumerate(page.regions, 1):
                self._region(region, f"{page.number}_{i}")

    def close(self) -> None:
        """Closes body and html."""
        self._xml.end()
        self._xml.end()

    def _meta(self, name: str, content: str) -> None:
        self._xml.leaf("meta", {"name": name, "content": content})

    def _element(self, tag: str, kind: str, id: str, properties: Sequence[str]):
        attributes = {"class": kind, "id": id, "title": "; ".join(properties)}
        return self._xml.element(tag, attributes)

    def _region(self, region: Region, id: str) -> None:
        properties = [_bbox(region.box), f"x_kind {region.kind}"]
        if region.kind == "picture" and not region.lines:
            with self._element("div", "ocr_photo", f"area_{id}", properties):
                return
        with self._element("div", "ocr_carea", f"area_{id}", properties):
            if region.lines:
                self._paragraph(region.lines, region.box, f"{id}_1")
            for i, cell in enumerate(region.cells, 2):
                self._paragraph(
                    cell.lines, cell.box, f"{id}_{i}", [f"x_row {cell.row}", f"x_col {cell.column}"]
                )

    def _paragraph(
        self, lines: Sequence[Line], box: Box, id: str, properties: Sequence[str] = ()
    ) -> None:
        with self._element("p", "ocr_par", f"par_{id}", [_bbox(box), *properties]):
            for i, line in enumerate(lines, 1):
                self._line(line, f"{id}_{i}")

    def _line(self, line: Line, id: str) -> None:
        properties = [_bbox(line.box), _baseline(line), f"x_wconf {_percent(line.confidence)}"]
        if len(line.polygon) >= 3:
            properties.append("poly " + " ".join(f"{x:.0f} {y:.0f}" for x, y in line.polygon))
        with self._element("span", "ocr_line", f"line_{id}", properties):
            for i, word in enumerate(placed_words(line), 1):
                title = f"{_bbox(word.box)}; x_wconf {_percent(word.confidence)}"
                attributes = {"class": "ocrx_word", "id": f"word_{id}_{i}", "title": title}
                self._xml.leaf("span", dict(attributes), word.text)


def _bbox(box: Box) -> str:
    return "bbox " + " ".join(map(str, box))


def _percent(confidence: float) -> int:
    return round(100 * confidence)


def _baseline(line: Line) -> str:
    """Slope, and the offset at the box's left from its bottom, of the line through the ends."""
    points = baseline(line)
    (x0, y0), (x1, y1) = points[0], points[-1]
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    left, _, _, bottom = line.box
    return f"baseline {slope:.4f} {y0 + slope * (left - x0) - bottom:.1f}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
