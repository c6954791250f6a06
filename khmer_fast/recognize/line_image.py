"""A grey line to a clean one, 48 pixels high, dark on white. Training and reading share it.

uint8 [Y', X'] of `files.images.load_grey`  --prepare-->  uint8 [48, X], and where it lies
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from khmer_fast.document import Box
from khmer_fast.errors import ImageError
from khmer_fast.recognize import papers, slant, two_inks

HEIGHT = 48
MIN_WIDTH = 16
MAX_WIDTH = 16_384  # 4,096 encoder positions at a stride of 4

MARGIN = 0.08  # of the height, above, below, left and right of the ink
MAX_ENLARGEMENT = 4.0  # a dotted rule is no line of giant dots
MAX_INK_WIDTH = 24_000  # pixels of a line that has to be shrunk to fit MAX_WIDTH,
MIN_INK_HEIGHT = 10  # and how low it may get
MAX_PICTURE_PIXELS = 2**24  # of a picture that is cleaned as it is; a larger one is shrunk first
MIN_CONTRAST = 16  # grey levels between paper and ink; less is an empty line
CLEAR = 5.0  # contrast, in deviations of the paper's grain, that levels are measured well at
LEGIBLE = 3.0  # and that ink is told from grain at: noise without ink has 2.7 at most
INK = 0.35  # how far from paper to ink a pixel counts as ink when blank rows are sought


@dataclass(frozen=True)
class PreparedLine:
    """A clean line and the way from its pixels to those of its picture."""

    image: np.ndarray  # uint8 [Y, X], ink 0, paper 255
    ink: tuple[int, int, int, int]  # left, top, right, bottom in the image, margin left out
    box: Box  # of the ink in the picture; of the whole picture where there is none
    to_picture: tuple[float, float, float, float, float, float] = (1, 0, 0, 1, 0, 0)
    # (a, b, c, d, e, f): x' = a x + c y + e, y' = b x + d y + f

    @property
    def blank(self) -> bool:
        """Whether nothing is written there."""
        return self.image.min() == 255

    def ink_pixels(self) -> np.ndarray:
        """The image without its margin: uint8 [Y, X]."""
        left, top, right, bottom = self.ink
        return self.image[top:bottom, left:right]

    def picture_boxes(self, edges: np.ndarray) -> list[Box]:
        """Upright boxes in the picture, held to `box`, of the ink between `edges` [n + 1], columns
        of the image that do not decrease."""
        a, b, c, d, e, f = self.to_picture
        _, top, _, bottom = self.ink
        first, upper, last, lower = self.box
        if b == c == 0:  # not turned
            left = np.clip(np.floor(a * edges[:-1] + e), first, last - 1).astype(int).tolist()
            right = np.clip(np.ceil(a * edges[1:] + e), first + 1, last).astype(int).tolist()
            return [(x0, upper, x1, lower) for x0, x1 in zip(left, right, strict=True)]
        corners = np.stack([edges[:-1], edges[1:]])  # [2, n]
        xs = np.concatenate([a * corners + (c * top + e), a * corners + (c * bottom + e)])
        ys = np.concatenate([b * corners + (d * top + f), b * corners + (d * bottom + f)])
        sides = (
            np.clip(np.floor(xs.min(axis=0)), first, last - 1),
            np.clip(np.floor(ys.min(axis=0)), upper, lower - 1),
            np.clip(np.ceil(xs.max(axis=0)), first + 1, last),
            np.clip(np.ceil(ys.max(axis=0)), upper + 1, lower),
        )
        return list(zip(*(side.astype(int).tolist() for side in sides), strict=True))


def prepare_line(grey: np.ndarray, height: int = HEIGHT) -> np.ndarray:
    """The image alone of what `prepare` makes: uint8 [Y', X'] to uint8 [height, X]."""
    return prepare(grey, height).image


def prepare(grey: np.ndarray, height: int = HEIGHT, alone: bool = False) -> PreparedLine:
    """Cleans one line: uint8 [Y', X'] as a scanner gives it to uint8 [height, X], ink 0, paper 255.

    Light text on dark is turned, uneven light evened, contrast stretched; blank rows and columns
    are trimmed and a margin put round the ink, whose aspect stays. An image without ink gives an
    all-white line. Bits of the lines above and below are taken out, but for a line that is known to
    stand `alone`. Raises ImageError for a line that would be wider than MAX_WIDTH.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8 or 0 in grey.shape:
        raise ImageError(
            f"a line must be uint8 [height, width], got {grey.dtype} {list(grey.shape)}"
        )
    grey = np.ascontiguousarray(grey)
    clean = _clean(grey, height, alone)
    if isinstance(clean, np.ndarray):
        from khmer_fast.recognize.neighbours import without_neighbours

        grey, alone = without_neighbours(grey, clean), True
        clean = _clean(grey, height, alone)
    if isinstance(clean, tuple):
        image, ink, box, may_lean = clean
        line = _placed(image, ink, box)
        if not may_lean or not slant.angle(line.ink_pixels()):
            return line
    return prepare_reference(grey, height, alone)


