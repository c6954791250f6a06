"""The words of a line and where they stand, also where the reader did not say."""

from __future__ import annotations

import unicodedata

from khmer_fast.document import Box, Line, Point, Word


def line_text(line: Line) -> str:
    """The line's text on one line, with single spaces."""
    return " ".join(line.text.split())


def placed_words(line: Line) -> tuple[Word, ...]:
    """The line's words with their boxes; joined by spaces they give its text.

    They are the line's own where those have its text. After a correction boxes are kept if their
    number is still right, and else shared out along the line by the width that letters take.
    """
    texts = line.text.split()
    if [word.text for word in line.words] == texts:
        return line.words
    if len(line.words) == len(texts):
        boxes = [word.box for word in line.words]
    else:
        boxes = shared_boxes(texts, line.box)
    return tuple(Word(text, line.confidence, box) for text, box in zip(texts, boxes, strict=True))


def baseline(line: Line) -> tuple[Point, ...]:
    """The line's baseline, or where it is not known one at three quarters of its height."""
    if len(line.baseline) >= 2:
        return line.baseline
    left, top, right, bottom = line.box
    y = bottom - (bottom - top) / 4  # below it: subscripts, vowels and descenders
    return ((float(left), y), (float(right), y))


def height_at(points: tuple[Point, ...], x: float) -> float:
    """y of a polyline (left to right) at x; beyond its ends its first or last piece goes on."""
    right = next((i for i in range(1, len(points) - 1) if points[i][0] >= x), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return y0 if x1 <= x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def shared_boxes(texts: list[str], box: Box) -> list[Box]:
    """Places of words along a line's box, by the width that their letters take."""
    left, top, right, bottom = box
    widths = [sum(unicodedata.category(c) != "Mn" for c in text) or 1 for text in texts]
    whole = sum(widths) + len(texts) - 1  # a space is as wide as a letter
    boxes = []
    start = 0
    for width in widths:
        x0, x1 = (left + round((right - left) * at / whole) for at in (start, start + width))
        boxes.append((x0, top, x1, bottom))
        start += width + 1
    return boxes
