"""What looks like a line of a page and reads as nothing."""

from __future__ import annotations

from khmer_fast.document import Line
from khmer_fast.page.marks import are_marks, note_marks


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


def test_marks_are_said():
    (note,) = note_marks([line(9, 0.0, "doubtful")])
    assert note.boxes == ((10, 100, 90, 109),) and "1 marks" in note.text
    assert note_marks([]) == ()
