"""Pages to text: grey page > lines > crops > reader > order > document.Page."""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from khmer_fast.document import Document, Line, Page, line_page
from khmer_fast.errors import KhmerFastError, OptionError
from khmer_fast.files import text_layer as layers
from khmer_fast.files.file_page import FilePage, PageRanges
from khmer_fast.files.images import load_grey
from khmer_fast.files.pages import open_pages
from khmer_fast.memory import give_back
from khmer_fast.page.assemble import ReadLine, make_page
from khmer_fast.page.find import FoundPage, find_lines, is_one_line
from khmer_fast.page.segment import PageNetwork, Segmenter
from khmer_fast.recognize.marks import marked
from khmer_fast.recognize.reader import Reader
from khmer_fast.segmenter_weights import SegmenterWeights
from khmer_fast.weights import Weights

LAYOUTS = ("auto", "page", "line")
TEXT_LAYERS = ("auto", "never", "only")
READ_TOGETHER = 128  # lines of one or several pages
FIRST_READ = 8  # lines at first, so that the first page comes soon
SURE_PAGE = 0.75  # mean confidence of a page's clusters that surely are read the right way round
SURER = 1.5  # so many times the sure letters must another way have,
FEWEST_LETTERS = 3.0  # and so many of them
AS_MUCH_TEXT = 0.5  # of the lines' length another way has, to be tried
TRIED_LINES = 8  # of a page turned another way
MOST_LINES = 1_000  # of a page
MOST_SECONDS = 120.0  # a page


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A page whose lines were found and are to be read."""

    image: FilePage
    found: FoundPage | None  # None: the picture is one line; what was found is not kept
    chosen: list[int]  # of the found lines, those that are read
    lines: list[ReadLine] = field(default_factory=list)  # what was read so far, in that order


class PageReader:
    """Reads whole pages: finds their lines, reads them and puts them in order.

    `weights` are the reader's and `segmenter` the page network's, files or loaded (by default the
    packaged ones). `layout` "line" reads each picture as one line, "page" always looks for lines,
    "auto" does what the picture shows. Lines under `min_confidence` are marked, never left out.
    A page has `most_lines` lines at most, the surest ones, and reading it ends after
    `most_seconds`; its notes say so. `on_page` sees each page with what was found on it (not those
    that are one line). The other options are `Reader`'s; a `reader` of one's own takes their place.
    May be used from several threads at once. Raises KhmerFastError for weights or options that
    cannot be used.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | Weights | None = None,
        segmenter: str | os.PathLike[str] | SegmenterWeights | PageNetwork | None = None,
        layout: str = "auto",
        min_confidence: float | None = None,
        most_lines: int = MOST_LINES,
        most_seconds: float = MOST_SECONDS,
        device: str = "auto",
        backend: str = "fast",
        beam: int = 5,
        n_best: int = 1,
        batch_size: int = 64,
        dtype: str = "auto",
        threads: int | None = None,
        reader: Reader | None = None,
        on_page: Callable[[FoundPage, Page], None] | None = None,
    ):
        if layout not in LAYOUTS:
            raise OptionError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise OptionError(f"min_confidence must lie in [0, 1], got {min_confidence!r}")
        if most_lines < 1 or not most_seconds > 0:
            raise OptionError(
                f"most_lines must be at least 1 and most_seconds above 0, got {most_lines!r} and "
                f"{most_seconds!r}"
            )
        self.layout, self.min_confidence, self.on_page = layout, min_confidence, on_page
        self.most_lines, self.most_seconds = most_lines, most_seconds
        self.reader = reader or Reader(
            weights, device, backend, beam, n_best, batch_size, dtype, threads
        )
        if segmenter is None or isinstance(segmenter, (str, os.PathLike, SegmenterWeights)):
            segmenter = Segmenter(segmenter, backend, threads)
        self.segmenter: PageNetwork = segmenter

    def read(
        self,
        file: Any,
        pages: PageRanges | str | None = None,
        password: str | None = None,
        text_layer: str = "auto",
    ) -> Document:
        """Reads a file: a path, its bytes, `-` for standard input, a PIL image or an array.

        Options as `stream`'s. Raises KhmerFastError for what cannot be opened; a page that cannot
        be read has an error in its place.
        """
        name = os.fspath(file) if isinstance(file, (str, os.PathLike)) else type(file).__name__
        return Document(str(name), tuple(self.stream(file, pages, password, text_layer)))

    def stream(
        self,
        file: Any,
        pages: PageRanges | str | None = None,
        password: str | None = None,
        text_layer: str = "auto",
    ) -> Iterator[Page]:
        """The pages of a file as they are read, in order.

        `pages` are those to read (such as "1-3,7"; all by default), `password` opens an encrypted
        PDF. A PDF's text layer is believed where the picture agrees ("auto"), not looked at
        ("never"), or taken as it is, unread ("only").
        """
        if text_layer not in TEXT_LAYERS:
            raise OptionError(
                f"text_layer must be one of {', '.join(TEXT_LAYERS)}, got {text_layer!r}"
            )
        if isinstance(file, (str, os.PathLike, bytes)):
            images = open_pages(file, pages, password, text_layer=text_layer != "never")
        else:
            images = iter((FilePage(1, load_grey(file)),))
        if text_layer == "only":
            yield from (layers.layer_page(image.unread(), image.text_layer) for image in images)
        else:
            yield from self.read_pages(images)

    def read_page(self, grey: np.ndarray, number: int = 1) -> Page:
        """Reads a page: uint8 [page Y, page X]. Raises KhmerFastError where it cannot be read."""
        (page,) = self.read_pages([FilePage(number, grey)])
        if page.error is not None:
            raise KhmerFastError(page.error)
        return page

    def read_pages(self, images: Iterable[FilePage]) -> Iterator[Page]:
        """Reads pages as they come, the lines of several together. A page that cannot be read has
        an error in its place."""
        waiting: list[_Sheet | Page] = []
        together = FIRST_READ
        for image in images:
            waiting.append(self._find(image))
            lines = sum(len(x.chosen) for x in waiting if isinstance(x, _Sheet))
            if lines >= together or lines == 0:
                yield from self._finish(waiting)
                waiting, together = [], min(4 * together, READ_TOGETHER)
        yield from self._finish(waiting)

    def _find(self, image: FilePage) -> _Sheet | Page:
        if image.error is not None:
            return image.unread()
        if self.layout == "line":
            return _Sheet(image, None, [0])
        try:
            found = find_lines(image.grey, self.segmenter)
        except KhmerFastError as error:
            return _failed(image, error)
        if self.layout == "auto" and is_one_line(found):
            return _Sheet(image, None, [0])
        return self._chosen(image, found)

    def _chosen(self, image: FilePage, found: FoundPage) -> _Sheet:
        """The page's lines, but for those that are too many."""
        chosen = list(range(len(found.lines)))
        if len(chosen) > self.most_lines:
            scores = [-found.bands[line.index].score for line in found.inks]
            chosen = sorted(np.argsort(scores, kind="stable")[: self.most_lines].tolist())
        return _Sheet(image, found, chosen)

    def _finish(self, waiting: Sequence[_Sheet | Page]) -> Iterator[Page]:
        """Reads the lines of sheets and gives their pages, all in order."""
        sheets = [sheet for sheet in waiting if isinstance(sheet, _Sheet)]
        # what finding took goes back before reading takes its own
        give_back(sum(sheet.image.grey.size for sheet in sheets if sheet.found is not None))
        self._read(sheets)
        for sheet in waiting:
            if isinstance(sheet, _Sheet) and self.layout != "line":
                sheet = self._right_way_up(sheet)
            if isinstance(sheet, Page):
                yield sheet
            elif sheet.found is None:
                yield layers.apply(self._line_page(sheet), sheet.image.text_layer)
            else:
                page = make_page(
                    sheet.image,
                    sheet.found,
                    sheet.chosen,
                    sheet.lines,
                    self.min_confidence,
                    self.most_seconds,
                )
                page = layers.apply(page, sheet.image.text_layer)
                if self.on_page is not None:
                    self.on_page(sheet.found, page)
                yield page

    def _read(self, sheets: Sequence[_Sheet]) -> None:
        """Reads the lines of all sheets, so many at a time, while the time of the sheets lasts."""
        deadline = time.monotonic() + self.most_seconds * len(sheets)
        jobs = [(sheet, i) for sheet in sheets for i in sheet.chosen]
        for start in range(0, len(jobs), READ_TOGETHER):
            if start and time.monotonic() > deadline:
                return
            group = jobs[start : start + READ_TOGETHER]
            crops = [None if sheet.found is None else sheet.found.crop(i) for sheet, i in group]
            pictures = [
                sheet.image.grey if crop is None else crop.grey
                for (sheet, _), crop in zip(group, crops, strict=True)
            ]
            answers = self.reader.read_crops(pictures, [crop is not None for crop in crops])
            for (sheet, _), crop, answer in zip(group, crops, answers, strict=True):
                sheet.lines.append(ReadLine(answer, crop))

    def _right_way_up(self, sheet: _Sheet) -> _Sheet:
        """The sheet, or the page turned another way where that reads clearly better: what was read
        says so more surely than the network does, and costs nothing where it is sure."""
        if _sureness(sheet.lines) >= SURE_PAGE:
            return sheet
        found = sheet.found or find_lines(sheet.image.grey, self.segmenter)
        longest = {0} if sheet.found is None else set(_longest(sheet, found))
        read = zip(sheet.chosen, sheet.lines, strict=False)  # not all where time was short
        letters = _sure_letters([line for i, line in read if i in longest])
        best, most = sheet, max(FEWEST_LETTERS, SURER * letters)
        for turn in (180, 90, 270):
            rotation = (found.rotation + turn) % 360
            turned = find_lines(sheet.image.grey, self.segmenter, rotation)
            if _text_length(turned) < AS_MUCH_TEXT * _text_length(found):
                continue  # lines that lie across are few and short
            other = self._chosen(sheet.image, turned)
            tried = _Sheet(sheet.image, turned, _longest(other, turned))
            self._read([tried])
            letters = _sure_letters(tried.lines)
            if letters > most:
                best, most = other, letters
                if _sureness(tried.lines) >= SURE_PAGE:
                    break
        if best is not sheet:
            self._read([best])
        return best

    def _line_page(self, sheet: _Sheet) -> Page:
        """The page of a picture that is one line."""
        (read,) = sheet.lines
        if not isinstance(read.answer, Line):
            return _failed(sheet.image, read.answer)
        line = marked(read.answer, self.min_confidence)
        height, width = sheet.image.grey.shape
        page = line_page(line, width, height, sheet.image.number, sheet.image.dpi)
        return replace(page, notes=sheet.image.notes, transform=sheet.image.transform)