def _clean(grey: np.ndarray, height: int, alone: bool) -> tuple | np.ndarray | None:
    """What `clean_line` says, who looks closer where a line may be on several papers or in two
    inks: most are not."""
    from khmer_fast.ops import clean_line  # the compiled module only where it is needed

    clean = clean_line(grey, height, alone)
    if clean is None and grey.size <= MAX_PICTURE_PIXELS:
        if papers.even(grey) is grey and two_inks.merge(grey) is grey:
            return clean_line(grey, height, alone, plain=True)
    return clean


def prepare_reference(grey: np.ndarray, height: int = HEIGHT, alone: bool = False) -> PreparedLine:
    """The specification of `prepare`, step by step, and what prepares lines that are not ordinary:
    on several papers, in two inks, in uneven light, leaning, very large, without ink."""
    Y, X = grey.shape
    if grey.size > MAX_PICTURE_PIXELS:
        shrink = math.ceil(math.sqrt(grey.size / MAX_PICTURE_PIXELS))
        small = np.asarray(Image.fromarray(grey).reduce(shrink))
        return _enlarged(prepare_reference(small, height, alone), shrink)
    first = papers.even(grey)
    counts = Image.fromarray(first).histogram()
    merged = two_inks.merge(first, counts)
    turned = turn_dark_background(merged)
    grey = even_light(turned)
    if grey is not first:
        counts = Image.fromarray(grey).histogram()
    levels = find_levels(counts, LEGIBLE)
    box = None
    if levels is not None:
        ink = grey < levels.threshold(INK)
        box = ink_box(ink)
        if box is not None and not alone and (box[0] == 0 or box[1] == Y):
            from khmer_fast.recognize.neighbours import without_neighbours  # the compiled module

            own = without_neighbours(grey, ink)
            if own is not grey:  # as it came, since it is turned again
                own = own if turned is merged else 255 - own
                return prepare_reference(own, height, alone=True)
    if levels is None or box is None:
        empty = np.full((height, 2 * MIN_WIDTH), 255, np.uint8)
        return PreparedLine(empty, (0, 0, 2 * MIN_WIDTH, height), (0, 0, X, Y))
    line = _scaled(grey, levels, box, height)
    degrees = slant.angle(line.ink_pixels())
    return _upright(grey, levels, line, degrees) if degrees else line


def _scaled(
    grey: np.ndarray,  # uint8 [Y', X']
    levels: Levels,
    box: tuple[int, int, int, int],  # top, bottom, left, right
    height: int,
) -> PreparedLine:
    """The ink in a box of a picture at its final size, black on white with a margin."""
    top, bottom, left, right = box
    # 1. scale: the ink fills the height but for the margin
    margin = max(1, round(MARGIN * height))
    ink_width, ink_height = scaled_size(right - left, bottom - top, height, margin)
    # 2. resize: PIL's filter widens when it shrinks, so that it averages over area
    resized = Image.fromarray(grey).resize(
        (ink_width, ink_height),
        Image.Resampling.BICUBIC,
        box=(left, top, right, bottom),
        reducing_gap=3.0,
    )
    # 3. contrast, of what resizing left of it
    levels = find_levels(resized.histogram()) or levels
    # 4. margin
    width = max(MIN_WIDTH, ink_width + 2 * margin)
    line = np.full((height, width), 255, np.uint8)
    y, x = (height - ink_height) // 2, (width - ink_width) // 2
    line[y : y + ink_height, x : x + ink_width] = levels.stretch(resized)
    return _placed(line, (x, y, x + ink_width, y + ink_height), (left, top, right, bottom))


