"""What a layout draws with: texts, types and a canvas, and the lines and regions that come of it.

Lengths are pixels of the flat page unless they are in points: a page's long side is 842 points,
as A4's is, whatever its pixels. Layouts draw in reading order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageFilter

from khmer_fast.data.fonts import Face, FontLibrary
from khmer_fast.data.page_canvas import Canvas
from khmer_fast.data.page_type import Run, SetInk, Type, Typesetter
from khmer_fast.data.text_parts import KHMER_DIGITS
from khmer_fast.data.texts import TextSource
from khmer_fast.text import canonical

POINTS = 842.0  # of a page's long side
_FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
_TRIES = 40
_LEAST_CONTRAST = 60  # grey levels between ink and what is under it
_TO_KHMER = str.maketrans("0123456789", KHMER_DIGITS)
_BODY_KINDS = {
    "running": 0.6, "number_in_text": 0.1, "latin_in_text": 0.06, "sentence_end": 0.1,
    "enclosed": 0.05, "repetition": 0.02, "abbreviation": 0.03, "enumeration": 0.04,
}  # fmt: skip


@dataclass
class DrawnLine:
    """A line as it stands on the flat page: its baseline runs from (x0, y) to (x1, y)."""

    text: str
    x0: float
    x1: float
    y: float
    letter_height: float
    region: int
    cell: tuple[int, int] | None
    kind: str


@dataclass
class Composer:
    """One page being drawn; `rng` decides everything."""

    rng: random.Random
    numbers: np.random.Generator
    texts: TextSource
    setter: Typesetter
    canvas: Canvas
    body: Type
    heading: Type
    unit: float  # pixels of a point
    lines: list[DrawnLine] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)
    khmer_digits: bool = True
    after: list[Callable[[], None]] = field(default_factory=list)  # what is read last
    emphasis: float = 0.0  # chance that a body line has words in another style
    noted: float = 0.0  # chance that it has a footnote's raised mark

    @property
    def width(self) -> int:
        return self.canvas.width

    @property
    def height(self) -> int:
        return self.canvas.height

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def some(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    # Text

    def text(self, kind: str, length: int, type: Type) -> str:
        """A canonical text of a kind of khmer_fast.data.texts that the type can draw."""
        for _ in range(_TRIES):
            text = self.texts.text(self.rng, kind, max(1, length))
            if text and self.setter.spans(text, type):
                return text
        return "ក"  # every Khmer face has it

    def running(self, length: int, type: Type) -> str:
        """A stretch of prose of about `length` characters, with what stands in prose."""
        kinds, weights = list(_BODY_KINDS), list(_BODY_KINDS.values())
        parts: list[str] = []
        total = 0
        while total < length:
            kind = self.rng.choices(kinds, weights)[0]
            parts.append(self.text(kind, min(160, max(8, length - total)), type))
            total += len(parts[-1]) + 1
        return canonical(" ".join(parts))

    def fitting(self, kind: str, width: float, type: Type, least: int = 1) -> str:
        """A text of a kind no wider than `width` pixels."""
        length = max(least, round(width / (0.5 * type.size * type.stretch)))
        for _ in range(_TRIES):
            text = self.text(kind, length, type)
            if self.setter.width(text, type) <= width:
                return text
            length = max(1, int(length * 0.8))
        return "ក"

    def digits(self, text: str) -> str:
        """The text with its digits in the page's script."""
        return text.translate(_TO_KHMER) if self.khmer_digits else text

    def letter(self, type: Type) -> float:
        """The type's height of a plain consonant, in pixels."""
        return self.setter.letter_height("ក", type)

    # Lines

    def region(self, kind: str) -> int:
        """Begin a region, which the lines that follow belong to."""
        self.regions.append(kind)
        return len(self.regions) - 1

    def line(
        self,
        text: str | Sequence[Run],
        x: float,
        y: float,
        type: Type | None = None,
        *,
        align: str = "left",
        width: float = 0.0,
        cell: tuple[int, int] | None = None,
        kind: str = "text",
    ) -> float:
        """Draw one line on the baseline y: from x (`left`), about x (`centre`), up to x (`right`),
        or from x over `width` (`justify`). Returns where it ends."""
        runs = self._runs(text, type or self.body)
        whole = "".join(run.text for run in runs)
        if not whole:
            return x
        if align == "justify":
            runs = self._justified(runs, width)
        elif align != "left":
            total = sum(self.setter.width(run.text, run.type) for run in runs)
            x = x - total if align == "right" else x - total / 2
        if not self.regions:
            self.region("text")
        end = x + sum(self.setter.width(run.text, run.type) for run in runs)
        largest = max(runs, key=lambda run: (len(run.text.strip()) > 0, run.type.size))
        letter = self.setter.letter_height(whole, largest.type)
        if not self._free(x, end, y, letter):
            return end
        owner = len(self.lines) + 1
        pen = x
        for run in runs:
            pen = self._draw(run, pen, y, owner)
        region = len(self.regions) - 1
        self.lines.append(
            DrawnLine(canonical(whole), x, max(pen, x + 1), y, letter, region, cell, kind)
        )
        return pen

    def _free(self, x: float, end: float, y: float, letter: float) -> bool:
        """Whether a line fits on the page, and on no other line: printers do not overprint."""
        if x < 0 or end > self.width or y - letter < 0 or y > self.height:
            return False
        band = self.canvas.owner[round(y - letter) : round(y), round(x) : round(end)]
        return bool(np.count_nonzero(band) <= 0.03 * band.size)

    def _runs(self, text: str | Sequence[Run], type: Type) -> list[Run]:
        runs = [Run(text, type)] if isinstance(text, str) else list(text)
        return [run for run in runs if run.text]

    def _justified(self, runs: list[Run], width: float) -> list[Run]:
        """Wider (or a little narrower) spaces so that the runs are `width` pixels wide."""
        spaces = sum(run.text.count(" ") for run in runs)
        total = sum(self.setter.width(run.text, run.type) for run in runs)
        if not spaces or not 0.8 * width < total + spaces * runs[0].type.size < 1.6 * width:
            return runs
        out = []
        for run in runs:
            extra = (width - total) / (spaces * run.type.size * run.type.stretch)
            type = run.type.at(word_space=run.type.word_space + max(-0.15, extra))
            out.append(replace(run, type=type))
        return out

    def _draw(self, run: Run, x: float, y: float, owner: int) -> float:
        canvas, size = self.canvas, run.type.size
        base = y - run.lift * size
        placed, advance = self.setter.ink(run.text, run.type, x, base)
        right = x + advance
        level = self._readable(run, placed)
        if run.highlight is not None:
            canvas.tint((x, y - 1.05 * size, right, y + 0.4 * size), run.highlight)
        if run.shadow is not None:
            by = max(1, round(0.05 * size))
            canvas.blend(placed.alpha, placed.left + by, placed.top + by, run.shadow)
        if run.outline is not None:
            around = max(1, round(0.04 * size))
            wide = np.pad(placed.alpha, around)
            wide = np.asarray(Image.fromarray(wide).filter(ImageFilter.MaxFilter(2 * around + 1)))
            canvas.blend(wide, placed.left - around, placed.top - around, run.outline, owner)
        if run.underline:
            thick = max(0.6, 0.05 * size)
            canvas.rule(x, y + 0.16 * size, right, y + 0.16 * size, level, thick)
        canvas.blend(placed.alpha, placed.left, placed.top, level, owner)
        if run.strike:
            row = y - 0.32 * size
            canvas.rule(x, row, right, row, level, max(0.6, 0.05 * size))
        return right

    def _readable(self, run: Run, placed: SetInk) -> int:
        """The run's level, or black or white where that would not be seen."""
        h, w = placed.alpha.shape
        top, left = max(0, placed.top), max(0, placed.left)
        under = self.canvas.grey[top : placed.top + h : 2, left : placed.left + w : 2]
        if run.highlight is not None or not under.size:
            ground = run.highlight if run.highlight is not None else 255.0
        else:
            ground = float(under.mean())
        if run.outline is not None:
            return run.type.level
        level = run.type.level
        return level if abs(level - ground) >= _LEAST_CONTRAST else (255 if ground < 128 else 0)

    def paragraph(
        self,
        text: str,
        x: float,
        y: float,
        width: float,
        type: Type | None = None,
        *,
        pitch: float,
        bottom: float,
        align: str = "justify",
        indent: float = 0.0,
        loose: float = 0.2,
        kind: str = "text",
        cell: tuple[int, int] | None = None,
    ) -> float:
        """Lines of prose from the baseline y down, `pitch` apart, none below `bottom`; returns the
        baseline that would come next."""
        type = type or self.body
        lines = self.setter.wrap(text, type, width, indent, loose)
        for i, line in enumerate(lines):
            if y > bottom:
                break
            left = x + (indent if i == 0 else 0.0)
            room = width - (indent if i == 0 else 0.0)
            last = i == len(lines) - 1
            place = {"centre": x + width / 2, "right": x + width}.get(align, left)
            how = "left" if align == "justify" and last else align
            runs = self.styled(line, type)
            self.line(runs, place, y, align=how, width=room, kind=kind, cell=cell)
            y += pitch
        return y

    def styled(self, text: str, type: Type) -> list[Run]:
        """A line's words, now and then some of them bold, coloured, underlined or marked."""
        words = text.split(" ")
        if self.chance(self.noted):
            last = self.rng.randrange(len(words))
            before, behind = " ".join(words[: last + 1]), " ".join(words[last + 1 :])
            return [Run(before, type), self.note_mark(type), Run(behind and " " + behind, type)]
        if not self.chance(self.emphasis):
            return [Run(text, type)]
        first = self.rng.randrange(len(words))
        last = min(len(words), first + self.rng.randint(1, 4))
        parts = [" ".join(words[:first]), " ".join(words[first:last]), " ".join(words[last:])]
        if parts[0]:
            parts[0] += " "
        if parts[2]:
            parts[1] += " "
        changed = Run(parts[1], type)
        roll = self.rng.random()
        if roll < 0.35:
            changed = Run(parts[1], type.at(bold=max(2, type.bold)))
        elif roll < 0.6:
            changed = Run(parts[1], type.at(level=self.coloured(type.level)))
        elif roll < 0.8:
            changed = Run(parts[1], type, underline=True)
        elif roll < 0.87:
            changed = Run(parts[1], type, strike=True)
        elif roll < 0.93:
            light = type.level < 128
            changed = Run(
                parts[1], type, highlight=round(self.some(*((180, 235) if light else (40, 90))))
            )
        else:
            changed = Run(parts[1], type.at(slant=0.2))
        return [Run(parts[0], type), changed, Run(parts[2], type)]

    def note_mark(self, type: Type) -> Run:
        """The small raised figure or letter of a footnote."""
        form = self.rng.choice(("{}", "{}", "({})", "[{}]"))
        mark = self.digits(str(self.rng.randint(1, 30)))
        if self.chance(0.15):
            mark = self.rng.choice("កខគឃ*")
        small = type.at(size=type.size * self.some(0.5, 0.7), bold=0)
        return Run(form.format(mark), small, lift=self.some(0.25, 0.5))

    def coloured(self, level: int) -> int:
        """The grey of a coloured ink that stands beside ink of `level`."""
        return round(self.some(30, 130) if level < 128 else self.some(140, 230))

    # The page

    def inked(self, box: tuple[float, float, float, float]) -> bool:
        """Whether a line has ink in the box (left, top, right, bottom)."""
        x0, y0, x1, y1 = (max(0, round(v)) for v in box)
        return bool(self.canvas.owner[y0:y1, x0:x1].any())

    def crop(self, box: tuple[float, float, float, float]) -> None:
        """Keep what is inside the box (left, top, right, bottom) of the page."""
        x0, y0 = max(0, round(box[0])), max(0, round(box[1]))
        x1, y1 = min(self.width, round(box[2])), min(self.height, round(box[3]))
        x1, y1 = max(x0 + 8, x1), max(y0 + 8, y1)
        canvas = self.canvas
        canvas.grey = np.ascontiguousarray(canvas.grey[y0:y1, x0:x1])
        canvas.owner = np.ascontiguousarray(canvas.owner[y0:y1, x0:x1])
        for line in self.lines:
            line.x0, line.x1, line.y = line.x0 - x0, line.x1 - x0, line.y - y0

    def full_mask(self, height: float, width: float) -> np.ndarray:
        """Alpha uint8 [h, w], opaque everywhere."""
        return np.full((max(1, round(height)), max(1, round(width))), 255, np.uint8)

    def ink_box(self) -> tuple[int, int, int, int] | None:
        """The box of all lines' ink; None on a page without text."""
        rows = np.flatnonzero(self.canvas.owner.any(1))
        if not len(rows):
            return None
        columns = np.flatnonzero(self.canvas.owner.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def choose_type(
    rng: random.Random, fonts: FontLibrary, size: float, *, heading: bool = False
) -> Type:
    """A face of the mixture and how it is set on this page."""
    weights = fonts.headings if heading else fonts.weights
    face: Face = rng.choice(rng.choices(fonts.groups, weights)[0])
    return Type(
        face=face,
        size=size,
        bold=rng.choice((1, 1, 2)) if rng.random() < 0.12 else 0,
        stretch=rng.uniform(0.82, 1.2) if rng.random() < 0.3 else 1.0,
        slant=rng.uniform(0.1, 0.25) if rng.random() < 0.04 else 0.0,
        spacing=rng.uniform(-0.01, 0.08) if rng.random() < 0.15 else 0.0,
        level=0 if rng.random() < 0.8 else rng.randint(10, 90),
        latin=rng.randrange(1 << 30),
        resample=rng.choice(_FILTERS),
    )
