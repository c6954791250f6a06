"""Machine-readable lines: their fillers counted by the ink, their characters by their places."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from khmer_fast.data.form_texts import machine_readable
from khmer_fast.document import FLAGS
from khmer_fast.recognize import fillers
from khmer_fast.recognize.line_image import PreparedLine, prepare
from khmer_fast.recognize.lines import DOUBTED, Reading, make_line
from khmer_fast.recognize.machine_readable import CHARACTERS, FLAG, check_digit, settle
from khmer_fast.recognize.pieces import pieces_of
from tests.conftest import draw

# The examples of ICAO 9303, parts 4 to 7.
PASSPORT = (
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
)
CARD = (
    "I<UTOD231458907<<<<<<<<<<<<<<<",
    "7408122F1204159UTO<<<<<<<<<<<6",
    "ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
)
SMALL_CARD = ("I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "D231458907UTO7408122F1204159<<<<<<<6")
VISA = (
    "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L8988901C4XXX4009078F96121096ZE184226B<<<<<<",
)
EXAMPLES = (*PASSPORT, *CARD, *SMALL_CARD, *VISA)

# ---- fillers ----


def typed(text: str, size: int = 40, pitch: float = 0.72, blur: float = 0.0) -> np.ndarray:
    """A text at a fixed pitch (of its size), as these lines are printed: grey uint8 [Y, X]."""
    font = ImageFont.load_default(size=size)
    image = Image.new("L", (round((len(text) + 1) * pitch * size) + size, 2 * size), 255)
    pen = ImageDraw.Draw(image)
    for i, character in enumerate(text):
        middle = size / 2 + (i + 0.5) * pitch * size
        pen.text((middle, 1.4 * size), character, font=font, fill=0, anchor="ms")
    return np.asarray(image.filter(ImageFilter.GaussianBlur(blur * size)))


@pytest.mark.parametrize("size", [14, 30, 64])
@pytest.mark.parametrize("blur", [0.0, 0.04])
@pytest.mark.parametrize("count", [4, 7, 22])
def test_fillers_are_counted(count, blur, size):
    for before, after in (("P7H", "06"), ("KHM", ""), ("", "4M2H")):
        text = before + "<" * count + after
        line = prepare(typed(text, size, blur=blur)).image
        (found,) = fillers.find(line)
        assert found.text == "<" * count
        pieces = pieces_of(line)
        assert [piece.text for piece in pieces if piece.image is None] == ["<" * count]
        assert sum(piece.image is not None for piece in pieces) == bool(before) + bool(after)
        assert not any(piece.space for piece in pieces)


@pytest.mark.parametrize("line", EXAMPLES)
def test_runs_of_the_examples_are_found(line):
    runs = [part for part in line.replace("<", " <").split(" ")]
    lengths, length = [], 0
    for part in [*runs, "end"]:
        if part == "<":
            length += 1
            continue
        if part.startswith("<"):
            length += 1
        lengths.append(length)
        length = 0
    expected = [n for n in lengths if n >= fillers.LEAST]
    assert [len(x.text) for x in fillers.find(prepare(typed(line)).image)] == expected


def test_worn_and_joined_fillers_are_counted():
    grey = typed("KHM" + "<" * 18 + "7").copy()
    pitch = 0.72 * 40
    row = np.flatnonzero((grey < 128).any(axis=1)).mean()
    grey[round(row) - 1 : round(row) + 2, round(20 + 8 * pitch) : round(20 + 10 * pitch)] = 60
    grey[: round(row), round(20 + 13.6 * pitch) : round(20 + 13.9 * pitch)] = 255
    grey[::9, ::37] = 90  # specks
    (found,) = fillers.find(prepare(grey).image)
    assert found.text == "<" * 18


def test_a_space_beside_fillers_is_wider_than_their_pitch():
    line = prepare(typed("AB" + "<" * 6 + "  CD")).image
    assert [piece.space for piece in pieces_of(line)] == [False, False, True]


@pytest.mark.parametrize(
    "text",
    [">>>>>>>>", "<<<", "««««««««", "((((((((", "cccccccc", "CCCCCCCC", "KKKKKKKK", "{{{{{{{{",
     "oooooooo", "========", "--------", "........", "11111111", "EEEEEEEE", "kkkkkkkk", "vvvvvvvv",
     "a < b < c < d", "zzzzzzzz", "xxxxxxxx", "eeeeeeee"],
)  # fmt: skip
def test_what_is_no_filler(text):
    assert fillers.find(prepare(typed(text)).image) == []
    assert fillers.find(prepare(draw(text, 600, 60)).image) == []


# ---- places ----


@pytest.mark.parametrize(
    ("field", "digit"), [("L898902C3", "6"), ("740812", "2"), ("120415", "9"), ("D23145890", "7")]
)
def test_check_digits_are_those_of_the_standard(field, digit):
    assert check_digit(field) == digit


@pytest.mark.parametrize("line", EXAMPLES)
def test_right_lines_stay_as_they_are(line):
    found = settle(line)
    assert found is not None and found.text == line and found.flags == ()
    assert found.places == tuple(range(len(line)))


@pytest.mark.parametrize(
    ("read", "line"),
    [
        ("P<UT0ER1K550N<<ANNA<MAR1A<<<<<<<<<<<<<<<<<<<", PASSPORT[0]),
        ("p<uTOERIkssON<«ANNA<MARIA<<<<<<<<<<<<<<<<<<<", PASSPORT[0]),
        ("L898902C36UT07408I22F12O4159ZE184226B<<<<<10", PASSPORT[1]),
        ("L898902C36UTO74០៨122F1204159ZE184226B<<<<<10", PASSPORT[1]),
        ("1<UTOD231458907<<<<<<<<<<<<<<<", CARD[0]),
        ("I-UTOD231458907<<<<<<<<<<<<<<<", CARD[0]),
        ("I<UTOD23145890T<<<<<<<<<<<<<<<", None),
        ("7408I22F12O4I59UTO<<<<<<<<<<<6", CARD[1]),
        ("ERIK5S0N<<ANNA<MARIA<<<<<<<<<<", CARD[2]),
        ("ERIKSSON<< ANNA<MA-RIA<<<<<<<<<<", CARD[2]),
        ("D231458907UTO74O8122F1204159<<<<<<<6", SMALL_CARD[1]),
    ],
)
def test_places_settle_look_alikes(read, line):
    found = settle(read)
    if line is None:
        assert found is None
    else:
        assert found is not None and (found.text, found.flags) == (line, ())
        assert len(found.places) == len(line)


@pytest.mark.parametrize("line", [PASSPORT[1], CARD[0], CARD[1], SMALL_CARD[1], VISA[1]])
def test_wrong_check_digits_are_said_and_never_mended(line):
    first = next(i for i, c in enumerate(line) if c.isdigit())
    wrong = line[:first] + str((int(line[first]) + 1) % 10) + line[first + 1 :]
    found = settle(wrong)
    assert found is not None and found.text == wrong and found.flags == (FLAG,)
    assert FLAG in FLAGS


@pytest.mark.parametrize(
    "text",
    ["", "<", "<" * 30 + "x", PASSPORT[0][:-1], PASSPORT[1] + "<", "a < b and b < c, and so on, on",
     "THE MINISTRY OF HEALTH, CAMBODIA", "លេខ 0123456789 <<<<<<<<<<<<<<<<", "." * 30,
     "HEADING<" * 6, "012345678901234567890123456789"],
)  # fmt: skip
def test_other_lines_are_left_alone(text):
    assert settle(text) is None


@settings(max_examples=300)
@given(st.text(st.sampled_from("AIO01258BSZ<<<<PVCkm «-."), min_size=28, max_size=46))
def test_settling_is_settled(text):
    found = settle(text)
    if found is not None:
        assert CHARACTERS.issuperset(found.text) and len(found.text) in (30, 36, 44)
        assert list(found.places) == sorted(set(found.places))
        again = settle(found.text)
        assert again is not None and (again.text, again.flags) == (found.text, found.flags)


def test_drawn_lines_have_layouts_and_right_check_digits():
    for seed in range(400):
        text = machine_readable(None, random.Random(seed), 0)
        found = settle(text)
        assert found is not None and found.text == text and found.flags == (), text


def test_a_line_says_that_its_check_digit_is_wrong():
    wrong = CARD[0].replace("7<", "6<", 1)
    reading = Reading(wrong.replace("O", "0"), [-0.01] * 30, 0.0, [4.0 * i for i in range(30)], 0.0)
    prepared = PreparedLine(np.full((48, 128), 255, np.uint8), (4, 4, 124, 44), (0, 0, 128, 48))
    pairs = {"line": (1.0, 0.0), "character": (1.0, 0.0)}
    line = make_line(prepared, [reading], pairs)
    assert line.text == wrong and line.flags == (FLAG,)
    seen = ("unread ink",)  # of wide capitals: the layout says that nothing is left
    right = make_line(prepared, [replace(reading, text=CARD[0], flags=seen)], pairs)
    assert right.text == CARD[0] and right.flags == ()
    assert line.confidence == pytest.approx(DOUBTED * right.confidence)
    assert "".join(character.text for character in line.characters) == wrong


@pytest.mark.parametrize(
    ("read", "meant"),
    [("ឯកសារ APl", "ឯកសារ API"), ("Cl/CD", "CI/CD"), ("lBM", "IBM"), ("Al", "Al"), ("ml", "ml"),
     ("Hello", "Hello"), ("ALl សរុប", "ALI សរុប")],
)  # fmt: skip
def test_an_l_among_capitals_is_an_i(read, meant):
    line = make_line(
        prepare(draw("APl", 200, 60)),
        [Reading(read, [0.0] * len(read), 0.0, [float(i) for i in range(len(read))], 0.0)],
        {"line": (1.0, 0.0), "character": (1.0, 0.0)},
    )
    assert line.text == meant
