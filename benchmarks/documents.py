"""`python -m benchmarks.documents [FILE.pdf]`: a long PDF in, every format out; time and memory.

One worker, one thread. The PDF is FILE, its pages repeated until there are `--pages`; by default
scans of pages that the renderer draws. Everything but finding and reading lines (opening, drawing,
comparing layers, writing all formats) may take a quarter of the time; memory must not grow with
pages.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.drawn import announce, page_source
from khmer_fast.cli.output import OutputOptions, Outputs
from khmer_fast.document import Page
from khmer_fast.files import text_layer
from khmer_fast.files.pages import open_pages
from khmer_fast.formats import FORMATS
from khmer_fast.page.page_reader import PageReader

DRAWN_PAGES = 6  # different ones in the PDF that is made
MOST_SHARE = 0.25  # of the time, beside finding and reading lines
MOST_GROWTH = 150  # MiB of peak memory over that of one page
FLAT = 20  # pages after which memory may not grow: medians of as many pages are compared
MOST_DRIFT = 0.05  # what is called flat
MOST_PDF_GROWTH = 10_000  # bytes a page of the searchable PDF over its input
PARTS = ("open", "find", "read", "layer", "write")


class Stopwatch:
    """Seconds by part; a part within a part is not counted twice."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._running: list[tuple[str, float]] = []

    def start(self, part: str) -> None:
        now = time.perf_counter()
        if self._running:
            outer, since = self._running[-1]
            self.seconds[outer] += now - since
        self._running.append((part, now))

    def stop(self) -> None:
        now = time.perf_counter()
        part, since = self._running.pop()
        self.seconds[part] += now - since
        if self._running:
            self._running[-1] = (self._running[-1][0], now)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted."""

        def run(*args: Any, **options: Any) -> Any:
            self.start(part)
            try:
                return function(*args, **options)
            finally:
                self.stop()

        return run

    def each(self, part: str, items: Iterable[Any]) -> Iterator[Any]:
        """The items, the time to make each counted."""
        source = iter(items)
        while True:
            self.start(part)
            try:
                item = next(source, None)
            finally:
                self.stop()
            if item is None:
                return
            yield item


def drawn_pdf(pages: int) -> bytes:
    """Scans of rendered pages, JPEG at 200 dpi, as a scanner's PDF has them."""
    import pikepdf
    from PIL import Image

    source = page_source(long_side=2339).only("law", "report", "letter")
    pdf = pikepdf.new()
    images = []
    for index in range(min(DRAWN_PAGES, pages)):
        grey = source.sample(20261126, index).image
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "JPEG", quality=80)
        height, width = grey.shape
        images.append(
            pdf.make_stream(
                file.getvalue(),
                Type=pikepdf.Name.XObject,
                Subtype=pikepdf.Name.Image,
                Width=width,
                Height=height,
                BitsPerComponent=8,
                ColorSpace=pikepdf.Name.DeviceGray,
                Filter=pikepdf.Name.DCTDecode,
            )
        )
    for index in range(pages):
        image = images[index % len(images)]
        size = (int(image.Width) * 0.36, int(image.Height) * 0.36)
        page = pdf.add_blank_page(page_size=size)
        page.obj.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Scan=image))
        content = f"q {size[0]} 0 0 {size[1]} 0 0 cm /Scan Do Q".encode()
        page.obj.Contents = pdf.make_stream(content)
    file = io.BytesIO()
    pdf.save(file)
    return file.getvalue()


def repeated_pdf(path: Path, pages: int) -> bytes:
    """The pages of a PDF over and over."""
    import pikepdf

    with pikepdf.open(path) as source:
        pdf = pikepdf.new()
        for index in range(pages):
            pdf.pages.append(source.pages[index % len(source.pages)])
        file = io.BytesIO()
        pdf.save(file)
    return file.getvalue()


