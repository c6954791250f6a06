"""Image files to grey pixels: a path, bytes, a PIL image or an array in, uint8 [Y', X'] out.

What an image may take is bounded before it is decoded: its sides, its pixels, and the memory of all
images that are decoded at the same time in this process.
"""

from __future__ import annotations

import io
import os
import select
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from khmer_fast.errors import ImageError, printable
from khmer_fast.threads import Share

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
MAX_PIXELS = 80_000_000  # an A4 page at 600 dpi has 35 million
MAX_SIDE = 65_500  # pixels, as JPEG; a column of 80 million costs gigabytes in its rows alone
MAX_STREAM_BYTES = 256 * 2**20  # of what is no regular file, such as a pipe
PATIENCE = 10.0  # seconds that a pipe may keep silent
MAX_DECODING_BYTES = 2**30  # of all images that are being decoded, together
BYTES_A_PIXEL = {"WEBP": 20, "TIFF": 12, "JPEG": 12}  # that decoding takes at its peak
OTHER_BYTES_A_PIXEL = 8
STRIP_PIXELS = 2**22  # that are turned grey at a time

_memory = Share(MAX_DECODING_BYTES)


def load_grey(source: Any, name: str | None = None) -> np.ndarray:
    """Opens an image as grey values, as it looks on white paper: uint8 [Y', X'].

    `source` is a path, the bytes of a file, a PIL image or an array ([Y', X'], or [Y', X', C] with
    C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; bool, uint8, uint16 or floats in [0, 1]). Of
    several frames it takes the first. Raises ImageError, which says `name` (by default the path).
    """
    if isinstance(source, (str, os.PathLike)):
        return _load_file(source, name or printable(os.fspath(source)))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _load_bytes(source, name or "image bytes")
    if isinstance(source, Image.Image):
        return _decode(lambda: source, name or "PIL image")
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array")
    raise ImageError(
        "an image must be a path, bytes, a PIL image or a numpy array, "
        f"got {type(source).__module__}.{type(source).__qualname__}"
    )


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a pipe or a device, which may keep its reader waiting."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False  # opening it says what is wrong
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def read_stream(path: str | os.PathLike[str], patience: float = PATIENCE) -> bytes:
    """All that a pipe or a device gives; ImageError where nothing comes for `patience` seconds."""
    name = printable(os.fspath(path))
    with _open(path, name) as file:
        return _read_all(file.fileno(), name, patience)


def _load_file(path: str | os.PathLike[str], name: str) -> np.ndarray:
    with _open(path, name) as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            try:
                return _load_stream(file, name, status.st_size)
            except OSError as error:
                raise ImageError(f"{name}: cannot be read: {_reason(error)}") from error
        data = _read_all(file.fileno(), name, PATIENCE)
    return _load_bytes(data, name)


