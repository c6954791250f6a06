"""Long lines and leaders: where a line is cut, and how its pieces are joined."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from khmer_fast.recognize import leaders, long_lines
from khmer_fast.recognize.engine import make_engine
from khmer_fast.recognize.line_image import prepare
from khmer_fast.recognize.lines import Reading, join, known
from khmer_fast.recognize.pieces import Piece, pieces_of
from khmer_fast.recognize.reader import Reader
from khmer_fast.weights import load_weights
from tests.conftest import draw


def columns(*runs: tuple[int, int]) -> np.ndarray:
    """Ink of columns: pairs of inked and white columns, one after the other."""
    return np.concatenate([np.repeat([20, 0], pair) for pair in runs])


# ---- cuts ----


def test_a_line_that_is_not_long_stays_whole():
    ink = columns(*[(30, 10)] * 40)[: long_lines.LONGEST]
    assert long_lines.cuts(ink) == [(0, 1590)]
    assert long_lines.cuts(np.zeros(5000, int)) == []


def test_the_widest_gap_in_reach_is_cut():
    ink = columns(*[(30, 6)] * 20, (40, 14), *[(30, 6)] * 40)
    first, *_ = long_lines.cuts(ink)
    assert first == (0, 20 * 36 + 40)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(0, 60)), min_size=1, max_size=80),
    st.integers(0, 50),
)
def test_pieces_hold_all_ink_once(runs, margin):
    ink = np.concatenate([np.zeros(margin, int), columns(*runs), np.zeros(margin, int)])
    pieces = long_lines.cuts(ink)
    covered = np.zeros(len(ink), int)
    for left, right in pieces:
        covered[left:right] += 1
        assert 0 < right - left <= long_lines.LONGEST
    assert covered.max() <= 1 and (covered[ink > 0] == 1).all()
    assert pieces == sorted(pieces)


def test_a_line_without_gaps_is_cut_where_its_ink_is_thin():
    ink = np.full(4000, 20)
    ink[[900, 1000, 1100]] = 3
    assert long_lines.cuts(ink)[0][1] in (900, 1000, 1100)


# ---- leaders ----


def with_marks(
    before: str, mark: str, count: int, after: str = "", gap: int = 4, size: int = 40
) -> np.ndarray:
    """Words with marks between them, each drawn by itself: grey uint8 [Y, X]."""
    font = ImageFont.load_default(size=size)
    image = Image.new("L", (200 + 80 * count + 30 * size, 2 * size), 255)
    pen, place = ImageDraw.Draw(image), size // 2
    for part in (before, *[mark] * count, after):
        pen.text((place, size // 3), part, font=font, fill=0)
        place += round(font.getlength(part)) + gap
    return np.asarray(image)


@pytest.mark.parametrize("count", [6, 13, 40])
@pytest.mark.parametrize("size", [20, 40, 64])
@pytest.mark.parametrize(
    ("mark", "gap"), [(".", 2), (".", 14), ("-", 3), ("-", 8)], ids=["dots", "wide", "-", "- -"]
)
def test_marks_are_counted(mark, gap, count, size):
    gap = max(2, gap * size // 40)
    for before, after in (("Name", "Class 4"), ("Name", ""), ("", "page 7")):
        line = prepare(with_marks(before, mark, count, after, gap, size)).image
        (found,) = leaders.find(line)
        assert found.text == mark * count
        pieces = pieces_of(line)
        assert [piece.text for piece in pieces if piece.image is None] == [mark * count]
        assert sum(piece.image is not None for piece in pieces) == bool(before) + bool(after)


def test_a_rule_is_read_as_underscores():
    grey = draw("Name", 600, 60).copy()
    grey[42:45, 150:550] = 0
    (found,) = leaders.find(prepare(grey).image)
    assert set(found.text) == {"_"} and 10 < len(found.text) < 60


def test_a_short_rule_on_the_line_is_read_and_a_dash_above_it_is_not():
    for row, found in ((43, 1), (26, 0)):
        grey = draw("Name", 600, 60).copy()
        grey[row : row + 3, 150:195] = 0
        assert len(leaders.find(prepare(grey).image)) == found


@pytest.mark.parametrize(("gap", "space"), [(3, False), (7, True)])
def test_a_narrow_gap_beside_a_rule_is_a_space(gap, space):
    line = np.full((48, 400), 255, np.uint8)
    line[8:40, 10:14] = line[8:40, 20:24] = 0  # letters end in row 40
    line[38:41, 24 + gap : 300] = 0
    line[8:40, 300 + gap : 304 + gap] = 0
    assert [piece.space for piece in pieces_of(line)] == [False, space, space]


@pytest.mark.parametrize(("width", "found"), [(40, 0), (400, 1)])
def test_a_short_rule_by_itself_is_a_dash(width, found):
    grey = np.full((60, 460), 255, np.uint8)
    grey[30:32, 20 : 20 + width] = 0
    assert len(leaders.find(prepare(grey).image)) == found


@pytest.mark.parametrize(("height", "mark"), [(0, "."), (14, "-")])
def test_thick_marks_above_the_line_are_dashes(height, mark):
    grey = draw("Name", 600, 60).copy()
    end = int(np.flatnonzero((grey < 128).any(axis=1))[-1]) + 1 - height
    for left in range(150, 500, 18):
        grey[end - 5 : end, left : left + 7] = 0
    (found,) = leaders.find(prepare(grey).image)
    assert found.text == mark * 20


def test_square_marks_above_the_line_are_dashes_though_more_of_them_stand_apart():
    line = np.full((48, 700), 255, np.uint8)
    line[10:40, 10:14] = line[10:40, 20:24] = line[10:40, 30:34] = 0  # letters end in row 40
    for left in [*range(60, 360, 10), *range(420, 640, 10)]:  # one gap is wider than GAP
        line[24:29, left : left + 6] = 0
    assert [leader.text for leader in leaders.find(line)] == ["-" * 30, "-" * 22]


@pytest.mark.parametrize(
    "text",
    ["Ellipsis... and more", "a.b.c.d.e.f.g.h.", "i. ii. iii. iv. v. vi.", "1,000,000,000.00",
     "------", "-5-4-3-2-1-0-", "::::::::", '"""""""""', "=======", "'''''''''", "ooooooooo"],
)  # fmt: skip
def test_what_is_no_leader(text):
    found = leaders.find(prepare(draw(text, 700, 60)).image)
    assert not found or (text == "------" and found[0].text == text)


