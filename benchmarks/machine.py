"""What the machine at hand can do, measured in the same run as what is compared to it."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from khmer_fast import ops


def describe() -> dict[str, object]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "instruction_set": ops.instruction_set(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def best_of(run: Callable[[], object], seconds: float) -> float:
    """Shortest time of a call, in seconds, over calls that take `seconds` together."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def peak_flops(seconds: float = 0.5) -> float:
    """Float32 operations a second of one thread: torch's own large product, or ours if faster."""
    a, b, out = torch.randn(384, 384), torch.randn(384, 384), torch.empty(384, 384)
    of_torch = 2 * 384**3 / best_of(lambda: torch.mm(a, b, out=out), seconds)
    return max(of_torch, ops.peak_flops(seconds))


def read_bandwidth(size: int, seconds: float = 0.5) -> float:
    """Bytes a second that one thread reads from `size` bytes over and over."""
    x = torch.ones(size // 4)
    return size / best_of(lambda: torch.dot(x, x), seconds) if size else float("inf")


def gain_of_two_threads(seconds: float = 1.0) -> float:
    """How much more two independent arithmetic loops get done than one."""
    a, b = torch.randn(256, 256), torch.randn(256, 256)

    def loop(counts: list[int], at: int) -> None:
        out, end = torch.empty(256, 256), time.perf_counter() + seconds
        while time.perf_counter() < end:
            torch.mm(a, b, out=out)
            counts[at] += 1

    one, two = [0], [0, 0]
    loop(one, 0)
    threads = [threading.Thread(target=loop, args=(two, i)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(two) / one[0]


def interleaved(
    runs: Sequence[Callable[[], object]], rounds: int, seconds: float = 0.0
) -> list[list[float]]:
    """Times of each run in seconds: A B C, A B C, ..., for `rounds` rounds and at least `seconds`.

    Every other round goes backwards, so that no run always follows the same one.
    """
    times: list[list[float]] = [[] for _ in runs]
    end, done = time.perf_counter() + seconds, 0
    while done < rounds or time.perf_counter() < end:
        order = range(len(runs)) if done % 2 == 0 else range(len(runs) - 1, -1, -1)
        for i in order:
            start = time.perf_counter()
            runs[i]()
            times[i].append(time.perf_counter() - start)
        done += 1
    return times


@contextmanager
def one_core() -> Iterator[int | None]:
    """All threads of this process, and what it starts, on its idlest core; gives its number.

    None, and no such promise, where the system cannot do it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if not hasattr(os, "sched_setaffinity") or not Path("/proc/self/task").exists():
            yield None
            return
        allowed = os.sched_getaffinity(0)
        core = idlest_core(allowed)
        _move_threads({core})
        try:
            yield core
        finally:
            _move_threads(allowed)
    finally:
        torch.set_num_threads(threads)


def idlest_core(cores: set[int], seconds: float = 0.5) -> int:
    """The core that had the least to do for a while, so that no other load decides the figures."""
    before = _idle_ticks()
    time.sleep(seconds)
    after = _idle_ticks()
    return max(cores, key=lambda core: (after.get(core, 0) - before.get(core, 0), core))


def _idle_ticks() -> dict[int, int]:
    rows = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    return {int(row[0][3:]): int(row[4]) for row in rows if row and row[0][3:].isdigit()}


def _move_threads(cores: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:  # it ended meanwhile
            continue
