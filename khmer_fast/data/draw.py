"""Text to ink: clusters are shaped by raqm once a face and size, then set side by side.

Ink is uint8 [Y', X'], 0 none to 255 full.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from PIL import Image, ImageFont, features

from khmer_fast.data.fonts import FontError, Span
from khmer_fast.errors import KhmerFastError
from khmer_fast.text import COENG, clusters

MASTER = 40  # pixels of the font size that cached glyphs are drawn at
_CACHE_BYTES = 160 * 1024 * 1024
_GLYPH_OVERHEAD = 800  # bytes of the objects around a glyph's pixels
ABOVE = frozenset("ិីឹឺើំ៍័")  # marks over the base (ើ has a part before it, too)
BELOW = frozenset("ុូួ")
COENG_RO = COENG + "រ"
HOOKED = frozenset("យរសបឃ")  # subscripts that rise beside the base
PREBASE = frozenset("េែៃើឿៀោៅ")  # vowels with a part that stands before the consonant


class ShapingError(KhmerFastError):
    """Pillow cannot shape Khmer here; the message says how to get raqm."""


def require_raqm() -> None:
    """Raise ShapingError unless Pillow has raqm, without which Khmer is drawn wrongly."""
    if not features.check("raqm"):
        raise ShapingError(
            "expected Pillow with raqm, which shapes Khmer, got one without it: install Pillow "
            "from PyPI (its wheels contain raqm) with FriBiDi from the system "
            "(Debian: apt-get install libfribidi0; a Pillow built from source: libraqm-dev)"
        )


@dataclass(frozen=True, slots=True)
class Glyph:
    """A drawn cluster: ink [h, w], where its corner stands from the pen on the baseline, and how
    far the pen moves, in pixels."""

    ink: np.ndarray
    left: int
    top: int
    advance: float


@dataclass(frozen=True)
class Ink:
    """A drawn line: ink uint8 [Y', X'], its row of the baseline and its column of the pen's
    start, in pixels, and the width that the pen moved."""

    ink: np.ndarray
    baseline: int
    start: int
    advance: float


def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    # An open font takes up to a megabyte: those of the master size stay, few others do.
    return _master_font(path) if size == MASTER else _other_font(path, size)


@lru_cache(maxsize=256)
def _master_font(path: str) -> ImageFont.FreeTypeFont:
    return _open(path, MASTER)


@lru_cache(maxsize=16)
def _other_font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return _open(path, size)


def _open(path: str, size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.RAQM)
    except OSError as error:
        raise FontError(f"{path}: does not open as a font ({error})") from error


class GlyphCache:
    """Glyphs by face, size, weight and cluster; the oldest go when `limit` bytes are reached."""

    def __init__(self, limit: int = _CACHE_BYTES):
        self._limit = limit
        self._bytes = 0
        self._glyphs: dict[tuple[str, int, int, str], Glyph] = {}

    def get(self, path: str, size: int, bold: int, text: str) -> Glyph:
        """The glyph of a cluster, or of any text drawn as one; `bold` widens strokes in pixels."""
        key = (path, size, bold, text)
        glyph = self._glyphs.get(key)
        if glyph is None:
            if bold:
                glyph = _embolden_glyph(self.get(path, size, 0, text), bold)
            else:
                glyph = draw_glyph(path, size, text)
            self._glyphs[key] = glyph
            self._bytes += glyph.ink.nbytes + _GLYPH_OVERHEAD
            while self._bytes > self._limit:
                oldest = self._glyphs.pop(next(iter(self._glyphs)))
                self._bytes -= oldest.ink.nbytes + _GLYPH_OVERHEAD
        return glyph


def draw_glyph(path: str, size: int, text: str) -> Glyph:
    """Shape and draw one text with raqm and FreeType."""
    font = _font(path, size)
    mask, (left, top) = font.getmask2(text, mode="L", anchor="ls")
    ink = np.asarray(Image.Image()._new(mask))  # 10 times as fast as an array of the bare mask
    return Glyph(ink, left, top, font.getlength(text))


def _embolden_glyph(glyph: Glyph, pixels: int) -> Glyph:
    ink = embolden(glyph.ink, pixels) if glyph.ink.size else glyph.ink
    return Glyph(ink, glyph.left, glyph.top, glyph.advance + pixels)


def embolden(ink: np.ndarray, pixels: int) -> np.ndarray:
    """Strokes `pixels` wider to the right and half as much down: [h, w] to [h + p/2, w + p]."""
    h, w = ink.shape
    down = (pixels + 1) // 2
    out = np.zeros((h + down, w + pixels), np.uint8)
    for x in range(pixels + 1):
        for y in range(down + 1):
            view = out[y : y + h, x : x + w]
            np.maximum(view, ink, out=view)
    return out


@dataclass(frozen=True)
class Setting:
    """How a line is set, in pixels of the size it is drawn at: widening of strokes, extra width a
    cluster and a space, pixels a font size; `whole` draws words in one go, as screens do.
    `overlap` pushes vowels that stand before their consonant into it, as broken fonts do; `legacy`
    is of faces like Limon, which set marks over the base alone and ៗ as a small ១; `subscripts` is
    the size of small letters that stand for subscripts, 0 where the face has its own."""

    size: int
    bold: int
    spacing: float
    word_space: float
    whole: bool
    overlap: int = 0
    legacy: bool = False
    subscripts: float = 0.0


def draw_line(
    spans: list[Span],
    setting: Setting,
    cache: GlyphCache,
    bold_span: Callable[[int], int] | None = None,
    nudge: Callable[[], float] | None = None,
) -> Ink:
    """Set spans on one baseline; ink is cropped to what is drawn, and never empty.

    `bold_span` gives the widening of strokes of span i where it differs, `nudge` by how many
    pixels the next cluster stands beside its place.
    """
    placed: list[tuple[Glyph, int]] = []
    pen = 0.0
    for i, span in enumerate(spans):
        bold = bold_span(i) if bold_span else setting.bold
        for piece in _pieces(span.text, setting.whole):
            if setting.whole and piece != " ":
                glyph = draw_glyph(span.face.path, setting.size, piece)
                glyph = _embolden_glyph(glyph, bold) if bold else glyph
            else:
                get = partial(cache.get, span.face.path, setting.size, bold)
                if setting.subscripts and COENG in piece:
                    glyph = _small_letter_below(get, piece, setting.subscripts, setting.size)
                else:
                    glyph = _legacy(get, piece) if setting.legacy else get(piece)
                if setting.overlap and not PREBASE.isdisjoint(piece):
                    glyph = _overlapped(glyph, setting.size, setting.overlap)
            placed.append((glyph, round(pen + nudge()) if nudge else round(pen)))
            pen += glyph.advance + setting.spacing
            if piece == " ":
                pen += setting.word_space
    inked = [(glyph, x) for glyph, x in placed if glyph.ink.size]
    if not inked:
        return Ink(np.zeros((1, max(1, math.ceil(pen))), np.uint8), 0, 0, pen)
    left = min(x + glyph.left for glyph, x in inked)
    right = max(x + glyph.left + glyph.ink.shape[1] for glyph, x in inked)
    top = min(glyph.top for glyph, _ in inked)
    bottom = max(glyph.top + glyph.ink.shape[0] for glyph, _ in inked)
    ink = np.zeros((bottom - top, right - left), np.uint8)
    for glyph, x in inked:
        y, x = glyph.top - top, x + glyph.left - left
        view = ink[y : y + glyph.ink.shape[0], x : x + glyph.ink.shape[1]]
        np.maximum(view, glyph.ink, out=view)
    return Ink(ink, -top, -left, pen)


def _legacy(get: Callable[[str], Glyph], cluster: str) -> Glyph:
    """A cluster as faces without shaping set it: what stands above, where the base alone has it."""
    if cluster == "ៗ":
        return _smaller(get("១"), 0.8)
    marks = "".join(c for c in cluster if c in ABOVE)
    if not marks or COENG not in cluster or COENG_RO in cluster:  # which stands before the base
        return get(cluster)
    below = "".join(c for c in cluster if c not in ABOVE)
    below += "េ" if "ើ" in marks else ""
    plain, marked = get(below), get(cluster[0] + marks)
    if plain.advance <= marked.advance:
        return get(cluster)  # all of it stands below the base
    return _together(plain, marked)


def _small_letter_below(
    get: Callable[[str], Glyph], cluster: str, scale: float, size: int
) -> Glyph:
    """A cluster whose subscript is the letter itself, smaller, below the base."""
    at = cluster.index(COENG)
    letter, rest = cluster[at + 1], cluster[:at] + cluster[at + 2 :]
    crowded = COENG in rest or not (PREBASE | BELOW).isdisjoint(rest)
    if at != 1 or crowded or letter in HOOKED or "ញ" in (cluster[0], letter):  # which has a foot
        return get(cluster)
    base, small = get(rest), _smaller(get(letter), scale)
    middle = get(cluster[0])
    left = middle.left + (middle.ink.shape[1] - small.ink.shape[1]) // 2
    return _together(base, Glyph(small.ink, left, size // 16, 0.0))


def _together(glyph: Glyph, other: Glyph) -> Glyph:
    """The ink of two glyphs from one pen, which moves as for the first."""
    left, top = min(glyph.left, other.left), min(glyph.top, other.top)
    right, bottom = (
        max(end(glyph), end(other))
        for end in (lambda g: g.left + g.ink.shape[1], lambda g: g.top + g.ink.shape[0])
    )
    ink = np.zeros((bottom - top, right - left), np.uint8)
    for part in (glyph, other):
        y, x = part.top - top, part.left - left
        view = ink[y : y + part.ink.shape[0], x : x + part.ink.shape[1]]
        np.maximum(view, part.ink, out=view)
    return Glyph(ink, left, top, glyph.advance)


def _smaller(glyph: Glyph, scale: float) -> Glyph:
    """A glyph that stands on the baseline, smaller."""
    if not glyph.ink.size:
        return glyph
    h, w = (max(1, round(n * scale)) for n in glyph.ink.shape)
    ink = np.asarray(Image.fromarray(glyph.ink).resize((w, h), Image.Resampling.BOX))
    return Glyph(ink, round(glyph.left * scale), round(glyph.top * scale), glyph.advance * scale)


def _overlapped(glyph: Glyph, size: int, pixels: int) -> Glyph:
    """A cluster whose consonant, with all that stands on it, is `pixels` nearer to its vowel."""
    h, w = glyph.ink.shape
    baseline = min(max(-glyph.top, 0), h)
    feet = glyph.ink[max(0, baseline - size // 3) : baseline]  # of the letters
    inked: np.ndarray = np.any(feet, axis=0)  # [w]
    start = int(inked.argmax()) if inked.any() else w
    first = start + int((~inked[start:]).argmax()) if not inked[start:].all() else 0
    pixels = min(pixels, first - start, w - first)
    if pixels <= 0:
        return glyph
    top = baseline  # of the vowel; what stands over it is the consonant's
    while top and glyph.ink[top - 1, :first].any():
        top -= 1
    vowel = glyph.ink[top:, :first]
    rest = glyph.ink.copy()
    rest[top:, :first] = 0
    ink = np.zeros_like(glyph.ink)
    ink[:, : w - pixels] = rest[:, pixels:]
    np.maximum(ink[top:, :first], vowel, out=ink[top:, :first])
    return Glyph(ink[:, : w - pixels], glyph.left, glyph.top, glyph.advance - pixels)


def _pieces(text: str, whole: bool) -> list[str]:
    """Clusters, or words and spaces."""
    if not whole:
        return clusters(text)
    pieces: list[str] = []
    for i, word in enumerate(text.split(" ")):
        if i:
            pieces.append(" ")
        if word:
            pieces.append(word)
    return pieces
