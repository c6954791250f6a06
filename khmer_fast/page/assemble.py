"""What was found and what was read to a page of the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from khmer_fast.document import Box, Cell, Line, Note, Page, Region
from khmer_fast.errors import KhmerFastError
from khmer_fast.files.file_page import FilePage
from khmer_fast.page.crops import Crop
from khmer_fast.page.find import FoundPage
from khmer_fast.page.ink import unread_ink
from khmer_fast.page.likelihood import is_no_text, text_likelihood
from khmer_fast.page.marks import are_in_seals, are_marks, note_marks
from khmer_fast.page.order import arrange
from khmer_fast.page.plans import RegionPlan
from khmer_fast.page.words import ink_columns, place_line
from khmer_fast.recognize.marks import marked

Transform = tuple[float, float, float, float, float, float]  # as Page.transform

UNREAD = 0.02  # share of the page's ink from which ink of no line is said


@dataclass(frozen=True, eq=False)
class ReadLine:
    """What the reader said of a crop, or of a whole picture (no crop)."""

    answer: Line | KhmerFastError
    crop: Crop | None


def make_page(
    image: FilePage,
    found: FoundPage,
    chosen: Sequence[int],  # of the found lines, those that were to be read
    lines: Sequence[ReadLine],  # as far as time reached
    min_confidence: float | None,
    most_seconds: float,
) -> Page:
    """The page with its lines where they stand, in reading order, and what there is to say."""
    numbers, placed = [], []
    for number, read in zip(chosen, lines, strict=False):
        line = _line(found, number, read)
        if line.text or line.flags:
            numbers.append(number)
            placed.append(line)
    likely = text_likelihood(found, numbers, placed)
    placed = [
        marked(replace(line, confidence=line.confidence * float(p)), min_confidence)
        for line, p in zip(placed, likely, strict=True)
    ]
    share, boxes = unread_ink(found.ink, found.owners)
    unread = tuple(found.box(found.network_box(box)) for box in boxes)
    no_text = [
        mark or in_seal or (bool(line.text) and unlikely)
        for line, mark, in_seal, unlikely in zip(
            placed, are_marks(placed), are_in_seals(placed, unread),
            is_no_text(found, numbers, likely), strict=True,
        )
    ]  # fmt: skip
    marks = [line for line, mark in zip(placed, no_text, strict=True) if mark]
    numbers = [number for number, mark in zip(numbers, no_text, strict=True) if not mark]
    placed = [line for line, mark in zip(placed, no_text, strict=True) if not mark]
    height, width = found.grey.shape
    plans = arrange([found.lines[i] for i in numbers], found.rules, (width, height))
    return Page(
        number=image.number,
        width=found.upright[0],
        height=found.upright[1],
        regions=tuple(_region(plan, placed) for plan in plans),
        dpi=image.dpi,
        rotation=found.rotation,
        skew=round(found.skew, 2) + 0.0,  # not -0.0
        notes=(
            *image.notes,
            *_notes(found, chosen, len(lines), most_seconds),
            *_note_unread(share, unread),
            *note_marks(marks),
        ),
        transform=_chained(_transform(found), image.transform),
    )


def _line(found: FoundPage, number: int, read: ReadLine) -> Line:
    """A read line with places in pixels of the upright page."""
    place = found.lines[number]
    if isinstance(read.answer, Line) and read.crop is not None:
        line = place_line(read.answer, read.crop, ink_columns(found, number), place.box)
    else:  # such as a line that is too wide
        line = Line("", 0.0, place.box, flags=("failed",))
    line = replace(
        line,
        box=found.box(place.box),
        baseline=found.points(place.baseline),
        polygon=found.points(place.polygon),
    )
    if not found.levelled:
        return line
    return replace(
        line,
        words=tuple(replace(word, box=found.box(word.box)) for word in line.words),
        characters=tuple(
            character if character.box is None else replace(character, box=found.box(character.box))
            for character in line.characters
        ),
    )


def _region(plan: RegionPlan, lines: Sequence[Line]) -> Region:
    cells = tuple(
        Cell(
            row=cell.row,
            column=cell.column,
            box=_around([lines[i].box for i in cell.lines]),
            lines=tuple(lines[i] for i in cell.lines),
            row_span=cell.row_span,
            column_span=cell.column_span,
        )
        for cell in plan.cells
        if cell.lines
    )
    own = tuple(lines[i] for i in plan.lines)
    box = _around([*(line.box for line in own), *(cell.box for cell in cells)])
    return Region(plan.kind, box, own, cells)


def _around(boxes: Sequence[Box]) -> Box:
    edges = np.array(boxes).reshape(-1, 4)
    low, high = edges.min(0), edges.max(0)
    return int(low[0]), int(low[1]), int(high[2]), int(high[3])


def _notes(
    found: FoundPage, chosen: Sequence[int], read: int, most_seconds: float
) -> tuple[Note, ...]:
    notes = []
    if found.rotation:
        turned = f"the picture lay turned clockwise by {found.rotation} degrees"
        notes.append(Note("rotation undone", turned))
    left_out = sorted(set(range(len(found.lines))) - set(chosen))
    for kind, missing, why in (
        ("too many lines", left_out, f"at most {len(chosen)} lines of a page are read"),
        ("out of time", chosen[read:], f"reading ended after {most_seconds:g} seconds"),
    ):
        if missing:
            boxes = tuple(found.box(found.lines[i].box) for i in missing)
            text = f"{len(missing)} of {len(found.lines)} lines were not read: {why}"
            notes.append(Note(kind, text, boxes=boxes))
    return tuple(notes)


def _note_unread(share: float, boxes: tuple[Box, ...]) -> tuple[Note, ...]:
    """What a page says of the share of its ink that is no line's, and where."""
    if share < UNREAD:
        return ()
    text = f"{share:.0%} of the page's ink belongs to no line"
    return (Note("unread ink", text, share=round(share, 4), boxes=boxes),)


def _transform(found: FoundPage) -> Transform:
    """From pixels of the upright page to those of the picture as it was given."""
    width, height = found.upright
    return {
        0: (1, 0, 0, 1, 0, 0),
        90: (0, 1, -1, 0, height, 0),
        180: (-1, 0, 0, -1, width, height),
        270: (0, -1, 1, 0, 0, width),
    }[found.rotation]


def _chained(first: Transform, second: Transform) -> Transform:
    """The transform that is `first` and then `second`."""
    a, b, c, d, e, f = first
    p, q, r, s, x, y = second
    return (
        p * a + r * b, q * a + s * b,
        p * c + r * d, q * c + s * d,
        p * e + r * f + x, q * e + s * f + y,
    )  # fmt: skip
