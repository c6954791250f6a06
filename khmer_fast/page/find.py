"""A grey page to its lines: turned upright, segmented at two scales, its ink given to lines."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from khmer_fast.document import Box, Point
from khmer_fast.page.bands import Band, Maps, columns_of, find_bands
from khmer_fast.page.crops import Crop, LineInk, cut_line, line_inks, outline
from khmer_fast.page.ink import Owners, PageInk, assign_ink, find_ink
from khmer_fast.page.lines import FoundLine
from khmer_fast.page.lone import lone_bands
from khmer_fast.page.rules import Rules, find_rules
from khmer_fast.page.segment import PageNetwork, network_scale, scale_page
from khmer_fast.page.walls import crossed, walls_of, without_folds, without_strokes

LARGE_TYPE = 4  # times smaller is the page once more, for letters too large for the network
LARGE_LETTER = 36.0  # network pixels: smaller letters of that scale are the other's
WHOLE_LINE = 0.5  # of a large line's length: a small line inside that is as long is no fragment
WORD = 8.0  # of its own letter heights: a lower line that is as long is no fragment either
SURER = 3.0  # the same where the network is surer of it than of the large line
FRAGMENT_LETTER = 0.6  # of a large line's letter height: fragments are lower
MOST_SKEW = 3.0  # degrees that crops follow; a page with more is turned first
SURE_WAY = 0.95  # so sure that a page stands on its feet, the network is asked once
ONE_LINE = 6.0  # letter heights: a higher picture is a page, though it has one line only


@dataclass(frozen=True, eq=False)
class FoundPage:
    """A page as it is cut: turned upright and level, with its lines in no particular order."""

    grey: np.ndarray  # [page Y, page X] uint8, turned
    upright: tuple[int, int]  # width, height of the upright page, before it was levelled
    rotation: int  # degrees clockwise that the picture lay turned by
    skew: float  # degrees by which the upright page's lines fall to the right
    levelled: bool  # whether `grey` is the upright page turned by the skew
    maps: Maps
    ink: PageInk
    owners: Owners
    rules: Rules  # in pixels of `grey`
    bands: list[Band]  # by line number of the owners
    inks: list[LineInk]  # the lines: bands that have ink
    lines: list[FoundLine]  # the same, in pixels of `grey`

    def crop(self, number: int) -> Crop:
        """The picture of a line."""
        return cut_line(self.grey, self.ink, self.owners, self.inks[number])

    def points(self, points: tuple[Point, ...]) -> tuple[Point, ...]:
        """Points of `grey` on the upright page."""
        if not self.levelled:
            return points
        angle = math.radians(self.skew)
        dx, dy = (np.array(points) - np.array(self.grey.shape[::-1]) / 2).T
        x = math.cos(angle) * dx - math.sin(angle) * dy + self.upright[0] / 2
        y = math.sin(angle) * dx + math.cos(angle) * dy + self.upright[1] / 2
        return tuple(zip(x.tolist(), y.tolist(), strict=True))

    def box(self, box: Box) -> Box:
        """The upright page's box round a box of `grey`."""
        if not self.levelled:
            return box
        left, top, right, bottom = box
        four = ((left, top), (right, top), (left, bottom), (right, bottom))
        corners = np.array(self.points(four))
        low, high = np.floor(corners.min(0)), np.ceil(corners.max(0))
        size = np.array(self.upright)
        low, high = np.clip(low, 0, size - 1).astype(int), np.clip(high, 1, size).astype(int)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def network_box(self, box: Box) -> Box:
        """The box in pixels of `grey` of one at the network's scale."""
        Y, X = self.owners.owners.shape
        x, y = self.grey.shape[1] / X, self.grey.shape[0] / Y
        left, top, right, bottom = box
        return int(left * x), int(top * y), math.ceil(right * x), math.ceil(bottom * y)


