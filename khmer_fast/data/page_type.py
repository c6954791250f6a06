"""Setting text on a page: how wide it is, where it breaks, and its ink at the page's scale.

Text is drawn at a master size from the cache of glyphs and made smaller line by line, so that a
page needs few new glyphs and strokes fall between pixels as they do on paper.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from khmer_fast.data.draw import MASTER, GlyphCache, Ink, Setting, draw_line
from khmer_fast.data.fonts import Face, FontError, FontLibrary, Span
from khmer_fast.text import clusters

_MASTERS = (MASTER, 2 * MASTER, 4 * MASTER)  # sizes that glyphs are kept at


@dataclass(frozen=True)
class Type:
    """How letters look: `size` in pixels an em, `bold` in pixels of the master size, horizontal
    `stretch`, `slant` (0 upright), extra `spacing` a cluster and `word_space` a space in ems,
    grey `level`. `latin` chooses the Latin face, one for each number. `hinted` letters are drawn
    at their size, as screens do."""

    face: Face
    size: float
    bold: int = 0
    stretch: float = 1.0
    slant: float = 0.0
    spacing: float = 0.0
    word_space: float = 0.0
    level: int = 0
    latin: int = 0
    hinted: bool = False
    resample: Image.Resampling = Image.Resampling.BOX

    @property
    def drawn_size(self) -> float:
        """The size, to whole pixels if the type is hinted."""
        return float(max(1, round(self.size))) if self.hinted else self.size

    def at(self, **changes: object) -> Type:
        """The same type but for some fields."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Run:
    """A stretch of a line in one type. `lift` raises it, in ems; `highlight` is the grey level
    behind it; underlines and strike-outs are rules, which no line owns; `shadow` is the level of
    a copy below it, `outline` that of a border round its letters, which is ink as they are."""

    text: str
    type: Type
    lift: float = 0.0
    underline: bool = False
    strike: bool = False
    highlight: int | None = None
    shadow: int | None = None
    outline: int | None = None


@dataclass(frozen=True)
class SetInk:
    """Ink at the page's scale: alpha uint8 [h, w], the page's column and row of its corner."""

    alpha: np.ndarray
    left: int
    top: int


class Typesetter:
    """Measures and draws runs in the faces of a library."""

    def __init__(self, fonts: FontLibrary, cache: GlyphCache):
        self.fonts = fonts
        self._cache = cache
        self._heights: dict[tuple[str, str], float] = {}

    def spans(self, text: str, type: Type) -> list[Span] | None:
        """The faces that draw a text; None if a character has no glyph anywhere."""
        return self.fonts.spans(random.Random(type.latin), text, type.face)

    def letter_height(self, text: str, type: Type) -> float:
        """Height in pixels of the plain consonant ក in the face that draws Khmer, or of x in the
        face that draws a text without Khmer."""
        if any("\u1780" <= c <= "\u17ff" for c in text):
            face, letter = type.face, "ក"
        else:
            spans = self.spans("x", type)
            face, letter = (spans[0].face, "x") if spans else (type.face, "ក")
        key = (face.path, letter)
        if key not in self._heights:
            glyph = self._cache.get(face.path, 4 * MASTER, 0, letter)
            self._heights[key] = -glyph.top / (4 * MASTER)
        return self._heights[key] * type.drawn_size

    def advances(self, text: str, type: Type) -> tuple[list[str], list[float]]:
        """The clusters of a text and how far each moves the pen, in pixels."""
        spans = self.spans(text, type)
        if spans is None:
            raise FontError(f"the fonts have no glyphs for {text!r}")
        master = _master(type)
        scale = type.drawn_size / master * type.stretch
        parts: list[str] = []
        widths: list[float] = []
        for span in spans:
            for part in clusters(span.text):
                glyph = self._cache.get(span.face.path, master, type.bold, part)
                extra = type.spacing + (type.word_space if part == " " else 0.0)
                parts.append(part)
                widths.append((glyph.advance + extra * master) * scale)
        return parts, widths

    def width(self, text: str, type: Type) -> float:
        """How far a text moves the pen, in pixels."""
        return sum(self.advances(text, type)[1])

    def wrap(self, text: str, type: Type, width: float, first: float, loose: float) -> list[str]:
        """Break a text into lines of at most `width` pixels, the first narrower by `first`; at
        spaces where that leaves no more than the share `loose` of a line empty, else anywhere."""
        parts, widths = self.advances(text, type)
        lines: list[str] = []
        start, pen, space, space_pen = 0, first, -1, 0.0
        for i, (part, wide) in enumerate(zip(parts, widths, strict=True)):
            if part == " ":
                space, space_pen = i, pen
            elif pen + wide > width and i > start:
                if space > start and space_pen >= (1 - loose) * width:
                    lines.append("".join(parts[start:space]))
                    start = space + 1
                else:
                    lines.append("".join(parts[start:i]))
                    start = i
                pen, space = sum(widths[start:i]), -1
            pen += wide
        lines.append("".join(parts[start:]))
        return [line.strip() for line in lines if line.strip()]

    def ink(self, text: str, type: Type, x: float, y: float) -> tuple[SetInk, float]:
        """The ink of a text whose pen starts at (x, baseline y), and how far the pen moves."""
        spans = self.spans(text, type)
        if spans is None:
            raise FontError(f"the fonts have no glyphs for {text!r}")
        master = _master(type)
        setting = Setting(
            size=master,
            bold=type.bold,
            spacing=type.spacing * master,
            word_space=type.word_space * master,
            whole=False,
        )
        drawn = draw_line(spans, setting, self._cache)
        if type.slant:
            drawn = _slanted(drawn, type.slant)
        scale = type.drawn_size / master
        if scale == 1.0 and type.stretch == 1.0:
            placed = SetInk(drawn.ink, round(x) - drawn.start, round(y) - drawn.baseline)
        else:
            placed = _scaled(drawn, scale * type.stretch, scale, x, y, type.resample)
        return placed, drawn.advance * scale * type.stretch