@pytest.mark.parametrize("dot", [2, 4, 400])
@pytest.mark.parametrize("below", [3, 6])
def test_what_goes_on_below_the_words_underlines_them(dot, below):
    grey = draw("Name of it", 900, 60).copy()
    grey[:, 400:800] = grey[:, :400]  # the words twice, and room between them
    end = int(np.flatnonzero((grey < 128).any(axis=1))[-1]) + below
    for left in range(8, 860, 2 * dot if dot < 400 else dot):
        grey[end : end + 2, left : min(860, left + dot)] = 0
    assert leaders.find(prepare(grey).image) == []
    alone = grey.copy()
    alone[end : end + 2, :230] = alone[end : end + 2, 390:] = 255
    assert len(leaders.find(prepare(alone).image)) == 1


def test_marks_of_faint_ink_are_found():
    grey = with_marks("Name", ".", 20, "end")
    faint = grey.copy()
    faint[:, 180:-200][faint[:, 180:-200] < 128] = 175
    assert [leader.text for leader in leaders.find(prepare(faint).image)] == ["." * 20]


# ---- joining ----


def reading(text: str, score: float, **options) -> Reading:
    return Reading(text, [score / max(1, len(text))] * len(text), -0.1, [1.0] * len(text), score,
                   **options)  # fmt: skip


def test_pieces_are_joined_in_order_with_their_spaces():
    image = np.full((48, 20), 255, np.uint8)
    pieces = [
        Piece(image, 0, 20), Piece(None, 24, 60, True, "....."), Piece(image, 64, 84),
        Piece(image, 90, 110, True),
    ]  # fmt: skip
    answers = [
        [reading("ab", -1.0), reading("ax", -3.0)], [known(pieces[1])], [reading("c", -0.5)],
        [reading("d", -0.2, flags=("doubtful",)), reading("", -2.0)],
    ]  # fmt: skip
    best, second, third = join(pieces, answers)
    assert best.text == "ab .....c d" and best.flags == ("doubtful",)
    assert best.score == pytest.approx(-1.7) and best.end == pytest.approx(-0.3)
    assert len(best.log_prob) == len(best.x) == len(best.text)
    assert best.x == sorted(best.x) and 24 < best.x[4] < 60
    assert second.text == "ab .....c" and second.score == pytest.approx(-3.5)
    assert third.text == "ax .....c d" and third.score == pytest.approx(-3.7)
    assert join(pieces[:2], [[], [known(pieces[1])]]) == []  # a piece has failed


def test_a_long_line_reads_like_its_pieces(tiny_weights):
    weights = load_weights(tiny_weights)
    reader = Reader(weights, beam=2, engine=make_engine(weights, backend="reference"))
    words = [draw(text, 330, 60) for text in ("Khmer OCR 1", "xyz 22222", "the third", "and four")]
    wide = np.concatenate(list(itertools.islice(itertools.cycle(words), 9)), axis=1)
    prepared = reader.prepare(wide)
    assert prepared.image.shape[1] > long_lines.LONGEST
    pieces = pieces_of(prepared.image)
    assert len(pieces) >= 2 and all(piece.space for piece in pieces[1:])
    line = reader.read(wide)
    parts = [reader.read_prepared([prepared_piece(piece)])[0].text for piece in pieces]
    assert line.text == " ".join(part for part in parts if part)
    assert "".join(c.text for c in line.characters) == line.text
    lefts = [c.box[0] for c in line.characters]
    assert lefts == sorted(lefts) and line.characters[-1].box[2] <= line.box[2]


def prepared_piece(piece: Piece):
    from khmer_fast.recognize.line_image import PreparedLine

    width = piece.image.shape[1]
    return PreparedLine(piece.image, (4, 0, width - 4, 48), (0, 0, width, 48))
