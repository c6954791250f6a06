"""Image files to grey pixels: a path, bytes, a PIL image or an array in, uint8 [Y', X'] out."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from khmer_fast.errors import ImageError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
MAX_PIXELS = 80_000_000  # an A4 page at 600 dpi has 35 million
MAX_STREAM_BYTES = 256 * 2**20  # of what is no regular file, such as a pipe


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
