"""Loading any image, and making a clean line of it."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from khmer_fast.errors import ImageError
from khmer_fast.files.images import MAX_PIXELS, load_grey
from khmer_fast.recognize.line_image import (
    HEIGHT,
    MAX_WIDTH,
    MIN_WIDTH,
    _extent,
    _local_percentiles,
    find_levels,
    prepare_line,
)
from tests.conftest import draw

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::RuntimeWarning:PIL")


def encoded(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def is_clean(line: np.ndarray) -> bool:
    return (
        line.dtype == np.uint8
        and line.shape[0] == HEIGHT
        and MIN_WIDTH <= line.shape[1] <= MAX_WIDTH
    )


def is_blank(line: np.ndarray) -> bool:
    return bool((line == 255).all())


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two lines as a share of the ink; widths may differ a little."""
    assert abs(a.shape[1] - b.shape[1]) <= 3, (a.shape, b.shape)
    width = min(a.shape[1], b.shape[1])
    a, b = a[:, :width].astype(float), b[:, :width].astype(float)
    return float(np.abs(a - b).sum() / (255 - a).sum())


# ---- load_grey ----


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


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings 10 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10))
        + chunk(b"IEND", b"")
    )


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


# ---- prepare_line ----


def test_a_line_fills_the_height_with_black_on_white(line_image):
    line = prepare_line(line_image)
    assert is_clean(line)
    ink = line < 128
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert 2 <= rows[0] <= 8 and 39 <= rows[-1] <= 45
    assert columns[0] <= 8 and line.shape[1] - columns[-1] <= 9
    assert line.max() == 255 and line.min() == 0
    assert 0.05 < ink.mean() < 0.4


@settings(max_examples=150)
@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 70), st.integers(1, 70)),
        elements=st.sampled_from([0, 1, 60, 128, 200, 254, 255]),
    )
)
def test_any_array_gives_a_line(grey):
    before = grey.copy()
    assert is_clean(prepare_line(grey))
    assert np.array_equal(grey, before)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (2, 2), (48, 700), (48, 20_000)])
@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_one_colour_is_blank(shape, value):
    assert is_blank(prepare_line(np.full(shape, value, np.uint8)))


@pytest.mark.parametrize("paper", [128, 200])
@pytest.mark.parametrize("sigma", [1, 3, 8, 15])
def test_grain_is_blank(paper, sigma):
    noise = np.random.default_rng(sigma).normal(paper, sigma, (48, 700))
    assert is_blank(prepare_line(noise.clip(0, 255).astype(np.uint8)))


def test_dark_backgrounds_are_turned(line_image):
    assert np.array_equal(prepare_line(255 - line_image), prepare_line(line_image))
    heavy = draw("MMMM WWWW ####", 330, 34)[4:28, 8:230]  # bold, cut tightly
    assert (prepare_line(heavy) < 128).mean() < 0.5
    assert np.array_equal(prepare_line(255 - heavy), prepare_line(heavy))


@pytest.mark.parametrize(("paper", "ink"), [(255, 200), (180, 60), (90, 30), (30, 90), (60, 230)])
def test_contrast_is_stretched(line_image, paper, ink):
    share = line_image / 255
    grey = np.rint(ink + (paper - ink) * share).astype(np.uint8)
    assert difference(prepare_line(line_image), prepare_line(grey)) < 0.08


@pytest.mark.parametrize("light", ["along", "across", "shadow"])
def test_uneven_light_is_evened(line_image, light):
    Y, X = line_image.shape
    if light == "along":
        lamp = np.linspace(0.4, 1, X)[None, :]
    elif light == "across":
        lamp = np.linspace(0.6, 1, Y)[:, None]
    else:
        lamp = 1 - 0.4 / (1 + np.exp(-(np.arange(X)[None, :] - X / 2) / 20))
    line = prepare_line((line_image * lamp).astype(np.uint8))
    assert difference(prepare_line(line_image), line) < 0.35
    assert (line[:3] == 255).mean() > 0.97  # no shadow is left as ink


@pytest.mark.parametrize("border", [(0, 0, 20, 300), (30, 10, 0, 0), (100, 150, 200, 100)])
def test_blank_border_does_not_matter(line_image, border):
    top, bottom, left, right = border
    wide = np.pad(line_image, ((top, bottom), (left, right)), constant_values=255)
    assert difference(prepare_line(line_image), prepare_line(wide)) < 0.05


