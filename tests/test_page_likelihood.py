"""What is text and what only looks like it: from drawn pages and what was read of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from khmer_fast.document import Line
from khmer_fast.files.file_page import FilePage
from khmer_fast.page.assemble import ReadLine, make_page
from khmer_fast.page.bands import Maps
from khmer_fast.page.find import FoundPage, find_lines
from khmer_fast.page.likelihood import WEIGHTS, features, is_no_text, text_likelihood
from tests.page_drawings import DrawnLine, DrawnPage, level


class Drawn:
    def __init__(self, page: DrawnPage):
        self.page = page

    def maps(self, grey: np.ndarray) -> Maps:
        if grey.shape == self.page.grey.shape:
            return self.page.maps()
        empty = DrawnPage(*grey.shape)
        return empty.maps()


def found_on(lines: list[DrawnLine], score: float = 0.92) -> FoundPage:
    """The page's lines from top to bottom, with bands of a score."""
    page = DrawnPage(1280, 900, lines=lines)
    found = find_lines(page.grey, Drawn(page), 0)
    assert len(found.lines) == len(lines)
    return replace(found, bands=[replace(band, score=score) for band in found.bands])


def read(text: str, confidence: float = 0.9) -> Line:
    return Line(text, confidence, (0, 0, 10, 10))


PROSE = "ក" * 40
GLYPH = DrawnLine(400, 416, level(900), 14)


def prose(count: int) -> list[DrawnLine]:
    return [DrawnLine(60, 500, level(100 + 40 * i), 14) for i in range(count)]


def glyph_number(found: FoundPage) -> int:
    return int(np.argmax([line.box[1] for line in found.lines]))


def likelihood_of_glyph(lines: int, score: float, text: str = "ក") -> float:
    found = found_on([*prose(lines), GLYPH], score)
    glyph = glyph_number(found)
    numbers = list(range(lines + 1))
    answers = [read(text if i == glyph else PROSE) for i in numbers]
    return float(text_likelihood(found, numbers, answers)[glyph])


def test_prose_is_text():
    found = found_on(prose(10))
    assert text_likelihood(found, range(10), [read(PROSE)] * 10).min() > 0.95


def test_a_lone_glyph_is_text_beside_text_and_doubted_without():
    alone, beside = likelihood_of_glyph(0, 0.8), likelihood_of_glyph(10, 0.8)
    assert alone < 0.05 and beside > 0.5
    assert likelihood_of_glyph(0, 0.95) > alone  # what the network says counts


def test_what_reads_too_long_for_its_length_is_doubted():
    assert likelihood_of_glyph(3, 0.8, "ក" * 12) < likelihood_of_glyph(3, 0.8, "ក")


def test_features_have_their_weights_and_no_lines_none():
    found = found_on(prose(2))
    assert features(found, [0, 1], [read(PROSE)] * 2).shape == (2, len(WEIGHTS))
    assert text_likelihood(found, [], []).shape == (0,)


@pytest.mark.parametrize("score, out", [(0.7, True), (0.95, False)])
def test_long_lines_that_nobody_can_read_stay(score, out):
    found = found_on(prose(1), score)
    assert is_no_text(found, [0], np.array([0.01])) == [out]
    assert is_no_text(found, [0], np.array([0.2])) == [False]


def test_what_is_no_text_is_left_out_and_said():
    found = found_on([*prose(3), GLYPH], score=0.55)
    glyph = glyph_number(found)
    numbers = list(range(4))
    lines = [ReadLine(read("X" if i == glyph else PROSE), found.crop(i)) for i in numbers]
    empty = [ReadLine(read("X", 0.01), found.crop(i)) for i in numbers]
    image = FilePage(1, found.grey)
    page = make_page(image, found, numbers, lines, None, 1.0)
    confidence = {line.text: line.confidence for line in page.lines()}
    assert confidence["X"] < confidence[PROSE] and len(list(page.lines())) == 4
    page = make_page(image, found, numbers, empty, None, 1.0)
    (note,) = [note for note in page.notes if note.kind == "marks"]
    assert list(page.lines()) == [] and len(note.boxes) == 4
