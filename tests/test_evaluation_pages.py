"""Scores of whole pages: matching by boxes and by text, order, missed, joined, split, invented."""

import random

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from khmer_fast.document import Line, Word
from khmer_fast.evaluation.metrics import summarise
from khmer_fast.evaluation.pages import (
    ReferenceLine,
    _codes,
    bare,
    find_strings,
    infix,
    match_boxes,
    match_texts,
)

TEXTS = ("ព្រះរាជាណាចក្រកម្ពុជា", "ជាតិ សាសនា ព្រះមហាក្សត្រ", "សេចក្តីណែនាំ", "មាត្រា ១២")


def found(*texts, boxes=None):
    """Lines under each other, 20 px each, or in the boxes given."""
    boxes = boxes or [(0, 20 * i, 200, 20 * i + 16) for i in range(len(texts))]
    return [Line(text, 1.0, box) for text, box in zip(texts, boxes, strict=True)]


def with_boxes(*texts):
    return [ReferenceLine(line.text, line.box) for line in found(*texts)]


def test_a_page_read_right_has_no_errors():
    for score in (
        match_boxes(with_boxes(*TEXTS), found(*TEXTS), complete=True),
        match_texts(TEXTS, found(*TEXTS)),
    ):
        assert score.characters == sum(len(bare(text)) for text in TEXTS)
        assert (score.edits_in_order, score.edits_without_order) == (0, 0)
        assert (score.lines, score.missed, score.joined, score.split) == (4, 0, 0, 0)
        assert score.invented == 0


def test_white_space_and_the_two_writings_of_coeng_ta_are_no_errors():
    score = match_texts(["ជាតិ សាសនា", "ខ្ដិត"], found("ជាតិសា សនា", "ខ្តិត"))
    assert score.edits_in_order == score.edits_without_order == 0


def test_wrong_order_costs_in_order_only():
    turned = found(*reversed(TEXTS), boxes=[line.box for line in reversed(found(*TEXTS))])
    for score in (
        match_boxes(with_boxes(*TEXTS), turned, complete=True),
        match_texts(TEXTS, turned),
    ):
        assert score.edits_in_order > 20
        assert score.edits_without_order == 0
        assert (score.missed, score.joined, score.split, score.invented) == (0, 0, 0, 0)


def test_a_missed_line_is_deletions():
    for score in (
        match_boxes(with_boxes(*TEXTS), found(*TEXTS[:3]), complete=True),
        match_texts(TEXTS, found(*TEXTS[:3])),
    ):
        assert score.missed == 1
        assert score.edits_in_order == score.edits_without_order == len(bare(TEXTS[3]))


def test_an_invented_line_is_insertions():
    lines = found(*TEXTS, "ABCDEF")
    for score in (
        match_boxes(with_boxes(*TEXTS), lines, complete=True),
        match_texts(TEXTS, lines),
    ):
        assert score.invented == 1
        assert score.edits_in_order == score.edits_without_order == 6
        assert score.matches[-1].prediction == "ABCDEF"
    assert summarise([match.edits for match in score.matches]).insertions == 6


def test_lines_outside_of_a_partly_labelled_page_are_no_errors():
    score = match_boxes(with_boxes(*TEXTS), found(*TEXTS, "ABCDEF"), complete=False)
    assert score.invented is None
    assert score.edits_in_order == score.edits_without_order == 0


def test_a_line_over_two_references_is_joined_and_its_words_go_to_their_own():
    references = [ReferenceLine("កខគ", (0, 0, 100, 20)), ReferenceLine("ងចឆ", (200, 0, 300, 20))]
    words = (Word("កខគ", 1.0, (2, 2, 98, 18)), Word("ងចឆ", 1.0, (202, 2, 298, 18)))
    one = [Line("កខគ ងចឆ", 1.0, (2, 2, 298, 18), words=words)]
    score = match_boxes(references, one, complete=True)
    assert score.joined == 1 and score.missed == 0
    assert score.edits_without_order == 0
    without_words = [Line("កខគ ងចឆ", 1.0, (2, 2, 298, 18))]
    score = match_boxes(references, without_words, complete=True)
    assert score.missed == 1 and score.edits_without_order == 6


