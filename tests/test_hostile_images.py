"""Images made to hurt: bounds on memory, pipes, odd buffers, names that forge messages."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from khmer_fast.errors import ImageError
from khmer_fast.files import images
from khmer_fast.files.images import load_grey, read_stream
from tests.conftest import draw
from tests.test_images import encoded, png_chunks

ROOT = Path(__file__).parents[1]
ON_LINUX = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")


def column_png(height: int) -> bytes:
    """A PNG of 1 x height white pixels, one bit each."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"\0\xff" * 100_000) for _ in range(height // 100_000))
    return png_chunks(1, height, 1, 0, data + packer.flush())


def webp_of_size(width: int, height: int) -> bytes:
    """A lossless WebP header that claims a size, and nothing behind it."""
    body = b"VP8L" + (20).to_bytes(4, "little") + b"\x2f"
    body += ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(15)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: column_png(79_000_000), "1 x 79000000 pixels: a side has at most 65,500"),
        (lambda: webp_of_size(8_900, 8_900), "WEBP of 8900 x 8900 pixels takes"),
        (lambda: webp_of_size(16_000, 16_000), "256,000,000 pixels"),
    ],
    ids=["column", "webp", "large webp"],
)
def test_a_bomb_is_refused_before_it_is_decoded(data, words):
    data = data()
    start = time.perf_counter()
    with pytest.raises(ImageError, match=words):
        load_grey(data)
    assert time.perf_counter() - start < 1
    with pytest.raises(ImageError, match="a side has at most"):
        load_grey(np.broadcast_to(np.uint8(255), (70_000, 1)))


_PEAK = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from khmer_fast.files import images
from khmer_fast.recognize.line_image import prepare
images._memory.total = int(sys.argv[2])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def work(path):
    return prepare(images.load_grey(path)).image.shape
before = peak()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, [sys.argv[1]] * 4))
print(peak() - before)
"""


@ON_LINUX
def test_large_images_are_decoded_one_after_the_other(tmp_path):
    """Four that fit the bound on memory one by one, and would pass it four times together."""
    path = tmp_path / "large.webp"
    page = np.full((3_000, 3_000), 255, np.uint8)
    page[1_500:1_520, 500:2_500:9] = 0
    Image.fromarray(page).save(path, method=0)
    most = 3_000 * 3_000 * images.BYTES_A_PIXEL["WEBP"]
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(path), str(most)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.3 * most / 2**20


def test_strips_look_like_the_whole(monkeypatch):
    """Images too large for one strip: transparency, palettes, 16 bits and EXIF turns."""
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (37, 53, 4), dtype=np.uint8))
    wide = rng.integers(0, 4000, (37, 53)).astype(np.uint16)
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = noise.convert("RGB").quantize(16)
    sources = [
        encoded(noise, "PNG"),
        encoded(noise.convert("LA"), "PNG"),
        encoded(palette, "PNG", transparency=3),
        encoded(noise, "PNG", exif=turned),
        encoded(Image.fromarray(wide), "PNG"),
        encoded(Image.fromarray(wide.astype(np.float32) / 4000), "TIFF"),
    ]
    whole = [load_grey(source) for source in sources]
    monkeypatch.setattr(images, "STRIP_PIXELS", 200)
    for source, expected in zip(sources, whole, strict=True):
        assert np.array_equal(load_grey(source), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_turn_is_pillows(orientation):
    from PIL import ImageOps

    image = Image.fromarray(draw("Lg", 70, 48))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(load_grey(data), np.asarray(expected))


_SHORT_OF_MEMORY = """
import resource, sys
from khmer_fast.errors import ImageError
from khmer_fast.files.images import load_grey
data = open(sys.argv[1], "rb").read()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + (30 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    load_grey(data, "line.png")
except ImageError as error:
    print(error)
"""


@ON_LINUX
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_too_little_memory_is_said(tmp_path, format):
    path = tmp_path / "image"
    Image.new("RGB", (6_000, 5_000)).save(
        path, format, **({"method": 0} if format == "WEBP" else {})
    )
    done = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_MEMORY, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert "memory" in done.stdout and done.stdout.startswith("line.png: "), done.stderr


# ---- pipes ----


@pytest.fixture
def pipe(tmp_path) -> Path:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs pipes with names")
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path / "pipe.png"


def test_a_pipe_that_nobody_writes_to_is_an_error(pipe, monkeypatch):
    monkeypatch.setattr(images, "PATIENCE", 0.2)
    start = time.perf_counter()
    with pytest.raises(ImageError, match="pipe.png: nothing came .* for 0.2 seconds"):
        load_grey(pipe)
    with pytest.raises(ImageError, match="for 0.1 seconds"):
        read_stream(pipe, patience=0.1)
    assert time.perf_counter() - start < 5


def test_a_pipe_is_read_to_its_end(pipe, line_image):
    data = encoded(Image.fromarray(line_image), "PNG")

    def write() -> None:
        with open(pipe, "wb", buffering=0) as file:
            file.write(data[:100])
            time.sleep(0.1)
            file.write(data[100:])

    writer = threading.Thread(target=write)
    writer.start()
    assert np.array_equal(load_grey(pipe), line_image)
    writer.join()


def test_a_pipe_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(images, "MAX_STREAM_BYTES", 2**21)
    with pytest.raises(ImageError, match="more than 2 MiB"):
        load_grey("/dev/zero")


# ---- buffers and arrays ----


def test_buffers_with_strides(line_image):
    data = encoded(Image.fromarray(line_image), "PNG")
    assert np.array_equal(load_grey(memoryview(data[::-1])[::-1]), line_image)
    doubled = bytes(x for byte in data for x in (byte, 0))
    assert np.array_equal(load_grey(memoryview(doubled)[::2]), line_image)
    with pytest.raises(ImageError, match="known format"):
        load_grey(memoryview(data)[::2])
    released = memoryview(data)
    released.release()
    with pytest.raises(ImageError, match="released"):
        load_grey(released)


@pytest.mark.parametrize("kind", ["u2", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_either_byte_order(line_image, order, kind):
    values = line_image.astype(order + kind) * (257 if kind == "u2" else 1 / 255)
    assert np.array_equal(load_grey(values.astype(order + kind)), line_image)


def test_names_cannot_forge_messages(tmp_path):
    path = tmp_path / "a\n\x1b[31mkhmer-fast: error: forged\u202e.png"
    path.write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        load_grey(path)
    message = str(caught.value)
    assert "a\\n\\x1b[31mkhmer-fast: error: forged\\u202e.png: is not an image" in message
    assert message.isprintable()
