"""The mixture of rendered lines as data: which texts, fonts, styles and papers, and how often.

`config.py` reads it from TOML.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextFile:
    """One text file, a name under the text folder; `use` is `running` (lines of text) or `words`
    (one word a line, a tab and a count may follow); `drop_control` drops control characters, which
    are errors otherwise."""

    file: str
    use: str
    weight: float
    drop_control: bool = False


@dataclass(frozen=True)
class LengthRange:
    """Lines of `low` to `high` characters, drawn `weight` times in the sum of weights."""

    low: int
    high: int
    weight: float


@dataclass(frozen=True)
class TextMixture:
    """Which texts are written: `kinds` maps a kind of khmer_fast.data.texts to its weight; `blank`
    is the chance of a line with nothing on it."""

    files: tuple[TextFile, ...]
    lengths: tuple[LengthRange, ...]
    kinds: dict[str, float]
    natural_cut: float
    blank: float


@dataclass(frozen=True)
class FontGroup:
    """Font files (glob patterns over file names) of one family or purpose.

    `headings` is the weight in short, display-like lines; `weight` in all others.
    """

    name: str
    files: tuple[str, ...]
    weight: float
    headings: float


@dataclass(frozen=True)
class FontMixture:
    """Khmer font groups, Latin fall-back patterns, the fonts that training never sees, and by file
    name the characters that a font draws like another one."""

    held_out: tuple[str, ...]
    latin: tuple[str, ...]
    confused: dict[str, str]
    own_latin: float
    groups: tuple[FontGroup, ...]
    machine: tuple[str, ...] = ()  # for machine-readable lines


@dataclass(frozen=True)
class Style:
    """Chances of typographic variation, and ranges in the units named.

    `spacing` is extra width a cluster and `word_space` extra width a space, in font sizes;
    `stretch` is the horizontal scale; `slant` the shear of italics; `margin` the white around the
    text, `pitch` the distance of lines, `cut_by` what a crop cuts off, all in font sizes.
    `unevenness` is the standard deviation of each cluster's place, `overlap_by` how far a vowel
    that stands before its consonant is pushed into it, both in font sizes; `legacy` faces set marks
    over the base alone and ៗ as a small ១; `subscript` is the size of letters that stand for
    subscripts, of theirs; `proportion` is the logarithm of how much parts of the
    height grow or shrink.
    """

    bold: float
    italic: float
    slant: tuple[float, float]
    spaced: float
    spacing: tuple[float, float]
    stretched: float
    stretch: tuple[float, float]
    justified: float
    word_space: tuple[float, float]
    emphasis: float
    underline: float
    neighbours: float
    pitch: tuple[float, float]
    tight: float
    margin: tuple[float, float]
    indent: float
    cut: float
    cut_by: tuple[float, float]
    native: float
    uneven: float = 0.0
    unevenness: tuple[float, float] = (0.0, 0.0)
    overlap: float = 0.0
    overlap_by: tuple[float, float] = (0.0, 0.0)
    legacy: float = 0.0
    subscripts: float = 0.0
    subscript: tuple[float, float] = (0.0, 0.0)
    proportions: float = 0.0
    proportion: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Step:
    """One degradation: its function's name in khmer_fast.data.degrade, the chance that it is
    applied, and the range of its strength."""

    do: str
    chance: float
    strength: tuple[float, float]


@dataclass(frozen=True)
class Paper:
    """One kind of image: font size in pixels, grey levels of ink and paper, then steps in order."""

    name: str
    weight: float
    size: tuple[float, float]
    ink: tuple[int, int]
    paper: tuple[int, int]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class RenderConfig:
    """The whole mixture; see default.toml, which explains every value."""

    text: TextMixture
    fonts: FontMixture
    style: Style
    papers: tuple[Paper, ...]
