"""What a worker does with its tasks: it holds the reader, and knows nothing of HTTP or jobs."""

from __future__ import annotations

import time
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

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

T = TypeVar("T")


class TooManyPages(FileError):
    """A file with more pages than are read at once."""


@dataclass
class _Stages:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    def taken(self) -> dict[str, float]:
        """The seconds so far, counted anew from now on."""
        seconds, self.seconds = self.seconds, {}
        return seconds

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

    def answers(self, batch: Sequence[Task]) -> Iterator[tuple[int, object]]:
        """The answers to tasks as they come, each with its task's place in the batch; a Refusal
        where one cannot be done.

        Several tasks are of the kind ReadFile: their lines are read together.
        """
        if len(batch) > 1 or isinstance(batch[0], tasks.ReadFile):
            files = [task for task in batch if isinstance(task, tasks.ReadFile)]
            for layout in dict.fromkeys(task.layout for task in files):
                yield from self._read_files(
                    layout, [(i, task) for i, task in enumerate(files) if task.layout == layout]
                )
            return
        try:
            yield 0, self._one(batch[0])
        except (KhmerFastError, OSError, MemoryError) as error:
            yield 0, refusal(error)

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

    def _read_files(
        self, layout: str, files: Sequence[tuple[int, tasks.ReadFile]]
    ) -> Iterator[tuple[int, object]]:
        """Reads small files, the lines of several together; one page of them is open at a time."""
        came: deque[_Came] = deque()  # of each file's pages, in order; those to be read are None
        pages: dict[int, list[Page]] = {i: [] for i, _ in files}
        stages = _Stages()

        def images() -> Iterator[FilePage]:
            for i, task in files:
                try:
                    for page, last in _with_last(_file_pages(task)):
                        if isinstance(page, Page):
                            came.append(_Came(i, task, page, last))
                        else:
                            came.append(_Came(i, task, None, last))
                            yield page
                except (KhmerFastError, OSError, MemoryError) as error:
                    came.append(_Came(i, task, refusal(error), True))

        def answered(x: _Came, page: Page) -> Iterator[tuple[int, object]]:
            pages[x.number].append(page)
            if x.last:
                yield x.number, _file_answer(x.task, tuple(pages.pop(x.number)), stages)

        def unread() -> Iterator[tuple[int, object]]:
            """What stands before the next page that is read."""
            while came and came[0].what is not None:
                x = came.popleft()
                if isinstance(x.what, tasks.Refusal):
                    yield x.number, x.what
                elif x.what is not None:
                    yield from answered(x, x.what)

        read = self._pages[layout].read_pages(images())
        while True:
            with stages.stage("read"):
                page = next(read, None)
            yield from unread()
            if page is None:
                return
            yield from answered(came.popleft(), page)


@dataclass(frozen=True)
class _Came:
    """A page of a small file that came to be read: what is known of it already, if anything."""

    number: int  # of its file in the batch
    task: tasks.ReadFile
    what: Page | tasks.Refusal | None
    last: bool  # of its file


def _with_last(items: Iterator[T]) -> Iterator[tuple[T, bool]]:
    """Each item, and whether it is the last one."""
    before = next(items, None)
    while before is not None:
        after = next(items, None)
        yield before, after is None
        before = after


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
    return tasks.FileAnswer(data, len(pages), stages.taken())


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
