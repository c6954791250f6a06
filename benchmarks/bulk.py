"""`python -m benchmarks.bulk [start] [cost] [memory] [run]`: what mapping over many pages costs.

start   seconds until a worker is ready
cost    mapping beside a bare loop of the reader, by processes and by Ray, and two workers beside
        two independent processes. Starts are not counted: every figure is the difference between
        a run over many pages and one over few
memory  of the main process from 1,000 to 20,000 small pages
run     `khmer-fast bulk` over 1,000 pages, rendered and (with --real FOLDER...) real ones mixed
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks import machine

PARTS = ("start", "cost", "memory", "run")
MOST_START = 2.0  # seconds
MOST_COST = {"local": 0.03, "ray": 0.08}  # of the bare loop
LEAST_OF_TWO = 0.95  # of what two independent processes read
MOST_GROWTH = 10.0  # MiB, from FEW to MANY pages
FEW, MANY = 1_000, 20_000
REAL_SUFFIXES = (".pdf", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
START = (
    "from pathlib import Path; from khmer_fast.bulk.worker import Worker; "
    "from khmer_fast.bulk.folder import BulkOptions; Worker(BulkOptions(), Path('.'))"
)
BARE = (
    "import sys; from khmer_fast.page.page_reader import PageReader; "
    "reader = PageReader(threads=1); "
    "print(sum(1 for name in sys.stdin.read().split('\\n') for page in reader.stream(name)))"
)


def rendered_pages(folder: Path, count: int, first: int = 0) -> list[Path]:
    """Pages that the renderer draws, at the size of a 150 dpi scan: JPEG files."""
    from PIL import Image

    from khmer_fast.data.pages import PageSource

    source = PageSource(long_side=1754)
    paths = []
    for index in range(first, first + count):
        paths.append(folder / f"rendered_{index:05d}.jpg")
        Image.fromarray(source.sample(20261127, index).image).save(paths[-1], quality=85)
    return paths


def copies(paths: Sequence[Path], folder: Path, pages: int) -> list[Path]:
    """Files of `pages` pages together: those of `paths`, then the same with a byte behind their
    end, which is another file and shows the same pages."""
    from khmer_fast.errors import KhmerFastError
    from khmer_fast.files.pages import count_pages

    counts = {}
    for path in paths:
        try:
            counts[path] = count_pages(path)
        except KhmerFastError:  # `documents` has some that are no documents
            continue
    made, total, round = [], 0, 0
    while total < pages:
        for path, count in counts.items():
            if total + count > pages + 20 or total >= pages:
                continue
            made.append(folder / f"real_{round:03d}_{len(made):05d}{path.suffix}")
            made[-1].write_bytes(path.read_bytes() + b"\n" * round)
            total += count
        round += 1
    return made


def small_pages(folder: Path, count: int) -> None:
    """Pictures of one short line."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=24)
    for number in range(count):
        image = Image.new("L", (104, 40), 255)
        ImageDraw.Draw(image).text((8, 6), f"{number:05d}", font=font, fill=0)
        image.save(folder / f"{number:05d}.png", compress_level=1)


