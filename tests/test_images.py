"""Loading any image, whatever comes."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from khmer_fast.errors import ImageError
from khmer_fast.files.images import MAX_PIXELS, load_grey
from tests.conftest import draw

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::RuntimeWarning:PIL")


def encoded(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG", "PIL"])
def test_every_mode_and_format_looks_the_same(line_image, mode, format):
    grey = np.where(line_image > 127, 255, 0).astype(np.uint8)
    if mode in ("PA",):
        image = Image.fromarray(grey).convert("P").convert("PA")
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    if format == "PIL":
        loaded = load_grey(image)
    else:
        try:
            data = encoded(image, format, **({"lossless": True} if format == "WEBP" else {}))
        except (OSError, ValueError):
            pytest.skip(f"Pillow writes no {format} of mode {mode}")
        loaded = load_grey(data)
    assert loaded.dtype == np.uint8 and loaded.shape == grey.shape
    tolerance = 60 if format == "JPEG" else 3
    assert np.abs(loaded.astype(int) - grey).max() <= tolerance


def test_sixteen_bits_and_floats(line_image):
    wide = line_image.astype(np.uint16) * 257
    for data in (
        encoded(Image.fromarray(wide), "PNG"),
        encoded(Image.fromarray(wide), "TIFF"),
        encoded(Image.fromarray(wide.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(line_image.astype(np.float32) / 255), "TIFF"),
    ):
        assert np.abs(load_grey(data).astype(int) - line_image).max() <= 1


def test_twelve_bits_in_sixteen_keep_their_depth(line_image):
    twelve = line_image.astype(np.uint16) * 16
    assert np.abs(load_grey(twelve).astype(int) - line_image).max() <= 1


def test_arrays_paths_and_bytes_are_the_same(line_image, tmp_path: Path):
    path = tmp_path / "line.png"
    Image.fromarray(line_image).save(path)
    colour = np.repeat(line_image[:, :, None], 3, 2)
    opaque = np.concatenate([colour, np.full_like(colour[:, :, :1], 255)], 2)
    for source in (
        path,
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        memoryview(path.read_bytes()),
        Image.open(path),
        line_image,
        line_image[:, :, None],
        line_image.astype(np.uint16) * 257,
        line_image.astype(np.float32) / 255,
        colour,
        opaque,
        opaque[:, :, 2:],
        np.asfortranarray(line_image),
    ):
        assert np.array_equal(load_grey(source), line_image)
    assert np.array_equal(load_grey(line_image > 127) == 255, line_image > 127)


def test_transparent_is_white_paper():
    image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((10, 10, 30, 30), (0, 0, 0, 255))
    grey = load_grey(encoded(image, "PNG"))
    assert grey[0, 0] == 255 and grey[20, 20] == 0


def test_palette_transparency_is_white_paper():
    image = Image.new("P", (60, 40), 0)
    image.putpalette([0, 0, 0, 10, 10, 10])
    ImageDraw.Draw(image).rectangle((10, 10, 30, 30), 1)
    grey = load_grey(encoded(image, "PNG", transparency=0))
    assert grey[0, 0] == 255 and grey[20, 20] == 10


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda g: g),
        (3, lambda g: g[::-1, ::-1]),
        (6, lambda g: np.rot90(g, -1)),
        (8, lambda g: np.rot90(g)),
    ],
)
def test_orientation(line_image, orientation, turned):
    image = Image.fromarray(line_image)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("PNG", "TIFF"):
        assert np.array_equal(load_grey(encoded(image, format, exif=exif)), turned(line_image))


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_first_frame(line_image, format):
    first, second = Image.fromarray(line_image), Image.new("L", line_image.shape[::-1], 0)
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(first, format, save_all=True, append_images=[second], **options)
    assert np.abs(load_grey(data).astype(int) - line_image).max() <= 3


def png_chunks(width: int, height: int, depth: int, colour: int, pixels: bytes) -> bytes:
    """A PNG of `depth` bits and a colour type; `pixels` are its compressed rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings 10 bytes."""
    return png_chunks(width, height, 8, 2, zlib.compress(b"\0" * 10))


def bad_files(folder: Path, line: np.ndarray) -> dict[str, tuple[Path, str]]:
    """Kinds of bad image: the file and a word of its message."""
    whole = encoded(Image.fromarray(line), "PNG")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    jpeg = encoded(Image.fromarray(noise), "JPEG")
    contents = {
        "empty.png": (b"", "empty"),
        "truncated.png": (whole[: len(whole) // 2], "truncated"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "header_only.png": (whole[:20], ""),
        "text.png": ("អក្សរ, no image".encode(), "not an image"),
        "bomb.png": (png_of_size(60_000, 60_000), "pixels"),
        "large.png": (png_of_size(10_000, 9_000), "pixels"),
        "three_gigabytes.png": (png_of_size(32_000, 32_000), "pixels"),
        "short_data.png": (png_of_size(100, 100), ""),
        "unsupported.pcx": (encoded(Image.fromarray(line), "PCX"), "known format"),
        "unsupported.ico": (encoded(Image.fromarray(line), "ICO"), "known format"),
    }
    files = {}
    for name, (data, word) in contents.items():
        (folder / name).write_bytes(data)
        files[name] = (folder / name, word)
    files["missing"] = (folder / "missing.png", "No such file")
    (folder / "folder.png").mkdir()
    files["folder"] = (folder / "folder.png", "folder")
    return files


def test_bad_files_are_errors_that_name_the_file(tmp_path, line_image):
    for name, (path, word) in bad_files(tmp_path, line_image).items():
        with pytest.raises(ImageError) as caught:
            load_grey(path)
        message = str(caught.value)
        assert str(path) in message and word in message, (name, message)


def test_a_claimed_size_is_not_allocated():
    with pytest.raises(ImageError, match=f"{MAX_PIXELS:,}"):
        load_grey(png_of_size(2**31 - 1, 2**31 - 1))


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("a\0b.png", "cannot be opened"),
        (None, "NoneType"),
        (17, "int"),
        (b"", "empty"),
        (np.zeros((0, 5), np.uint8), "no pixels"),
        (np.zeros((5, 0), np.uint8), "no pixels"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((5, 5, 7), np.uint8), "shape"),
        (np.zeros((5, 5), np.int64), "int64"),
        (np.zeros((5, 5), np.complex64), "complex64"),
        (np.full((5, 5), 200.0), "[0, 1]"),
        (np.full((5, 5), np.nan), "[0, 1]"),
        (np.full((5, 5), -np.inf), "[0, 1]"),
        (np.broadcast_to(np.uint8(0), (100_000, 100_000)), "pixels"),
    ],
)
def test_bad_objects(source, word):
    with pytest.raises(ImageError) as caught:
        load_grey(source)
    assert word in str(caught.value)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"]),
)
def test_random_bytes_never_crash(data, magic):
    try:
        load_grey(magic + data)
    except ImageError:
        pass


@settings(max_examples=60)
@given(st.data())
def test_damaged_files_never_crash(data):
    format = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"]))
    whole = bytearray(encoded(Image.fromarray(draw("x", 40, 24)), format))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        load_grey(bytes(whole))
    except ImageError:
        pass