def find_lines(
    grey: np.ndarray,  # [page Y, page X] uint8
    segmenter: PageNetwork,
    rotation: int | None = None,
) -> FoundPage:
    """The lines of a page. `rotation`, the degrees clockwise that the picture lies turned by, is
    what the network sees unless it is given: it tells lines that stand from lines that lie, but may
    take upright ones for those on their head."""
    scale = network_scale(*grey.shape)
    small = scale_page(grey, scale)
    # 1. quarter turns
    if rotation is None:
        small, maps, rotation = _upright(small, segmenter)
    else:
        small = _quarters(small, rotation)
        maps = segmenter.maps(small)
    grey = _quarters(grey, rotation)
    # 2. a slanting page is levelled
    upright = (grey.shape[1], grey.shape[0])
    bands = find_bands(maps)
    skew = _skew(bands)
    levelled = abs(skew) > MOST_SKEW
    if levelled:
        grey = _level(grey, skew)
        small = scale_page(grey, scale)
        maps = segmenter.maps(small)
        bands = find_bands(maps)
    # 3. rules, which are no strokes of letters; no line goes through an upright one
    scale = small.shape[1] / grey.shape[1]
    large, by = _large_maps(small, segmenter)
    both = merge_scales(bands, _large_bands(large, by))
    columns = columns_of(both, *small.shape)
    rules = without_strokes(find_rules(small, scale), columns, scale)
    walls = without_folds(walls_of(rules, scale), columns, small)
    if any(len(crossed(wall, columns)) for wall in walls):
        both = merge_scales(find_bands(maps, walls), _large_bands(large, by, walls))
        columns = columns_of(both, *small.shape)
    # 4. ink
    ink = find_ink(small, columns, rules.mask)
    owners = assign_ink(ink, columns, maps.offset)
    lone = lone_bands(ink, owners, both, maps)
    if lone:
        both = both + lone
        owners = assign_ink(ink, columns_of(both, *small.shape), maps.offset)
    inks = line_inks(owners)
    size = (grey.shape[1], grey.shape[0])
    lines = [outline(owners, line, size) for line in inks]
    return FoundPage(
        grey, upright, rotation, skew, levelled, maps, ink, owners, rules, both, inks, lines
    )


