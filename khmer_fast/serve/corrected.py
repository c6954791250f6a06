"""A page that a person corrected: checked, and made whole where only its text was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rapidfuzz.distance import Levenshtein

from khmer_fast.document import Box, Character, Line, Page, Region, Word
from khmer_fast.errors import FormatError
from khmer_fast.text import canonical, clusters

MOST_LINES = 5_000  # of a page
MOST_LETTERS = 10_000  # of a line


def settled(page: Page, before: Page) -> Page:
    """The corrected page in the place of `before`.

    Texts become canonical; a line whose text is new has a confidence of 1 and no flags, and its
    words and characters stand where those of the old text stood. Raises FormatError for another
    page than `before`, and for boxes that are not on it.
    """
    for name in ("number", "width", "height", "rotation", "skew", "dpi", "transform"):
        if getattr(page, name) != getattr(before, name):
            raise FormatError(
                f"page.{name}: expected {getattr(before, name)!r} as it is stored, got "
                f"{getattr(page, name)!r:.80}"
            )
    if sum(1 for _ in page.lines()) > MOST_LINES:
        raise FormatError(f"page.regions: a page has at most {MOST_LINES:,} lines")
    place = _Place(page.width, page.height, {(line.box, line.text) for line in before.lines()})
    regions = tuple(
        _region(region, place, f"page.regions[{i}]") for i, region in enumerate(page.regions)
    )
    return replace(page, regions=regions, error=None)


@dataclass(frozen=True)
class _Place:
    """The page that lines stand on, and the lines that stood there before."""

    width: int
    height: int
    known: set[tuple[Box, str]]

    def clipped(self, box: Box) -> Box:
        """The box as far as it is on the page."""
        left, right = (min(max(x, 0), self.width) for x in box[::2])
        top, bottom = (min(max(y, 0), self.height) for y in box[1::2])
        return left, top, right, bottom

    def check(self, box: Box, where: str) -> None:
        """Raises FormatError for a box that is none."""
        if not (box[0] <= box[2] and box[1] <= box[3]):
            raise FormatError(f"{where}: expected left <= right and top <= bottom, got {list(box)}")
        if self.clipped(box) != box:
            raise FormatError(
                f"{where}: expected a box on the page of {self.width} x {self.height} pixels, got "
                f"{list(box)}"
            )


def _region(region: Region, page: _Place, where: str) -> Region:
    page.check(region.box, f"{where}.box")
    lines = tuple(_line(line, page, f"{where}.lines[{i}]") for i, line in enumerate(region.lines))
    cells = []
    for i, cell in enumerate(region.cells):
        place = f"{where}.cells[{i}]"
        page.check(cell.box, f"{place}.box")
        if min(cell.row, cell.column) < 0 or min(cell.row_span, cell.column_span) < 1:
            raise FormatError(f"{place}: rows and columns count from 0, spans from 1")
        own = [_line(line, page, f"{place}.lines[{j}]") for j, line in enumerate(cell.lines)]
        cells.append(replace(cell, lines=tuple(own)))
    return replace(region, lines=lines, cells=tuple(cells))


def _line(line: Line, page: _Place, where: str) -> Line:
    page.check(line.box, f"{where}.box")
    if not 0 <= line.confidence <= 1:
        raise FormatError(f"{where}.confidence: expected 0 to 1, got {line.confidence!r}")
    if len(line.text) > MOST_LETTERS:
        raise FormatError(f"{where}.text: a line has at most {MOST_LETTERS:,} characters")
    text = canonical(line.text)
    characters = line.characters
    if "".join(character.text for character in characters) != text:
        characters = _characters(characters, clusters(text), line.box)
    characters = tuple(
        replace(character, box=character.box and page.clipped(character.box))
        for character in characters
    )
    if (line.box, text) not in page.known:
        line = replace(line, confidence=1.0, flags=())
    return replace(line, text=text, characters=characters, words=_words(characters))


def _characters(
    before: Sequence[Character], texts: Sequence[str], box: Box
) -> tuple[Character, ...]:
    """Characters of a new text: those that stay keep their places, others share what those that
    they replace took, or stand between their neighbours."""
    old = [character.text for character in before]
    after: list[Character] = []
    for edit in Levenshtein.opcodes(old, list(texts)):
        if edit.tag == "equal":
            after += before[edit.src_start : edit.src_end]
        elif edit.tag != "delete":
            new = texts[edit.dest_start : edit.dest_end]
            place = _place(before, edit.src_start, edit.src_end, box)
            after += _shared(new, place)
    return tuple(after)


def _place(before: Sequence[Character], start: int, end: int, box: Box) -> Box:
    """Where characters start to end stood; with none, the gap between their neighbours."""
    boxes = [c.box for c in before[start:end] if c.box is not None]
    if boxes:
        return boxes[0][0], boxes[0][1], boxes[-1][2], boxes[-1][3]
    left = next((c.box[2] for c in reversed(before[:start]) if c.box is not None), box[0])
    right = next((c.box[0] for c in before[end:] if c.box is not None), box[2])
    return min(left, right), box[1], max(left, right), box[3]


def _shared(texts: Sequence[str], box: Box) -> list[Character]:
    left, top, right, bottom = box
    edges = [left + round((right - left) * i / len(texts)) for i in range(len(texts) + 1)]
    return [
        Character(text, 1.0, (edges[i], top, edges[i + 1], bottom)) for i, text in enumerate(texts)
    ]


def _words(characters: Sequence[Character]) -> tuple[Word, ...]:
    """What stands between two spaces, and where, as far as its characters say."""
    words: list[Word] = []
    run: list[Character] = []
    for character in (*characters, Character(" ", 1.0)):
        if character.text != " ":
            run.append(character)
        elif run:
            boxes = [c.box for c in run if c.box is not None]
            if boxes:
                around = (
                    min(b[0] for b in boxes), min(b[1] for b in boxes),
                    max(b[2] for b in boxes), max(b[3] for b in boxes),
                )  # fmt: skip
                sure = 1.0
                for c in run:
                    sure *= c.confidence
                words.append(Word("".join(c.text for c in run), sure, around))
            run = []
    return tuple(words)


def confidence_of(page: Page) -> float | None:
    """Mean confidence of a page's lines by character; None without text."""
    lines = [line for line in page.lines() if line.text]
    characters = sum(len(line.text) for line in lines)
    return sum(line.confidence * len(line.text) for line in lines) / characters if lines else None