def _placed(image: np.ndarray, ink: tuple[int, int, int, int], box: Box) -> PreparedLine:
    """A line, uint8 [Y, X], whose ink was that of a box of its picture."""
    x, y, x_end, y_end = ink
    left, top, right, bottom = box
    a, d = (right - left) / (x_end - x), (bottom - top) / (y_end - y)
    return PreparedLine(image, ink, box, (a, 0, 0, d, left - a * x, top - d * y))


def _upright(grey: np.ndarray, levels: Levels, line: PreparedLine, degrees: float) -> PreparedLine:
    """The line of a picture (uint8 [Y', X'], its ink in `line.box`) turned back by its slant."""
    left, top, right, bottom = line.box
    turned, way = slant.upright(grey[top:bottom, left:right], degrees, round(levels.paper))
    box = ink_box(turned < levels.threshold(INK))
    if box is None:
        return line
    straight = _scaled(turned, levels, box, line.image.shape[0])
    a, b, c, d, e, f = way
    m, _, _, n, p, q = straight.to_picture  # to the turned picture
    to_picture = (
        a * m, b * m, c * n, d * n, a * p + c * q + e + left, b * p + d * q + f + top,
    )  # fmt: skip
    return PreparedLine(straight.image, straight.ink, line.box, to_picture)


def _enlarged(prepared: PreparedLine, factor: int) -> PreparedLine:
    """The line of a picture that was shrunk before, in the pixels of the whole one."""
    left, top, right, bottom = (factor * side for side in prepared.box)
    a, b, c, d, e, f = (factor * value for value in prepared.to_picture)
    return replace(prepared, box=(left, top, right, bottom), to_picture=(a, b, c, d, e, f))


def scaled_size(ink_width: int, ink_height: int, height: int, margin: int) -> tuple[int, int]:
    """Width and height of a line's ink in an image of `height` pixels with `margin` around.

    Raises ImageError where it would be wider than MAX_WIDTH.
    """
    room = height - 2 * margin
    scale = min(room / ink_height, MAX_ENLARGEMENT)
    widest = (MAX_WIDTH - 2 * margin) / ink_width
    if scale > widest:
        if ink_width > MAX_INK_WIDTH or widest * ink_height < MIN_INK_HEIGHT:
            raise ImageError(
                f"a line of {ink_width} x {ink_height} pixels of ink would be "
                f"{round(scale * ink_width):,} pixels wide at height {height}, at most "
                f"{MAX_WIDTH:,} can be read; cut it into shorter pieces"
            )
        scale = widest
    return (
        min(MAX_WIDTH - 2 * margin, max(1, round(scale * ink_width))),
        min(room, max(1, round(scale * ink_height))),
    )


def turn_dark_background(grey: np.ndarray) -> np.ndarray:
    """Inverts light text on dark, uint8 [Y', X'] both: ink covers the smaller part of a line.

    Each stretch of the line votes with how much nearer its median is to its lightest values than
    to its darkest, so that shadows and gradients along the line do not vote. A draw (bold type cut
    tightly) is decided by the upper and lower border rows.
    """
    dark, middle, light = _local_percentiles(grey, (2, 50, 98), grey.shape[0])  # [windows]
    votes = float(((light - middle) - (middle - dark)).sum())
    if abs(votes) < 0.15 * float((light - dark).sum()):
        border = np.concatenate([grey[0], grey[-1]]).astype(np.float32)
        votes = (float(light.mean()) + float(dark.mean())) / 2 - float(border.mean())
    return 255 - grey if votes > 0 else grey


