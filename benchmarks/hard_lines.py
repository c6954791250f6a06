"""Lines of the hard kinds, drawn from (kind, seed, index): long, of two inks, with leaders, ...

Each is plain black and white, scaled to its size and given a little blur and grain; the paper of
`benchmarks.rendered` would hide what its kind alone costs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from khmer_fast.data import LineSource
from khmer_fast.data.draw import MASTER, GlyphCache, Setting, draw_line
from khmer_fast.data.fonts import Span, load_fonts
from khmer_fast.data.form_texts import LABELS, machine_readable, short_cell
from khmer_fast.text import clusters

PLAIN = Setting(MASTER, 0, 0.0, 0.0, False)
NEIGHBOURS = 0.25  # of a line's height, seen of the lines above and below
OCR_B = ("OCRB.otf", "OCRBS.otf")  # of Debian's fonts-ocr-b: round and sharp ends
ALIKE_ALONE = ("x", "X", "-", "–")  # by themselves
TRIES = 200  # texts that the fonts cannot draw, one after the other


@dataclass(frozen=True)
class HardLine:
    """A drawn line: grey uint8 [Y', X'], its text, and the lines it was made of, if any."""

    image: np.ndarray
    text: str
    parts: tuple[HardLine, ...] = ()


class HardLines:
    """Draws lines of each kind; `line(kind, index)` depends on the fonts and texts of `source`.

    `ocr_b` are the faces of OCR-B that are installed, maybe none.
    """

    def __init__(self, source: LineSource, seed: int):
        self.source, self.seed = source, seed
        self.cache = GlyphCache()
        self.ocr_b = load_fonts(replace(source.config.fonts, machine=OCR_B)).machine

    def line(self, kind: str, index: int) -> HardLine:
        """Line `index` of a kind of KINDS."""
        rng = random.Random(f"{kind} {self.seed} {index}")
        return KINDS[kind](self, rng)

    # ---- text to ink ----

    def running(self, rng: random.Random, length: int) -> str:
        return self.source.texts.text(rng, "running", length)

    def exactly(self, rng: random.Random, length: int, spaces: bool) -> str:
        """Running text of nearly `length` characters, with its spaces or without any."""
        text = ""
        while len(text) < length:
            more = self.running(rng, min(90, length - len(text) + 1))
            text += more if spaces and not text else (" " + more if spaces else more)
            if not spaces:
                text = text.replace(" ", "")
        return text

    def ink(self, rng: random.Random, text: str) -> np.ndarray | None:
        """A text in one face: ink uint8 [h, w] of font size MASTER; None where no face has it."""
        face = self.source.fonts.choose(rng, text, heading=False)
        spans = self.source.fonts.spans(rng, text, face) if face else None
        if not spans:
            return None
        return draw_line(spans, PLAIN, self.cache).ink

    def drawn(
        self,
        rng: random.Random,
        make: Callable[[], str],
        size: float | None = None,
        ink: Callable[[str], np.ndarray | None] | None = None,
    ) -> HardLine:
        """What `make` writes, black on white with margins, in a font size of `size` pixels; `ink`
        draws it, by default in any face."""
        size = rng.uniform(22, 46) if size is None else size
        for _ in range(TRIES):
            text = make()
            found = (ink(text) if ink else self.ink(rng, text)) if text else None
            if found is not None:
                return HardLine(finished(rng, 255 - padded(rng, found), size / MASTER), text)
        raise RuntimeError(f"no face draws any of {TRIES} texts")


def padded(rng: random.Random, ink: np.ndarray) -> np.ndarray:  # [h, w] -> [Y, X]
    sides = [round(rng.uniform(0.1, 0.5) * MASTER) for _ in range(4)]
    return np.pad(ink, (tuple(sides[:2]), tuple(sides[2:])))


def finished(rng: random.Random, page: np.ndarray, scale: float) -> np.ndarray:
    """A page [Y, X] scaled, slightly blurred and grainy, as a scanner gives it."""
    height, width = max(8, round(scale * page.shape[0])), max(8, round(scale * page.shape[1]))
    image = Image.fromarray(page).resize((width, height), Image.Resampling.BOX)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 0.02) * height))
    noise = np.random.default_rng(rng.randrange(1 << 32)).normal(0, rng.uniform(0, 5), image.size)
    return (np.asarray(image) + noise.T - 4).clip(0, 255).astype(np.uint8)


# ---- kinds ----


def plain(lines: HardLines, rng: random.Random) -> HardLine:
    return lines.drawn(rng, lambda: lines.running(rng, rng.randint(40, 90)))


def joined(lines: HardLines, rng: random.Random, count: int) -> HardLine:
    """Lines side by side at one height, a space apart."""
    parts = [plain(lines, rng) for _ in range(count)]
    height = max(part.image.shape[0] for part in parts)
    scaled = []
    for part in parts:
        width = round(part.image.shape[1] * height / part.image.shape[0])
        picture = Image.fromarray(part.image).resize((width, height), Image.Resampling.BICUBIC)
        scaled += [np.asarray(picture), np.full((height, height // 5), 251, np.uint8)]
    text = " ".join(part.text for part in parts)
    return HardLine(np.concatenate(scaled[:-1], axis=1), text, tuple(parts))


def long_line(
    lines: HardLines, rng: random.Random, length: int, spaces: bool | None = None
) -> HardLine:
    """Running text in one face, with its spaces or without any; its parts are what fits a line."""
    spaces = rng.random() < 0.5 if spaces is None else spaces
    for _ in range(TRIES):
        text = lines.exactly(rng, length, spaces)
        pieces = _of_a_line(text, 80)
        face = lines.source.fonts.choose(rng, text, heading=False)
        size, state = rng.uniform(22, 46), rng.getstate()
        drawn = []
        for piece in (text, *pieces):
            rng.setstate(state)  # the same Latin face, margins, blur and grain
            spans = lines.source.fonts.spans(rng, piece, face) if face else None
            if not spans:
                break
            ink = draw_line(spans, PLAIN, lines.cache).ink
            image = finished(rng, 255 - padded(rng, ink), size / MASTER)
            drawn.append(HardLine(image, piece))
        if len(drawn) == len(pieces) + 1:
            return replace(drawn[0], parts=tuple(drawn[1:]))
    raise RuntimeError(f"no face draws any of {TRIES} texts")


def _of_a_line(text: str, most: int) -> list[str]:
    """The text cut at spaces, or between clusters where there are none, to at most so much."""
    units = text.split(" ") if " " in text else clusters(text)
    mark = " " if " " in text else ""
    pieces = [units[0]]
    for unit in units[1:]:
        if len(pieces[-1]) + len(mark) + len(unit) <= most:
            pieces[-1] += mark + unit
        else:
            pieces.append(unit)
    return pieces


def neighbours(lines: HardLines, rng: random.Random) -> HardLine:
    """A line cut with a quarter of its height of the lines above and below; alone it is easy."""
    for _ in range(TRIES):
        texts = [lines.running(rng, rng.randint(30, 80)) for _ in range(3)]
        face = lines.source.fonts.choose(rng, "".join(texts), heading=False)
        spans = [lines.source.fonts.spans(rng, text, face) if face else None for text in texts]
        drawn = [draw_line(some, PLAIN, lines.cache) for some in spans if some]
        if len(drawn) < 3:
            continue
        own = drawn[1]
        height, width = own.ink.shape
        more, pitch = round(NEIGHBOURS * height), rng.uniform(1.25, 1.9) * MASTER
        page = np.zeros((height + 2 * more, width), np.uint8)
        for other, away in zip(drawn, (-pitch, 0, pitch), strict=True):
            first = round(more + own.baseline + away) - other.baseline
            rows = slice(max(0, first), max(0, first + other.ink.shape[0]))
            place = page[rows, : other.ink.shape[1]]
            np.maximum(place, other.ink[rows.start - first :][: len(place), :width], out=place)
        size, side, state = rng.uniform(22, 46), round(0.2 * MASTER), rng.getstate()
        around = finished(rng, 255 - np.pad(page, ((0, 0), (side, side))), size / MASTER)
        rng.setstate(state)
        alone = np.pad(own.ink, ((more, more), (side, side)))
        easy = HardLine(finished(rng, 255 - alone, size / MASTER), texts[1])
        return HardLine(around, texts[1], (easy,))
    raise RuntimeError(f"no face draws any of {TRIES} texts")


def repeated(lines: HardLines, rng: random.Random) -> HardLine:
    """A sentence five times in one line."""
    return lines.drawn(rng, lambda: " ".join([lines.running(rng, 48)] * 5))


def two_inks(lines: HardLines, rng: random.Random) -> HardLine:
    """Words darker and words lighter than their paper, as on coloured banners."""
    paper = rng.randint(110, 180)
    dark, light = paper - rng.randint(60, 100), min(255, paper + rng.randint(45, 75))
    return _in_inks(lines, rng, paper, (dark, light))


def weak_ink(lines: HardLines, rng: random.Random) -> HardLine:
    """Black words, and words in a colour that is grey on white."""
    return _in_inks(lines, rng, 255, (rng.randint(0, 30), rng.randint(100, 170)))


def _in_inks(lines: HardLines, rng: random.Random, paper: int, inks: tuple[int, int]) -> HardLine:
    """Words of either ink in turns."""
    for _ in range(TRIES):
        words = lines.running(rng, rng.randint(40, 80)).split()
        face = lines.source.fonts.choose(rng, " ".join(words), heading=False)
        if face is None or len(words) < 2:
            continue
        ink = _pieces_of(lines, rng, words, face)
        if ink is None:
            continue
        size = rng.uniform(22, 46)
        page = np.full(ink[0].shape, paper, np.float32)
        most = max(1, len(words) // 2)
        turn, left = rng.random() < 0.5, rng.randint(1, most)
        for word in ink:
            page += (inks[turn] - paper) * (word / 255.0)
            left -= 1
            if left == 0:
                turn, left = not turn, rng.randint(1, most)
        text, state = " ".join(words), rng.getstate()
        plain = 255 - np.maximum.reduce(ink)
        easy = HardLine(finished(rng, plain, size / MASTER), text)
        rng.setstate(state)  # the same blur and grain
        page = page.clip(0, 255).astype(np.uint8)
        return HardLine(finished(rng, page, size / MASTER), text, (easy,))
    raise RuntimeError(f"no face draws any of {TRIES} texts")


def _pieces_of(lines: HardLines, rng, words: list[str], face) -> list[np.ndarray] | None:
    """The ink of each word where it stands in the line: [Y, X] each, all of one shape."""
    drawn = []
    for word in words:
        spans = lines.source.fonts.spans(rng, word, face)
        if not spans:
            return None
        drawn.append(draw_line(spans, PLAIN, lines.cache))
    margin, gap = 12, round(0.3 * MASTER)
    above = max(ink.baseline for ink in drawn)
    below = max(ink.ink.shape[0] - ink.baseline for ink in drawn)
    width = sum(ink.ink.shape[1] + gap for ink in drawn)
    pieces, x = [], margin
    for ink in drawn:
        page = np.zeros((above + below + 2 * margin, width + 2 * margin), np.uint8)
        y = margin + above - ink.baseline
        page[y : y + ink.ink.shape[0], x : x + ink.ink.shape[1]] = ink.ink
        pieces.append(page)
        x += ink.ink.shape[1] + gap
    return pieces


def highlighted(lines: HardLines, rng: random.Random) -> HardLine:
    """A stretch of the line on a marker's colour."""
    line = plain(lines, rng)
    image = line.image.astype(np.float32)
    left = rng.randint(0, image.shape[1] * 2 // 3)
    right = left + rng.randint(image.shape[1] // 8, image.shape[1] // 2)
    image[:, left:right] *= rng.uniform(0.55, 0.9)
    return replace(line, image=image.astype(np.uint8), parts=(line,))


def leader(lines: HardLines, rng: random.Random) -> HardLine:
    """Labels or words, a run of dots or dashes as on forms, and sometimes words again."""
    count = rng.randint(8, 60)
    run = rng.choice(
        (
            "." * count,
            " ".join("." * count),
            "…" * (count // 3),
            "-" * count,
            "_" * max(8, count // 2),
        )
    )

    def words() -> tuple[str, bool]:
        """Labels of forms, or whole words, and whether it is labels."""
        count = rng.choice((1, 1, 2, 3))
        if rng.random() < 0.5:
            return " ".join(rng.sample(LABELS, count)), True
        return "".join(lines.source.texts.word(rng) for _ in range(count)), False

    def make() -> str:
        """No colon behind words that are no labels: it would be a guess at `ៈ`, which they end in
        and which many faces draw alike."""
        first, label = words()
        text = first + rng.choice(("", " ", "៖ ", ": " if label else " ")) + run
        text = text + rng.choice(("", "", " ")) + words()[0] if rng.random() < 0.6 else text
        return lines.source.texts._clean(text, 200)

    return lines.drawn(rng, make)


def machine_line(lines: HardLines, rng: random.Random) -> HardLine:
    """A machine-readable line in OCR-B, the standard's one face: training draws it, too."""
    return lines.drawn(
        rng,
        lambda: machine_readable(lines.source.texts, rng, 44),
        ink=lambda text: draw_line([Span(text, rng.choice(lines.ocr_b))], PLAIN, lines.cache).ink,
    )


def machine_line_elsewhere(lines: HardLines, rng: random.Random) -> HardLine:
    """One in any other face, as examples in documents are set."""
    return lines.drawn(rng, lambda: machine_readable(lines.source.texts, rng, 44))


def tiny(lines: HardLines, rng: random.Random) -> HardLine:
    """Type whose line is 12 to 16 pixels high, ascenders and subscripts included."""
    for _ in range(TRIES):
        text = lines.running(rng, rng.randint(20, 80))
        ink = lines.ink(rng, text)
        if ink is not None:
            scale = rng.uniform(12, 16) / ink.shape[0]
            return HardLine(finished(rng, 255 - padded(rng, ink), scale), text)
    raise RuntimeError(f"no face draws any of {TRIES} texts")


def cell(lines: HardLines, rng: random.Random) -> HardLine:
    """What stands in a table's cell: one to three clusters, numbers; nothing that only its size
    tells from another mark."""
    source = lines.source.texts

    def make() -> str:
        text = source._clean(short_cell(source, rng, 12), 24)
        return "" if text in ALIKE_ALONE else text

    return lines.drawn(rng, make)


def turn(image: np.ndarray, degrees: float) -> np.ndarray:  # uint8 [Y, X] -> [Y', X']
    """A picture as it comes out of a scanner that its paper lay askew in; positive: clockwise."""
    paper = int(np.median(image))
    picture = Image.fromarray(image)
    return np.asarray(picture.rotate(-degrees, Image.Resampling.BICUBIC, True, fillcolor=paper))


KINDS: dict[str, Callable[[HardLines, random.Random], HardLine]] = {
    "plain": plain,
    "joined 2": lambda lines, rng: joined(lines, rng, 2),
    "joined 4": lambda lines, rng: joined(lines, rng, 4),
    "joined 6": lambda lines, rng: joined(lines, rng, 6),
    "250 characters": lambda lines, rng: long_line(lines, rng, 250),
    "400 characters": lambda lines, rng: long_line(lines, rng, 400),
    "a sentence five times": repeated,
    "two inks": two_inks,
    "weak ink": weak_ink,
    "highlighted": highlighted,
    "leaders": leader,
    "machine-readable": machine_line,
    "machine-readable, other faces": machine_line_elsewhere,
    "tiny type": tiny,
    "cells": cell,
    "neighbours": neighbours,
}
