"""`python -m benchmarks.render`: rendered lines a second on one core and on several, and memory.

Inside the timer: text, drawing and every degradation, to a grey array. Loading of texts and fonts
is outside (`load_seconds`); the glyph cache is filled by `--warm` lines first. Each worker renders
its own stretch of indices. Parity first: sample i must be the same pixels drawn twice and out of
order, or no speed is printed. "a CPU s" counts the processor's seconds, for machines that
others use too.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import Barrier
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.drawn import announce, line_source
from khmer_fast.data import LineSource, load_config
from khmer_fast.data.mixture import LengthRange

SEED = 11
# Some kinds of text are short whatever is asked for: these ranges give 40 characters on average.
FORTY = (LengthRange(44, 48, 1.0),)


@dataclass(frozen=True)
class Result:
    """One measurement; `characters` is the mean a line, memory in MB is of one worker."""

    lengths: str
    workers: int
    lines: int
    characters: float
    pixels: float
    lines_per_second: float
    lines_per_cpu_second: float
    characters_per_second: float
    load_seconds: float
    memory: float
    memory_growth: float


def source(lengths: str) -> LineSource:
    """The packaged mixture, or the same with lines of 40 characters."""
    config = load_config()
    if lengths == "40":
        config = replace(config, text=replace(config.text, lengths=FORTY))
    return line_source(config)


def resident() -> float:
    """Memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


_start: list = []


def _join(barrier) -> None:
    _start.append(barrier)


def work(lengths: str, first: int, lines: int, warm: int) -> dict[str, float]:
    """Render lines `first` to `first + lines` after a warm-up; what one worker measured."""
    begin = time.perf_counter()
    made = source(lengths)
    load = time.perf_counter() - begin
    for i in range(warm):
        made.sample(SEED + 1, first + i)
    if _start:
        _start[0].wait()
    characters = pixels = 0
    before = resident()
    cpu = time.process_time()
    begin = time.perf_counter()
    for i in range(first, first + lines):
        sample = made.sample(SEED, i)
        characters += len(sample.text)
        pixels += sample.image.size
    return {
        "begin": begin,
        "end": time.perf_counter(),
        "cpu": time.process_time() - cpu,
        "load": load,
        "characters": characters,
        "pixels": pixels,
        "memory": resident(),
        "growth": resident() - before,
    }


def measure(lengths: str, workers: int, lines: int, warm: int) -> Result:
    """Lines a second of `workers` processes that begin together."""
    with ProcessPoolExecutor(workers, initializer=_join, initargs=(Barrier(workers),)) as pool:
        jobs = [pool.submit(work, lengths, i * lines, lines, warm) for i in range(workers)]
        parts = [job.result() for job in jobs]
    seconds = max(p["end"] for p in parts) - min(p["begin"] for p in parts)
    total = lines * workers
    characters = sum(p["characters"] for p in parts)
    return Result(
        lengths=lengths,
        workers=workers,
        lines=total,
        characters=round(characters / total, 1),
        pixels=round(sum(p["pixels"] for p in parts) / total),
        lines_per_second=round(total / seconds, 1),
        lines_per_cpu_second=round(total / sum(p["cpu"] for p in parts), 1),
        characters_per_second=round(characters / seconds),
        load_seconds=round(max(p["load"] for p in parts), 2),
        memory=round(max(p["memory"] for p in parts), 1),
        memory_growth=round(max(p["growth"] for p in parts), 1),
    )


def parity(count: int = 40) -> bool:
    """Whether two sources give the same pixels and texts, one of them backwards."""
    first, second = source("real"), source("real")
    forwards = [first.sample(SEED, i) for i in range(count)]
    backwards = [second.sample(SEED, i) for i in reversed(range(count))][::-1]
    return all(
        a.text == b.text and np.array_equal(a.image, b.image)
        for a, b in zip(forwards, backwards, strict=True)
    )


def main() -> int:
    """Print a machine line, a table and one JSON document."""
    parser = argparse.ArgumentParser("python -m benchmarks.render", description=__doc__)
    parser.add_argument("--lines", type=int, default=3000, help="lines a worker")
    parser.add_argument("--warm", type=int, default=6000, help="lines before the timer starts")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="a few lines, only to see it run")
    args = parser.parse_args()
    if not announce():
        return 1
    lines, warm = (200, 100) if args.quick else (args.lines, args.warm)
    about = machine.describe()
    print(json.dumps({"machine": about}))
    if not parity():
        print("parity: sample i differs between two sources; no speed is printed", file=sys.stderr)
        return 1
    plan = [("40", workers) for workers in args.workers] + [("real", 1)]
    results = []
    print(f"{'lengths':8}{'workers':>8}{'characters':>11}{'pixels':>8}{'lines/s':>9}{'a core':>8}"
          f"{'a CPU s':>9}{'chars/s':>9}{'MB':>7}{'growth':>8}")  # fmt: skip
    for lengths, workers in plan:
        r = measure(lengths, workers, lines, warm)
        results.append(r)
        print(f"{r.lengths:8}{r.workers:8}{r.characters:11.1f}{r.pixels:8}{r.lines_per_second:9.1f}"
              f"{r.lines_per_second / workers:8.1f}{r.lines_per_cpu_second:9.1f}"
              f"{r.characters_per_second:9}{r.memory:7.0f}"
              f"{r.memory_growth:8.1f}")  # fmt: skip
    print(json.dumps({"machine": about, "results": [asdict(r) for r in results]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
