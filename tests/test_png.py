"""Plain PNG files opened without Pillow: the same pixels, and nothing that Pillow would refuse."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from khmer_fast.errors import ImageError
from khmer_fast.files.images import load_grey
from khmer_fast.ops import read_png
from khmer_fast.recognize.picture import open_grey
from tests.conftest import draw
from tests.test_images import encoded


def chunk(name: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def png(
    rows: bytes, size: tuple[int, int], colours: int = 2, stream: bytes | None = None,
    before: bytes = b"", parts: int = 1, header: bytes | None = None,
) -> bytes:  # fmt: skip
    """A file of filtered rows: uint8 [Y, 1 + X channels] as bytes, size X and Y."""
    if header is None:
        header = struct.pack(">IIBBBBB", *size, 8, colours, 0, 0, 0)
    stream = zlib.compress(rows) if stream is None else stream
    step = max(1, -(-len(stream) // parts))
    data = b"".join(chunk(b"IDAT", stream[i : i + step]) for i in range(0, len(stream), step))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + chunk(b"IEND", b"")


def filtered(seed: int, X: int, Y: int, channels: int) -> bytes:
    """Rows of every filter, of runs and of noise."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, (Y, 1 + X * channels)).astype(np.uint8)
    rows[rng.random(Y) < 0.6, 1:] = rng.integers(0, 3)
    rows[:, 0] = rng.integers(0, 5, Y)
    return rows.tobytes()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 7), (17, 5), (300, 60), (1000, 90)])
@pytest.mark.parametrize("seed", range(3))
def test_every_filter_and_kind_of_block_gives_pillows_pixels(channels, size, seed):
    X, Y = size
    rows = filtered(seed, X, Y, channels)
    colours = 2 if channels == 3 else 0
    for level in (0, 1, 6, 9):
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
            packer = zlib.compressobj(level, zlib.DEFLATED, random.Random(seed).choice((9, 15)), 8,
                                      strategy)  # fmt: skip
            stream = packer.compress(rows) + packer.flush()
            data = png(rows, size, colours, stream, parts=seed + 1)
            grey = read_png(data)
            assert grey is not None
            with Image.open(io.BytesIO(data)) as image:
                np.testing.assert_array_equal(grey, np.asarray(image.convert("L")))


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=0, max_size=4000), st.integers(0, 9))
def test_any_bytes_inflate_to_themselves(data, level):
    """Behind a filter's number, so that they are the picture."""
    if data:
        grey = read_png(png(b"\0" + data, (len(data), 1), 0, zlib.compress(b"\0" + data, level)))
        assert grey is not None and grey.tobytes() == data


def test_what_pillow_saves(tmp_path):
    line = draw()
    colour = np.stack([line, 255 - line, np.roll(line, 9, 1)], axis=2)
    for image in (Image.fromarray(line), Image.fromarray(colour)):
        for options in ({}, {"optimize": True}, {"compress_level": 1}, {"dpi": (300, 300)}):
            data = encoded(image, "PNG", **options)
            np.testing.assert_array_equal(read_png(data), load_grey(data))
            path = tmp_path / "line.png"
            path.write_bytes(data)
            np.testing.assert_array_equal(open_grey(path), load_grey(path))
            np.testing.assert_array_equal(open_grey(str(path)), open_grey(data))


def test_other_kinds_are_pillows():
    line = draw()
    turned = Image.Exif()
    turned[0x0112] = 6
    rgba = Image.fromarray(np.dstack([line, line, line, 255 - line]))
    for image, options in (
        (Image.fromarray(line), {"exif": turned}), (Image.fromarray(line), {"transparency": 0}),
        (rgba, {}), (Image.fromarray(line).quantize(4), {}), (Image.fromarray(line > 9), {}),
        (Image.fromarray(line.astype(np.uint16) * 257), {}),
    ):  # fmt: skip
        data = encoded(image, "PNG", **options)
        assert read_png(data) is None
        np.testing.assert_array_equal(open_grey(data), load_grey(data))
    assert read_png(encoded(Image.fromarray(line), "JPEG")) is None


def test_damage_is_left_to_pillow():
    """Each byte of a file changed, and each of its beginnings: nothing, or what Pillow gives."""
    X, Y = 23, 9
    whole = png(filtered(3, X, Y, 3), (X, Y), parts=2, before=chunk(b"pHYs", bytes(9)))
    assert read_png(whole) is not None
    rng = random.Random(1)
    files = [whole[:n] for n in range(len(whole))]
    files += [whole[:i] + bytes([whole[i] ^ 1 << rng.randrange(8)]) + whole[i + 1 :]
              for i in range(len(whole))]  # fmt: skip
    files += [whole + b"more", whole.replace(b"IEND", b"IDAT")]
    for data in files:
        grey = read_png(data)
        if grey is not None:
            np.testing.assert_array_equal(grey, load_grey(data))


@pytest.mark.parametrize(
    ("stream", "rows"),
    [
        (zlib.compress(bytes(9))[:-1] + b"x", bytes(9)),  # its sum
        (zlib.compress(bytes(8)), bytes(9)),  # too few bytes
        (zlib.compress(bytes(99)), bytes(9)),  # too many
        (zlib.compress(bytes(9)) + b"more", bytes(9)),
        (b"\x78\x9c" + b"\xff" * 40, bytes(9)),
        (b"\x78\x9c\x03\x00\x00\x00\x00\x01", bytes(9)),  # an empty block
        (b"", bytes(9)),
        (zlib.compress(b"\5" + bytes(8)), bytes(9)),  # no such filter
    ],
)
def test_damaged_streams(stream, rows):
    assert read_png(png(rows, (8, 1), 0, stream)) is None


def test_what_claims_much_gets_no_room_for_it():
    for size in ((0, 5), (5, 0), (2**31, 5), (70_000, 1), (4000, 4000), (2000, 2000)):
        assert read_png(png(bytes(9), size, 0)) is None


def test_files_that_cannot_be_opened(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    for path in (tmp_path / "none.png", tmp_path, tmp_path / "empty.png", "a\0b"):
        with pytest.raises(ImageError) as ours:
            open_grey(path)
        with pytest.raises(ImageError) as theirs:
            load_grey(path)
        assert str(ours.value) == str(theirs.value)
