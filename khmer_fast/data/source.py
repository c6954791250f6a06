"""Labelled line images without end: sample `index` of `seed` is the same pixels everywhere."""

from __future__ import annotations

import hashlib
import math
import platform
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, features
from PIL import __version__ as pillow_version

from khmer_fast.data.config import load_config
from khmer_fast.data.corpus import data_folder, load_corpus
from khmer_fast.data.degrade import STEPS, Tones
from khmer_fast.data.draw import MASTER, GlyphCache, Ink, Setting, draw_line, require_raqm
from khmer_fast.data.fonts import FontError, FontLibrary, Span, file_hash, load_fonts
from khmer_fast.data.mixture import Paper, RenderConfig
from khmer_fast.data.texts import TextLine, TextSource
from khmer_fast.text import NORMALIZER_VERSION

_HEADING_KINDS = ("heading", "letterhead", "single_word")
_HEADING_LENGTH = 28
_TRIES = 1000  # lines that no font draws, one after the other
_LARGEST_HEIGHT = 110  # pixels; prepare_line makes 48 of them
_FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Sample:
    """One labelled line: grey image uint8 [Y', X'] as a scanner gives it, canonical text, and
    `kind`, which is the kind of text and of paper: `running/scan`."""

    image: np.ndarray
    text: str
    kind: str


