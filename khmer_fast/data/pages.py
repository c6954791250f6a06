"""Rendered pages without end, with the owner of every pixel of ink: page `index` of `seed` is the
same pixels everywhere.

texts, fonts > page_composer, page_layouts > page_geometry > degrade > pages
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from khmer_fast.data.config import DEFAULT_CONFIG
from khmer_fast.data.degrade import STEPS, Tones
from khmer_fast.data.draw import GlyphCache
from khmer_fast.data.mixture import RenderConfig
from khmer_fast.data.page_composer import Composer, DrawnLine
from khmer_fast.data.page_config import (
    LayoutChoice,
    PageConfig,
    PageMarks,
    PagePaper,
    load_page_config,
)
from khmer_fast.data.page_geometry import Warp, turn_points, turn_quarter
from khmer_fast.data.page_hard import over_lines
from khmer_fast.data.page_layouts import LAYOUTS, begin
from khmer_fast.data.page_marks import (
    dark_border,
    handwriting,
    holes,
    seal,
    signature,
    watermark,
)
from khmer_fast.data.page_type import Typesetter
from khmer_fast.data.source import LineSource

DEFAULT_LINES = DEFAULT_CONFIG.with_name("varied.toml")  # texts and fonts of pages
Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom exclusive

_STEP_SCALED = frozenset(("blur", "weight", "motion", "low_resolution"))  # strengths in pixels
_SCALED_FOR = 1280  # the long side that those strengths are meant for
_LEAST_SEEN = 9  # grey levels between a line's ink and what is round it
_LEAST_LEFT = 0.25  # of a line's ink: a line with less is worn
_MOST_WORN = 0.2  # of a page's lines: more, and its paper is chosen anew,
_DRAFTS = 4  # until so many were tried
_SPARSE = 7  # every such pixel is looked at
_BASELINE_STEP = 48  # pixels between the points of a baseline


@dataclass(frozen=True)
class PageLine:
    """A line of a page: canonical text, baseline float32 [P, 2] (x, y) left to right as it is
    read, the height of a plain consonant in pixels, the box of its ink, its region's index, its
    cell (row, column) in a table. `cut` says that the image's edge cuts its ink."""

    text: str
    baseline: np.ndarray
    letter_height: float
    box: Box
    region: int
    cell: tuple[int, int] | None
    kind: str
    cut: bool


@dataclass(frozen=True)
class PageRegion:
    """Lines that belong together: a kind of document.REGION_KINDS and the box of their ink."""

    kind: str
    box: Box


@dataclass(frozen=True)
class PageSample:
    """A rendered page. `owner` uint16 [Y, X] is i + 1 for the ink of lines[i], else 0. Lines and
    regions are in the reading order of the upright page; all places are those of the image as it
    is, which was turned clockwise by `rotation`; `skew` is in degrees, before that turn, lines
    falling to the right where it is above 0. `layout` and `paper` are names of the mixture."""

    image: np.ndarray
    owner: np.ndarray
    lines: tuple[PageLine, ...]
    regions: tuple[PageRegion, ...]
    rotation: int
    skew: float
    layout: str
    paper: str


