"""ALTO 4.4 (Library of Congress): Page > PrintSpace > TextBlock > TextLine > String.

A table is a ComposedBlock with a TextBlock a cell. Lengths are pixels of the upright page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from khmer_fast.document import REGION_KINDS, Box, Line, Page, Point, Region
from khmer_fast.formats.software import program
from khmer_fast.formats.words import baseline, placed_words
from khmer_fast.formats.xml_stream import Attributes, XmlStream

_NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-4.xsd"


class Writer:
    """Writes a file with all pages."""

    def __init__(self, file: BinaryIO, source: str):
        self._xml = XmlStream(file)
        self._xml.start(
            "alto",
            {
                "xmlns": _NAMESPACE,
                "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
                "xsi:schemaLocation": f"{_NAMESPACE} {_SCHEMA}",
                "SCHEMAVERSION": "4.4",
            },
        )
        with self._xml.element("Description"):
            self._xml.leaf("MeasurementUnit", text="pixel")
            with self._xml.element("sourceImageInformation"):
                self._xml.leaf("fileName", text=source)
            with self._xml.element("Processing", {"ID": "processing"}):
                with self._xml.element("processingSoftware"):
                    self._xml.leaf("softwareName", text=program())
        with self._xml.element("Tags"):
            for kind in REGION_KINDS:
                self._xml.leaf("LayoutTag", {"ID": f"kind-{kind}", "LABEL": kind})
        self._xml.start("Layout")

    def write_page(self, page: Page) -> None:
        """Writes a Page."""
        attributes: Attributes = {
            "ID": f"page-{page.number}",
            "PHYSICAL_IMG_NR": page.number,
            "WIDTH": page.width,
            "HEIGHT": page.height,
            "LANG": "km",
        }
        if page.error:
            attributes |= {"QUALITY": "Damaged", "QUALITY_DETAIL": page.error}
        with self._xml.element("Page", attributes):
            with self._xml.element("PrintSpace", _place((0, 0, page.width, page.height))):
                for i, region in enumerate(page.regions, 1):
                    self._region(region, f"{page.number}-{i}")

    def close(self) -> None:
        """Closes Layout and alto."""
        self._xml.end()
        self._xml.end()

    def _region(self, region: Region, id: str) -> None:
        attributes: Attributes = {"ID": f"block-{id}"}
        attributes |= _place(region.box) | {"TAGREFS": f"kind-{region.kind}"}
        if region.kind == "picture" and not region.lines:
            self._xml.leaf("Illustration", attributes)
        elif region.kind == "table":
            with self._xml.element("ComposedBlock", attributes | {"TYPE": "table"}):
                if region.lines:
                    self._block(region.lines, {"ID": f"block-{id}-0"} | _place(region.box))
                for i, cell in enumerate(region.cells, 1):
                    self._block(cell.lines, {"ID": f"block-{id}-{i}"} | _place(cell.box))
        else:
            self._block(region.lines, attributes)

    def _block(self, lines: Sequence[Line], attributes: Attributes) -> None:
        with self._xml.element("TextBlock", attributes):
            for i, line in enumerate(lines, 1):
                self._line(line, f"{str(attributes['ID']).removeprefix('block-')}-{i}")

    def _line(self, line: Line, id: str) -> None:
        attributes = {"ID": f"line-{id}"} | _place(line.box)
        attributes["BASELINE"] = _points(baseline(line))
        with self._xml.element("TextLine", attributes):
            if len(line.polygon) >= 3:
                with self._xml.element("Shape"):
                    self._xml.leaf("Polygon", {"POINTS": _points(line.polygon)})
            words = placed_words(line)
            if not words:  # a TextLine has at least one String
                self._string("", line.confidence, line.box, f"{id}-1")
            for i, word in enumerate(words, 1):
                if i > 1:
                    gap = (words[i - 2].box[2], line.box[1], word.box[0], line.box[3])
                    self._xml.leaf("SP", _place(gap))
                self._string(word.text, word.confidence, word.box, f"{id}-{i}")

    def _string(self, text: str, confidence: float, box: Box, id: str) -> None:
        attributes = {"ID": f"string-{id}"} | _place(box)
        self._xml.leaf("String", attributes | {"CONTENT": text, "WC": f"{confidence:.4f}"})


def _place(box: Box) -> Attributes:
    left, top, right, bottom = box
    return {"HPOS": left, "VPOS": top, "WIDTH": max(right - left, 0), "HEIGHT": bottom - top}


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
