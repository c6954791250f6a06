"""What reads the picture of a page, khmer_fast or Tesseract, and its times."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import tesseract
from benchmarks.page_parts import Floors, Parts
from khmer_fast.document import Page
from khmer_fast.errors import KhmerFastError

OURS, BAR = "khmer_fast", "Tesseract khm+Khmer"
ENGINES = {"khmer_fast": OURS, "tesseract": BAR}


@dataclass(frozen=True)
class PageReading:
    """One page as an engine read it once."""

    page: Page
    seconds: float  # wall time
    cpu_seconds: float
    cached: bool = False  # times come from an earlier run
    parts: dict[str, float] = field(default_factory=dict)  # seconds by part
    floors: dict[str, float] = field(default_factory=dict)  # the least that they could take


@dataclass(frozen=True)
class Engine:
    """Something that reads the picture of a page."""

    name: str
    read: Callable[[Path], PageReading]


def page_reader_engine(weights: str | None, segmenter: str | None) -> Engine:
    """khmer_fast's PageReader, one thread, as it reads by default on a CPU."""
    from khmer_fast.page import assemble, find, page_reader

    reader = page_reader.PageReader(weights, segmenter, device="cpu", threads=1)
    floors = Floors(reader.segmenter.weights.model)
    parts = Parts()
    parts.timed(page_reader, "open_pages", "open")
    parts.timed(page_reader, "find_lines", "lines")
    parts.timed(reader.segmenter, "maps", "network")
    parts.timed(find, "find_rules", "rules")
    parts.timed(reader.reader, "read_crops", "read")
    parts.timed(find.FoundPage, "crop", "crops")
    parts.timed(assemble, "arrange", "order")
    parts.timed(reader, "read", "rest")

    def read(picture: Path) -> PageReading:
        start, cpu_start = time.perf_counter(), time.process_time()
        document = reader.read(picture)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        (page,) = document.pages
        taken, floor = parts.take(), floors.of(page.width, page.height)
        return PageReading(page, seconds, cpu_seconds, parts=taken, floors=floor)

    return Engine(OURS, read)


def tesseract_engine(scratch: Path, cache: Path | None) -> Engine:
    """Tesseract with both Khmer models; raises KhmerFastError where it is not installed."""
    languages = tesseract.installed_models().get("khm+Khmer")
    if languages is None:
        raise KhmerFastError(
            f"Tesseract khm+Khmer is not installed (apt install {tesseract.PACKAGES}); "
            "or give --engines khmer_fast"
        )
    blank = tesseract.prepare_blank(scratch)
    starts = [tesseract.read(blank, languages) for _ in range(3)]
    start = statistics.median(run.seconds for run in starts)
    cpu_start = statistics.median(run.cpu_seconds for run in starts)

    def read(picture: Path) -> PageReading:
        run = tesseract.read_page(picture, languages, cache)
        seconds, cpu_seconds = run.seconds - start, run.cpu_seconds - cpu_start
        return PageReading(run.page, max(seconds, 0.0), max(cpu_seconds, 0.0), run.cached)

    return Engine(BAR, read)


def open_engine(name: str, scratch: Path, options: argparse.Namespace) -> Engine:
    """The engine of a name of ENGINES."""
    if name == "khmer_fast":
        return page_reader_engine(options.weights, options.segmenter)
    cache = Path(options.tesseract_cache) if options.tesseract_cache else None
    return tesseract_engine(scratch, cache)
