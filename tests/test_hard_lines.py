"""Slanted lines, lines of two inks and on two papers, and readings that lost something."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from khmer_fast.recognize import doubt, papers, slant, two_inks
from khmer_fast.recognize.engine import make_engine
from khmer_fast.recognize.line_image import prepare, prepare_line
from khmer_fast.recognize.reader import Reader
from khmer_fast.weights import load_weights
from tests.conftest import draw

WORDS = "Khmer OCR reads lines of 2025 gladly"


def words(width: int = 760, height: int = 48) -> np.ndarray:
    return draw(WORDS, width, height)


def turned(grey: np.ndarray, degrees: float) -> np.ndarray:
    """Turned clockwise, on white: uint8 [Y, X] -> [Y', X']."""
    image = Image.fromarray(grey)
    return np.asarray(image.rotate(-degrees, Image.Resampling.BICUBIC, True, fillcolor=255))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two pictures as a share of the ink of the first."""
    b = np.asarray(Image.fromarray(b).resize(a.shape[::-1], Image.Resampling.BICUBIC))
    return float(np.abs(a.astype(float) - b).sum() / (255.0 - a).sum())


# ---- slant ----


@pytest.mark.parametrize("degrees", [-11, -5, -2, 2, 3, 8, 11])
def test_a_slanted_line_is_turned_back(degrees):
    plain, line = prepare(words()), prepare(turned(words(), degrees))
    a, b, *_ = line.to_picture
    assert math.degrees(math.atan2(b, a)) == pytest.approx(degrees, abs=0.4)
    assert abs(line.image.shape[1] - plain.image.shape[1]) < 0.08 * plain.image.shape[1]
    assert difference(plain.image, line.image) < 0.45


@pytest.mark.parametrize("degrees", [0, -1, 1])
def test_a_line_that_hardly_leans_is_left_alone(degrees):
    picture = turned(words(), degrees)
    assert prepare(picture).to_picture[1] == 0


@pytest.mark.parametrize("text", ["7", "ab", "a_b", "Tg", "L'", "_'"])
def test_short_words_have_no_direction(text):
    assert prepare(draw(text, 120, 60)).to_picture[1] == 0


@settings(max_examples=30, deadline=None)
@given(st.floats(-12, 12), st.integers(20, 90), st.integers(200, 700))
def test_pixels_of_a_turned_picture_lead_back(degrees, height, width):
    rng = np.random.default_rng(0)
    grey = np.full((height, width), 255, np.uint8)
    y, x = rng.integers(8, height - 8), rng.integers(8, width - 8)
    grey[y - 2 : y + 3, x - 2 : x + 3] = 0
    out, (a, b, c, d, e, f) = slant.upright(grey, degrees, 255)
    ink = 255.0 - out
    down, along = np.indices(out.shape)
    at_x, at_y = (float((ink * i).sum() / ink.sum()) + 0.5 for i in (along, down))
    assert a * at_x + c * at_y + e == pytest.approx(x + 0.5, abs=0.3)
    assert b * at_x + d * at_y + f == pytest.approx(y + 0.5, abs=0.3)


def test_boxes_of_a_turned_line_lie_on_its_ink():
    grey = np.full((60, 900), 255, np.uint8)
    for x in range(40, 860, 60):
        grey[20:44, x : x + 24] = 0
    picture = turned(grey, 6)
    line = prepare(picture)
    left, _, right, _ = line.ink
    middles = np.linspace(left, right, 15)
    for box in line.picture_boxes(np.clip(middles, left, right)):
        part = picture[box[1] : box[3], box[0] : box[2]]
        assert (part < 128).mean() > 0.1


# ---- inks and papers ----


def in_colours(paper: int, inks: tuple[int, int], size: int = 30) -> np.ndarray:
    """Words in turns in two greys: uint8 [Y, X]."""
    image = Image.new("L", (760, 60), paper)
    font, place = ImageFont.load_default(size=size), 10
    for i, word in enumerate(WORDS.split()):
        ImageDraw.Draw(image).text((place, 10), word, font=font, fill=inks[i % 2])
        place += round(font.getlength(word + " "))
    return np.asarray(image)


@pytest.mark.parametrize(
    ("paper", "inks"), [(140, (50, 230)), (120, (20, 180)), (160, (90, 255)), (100, (0, 200))]
)
def test_words_darker_and_lighter_than_their_paper(paper, inks):
    expected = prepare_line(in_colours(255, (0, 0)))
    for order in (inks, inks[::-1]):
        line = prepare_line(in_colours(paper, order))
        assert difference(expected, line) < 0.3


@pytest.mark.parametrize(
    ("paper", "inks"),
    [(255, (0, 0)), (255, (0, 120)), (0, (255, 255)), (140, (50, 50)), (140, (230, 230)),
     (140, (50, 146)), (30, (0, 255))],
)  # fmt: skip
def test_lines_of_one_side_do_not_pass_the_gate(paper, inks):
    grey = in_colours(paper, inks)
    assert two_inks.merge(grey) is grey
    noisy = grey + np.random.default_rng(0).normal(0, 6, grey.shape)
    noisy = noisy.clip(0, 255).astype(np.uint8)
    assert two_inks.merge(noisy) is noisy and papers.even(noisy) is noisy


