"""Pages whose text is known, from the folders that `benchmarks.pages` is given.

A folder with a `labels.tsv` that has the columns text, box ("left top right bottom" in pixels of
the page) and page or source: some lines of each page, pages beside it, in `pages/`, or, for
`real_lines`, in `../real_pages`. A folder of documents: NAME.pdf, .png, .jpg, ... with NAME.gt.txt
(lines or paragraphs in order; form feeds between pages, or one stretch for all; TAB between cells,
" | " between the lines of a cell) or NAME.strings.txt (strings that stand on it somewhere).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from khmer_fast.document import Page
from khmer_fast.errors import KhmerFastError
from khmer_fast.evaluation.labels import GROUND_TRUTH_SUFFIX, IMAGE_SUFFIXES, load_labels
from khmer_fast.evaluation.pages import (
    PageScore,
    ReferenceLine,
    find_strings,
    match_boxes,
    match_texts,
    total,
)

DPI = 200  # of PDF pages
MOST_PIXELS = 40_000_000  # of a PDF page; larger ones are rendered at fewer dots an inch
STRINGS_SUFFIX = ".strings.txt"
CELL_LINES = " | "  # between the lines of a cell in a text that has TABs
PARAGRAPHS = 200  # characters: a text with longer lines has paragraphs, not printed lines


@dataclass(frozen=True)
class KnownDocument:
    """A document's pictures, one a page, and one of three kinds of knowledge of what it says."""

    name: str
    kind: str
    pictures: tuple[Path, ...]
    lines: tuple[ReferenceLine, ...] = ()  # of a single page, in order
    complete: bool = False  # whether `lines` are all of the page's
    texts: tuple[tuple[str, ...], ...] = ()  # in order, by page; one for all pages together
    strings: tuple[str, ...] = ()

    @property
    def printed_lines(self) -> bool:
        """Whether the references are printed lines, which can be joined and split."""
        return not self.strings and all(len(t) <= PARAGRAPHS for page in self.texts for t in page)

    def score(self, pages: Sequence[Page]) -> PageScore:
        """Scores the document's pages as they were read."""
        if self.texts and len(self.texts) == len(pages):
            return total(
                [match_texts(t, list(p.lines())) for t, p in zip(self.texts, pages, strict=True)]
            )
        lines = [line for page in pages for line in page.lines()]
        if self.texts:
            return match_texts([text for page in self.texts for text in page], lines)
        if self.strings:
            return find_strings(self.strings, lines)
        return match_boxes(self.lines, lines, self.complete)


@dataclass(frozen=True)
class PageSet:
    """Documents that are scored together and by kind."""

    name: str
    documents: tuple[KnownDocument, ...]

    @property
    def pages(self) -> int:
        """Pages of all documents."""
        return sum(len(document.pictures) for document in self.documents)


def load_page_set(folder: str, scratch: Path) -> PageSet:
    """The known pages of a folder; PDF pages are rendered into `scratch`.

    Raises KhmerFastError where nothing in the folder is known.
    """
    place = Path(folder).resolve()
    if place.name == "real_pages" and not (place / "labels.tsv").exists():
        place = place.parent / "real_lines"
    if (place / "labels.tsv").is_file():
        name = "real_pages" if place.name == "real_lines" else place.name
        return PageSet(name, tuple(_labelled_pages(place)))
    documents = tuple(_documents(place, scratch))
    if not documents:
        raise KhmerFastError(
            f"{folder}: expected a labels.tsv with boxes, or NAME{GROUND_TRUTH_SUFFIX} or "
            f"NAME{STRINGS_SUFFIX} beside a picture or PDF, found neither"
        )
    return PageSet(place.name, documents)


def _labelled_pages(folder: Path) -> Iterator[KnownDocument]:
    by_page: dict[str, list[tuple[ReferenceLine, str]]] = {}
    for label in load_labels(folder, check_images=False):
        page = label.columns.get("page") or label.columns.get("source")
        box = tuple(int(edge) for edge in label.columns.get("box", "").split())
        if not page or len(box) != 4:
            raise KhmerFastError(f"{label.where}: expected a page and a box of four numbers")
        line = ReferenceLine(label.text, box)
        by_page.setdefault(page, []).append((line, label.columns.get("kind", page)))
    for page, lines in by_page.items():
        places = (folder / "pages" / page, folder / page, folder.parent / "real_pages" / page)
        picture = next((place for place in places if place.is_file()), None)
        if picture is None:
            raise KhmerFastError(f"{folder}: page {page} of labels.tsv is missing")
        yield KnownDocument(page, lines[0][1], (picture,), lines=tuple(x for x, _ in lines))


def _documents(folder: Path, scratch: Path) -> Iterator[KnownDocument]:
    for suffix in (GROUND_TRUTH_SUFFIX, STRINGS_SUFFIX):
        for text_file in sorted(folder.glob(f"*{suffix}")):
            name = text_file.name.removesuffix(suffix)
            pictures = _pictures(folder, name, scratch)
            text = text_file.read_text(encoding="utf-8")
            if suffix == STRINGS_SUFFIX:
                yield KnownDocument(name, name, pictures, strings=tuple(text.splitlines()))
                continue
            if "\t" in text:
                text = text.replace(CELL_LINES, " ")
            pages = [page.split("\n") for page in text.removesuffix("\f").split("\f")]
            yield KnownDocument(name, name, pictures, texts=tuple(map(tuple, pages)))


def _pictures(folder: Path, name: str, scratch: Path) -> tuple[Path, ...]:
    if (folder / f"{name}.pdf").is_file():
        return tuple(render_pdf(folder / f"{name}.pdf", scratch))
    for suffix in IMAGE_SUFFIXES:
        if (folder / f"{name}{suffix}").is_file():
            return (folder / f"{name}{suffix}",)
    raise KhmerFastError(f"{folder}: {name} has a text but no picture or PDF")


def render_pdf(file: Path, scratch: Path) -> Iterator[Path]:
    """Writes each page as a grey PNG at DPI, and says so in the file."""
    import pypdfium2

    with pypdfium2.PdfDocument(file) as document:
        for number in range(len(document)):
            page = document[number]
            width, height = page.get_size()  # points
            dpi = min(DPI, 72 * (MOST_PIXELS / (width * height)) ** 0.5)
            pixels = page.render(scale=dpi / 72, grayscale=True).to_numpy()  # [Y, X] or [Y, X, 1]
            target = scratch / f"{file.stem}-{number + 1}.png"
            grey = Image.fromarray(np.ascontiguousarray(pixels.reshape(pixels.shape[:2])))
            grey.save(target, dpi=(dpi, dpi), compress_level=1)
            yield target
