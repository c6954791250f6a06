"""The service under load from this machine, beside reading without it.

    python -m benchmarks.serve [--workers 2] [--rounds 5] [--pages 16] [--requests 2000]

Throughput in turns: processes that read the same pages without HTTP, then 1, 8 and 32 clients. Time
by the clock tells what clients saw; processor time a page (server and workers) tells the cost of
the service whatever else the machine does. Then the latency of one line, what reading requests
together gains, memory over many requests, and the first page of a long PDF.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from benchmarks import machine
from tests.support.service import RunningService

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "examples" / "page.png"
LINE = ROOT / "examples" / "line.png"
CLIENTS = (1, 8, 32)
N_BEST = 5  # as the service's workers
LINES = 60  # single lines whose latency is measured
TOGETHER = 256  # lines sent at once, to see what batches gain
PDF_PAGES = 100
PAGE_EVERY = 20  # of the requests over which memory is watched, one is a page
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pages", type=int, default=16, help="a round")
    parser.add_argument("--requests", type=int, default=2000, help="over which memory is watched")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--restart-after", "1000000"]
        with RunningService(Path(folder) / "data", *options, workers=args.workers) as service:
            wait_for_workers(service, args.workers)
            found = {
                "machine": machine.describe(),
                "workers": args.workers,
                "pages": throughput(service, args.workers, args.rounds, args.pages),
                "line": latency(service),
                "first_page": first_page(service),
                "memory": memory(service, args.requests),
            }
        found["together"] = together(Path(folder), args.workers, args.rounds)
    report(found)
    print(json.dumps(found))


def wait_for_workers(service: RunningService, count: int) -> None:
    while service.client.get("/ready").json()["workers"] < count:
        time.sleep(0.1)


# ---- throughput ----


def read_alone(pipe: Connection) -> None:
    """A process that reads pages without HTTP: counts come, seconds of processor time go."""
    torch.set_num_threads(1)
    from khmer_fast.page.page_reader import PageReader

    reader = PageReader(n_best=N_BEST, threads=1)
    reader.read(PAGE)
    pipe.send(0.0)
    while count := pipe.recv():
        began = time.process_time()
        for _ in range(count):
            reader.read(PAGE)
        pipe.send(time.process_time() - began)


class Processes:
    """As many processes as the service has workers, reading the same pages."""

    def __init__(self, count: int):
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=read_alone, args=(theirs,), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def read(self, pages: int) -> tuple[float, float]:
        """Seconds by the clock and by the processor."""
        began = time.perf_counter()
        share = pages // len(self._pipes)
        for pipe in self._pipes:
            pipe.send(share)
        processor = sum(pipe.recv() for pipe in self._pipes)
        return time.perf_counter() - began, processor

    def end(self) -> None:
        for pipe in self._pipes:
            pipe.send(0)
        for process in self._processes:
            process.join()


def throughput(service: RunningService, workers: int, rounds: int, pages: int) -> dict[str, Any]:
    """Pages a second, by way."""
    data = PAGE.read_bytes()
    alone = Processes(workers)
    pages -= pages % workers
    walls: dict[str, list[float]] = {"alone": [], **{str(n): [] for n in CLIENTS}}
    costs: dict[str, list[float]] = {name: [] for name in walls}
    delays: dict[str, list[float]] = {name: [] for name in walls}
    asyncio.run(load(service, data, "auto", 4, 4))  # both workers are warm
    for number in range(rounds):
        for name in list(walls) if number % 2 == 0 else reversed(list(walls)):
            if name == "alone":
                wall, cost = alone.read(pages)
            else:
                before = processor_seconds(service)
                wall, each = asyncio.run(load(service, data, "auto", int(name), pages))
                cost = processor_seconds(service) - before
                delays[name] += each
            walls[name].append(pages / wall)
            costs[name].append(cost / pages)
    alone.end()
    return {
        name: {
            "pages_a_second": float(np.median(walls[name])),
            "of_alone": ratio(walls[name], walls["alone"]),
            "processor_seconds_a_page": float(np.median(costs[name])),
            "processor_of_alone": ratio(costs[name], costs["alone"]),
            **percentiles(delays[name]),
        }
        for name in walls
    }


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios of rounds, each of which ran both."""
    return float(np.median(np.array(values) / np.array(others)))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {f"p{p}": float(np.percentile(seconds, p)) for p in (50, 95, 99)}


