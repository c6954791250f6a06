"""A PDF page's own text, and whether to believe it.

Of public Khmer PDFs most layers are wrong: fonts with an encoding of their own, letters in the
order they are drawn, subscripts lost, a scanner's Latin under Khmer. So a page is read from its
picture, and its layer is taken only where the two agree but for what OCR may get wrong
(docs/pages.md, 6).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from khmer_fast.document import Box as PixelBox
from khmer_fast.document import Character, Line, Note, Origin, Page, Region, Word
from khmer_fast.text import COENG, canonical, clusters, misplaced

# Fonts whose codes are not Unicode: families and how their names begin (spaces and signs aside).
LEGACY_FONTS = {
    "Limon": ("limon",),
    "ABC": ("abctext", "abcfancy", "abchead", "abczap"),
    "Khek": ("khek", "anlongvillkhek", "battambangkhek", "moolkhek", "rielkhek", "sambotkhek"),
    "Baidok": ("baidok",),
    "FK": ("fk1", "fk2"),
    "Truth": ("truth11",),
    "Tacteing": ("tacteing",),
}

MAX_DISTANCE = 0.04  # edits a letter between a layer that is believed and the picture
MAX_MISPLACED = 0.005  # of its Khmer letters that no cluster can hold
MIN_COVERAGE = 0.9  # letters of the layer to letters of the picture
_LINE_DISTANCE = 0.3  # of a line that is the layer's on a page that is believed
MAX_MISSING = 0.004  # of the picture's letters that the layer has nothing for: OCR adds few
_MISSING_TIMES = 2
_LOST_TIMES, _LOST_SHARE = 3, 0.5  # a letter that the layer lacks so often is lost, not misread

Box = tuple[float, float, float, float]  # x and y of one corner, then of the opposite one
Transform = tuple[float, float, float, float, float, float]  # as Page.transform


@dataclass(frozen=True)
class LayerLine:
    """A line of the layer: its text and a box for each character.

    As they come from a file they are in its points; `TextLayer.moved` brings them to pixels.
    """

    text: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class TextLayer:
    """A page's layer, its lines in the order of the file."""

    lines: tuple[LayerLine, ...]
    fonts: tuple[str, ...] = ()  # names, those of the most letters first

    @property
    def text(self) -> str:
        """The lines, each with its end."""
        return "".join(f"{line.text}\n" for line in self.lines)

    @property
    def legacy_encoding(self) -> str | None:
        """The family of legacy fonts that its letters are set in, if one is named."""
        for font in self.fonts:
            name = re.sub("[^a-z0-9]", "", font.rpartition("+")[2].lower())
            for family, beginnings in LEGACY_FONTS.items():
                if name.startswith(beginnings):
                    return family
        return None

    def moved(self, transform: Transform) -> TextLayer:
        """The layer with its boxes moved by a transform, each (left, top, right, bottom) then."""
        lines = tuple(
            LayerLine(line.text, tuple(_moved(box, transform) for box in line.boxes))
            for line in self.lines
        )
        return TextLayer(lines, self.fonts)


@dataclass(frozen=True)
class LayerWord:
    """What stands between two spaces of a layer's line."""

    text: str
    box: Box


@dataclass(frozen=True)
class Match:
    """The layer's words by the line of the picture that they lie on."""

    words: tuple[tuple[LayerWord, ...], ...]  # one entry a line of the picture, left to right
    others: tuple[tuple[LayerWord, ...], ...]  # on no line, by the layer's lines


@dataclass(frozen=True)
class Verdict:
    """Whether a layer is believed, why, and how far from the picture it is."""

    believed: bool
    reason: str
    distance: (
        float | None
    )  # edits a letter, white space aside; None where there is nothing to compare
    match: Match


def judge(layer: TextLayer, lines: Sequence[Line]) -> Verdict:
    """Compares a page's layer with its lines as they were read from its picture.

    Both are in the same pixels. Spaces do not count.
    """
    match = match_words(layer, lines)
    pairs = [
        (_letters(line.text), _letters(" ".join(word.text for word in words)))
        for line, words in zip(lines, match.words, strict=True)
    ]
    others = [_letters(" ".join(word.text for word in words)) for words in match.others]
    read = sum(len(ocr) for ocr, _ in pairs)
    held = sum(len(own) for _, own in pairs) + sum(map(len, others))
    if not read or not held:
        reason = "nothing was read on this page" if held else "the layer has no letters"
        return Verdict(False, reason, None, match)
    edits = sum(_edits(ocr, own) for ocr, own in pairs) + sum(map(len, others))
    distance = min(edits / max(read, held), 1.0)
    objection = _objection(layer, pairs, read, held, distance)
    if objection is None:
        return Verdict(True, "the layer agrees with the picture", distance, match)
    return Verdict(False, objection, distance, match)