def test_joined_by_text():
    score = match_texts(TEXTS, found(TEXTS[0] + " " + TEXTS[2], TEXTS[1], TEXTS[3]))
    assert score.joined == 1 and score.split == 0
    assert score.edits_without_order == 0 < score.edits_in_order


def test_a_line_in_two_pieces_is_split():
    boxes = [(0, 0, 90, 16), (110, 0, 200, 16)]
    pieces = found("ព្រះរាជាណា", "ចក្រកម្ពុជា", boxes=boxes)
    for score in (
        match_boxes([ReferenceLine(TEXTS[0], (0, 0, 200, 20))], pieces, complete=True),
        match_texts(TEXTS[:1], pieces),
    ):
        assert (score.split, score.missed, score.joined, score.invented) == (1, 0, 0, 0)
        assert score.edits_without_order == 0


def test_half_a_line_is_missed():
    reference = ReferenceLine("កខគងចឆជឈ", (0, 0, 200, 20))
    left = match_boxes([reference], found("កខគ", boxes=[(0, 0, 80, 16)]), complete=True)
    assert left.missed == 1 and left.edits_without_order == 5


def test_a_badly_read_line_is_neither_missed_and_invented():
    score = match_texts([TEXTS[0], TEXTS[1]], found(TEXTS[0], "ជXXX សាYY ព្រZZZក្ស"))
    assert score.invented == 0
    assert score.edits_without_order == score.edits_in_order


def test_a_wrong_last_character_is_one_edit():
    score = match_texts(["កខគង", "ចឆជឈ"], found("កខគX", "Yឆជឈ"))
    assert score.edits_without_order == score.edits_in_order == 2


def test_a_paragraph_may_run_over_lines():
    score = match_texts([" ".join(TEXTS[:3]), TEXTS[3]], found(*TEXTS))
    assert score.edits_in_order == score.edits_without_order == 0
    assert score.missed == score.invented == 0


def test_empty_pages():
    blank = match_texts([], [])
    assert blank.characters == blank.edits_in_order == blank.invented == 0
    assert match_texts([], found("កខ")).invented == 1
    assert match_boxes([], found("កខ"), complete=True).edits_without_order == 2
    nothing = match_texts(["កខ"], [])
    assert nothing.missed == 1 and nothing.edits_without_order == 2


def test_strings_are_found_anywhere():
    score = find_strings(["សេចក្តីណែនាំ", "កម្ពុជា", "ABC"], found(*TEXTS))
    assert [match.edits.edits for match in score.matches] == [0, 0, 3]
    assert score.missed == 1


@pytest.mark.parametrize("seed", range(30))
def test_infix_against_all_stretches(seed):
    rng = random.Random(seed)
    text = "".join(rng.choice("abc") for _ in range(rng.randrange(12)))
    needle = "".join(rng.choice("abc") for _ in range(rng.randrange(1, 6)))
    start, end, edits = infix(_codes(needle), _codes(text), np.zeros(len(text), dtype=np.int64))
    stretches = [text[i:j] for i in range(len(text) + 1) for j in range(i, len(text) + 1)]
    assert edits == min(Levenshtein.distance(needle, stretch) for stretch in stretches)
    assert Levenshtein.distance(needle, text[start:end]) == edits


@pytest.mark.parametrize("seed", range(20))
def test_without_order_is_never_worse_than_characters_left_out(seed):
    rng = random.Random(seed)
    texts = ["".join(rng.choice("កខគងចឆ") for _ in range(rng.randrange(1, 20))) for _ in range(8)]
    read = [text.replace("ក", "ខ") if rng.random() < 0.5 else text for text in texts]
    rng.shuffle(read)
    score = match_texts(texts, found(*read))
    assert score.edits_without_order <= score.characters + sum(map(len, read))
    read_characters = sum(len(match.prediction) for match in score.matches)
    assert read_characters == sum(map(len, read))  # each read character is in one match