@pytest.mark.parametrize("shade", [0.5, 0.7, 0.88])
@pytest.mark.parametrize("reach", [(0, 300), (200, 500), (430, 760)])
def test_a_marked_stretch_is_as_white_as_the_rest(shade, reach):
    plain = in_colours(250, (0, 0))
    marked = plain.astype(float)
    marked[:, slice(*reach)] *= shade
    line = prepare_line(marked.astype(np.uint8))
    assert difference(prepare_line(plain), line) < 0.1


def test_a_stretch_in_reverse():
    plain = in_colours(250, (0, 0))
    half = plain.copy()
    half[:, :330] = 255 - half[:, :330]
    assert difference(prepare_line(plain), prepare_line(half)) < 0.15


def test_bold_type_and_gradients_have_one_paper():
    bold = np.full((40, 400), 255, np.uint8)
    bold[6:34, 20:120] = 0  # ink that fills most of a stretch
    bold[10:20, 160:380:7] = 0
    assert papers.even(bold) is bold
    lamp = (words() * np.linspace(0.5, 1, 760)[None, :]).astype(np.uint8)
    assert papers.even(lamp) is lamp


def test_a_shadow_is_no_other_paper_or_ink():
    """Most of the paper is grey, and it grows light to one end and dark to the other."""
    x = np.linspace(0, 1, 760)
    light = 165 + 40 * ((0.3 - x).clip(0) - (x - 0.7).clip(0)) / 0.3
    plain = in_colours(255, (150, 150))
    shadow = plain / 255.0 * light + np.random.default_rng(0).normal(0, 2, plain.shape)
    shadow = shadow.clip(0, 255).astype(np.uint8)
    assert two_inks.merge(shadow) is shadow and papers.even(shadow) is shadow
    assert difference(prepare_line(plain), prepare_line(shadow)) < 0.1


# ---- doubt ----


def test_ink_is_covered_by_what_was_looked_at():
    image = np.full((48, 400), 255, np.uint8)
    image[10:40, 20:380:2] = 0
    everywhere = list(range(20, 380, 12))
    assert doubt.uncovered(image, everywhere, 18) == 0
    assert not doubt.is_odd(image, everywhere, 0.9)
    hole = [x for x in everywhere if not 150 < x < 250]
    assert 20 <= doubt.uncovered(image, hole, 18) <= 50
    assert doubt.uncovered(image, [], 18) == 180
    assert doubt.is_odd(image, hole, 0.9)
    white = image.copy()
    white[:, 150:250] = 255  # nothing stands there
    assert not doubt.is_odd(white, hole, 0.9)
    assert doubt.is_odd(image, everywhere, 0.01)
    assert doubt.is_odd(image, [*everywhere[:20], 40, *everywhere[20:]], 0.9)


@given(st.text("abcde ", max_size=40), st.text("abcde ", max_size=40))
def test_edits_in_a_window_are_those_of_all_windows(text, other):
    from rapidfuzz.distance import Levenshtein

    found = doubt.most_edits(text, other)
    whole = Levenshtein.distance(text, other)
    assert 0 <= found <= whole + 1e-6
    if len(other) < doubt.WINDOW:
        assert found == pytest.approx(whole)
    assert (found == 0) == (text == other)


class Forgetful:
    """An engine whose answers lack a stretch of tokens, and what attention looked at for them."""

    def __init__(self, engine, first: int, last: int):
        self.engine, self.choice, self.threads = engine, engine.choice, engine.threads
        self.max_padding = engine.max_padding
        self.kept = lambda n: [i for i in range(n) if not first <= i < last]

    def encode(self, batch):
        return self.engine.encode(batch)

    def decode(self, encoded, beam, n_best):
        found = self.engine.decode(encoded, beam, n_best)
        at = torch.tensor(self.kept(found.tokens.shape[2]))
        lost = found.tokens.shape[2] - len(at)
        cut = {name: getattr(found, name)[:, :, at] for name in ("tokens", "log_prob", "position")}
        return replace(found, length=found.length - lost, **cut)

    def second_opinion(self, encoded, lines):
        return self.engine.second_opinion(encoded, lines)

    def release(self):
        self.engine.release()


def test_a_lost_stretch_is_flagged_and_costs_confidence():
    weights = load_weights()
    image = Image.open(Path(__file__).parents[1] / "examples" / "line.png")
    reader = Reader(weights, backend="reference")
    whole = reader.read(image)
    assert whole.flags == ()
    engine = make_engine(weights, backend="reference")
    for first in range(0, len(whole.text) - 12, 7):
        line = Reader(weights, engine=Forgetful(engine, first, first + 9)).read(image)
        assert len(line.text) <= len(whole.text) - 5
        assert set(line.flags) & {"unread ink", "doubtful"}, (first, line.text)
        assert line.confidence < 0.2
