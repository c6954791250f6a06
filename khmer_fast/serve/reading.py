"""What a worker does with its tasks: it holds the reader, and knows nothing of HTTP or jobs."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from khmer_fast.document import Box, Document, Line, Page
from khmer_fast.errors import FileError, FormatError, KhmerFastError
from khmer_fast.files.file_page import ALL_PAGES, FilePage, PageRanges
from khmer_fast.files.pages import count_pages, open_pages
from khmer_fast.files.text_layer import layer_page
from khmer_fast.formats import FORMATS, PdfOptions, page_path, save, write
from khmer_fast.formats.json import read_page, write_line, write_page
from khmer_fast.page.page_reader import LAYOUTS, PageReader
from khmer_fast.page.segment import Segmenter
from khmer_fast.recognize.reader import Reader
from khmer_fast.serve import tasks
from khmer_fast.serve.corrected import confidence_of
from khmer_fast.serve.options import ReaderOptions
from khmer_fast.serve.pictures import cut_lines, jpeg, open_page, upright
from khmer_fast.serve.tasks import Source, Task


class TooManyPages(FileError):
    """A file with more pages than are read at once."""


@dataclass
class _Stages:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


class Reading:
    """Answers tasks with one model, which is loaded here and once."""

    def __init__(self, options: ReaderOptions):
        reader = Reader(
            options.weights, options.device, beam=options.beam, n_best=options.n_best,
            threads=options.threads,
        )  # fmt: skip
        segmenter = Segmenter(options.segmenter, threads=options.threads)
        self._reader, self._segmenter = reader, segmenter
        self._pages = {
            layout: PageReader(segmenter=segmenter, layout=layout, reader=reader)
            for layout in LAYOUTS
        }
        self._drawn: tuple[Source, int, FilePage] | None = None  # the last page that was looked at

    def answer(self, batch: Sequence[Task]) -> list[object]:
        """The answers to tasks, each in its place; a Refusal where one cannot be done.

        Several tasks are of the kind ReadFile: their lines are read together.
        """
        if len(batch) > 1 or isinstance(batch[0], tasks.ReadFile):
            return self._read_files([task for task in batch if isinstance(task, tasks.ReadFile)])
        try:
            return [self._one(batch[0])]
        except (KhmerFastError, OSError, MemoryError) as error:
            return [refusal(error)]

    def _one(self, task: Task) -> object:
        match task:
            case tasks.CountPages(source):
                return count_pages(source.path, source.password, source.name)
            case tasks.ReadPage():
                return self._read_page(task)
            case tasks.DrawPage():
                return jpeg(self._upright(task.source, task.number, task.rotation), task.width)
            case tasks.ReadBox():
                return self._read_box(task)
            case tasks.WriteDocument():
                return _write(task)
            case tasks.CutLines():
                grey = self._upright(task.source, task.number, task.rotation)
                return cut_lines(grey, task.boxes, self._segmenter)
        raise TypeError(f"no task: {task!r}")

    # ---- pages of jobs ----

    def _read_page(self, task: tasks.ReadPage) -> tasks.PageAnswer:
        stages = _Stages()
        with stages.stage("open"):
            image = open_page(task.source, task.number, task.text_layer != "never")
        with stages.stage("read"):
            if task.text_layer == "only":
                page = layer_page(image.unread(), image.text_layer)
            else:
                (page,) = self._pages[task.layout].read_pages([image])
        return tasks.PageAnswer(write_page(page), confidence_of(page), page.error, stages.seconds)

    def _upright(self, source: Source, number: int, rotation: int) -> np.ndarray:
        """The page as it was read, turned upright: uint8 [Y, X]."""
        if self._drawn is None or self._drawn[:2] != (source, number):
            self._drawn = (source, number, open_page(source, number))
        return upright(self._drawn[2], rotation)

    def _read_box(self, task: tasks.ReadBox) -> str:
        grey = self._upright(task.source, task.number, task.rotation)
        left, top, right, bottom = task.box
        return write_line(_moved(self._reader.read(grey[top:bottom, left:right]), left, top))

    # ---- small files ----

    def _read_files(self, batch: Sequence[tasks.ReadFile]) -> list[object]:
        answers: dict[int, object] = {}
        by_layout: dict[str, list[int]] = {}
        for i, task in enumerate(batch):
            by_layout.setdefault(task.layout, []).append(i)
        for layout, numbers in by_layout.items():
            stages = _Stages()
            opened: list[tuple[int, Page | FilePage]] = []
            with stages.stage("open"):
                for i in numbers:
                    try:
                        opened += [(i, image) for image in _file_pages(batch[i])]
                    except (KhmerFastError, OSError, MemoryError) as error:
                        answers[i] = refusal(error)
            with stages.stage("read"):
                images = [image for _, image in opened if isinstance(image, FilePage)]
                read = self._pages[layout].read_pages(images)
                pages = [(i, x if isinstance(x, Page) else next(read)) for i, x in opened]
            for i in numbers:
                if i not in answers:
                    mine = tuple(page for number, page in pages if number == i)
                    answers[i] = _file_answer(batch[i], mine, stages)
        return [answers[i] for i in range(len(batch))]


def refusal(error: BaseException) -> tasks.Refusal:
    """What the server is told of an error."""
    if isinstance(error, MemoryError):
        return tasks.Refusal("MemoryError", "there is too little memory for this")
    if isinstance(error, OSError):
        return tasks.Refusal("OSError", error.strerror or type(error).__name__)
    return tasks.Refusal(type(error).__name__, str(error))


def _file_pages(task: tasks.ReadFile) -> Iterator[Page | FilePage]:
    """The pages of a small file; those whose text layer is all that is asked for are Pages."""
    ranges = ALL_PAGES if task.pages is None else PageRanges.parse(task.pages)
    layer = task.text_layer != "never"
    images = open_pages(task.data, ranges, task.password, layer, task.name)
    for count, image in enumerate(images, 1):
        if count > task.most_pages:
            raise TooManyPages(
                f"more than {task.most_pages} pages are not read at once; make a job of the file "
                "(POST /v1/jobs), or choose pages"
            )
        if task.text_layer == "only":
            yield layer_page(image.unread(), image.text_layer)
        else:
            yield image


def _file_answer(task: tasks.ReadFile, pages: tuple[Page, ...], stages: _Stages) -> object:
    if len(pages) == 1 and pages[0].error is not None:
        return tasks.Refusal("FileError", pages[0].error)
    try:
        with stages.stage("write"):
            pdf = PdfOptions(task.data, task.password)
            data = write(Document(task.name, pages), task.format, pdf)
    except KhmerFastError as error:
        return refusal(error)
    return tasks.FileAnswer(data, len(pages), stages.seconds)


def _moved(line: Line, x: int, y: int) -> Line:
    """A line of a picture whose left upper corner lies at x, y of the page."""

    def moved(box: Box) -> Box:
        return box[0] + x, box[1] + y, box[2] + x, box[3] + y

    return replace(
        line,
        box=moved(line.box),
        baseline=tuple((px + x, py + y) for px, py in line.baseline),
        polygon=tuple((px + x, py + y) for px, py in line.polygon),
        words=tuple(replace(word, box=moved(word.box)) for word in line.words),
        characters=tuple(
            replace(character, box=character.box and moved(character.box))
            for character in line.characters
        ),
    )


def _write(task: tasks.WriteDocument) -> str:
    """Writes the document; several files of a format that holds one page each go into a zip."""
    pages = tuple(read_page(text) for text in task.pages)
    document = Document(task.source.name, pages)
    format, target = FORMATS.get(task.format), Path(task.target)
    if format is None:
        raise FormatError(f"expected a format of {', '.join(FORMATS)}, got {task.format!r:.60}")
    if format.page_a_file and len(pages) != 1:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for page in pages:
                name = page_path(Path("page"), format, page.number).name
                archive.writestr(name, write(replace(document, pages=(page,)), task.format))
        return ".zip"
    pdf = PdfOptions(task.source.path, task.source.password)
    save(document, target, task.format, pdf=pdf)
    return format.suffix
