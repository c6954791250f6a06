"""Making a clean line of a picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from khmer_fast.errors import ImageError
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
    levels = find_levels(Image.fromarray(grey).histogram())
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
