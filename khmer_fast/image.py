"""Any image to a clean line, 48 pixels high, dark on white. Training and reading share it.

file, bytes, PIL image, array  --load_grey-->  uint8 [Y', X']  --prepare_line-->  uint8 [48, X]
"""

from __future__ import annotations

import bisect
import io
import itertools
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from khmer_fast.errors import ImageError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
MAX_PIXELS = 80_000_000  # an A4 page at 600 dpi has 35 million
MAX_STREAM_BYTES = 256 * 2**20  # of what is no regular file, such as a pipe

HEIGHT = 48
MIN_WIDTH = 16
MAX_WIDTH = 16_384  # 4,096 encoder positions at a stride of 4

MARGIN = 0.08  # of the height, above, below, left and right of the ink
MAX_ENLARGEMENT = 4.0  # a dotted rule is no line of giant dots
MAX_INK_WIDTH = 24_000  # pixels of a line that has to be shrunk to fit MAX_WIDTH,
MIN_INK_HEIGHT = 10  # and how low it may get
MIN_CONTRAST = 16  # grey levels between paper and ink; less is an empty line
CLEAR = 5.0  # contrast, in deviations of the paper's grain, that levels are measured well at
LEGIBLE = 3.0  # and that ink is told from grain at: noise without ink has 2.7 at most
INK = 0.35  # how far from paper to ink a pixel counts as ink when blank rows are sought


# ---- load_grey ----


def load_grey(source: Any, name: str | None = None) -> np.ndarray:
    """Opens an image as grey values, as it looks on white paper: uint8 [Y', X'].

    `source` is a path, the bytes of a file, a PIL image or an array ([Y', X'], or [Y', X', C] with
    C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; bool, uint8, uint16 or floats in [0, 1]). Of
    several frames it takes the first. Raises ImageError, which says `name` (by default the path).
    """
    if isinstance(source, (str, os.PathLike)):
        return _load_file(Path(source), name or os.fspath(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _load_stream(io.BytesIO(source), name or "image bytes", len(source))
    if isinstance(source, Image.Image):
        return _decode(lambda: source, name or "PIL image")
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array")
    raise ImageError(
        "an image must be a path, bytes, a PIL image or a numpy array, "
        f"got {type(source).__module__}.{type(source).__qualname__}"
    )


def _load_file(path: Path, name: str) -> np.ndarray:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name}: is a folder, expected an image file; give its files instead")
        with path.open("rb") as file:
            if stat.S_ISREG(mode):
                return _load_stream(file, name, path.stat().st_size)
            data = file.read(MAX_STREAM_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be opened: {reason}") from error
    if len(data) > MAX_STREAM_BYTES:
        raise ImageError(f"{name}: more than {MAX_STREAM_BYTES >> 20} MiB come from this stream")
    return _load_stream(io.BytesIO(data), name, len(data))


def _load_stream(file: Any, name: str, size: int) -> np.ndarray:
    if size == 0:
        raise ImageError(f"{name}: is empty (0 bytes), expected an image")
    return _decode(lambda: Image.open(file, formats=FORMATS), name)


def _decode(open_image: Any, name: str) -> np.ndarray:
    try:
        image = open_image()
        _check_size(image.width, image.height, name)
        return _to_grey(image)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{name}: claims more pixels than the {MAX_PIXELS:,} that are read; "
            "scale it down or cut the line out"
        ) from error
    except Image.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise ImageError(f"{name}: is not an image of a known format ({known})") from error
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        raise ImageError(f"{name}: damaged or truncated image: {error}") from error


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} is {width * height:,} pixels, at most {MAX_PIXELS:,} "
            "are read; scale it down or cut the line out"
        )


