"""A picture as a PDF image: its own compressed bytes where a PDF can hold them, else lossless.

JPEG goes in as it is, PNG with its own compressed rows; black and white becomes CCITT G4 (a TIFF's
own bytes if it is that already), everything else is compressed like a PNG.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from khmer_fast.errors import FormatError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
MAX_PIXELS = 200_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_FILL_ORDER, _STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES = 266, 273, 278, 279
_PHOTOMETRIC, _COMPRESSION, _T6_OPTIONS = 262, 259, 293


def embed(pdf: Any, file: BinaryIO, frame: int) -> Any:
    """The picture of a frame (from 0) of an image file as an image XObject of `pdf`.

    Raises FormatError for what is no picture, or cannot be decoded where it must be.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        file.seek(0)
        image = Image.open(file, formats=_FORMATS)
        if frame:
            image.seek(frame)
        if image.width * image.height > MAX_PIXELS:
            raise FormatError(f"a picture of {image.width} x {image.height} is too large for a PDF")
        if image.format == "JPEG" and (jpeg := _jpeg(pdf, image, file)) is not None:
            return jpeg
        if image.format == "PNG" and frame == 0:
            file.seek(0)
            if (png := _png(pdf, file.read())) is not None:
                return png
        if image.mode == "1":
            return _bilevel(pdf, image, file)
        return _encoded(pdf, image)
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        reason = "no known format" if isinstance(error, UnidentifiedImageError) else error
        raise FormatError(f"the picture cannot be put into a PDF: {reason}") from error


def _image(pdf: Any, data: bytes, size: tuple[int, int], bits: int, **entries: Any) -> Any:
    from pikepdf import Name

    return pdf.make_stream(
        data,
        Type=Name.XObject,
        Subtype=Name.Image,
        Width=size[0],
        Height=size[1],
        BitsPerComponent=bits,
        **entries,
    )


def _jpeg(pdf: Any, image: Any, file: BinaryIO) -> Any | None:
    from pikepdf import Array, Name

    spaces = {"L": Name.DeviceGray, "RGB": Name.DeviceRGB, "CMYK": Name.DeviceCMYK}
    if image.mode not in spaces:
        return None
    file.seek(0)
    entries: dict[str, Any] = {"Filter": Name.DCTDecode, "ColorSpace": spaces[image.mode]}
    if image.mode == "CMYK" and "adobe" in image.info:  # Adobe's are inverted
        entries["Decode"] = Array([1, 0] * 4)
    return _image(pdf, file.read(), image.size, 8, **entries)


def _png(pdf: Any, data: bytes) -> Any | None:
    """A PNG's rows, still compressed; None for what a PDF cannot hold so (alpha, interlaced)."""
    from pikepdf import Array, Dictionary, Name, String

    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    channels = {0: 1, 2: 3, 3: 1}.get(colour)
    chunks = dict[bytes, bytes]()
    rows = []
    for kind, content in _png_chunks(data):
        if kind == b"IDAT":
            rows.append(content)
        else:
            chunks.setdefault(kind, content)
    if channels is None or interlaced or b"tRNS" in chunks or b"acTL" in chunks or not rows:
        return None
    space: Any = Name.DeviceRGB if colour == 2 else Name.DeviceGray
    if colour == 3:
        palette = chunks.get(b"PLTE", b"")
        if not palette or len(palette) % 3:
            return None
        space = Array([Name.Indexed, Name.DeviceRGB, len(palette) // 3 - 1, String(palette)])
    parameters = Dictionary(Predictor=15, Colors=channels, BitsPerComponent=bits, Columns=width)
    entries: dict[str, Any] = {
        "Filter": Name.FlateDecode,
        "DecodeParms": parameters,
        "ColorSpace": space,
    }
    return _image(pdf, b"".join(rows), (width, height), bits, **entries)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _bilevel(pdf: Any, image: Any, file: BinaryIO) -> Any:
    """CCITT G4, or the compressed bits where a dithered picture makes that longer."""
    from pikepdf import Dictionary, Name

    strip = _g4_strip(image, file)
    if strip is None:
        encoded = io.BytesIO()
        plain = image.convert("1")
        plain.save(encoded, "TIFF", compression="group4", tiffinfo={_ROWS_PER_STRIP: image.height})
        from PIL import Image

        strip = _g4_strip(Image.open(encoded), encoded)
        bits = zlib.compress(plain.tobytes(), 9)
        if strip is None or len(bits) < len(strip[0]):
            return _image(
                pdf, bits, image.size, 1, Filter=Name.FlateDecode, ColorSpace=Name.DeviceGray
            )
    data, black_is_1 = strip
    parameters = Dictionary(K=-1, Columns=image.width, Rows=image.height, BlackIs1=black_is_1)
    entries: dict[str, Any] = {"Filter": Name.CCITTFaxDecode, "DecodeParms": parameters}
    return _image(pdf, data, image.size, 1, ColorSpace=Name.DeviceGray, **entries)


def _g4_strip(image: Any, file: BinaryIO) -> tuple[bytes, bool] | None:
    """The one strip of a G4 TIFF, and whether its black is 1; None for other pictures."""
    tags = getattr(image, "tag_v2", {})
    offsets, sizes = tags.get(_STRIP_OFFSETS, ()), tags.get(_STRIP_BYTES, ())
    if tags.get(_COMPRESSION) != 4 or len(offsets) != 1 or len(sizes) != 1:
        return None
    if tags.get(_FILL_ORDER, 1) != 1 or tags.get(_T6_OPTIONS, 0):
        return None
    file.seek(offsets[0])
    return file.read(sizes[0]), tags.get(_PHOTOMETRIC) == 1


def _encoded(pdf: Any, image: Any) -> Any:
    """Any other picture, as it looks on white paper."""
    from PIL import Image

    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    elif image.mode not in ("1", "L", "RGB"):
        image = _eight_bits(image)
    file = io.BytesIO()
    image.save(file, "PNG")
    picture = _png(pdf, file.getvalue())
    if picture is None:
        raise ValueError(f"unexpected PNG of mode {image.mode}")
    return picture


def _eight_bits(image: Any) -> Any:

    if not image.mode.startswith("I") and image.mode != "F":
        return image.convert("RGB")
    low, high = image.getextrema()
    depth = next((d for d in (1.0, 255.0, 4095.0, 65535.0) if high <= d), float(high))
    scale = 255 / depth
    return image.convert("F").point(lambda value: value * scale).convert("L")
