"""How many threads compute: the processors that this process may use, shared by all its readers."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path


def usable_processors(cgroup: Path = Path("/proc/self/cgroup"), root: Path | None = None) -> int:
    """Processors of this process: its affinity, and the quota of its cgroups (v1 and v2) upwards.

    A container held to 2 processors of 64 shows 64 to everyone who does not ask its cgroup.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        count = os.cpu_count() or 1
    for limit in _quotas(cgroup, root or Path("/sys/fs/cgroup")):
        count = min(count, max(1, math.ceil(limit)))
    return count


def _quotas(cgroup: Path, root: Path) -> Iterator[float]:
    """Processors that each cgroup above this process grants."""
    try:
        lines = cgroup.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        here = top / name.lstrip("/")
        for folder in (here, *here.parents):
            with contextlib.suppress(OSError, ValueError):
                if controllers:
                    quota = int((folder / "cpu.cfs_quota_us").read_text())
                    period = int((folder / "cpu.cfs_period_us").read_text())
                else:
                    quota, period = map(int, (folder / "cpu.max").read_text().split())
                if quota > 0 and period > 0:
                    yield quota / period
            if folder == top:
                break


def default_threads() -> int:
    """Torch's number of threads, held to the processors; OMP_NUM_THREADS is obeyed as it is."""
    import torch

    threads = torch.get_num_threads()
    return threads if "OMP_NUM_THREADS" in os.environ else min(threads, usable_processors())


class Share:
    """Lets callers compute while their threads together fit the processors.

    One who asks for more than there are waits until the others are done, and then computes alone.
    """

    def __init__(self, processors: int):
        self.processors = processors
        self._busy = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, threads: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(
                lambda: not self._busy or self._busy + threads <= self.processors
            )
            self._busy += threads
        try:
            yield
        finally:
            with self._changed:
                self._busy -= threads
                self._changed.notify_all()
