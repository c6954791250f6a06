"""`khmer-fast render --pages`: whole pages with what stands where."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from khmer_fast.data.dataset import StoredLine
    from khmer_fast.data.mixture import RenderConfig
    from khmer_fast.data.pages import PageSample, PageSource

_SHEET_PAGES = 16


@dataclass(frozen=True)
class PageOptions:
    """What a worker needs to build its PageSource."""

    page_config: str | None
    lines: RenderConfig | None
    fonts: tuple[str, ...]
    held_out: bool
    layouts: tuple[str, ...]
    long_side: int | None

    def open(self) -> PageSource:
        """The source of pages that the options describe."""
        from khmer_fast.data.pages import PageSource

        return PageSource(
            self.page_config,
            lines=self.lines,
            fonts=self.fonts,
            held_out=self.held_out,
            layouts=self.layouts,
            long_side=self.long_side,
        )


def run_pages(args: argparse.Namespace, lines: RenderConfig | None) -> int:
    """Render pages; 0. Raises KhmerFastError for what cannot be done."""
    options = PageOptions(
        args.page_config, lines, tuple(args.fonts), args.held_out, tuple(args.layout),
        args.long_side,
    )  # fmt: skip
    source = options.open()
    if args.sheet:
        from khmer_fast.data.page_sheet import draw_page_sheet

        count = min(args.pages, _SHEET_PAGES) if args.out else args.pages
        pages = [source.sample(args.seed, args.start + i) for i in range(count)]
        draw_page_sheet(pages).save(args.sheet)
    if args.out:
        _write(options, source, args)
    return 0


def _write(options: PageOptions, source: PageSource, args: argparse.Namespace) -> None:
    from khmer_fast.data.dataset import write_lines
    from khmer_fast.data.page_files import write_pages

    begin = time.perf_counter()
    indices = range(args.start, args.start + args.pages)
    pages = _rendered(options, source, args.seed, indices, args.workers)
    if sys.stderr.isatty():
        pages = _progress(pages, args.pages)
    if args.crops:
        lines = write_lines(_crops(pages), args.out, args.form)
        written = args.pages
    else:
        lines, written = 0, write_pages(pages, args.out, owners=args.owners)
    seconds = time.perf_counter() - begin
    description = {"seed": args.seed, "start": args.start, "pages": written, **source.describe()}
    (Path(args.out) / "render.json").write_text(
        json.dumps(description, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    summary = {
        "out": args.out,
        "pages": written,
        "crops": lines,
        "seconds": round(seconds, 3),
        "pages_per_second": round(written / seconds, 2),
    }
    if args.json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        crops = f", {lines} crops" if args.crops else ""
        print(f"{written} pages{crops} in {args.out}, {summary['pages_per_second']} pages/s")


def _crops(pages: Iterator[tuple[str, PageSample]]) -> Iterator[StoredLine]:
    """The lines that the packaged page network cuts out of the pages, as a reader meets them."""
    from khmer_fast.data.dataset import StoredLine
    from khmer_fast.page.segment import Segmenter
    from khmer_fast.train.page_crops import page_crops

    segmenter = Segmenter()
    for name, page in pages:
        for number, (grey, text) in enumerate(page_crops(page, segmenter)):
            file = io.BytesIO()
            Image.fromarray(grey).save(file, "PNG")
            columns = {"kind": f"crop/{page.layout}"}
            yield StoredLine(f"{name}-{number:03}", file.getvalue(), ".png", text, columns)


def _rendered(
    options: PageOptions, source: PageSource, seed: int, indices: range, workers: int
) -> Iterator[tuple[str, PageSample]]:
    """Named pages in order, rendered by `workers` processes."""
    if workers == 1:
        for index in indices:
            yield f"{index:08}", source.sample(seed, index)
        return
    with ProcessPoolExecutor(workers, initializer=_open_worker, initargs=(options,)) as pool:
        waiting: deque[tuple[int, Future]] = deque()
        for index in indices:
            waiting.append((index, pool.submit(_work, seed, index)))
            if len(waiting) > 2 * workers:
                first, page = waiting.popleft()
                yield f"{first:08}", page.result()
        for index, page in waiting:
            yield f"{index:08}", page.result()


_worker: list[PageSource] = []


def _open_worker(options: PageOptions) -> None:
    _worker.append(options.open())


def _work(seed: int, index: int) -> PageSample:
    return _worker[0].sample(seed, index)


def _progress(pages: Iterator, count: int) -> Iterator:
    """The pages as they pass, counted on a terminal."""
    for i, page in enumerate(pages, 1):
        print(f"\r{i} / {count} pages", end="\n" if i == count else "", file=sys.stderr)
        yield page