def apply(page: Page, layer: TextLayer | None) -> Page:
    """The page with its layer's text where that is believed, and with the origin of its text.

    `layer` is as it came with the page's file: `page.transform` leads from the page's pixels there.
    On a page that is believed a line whose layer says something else stays as it was read, and
    what only the layer has becomes a region at the end, with a note.
    """
    if page.error is not None:
        return page
    if layer is None:
        return replace(page, origin=Origin("ocr", "no text layer"))
    layer = layer.moved(_inverse(page.transform))
    lines = list(page.lines())
    verdict = judge(layer, lines)
    if not verdict.believed:
        return replace(page, origin=Origin("ocr", verdict.reason, verdict.distance))
    taken = {
        id(line): _taken(line, words)
        for line, words in zip(lines, verdict.match.words, strict=True)
    }
    regions = [_with_lines(region, taken) for region in page.regions]
    notes = list(page.notes)
    if alone := [_new_line(words) for words in verdict.match.others]:
        box = _around([line.box for line in alone])
        regions.append(Region("text", box, tuple(alone)))
        notes.append(
            Note(
                "text layer",
                f"{len(alone)} lines stand only in the text layer",
                boxes=tuple(line.box for line in alone),
            )
        )
    origin = Origin("text layer", verdict.reason, verdict.distance)
    return replace(page, regions=tuple(regions), notes=tuple(notes), origin=origin)


def layer_page(page: Page, layer: TextLayer | None) -> Page:
    """The page with its layer's text alone, unseen and unchecked (`--text-layer only`)."""
    if page.error is not None:
        return page
    if layer is None:
        note = Note("text layer", "this page has no text layer, and was not read from its picture")
        return replace(page, notes=(*page.notes, note), origin=Origin("text layer", "none"))
    layer = layer.moved(_inverse(page.transform))
    lines = tuple(_new_line(words) for line in layer.lines if (words := _words(line)))
    regions = (Region("text", _around([line.box for line in lines]), lines),) if lines else ()
    return replace(page, regions=regions, origin=Origin("text layer", "asked for, not compared"))


def match_words(layer: TextLayer, lines: Sequence[Line]) -> Match:
    """Gives each word of the layer to the line whose box holds most of it."""
    found: list[list[LayerWord]] = [[] for _ in lines]
    others: list[tuple[LayerWord, ...]] = []
    for layer_line in layer.lines:
        alone: list[LayerWord] = []
        for word in _words(layer_line):
            at = _line_at(word.box, lines)
            (alone if at is None else found[at]).append(word)
        if alone:
            others.append(tuple(alone))
    ordered = (sorted(words, key=lambda word: word.box[0]) for words in found)
    return Match(tuple(map(tuple, ordered)), tuple(others))


def _words(line: LayerLine) -> list[LayerWord]:
    words = []
    for match in re.finditer(r"\S+", line.text):
        boxes = [box for box in line.boxes[match.start() : match.end()] if box[2] > box[0]]
        if boxes:
            left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
            right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
            words.append(LayerWord(match.group(), (left, top, right, bottom)))
    return words


def _line_at(box: Box, lines: Sequence[Line]) -> int | None:
    """The line that shares the largest part of the box; None for less than a quarter of it."""
    area = max(box[2] - box[0], 0.1) * max(box[3] - box[1], 0.1)
    best, where = area / 4, None
    for i, line in enumerate(lines):
        across = min(box[2], line.box[2]) - max(box[0], line.box[0])
        down = min(box[3], line.box[3]) - max(box[1], line.box[1])
        if across > 0 and down > 0 and across * down > best:
            best, where = across * down, i
    return where


def _letters(text: str) -> str:
    return "".join(canonical(text).split())


def _edits(a: str, b: str) -> int:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(a, b)