def _local_percentiles(grey: np.ndarray, percentiles: tuple[int, ...], window: int) -> np.ndarray:
    """Percentiles of windows along the line: uint8 [Y', X'] -> float32 [percentiles, windows]."""
    step = max(1, window // 16)
    sample = grey[::step, ::step]
    rows, columns = sample.shape
    count = max(1, columns * step // window)
    columns = columns // count
    sample = sample[:, : count * columns].reshape(rows, count, columns)
    sample = sample.transpose(1, 0, 2).reshape(count, rows * columns)
    ranks = [round((rows * columns - 1) * p / 100) for p in percentiles]
    return np.partition(sample, ranks, axis=1)[:, ranks].T.astype(np.float32)


def even_light(grey: np.ndarray) -> np.ndarray:
    """Divides by the paper's brightness where it varies (photographs): uint8 [Y', X'] both.

    Paper is the light end of windows of a third of the height by twice the height. Where it is
    nearly even, as in scans and screenshots, nothing changes.
    """
    Y, X = grey.shape
    if Y < 12 or X < 12:
        return grey
    bands = [grey[Y * i // 3 : Y * (i + 1) // 3] for i in range(3)]
    paper = np.stack([_local_percentiles(band, (92,), 2 * Y)[0] for band in bands])  # [3, windows]
    lightest = float(paper.max())
    if float(paper.min()) >= 0.88 * lightest:
        return grey
    paper = np.maximum(paper, 0.35 * lightest)  # a black frame stays black
    smooth = Image.fromarray(paper).resize((X, Y), Image.Resampling.BILINEAR)
    return np.minimum(grey / np.asarray(smooth) * 255, 255).astype(np.uint8)


@dataclass(frozen=True)
class Levels:
    """Grey values of paper and ink, paper the lighter one."""

    paper: float
    ink: float

    def threshold(self, share: float) -> float:
        """The grey value `share` of the way from paper to ink."""
        return self.paper - share * (self.paper - self.ink)

    def stretch(self, image: Image.Image) -> np.ndarray:
        """Paper to 255 (with a little of its grain) and ink to 0: a grey image to uint8 [Y, X]."""
        white = self.threshold(0.06)
        values = (np.arange(256, dtype=np.float32) - self.ink) * (255 / (white - self.ink))
        return np.asarray(image.point(np.rint(values).clip(0, 255).astype(int).tolist()))


def find_levels(counts: Sequence[int], least: float = CLEAR) -> Levels | None:
    """Paper and ink of dark text on light paper, by its histogram [256]; None if nothing is written
    that stands out by `least` deviations of the paper's grain."""
    total = list(itertools.accumulate(counts))
    # 1. first guess between the extremes, but for a few specks
    low, high = _rank(total, min(0.001 * total[-1], 8)), _rank(total, 0.98 * total[-1])
    middle = (low + high) // 2
    # 2. paper and its grain, from the light side
    dark, light = total[middle], total[-1] - total[middle]
    if light == 0:
        return None
    paper = _rank(total, dark + 0.5 * light)
    grain = (_rank(total, dark + 0.84 * light) - paper) if light else 0  # one sigma
    # 3. ink: the darker strokes, thin ones are grey
    ink = _rank(total, 0.2 * dark)
    if paper - ink < max(MIN_CONTRAST, least * grain):
        return None
    return Levels(float(paper), float(ink))


def _rank(total: list[int], count: float) -> int:
    """The grey value below or at which `count` pixels lie; total is the cumulative histogram."""
    return min(bisect.bisect_right(total, count), 255)


def ink_box(ink: np.ndarray) -> tuple[int, int, int, int] | None:
    """Top, bottom, left, right of the ink and one pixel of its edge: bool [Y', X'].

    Specks that stand apart are no ink; bits of neighbouring lines are. None if most pixels have no
    neighbour above, below or beside: that is grain.
    """
    Y, X = ink.shape
    joined = np.zeros_like(ink)
    across = ink[:, 1:] & ink[:, :-1]
    along = ink[1:] & ink[:-1]
    joined[:, 1:] |= across
    joined[:, :-1] |= across
    joined[1:] |= along
    joined[:-1] |= along
    if 2 * np.count_nonzero(joined) <= np.count_nonzero(ink):
        return None
    joined = joined.view(np.uint8)  # sums several times as fast as bool
    top, bottom = _extent(joined.sum(axis=1, dtype=np.int32), 0)
    speck = max(1.0, (bottom - top) / 40)
    left, right = _extent(joined.sum(axis=0, dtype=np.int32), speck)
    top, bottom = _extent(joined[:, left:right].sum(axis=1, dtype=np.int32), speck)
    return max(0, top - 1), min(Y, bottom + 1), max(0, left - 1), min(X, right + 1)


def _extent(counts: np.ndarray, speck: float) -> tuple[int, int]:
    """First and last + 1 of the runs of counts above 0 that are no speck of `speck` squared."""
    inked = np.zeros(len(counts) + 2, np.bool_)
    inked[1:-1] = counts
    edges = np.flatnonzero(inked[1:] != inked[:-1])
    starts, ends = edges[::2], edges[1::2]
    small = (ends - starts <= speck) & (np.add.reduceat(counts, starts) <= speck * speck)
    if small.all():
        small[:] = False
    return int(starts[~small][0]), int(ends[~small][-1])
