"""An image file's frames as pages: all of a TIFF, the first of an animation."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from khmer_fast.document import Note
from khmer_fast.errors import FileError, ImageError
from khmer_fast.files.file_page import FilePage, PageRanges
from khmer_fast.files.images import FORMATS, load_grey

MAX_PAGE_PIXELS = 20_000_000  # of a page that is handed on: A4 at 480 dpi
MAX_SIDE = 16_000
MAX_FRAMES = 100_000
Transform = tuple[float, float, float, float, float, float]
_ORIENTATION = 0x0112
# From the upright picture's pixels to the stored ones, for its width and height: EXIF 2.32, 4.6.4A
_STORED: dict[int, Callable[[float, float], Transform]] = {
    1: lambda w, h: (1, 0, 0, 1, 0, 0),
    2: lambda w, h: (-1, 0, 0, 1, w, 0),
    3: lambda w, h: (-1, 0, 0, -1, w, h),
    4: lambda w, h: (1, 0, 0, -1, 0, h),
    5: lambda w, h: (0, 1, 1, 0, 0, 0),
    6: lambda w, h: (0, -1, 1, 0, 0, w),
    7: lambda w, h: (0, -1, -1, 0, h, w),
    8: lambda w, h: (0, 1, -1, 0, h, 0),
}


def frame_pages(file: Path | bytes, name: str, ranges: PageRanges) -> Iterator[FilePage]:
    """The pages of an image file. Raises ImageError or FileError if it is none that can be read;
    a frame that is damaged is a page with an error."""
    with ExitStack() as stack:
        opened: Any = io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")
        stack.callback(opened.close)
        try:
            image = Image.open(opened, formats=FORMATS)
        except Exception:  # load_grey opens it again and says what is wrong
            load_grey(file, name)
            raise
        stack.callback(image.close)
        many = image.format == "TIFF"
        for number in range(1, min(ranges.last, MAX_FRAMES) + 1):
            called = f"{name}, frame {number}" if number > 1 else name
            try:
                if number > 1:
                    image.seek(number - 1)
            except EOFError:
                return
            except Exception as error:  # a damaged directory of frames: none can follow
                yield FilePage(number, error=f"{called}: damaged or truncated image: {error}")
                return
            if number in ranges:
                yield _page(image, number, called, alone=not many)
            if not many:
                return


def frame_count(file: Path | bytes, name: str) -> int:
    """How many pages an image file has, as far as its directory of frames can be read.

    Raises ImageError if it is none that can be opened.
    """
    with ExitStack() as stack:
        opened: Any = io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")
        stack.callback(opened.close)
        try:
            image = Image.open(opened, formats=FORMATS)
        except Exception:  # load_grey opens it again and says what is wrong
            load_grey(file, name)
            raise
        stack.callback(image.close)
        count = 1
        while image.format == "TIFF" and count < MAX_FRAMES:
            try:
                image.seek(count)
            except EOFError:
                break
            except Exception:  # damaged: the page is there, and reading it says so
                return count + 1
            count += 1
        return count


def _page(image: Image.Image, number: int, name: str, alone: bool) -> FilePage:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
        dpi = _dpi(image)
        grey = load_grey(image, name)
    except ImageError as error:
        if alone:
            raise
        return FilePage(number, error=str(error))
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        if alone:
            raise FileError(f"{name}: damaged or truncated image: {error}") from error
        return FilePage(number, error=f"{name}: damaged or truncated image: {error}")
    height, width = grey.shape
    transform = _STORED.get(orientation, _STORED[1])(width, height)
    grey, scale, notes = bounded(grey)
    if scale != 1:
        a, b, c, d, e, f = transform
        transform = (a / scale, b / scale, c / scale, d / scale, e, f)
        dpi = dpi and dpi * scale
    return FilePage(number, grey, dpi, transform, notes)


def bounded(grey: np.ndarray) -> tuple[np.ndarray, float, tuple[Note, ...]]:
    """Grey [Y, X] with at most MAX_PAGE_PIXELS and MAX_SIDE, its scale, and a note if it is not 1.

    The scale is that of both sides, but for rounding to whole pixels.
    """
    height, width = grey.shape
    scale = min(1.0, (MAX_PAGE_PIXELS / (width * height)) ** 0.5, MAX_SIDE / max(width, height))
    if scale == 1:
        return grey, 1.0, ()
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    smaller = Image.fromarray(grey).resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    text = f"{width} x {height} pixels were scaled down to {size[0]} x {size[1]}"
    return np.asarray(smaller), scale, (Note("scaled down", text),)


def _dpi(image: Image.Image) -> float | None:
    """Its resolution, if that makes a sheet of paper of it: cameras and screens write 72 or 96."""
    value: Any = image.info.get("dpi")
    try:
        dpi = float(value[1] if isinstance(value, tuple) else value)
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    if not 30 <= dpi <= 4800:
        return None
    inches = max(image.size) / dpi
    return round(dpi, 2) if 1 <= inches <= 24 else None