def _master(type: Type) -> int:
    if type.hinted:
        return round(type.drawn_size)
    return next((size for size in _MASTERS if size >= type.size), _MASTERS[-1])


def _slanted(drawn: Ink, slant: float) -> Ink:
    """Italics: rows move right by `slant` times their height above the ink's foot."""
    h, w = drawn.ink.shape
    wide = w + round(slant * h)
    ink = Image.fromarray(drawn.ink).transform(
        (wide, h),
        Image.Transform.AFFINE,
        (1.0, slant, -slant * h, 0.0, 1.0, 0.0),
        Image.Resampling.BILINEAR,
    )
    start = drawn.start + round(slant * (h - drawn.baseline))
    return Ink(np.asarray(ink), drawn.baseline, start, drawn.advance)


def _scaled(
    drawn: Ink, sx: float, sy: float, x: float, y: float, resample: Image.Resampling
) -> SetInk:
    """Ink at another scale, its pen's start at (x, y) to a fraction of a pixel."""
    h, w = drawn.ink.shape
    left, right = _bounds(x - drawn.start * sx, w * sx)
    top, bottom = _bounds(y - drawn.baseline * sy, h * sy)
    source = (
        (left - x) / sx + drawn.start,
        (top - y) / sy + drawn.baseline,
        (right - x) / sx + drawn.start,
        (bottom - y) / sy + drawn.baseline,
    )
    before_x, before_y = int(np.ceil(max(0.0, -source[0]))), int(np.ceil(max(0.0, -source[1])))
    after_x, after_y = int(np.ceil(max(0, source[2] - w))), int(np.ceil(max(0, source[3] - h)))
    padded = np.zeros((h + before_y + after_y, w + before_x + after_x), np.uint8)
    padded[before_y : before_y + h, before_x : before_x + w] = drawn.ink
    box = (
        source[0] + before_x,
        source[1] + before_y,
        min(source[2] + before_x, padded.shape[1]),
        min(source[3] + before_y, padded.shape[0]),
    )
    image = Image.fromarray(padded).resize((right - left, bottom - top), resample, box)
    return SetInk(np.asarray(image), left, top)


def _bounds(start: float, length: float) -> tuple[int, int]:
    first = int(np.floor(start))
    return first, max(first + 1, int(np.ceil(start + length)))