class LineSource:
    """Draws labelled lines; `sample(seed, index)` depends on nothing but its arguments, the
    configuration, the text and font files, and the versions in `describe()`.

    `config` is a RenderConfig or the path of a TOML file; the default mixture otherwise.
    `text_folder` and `font_folders` say where its files are (default: below KHMER_FAST_DATA, and
    the system's fonts). `held_out` draws in the fonts that training never sees. Raises
    KhmerFastError when raqm, texts or fonts are missing.
    """

    def __init__(
        self,
        config: RenderConfig | str | Path | None = None,
        *,
        text_folder: str | Path | None = None,
        font_folders: tuple[str | Path, ...] | None = None,
        fonts: tuple[str | Path, ...] = (),
        held_out: bool = False,
    ):
        require_raqm()
        if not isinstance(config, RenderConfig):
            config = load_config() if config is None else load_config(config)
        self.config = config
        self._text_folder = Path(text_folder or data_folder() / "text")
        self.texts = TextSource(load_corpus(config.text.files, self._text_folder), config.text)
        self.fonts: FontLibrary = load_fonts(
            config.fonts, font_folders, held_out=held_out, only=fonts
        )
        self._cache = GlyphCache()
        self._paper_weights = [paper.weight for paper in config.papers]

    @property
    def dropped(self) -> Counter:
        """What this process cut from texts, by reason: `stretch` (characters outside the
        charset, or clusters that no font draws), `line` (nothing was left), `font` (no font)."""
        return self.texts.dropped

    def sample(self, seed: int, index: int) -> Sample:
        """Sample `index` (>= 0) of `seed` (>= 0)."""
        numbers = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index))))
        rng = random.Random(int(numbers.integers(1 << 62)))
        line, spans = self._line(rng)
        paper = rng.choices(self.config.papers, self._paper_weights)[0]
        page = self._page(rng, spans, paper)
        tones = Tones(rng.randint(*paper.ink), rng.randint(*paper.paper))
        for step in paper.steps:
            if rng.random() < step.chance:
                page = STEPS[step.do](page, rng.uniform(*step.strength), numbers, tones)
        return Sample(np.ascontiguousarray(page), line.text, f"{line.kind}/{paper.name}")

    def _line(self, rng: random.Random) -> tuple[TextLine, list[Span]]:
        """A text and the faces that draw it; a blank one has a span without text.

        Raises FontError if nothing that is written can be drawn.
        """
        for _ in range(_TRIES):
            line = self.texts.line(rng)
            heading = line.kind in _HEADING_KINDS or (
                len(line.text) < _HEADING_LENGTH and rng.random() < 0.3
            )
            face = self.fonts.choose(rng, line.text, heading=heading)
            if face and not line.text:
                return line, [Span("", face)]
            spans = self.fonts.spans(rng, line.text, face) if face else None
            if spans:
                return line, spans
            self.dropped["font"] += 1
        raise FontError(
            f"the fonts have no glyphs for any of {_TRIES} lines, the last one {line.text!r}: "
            "install Debian's fonts-dejavu-core for Latin, or give other fonts or texts"
        )

    def _page(self, rng: random.Random, spans: list[Span], paper: Paper) -> np.ndarray:
        """The set line, black on white with its surroundings, at its final size: uint8 [Y', X']."""
        style = self.config.style
        low, high = paper.size
        size = low * (high / low) ** rng.random()
        native = rng.random() < style.native
        drawn = round(size) if native else MASTER
        stretch = rng.uniform(*style.stretch) if rng.random() < style.stretched else 1.0
        setting = Setting(
            size=drawn,
            bold=(1 if native else rng.choice((1, 1, 2))) if rng.random() < style.bold else 0,
            spacing=rng.uniform(*style.spacing) * drawn if rng.random() < style.spaced else 0.0,
            word_space=(
                rng.uniform(*style.word_space) * drawn if rng.random() < style.justified else 0.0
            ),
            whole=native,
            overlap=(
                round(rng.uniform(*style.overlap_by) * drawn)
                if style.overlap and rng.random() < style.overlap
                else 0
            ),
            legacy=style.legacy > 0 and rng.random() < style.legacy,
            subscripts=(
                rng.uniform(*style.subscript)
                if style.subscripts and rng.random() < style.subscripts
                else 0.0
            ),
        )
        nudge: Callable[[], float] | None = None
        if style.uneven and rng.random() < style.uneven:
            nudge = partial(rng.gauss, 0.0, rng.uniform(*style.unevenness) * drawn)
        emphasised: frozenset[int] = frozenset()
        if rng.random() < style.emphasis:
            spans, emphasised = self._emphasise(rng, spans)

        def bold_span(i: int) -> int:
            return max(1, setting.bold) if i in emphasised else setting.bold

        if spans[0].text:
            line = draw_line(spans, setting, self._cache, bold_span, nudge)
        else:
            width = rng.randint(drawn, 25 * drawn)
            line = Ink(np.zeros((round(1.2 * drawn), width), np.uint8), drawn, 0, width)
        page = self._surround(rng, line, spans, setting)
        if rng.random() < style.italic:
            page = _shear(page, rng.uniform(*style.slant))
        if style.proportions and rng.random() < style.proportions:
            page = _stretch_rows(rng, page, rng.uniform(*style.proportion))
        scale = size / drawn
        height = min(_LARGEST_HEIGHT, max(12, round(page.shape[0] * scale)))
        scale = height / page.shape[0]
        width = max(4, round(page.shape[1] * scale * stretch))
        if (height, width) != page.shape:
            page = np.asarray(Image.fromarray(page).resize((width, height), rng.choice(_FILTERS)))
        return 255 - page

    def _emphasise(
        self, rng: random.Random, spans: list[Span]
    ) -> tuple[list[Span], frozenset[int]]:
        """Some words in a heading's face, or in bold: the spans, and which of them are bold."""
        words = "".join(span.text for span in spans).split(" ")
        if len(words) < 2:
            return spans, frozenset(range(len(spans)))
        first = rng.randrange(len(words))
        last = min(len(words), first + rng.randint(1, 4))
        parts = (words[:first], words[first:last], words[last:])
        face = spans[0].face if spans[0].face.khmer else None
        text = " ".join(parts[1])
        other = self.fonts.choose(rng, text, heading=True)
        bold = rng.random() < 0.4
        if bold or other is None:
            other = face
        out: list[Span] = []
        emphasised: set[int] = set()
        for i, part in enumerate(parts):
            if not part:
                continue
            joined = " ".join(part) + (" " if any(parts[i + 1 :]) else "")
            base = other if i == 1 else face
            made = self.fonts.spans(rng, joined, base) if base else None
            if made is None:
                return spans, frozenset()
            if i == 1 and bold:
                emphasised.update(range(len(out), len(out) + len(made)))
            out.extend(made)
        return out, frozenset(emphasised)

    def _surround(
        self, rng: random.Random, line: Ink, spans: list[Span], setting: Setting
    ) -> np.ndarray:
        """White or neighbouring lines around the ink, and underlining: ink uint8 [Y', X']."""
        style, size = self.config.style, setting.size
        low, high = style.margin
        if rng.random() < style.tight:
            low, high = 0.0, low
        above, below, left, right = (round(rng.uniform(low, high) * size) for _ in range(4))
        if rng.random() < style.indent:
            extra = round(rng.uniform(1, 6) * size)
            left, right = rng.choice(((left + extra, right), (left, right + extra)))
        h, w = line.ink.shape
        page = np.zeros((above + h + below, left + w + right), np.uint8)
        page[above : above + h, left : left + w] = line.ink
        baseline = above + line.baseline
        if rng.random() < style.underline and spans[0].text:
            row = baseline + round(rng.uniform(0.1, 0.45) * size)
            thick = max(1, round(rng.uniform(0.03, 0.09) * size))
            page[row : row + thick, left : left + w] = 255
        if rng.random() < style.neighbours:
            pitch = rng.uniform(*style.pitch) * size
            for y in (baseline - pitch, baseline + pitch):
                if rng.random() < 0.8:
                    self._neighbour(rng, page, round(y), spans[0].face.path, setting)
        if rng.random() < style.cut:
            cut = round(rng.uniform(*style.cut_by) * size)
            top, bottom, first, last = (cut if rng.random() < 0.4 else 0 for _ in range(4))
            first += left if first else 0
            last += right if last else 0
            top += above if top else 0
            bottom += below if bottom else 0
            if top + bottom < h // 2 and first + last < w // 2:
                page = page[top : page.shape[0] - bottom, first : page.shape[1] - last]
        return page

    def _neighbour(
        self, rng: random.Random, page: np.ndarray, baseline: int, path: str, setting: Setting
    ) -> None:
        """Draw other text on a baseline above or below, where it falls inside the page."""
        columns = page.shape[1]
        text = self.texts.text(rng, "running", max(2, round(columns / (0.45 * setting.size))))
        face = next((f for f in self.fonts.faces() if f.path == path and f.khmer), None)
        spans = (
            self.fonts.spans(rng, text, face)
            if face and face.covers({c for c in text if "\u1780" <= c <= "\u17ff"})
            else None
        )
        if not spans:
            return
        other = draw_line(spans, replace(setting, whole=False, size=setting.size), self._cache)
        top = baseline - other.baseline
        y0, y1 = max(0, top), min(page.shape[0], top + other.ink.shape[0])
        x1 = min(columns, other.ink.shape[1])
        if y1 > y0:
            view = page[y0:y1, :x1]
            np.maximum(view, other.ink[y0 - top : y1 - top, :x1], out=view)

    def describe(self) -> dict[str, object]:
        """What the pixels depend on: versions, hashes of texts and fonts, and the mixture."""
        return {
            "versions": {
                "numpy": np.__version__,
                "pillow": pillow_version,
                "raqm": features.version("raqm"),
                "harfbuzz": features.version("harfbuzz"),
                "freetype": features.version("freetype2"),
                "normalizer": NORMALIZER_VERSION,
                "machine": platform.machine(),
            },
            "texts": {
                entry.file: file_hash(str(self._text_folder / entry.file))
                for entry in self.config.text.files
            },
            "fonts": {face.path: file_hash(face.path) for face in self.fonts.faces()},
            "config": hashlib.sha256(repr(self.config).encode()).hexdigest(),
            "mixture": asdict(self.config),
        }


