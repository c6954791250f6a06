"""What the segmenter learns from: a rendered page > a crop at the network's scale and its targets.

Lengths are pixels of the network's input (the page scaled) unless they say page pixels; maps stand
at stride 4, in cells. A crop is a function of the page, its window and its turn alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

STRIDE = 4
SMALLEST = 3.2  # letter height of a line that must be found; under FAINTEST it is paper
FAINTEST = 2.6
LARGEST = 64.0  # letter height above which a line is left to the quarter scale
NEARBY = 1.2  # letter heights: ink that counts for the distances above and below at a place
OFFSET_UNIT = 16.0  # px
FULL_LINE = 48.0  # cells of band under which a line's cells weigh more, to weigh as much as it
HEAVIEST = 12.0
TEXT_FOR_ROTATION = 6.0  # letter heights of line that a crop must show to tell its rotation


@dataclass(frozen=True)
class Window:
    """Where a crop lies on the scaled page; it may reach beyond the page, where there is paper."""

    scale: float  # network px a page pixel
    left: int
    top: int
    width: int  # multiples of STRIDE
    height: int


@dataclass(frozen=True)
class PageCrop:
    """One training sample: y = Y/4 and x = X/4 cells."""

    image: np.ndarray  # uint8 [Y, X], grey; 255 beyond the page
    maps: np.ndarray  # float16 [4, y, x]: band in [0, 1], above, below, offset (SegmenterOutput)
    weight: np.ndarray  # float16 [3, y, x]: of band, of above and below, of offset; 0: unknown
    rotation: int  # 0 to 3 quarter turns clockwise; -1 where too little text shows it
    line: np.ndarray  # int16 [y, x]: 1 + index of the line whose band holds most of a cell, or 0


def page_crop(page, window: Window, turn: int = 0, resample: int = Image.Resampling.BOX):
    """The crop of a PageSample in `window`, turned clockwise by `turn` quarters: PageCrop.

    A page that is not upright (its own rotation, or `turn`) tells its rotation and nothing else.
    """
    image = _image(page.image, window, resample)
    maps, weight, owner, shown = _maps(page, window)
    rotation = (page.rotation // 90 + turn) % 4
    if rotation:
        weight[:] = 0
    if turn % 4:
        image = np.ascontiguousarray(np.rot90(image, -turn))
        maps = np.ascontiguousarray(np.rot90(maps, -turn, (1, 2)))
        weight = np.ascontiguousarray(np.rot90(weight, -turn, (1, 2)))
        owner = np.ascontiguousarray(np.rot90(owner, -turn))
    return PageCrop(
        image,
        maps.astype(np.float16),
        weight.astype(np.float16),
        rotation if shown >= TEXT_FOR_ROTATION else -1,
        owner,
    )


def _image(grey: np.ndarray, window: Window, resample: int) -> np.ndarray:
    """grey [page Y, page X] -> uint8 [Y, X]."""
    rows, columns = grey.shape
    scale = window.scale
    out = np.full((window.height, window.width), 255, np.uint8)
    # whole network pixels of the page within the window
    left, top = max(window.left, 0), max(window.top, 0)
    right = min(window.left + window.width, int(columns * scale))
    bottom = min(window.top + window.height, int(rows * scale))
    if right <= left or bottom <= top:
        return out
    box = (left / scale, top / scale, right / scale, bottom / scale)
    part = Image.fromarray(grey).resize((right - left, bottom - top), resample, box)
    y, x = top - window.top, left - window.left
    out[y : y + bottom - top, x : x + right - left] = np.asarray(part)
    return out


def _maps(page, window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """maps float32 [4, y, x], weight float32 [3, y, x], line int16 [y, x], and how many letter
    heights of line show.
    """
    y, x = window.height // STRIDE, window.width // STRIDE
    maps = np.zeros((4, y, x), np.float32)
    weight = np.zeros((3, y, x), np.float32)
    weight[0] = 1
    owner = np.zeros((y, x), np.int16)
    unknown = np.zeros((y, x), bool)
    column = STRIDE * (np.arange(x) + 0.5)  # [x] network px in the crop
    row = STRIDE * (np.arange(y) + 0.5)  # [y]
    middles = np.zeros((len(page.lines) + 1, x), np.float32)  # of each owner's band
    line_weight = np.zeros(len(page.lines) + 1, np.float32)  # 0: not learnt from
    shown = 0.0
    for index, line in enumerate(page.lines):
        letter = float(line.letter_height) * window.scale
        middle = _middle(line, window, column)  # [x]
        middles[index + 1] = middle
        left, right = (line.box[i] * window.scale - window.left for i in (0, 2))
        # the columns of cells that the line reaches into, and the rows of cells around them
        first, last = int(left // STRIDE), int(-(-right // STRIDE))
        first, last = max(first - 1, 0), min(last + 1, x)
        if first >= last or letter < FAINTEST:
            continue
        near = middle[first:last]
        up = max(int((near.min() - letter) // STRIDE), 0)
        down = min(int((near.max() + letter) // STRIDE) + 1, y)
        if up >= down:
            continue
        place = (slice(up, down), slice(first, last))
        distance = np.abs(row[up:down, None] - near[None, :])  # [rows, columns]
        around = distance < letter
        if not SMALLEST <= letter <= LARGEST:
            unknown[place] |= around
            continue
        along = np.minimum(right, column[first:last] + 2) - np.maximum(left, column[first:last] - 2)
        along = np.clip(along / STRIDE, 0, 1)  # [columns] share of the cell
        band = np.clip((letter / 2 - distance) / STRIDE + 0.5, 0, 1) * along  # [rows, columns]
        cells = letter * (line.box[2] - line.box[0]) * window.scale / STRIDE**2
        own = min(max(FULL_LINE / max(cells, 1e-3), 1.0), HEAVIEST)
        line_weight[index + 1] = own
        weight[0][place] = np.maximum(weight[0][place], np.where(around, own, 0))
        above, below = _extents(page.owner, index, line, window, column[first:last], near)
        mine = (band > maps[0][place]) & (band > 0)
        maps[0][place] = np.maximum(maps[0][place], band)
        for level, extent in ((1, above), (2, below)):
            maps[level][place] = np.where(mine, np.log2(1 + extent / 4), maps[level][place])
        sure = (band >= 0.5) & (above + below > 0)[None, :]
        weight[1][place] = np.where(mine, own * sure, weight[1][place])
        owner[place] = np.where(mine & (band >= 0.5), index + 1, owner[place])
        shown += float(along.sum()) * STRIDE / letter
    _offsets(page.owner, window, middles, line_weight, row, maps[3], weight[2])
    weight[:, unknown] = 0
    owner[unknown] = 0
    return maps, weight, owner, shown


def _middle(line, window: Window, column: np.ndarray) -> np.ndarray:
    """Height of the line's centre at each column [x] of the crop: network px [x]."""
    baseline = np.asarray(line.baseline, np.float32)  # [P, 2]
    order = np.argsort(baseline[:, 0], kind="stable")  # right to left on a page upside down
    height = np.interp(
        (column + window.left) / window.scale, baseline[order, 0], baseline[order, 1]
    )
    return ((height - line.letter_height / 2) * window.scale - window.top).astype(np.float32)


