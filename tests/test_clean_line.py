"""The compiled preparation of ordinary lines against its plain reference: equal to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from khmer_fast.errors import ImageError
from khmer_fast.ops import clean_line, may_hold_filler
from khmer_fast.recognize import fillers, leaders
from khmer_fast.recognize.line_image import (
    HEIGHT,
    PreparedLine,
    prepare,
    prepare_line,
    prepare_reference,
)
from tests.conftest import draw

ISAS = ("baseline", "avx2", "avx512")  # the others have the same kernel


def same(a: PreparedLine, b: PreparedLine) -> bool:
    return (
        np.array_equal(a.image, b.image)
        and a.image.dtype == b.image.dtype
        and (a.ink, a.box, a.to_picture) == (b.ink, b.box, b.to_picture)
    )


def ordinary(grey: np.ndarray) -> list[np.ndarray]:
    """A line, uint8 [Y, X], as scanners and screens give it."""
    rng = np.random.default_rng(grey.size)
    picture = Image.fromarray(grey)
    sizes = [(max(1, round(grey.shape[1] * s)), max(1, round(grey.shape[0] * s))) for s in
             (0.37, 0.71, 1.6, 2.9)]  # fmt: skip
    scaled = [np.asarray(picture.resize(size, Image.Resampling.BICUBIC)) for size in sizes]
    grain = np.clip(grey + rng.normal(0, 4, grey.shape), 0, 255).astype(np.uint8)
    speckled = grey.copy()
    speckled[rng.integers(0, grey.shape[0], 9), rng.integers(0, grey.shape[1], 9)] = 0
    greyed = (200 + (grey.astype(np.float32) - 255) * 0.5).astype(np.uint8)  # recycled paper
    bold = grey[grey.shape[0] // 4 : -grey.shape[0] // 4]  # a draw for light or dark
    found = [grey, *scaled, grain, speckled, greyed, bold]
    return found + [255 - x for x in found]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("height", [32, HEIGHT, 65])
def test_ordinary_lines_equal_the_reference(isa, height, monkeypatch):
    monkeypatch.setenv("KHMER_FAST_ISA", isa)
    done = 0
    lines = [grey for text in ("K", "Khmer OCR 2025") for grey in ordinary(draw(text))]
    for grey in lines:
        clean = clean_line(grey, height, alone=True)
        assert same(prepare(grey, height), prepare_reference(grey, height))
        done += clean is not None
    assert done > 0.8 * len(lines)


def test_a_picture_that_may_be_turned_either_way_is_turned_once():
    grey = np.array([[0, 0], [0, 0], [0, 30], [30, 30], [30, 30]], np.uint8)
    assert same(prepare(grey), prepare_reference(grey))


@settings(max_examples=300, deadline=None)
@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 60), st.integers(1, 120)),
        elements=st.sampled_from([0, 1, 60, 128, 200, 240, 254, 255]),
        fill=st.sampled_from([0, 30, 128, 220, 255]),
    )
)
def test_any_array_equals_the_reference(grey):
    assert same(prepare(grey), prepare_reference(grey))


@pytest.mark.parametrize("shape", [(30, 400), (14, 90), (200, 300), (47, 33), (61, 430), (52, 40)])
@pytest.mark.parametrize("seed", range(12))
def test_rectangles_equal_the_reference(shape, seed):
    rng = np.random.default_rng(seed)
    paper = int(rng.integers(130, 256))
    shape = shape[0] + int(rng.integers(0, 9)), shape[1] + int(rng.integers(0, 9))
    grey = np.full(shape, paper, np.uint8)
    for _ in range(40):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        h, w = rng.integers(1, 1 + shape[0] // 3), rng.integers(1, 12)
        grey[y : y + h, x : x + w] = rng.integers(0, paper - 40)
    frame = [int(n) for n in rng.integers(0, 12, 4)]  # the order of resizing depends on it
    grey = np.pad(grey, (frame[:2], frame[2:]), constant_values=paper)
    assert same(prepare(grey), prepare_reference(grey))


def test_lines_of_hard_kinds_are_left_to_the_reference():
    line = draw()
    Y, X = line.shape
    marked = line.astype(np.float32)
    marked[:, X // 3 : X // 2] *= 0.7
    two_inks = 128 + (255 - line.astype(np.int16)) // 4
    two_inks[:, X // 2 :] = 128 - (255 - line[:, X // 2 :].astype(np.int16)) // 4
    shadow = line * np.linspace(1, 0.5, Y)[:, None]
    for hard in (
        marked, two_inks, shadow, np.full_like(line, 255),
        np.asarray(Image.fromarray(line).resize((12 * X, 700))), np.full((1, 1), 9),
    ):  # fmt: skip
        grey = np.ascontiguousarray(hard, np.uint8)
        assert clean_line(grey, HEIGHT, alone=True) is None
        assert same(prepare(grey), prepare_reference(grey))


@pytest.mark.parametrize("degrees", [0.9, 1.2, 3, 5, -8])
def test_leaning_lines_equal_the_reference(degrees):
    leaning = Image.fromarray(draw()).rotate(
        degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=255
    )
    grey = np.ascontiguousarray(leaning)
    clean = clean_line(grey, HEIGHT, alone=True)
    assert isinstance(clean, tuple) and (clean[3] or abs(degrees) < 1.2)
    assert same(prepare(grey), prepare_reference(grey))


def test_lines_that_only_seem_to_have_two_papers_are_cleaned():
    grey = draw().copy()
    grey[-2:, :20] = 220  # a smudge at the edge, no paper
    assert clean_line(grey, HEIGHT, alone=True) is None
    assert isinstance(clean_line(grey, HEIGHT, alone=True, plain=True), tuple)
    assert same(prepare(grey), prepare_reference(grey))


def test_the_picture_is_left_as_it_is_and_may_have_strides():
    line = draw()
    wide = np.repeat(line, 2, axis=1)
    before = wide.copy()
    assert same(prepare(wide[:, ::2]), prepare(line))
    assert np.array_equal(wide, before)


@pytest.mark.parametrize(
    "grey", [np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((4, 4), np.float32)]
)
def test_other_arrays_are_errors(grey):
    with pytest.raises(ImageError):
        prepare(grey)
    with pytest.raises((ValueError, TypeError)):
        clean_line(grey, HEIGHT, alone=True)


def test_the_first_look_for_leaders_misses_none():
    rng = np.random.default_rng(0)
    pictures = [
        draw(text, 600) for text in ("a......b", "a ----- b", "________", "No. 12 ......... 7")
    ]
    pictures += [draw(), np.full((48, 40), 255, np.uint8), np.zeros((5, 9), np.uint8)]
    for width in (16, 90, 700):
        sparse = np.where(rng.random((48, width)) < 0.01, 0, 255).astype(np.uint8)
        rule = np.full((48, width), 255, np.uint8)
        rule[40:43, 5:] = 180
        pictures += [sparse, rule, rng.integers(0, 256, (50, width)).astype(np.uint8)]
    for width in (leaders.LOW_RULE, leaders.LOW_RULE + 3):  # the shortest rules
        short = np.full((48, 120), 255, np.uint8)
        short[40:42, 8 : 8 + width] = 0
        pictures.append(short)
    found = 0
    for picture in (*pictures, *map(prepare_line, pictures)):
        expected = leaders.find_reference(picture) if picture.shape[0] >= 8 else []
        assert leaders.find(picture) == expected
        found += bool(expected)
    assert found >= 3


def test_the_first_look_for_fillers_misses_none():
    rng = np.random.default_rng(1)
    pictures = [draw(text, 700) for text in ("P<KHM<<SOK<<", "a<<<<<b", "<<<<", "((((", "IIII")]
    pictures += [draw(), np.full((48, 40), 255, np.uint8), np.zeros((5, 9), np.uint8)]
    for _ in range(60):  # stretches of about one width and pitch
        bars = np.full((48, 300), 255, np.uint8)
        pitch, width = rng.integers(9, 40), rng.integers(4, 30)
        for x in range(5, 260, pitch):
            x += int(rng.integers(0, 4))
            bars[10:40, x : x + width + int(rng.integers(0, 3))] = 0
        pictures.append(bars)
    found = looks = 0
    for picture in (*pictures, *map(prepare_line, pictures)):
        expected = fillers.find_reference(picture)
        assert fillers.find(picture) == expected
        looks += may_hold_filler(picture)
        found += bool(expected)
    assert 2 <= found <= looks < 30


@pytest.mark.parametrize("cut", [6, 10, 14, 18])
def test_ink_at_an_edge_may_be_a_neighbours(cut):
    line = draw("Khmer OCR 2025", 240, 44)
    pages = np.concatenate([line[cut:], line, line[:-cut]])
    for grey in (pages, line[cut:], line[:-cut], np.ascontiguousarray(pages[:, 5:200])):
        assert same(prepare(grey), prepare_reference(grey))
