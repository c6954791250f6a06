"""A second look at lines that were read unsurely."""

from __future__ import annotations

import math

import numpy as np
import pytest

from khmer_fast.recognize.again import LOWER, SHORT, UNSURE, UNSURE_SHORT, WIDER, looked_at_again
from khmer_fast.recognize.lines import Reading
from khmer_fast.recognize.reader import Reader
from tests.conftest import draw


def reading(text: str, probability: float, *x: float) -> Reading:
    each = math.log(probability) / len(text)
    return Reading(text, [each] * len(text), 0.0, list(x), math.log(probability))


def test_the_surer_look_at_an_unsure_line_counts():
    images = [np.full((48, width), 255, np.uint8) for width in (340, 400, 301, 380)]
    first = [
        [reading("sure", 0.9, 1, 2, 3, 4)],
        [reading("worse", UNSURE / 2, 1, 2, 3, 4, 5), reading("nearly", UNSURE / 3, 1)],
        [reading("best", UNSURE / 2, 1, 2, 3, 4)],
        [],  # failed
    ]
    looks = []

    def read(wider):
        looks.extend(image.shape for image in wider)
        return [
            [reading("better", 0.5, 25, 50, 75, 100, 110, 125)],
            [reading("less", UNSURE / 3, 1, 2, 3, 4)],
        ]

    answers = looked_at_again(images, first, read)
    assert looks == [(48, 500), (48, 376)]
    assert [[x.text for x in found] for found in answers] == [["sure"], ["better"], ["best"], []]
    assert answers[1][0].x == pytest.approx([20, 40, 60, 80, 88, 100])
    assert answers[0] is first[0] and answers[2] is first[2]


def test_a_short_line_is_looked_at_lower():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (48, SHORT), np.uint8)
    first = [[reading("unsure", UNSURE_SHORT - 0.01, 1, 2)], [reading("sure", UNSURE_SHORT, 3)]]

    def read(lower):
        (seen,) = lower
        height = round(48 * LOWER)
        top = (48 - height) // 2
        assert seen.shape == image.shape
        assert (seen[:top] == 255).all() and (seen[top + height :] == 255).all()
        assert abs(float(seen[top : top + height].mean()) - float(image.mean())) < 3
        return [[reading("surer", 0.9, 1, 2)]]

    answers = looked_at_again([image, image], first, read)
    assert [found[0].text for found in answers] == ["surer", "sure"]
    assert answers[0][0].x == [1, 2]


def test_nothing_is_read_where_nothing_is_unsure_or_a_second_look_fails():
    image = np.full((48, 400), 255, np.uint8)
    assert looked_at_again([], [], list) == []
    unsure = [reading("a", UNSURE / 2, 1)]
    assert looked_at_again([image], [unsure], lambda wider: [[]]) == [unsure]


def test_a_reader_looks_twice_and_a_line_does_not_depend_on_its_batch(tiny_weights, monkeypatch):
    """Weights that were never trained are sure of nothing."""
    lines = [draw("Khmer 2025 reads", 700, 40), draw("reads lines twice", 600, 40)]
    reader = Reader(tiny_weights, threads=1)
    alone = [reader.read(grey) for grey in lines]
    widths = []
    read_all = reader._read_all

    def recorded(images):
        widths.append([image.shape[1] for image in images])
        return read_all(images)

    monkeypatch.setattr(reader, "_read_all", recorded)
    assert reader.read_batch(lines) == alone
    first, second = widths
    assert min(first) > SHORT and second == [round(WIDER * width) for width in first]