class Timed:
    """Wall and processor seconds of commands side by side, all their children with them."""

    def __init__(self, commands: Sequence[tuple[list[str], str]]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        running = []
        for command, text in commands:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdin is not None
            process.stdin.write(text)
            process.stdin.close()
            process.stdin = None
            running.append(process)
        self.said = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise SystemExit(f"{commands[0][0]} ended with {[p.returncode for p in running]}")
        self.wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor = (
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        )  # fmt: skip


def bulk(files: Sequence[Path], out: Path, *options: str) -> Timed:
    """`khmer-fast bulk` over files."""
    command = [sys.executable, "-m", "khmer_fast", "bulk", "-", "--out", str(out), "--json"]
    return Timed([([*command, *options], "\n".join(map(str, files)))])


def bare(files: Sequence[Path], processes: int = 1) -> Timed:
    """A loop of the reader over files, in so many independent processes."""
    shares = [files[i::processes] for i in range(processes)]
    return Timed([([sys.executable, "-c", BARE], "\n".join(map(str, share))) for share in shares])


def measure_start(rounds: int) -> dict:
    """Seconds until a process has a worker that can read, the best of some."""
    started = [Timed([([sys.executable, "-c", START], "")]) for _ in range(rounds)]
    wall, processor = min(t.wall for t in started), min(t.processor for t in started)
    return {"wall": wall, "processor": processor, "met": wall <= MOST_START}


def measure_cost(folder: Path, pages: int, rounds: int, ray: bool) -> dict:
    """Seconds a page by each way; interleaved, medians of rounds."""
    files = rendered_pages(folder, pages)
    few = files[: pages // 4]
    count = 0

    def out() -> Path:
        nonlocal count
        count += 1
        return folder / f"out-{count}"

    ways: dict[str, Callable[[Sequence[Path]], Timed]] = {
        "bare loop": lambda some: bare(some),
        "local, 1 worker": lambda some: bulk(some, out(), "--workers", "1"),
        "2 bare loops": lambda some: bare(some, 2),
        "local, 2 workers": lambda some: bulk(some, out(), "--workers", "2"),
    }
    if ray:
        ways["Ray, 1 worker"] = lambda some: bulk(some, out(), "--workers", "1", "--ray")
    walls: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for round in range(rounds):
        order = list(ways) if round % 2 == 0 else list(reversed(ways))
        for name in order:
            small, large = ways[name](few), ways[name](files)
            more = len(files) - len(few)
            walls[name].append((large.wall - small.wall) / more)
            processor[name].append((large.processor - small.processor) / more)

    def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
        return median(a / b for a, b in zip(times[one], times[other], strict=True))

    result: dict = {
        "pages": pages,
        "rounds": rounds,
        "wall_ms_a_page": {name: 1000 * median(x) for name, x in walls.items()},
        "processor_ms_a_page": {name: 1000 * median(x) for name, x in processor.items()},
        "two_workers_over_two_processes": ratio(walls, "2 bare loops", "local, 2 workers"),
        "two_workers_over_one": ratio(walls, "local, 1 worker", "local, 2 workers"),
        "two_processes_over_one": ratio(walls, "bare loop", "2 bare loops"),
    }
    for name, way in (("local", "local, 1 worker"), ("ray", "Ray, 1 worker")):
        if way in ways:
            result[f"{name}_cost"] = {"wall": ratio(walls, way, "bare loop") - 1}
    result["local_cost"]["processor"] = ratio(processor, "local, 1 worker", "bare loop") - 1
    result["processor_ms_a_page"].pop("Ray, 1 worker", None)  # its actors are not our children
    result["met"] = {
        "two workers": result["two_workers_over_two_processes"] >= LEAST_OF_TWO,
        "local": result["local_cost"]["processor"] <= MOST_COST["local"],
    } | ({"ray": result["ray_cost"]["wall"] <= MOST_COST["ray"]} if ray else {})
    return result


def memory() -> float:
    """MiB of this process, without what it shares with files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("the system does not tell a process' memory")


def measure_memory(folder: Path, few: int, many: int) -> dict:
    """Of the process that maps, while its workers read small pages; and pages a second."""
    from khmer_fast.bulk.folder import BulkOptions, RunFolder
    from khmer_fast.bulk.local import LocalPool
    from khmer_fast.bulk.plan import Ledger, Outcome, Sources
    from khmer_fast.bulk.sources import expand
    from khmer_fast.threads import usable_processors

    files = folder / "small"
    files.mkdir()
    small_pages(files, many)
    options = BulkOptions(beam=1)
    seen: dict[int, float] = {}
    with RunFolder(folder / "out", options, "of this run") as out:
        pool = LocalPool(options, out.results, "of this run", usable_processors(), 50)
        pages = failed = 0
        began = time.perf_counter()
        for event in pool.run(Sources(expand([str(files)])), Ledger.read(out.results)):
            if isinstance(event, Outcome):
                before, pages = pages, pages + len(event.pages)
                failed += event.failed
                for mark in (few, many // 4, many // 2, many):
                    if before < mark <= pages:
                        seen[mark] = memory()
        seconds = time.perf_counter() - began
    if pages != many or failed:
        raise SystemExit(f"{pages} pages of {many} came back, {failed} of them failed")
    growth = seen[many] - seen[few]
    return {
        "mib": seen,
        "growth_mib": growth,
        "bytes_a_page": growth * 2**20 / (many - few),
        "pages_a_second": many / seconds,
        "met": growth <= MOST_GROWTH,
    }


def measure_run(folder: Path, pages: int, real: Sequence[Path]) -> dict:
    """One run over rendered pages and three times as many real ones, in a random order."""
    found = [
        path
        for source in real
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in REAL_SUFFIXES and "images" not in path.parts
    ]
    mixed = rendered_pages(folder, pages // 4 if found else pages)
    mixed += copies(found, folder, pages - len(mixed)) if found else []
    random.Random(1).shuffle(mixed)
    done = bulk(mixed, folder / "out-run")
    summary = json.loads(done.said[0].splitlines()[-1])
    summary["processor_seconds"] = done.processor
    return summary


def show(results: dict) -> None:
    """For people."""
    for part, found in results.items():
        print("\n".join(SHOWN[part](found)), end="\n\n")


def _start(found: dict) -> list[str]:
    return [
        f"a worker is ready after {found['wall']:.2f} s, {found['processor']:.2f} s of processor "
        f"time (asked: {MOST_START})"
    ]


def _cost(found: dict) -> list[str]:
    lines = [
        f"{found['pages']} rendered pages, {found['rounds']} rounds, starts not counted",
        f"{'':20}  wall ms/page  processor ms/page",
    ]
    for name, wall in found["wall_ms_a_page"].items():
        of_processor = found["processor_ms_a_page"].get(name)
        lines.append(
            f"{name:20}  {wall:12.1f}" + (f"  {of_processor:17.1f}" if of_processor else "")
        )
    for name, most in MOST_COST.items():
        for kind, cost in found.get(f"{name}_cost", {}).items():
            lines.append(
                f"{name} over the bare loop: {cost:+.1%} of {kind} time (asked: {most:.0%})"
            )
    return [
        *lines,
        f"two workers read {found['two_workers_over_two_processes']:.1%} of what two independent "
        f"processes read (asked: {LEAST_OF_TWO:.0%})",
        f"two workers read {found['two_workers_over_one']:.2f} times what one reads, two "
        f"independent processes {found['two_processes_over_one']:.2f} times",
    ]


def _memory(found: dict) -> list[str]:
    marks = ", ".join(f"{mib:.1f} at {n:,}" for n, mib in found["mib"].items())
    return [
        f"memory of the main process in MiB: {marks} pages; {found['bytes_a_page']:.0f} bytes a "
        f"page (asked: flat, at most {MOST_GROWTH:.0f} MiB)",
        f"{found['pages_a_second']:.0f} small pages a second",
    ]


def _run(found: dict) -> list[str]:
    return [
        f"{found['files']} files, {found['pages']} pages, {found['failed']} failed, "
        f"{found['lines']} lines in {found['seconds']:.0f} s",
        f"{found['pages_per_second']:.2f} pages a second by wall time, "
        f"{found['pages'] / found['processor_seconds']:.2f} a second of processor time",
    ]


SHOWN: dict[str, Callable[[dict], list[str]]] = {
    "start": _start, "cost": _cost, "memory": _memory, "run": _run,
}  # fmt: skip


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.bulk", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all of them")
    parser.add_argument("--pages", type=int, default=1000, help="of run")
    parser.add_argument("--real", type=Path, nargs="+", default=[], metavar="FOLDER")
    parser.add_argument("--cost-pages", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=MANY, help="small pages of memory")
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few pages: a check of the command")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected {', '.join(PARTS)}, got {', '.join(unknown)}")
    if args.quick:
        args.pages, args.cost_pages, args.rounds = 12, 12, 1
    facts = machine.describe() | {"load_before": os.getloadavg()[0]}
    print(
        f"{facts['processor']}, {facts['cores']} cores, {facts['instruction_set']}, torch "
        f"{facts['torch']}; load {facts['load_before']:.1f} before\n"
    )
    results: dict = {}
    for part in args.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="bulk-") as name:
            folder = Path(name)
            if part == "start":
                results[part] = measure_start(args.rounds)
            elif part == "cost":
                results[part] = measure_cost(folder, args.cost_pages, args.rounds, not args.no_ray)
            elif part == "memory":
                few, many = (40, 400) if args.quick else (FEW, args.many)
                results[part] = measure_memory(folder, few, many)
            else:
                results[part] = measure_run(folder, args.pages, args.real)
        print(f"{part} measured", file=sys.stderr, flush=True)
    show(results)
    print(json.dumps({"machine": facts, **results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