def _to_grey(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_values_to_grey(np.asarray(image))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    if image.mode == "P":
        image = image.convert("RGB")
    return np.array(image.convert("L"))


def _wide_values_to_grey(values: np.ndarray) -> np.ndarray:
    """More than 8 bits a pixel: the depth is the smallest usual one that holds the values."""
    if not np.isfinite(values).all():
        raise ValueError("pixel values that are not finite")
    if values.dtype.kind == "f" and values.max() <= 1:
        values = values * 255
    values = values.astype(np.float32)
    largest = float(values.max())
    depth = next((d for d in (255, 4095, 65535) if largest <= d), largest)
    return np.rint(np.clip(values / depth, 0, 1) * 255).astype(np.uint8)


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise ImageError(
            f"{name}: expected shape [height, width] or [height, width, 1 to 4], "
            f"got {list(array.shape)}"
        )
    _check_size(array.shape[1], array.shape[0], name)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _wide_values_to_grey(array)
    elif array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # NaN fails it
            raise ImageError(
                f"{name}: floats must lie in [0, 1] (0 black, 1 white), got [{low:g}, {high:g}]"
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"{name}: expected dtype bool, uint8, uint16 or float, got {array.dtype}")
    if array.ndim == 2:
        return np.ascontiguousarray(array)
    return _to_grey(Image.fromarray(np.ascontiguousarray(array)))


# ---- prepare_line ----


def prepare_line(grey: np.ndarray, height: int = HEIGHT) -> np.ndarray:
    """Cleans one line: uint8 [Y', X'] as a scanner gives it to uint8 [height, X], ink 0, paper 255.

    Light text on dark is turned, uneven light evened, contrast stretched; blank rows and columns
    are trimmed and a margin put round the ink, whose aspect stays. An image without ink gives an
    all-white line. Raises ImageError for a line that would be wider than MAX_WIDTH.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8 or 0 in grey.shape:
        raise ImageError(
            f"a line must be uint8 [height, width], got {grey.dtype} {list(grey.shape)}"
        )
    grey = even_light(turn_dark_background(grey))
    levels = find_levels(grey, LEGIBLE)
    box = None if levels is None else ink_box(grey < levels.threshold(INK))
    if box is None:
        return np.full((height, 2 * MIN_WIDTH), 255, np.uint8)
    top, bottom, left, right = box
    # 1. scale: the ink fills the height but for the margin
    margin = max(1, round(MARGIN * height))
    room = height - 2 * margin
    scale = min(room / (bottom - top), MAX_ENLARGEMENT)
    widest = (MAX_WIDTH - 2 * margin) / (right - left)
    if scale > widest:
        if right - left > MAX_INK_WIDTH or widest * (bottom - top) < MIN_INK_HEIGHT:
            raise ImageError(
                f"a line of {right - left} x {bottom - top} pixels of ink would be "
                f"{round(scale * (right - left)):,} pixels wide at height {height}, at most "
                f"{MAX_WIDTH:,} can be read; cut it into shorter pieces"
            )
        scale = widest
    ink_height = min(room, max(1, round(scale * (bottom - top))))
    ink_width = min(MAX_WIDTH - 2 * margin, max(1, round(scale * (right - left))))
    # 2. resize: PIL's filter widens when it shrinks, so that it averages over area
    small = Image.fromarray(grey).resize(
        (ink_width, ink_height),
        Image.Resampling.BICUBIC,
        box=(left, top, right, bottom),
        reducing_gap=3.0,
    )
    # 3. contrast, of what resizing left of it
    small = np.asarray(small)
    levels = find_levels(small) or levels
    # 4. margin
    width = max(MIN_WIDTH, ink_width + 2 * margin)
    line = np.full((height, width), 255, np.uint8)
    y, x = (height - ink_height) // 2, (width - ink_width) // 2
    line[y : y + ink_height, x : x + ink_width] = levels.stretch(small)
    return line


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

    def stretch(self, grey: np.ndarray) -> np.ndarray:
        """Paper to 255 (with a little of its grain) and ink to 0: uint8 [Y', X'] both."""
        white = self.threshold(0.06)
        values = (np.arange(256, dtype=np.float32) - self.ink) * (255 / (white - self.ink))
        return np.rint(values).clip(0, 255).astype(np.uint8)[grey]


def find_levels(grey: np.ndarray, least: float = CLEAR) -> Levels | None:
    """Paper and ink of dark text on light paper, uint8 [Y', X']; None if nothing is written that
    stands out by `least` deviations of the paper's grain."""
    total = list(itertools.accumulate(Image.fromarray(grey).histogram()))
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
