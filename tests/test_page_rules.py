"""Rules and edges of grounds from drawn pages, without any network."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from khmer_fast.page import pixels, rules_reference
from khmer_fast.page.rules import find_rules

WIDTH, HEIGHT = 600, 800


def page(paper: int = 250) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (WIDTH, HEIGHT), paper)
    return image, ImageDraw.Draw(image)


def ends(rule):
    return tuple(round(v) for point in (rule.start, rule.end) for v in point)


def near(got, expected, within=3):
    return all(abs(a - b) <= within for a, b in zip(got, expected, strict=True))


def test_the_grid_of_a_table():
    image, draw = page()
    for y in (100, 150, 200):
        draw.line((50, y, 550, y), 0, 2)
    for x in (50, 300, 550):
        draw.line((x, 100, x, 200), 0, 2)
    found = find_rules(np.asarray(image))
    assert len(found.horizontal) == 3 and len(found.vertical) == 3
    assert near(ends(found.horizontal[0]), (50, 100, 550, 100))
    assert near(ends(found.vertical[1]), (300, 100, 300, 200), 4)
    assert found.mask[100, 60:290].mean() > 0.9 and found.mask[120:140, 100:200].sum() == 0


@pytest.mark.parametrize("slope", [-0.08, -0.03, -0.02, 0.02, 0.05])
def test_a_skewed_rule_is_one(slope):
    image, draw = page()
    draw.line((50, 300, 550, 300 + 500 * slope), 30, 2)
    (rule,) = find_rules(np.asarray(image)).horizontal
    assert near(ends(rule), (50, 300, 550, round(300 + 500 * slope)), 5)


@pytest.mark.parametrize("level", [0, 120, 225])
@pytest.mark.parametrize("thick", [1, 2, 4])
def test_pale_and_thick_rules(level, thick):
    image, draw = page()
    draw.line((50, 300, 550, 300), level, thick)
    (rule,) = find_rules(np.asarray(image)).horizontal
    assert abs(rule.thickness - thick) <= 1.5


def test_a_light_rule_on_a_dark_page():
    image, draw = page(20)
    draw.line((50, 300, 550, 300), 240, 2)
    assert len(find_rules(np.asarray(image)).horizontal) == 1


def test_a_rule_with_breaks_is_one():
    image, draw = page()
    for left, right in ((50, 200), (210, 380), (388, 550)):
        draw.line((left, 300, right, 300), 0, 2)
    (rule,) = find_rules(np.asarray(image)).horizontal
    assert near(ends(rule), (50, 300, 550, 300))


def test_rules_through_noise():
    image, draw = page(210)
    draw.line((50, 300, 550, 310), 90, 2)
    noise = np.random.default_rng(0).normal(0, 9, (HEIGHT, WIDTH))
    grey = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    assert len(find_rules(grey).horizontal) == 1
    blank = np.clip(210 + noise, 0, 255).astype(np.uint8)
    found = find_rules(blank)
    assert not found.horizontal and not found.vertical and not found.mask.any()
    assert not found.level_edges and not found.upright_edges


def test_text_and_dots_are_no_rules():
    image, draw = page()
    rng = np.random.default_rng(1)
    for y in range(100, 700, 26):
        x = 50
        while x < 540:
            wide = int(rng.integers(3, 9))
            for stroke in range(int(rng.integers(1, 4))):
                draw.line((x + 2 * stroke, y, x + 2 * stroke, y + 9), 0, 1)
            if rng.random() < 0.5:
                draw.line((x, y, x + wide, y), 0, 1)
            x += wide + 2
    draw.line((50, 720, 550, 720), 255, 1)
    for x in range(50, 550, 5):
        draw.point((x, 740), 0)
    found = find_rules(np.asarray(image))
    assert not found.horizontal and not found.vertical


def test_edges_of_a_coloured_ground():
    image, draw = page()
    draw.rectangle((100, 200, 400, 360), 225)
    found = find_rules(np.asarray(image))
    assert [round(rule.start[1] / 10) for rule in found.level_edges] == [20, 36]
    assert [round(rule.start[0] / 10) for rule in found.upright_edges] == [10, 40]
    assert not found.horizontal and not found.vertical and not found.mask.any()


def test_rules_in_pixels_of_the_page():
    image, draw = page()
    draw.line((50, 300, 550, 300), 0, 2)
    (rule,) = find_rules(np.asarray(image), scale=0.5).horizontal
    assert near(ends(rule), (100, 600, 1100, 600), 6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (40, 40), (12, 31)])
def test_small_pages(shape):
    found = find_rules(np.full(shape, 200, np.uint8))
    assert not found.horizontal and not found.vertical and found.mask.shape == shape


def drawings():
    rng = np.random.default_rng(7)
    for shape in ((1, 1), (11, 3), (11, 40), (40, 11), (90, 140), (140, 90)):
        yield rng.integers(0, 256, shape, dtype=np.uint8)
        grey = np.clip(rng.normal(210, 4, shape), 0, 255).astype(np.uint8)
        for _ in range(6):
            y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
            tall, wide = rng.integers(1, 9), rng.integers(20, 120)
            grey[y : y + tall, x : x + wide] = rng.integers(0, 256)
        yield grey
    image, draw = page()
    for k in range(12):
        draw.line((20 * k, 60 * k, 580 - 10 * k, 62 * k), 20 * k, 1 + k % 4)
    draw.rectangle((100, 300, 400, 460), 180)
    yield np.asarray(image)


@pytest.mark.parametrize("least", [1, 7, 30, 300])
def test_compiled_pieces_equal_the_reference(least):
    for grey in drawings():
        for mine, expected in zip(
            pixels.find_rules(grey, least), rules_reference.find_rules(grey, least), strict=True
        ):
            np.testing.assert_array_equal(mine, expected)
