"""A PDF page's text as pdfium gives it: letters with their boxes, line by line."""

from __future__ import annotations

import ctypes
from collections import Counter
from typing import Any

from khmer_fast.files.text_layer import Box, LayerLine, TextLayer

MAX_CHARACTERS = 200_000  # of a page
_FONT_STEP = 8  # fonts change by runs: every eighth letter is asked for its font


def read_text_layer(raw: Any, page: Any) -> TextLayer | None:
    """The text of a pdfium page, its boxes in points of the page, or None if it has none."""
    text_page = page.get_textpage()
    try:
        count = min(raw.FPDFText_CountChars(text_page), MAX_CHARACTERS)
        lines: list[LayerLine] = []
        fonts: Counter[str] = Counter()
        text: list[str] = []
        boxes: list[Box] = []

        def end_line() -> None:
            if "".join(text).strip():
                lines.append(LayerLine("".join(text), tuple(boxes)))
            text.clear()
            boxes.clear()

        for i in range(count):
            character = _character(raw.FPDFText_GetUnicode(text_page, i))
            if character in "\r\n":
                end_line()
                continue
            if raw.FPDFText_IsHyphen(text_page, i) == 1:
                character = "-"
            text.append(character)
            boxes.append(_box(raw, text_page, i))
            if i % _FONT_STEP == 0 and character != " ":
                fonts[_font(raw, text_page, i)] += 1
        end_line()
    finally:
        text_page.close()
    if not lines:
        return None
    return TextLayer(tuple(lines), tuple(name for name, _ in fonts.most_common() if name))


def _character(code: int) -> str:
    valid = 0 < code < 0x110000 and not 0xD800 <= code < 0xE000
    return chr(code) if valid else "\ufffd"


def _box(raw: Any, text_page: Any, i: int) -> Box:
    left, bottom, right, top = [ctypes.c_double() for _ in range(4)]
    if not raw.FPDFText_GetCharBox(text_page, i, left, right, bottom, top):
        return (0.0, 0.0, 0.0, 0.0)
    return (left.value, bottom.value, right.value, top.value)


def _font(raw: Any, text_page: Any, i: int) -> str:
    buffer = ctypes.create_string_buffer(256)
    flags = ctypes.c_int()
    size = raw.FPDFText_GetFontInfo(text_page, i, buffer, len(buffer), flags)
    return buffer.value.decode("utf-8", "replace") if 0 < size <= len(buffer) else ""