def _extents(
    owner: np.ndarray,  # uint16 [page Y, page X]
    index: int,
    line,
    window: Window,
    column: np.ndarray,  # [x] of the crop
    middle: np.ndarray,  # [x]
) -> tuple[np.ndarray, np.ndarray]:
    """Reach of the line's ink above and below its middle nearby: px [x] each, 0 without ink."""
    left, top, right, bottom = (int(v) for v in line.box)
    scale = window.scale
    reach = NEARBY * line.letter_height  # page px
    # page columns that count for these cells
    near = column + window.left
    left = max(left, int(near[0] / scale - reach - STRIDE / scale), 0)
    right = min(right, int(near[-1] / scale + reach + STRIDE / scale) + 1, owner.shape[1])
    top, bottom = max(top, 0), min(bottom, owner.shape[0])
    nothing = np.zeros(len(column), np.float32)
    if left >= right or top >= bottom:
        return nothing, nothing
    ink = owner[top:bottom, left:right] == index + 1  # [rows, columns]
    place = np.flatnonzero(ink.any(0))
    if not len(place):
        return nothing, nothing
    first = top + ink[:, place].argmax(0)  # page px
    last = bottom - ink[::-1, place].argmax(0)  # exclusive
    at = (place + left + 0.5) * scale - window.left  # crop px
    centre = np.interp(at, column, middle) + _slope(column, middle) * _beyond(at, column)
    up = np.maximum(centre - (first * scale - window.top), 0)
    down = np.maximum(last * scale - window.top - centre, 0)
    above, below = nothing.copy(), nothing.copy()
    begin = np.searchsorted(at, column - reach * scale)
    end = np.searchsorted(at, column + reach * scale)
    some = end > begin
    for out, values in ((above, up), (below, down)):
        # maxima of [begin, end): reduceat over interleaved bounds, every second one wanted
        bounds = np.stack([begin[some], end[some]], 1).reshape(-1)
        out[some] = np.maximum.reduceat(np.append(values, 0), bounds)[::2]
    return above, below


def _slope(column: np.ndarray, middle: np.ndarray) -> float:
    return float((middle[-1] - middle[0]) / max(column[-1] - column[0], 1))


def _beyond(at: np.ndarray, column: np.ndarray) -> np.ndarray:
    """How far outside the columns each place lies, left negative."""
    return at - np.clip(at, column[0], column[-1])


def _offsets(
    owner: np.ndarray,  # uint16 [page Y, page X]
    window: Window,
    middles: np.ndarray,  # [lines + 1, x] crop px
    line_weight: np.ndarray,  # [lines + 1]
    row: np.ndarray,  # [y]
    out: np.ndarray,  # [y, x]
    weight: np.ndarray,  # [y, x]
) -> None:
    """Fills in the offset of each cell whose ink is of one line alone."""
    y, x = out.shape
    rows = ((np.arange(window.height) + window.top + 0.5) / window.scale).astype(int)
    columns = ((np.arange(window.width) + window.left + 0.5) / window.scale).astype(int)
    inside_y = (rows >= 0) & (rows < owner.shape[0])
    inside_x = (columns >= 0) & (columns < owner.shape[1])
    sampled = np.zeros((window.height, window.width), np.uint16)
    sampled[np.ix_(inside_y, inside_x)] = owner[np.ix_(rows[inside_y], columns[inside_x])]
    cells = sampled.reshape(y, STRIDE, x, STRIDE)
    most = cells.max((1, 3))  # [y, x]
    least = np.where(cells == 0, np.uint16(65535), cells).min((1, 3))
    r, c = np.nonzero((most > 0) & (most == least))
    index = most[r, c]
    out[r, c] = (middles[index, c] - row[r]) / OFFSET_UNIT
    weight[r, c] = line_weight[index]