class PageSource:
    """Draws pages; `sample(seed, index)` depends on nothing but its arguments, the two mixtures,
    the text and font files, and the versions in `describe()`.

    `config` is a PageConfig or the path of a TOML file (default: pages.toml); `lines` the mixture
    of texts and fonts, as LineSource's (default: varied.toml). `long_side` fixes the long side in
    pixels (a snippet may be smaller). `held_out` draws in the fonts and layouts that training never
    sees; `layouts` names the only ones to draw. Raises KhmerFastError when raqm, texts or fonts are
    missing.
    """

    def __init__(
        self,
        config: PageConfig | str | Path | None = None,
        *,
        lines: RenderConfig | str | Path | None = None,
        text_folder: str | Path | None = None,
        font_folders: tuple[str | Path, ...] | None = None,
        fonts: tuple[str | Path, ...] = (),
        held_out: bool = False,
        layouts: tuple[str, ...] = (),
        long_side: int | None = None,
    ):
        if not isinstance(config, PageConfig):
            config = load_page_config() if config is None else load_page_config(config)
        self.config = config
        self.long_side = long_side
        self._lines = LineSource(
            lines or DEFAULT_LINES, text_folder=text_folder, font_folders=font_folders, fonts=fonts,
            held_out=held_out,
        )  # fmt: skip
        self.texts, self.fonts = self._lines.texts, self._lines.fonts
        self._setter = Typesetter(self.fonts, GlyphCache())
        self.layouts = _chosen(config, held_out, layouts)

    def only(self, *layouts: str) -> PageSource:
        """The same source, drawing these layouts alone; it shares texts, fonts and glyphs."""
        source = copy.copy(self)
        source.layouts = _chosen(self.config, False, layouts)
        return source

    def sample(self, seed: int, index: int) -> PageSample:
        """Page `index` (>= 0) of `seed` (>= 0)."""
        numbers = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index))))
        rng = random.Random(int(numbers.integers(1 << 62)))
        layout = rng.choices(self.layouts, [choice.weight for choice in self.layouts])[0]
        papers = [p for p in self.config.papers if layout.on in ("any", p.on)]
        paper = rng.choices(papers, [p.weight for p in papers])[0]
        long_side = self.long_side or rng.randint(*self.config.long_side)
        page = begin(rng, numbers, self.texts, self._setter, layout.name, paper.on, long_side)
        LAYOUTS[layout.name](page)
        for last in page.after:
            last()
        if paper.on == "paper":
            _mark(page, self.config.marks)
        if layout.on == "paper" and rng.random() < self.config.marks.cut_margin:
            _cut_margins(page)
        return self._photographed(page, layout.name, paper)

    def _photographed(self, page: Composer, layout: str, paper: PagePaper) -> PageSample:
        """The drawn page as paper, geometry and camera leave it."""
        rng = page.rng
        warp = _warp(rng, paper, page.width, page.height)
        grey, owner = page.canvas.grey, page.canvas.owner
        if not warp.identity:
            around = int(grey[0, 0]) if rng.random() >= paper.edges else rng.randint(0, 170)
            grey = warp.apply(grey, Image.Resampling.BILINEAR, around)
            owner = warp.apply(owner, Image.Resampling.NEAREST, 0)
        drawn = grey
        for _ in range(_DRAFTS):
            grey = _degraded(drawn, page, paper)
            contrasts = list(_contrasts(grey, owner, len(page.lines)))
            if not _is_worn(contrasts):
                break
        owner = _without_unseen(owner, contrasts, len(page.lines))
        rotation = rng.choice((90, 180, 270)) if rng.random() < self.config.turned else 0
        height, width = grey.shape
        grey, owner = turn_quarter(grey, rotation), turn_quarter(owner, rotation)
        lines, regions, owner = _labels(page, warp, owner, rotation, width, height)
        return PageSample(grey, owner, lines, regions, rotation, warp.skew, layout, paper.name)

    def describe(self) -> dict[str, object]:
        """What the pixels depend on: versions, hashes of texts and fonts, and the mixtures."""
        return {
            **self._lines.describe(),
            "pages_config": hashlib.sha256(repr(self.config).encode()).hexdigest(),
            "pages_mixture": asdict(self.config),
        }


def _chosen(
    config: PageConfig, held_out: bool, layouts: tuple[str, ...]
) -> tuple[LayoutChoice, ...]:
    """The layouts to draw; ConfigError names one that the mixture does not have."""
    from khmer_fast.data.config import ConfigError

    known = {choice.name: choice for choice in config.layouts}
    for name in layouts:
        if name not in known:
            raise ConfigError(f"unknown layout {name!r}; known: {', '.join(sorted(known))}")
    if layouts:
        return tuple(known[name] for name in layouts)
    chosen = tuple(c for c in config.layouts if c.held_out == held_out)
    return chosen or config.layouts


def _mark(page: Composer, marks: PageMarks) -> None:
    """What lies on a page of paper and is no text."""
    if page.chance(marks.stamp):
        radius = page.unit * page.some(35, 65)
        seal(page, page.some(0.2, 0.85) * page.width, page.some(0.3, 0.9) * page.height, radius)
    if page.chance(marks.signature):
        signature(
            page,
            page.some(0.2, 0.8) * page.width,
            page.some(0.4, 0.9) * page.height,
            page.unit * page.some(50, 130),
        )
    if page.chance(marks.scribble):
        x, y = page.some(0.05, 0.7) * page.width, page.some(0.03, 0.97) * page.height
        size = page.unit * page.some(8, 20)
        wide = page.some(2, 12) * size
        if not page.inked((x, y - size, x + wide, y + size)):
            handwriting(page, x, y, wide, size)
    if marks.over_lines and page.chance(marks.over_lines):
        over_lines(page)
    if page.chance(marks.watermark):
        watermark(page)
    if page.chance(marks.holes):
        holes(page)
    if page.chance(marks.dark_border):
        dark_border(page)


def _degraded(grey: np.ndarray, page: Composer, paper: PagePaper) -> np.ndarray:
    """The page [Y, X] as its paper and the camera or copier leave it."""
    rng = page.rng
    tones = Tones(rng.randint(*paper.ink), rng.randint(*paper.paper))
    scale = max(grey.shape) / _SCALED_FOR
    for step in paper.steps:
        if rng.random() < step.chance:
            strength = rng.uniform(*step.strength)
            strength *= scale if step.do in _STEP_SCALED else 1.0
            grey = STEPS[step.do](grey, strength, page.numbers, tones)
    return grey


