"""What a file says: Document > Page > Region > Line or Table > Word > Character, all frozen.

This is the only thing that formats, pages, the service and bulk share; it imports nobody. Lengths
are pixels of the page as it is shown upright, x to the right, y down; a box is (left, top, right,
bottom), right and bottom exclusive. Texts are canonical (docs/spec.md, text). Confidences are
calibrated probabilities in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Box = tuple[int, int, int, int]  # left, top, right, bottom
Point = tuple[float, float]  # x, y

RegionKind = Literal["text", "heading", "list", "table", "header", "footer", "stamp", "picture"]
REGION_KINDS: tuple[RegionKind, ...] = get_args(RegionKind)
FLAGS = (
    "truncated",  # the decoder ran into its step limit: the text is the CTC head's
    "failed",  # the model gave numbers that are not finite: no text
    "low contrast",  # ink that hardly stands out from its paper
    "handwriting?",  # does not look printed
    "unread ink",  # ink that no token's attention looked at
    "doubtful",  # the decoder's and the CTC head's readings part within a stretch
    "check digit",  # a machine-readable line (passport, card) whose check digit is wrong
    "low confidence",  # under the confidence that was asked for
)


@dataclass(frozen=True)
class Character:
    """A cluster: a base with its subscripts, vowels and signs, or one other character."""

    text: str
    confidence: float
    box: Box | None = None


@dataclass(frozen=True)
class Word:
    """What stands between two spaces of a line."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True)
class Alternative:
    """Another reading of a line; score is the sum of its log-probabilities."""

    text: str
    score: float


@dataclass(frozen=True)
class Line:
    """One line of text where it stands."""

    text: str
    confidence: float  # that the whole text is right (empty: that nothing stands there)
    box: Box  # of the line's ink
    baseline: tuple[Point, ...] = ()  # left to right, at least two points where it is known
    polygon: tuple[Point, ...] = ()  # round the line's ink, clockwise
    words: tuple[Word, ...] = ()
    characters: tuple[Character, ...] = ()
    alternatives: tuple[Alternative, ...] = ()  # best first, without the text itself
    flags: tuple[str, ...] = ()  # of FLAGS

    @property
    def truncated(self) -> bool:
        """Whether the decoder ran into its step limit."""
        return "truncated" in self.flags

    @property
    def failed(self) -> bool:
        """Whether the model gave numbers that are not finite."""
        return "failed" in self.flags


@dataclass(frozen=True)
class Cell:
    """A cell of a table and the lines in it, top to bottom."""

    row: int  # from 0
    column: int  # from 0
    box: Box
    lines: tuple[Line, ...] = ()
    row_span: int = 1
    column_span: int = 1

    @property
    def text(self) -> str:
        """The cell's lines joined by spaces."""
        return " ".join(line.text for line in self.lines if line.text)


@dataclass(frozen=True)
class Region:
    """Lines that belong together, in reading order, or the cells of a table, row by row."""

    kind: RegionKind
    box: Box
    lines: tuple[Line, ...] = ()
    cells: tuple[Cell, ...] = ()  # of kind "table", ordered by row and column

    def all_lines(self) -> Iterator[Line]:
        """The region's lines in reading order, those in cells too."""
        yield from self.lines
        for cell in self.cells:
            yield from cell.lines

    def rows(self) -> list[list[Cell]]:
        """A table's cells by row."""
        count = max((cell.row for cell in self.cells), default=-1) + 1
        rows: list[list[Cell]] = [[] for _ in range(count)]
        for cell in self.cells:
            rows[cell.row].append(cell)
        return rows


@dataclass(frozen=True)
class Note:
    """Something about a page that its text does not say: nothing is lost in silence."""

    kind: str  # "unread ink", "rotation undone", "scaled down", "too many lines", "text layer", ...
    text: str  # a sentence for people
    share: float | None = None  # of the page's ink, where it is about ink
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Origin:
    """Where a page's text comes from, and why."""

    source: Literal["ocr", "text layer"] = "ocr"
    reason: str = ""
    distance: float | None = None  # edits a character between text layer and picture, where both


@dataclass(frozen=True)
class Page:
    """One page, upright. `transform` leads from its pixels to those of its file."""

    number: int  # from 1, in its file
    width: int
    height: int
    regions: tuple[Region, ...] = ()  # in reading order
    dpi: float | None = None
    rotation: int = 0  # degrees clockwise by which the file's picture was turned: 0, 90, 180, 270
    skew: float = 0.0  # degrees by which its lines fall to the right, taken out while cutting
    origin: Origin = Origin()
    notes: tuple[Note, ...] = ()
    transform: tuple[float, float, float, float, float, float] = (1, 0, 0, 1, 0, 0)
    # (a, b, c, d, e, f): x' = a x + c y + e, y' = b x + d y + f, as in a PDF
    error: str | None = None  # why the page could not be read; it then has no regions

    def lines(self) -> Iterator[Line]:
        """The page's lines in reading order."""
        for region in self.regions:
            yield from region.all_lines()


@dataclass(frozen=True)
class Document:
    """A file that was read: its pages in order."""

    source: str  # the file's name as it was given
    pages: tuple[Page, ...] = ()

    def lines(self) -> Iterator[Line]:
        """The document's lines in reading order."""
        for page in self.pages:
            yield from page.lines()

    def save(self, path: str | Path) -> list[Path]:
        """Writes the document in the format that the path's suffix names, such as `law.docx`.

        Returns the files (PAGE XML holds one page a file). A searchable PDF needs the file that
        was read, at `source`; `formats.save` has more options. Raises FormatError and OSError.
        """
        from khmer_fast.formats import save  # the one arrow out of here

        return save(self, path)


def line_page(
    line: Line, width: int, height: int, number: int = 1, dpi: float | None = None
) -> Page:
    """The page of a picture that is one line of text: its region is the whole picture."""
    return Page(number, width, height, (Region("text", (0, 0, width, height), (line,)),), dpi)


def is_line_picture(page: Page) -> bool:
    """Whether a page is the picture of one line (`line_page`)."""
    whole = (0, 0, page.width, page.height)
    return (
        len(page.regions) == 1 and page.regions[0].box == whole and len(page.regions[0].lines) == 1
    )
