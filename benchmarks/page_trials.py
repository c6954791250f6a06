"""Trials of pages beside what they say: rendered pages whose every line is known, turned and bent
pages, and pages without text. Each is an option of `benchmarks.pages`.

Right, for the order of regions: a rendered page's regions have the order in which they were drawn,
and a region is right if its lines come together and directly after those of the region before it.
Either of two headers, or of two footers, may be first; a chart's words have no order and are left
out; the boxes of a sheet of snippets ("styles") may come in any order, each with its lines
together. Beside it stands the share of lines that follow the line that they should, inside tables,
too.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.drawn import page_source
from benchmarks.page_sets import KnownDocument, PageSet
from khmer_fast.data.page_config import load_page_config
from khmer_fast.data.pages import PageLine, PageSample
from khmer_fast.document import Box
from khmer_fast.evaluation.pages import ReferenceLine, find_strings
from khmer_fast.files.images import load_grey
from khmer_fast.page import pixels
from khmer_fast.page.find import FoundPage, find_lines
from khmer_fast.page.lines import FoundLine
from khmer_fast.page.order import arrange
from khmer_fast.page.page_reader import PageReader
from khmer_fast.page.rules import find_rules
from khmer_fast.page.segment import Segmenter, network_scale, scale_page

SEED = 20_000_000  # of the pages: none that training draws
HELD_OUT = 4  # every fourth page is of a layout and in fonts that training never sees
ALL_ITS_INK = 0.97  # of a line's ink that one found line must hold
UNORDERED = ("styles",)  # layouts whose regions are snippets thrown on a sheet
SURE = 0.5  # confidence of text that counts as invented
TURNS = (2.0, 5.0, 10.0)  # degrees
BEND = 0.03  # of the page's width


def samples(count: int, turned: float | None = 0.0, **options: Any) -> Iterator[PageSample]:
    """Rendered pages of all layouts, `turned` the chance of quarter turns (None: the mixture's)."""
    config = load_page_config()
    if turned is not None:
        config = dataclasses.replace(config, turned=turned)
    seen = page_source(config, **options)
    unseen = seen if "layouts" in options else page_source(config, held_out=True, **options)
    for i in range(count):
        yield (unseen if i % HELD_OUT == HELD_OUT - 1 else seen).sample(SEED, i)


# ---- order ----


@dataclass(frozen=True)
class OrderResult:
    """How many regions and lines of rendered pages stood in their place."""

    pages: int
    pages_right: int
    regions: int
    regions_right: int
    lines: int
    lines_right: int
    milliseconds: float  # of processor time a page, median: rules not counted
    by_layout: dict[str, tuple[int, int]]  # regions right, regions

    def __str__(self) -> str:
        worst = sorted(self.by_layout.items(), key=lambda item: item[1][0] - item[1][1])[:6]
        return (
            f"order, {self.pages} rendered pages: {self.regions_right} of {self.regions} regions "
            f"right ({self.regions_right / max(1, self.regions):.2%}), {self.lines_right} of "
            f"{self.lines} lines follow the right one ({self.lines_right / max(1, self.lines):.2%})"
            f", {self.pages_right} pages wholly right; {self.milliseconds:.1f} ms a page; worst: "
            + ", ".join(f"{name} {right}/{all_}" for name, (right, all_) in worst)
        )


def order_trial(count: int) -> OrderResult:
    """Order from true lines: no network is asked."""
    totals = [0] * 6
    by_layout: dict[str, tuple[int, int]] = {}
    times = []
    for sample in samples(count):
        lines = [true_line(sample, i) for i in range(len(sample.lines))]
        scale = network_scale(*sample.image.shape)
        rules = find_rules(scale_page(sample.image, scale), scale)
        start = time.process_time()
        plans = arrange(lines, rules, sample.image.shape[::-1])
        times.append(time.process_time() - start)
        regions, follow = in_place(sample, [i for plan in plans for i in plan.all_lines()])
        for k, n in enumerate(
            (1, all(follow), len(regions), sum(regions), len(follow), sum(follow))
        ):
            totals[k] += int(n)
        right, all_ = by_layout.get(sample.layout, (0, 0))
        by_layout[sample.layout] = right + sum(regions), all_ + len(regions)
    return OrderResult(*totals, 1000 * statistics.median(times), by_layout)


def in_place(sample: PageSample, order: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """For each region whether it is right, and for each line whether it follows the right one."""
    order = [i for i in order if sample.lines[i].kind != "chart"]
    position = {i: k for k, i in enumerate(order)}
    regions: dict[int, list[int]] = {}
    for i, line in enumerate(sample.lines):
        if line.kind != "chart":
            regions.setdefault(line.region, []).append(i)
    true = [(sample.regions[r].kind, lines) for r, lines in sorted(regions.items())]
    for k in range(len(true) - 1):
        (kind, lines), (other_kind, others) = true[k : k + 2]
        if kind == other_kind and kind in ("header", "footer"):
            if position[others[0]] < position[lines[0]]:
                true[k], true[k + 1] = true[k + 1], true[k]
    if sample.layout in UNORDERED:
        true.sort(key=lambda region: min(position[i] for i in region[1]))
    right, follow, end = [], [], -1
    for _, lines in true:
        places = [position[i] for i in lines]
        right.append(sorted(places) == list(range(end + 1, end + 1 + len(lines))))
        before = [end, *places]
        follow += [b == a + 1 for a, b in zip(before, before[1:], strict=False)]
        end = places[-1] if not right[-1] else max(places)
    return right, follow


def true_line(sample: PageSample, index: int) -> FoundLine:
    """A rendered line as a perfect segmenter gives it."""
    line = sample.lines[index]
    left, top, right, bottom = line.box
    ink = sample.owner[top:bottom, left:right] == index + 1  # [h, w]
    edges = np.linspace(0, right - left, 17).astype(int)
    upper, lower = [], []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        rows = np.flatnonzero(ink[:, a : max(b, a + 1)].any(axis=1))
        if len(rows):
            x = float(left + (a + b) / 2)
            upper.append((x, float(top + rows[0])))
            lower.append((x, float(top + rows[-1] + 1)))
    baseline = tuple((float(x), float(y)) for x, y in line.baseline)
    return FoundLine(line.box, baseline, tuple(upper + lower[::-1]), line.letter_height)


# ---- lines with all their ink, rotation ----


@dataclass(frozen=True)
class InkResult:
    """Lines of rendered pages in unseen fonts and layouts, found with all their ink."""

    pages: int
    lines: int
    whole: int  # one found line has nearly all of their ink
    joined: int  # of those, lines that are one found line with others of their row

    def __str__(self) -> str:
        return (
            f"ink, {self.pages} rendered pages in unseen fonts and layouts: {self.whole} of "
            f"{self.lines} lines found with all their ink ({self.whole / max(1, self.lines):.2%}), "
            f"{self.joined} of them as one line with others of their row"
        )


def ink_trial(count: int, segmenter: Segmenter) -> InkResult:
    """Whether each line's ink is held by one found line, and that line holds no other row's."""
    source = page_source(held_out=True)
    lines = whole = joined = 0
    for i in range(count):
        sample = source.sample(SEED + 1, i)
        held = whole_lines(sample, find_lines(sample.image, segmenter, sample.rotation))
        lines += len(held)
        whole += sum(others is not None for others in held)
        joined += sum(bool(others) for others in held)
    return InkResult(count, lines, whole, joined)


def whole_lines(sample: PageSample, found: FoundPage) -> list[int | None]:
    """For each line that the page's edge does not cut: how many others of its row the found line
    with all of its ink is, too; None where no found line has it all, or it has another row's."""
    true = true_owners(sample, found)
    mine = found.owners.owners  # [Y, X]
    inked = (true > 0) & (found.ink.ink > 0)
    pairs = np.stack([true[inked].astype(np.int64), mine[inked].astype(np.int64)])
    table, counts = np.unique(pairs, axis=1, return_counts=True)
    ink = np.bincount(table[0], counts, minlength=len(sample.lines) + 1)
    held: dict[int, tuple[float, int]] = {}  # index of a true line: (share, found line)
    for line, owner, count in zip(*table.tolist(), counts.tolist(), strict=True):
        share = count / ink[line]
        if 0 < owner < pixels.FRAME and share > held.get(line - 1, (0.0, 0))[0]:
            held[line - 1] = share, owner
    whole = {line: owner for line, (share, owner) in held.items() if share >= ALL_ITS_INK}
    together: list[int | None] = []
    for i, line in enumerate(sample.lines):
        if line.cut or ink[i + 1] == 0:
            continue
        others = [k for k, owner in whole.items() if k != i and owner == whole.get(i)]
        row = all(_in_one_row(line, sample.lines[k], sample.rotation, found.skew) for k in others)
        together.append(len(others) if i in whole and row else None)
    return together


def _in_one_row(a: PageLine, b: PageLine, rotation: int, skew: float) -> bool:
    """Whether two lines of a page that lies turned by `rotation`, and falls to the right by `skew`
    degrees, stand beside each other."""
    across = 1 if rotation in (0, 180) else 0  # the axis from line to line
    falls = math.tan(math.radians(skew)) * (1 if across else -1)
    (along_a, across_a), (along_b, across_b) = (
        np.median(line.baseline, axis=0)[[1 - across, across]].tolist() for line in (a, b)
    )
    ends = [line.baseline[[0, -1]][:, 1 - across] for line in (a, b)]
    apart = min(abs(float(p) - float(q)) for p in ends[0] for q in ends[1])
    bend = 0.1 * (apart + max(abs(float(e[1] - e[0])) for e in ends) / 2)
    away = across_b - across_a - falls * (along_b - along_a)
    return abs(away) < 0.6 * max(a.letter_height, b.letter_height) + bend


def true_owners(sample: PageSample, found: FoundPage) -> np.ndarray:
    """A sample's owners where the found page's are: uint16 [Y, X]."""
    owners = np.rot90(sample.owner, found.rotation // 90)
    image = Image.fromarray(np.ascontiguousarray(owners).astype(np.int32), "I")
    if found.levelled:
        image = image.rotate(found.skew, Image.Resampling.NEAREST, expand=True)
    height, width = found.owners.owners.shape
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST)).astype(np.uint16)


@dataclass(frozen=True)
class RotationResult:
    """Quarter turns that were seen."""

    pages: int
    right: int

    def __str__(self) -> str:
        return (
            f"rotation: right on {self.right} of {self.pages} pages ({self.right / self.pages:.2%})"
        )


def rotation_trial(count: int, pictures: Sequence[Path], reader: PageReader) -> RotationResult:
    """Rendered pages and real ones in each of the four rotations, as the reader settles them."""
    pages = right = 0
    for picture in pictures:
        grey = load_grey(picture)
        for turn in range(4):
            turned = np.ascontiguousarray(np.rot90(grey, -turn))  # clockwise
            right += reader.read_page(turned).rotation == 90 * turn
            pages += 1
    for i, sample in enumerate(samples(max(0, count - pages))):
        if len(sample.lines) > 1:
            turned = np.ascontiguousarray(np.rot90(sample.image, -(i % 4)))
            right += reader.read_page(turned).rotation == 90 * (i % 4)
            pages += 1
    return RotationResult(max(pages, 1), right)


# ---- turned and bent pages ----


@dataclass(frozen=True)
class TurnedResult:
    """Edits of the labelled lines' text, found anywhere on the page, over their characters."""

    how: str
    cer: float
    over_straight: float | None

    def __str__(self) -> str:
        ratio = "" if self.over_straight is None else f", {self.over_straight:.2f} times the errors"
        return f"{self.how}: {self.cer:.2%} of the labelled lines' characters wrong{ratio}"


def turned_trial(sets: Sequence[PageSet], reader: PageReader) -> list[TurnedResult]:
    """Labelled pages as they are, turned by TURNS degrees and bent by BEND."""
    documents = [d for pages in sets for d in pages.documents if d.lines]
    straight = _share_wrong(documents, reader, lambda grey: grey)
    results = [TurnedResult("straight", straight, None)]
    for degrees in TURNS:
        wrong = _share_wrong(documents, reader, lambda grey, by=degrees: turn(grey, by))
        results.append(
            TurnedResult(f"turned by {degrees:g} degrees", wrong, wrong / max(straight, 1e-9))
        )
    wrong = _share_wrong(documents, reader, lambda grey: bend(grey, BEND))
    results.append(TurnedResult(f"bent by {BEND:.0%}", wrong, wrong / max(straight, 1e-9)))
    return results


def _share_wrong(documents: Sequence[KnownDocument], reader: PageReader, change: Any) -> float:
    edits = characters = 0
    for document in documents:
        page = reader.read_page(change(load_grey(document.pictures[0])))
        score = find_strings([line.text for line in document.lines], list(page.lines()))
        edits += score.edits_in_order
        characters += score.characters
    return edits / max(characters, 1)


def turn(grey: np.ndarray, degrees: float) -> np.ndarray:
    """A page turned clockwise on paper of its own colour: uint8 [Y, X] -> uint8 [Y', X']."""
    paper = int(np.median(grey))
    image = Image.fromarray(grey).rotate(
        -degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=paper
    )
    return np.asarray(image)


def bend(grey: np.ndarray, share: float) -> np.ndarray:
    """A page whose lines sag in the middle by a share of its width: uint8 [Y, X], higher."""
    height, width = grey.shape
    sag = share * width * (1 - (2 * (np.arange(width) + 0.5) / width - 1) ** 2)  # [X]
    most = int(np.ceil(sag.max()))
    rows = np.arange(height + most)[:, None] - sag  # [Y', X], where it comes from
    low = np.floor(rows).astype(int)
    t = rows - low
    paper = float(np.median(grey))
    x = np.arange(width)

    def value(at: np.ndarray) -> np.ndarray:
        kept = grey[np.clip(at, 0, height - 1), x].astype(np.float64)
        return np.where((at >= 0) & (at < height), kept, paper)

    # Catmull-Rom's cubic, about as sharp as the bicubic that pages are turned by
    outer = value(low - 1) * (-0.5 * t * (1 - t) ** 2) + value(low + 2) * (0.5 * t * t * (t - 1))
    first, second = 1 + t * t * (1.5 * t - 2.5), 0.5 * t * (1 + t * (4 - 3 * t))
    bent = outer + value(low) * first + value(low + 1) * second
    return np.rint(bent.clip(0, 255)).astype(np.uint8)


# ---- pages without text ----


@dataclass(frozen=True)
class BlankResult:
    """Text that was read where none stands."""

    pages: int
    lines: int  # with any text
    sure: int  # at a confidence of SURE or more
    texts: tuple[str, ...]  # of those

    def __str__(self) -> str:
        shown = f": {', '.join(map(repr, self.texts[:8]))}" if self.texts else ""
        return (
            f"without text, {self.pages} pages: {self.lines} lines invented, {self.sure} of them "
            f"at a confidence of {SURE} or more{shown}"
        )


def blank_trial(count: int, reader: PageReader) -> BlankResult:
    """Blank pages, noise, photographs, drawings, seals, codes, forms without entries."""
    lines = [
        line
        for sample in samples(count, layouts=("blank",))
        for line in reader.read_page(sample.image).lines()
        if line.text
    ]
    sure = [line.text for line in lines if line.confidence >= SURE]
    return BlankResult(count, len(lines), len(sure), tuple(sure))


# ---- rendered pages for the engines ----


def rendered_set(count: int, scratch: Path) -> PageSet:
    """Rendered pages as known documents: all of their lines with boxes, by layout."""
    documents = []
    for i, sample in enumerate(samples(count)):
        picture = scratch / f"rendered-{i}.png"
        Image.fromarray(sample.image).save(picture, compress_level=1)
        lines = tuple(ReferenceLine(line.text, _box(line.box)) for line in sample.lines)
        documents.append(
            KnownDocument(picture.name, sample.layout, (picture,), lines=lines, complete=True)
        )
    return PageSet("rendered", tuple(documents))


def _box(box: Sequence[int]) -> Box:
    left, top, right, bottom = (int(edge) for edge in box)
    return left, top, right, bottom