def _objection(
    layer: TextLayer, pairs: list[tuple[str, str]], read: int, held: int, distance: float
) -> str | None:
    """Why the layer is not believed, or None."""
    if held < MIN_COVERAGE * read and distance > MAX_DISTANCE and held < read / 2:
        return f"the layer holds {held} letters of about {read}"
    khmer = _khmer(layer.text)
    if not khmer and _khmer("".join(ocr for ocr, _ in pairs)) > read / 4:
        if family := layer.legacy_encoding:
            return f"the layer is in a legacy encoding ({family})"
        return "the layer has no Khmer letters where the picture shows Khmer"
    if distance > MAX_DISTANCE and (family := layer.legacy_encoding):
        return f"the layer is in a legacy encoding ({family})"
    wrong = sum(misplaced(line.text) for line in layer.lines)
    if wrong > MAX_MISPLACED * khmer:
        return f"the layer is no well-formed Khmer: {wrong} of {khmer} letters are misplaced"
    if distance > MAX_DISTANCE:
        return f"the layer differs from the picture in {100 * distance:.1f} % of the letters"
    for split in (_parts, clusters):
        if lost := _lost(pairs, split):
            return f"the layer lacks {lost[0]} where the picture shows it, {lost[1]} times"
    missing, parts = _missing(pairs)
    if missing >= _MISSING_TIMES and missing > MAX_MISSING * parts:
        return f"the layer lacks {missing} of the {parts} letters that the picture shows"
    return None


def _khmer(text: str) -> int:
    return sum("\u1780" <= character <= "\u17dd" for character in text)


def _lost(
    pairs: list[tuple[str, str]], split: Callable[[str], list[str]]
) -> tuple[str, int] | None:
    """A Khmer letter, subscript, vowel, sign or cluster that the layer lacks more often than not.

    OCR misreads one here and there; a font whose glyph has no Unicode, or a wrong one, loses it
    each time.
    """
    from rapidfuzz.distance import Levenshtein

    times: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for ocr, own in pairs:
        parts = split(ocr)
        times.update(parts)
        for edit in Levenshtein.editops(parts, split(own)):
            if edit.tag != "insert":
                lost[parts[edit.src_pos]] += 1
    for part, count in lost.most_common():
        common = count >= _LOST_TIMES and count > _LOST_SHARE * times[part]
        if common and re.match("[\u1780-\u17a2\u17b6-\u17d3]", part):
            return part, count
    return None


def _missing(pairs: list[tuple[str, str]]) -> tuple[int, int]:
    """Khmer letters of the picture that the layer has nothing for, of all its letters.

    On lines that it has: a stamp that only OCR reads is no loss.
    """
    from rapidfuzz.distance import Levenshtein

    missing = count = 0
    for ocr, own in pairs:
        if own:
            parts = _parts(ocr)
            count += len(parts)
            edits = Levenshtein.editops(parts, _parts(own))
            missing += sum(e.tag == "delete" and _khmer(parts[e.src_pos]) > 0 for e in edits)
    return missing, count


def _parts(text: str) -> list[str]:
    return re.findall(f"{COENG}.|.", text)


def _taken(line: Line, words: tuple[LayerWord, ...]) -> Line:
    """The line with the layer's text, if the two are the same line."""
    text = canonical(" ".join(word.text for word in words))
    own, ocr = _letters(text), _letters(line.text)
    if not own or _edits(ocr, own) > _LINE_DISTANCE * max(len(own), len(ocr)):
        return line
    return _with_text(line, text, words)


def _with_text(line: Line, text: str, words: tuple[LayerWord, ...]) -> Line:
    placed = []
    for word in words:
        shown = canonical(word.text)
        placed += [Word(part, 1.0, _whole(word.box)) for part in shown.split()]
    return replace(
        line,
        text=text,
        confidence=1.0,
        words=tuple(placed),
        characters=tuple(Character(cluster, 1.0) for cluster in clusters(text)),
        alternatives=(),
        flags=(),
    )


def _new_line(words: Sequence[LayerWord]) -> Line:
    box = _around([_whole(word.box) for word in words])
    text = canonical(" ".join(word.text for word in words))
    return _with_text(Line(text, 1.0, box), text, tuple(words))


def _with_lines(region: Region, taken: dict[int, Line]) -> Region:
    return replace(
        region,
        lines=tuple(taken[id(line)] for line in region.lines),
        cells=tuple(
            replace(cell, lines=tuple(taken[id(line)] for line in cell.lines))
            for cell in region.cells
        ),
    )


def _moved(box: Box, transform: tuple[float, ...]) -> Box:
    a, b, c, d, e, f = transform
    left, top, right, bottom = box
    x = sorted((a * left + c * top + e, a * right + c * bottom + e))
    y = sorted((b * left + d * top + f, b * right + d * bottom + f))
    return (x[0], y[0], x[1], y[1])


def _inverse(transform: Transform) -> Transform:
    a, b, c, d, e, f = transform
    det = a * d - b * c
    return (d / det, -b / det, -c / det, a / det, (c * f - d * e) / det, (b * e - a * f) / det)


def _whole(box: Box) -> PixelBox:
    left, top, right, bottom = box
    return (int(left), int(top), int(right + 1), int(bottom + 1))


def _around(boxes: Sequence[PixelBox]) -> PixelBox:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )
