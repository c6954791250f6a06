"""What looks like a line of a page and reads as nothing."""

from __future__ import annotations

from khmer_fast.document import Line
from khmer_fast.page.marks import are_in_seals, are_marks, note_marks


def line(height: int, confidence: float, *flags: str) -> Line:
    return Line("text", confidence, (10, 100, 90, 100 + height), flags=flags)


def test_low_doubted_marks_are_told_from_small_and_from_unsure_text():
    text = [line(40, 0.9), line(42, 0.8), line(44, 0.97)]
    found = are_marks([
        *text,
        line(9, 0.0, "doubtful"),  # a stroke of a signature
        line(9, 0.6),  # a sure page number in small type
        line(9, 0.01),  # unsure, but nothing of it was doubted
        line(30, 0.0, "doubtful"),  # as high as text: it may be text
    ])  # fmt: skip
    assert found == [False, False, False, True, False, False, False]


def test_a_page_without_sure_lines_keeps_all():
    assert are_marks([line(9, 0.0, "doubtful"), line(30, 0.2)]) == [False, False]
    assert are_marks([]) == []


def test_what_is_read_unsurely_in_a_seal_is_a_mark():
    text = [line(40, 0.9), line(40, 0.8), line(40, 0.97)]
    unsure, sure = line(20, 0.2), line(20, 0.4)  # (10, 100, 90, 120)
    seal = (0, 60, 110, 170)
    assert are_in_seals([*text, unsure, sure], [seal]) == [False] * 3 + [True, False]
    for other in (
        (0, 60, 300, 400),  # a picture, larger than seals are
        (0, 95, 110, 130),  # a stroke
        (50, 60, 160, 170),  # a seal at the line's end
    ):
        assert not any(are_in_seals([*text, unsure], [other]))
    assert are_in_seals([unsure], [seal]) == [False]  # no sure line says how large a seal is
    assert are_in_seals([*text, unsure], []) == [False] * 4


def test_marks_are_said():
    (note,) = note_marks([line(9, 0.0, "doubtful")])
    assert note.boxes == ((10, 100, 90, 109),) and "1 marks" in note.text
    assert note_marks([]) == ()