def _contrasts(grey: np.ndarray, owner: np.ndarray, lines: int) -> Iterator[tuple[int, np.ndarray]]:
    """The owner and the grey levels between ink and ground, int16 [pixels of ink], of each line
    that has both in `grey` [Y, X]."""
    boxes, counts = _ink_boxes(owner, lines)
    for i, (left, top, right, bottom) in enumerate(boxes):
        if not counts[i + 1]:
            continue
        part, whose = grey[top:bottom, left:right], owner[top:bottom, left:right]
        around = part[whose == 0][::_SPARSE]
        if around.size:
            ground = int(np.partition(around, around.size // 2)[around.size // 2])
            yield i + 1, part[whose == i + 1].astype(np.int16) - ground


def _is_worn(contrasts: list[tuple[int, np.ndarray]]) -> bool:
    """Whether a threshold or a copier left so little of a page's ink that nobody could read it."""
    worn = sum(_share_left(ink) < _LEAST_LEFT for _, ink in contrasts)
    return worn > _MOST_WORN * len(contrasts)


def _share_left(ink: np.ndarray) -> float:
    """The share of a line's ink that is at least half as far from its ground as the strongest."""
    away = np.abs(ink)
    strongest = int(19 * away.size / 20)
    return float((2 * away > np.partition(away, strongest)[strongest]).mean())


def _without_unseen(
    owner: np.ndarray, contrasts: list[tuple[int, np.ndarray]], lines: int
) -> np.ndarray:
    """`owner` [Y, X] without the lines that cannot be seen: the camera or the copier lost them."""
    keep = np.arange(lines + 1, dtype=np.uint16)
    for line, ink in contrasts:
        if abs(ink.mean()) < _LEAST_SEEN and np.abs(ink).mean() < 2 * _LEAST_SEEN:  # two inks
            keep[line] = 0
    return keep[owner]


def _cut_margins(page: Composer) -> None:
    """Cut away margins, now and then a little into the text at one side."""
    box = page.ink_box()
    if box is None:
        return
    rng, size = page.rng, page.body.size
    pads = [rng.uniform(0, 3) * size for _ in range(4)]
    if rng.random() < 0.15:
        pads[rng.randrange(4)] = -rng.uniform(0, 2) * size
    page.crop((box[0] - pads[0], box[1] - pads[1], box[2] + pads[2], box[3] + pads[3]))


def _warp(rng: random.Random, paper: PagePaper, width: int, height: int) -> Warp:
    tilt: tuple[float, ...] = (0.0,) * 8
    if rng.random() < paper.tilted:
        most = rng.uniform(*paper.tilt)
        tilt = tuple(rng.uniform(-most, most) for _ in range(8))
    skew = rng.uniform(*paper.skew) if rng.random() < paper.skewed else 0.0
    bend = rng.uniform(*paper.bend) if rng.random() < paper.bent else 0.0
    return Warp(
        width, height, skew, bend,
        phase=rng.uniform(0, 6.3), waves=rng.uniform(2, 6), lean=rng.uniform(-1, 1), tilt=tilt,
        zoom=rng.uniform(0.8, 1.0) if any(tilt) and rng.random() < paper.edges else 1.0,
    )  # fmt: skip


def _labels(
    page: Composer,
    warp: Warp,
    owner: np.ndarray,
    rotation: int,
    width: int,
    height: int,
) -> tuple[tuple[PageLine, ...], tuple[PageRegion, ...], np.ndarray]:
    """Lines and regions that have ink in the final image, and owners that count them anew."""
    boxes, counts = _ink_boxes(owner, len(page.lines))
    order = [i for i in range(len(page.lines)) if counts[i + 1]]
    number = np.zeros(len(page.lines) + 1, np.uint16)
    number[[i + 1 for i in order]] = np.arange(1, len(order) + 1)
    kept = sorted({page.lines[i].region for i in order})
    region_of = {region: i for i, region in enumerate(kept)}
    edge = (owner.shape[1], owner.shape[0])
    baselines, scales = _placed([page.lines[i] for i in order], warp)
    lines = []
    for i, flat, scale in zip(order, baselines, scales, strict=True):
        drawn = page.lines[i]
        box = boxes[i]
        baseline = turn_points(flat, rotation, width, height).astype(np.float32)
        at_edge = box[0] == 0 or box[1] == 0 or box[2] == edge[0] or box[3] == edge[1]
        lines.append(
            PageLine(
                drawn.text, baseline, drawn.letter_height * scale, box, region_of[drawn.region],
                drawn.cell, drawn.kind, at_edge,
            )
        )  # fmt: skip
    regions = tuple(
        PageRegion(page.regions[region], _around([li.box for li in lines if li.region == i]))
        for region, i in region_of.items()
    )
    return tuple(lines), regions, number[owner]


def _placed(lines: list[DrawnLine], warp: Warp) -> tuple[list[np.ndarray], list[float]]:
    """The baseline [P, 2] of each line on the warped page, and how much taller its letters are."""
    flat = []
    for line in lines:
        count = max(2, round((line.x1 - line.x0) / _BASELINE_STEP) + 1)
        xs = np.linspace(line.x0, line.x1, count)
        flat.append(np.stack((xs, np.full(count, line.y)), 1))
    if warp.identity or not flat:
        return flat, [1.0] * len(flat)
    ends = np.cumsum([len(points) for points in flat])
    placed = np.split(warp.forward(np.concatenate(flat)), ends[:-1])
    middles = np.array([points[len(points) // 2] for points in flat])
    return placed, warp.scales(middles).tolist()


def _ink_boxes(owner: np.ndarray, lines: int) -> tuple[list[Box], np.ndarray]:
    """The box of each line's ink (of no ink: zeros), and pixels by owner [lines + 1]."""
    flat = np.flatnonzero(owner)
    ids = owner.ravel()[flat]
    counts = np.bincount(ids, minlength=lines + 1)
    counts[0] = 0
    by_line = np.argsort(ids, kind="stable")
    ys, xs = np.divmod(flat[by_line], owner.shape[1])
    ends = np.cumsum(counts)
    boxes: list[Box] = []
    for i in range(1, lines + 1):
        first, last = ends[i - 1], ends[i]
        if first == last:
            boxes.append((0, 0, 0, 0))
            continue
        x = xs[first:last]
        box = (x.min(), ys[first], x.max() + 1, ys[last - 1] + 1)
        boxes.append(tuple(int(v) for v in box))  # type: ignore[arg-type]
    return boxes, counts


def _around(boxes: list[Box]) -> Box:
    return (
        min(b[0] for b in boxes), min(b[1] for b in boxes),
        max(b[2] for b in boxes), max(b[3] for b in boxes),
    )  # fmt: skip