def memory(of: str) -> int:
    """What the process holds ("VmRSS") or held at most so far ("VmHWM"), in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{of}:"):
            return int(line.split()[1]) >> 10
    raise OSError("the system does not tell a process' memory")


def measure(path: Path, reader: PageReader, folder: Path, formats: tuple[str, ...]) -> dict:
    """Reads the PDF into all formats: seconds by part, peak memory by page, sizes."""
    watch = Stopwatch()
    reader.reader.read_crops = watch.timed("read", reader.reader.read_crops)  # type: ignore[method-assign]
    apply = text_layer.apply
    text_layer.apply = watch.timed("layer", apply)
    outputs = Outputs(OutputOptions(formats, str(folder), replace_text_layer=True), [str(path)])
    peaks: list[int] = []
    held: list[int] = []
    began = time.perf_counter()
    output = outputs.start(str(path))
    watch.start("write")
    output.__enter__()
    watch.stop()
    try:
        for page in watch.each("find", reader.read_pages(watch.each("open", open_pages(path)))):
            _write(watch, output, page)
            peaks.append(memory("VmHWM"))
            held.append(memory("VmRSS"))
    finally:
        watch.start("write")
        output.__exit__(*sys.exc_info())
        watch.stop()
        text_layer.apply = apply
    seconds = time.perf_counter() - began
    return {
        "pages": len(peaks),
        "seconds": seconds,
        "parts": watch.seconds,
        "peaks_mib": peaks,
        "held_mib": held,
        "peak_at_end_mib": memory("VmHWM"),
        "sizes": {
            p.name: p.stat().st_size for p in sorted(folder.iterdir()) if ".page." not in p.name
        },
        "input_bytes": path.stat().st_size,
    }


def _write(watch: Stopwatch, output: Any, page: Page) -> None:
    watch.start("write")
    try:
        output.write_page(page)
    finally:
        watch.stop()


def judged(result: dict) -> dict:
    """The result with what is asked of it, and whether it is met."""
    count, parts, peaks = result["pages"], result["parts"], result["peaks_mib"]
    held = result["held_mib"]
    rest = sum(parts[part] for part in ("open", "layer", "write"))
    pdf = next(size for name, size in result["sizes"].items() if name.endswith(".pdf"))
    facts = {
        "share_beside_finding_and_reading": rest / result["seconds"],
        "peak_over_first_page_mib": result["peak_at_end_mib"] - peaks[0],
        "growth_after_20_pages": median(held[-FLAT:]) / median(held[FLAT : 2 * FLAT] or held) - 1,
        "pdf_growth_bytes_a_page": (pdf - result["input_bytes"]) / count,
    }
    met = {
        "share_beside_finding_and_reading": rest / result["seconds"] <= MOST_SHARE,
        "peak_over_first_page_mib": facts["peak_over_first_page_mib"] <= MOST_GROWTH,
        "growth_after_20_pages": facts["growth_after_20_pages"] <= MOST_DRIFT,
        "pdf_growth_bytes_a_page": facts["pdf_growth_bytes_a_page"] <= MOST_PDF_GROWTH,
    }
    return {**result, **facts, "met": met}


def describe(result: dict) -> str:
    """Tables for people."""
    count = result["pages"]
    lines = [
        "",
        f"{count} pages in {result['seconds']:.1f} s",
        "",
        "| part | ms a page |",
        "| --- | --- |",
    ]
    lines += [f"| {part} | {1000 * s / count:.1f} |" for part, s in result["parts"].items()]
    lines += ["", "| asked | measured | met |", "| --- | --- | --- |"]
    for name, met in result["met"].items():
        value = result[name]
        shown = f"{value:.1%}" if name.startswith(("share", "growth")) else f"{value:,.0f}"
        lines.append(f"| {name.replace('_', ' ')} | {shown} | {'yes' if met else 'NO'} |")
    return "\n".join(lines)


def main() -> int:
    """The command; 1 if something that is asked is not met."""
    parser = argparse.ArgumentParser("python -m benchmarks.documents", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.pdf")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="24 pages")
    args = parser.parse_args()
    pages = 24 if args.quick else args.pages
    print(json.dumps(machine.describe()))
    if args.file is None and not announce():
        return 1
    data = drawn_pdf(pages) if args.file is None else repeated_pdf(args.file, pages)
    formats = tuple(FORMATS)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "in.pdf")
        path.write_bytes(data)
        reader = PageReader(threads=1)
        result = judged(measure(path, reader, Path(name, "out"), formats))
    print(describe(result))
    for name in ("peaks_mib", "held_mib"):
        pages_of = result[name]
        result[name] = {
            str(n): pages_of[n - 1] for n in (1, 2, 5, 20, 50, 100, 200, 1000) if n <= len(pages_of)
        }
    result["file"] = args.file.name if args.file else "drawn"
    print(json.dumps(result))
    return 0 if all(result["met"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
