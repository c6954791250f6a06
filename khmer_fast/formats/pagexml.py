"""PAGE XML 2019-07-15 (PRImA): one page a file, with reading order, regions, lines and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from khmer_fast.document import Box, Cell, Line, Page, Point, Region
from khmer_fast.errors import FormatError
from khmer_fast.formats.paragraphs import joined
from khmer_fast.formats.software import now, program
from khmer_fast.formats.words import baseline, line_text, placed_words
from khmer_fast.formats.xml_stream import Attributes, XmlStream

_NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_TEXT_TYPES = {
    "text": "paragraph",
    "heading": "heading",
    "list": "paragraph",
    "header": "header",
    "footer": "footer",
    "stamp": "other",
    "picture": "other",
    "table": "other",
}


class Writer:
    """Writes the one page that a file holds."""

    def __init__(self, file: BinaryIO, source: str):
        self._source = source
        self._xml = XmlStream(file)
        self._pages = 0
        self._xml.start(
            "PcGts",
            {
                "xmlns": _NAMESPACE,
                "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
                "xsi:schemaLocation": f"{_NAMESPACE} {_NAMESPACE}/pagecontent.xsd",
            },
        )
        time = now().strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._xml.element("Metadata"):
            self._xml.leaf("Creator", text=program())
            self._xml.leaf("Created", text=time)
            self._xml.leaf("LastChange", text=time)

    def write_page(self, page: Page) -> None:
        """Writes the Page. Raises FormatError for a second one."""
        self._pages += 1
        if self._pages > 1:
            raise FormatError("a PAGE XML file holds one page; write each page to its own file")
        attributes: Attributes = {
            "imageFilename": self._source,
            "imageWidth": page.width,
            "imageHeight": page.height,
        }
        if page.dpi:
            dpi = f"{page.dpi:g}"
            attributes |= {"imageXResolution": dpi, "imageYResolution": dpi}
            attributes |= {"imageResolutionUnit": "PPI"}
        attributes["custom"] = f"page {{number:{page.number};}}"
        if page.error:
            attributes["custom"] = f"{attributes['custom']} error {{message:{page.error};}}"
        attributes |= {"primaryLanguage": "Khmer", "primaryScript": "Khmr - Khmer"}
        with self._xml.element("Page", attributes):
            if page.regions:
                with self._xml.element("ReadingOrder"):
                    with self._xml.element("OrderedGroup", {"id": "order"}):
                        for i in range(len(page.regions)):
                            reference = {"index": i, "regionRef": f"r{i + 1}"}
                            self._xml.leaf("RegionRefIndexed", reference)
            for i, region in enumerate(page.regions, 1):
                self._region(region, f"r{i}")

    def close(self) -> None:
        """Closes PcGts. Raises FormatError if no page was written."""
        if not self._pages:
            raise FormatError("a PAGE XML file holds one page, this document has none")
        self._xml.end()

    def _region(self, region: Region, id: str) -> None:
        if region.kind == "table":
            rows = max((cell.row + cell.row_span for cell in region.cells), default=0)
            columns = max((cell.column + cell.column_span for cell in region.cells), default=0)
            attributes: Attributes = {"id": id, "rows": rows, "columns": columns}
            with self._xml.element("TableRegion", attributes):
                self._coords(_corners(region.box))
                if region.lines:
                    self._text_region(region.lines, region.box, f"{id}c0", "other")
                for i, cell in enumerate(region.cells, 1):
                    self._text_region(cell.lines, cell.box, f"{id}c{i}", "paragraph", cell)
        elif region.kind in ("picture", "stamp") and not region.lines:
            name = "ImageRegion" if region.kind == "picture" else "GraphicRegion"
            kind = {"type": "stamp"} if region.kind == "stamp" else {}
            with self._xml.element(name, {"id": id, **kind}):
                self._coords(_corners(region.box))
        else:
            custom = f"structure {{type:{region.kind};}}"
            self._text_region(region.lines, region.box, id, _TEXT_TYPES[region.kind], custom=custom)

    def _text_region(
        self,
        lines: Sequence[Line],
        box: Box,
        id: str,
        kind: str,
        cell: Cell | None = None,
        custom: str | None = None,
    ) -> None:
        with self._xml.element("TextRegion", {"id": id, "type": kind, "custom": custom}):
            self._coords(_corners(box))
            if cell is not None:
                with self._xml.element("Roles"):
                    self._xml.leaf(
                        "TableCellRole",
                        {
                            "rowIndex": cell.row,
                            "columnIndex": cell.column,
                            "rowSpan": cell.row_span,
                            "colSpan": cell.column_span,
                        },
                    )
            for i, line in enumerate(lines, 1):
                self._line(line, f"{id}l{i}", i - 1)
            self._text(joined(lines))

    def _line(self, line: Line, id: str, index: int) -> None:
        with self._xml.element("TextLine", {"id": id, "index": index}):
            self._coords(line.polygon if len(line.polygon) >= 3 else _corners(line.box))
            self._xml.leaf("Baseline", {"points": _points(baseline(line))})
            for i, word in enumerate(placed_words(line), 1):
                with self._xml.element("Word", {"id": f"{id}w{i}"}):
                    self._coords(_corners(word.box))
                    self._text(word.text, word.confidence)
            self._text(line_text(line), line.confidence, 0)
            for i, alternative in enumerate(line.alternatives, 1):
                self._text(" ".join(alternative.text.split()), index=i)

    def _coords(self, points: Sequence[Point]) -> None:
        self._xml.leaf("Coords", {"points": _points(points)})

    def _text(self, text: str, confidence: float | None = None, index: int | None = None) -> None:
        shown = None if confidence is None else f"{confidence:.4f}"
        with self._xml.element("TextEquiv", {"index": index, "conf": shown}):
            self._xml.leaf("Unicode", text=text)


def _corners(box: Box) -> tuple[Point, ...]:
    left, top, right, bottom = box
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _points(points: Sequence[Point]) -> str:
    """Whole pixels that are not negative, as the schema wants."""
    return " ".join(f"{max(round(x), 0)},{max(round(y), 0)}" for x, y in points)