def _open(path: str | os.PathLike[str], name: str) -> BinaryIO:
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    # a pipe that nobody writes to would keep its reader here for ever
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        file = open(os.open(path, flags), "rb")
    except IsADirectoryError:
        raise ImageError(
            f"{name}: is a folder, expected an image file; give its files instead"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ImageError(f"{name}: cannot be opened: {_reason(error)}") from error
    return file


def _read_all(descriptor: int, name: str, patience: float) -> bytes:
    data = bytearray()
    while True:
        try:
            if not select.select([descriptor], [], [], patience)[0]:
                raise ImageError(
                    f"{name}: nothing came from this pipe or device for {patience:g} seconds"
                )
            block = os.read(descriptor, 2**20)
        except BlockingIOError:  # another reader was faster
            continue
        except OSError as error:
            raise ImageError(f"{name}: cannot be read: {_reason(error)}") from error
        if not block:
            return bytes(data)
        data += block
        if len(data) > MAX_STREAM_BYTES:
            raise ImageError(
                f"{name}: more than {MAX_STREAM_BYTES >> 20} MiB come from this stream"
            )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _load_bytes(source: bytes | bytearray | memoryview, name: str) -> np.ndarray:
    try:
        data = source.tobytes() if isinstance(source, memoryview) else source
    except ValueError as error:  # a memoryview that was released
        raise ImageError(f"{name}: cannot be read: {error}") from error
    return _load_stream(io.BytesIO(data), name, len(data))


def _load_stream(file: BinaryIO, name: str, size: int) -> np.ndarray:
    if size == 0:
        raise ImageError(f"{name}: is empty (0 bytes), expected an image")
    claimed = _webp_size(file.read(30))
    file.seek(0)
    if claimed:  # Pillow makes room for the pixels of a WebP as it opens it
        _check_size(*claimed, name)
        with _room(*claimed, "WEBP", name):
            return _decode(lambda: Image.open(file, formats=("WEBP",)), name, roomed=True)
    formats = tuple(format for format in FORMATS if format != "WEBP")
    return _decode(lambda: Image.open(file, formats=formats), name)


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height that the first 30 bytes of a WebP claim (RFC 9649), None for others."""
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return (
        int.from_bytes(head[26:28], "little") & 0x3FFF,
        int.from_bytes(head[28:30], "little") & 0x3FFF,
    )


def _decode(open_image: Callable[[], Image.Image], name: str, roomed: bool = False) -> np.ndarray:
    size = ""
    try:
        image = open_image()
        size = f" of {image.width} x {image.height} pixels"
        _check_size(image.width, image.height, name)
        if roomed:
            return _to_grey(image)
        with _room(image.width, image.height, image.format, name):
            return _to_grey(image)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name}: there is too little memory for an image{size}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{name}: claims more pixels than the {MAX_PIXELS:,} that are read; "
            "scale it down or cut the line out"
        ) from error
    except Image.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise ImageError(f"{name}: is not an image of a known format ({known})") from error
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        what = "damaged or truncated image"
        if "decoder object" in str(error):  # libwebp does not tell the one from the other
            what = "damaged image, or too little memory for it"
        raise ImageError(f"{name}: {what}: {printable(error)}") from error


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} is {width * height:,} pixels, at most {MAX_PIXELS:,} "
            "are read; scale it down or cut the line out"
        )
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"{name}: {width} x {height} pixels: a side has at most {MAX_SIDE:,}; cut it into parts"
        )


def _room(width: int, height: int, format: str | None, name: str) -> Any:
    """Waits until there is memory to decode an image of this size beside the others."""
    need = width * height * BYTES_A_PIXEL.get(format or "", OTHER_BYTES_A_PIXEL)
    if need > MAX_DECODING_BYTES:
        raise ImageError(
            f"{name}: a {format} of {width} x {height} pixels takes {need >> 20:,} MiB to decode, "
            f"at most {MAX_DECODING_BYTES >> 20:,} are given; scale it down or cut the line out"
        )
    return _memory.of(need)


# ---- pixels ----


def _to_grey(image: Image.Image) -> np.ndarray:
    if image.format == "JPEG" and image.mode == "RGB":
        image.draft("L", image.size)  # its colours need not be decoded to be turned grey
    image.load()
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if image.mode.startswith("I") or image.mode == "F":
        grey = _wide_values_to_grey(lambda: (np.asarray(strip) for strip in _strips(image)))
    else:
        parts = [_strip_to_grey(strip) for strip in _strips(image)]
        grey = parts[0] if len(parts) == 1 else np.concatenate(parts)
    turn = _TURNS.get(orientation)
    return grey if turn is None else np.ascontiguousarray(turn(grey))


_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF's orientations but for 1
    2: np.fliplr,
    3: lambda grey: np.rot90(grey, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda grey: np.rot90(grey, -1),
    7: lambda grey: np.rot90(grey, 2).T,
    8: np.rot90,
}


def _strips(image: Image.Image) -> Iterator[Image.Image]:
    """The image in strips, top to bottom, so that copies of it stay small."""
    width, height = image.size
    rows = max(1, STRIP_PIXELS // width)
    if rows >= height:
        yield image
        return
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(top + rows, height)))


def _strip_to_grey(image: Image.Image) -> np.ndarray:
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "P":
        image = image.convert("RGB")
    return np.array(image if image.mode == "L" else image.convert("L"))


def _wide_values_to_grey(strips: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
    """More than 8 bits a pixel: the depth is the smallest usual one that holds the values.

    `strips` gives the rows, some at a time, from the first one on at each call.
    """
    largest = 0.0
    for values in strips():
        if not np.isfinite(values).all():
            raise ValueError("pixel values that are not finite")
        largest = max(largest, float(values.max()))
    floats = values.dtype.kind == "f" and largest <= 1
    depth = 1.0 if floats else next((d for d in (255, 4095, 65535) if largest <= d), largest)
    grey = [
        np.rint(np.clip(values.astype(np.float32) / depth, 0, 1) * 255).astype(np.uint8)
        for values in strips()
    ]
    return grey[0] if len(grey) == 1 else np.concatenate(grey)


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise ImageError(
            f"{name}: expected shape [height, width] or [height, width, 1 to 4], "
            f"got {list(array.shape)}"
        )
    _check_size(array.shape[1], array.shape[0], name)
    try:
        return _values_to_grey(np.asarray(array), name)
    except MemoryError as error:
        raise ImageError(
            f"{name}: there is too little memory for an image of "
            f"{array.shape[1]} x {array.shape[0]} pixels"
        ) from error


def _values_to_grey(array: np.ndarray, name: str) -> np.ndarray:  # [Y', X'] or [Y', X', 2 to 4]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype.kind == "u" and array.dtype.itemsize == 2:  # of either byte order
        array = _wide_values_to_grey(lambda: iter([array]))
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
