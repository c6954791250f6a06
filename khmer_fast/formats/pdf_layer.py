"""A page's text as PDF operators: invisible, word by word where it stands, in logical order."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from dataclasses import dataclass

from khmer_fast.document import Line, Page, Point, Word
from khmer_fast.formats.glyphless_font import ASCENT, DESCENT, UNITS, WIDTH, Codes
from khmer_fast.formats.words import baseline, height_at, placed_words, shared_boxes

Transform = tuple[float, float, float, float, float, float]  # as Page.transform

_SMALLEST_GAP = 0.2  # of a line's height: narrower gaps are none to programs that extract text
_NARROWEST = 0.15  # of it, of a character: of two alike that are nearer, programs drop one
_APART = 0.35  # of it: lines whose baselines are nearer are one line to such programs


@dataclass(frozen=True)
class _Strip:
    """Where a line's text goes: along `points` from left to right, in pixels of the page."""

    words: tuple[Word, ...]
    points: tuple[Point, ...]
    height: float


def layer(page: Page, transform: Transform, font: str, codes: Codes) -> bytes:
    """The operators that write the page's lines; `transform` leads from its pixels to points.

    Each word runs from its box's left to its right on its line's baseline, the space after it to
    the next word (a narrow one ends a line, else cells side by side are one word to some programs);
    the letters' size is the line's height. Lines that lie on each other share that height.
    """
    operators = ["q", "BT", "3 Tr"]
    for strip in _side_by_side([_strip(line) for line in page.lines() if line.text.split()]):
        operators += _written(strip, transform, font, codes)
    operators += ["ET", "Q", ""]
    return "\n".join(operators).encode("ascii")


def shown(text: str) -> str:
    """The characters of a word that go into a PDF: control characters and white space do not."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") or c in "\ufffe\uffff" else c
        for c in text
    )


def _strip(line: Line) -> _Strip:
    """A line as it was read; words that stand on each other are shared out along it."""
    left, top, right, bottom = line.box
    height = float(max(bottom - top, 1))
    words = placed_words(line)
    places = [word.box[0] for word in words] + [max(right, words[-1].box[2])]
    room = (_NARROWEST * len(word.text) + _SMALLEST_GAP for word in words)
    if any(b - a < height * r for a, b, r in zip(places, places[1:], room, strict=False)):
        texts = [word.text for word in words]
        boxes = shared_boxes(texts, line.box)
        words = tuple(Word(w.text, w.confidence, x) for w, x in zip(words, boxes, strict=True))
        narrowest = min((x[2] - x[0]) / len(text) for text, x in zip(texts, boxes, strict=True))
        height = min(height, max(narrowest, 0.05) / _NARROWEST)
    return _Strip(words, baseline(line), height)


def _side_by_side(strips: list[_Strip]) -> list[_Strip]:
    """The strips in their order, those that lie on each other with their heights shared out."""
    middles = [height_at(s.points, (s.points[0][0] + s.points[-1][0]) / 2) for s in strips]
    by_height = sorted(range(len(strips)), key=lambda i: middles[i])
    largest = max((strip.height for strip in strips), default=0.0)
    group = list(range(len(strips)))  # of each strip: the first one that it lies on
    for at, i in enumerate(by_height):
        for j in by_height[at + 1 :]:
            if middles[j] - middles[i] > 2 * largest:
                break
            if _on_each_other(strips[i], strips[j]):
                low, high = sorted((group[i], group[j]))
                group = [low if g == high else g for g in group]
    shared = list(strips)
    for first, count in Counter(group).items():
        members = [i for i in range(len(strips)) if group[i] == first]
        height = max(strips[i].height for i in members) / count
        top = middles[first] - 0.75 * height * count
        for k, i in enumerate(members if count > 1 else ()):
            down = top + (k + 0.75) * height - middles[i]
            points = tuple((x, y + down) for x, y in strips[i].points)
            shared[i] = _Strip(strips[i].words, points, min(height, strips[i].height))
    return shared


def _on_each_other(a: _Strip, b: _Strip) -> bool:
    left = max(a.words[0].box[0], b.words[0].box[0])
    right = min(a.words[-1].box[2], b.words[-1].box[2])
    if left >= right:
        return False
    near = _APART * max(a.height, b.height)
    return any(
        abs(height_at(a.points, x) - height_at(b.points, x)) < near
        for x in (left, (left + right) / 2, right)
    )


def _written(strip: _Strip, transform: Transform, font: str, codes: Codes) -> list[str]:
    words, points, height = strip.words, strip.points, strip.height
    up = _length(_direction(transform, 0, -height))
    size = max(up * UNITS / (ASCENT - DESCENT), 0.1)
    operators = [f"/{font} {_number(size)} Tf"]
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
    turn = " ".join(_number(value, 5) for value in (cos, sin, -sin, cos))
    place = f"{_number(start[0])} {_number(start[1])}"
    return f"{turn} {place} Tm {_stretched(text, width, size, codes)}"


def _stretched(text: str, width: float, size: float, codes: Codes) -> str:
    """Shows the text in this width (points)."""
    natural = len(text) * size * WIDTH / UNITS
    return f"{_number(100 * width / natural)} Tz <{codes.encode(text).hex()}> Tj"


def _number(value: float, digits: int = 2) -> str:
    """As PDF writes numbers: it knows no exponents."""
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


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