def _shear(ink: np.ndarray, slant: float) -> np.ndarray:
    """Italics: ink [Y', X'] to [Y', X' + slant Y']."""
    Y, X = ink.shape
    wide = X + round(slant * Y)
    return np.asarray(
        Image.fromarray(ink).transform(
            (wide, Y),
            Image.Transform.AFFINE,
            (1.0, slant, -slant * Y, 0.0, 1.0, 0.0),
            Image.Resampling.BILINEAR,
        )
    )


def _stretch_rows(rng: random.Random, ink: np.ndarray, most: float) -> np.ndarray:
    """Other proportions of letters, marks and subscripts: each of five stretches of rows grows or
    shrinks by up to e^most, the whole height stays: ink [Y', X'] to the same shape."""
    Y, X = ink.shape
    parts = [math.exp(rng.uniform(-most, most)) for _ in range(5)]
    ends = np.concatenate(([0.0], np.cumsum(parts))) * (Y / sum(parts))  # where they end up
    even = np.linspace(0, Y, len(ends))
    mesh = [
        ((0, round(y0), X, round(y1)), (0, top, 0, bottom, X, bottom, X, top))
        for y0, y1, top, bottom in zip(ends, ends[1:], even, even[1:], strict=False)
        if round(y1) > round(y0)
    ]
    image = Image.fromarray(ink).transform(
        (X, Y), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR
    )
    return np.asarray(image)