def _upright(small: np.ndarray, segmenter: PageNetwork) -> tuple[np.ndarray, Maps, int]:
    """The page [Y, X] turned upright, its maps, and the degrees clockwise that it lay turned by.

    The network sees its axis surely, but not always which way round it stands: unless it is sure,
    that is asked twice, with the page the other way round."""
    maps = segmenter.maps(small)
    stands, right, head, left = (float(p) for p in maps.rotation)
    if not _stands(maps):
        way = 90 if right >= left else 270
    elif stands >= SURE_WAY * (stands + head):
        return small, maps, 0
    else:
        way = 180
    turned = _quarters(small, way)
    turned_maps = segmenter.maps(turned)
    if way != 180 and not _stands(turned_maps):
        return small, maps, 0
    other = (way + 180) % 360
    this, that = maps.rotation[way // 90], maps.rotation[other // 90]
    if this * turned_maps.rotation[0] >= that * turned_maps.rotation[2]:
        return turned, turned_maps, way
    if other == 0:
        return small, maps, 0
    turned = _quarters(turned, 180)
    return turned, segmenter.maps(turned), other


def _quarters(grey: np.ndarray, rotation: int) -> np.ndarray:
    """A page [Y, X] that lies turned clockwise by `rotation` degrees, turned back."""
    return np.ascontiguousarray(np.rot90(grey, rotation // 90))


def _stands(maps: Maps) -> bool:
    """Whether a page's lines run along it, as far as can be seen."""
    upright, right, head, left = (float(p) for p in maps.rotation)
    return right + left <= upright + head


def _large_maps(small: np.ndarray, segmenter: PageNetwork) -> tuple[Maps, tuple[float, float]]:
    """Maps of the page once more, smaller, and how much smaller it is along x and y."""
    quarter = scale_page(small, 1 / LARGE_TYPE)
    by = small.shape[1] / quarter.shape[1], small.shape[0] / quarter.shape[0]
    return segmenter.maps(quarter), by


def _large_bands(
    maps: Maps, by: tuple[float, float], walls: np.ndarray | None = None
) -> list[Band]:
    """Bands of large type, at the page's scale."""
    if walls is not None:
        walls = walls / np.array([by[0], by[1], by[1]], np.float32)
    found = find_bands(maps, walls, LARGE_LETTER / by[1])
    bands = [_enlarged(band, *by) for band in found]
    return [band for band in bands if band.letter_height >= LARGE_LETTER]


def is_one_line(found: FoundPage) -> bool:
    """Whether the picture, as it lies, is one line of text and little else: all that stands in it
    is in one row, but for what its upper and lower edges cut off from neighbours."""
    Y = found.owners.owners.shape[0]
    if not found.bands or found.rotation:
        return False
    if Y > ONE_LINE * max(band.letter_height for band in found.bands):
        return False
    middles = np.array([float(np.median(band.middle[:, 1])) for band in found.bands])
    letters = np.array([band.letter_height for band in found.bands])
    lengths = np.array([band.right - band.left for band in found.bands])
    main = int(lengths.argmax())
    beside = np.abs(middles - middles[main]) < 0.6 * letters[main]
    edge = np.maximum(0.9 * letters, 0.4 * letters[main])
    cut_off = (middles < edge) | (middles > Y - edge)
    return bool((beside | cut_off).all())


def _enlarged(band: Band, by_x: float, by_y: float) -> Band:
    return replace(
        band,
        middle=band.middle * np.array([by_x, by_y], np.float32),
        above=band.above * np.float32(by_y),
        below=band.below * np.float32(by_y),
        letter_height=band.letter_height * by_y,
    )


def merge_scales(small: list[Band], large: list[Band]) -> list[Band]:
    """Both scales' bands: a large line counts only where no whole small lines lie inside it, and
    the fragments that lie inside it go."""
    kept, accepted = list(small), []
    for line in large:
        length = line.right - line.left
        inside = [(band, *_shared(band, line)) for band in kept]  # and how much of it is inside
        if any(
            shared >= WHOLE_LINE * length
            or (
                band.letter_height < FRAGMENT_LETTER * line.letter_height
                and shared >= (SURER if band.score > line.score else WORD) * band.letter_height
            )
            for band, shared, _ in inside
        ):
            continue
        accepted.append(line)
        kept = [band for band, _, part in inside if part <= 0.5]
    return kept + accepted


def _shared(band: Band, line: Band) -> tuple[float, float]:
    """How much of a band lies within the reach of a line: pixels of its length, and its part."""
    x, y = band.middle[:, 0], band.middle[:, 1]
    if band.right <= line.left or band.left >= line.right:
        return 0.0, 0.0
    middle = np.interp(x, line.middle[:, 0], line.middle[:, 1])
    above = np.interp(x, line.middle[:, 0], line.above)
    below = np.interp(x, line.middle[:, 0], line.below)
    along = (x >= line.left) & (x <= line.right)
    part = float((along & (y >= middle - above) & (y <= middle + below)).mean())
    return part * (band.right - band.left), part


def _skew(bands: list[Band]) -> float:
    """The angle of most of the text, in degrees; 0 where lines are too short to tell."""
    long = [x for x in bands if len(x.middle) > 1 and x.right - x.left >= 6 * x.letter_height]
    if not long:
        return 0.0
    slopes, weights = np.zeros(len(long)), np.zeros(len(long))
    for i, band in enumerate(long):
        x, y = band.middle.astype(np.float64).T
        x -= x.mean()
        slopes[i] = (x * y).sum() / (x * x).sum()
        weights[i] = band.right - band.left
    order = np.argsort(slopes)
    total = np.cumsum(weights[order])
    middle = order[int(np.searchsorted(total, total[-1] / 2))]
    return math.degrees(math.atan(float(slopes[middle])))


def _level(grey: np.ndarray, skew: float) -> np.ndarray:
    """The page turned so that its lines are level, on paper: uint8 [Y, X] -> uint8 [Y', X']."""
    paper = int(np.median(grey[:: max(1, grey.shape[0] // 64), :: max(1, grey.shape[1] // 64)]))
    turned = Image.fromarray(grey).rotate(
        skew, Image.Resampling.BICUBIC, expand=True, fillcolor=paper
    )
    return np.asarray(turned)