async def load(
    service: RunningService, data: bytes, layout: str, clients: int, requests: int
) -> tuple[float, list[float]]:
    """Seconds of so many requests by so many clients at once, and of each request."""
    delays: list[float] = []
    left = iter(range(requests))

    async def client(session: httpx.AsyncClient) -> None:
        for _ in left:
            began = time.perf_counter()
            answer = await session.post(f"/v1/read?layout={layout}", files={"file": data})
            answer.raise_for_status()
            delays.append(time.perf_counter() - began)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=service.url, timeout=600, limits=limits) as session:
        began = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        return time.perf_counter() - began, delays


def processor_seconds(service: RunningService) -> float:
    """Of the server and its workers, so far."""
    total = 0
    for pid in (service.process.pid, *service.workers()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


# ---- one line ----


def latency(service: RunningService) -> dict[str, dict[str, float]]:
    """Seconds of one line by the reader in this process and by the service, in turns."""
    from khmer_fast.recognize.reader import Reader

    reader = Reader(n_best=N_BEST, threads=1)
    data = LINE.read_bytes()
    with httpx.Client(base_url=service.url) as client:

        def ask(layout: str) -> None:
            client.post(f"/v1/read?layout={layout}", files={"file": data}).raise_for_status()

        ways = [lambda: reader.read(data), lambda: ask("line"), lambda: ask("auto")]
        for way in ways:
            way()
        times = machine.interleaved(ways, LINES)
    names = ("reader", "service", "service_auto")
    return {
        name: {f"p{p}": float(np.percentile(x, p)) for p in (10, 50)}
        for name, x in zip(names, times, strict=True)
    }


def together(folder: Path, workers: int, rounds: int) -> dict[str, float]:
    """Lines a second of 32 clients, read together and each alone, in turns."""
    data = LINE.read_bytes()
    rates: dict[str, list[float]] = {"1": [], "32": []}
    costs: dict[str, list[float]] = {"1": [], "32": []}
    services = {
        size: RunningService(folder / size, "--read-together", size, workers=workers)
        for size in rates
    }
    for service in services.values():
        wait_for_workers(service.wait_ready(), workers)
        asyncio.run(load(service, data, "line", 4, 16))
    for number in range(rounds):
        for size in list(rates) if number % 2 == 0 else reversed(list(rates)):
            before = processor_seconds(services[size])
            wall, _ = asyncio.run(load(services[size], data, "line", 32, TOGETHER))
            rates[size].append(TOGETHER / wall)
            costs[size].append((processor_seconds(services[size]) - before) / TOGETHER)
    for service in services.values():
        service.kill()
    return {
        "alone_lines_a_second": float(np.median(rates["1"])),
        "together_lines_a_second": float(np.median(rates["32"])),
        "gain": ratio(rates["32"], rates["1"]),
        "alone_processor_seconds": float(np.median(costs["1"])),
        "together_processor_seconds": float(np.median(costs["32"])),
    }


# ---- memory, first page ----


def memory(service: RunningService, requests: int) -> dict[str, float]:
    """MiB of the server and its workers after a tenth of the requests and after all of them."""
    line, page = LINE.read_bytes(), PAGE.read_bytes()

    def send(count: int) -> None:
        pages = count // PAGE_EVERY
        asyncio.run(load(service, page, "auto", 4, pages))
        asyncio.run(load(service, line, "line", 8, count - pages))

    first = requests // 10
    send(first)
    early = mebibytes(service)
    send(requests - first)
    late = mebibytes(service)
    return {"requests": requests, "early_mib": early, "late_mib": late, "growth": late / early - 1}


def mebibytes(service: RunningService) -> float:
    """Memory of the server and its workers that is their own (PSS)."""
    total = 0
    for pid in (service.process.pid, *service.workers()):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(text.partition("\nPss:")[2].split()[0])
    return total / 1024


def first_page(service: RunningService) -> dict[str, float]:
    """Seconds from sending a long PDF until its first page's text and picture are there."""
    from PIL import Image

    page = Image.open(PAGE).convert("L")
    file = io.BytesIO()
    page.save(file, "PDF", save_all=True, append_images=[page] * (PDF_PAGES - 1), resolution=150)
    began = time.perf_counter()
    made = service.make_job(file.getvalue(), "long.pdf").json()
    accepted = time.perf_counter() - began
    path = f"/v1/jobs/{made['id']}/pages/1"
    while service.client.get(path).status_code != 200:
        time.sleep(0.01)
    text = time.perf_counter() - began
    service.client.get(f"{path}/image?width=1000").raise_for_status()
    shown = time.perf_counter() - began
    service.client.delete(f"/v1/jobs/{made['id']}").raise_for_status()
    return {"pages": made["pages"], "accepted": accepted, "text": text, "shown": shown}


def report(found: dict[str, Any]) -> None:
    told = found["machine"]
    print(f"{told['processor']}, {told['cores']} cores, {told['instruction_set']}, ", end="")
    print(f"torch {told['torch']}; {found['workers']} workers; load {os.getloadavg()[0]:.1f}\n")
    print(f"{'way':>12}{'pages/s':>9}{'of alone':>10}{'CPU s/page':>12}{'of alone':>10}", end="")
    print(f"{'p50 s':>8}{'p95 s':>8}{'p99 s':>8}")
    for name, row in found["pages"].items():
        way = "processes" if name == "alone" else f"{name} client{'s' * (name != '1')}"
        print(f"{way:>12}{row['pages_a_second']:>9.2f}{row['of_alone']:>10.0%}", end="")
        print(f"{row['processor_seconds_a_page']:>12.3f}{row['processor_of_alone']:>10.0%}", end="")
        print("".join(f"{row[p]:>8.2f}" if p in row else f"{'':>8}" for p in ("p50", "p95", "p99")))
    line, gain = found["line"], found["together"]
    print(f"\n{'one line, ms':>28}{'p50':>7}{'p10':>7}")
    for name, way in (
        ("Reader.read", "reader"),
        ("POST /v1/read?layout=line", "service"),
        ("POST /v1/read?layout=auto", "service_auto"),
    ):
        print(f"{name:>28}" + "".join(f"{1000 * line[way][p]:>7.1f}" for p in ("p50", "p10")))
    print(f"lines/s of 32 clients: {gain['together_lines_a_second']:.0f} read together, ", end="")
    print(f"{gain['alone_lines_a_second']:.0f} one at a time (x{gain['gain']:.2f}); ", end="")
    print(f"CPU ms a line {1000 * gain['together_processor_seconds']:.1f}, ", end="")
    print(f"{1000 * gain['alone_processor_seconds']:.1f}")
    memory, first = found["memory"], found["first_page"]
    print(
        f"memory: {memory['early_mib']:.0f} MiB after {memory['requests'] // 10} requests, ", end=""
    )
    print(f"{memory['late_mib']:.0f} after {memory['requests']} ({memory['growth']:+.1%})")
    print(
        f"a PDF of {first['pages']} pages: accepted after {first['accepted']:.2f} s, first page's "
    )
    print(f"text after {first['text']:.2f} s, its picture after {first['shown']:.2f} s\n")


if __name__ == "__main__":
    main()
