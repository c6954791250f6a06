"""A page's text as PDF operators: invisible, word by word where it stands, in logical order."""

from __future__ import annotations

import math
import unicodedata

from khmer_fast.document import Line, Page
from khmer_fast.formats.glyphless_font import ASCENT, DESCENT, UNITS, WIDTH, Codes
from khmer_fast.formats.words import baseline, height_at, placed_words

Transform = tuple[float, float, float, float, float, float]  # as Page.transform

_SMALLEST_GAP = 0.2  # of the letters' size: narrower gaps are none to programs that extract text


def layer(page: Page, transform: Transform, font: str, codes: Codes) -> bytes:
    """The operators that write the page's lines; `transform` leads from its pixels to points.

    Each word runs from its box's left to its right on its line's baseline, the space after it to
    the next word (a narrow one ends a line, else cells side by side are one word to some programs);
    the letters' size is the line's height.
    """
    operators = ["q", "BT", "3 Tr"]
    for line in page.lines():
        operators += _line(line, transform, font, codes)
    operators += ["ET", "Q", ""]
    return "\n".join(operators).encode("ascii")


def shown(text: str) -> str:
    """The characters of a word that go into a PDF: control characters and white space do not."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") or c in "\ufffe\uffff" else c
        for c in text
    )


def _line(line: Line, transform: Transform, font: str, codes: Codes) -> list[str]:
    words = placed_words(line)
    if not words:
        return []
    points = baseline(line)
    _, top, _, bottom = line.box
    height = max(bottom - top, 1)
    up = _length(_direction(transform, 0, -height))
    size = max(up * UNITS / (ASCENT - DESCENT), 0.1)
    operators = [f"/{font} {size:.2f} Tf"]
    for i, word in enumerate(words):
        left: float = word.box[0]
        right: float = max(word.box[2], left + 1)
        following = words[i + 1].box[0] if i + 1 < len(words) else None
        gap = _SMALLEST_GAP * height
        if following is not None and following - right < gap:
            right = max(following - gap, left + (following - left) / 2, left + 0.5)
        start = _map(transform, left, height_at(points, left))
        end = _map(transform, right, height_at(points, right))
        text = shown(word.text)
        operators.append(_placed(text, start, end, size, codes))
        x = right + gap if following is None else max(following, right + gap)
        space = _map(transform, x, height_at(points, x))
        operators.append(_stretched(" ", _distance(end, space), size, codes))
    return operators


def _placed(
    text: str, start: tuple[float, float], end: tuple[float, float], size: float, codes: Codes
) -> str:
    width = _distance(start, end)
    cos, sin = (end[0] - start[0]) / width, (end[1] - start[1]) / width
    matrix = f"{cos:.5g} {sin:.5g} {-sin:.5g} {cos:.5g} {start[0]:.2f} {start[1]:.2f} Tm"
    return f"{matrix} {_stretched(text, width, size, codes)}"


def _stretched(text: str, width: float, size: float, codes: Codes) -> str:
    """Shows the text in this width (points)."""
    natural = len(text) * size * WIDTH / UNITS
    return f"{100 * width / natural:.2f} Tz <{codes.encode(text).hex()}> Tj"


def _map(transform: Transform, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = transform
    return a * x + c * y + e, b * x + d * y + f


def _direction(transform: Transform, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, _, _ = transform
    return a * x + c * y, b * x + d * y


def _length(vector: tuple[float, float]) -> float:
    return math.hypot(*vector)


def _distance(start: tuple[float, float], end: tuple[float, float]) -> float:
    return max(math.dist(start, end), 1e-3)


def expected_words(page: Page) -> list[str]:
    """What must come back when the page's text is extracted, word by word."""
    return [shown(word.text) for line in page.lines() for word in placed_words(line)]