def test_specks_are_no_ink_and_dots_are(line_image):
    plain = prepare_line(line_image)
    large = np.pad(line_image, 20, constant_values=255)
    specked = large.copy()
    specked[3, 5] = specked[-4, 200] = specked[60, 3] = 0
    assert prepare_line(specked).shape == plain.shape
    dotted = large.copy()
    dotted[2:6, 250:254] = 0  # as large as the dot of a letter
    line = prepare_line(dotted)
    assert line.shape[1] < 0.85 * plain.shape[1]  # the dot counts: it is kept in view
    assert (line[:8, line.shape[1] // 2 :] < 128).any()


def test_aspect_is_kept_at_any_size():
    widths = []
    for scale in (2, 3, 7):
        large = Image.fromarray(draw()).resize((260 * scale, 48 * scale))
        widths.append(prepare_line(np.asarray(large)).shape[1])
    assert max(widths) <= 1.05 * min(widths)


def test_enlargement_is_bounded():
    rule = np.full((60, 400), 255, np.uint8)
    rule[30:32, ::6] = rule[30:32, 1::6] = 0  # a dotted rule
    assert prepare_line(rule).shape[1] < 4 * 400 + 20


@pytest.mark.parametrize("height", [48, 96, 400])
def test_20000_pixels_are_an_answer(height):
    piece = draw("Khmer OCR ", 3 * height, height)
    wide = np.tile(piece, (1, 20_000 // piece.shape[1] + 1))[:, :20_000]
    line = prepare_line(wide)
    assert is_clean(line) and not is_blank(line)


@pytest.mark.parametrize(("width", "height"), [(40_000, 48), (20_000, 20), (60_000, 96)])
def test_what_cannot_fit_is_an_error(width, height):
    piece = draw("Khmer OCR ", 3 * height, height)
    wide = np.tile(piece, (1, width // piece.shape[1] + 1))[:, :width]
    with pytest.raises(ImageError) as caught:
        prepare_line(wide)
    assert "wide" in str(caught.value) and "cut" in str(caught.value)


@pytest.mark.parametrize(
    "grey", [np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((4, 4), np.float32)]
)
def test_wrong_arrays(grey):
    with pytest.raises(ImageError, match="uint8"):
        prepare_line(grey)


@pytest.mark.parametrize("grain", [4, 12, 24])
def test_grain_alone_is_no_ink_and_faint_strokes_on_it_are(grain):
    rng = np.random.default_rng(grain)
    paper = rng.normal(170, grain, (40, 300))
    faint = paper.copy()
    for x in range(20, 280, 12):
        faint[10:30, x : x + 4] -= 4.5 * grain + 10
    blank, written = (
        prepare_line(np.clip(image, 0, 255).astype(np.uint8)) for image in (paper, faint)
    )
    assert (blank == 255).all()
    assert (written < 128).any()


GREYS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 40), st.integers(1, 90)),
    elements=st.sampled_from([0, 3, 90, 100, 110, 200, 250, 255]) | st.integers(0, 255),
)


@settings(max_examples=60)
@given(GREYS, st.integers(1, 60))
def test_local_percentiles_are_those_of_sorted_windows(grey, window):
    step = max(1, window // 16)
    sample = grey[::step, ::step]
    count = max(1, sample.shape[1] * step // window)
    width = sample.shape[1] // count
    found = _local_percentiles(grey, (2, 50, 98), window)  # [3, count]
    assert found.shape == (3, count)
    for i in range(count):
        values = np.sort(sample[:, i * width : (i + 1) * width], axis=None)
        expected = [values[round((len(values) - 1) * p / 100)] for p in (2, 50, 98)]
        assert found[:, i].tolist() == expected


@settings(max_examples=60)
@given(GREYS)
def test_levels_are_ranks_of_the_sorted_pixels(grey):
    pixels = np.sort(grey, axis=None).tolist()

    def rank(count: float) -> int:  # the pixel that `count` others lie before
        return pixels[int(count)] if count < len(pixels) else 255

    low, high = rank(min(0.001 * len(pixels), 8)), rank(0.98 * len(pixels))
    dark = sum(value <= (low + high) // 2 for value in pixels)
    light = len(pixels) - dark
    paper, ink = rank(dark + 0.5 * light), rank(0.2 * dark)
    grain = rank(dark + 0.84 * light) - paper
    levels = find_levels(grey)
    if light and paper - ink >= max(16, 5 * grain):
        assert levels is not None and (levels.paper, levels.ink) == (paper, ink)
    else:
        assert levels is None


@settings(max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30).filter(any), st.floats(0, 4))
def test_extent_leaves_out_the_specks(counts, speck):
    runs, at = [], 0
    for inked, run in itertools.groupby(counts, bool):
        run = list(run)
        if inked:
            runs.append((at, at + len(run), sum(run)))
        at += len(run)
    large = [run for run in runs if run[1] - run[0] > speck or run[2] > speck * speck] or runs
    assert _extent(np.array(counts, np.int32), speck) == (large[0][0], large[-1][1])
