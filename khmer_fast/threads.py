"""How many threads compute: the processors that this process may use, shared by all its readers.

Torch's number of threads is the host program's: neither importing the library nor making a Reader
changes it. `khmer-fast`, which owns its process, sets it to `default_threads`.
"""

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


def mend_after_fork() -> None:
    """Lets torch compute in a forked child: with one thread, once; elsewhere nothing happens.

    OpenMP's threads do not live on in a child, and torch would wait for them for ever.
    """
    global _process
    if os.getpid() != _process:
        import torch

        torch.set_num_threads(1)
        _process = os.getpid()


_process = os.getpid()  # that torch can compute in with all its threads


class Share:
    """Lets callers work while what they take together fits a total: threads, or bytes.

    One who asks for more than there is waits until the others are done, and then works alone. A
    forked child has a share of its own: what its parent's threads held is never given back there.
    """

    def __init__(self, total: int):
        self.total = total
        self._uses: dict[int, _Use] = {}  # by process

    @contextlib.contextmanager
    def of(self, part: int) -> Iterator[None]:
        """Waits for `part` of the total and holds it."""
        process = os.getpid()
        use = self._uses.get(process) or self._uses.setdefault(process, _Use())
        with use.changed:
            use.changed.wait_for(lambda: not use.taken or use.taken + part <= self.total)
            use.taken += part
        try:
            yield
        finally:
            with use.changed:
                use.taken -= part
                use.changed.notify_all()


class _Use:
    """What is taken of a share in one process."""

    def __init__(self) -> None:
        self.taken = 0
        self.changed = threading.Condition()
