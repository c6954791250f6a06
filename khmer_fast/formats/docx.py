"""Word's docx: headings, paragraphs joined from lines, lists, tables, page breaks.

Khmer is a complex script to Word: its font is `rFonts@cs`, its size and weight are `szCs` and
`bCs`, its language is `lang@bidi`, and a run says `w:cs`; else Khmer is set in a Latin font.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
import zipfile
from typing import Any, BinaryIO

from khmer_fast.document import Page, Region
from khmer_fast.errors import FormatError
from khmer_fast.formats.paragraphs import items, paragraph, separate_lines, split_marker
from khmer_fast.formats.software import now, program
from khmer_fast.formats.tables import cell_text, size
from khmer_fast.formats.xml_stream import xml_text

FONT = "Khmer OS Battambang"
TEXT_SIZE, HEADING_SIZE = 11, 14  # points
_A4 = (595.3, 841.9)  # points
_NAMESPACE = re.compile(rb' xmlns:\w+="[^"]*"')
_CENTRED = 0.02  # of the page's width: how far from the middle a centred region's middle may be


class Writer:
    """Keeps pages in a temporary file, and puts them into the document on `close`."""

    def __init__(self, file: BinaryIO, source: str):
        try:
            import docx
        except ImportError as error:
            raise FormatError("docx needs python-docx: pip install 'khmer-fast[docx]'") from error
        self._file = file
        self._docx: Any = docx.Document()
        for name in ("Normal", "Heading 1"):
            _set_properties(self._docx.styles[name].element.get_or_add_rPr(), name != "Normal")
        properties = self._docx.core_properties
        properties.title = xml_text(source)[:255]
        properties.author = properties.last_modified_by = program()
        properties.comments = ""
        properties.language = "km-KH"
        properties.created = properties.modified = now()
        self._body = tempfile.TemporaryFile()  # the XML of the pages
        self._break = False  # whether the next paragraph begins a page
        self._first = True

    def write_page(self, page: Page) -> None:
        """Adds the page's regions; a page begins a page here, too."""
        if self._first:
            self._set_paper(page)
        self._break = not self._first
        self._first = False
        for region in page.regions:
            self._region(region, page)
        if self._break:  # an empty page is still a page
            self._paragraph([])
        self._put_away()

    def _put_away(self) -> None:
        """Moves what the document holds to the temporary file: memory is that of a page."""
        from lxml import etree

        body = self._docx.element.body
        for element in list(body)[:-1]:  # the last one is the section
            body.remove(element)
            tag, rest = etree.tostring(element).split(b">", 1)
            self._body.write(_NAMESPACE.sub(b"", tag) + b">" + rest)  # the root declares them

    def close(self) -> None:
        """Writes the document."""
        empty = io.BytesIO()
        self._docx.save(empty)
        self._body.seek(0)
        with (
            self._body,
            zipfile.ZipFile(empty) as parts,
            zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED) as out,
        ):
            for item in parts.infolist():
                content = parts.read(item)
                if item.filename == "word/document.xml":
                    head, section, tail = content.partition(b"<w:sectPr")
                    with out.open(item, "w", force_zip64=True) as document:
                        document.write(head)
                        shutil.copyfileobj(self._body, document)
                        document.write(section + tail)
                else:
                    out.writestr(item, content)

    def _set_paper(self, page: Page) -> None:
        from docx.shared import Pt

        width, height = _A4
        if page.dpi and not page.error:
            shown = (page.width * 72 / page.dpi, page.height * 72 / page.dpi)
            if 200 <= min(shown) and max(shown) <= 1584:  # 22 inches, Word's largest
                width, height = shown
        section = self._docx.sections[0]
        section.page_width, section.page_height = Pt(round(width)), Pt(round(height))

    def _region(self, region: Region, page: Page) -> None:
        middle = (region.box[0] + region.box[2]) / 2
        narrow = region.box[2] - region.box[0] < 0.75 * page.width
        centred = narrow and abs(middle - page.width / 2) <= _CENTRED * page.width
        if region.kind == "heading":
            self._paragraph(separate_lines(region), "Heading 1", centred)
        elif region.kind == "list":
            for item in items(region):
                self._item(item)
        elif region.kind in ("header", "footer", "stamp"):
            self._paragraph(separate_lines(region), centred=centred)
        elif region.lines:
            self._paragraph(paragraph(region), centred=centred)
        if region.cells:
            self._table(region)

    def _paragraph(self, lines: list[str], style: str | None = None, centred: bool = False) -> Any:
        """Adds a paragraph of lines with line breaks between them, unless there is nothing."""
        from docx.enum.text import WD_ALIGN_PARAGRAPH

        if not lines and not self._break:
            return None
        added = self._docx.add_paragraph(style=style)
        if self._break:
            added.paragraph_format.page_break_before = True
            self._break = False
        if centred:
            added.alignment = WD_ALIGN_PARAGRAPH.CENTER
        _add_run(added, lines, style == "Heading 1")
        return added

    def _item(self, item: str) -> None:
        from docx.shared import Pt

        marker, rest = split_marker(item)
        if marker and not marker[0].isdigit():
            self._paragraph([rest], "List Bullet")
        else:  # numbers stay text: what is printed need not count from 1
            added = self._paragraph([item])
            added.paragraph_format.left_indent = Pt(2 * TEXT_SIZE)

    def _table(self, region: Region) -> None:
        if self._break:  # a table cannot begin a page by itself
            self._paragraph([])
        rows, columns = size(region)
        table = self._docx.add_table(rows, columns, style="Table Grid")
        places = [row.cells for row in table.rows]  # once: python-docx searches for each of them
        for cell in region.cells:
            place = places[cell.row][cell.column]
            if cell.row_span > 1 or cell.column_span > 1:
                last = (cell.row + cell.row_span - 1, cell.column + cell.column_span - 1)
                place = place.merge(places[last[0]][last[1]])
            _add_run(place.paragraphs[0], [cell_text(cell)])


def _add_run(paragraph: Any, lines: list[str], heading: bool = False) -> None:
    """One run with the lines; there is no change of style within a paragraph."""
    if not any(lines):
        return
    run = paragraph.add_run()
    for i, text in enumerate(lines):
        if i:
            run.add_break()
        run.add_text(xml_text(text))
    _set_properties(run._r.get_or_add_rPr(), heading, run=True)


def _set_properties(properties: Any, heading: bool, run: bool = False) -> None:
    """Font, weight, size and language for both scripts, in the order of Word's schema."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    size = str(2 * (HEADING_SIZE if heading else TEXT_SIZE))  # in half points
    fonts = {"w:ascii": FONT, "w:hAnsi": FONT, "w:eastAsia": FONT, "w:cs": FONT}
    elements: list[tuple[str, dict[str, str]]] = [("w:rFonts", fonts)]
    if heading:
        elements += [("w:b", {}), ("w:bCs", {})]
    elements += [("w:sz", {"w:val": size}), ("w:szCs", {"w:val": size})]
    if run:
        elements.append(("w:cs", {}))
    elements.append(("w:lang", {"w:val": "en-US", "w:bidi": "km-KH"}))
    for child in list(properties):
        properties.remove(child)
    for name, attributes in elements:
        element = OxmlElement(name)
        for attribute, value in attributes.items():
            element.set(qn(attribute), value)
        properties.append(element)
