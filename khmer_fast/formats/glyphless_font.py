"""The font of invisible text: TrueType with one glyph without area, made here, under 1 kB.

A code is a character of the text in logical order: nothing is shaped, so nothing is lost on the way
back. (A shaped layer loses whatever its glyphs have no Unicode for: subscripts, above all.)
"""

from __future__ import annotations

import io
from functools import cache

NAME = "KhmerFastGlyphless"
UNITS = 1000  # an em
WIDTH = 500  # of every character
ASCENT, DESCENT = 750, -250  # together an em: what a viewer highlights

_SURROGATES = range(0xD800, 0xE000)  # codes that no character has: used for those above U+FFFF


@cache
def truetype() -> bytes:
    """The font file: glyph 0 is .notdef, glyph 1 the one; the same bytes each time.

    Its outline goes from one corner of its box to the other and back: without a box pdfium passes
    over words of one character.
    """
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, DESCENT))
    pen.lineTo((WIDTH, ASCENT))
    pen.closePath()
    glyph = pen.glyph()
    glyphs = [".notdef", "blank"]
    builder = FontBuilder(UNITS, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({0x20: "blank"})
    builder.setupGlyf({name: glyph for name in glyphs})
    builder.setupHorizontalMetrics({name: (WIDTH, 0) for name in glyphs})
    builder.setupHorizontalHeader(ascent=ASCENT, descent=DESCENT)
    builder.setupNameTable({"familyName": NAME, "styleName": "Regular", "psName": NAME})
    builder.setupOS2(sTypoAscender=ASCENT, sTypoDescender=DESCENT, usWinAscent=ASCENT)
    builder.setupPost(keepGlyphNames=False)
    builder.updateHead(created=0, modified=0)
    builder.font.recalcTimestamp = False
    file = io.BytesIO()
    builder.save(file)
    return file.getvalue()


def cid_to_gid() -> bytes:
    """The map from codes to glyphs: each of the 65,536 is the blank one."""
    return b"\x00\x01" * 65536


class Codes:
    """Codes of characters: their own numbers; those above U+FFFF get a surrogate's each."""

    def __init__(self) -> None:
        self._high: dict[str, int] = {}

    def encode(self, text: str) -> bytes:
        """Two bytes a character, in the text's order; U+FFFD for what has no code."""
        codes = bytearray()
        for character in text:
            codes += self._code(character).to_bytes(2, "big")
        return bytes(codes)

    def to_unicode(self) -> bytes:
        """The ToUnicode CMap of all codes that can occur."""
        ranges = [
            f"<{high:02X}00> <{high:02X}FF> <{high:02X}00>"
            for high in range(256)
            if high << 8 not in _SURROGATES
        ]
        characters = [
            f"<{code:04X}> <{character.encode('utf-16-be').hex().upper()}>"
            for character, code in self._high.items()
        ]
        blocks = [*_blocks("bfrange", ranges), *_blocks("bfchar", characters)]
        return "\n".join(
            [
                "/CIDInit /ProcSet findresource begin",
                "12 dict begin",
                "begincmap",
                "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
                "/CMapName /Adobe-Identity-UCS def",
                "/CMapType 2 def",
                "1 begincodespacerange",
                "<0000> <FFFF>",
                "endcodespacerange",
                *blocks,
                "endcmap",
                "CMapName currentdict /CMap defineresource pop",
                "end",
                "end",
            ]
        ).encode("ascii")

    def _code(self, character: str) -> int:
        code = ord(character)
        if code in _SURROGATES:
            return 0xFFFD
        if code <= 0xFFFF:
            return code
        if character not in self._high:
            if len(self._high) == len(_SURROGATES):
                return 0xFFFD
            self._high[character] = _SURROGATES[len(self._high)]
        return self._high[character]


def _blocks(kind: str, entries: list[str]) -> list[str]:
    """At most 100 entries a block, as the CMap specification wants."""
    lines: list[str] = []
    for start in range(0, len(entries), 100):
        block = entries[start : start + 100]
        lines += [f"{len(block)} begin{kind}", *block, f"end{kind}"]
    return lines
