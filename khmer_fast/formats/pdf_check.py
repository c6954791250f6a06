"""A PDF that was written is read again: what pdfium extracts must be what we wrote."""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, BinaryIO

from khmer_fast import pdfium
from khmer_fast.errors import FormatError
from khmer_fast.formats.glyphless_font import NAME

_HYPHENS = "\u0002\ufffe"  # what pdfium makes of a hyphen at a line's end


def check(file: BinaryIO, expected: Mapping[int, list[str]], alone: bool) -> None:
    """Raises FormatError if a page's words are not `expected` (by index of the page).

    `alone`: our words must be the only ones on their page; else (an old layer was left in place)
    only the letters of our font are compared.
    """
    library = pdfium.load()
    with pdfium.LOCK:
        document = library.PdfDocument(file)
        try:
            for index, words in expected.items():
                page = document[index]
                try:
                    _check_page(library, page, index, words, alone)
                finally:
                    page.close()
        finally:
            document.close()


def _check_page(library: Any, page: Any, index: int, words: list[str], alone: bool) -> None:
    text_page = page.get_textpage()
    try:
        found, wanted = _comparable(text_page.get_text_range().split()), _comparable(words)
        if found != wanted and not alone:
            found = _comparable([_own_letters(library.raw, text_page)])
            wanted = _comparable(["".join(words)])
    finally:
        text_page.close()
    if found != wanted and not _same_in_another_order(found, wanted):
        at = 0
        while at < min(len(found), len(wanted)) and found[at] == wanted[at]:
            at += 1
        raise FormatError(
            f"page {index + 1} of the PDF that was written does not give its text back: "
            f"expected {''.join(wanted[at : at + 1])!r:.120} as word {at + 1}, "
            f"got {''.join(found[at : at + 1])!r:.120}; nothing was saved"
        )


def _comparable(words: list[str]) -> list[str]:
    """As pdfium gives text: compatibility characters replaced, lines joined after a hyphen."""
    text = "\n".join(words)
    for mark in _HYPHENS:
        text = text.replace(mark, "-")
    text = re.sub(r"([-\xad])\s+", "-", text)
    return unicodedata.normalize("NFKC", text).split()


def _same_in_another_order(found: list[str], wanted: list[str]) -> bool:
    """Whether every word is there and nothing else, as where lines overlap, or stand side by side
    and not from left to right. Arabic and Hebrew words, which pdfium turns round, count by letter.
    """
    letters = "".join(found)
    if sorted(letters) != sorted("".join(wanted)):
        return False
    return all(word in letters or _is_right_to_left(word) for word in wanted)


def _is_right_to_left(word: str) -> bool:
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in word)


def _own_letters(raw: Any, text_page: Any) -> str:
    """The letters that are set in our font, without white space."""
    letters = []
    buffer = ctypes.create_string_buffer(256)
    flags = ctypes.c_int()
    for i in range(raw.FPDFText_CountChars(text_page)):
        if raw.FPDFText_IsGenerated(text_page, i) == 1:
            continue
        size = raw.FPDFText_GetFontInfo(text_page, i, buffer, len(buffer), flags)
        if 0 < size <= len(buffer) and buffer.value.decode("latin-1").endswith(NAME):
            letters.append(raw.FPDFText_GetUnicode(text_page, i))
    return re.sub(r"\s", "", "".join(map(chr, letters)))