def _sureness(lines: Sequence[ReadLine]) -> float:
    """Mean confidence of what was read, by cluster: a long line may be unsure as a whole, but no
    clusters of a page on its head are sure."""
    read = [c.confidence for x in lines if isinstance(x.answer, Line) for c in x.answer.characters]
    return sum(read) / max(len(read), 1)


def _sure_letters(lines: Sequence[ReadLine]) -> float:
    """Letters and digits of lines that were read, each as much as its line is sure: rows of dots
    are read surely any way round."""
    read = [x.answer for x in lines if isinstance(x.answer, Line)]
    return sum(
        line.confidence * sum(unicodedata.category(c)[0] in "LMN" for c in line.text)
        for line in read
    )


def _longest(sheet: _Sheet, found: FoundPage) -> list[int]:
    """Of a sheet's lines the longest on the page, those that tell which way round it lies."""
    lengths = {i: found.inks[i].end - found.inks[i].first for i in sheet.chosen}
    return sorted(lengths, key=lambda i: -lengths[i])[:TRIED_LINES]


def _text_length(found: FoundPage) -> int:
    """The length of all lines of a page, in pixels of the network."""
    return sum(line.end - line.first for line in found.inks)


def _failed(image: FilePage, error: KhmerFastError) -> Page:
    return replace(image.unread(), error=str(error))


def read(
    file: Any,
    pages: PageRanges | str | None = None,
    password: str | None = None,
    text_layer: str = "auto",
    **options: Any,
) -> Document:
    """Reads a file: a path, its bytes, `-`, a PIL image or an array; `options` as `PageReader`'s.

    Whoever reads several files makes one `PageReader` and calls its `read`. Raises KhmerFastError
    for what cannot be opened or read.
    """
    return PageReader(**options).read(file, pages, password, text_layer)
