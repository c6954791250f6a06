"""`python -m benchmarks.render_pages`: rendered pages a second, by size, and by layout.

Inside the timer: text, drawing, geometry and degradation, to a PageSample. Loading of texts and
fonts is outside; the glyph cache is filled by `--warm` pages first. Parity first: page i must be
the same pixels drawn twice and out of order, or no speed is printed. "CPU s" counts the
processor's seconds, for machines that others use too.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks import machine
from benchmarks.drawn import announce, page_source
from khmer_fast.data import PageSource
from khmer_fast.data.page_layouts import LAYOUTS

SEED = 11
SIDES = (1280, 3508)  # the network's scale; A4 at 300 dots an inch


@dataclass(frozen=True)
class Result:
    """One measurement; `lines` and `pixels` are means a page, `memory` MB of the process."""

    layout: str
    long_side: int
    pages: int
    lines: float
    pixels: float
    seconds_per_page: float
    cpu_seconds_per_page: float
    memory: float


def measure(source: PageSource, layout: str, pages: int, warm: int) -> Result:
    """Draw `pages` pages after a warm-up."""
    for i in range(warm):
        source.sample(SEED + 1, i)
    lines = pixels = 0
    begin, cpu = time.perf_counter(), time.process_time()
    for i in range(pages):
        page = source.sample(SEED, i)
        lines += len(page.lines)
        pixels += page.image.size
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return Result(
        layout, source.long_side or 0, pages, round(lines / pages, 1), round(pixels / pages),
        round(seconds / pages, 3), round(cpu / pages, 3),
        round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 1),
    )  # fmt: skip


def parity(count: int = 12) -> bool:
    """Whether two sources give the same pages, one of them backwards."""
    first, second = page_source(long_side=640), page_source(long_side=640)
    forwards = [first.sample(SEED, i) for i in range(count)]
    backwards = [second.sample(SEED, i) for i in reversed(range(count))][::-1]
    return all(
        np.array_equal(a.image, b.image) and np.array_equal(a.owner, b.owner)
        for a, b in zip(forwards, backwards, strict=True)
    )


def main() -> int:
    """Print a machine line, a table and one JSON document."""
    parser = argparse.ArgumentParser("python -m benchmarks.render_pages", description=__doc__)
    parser.add_argument("--pages", type=int, default=100, help="pages a size")
    parser.add_argument("--warm", type=int, default=60, help="pages before the timer starts")
    parser.add_argument("--layouts", action="store_true", help="each layout by itself, too")
    args = parser.parse_args()
    if not announce():
        return 1
    about = machine.describe()
    print(json.dumps({"machine": about}))
    if not parity():
        print("parity: page i differs between two sources; no speed is printed", file=sys.stderr)
        return 1
    results = []
    print(f"{'layout':12}{'long side':>10}{'lines':>8}{'s a page':>10}{'CPU s':>8}{'MB':>7}")
    for side in SIDES:
        source = page_source(long_side=side)
        plan = [("mixture", source, args.pages)]
        if args.layouts and side == SIDES[0]:
            plan += [(name, source.only(name), max(1, args.pages // 5)) for name in LAYOUTS]
        for name, chosen, pages in plan:
            r = measure(chosen, name, pages, args.warm if name == "mixture" else 2)
            results.append(r)
            print(f"{r.layout:12}{r.long_side:10}{r.lines:8.1f}{r.seconds_per_page:10.3f}"
                  f"{r.cpu_seconds_per_page:8.3f}{r.memory:7.0f}", flush=True)  # fmt: skip
    print(json.dumps({"machine": about, "results": [asdict(r) for r in results]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
