import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from khmer_fast.threads import Share, usable_processors

ROOT = Path(__file__).parents[1]
HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
pytestmark = pytest.mark.skipif(HERE < 2, reason="needs two processors of Linux")


def cgroups(folder, lines, files):
    """A process's cgroup file and the folder of cgroups with `files` in it."""
    for name, text in files.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "cgroup").write_text(lines)
    return usable_processors(folder / "cgroup", folder / "root")


@pytest.mark.parametrize(
    "lines, files, expected",
    [
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n"}, 1),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/a/b\n", {"cpu.max": "120000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, HERE),
        ("0::/\n", {"cpu.max": "rubbish"}, HERE),
        ("0::/gone\n", {}, HERE),
        ("4:cpu,cpuacct:/d\n2:memory:/d\n",
         {"cpu/d/cpu.cfs_quota_us": "100000", "cpu/d/cpu.cfs_period_us": "100000"}, 1),
        ("4:cpu,cpuacct:/d\n",
         {"cpu/d/cpu.cfs_quota_us": "-1", "cpu/d/cpu.cfs_period_us": "100000"}, HERE),
    ],
)  # fmt: skip
def test_quota_of_a_container_is_obeyed(tmp_path, lines, files, expected):
    assert cgroups(tmp_path, lines, files) == expected


def test_without_cgroups_affinity_counts(tmp_path):
    assert usable_processors(tmp_path / "nothing", tmp_path) == HERE


@pytest.mark.parametrize("threads, together", [(1, 2), (2, 1), (7, 1)])
def test_share_never_gives_more_than_there_are(threads, together):
    share, lock = Share(2), threading.Lock()
    now, most = 0, 0

    def compute(_):
        nonlocal now, most
        with share.of(threads):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(compute, range(12)))
    assert most == together and now == 0


def test_share_is_given_back_after_an_error():
    share = Share(1)
    for _ in range(3):
        with pytest.raises(KeyError), share.of(1):
            raise KeyError


def test_two_readers_in_two_threads_read_the_same_and_share_the_processors(
    tiny_weights, line_image
):
    from khmer_fast import Reader
    from khmer_fast.recognize.engine import CpuEngine, choose
    from khmer_fast.weights import load_weights

    lock, now, most = threading.Lock(), 0, 0

    class Watched(CpuEngine):
        def encode(self, batch):
            nonlocal now, most
            with lock:
                now += self.threads
                most = max(most, now)
            encoded = super().encode(batch)
            with lock:
                now -= self.threads
            return encoded

    weights = load_weights(tiny_weights)
    readers = [Reader(weights, engine=Watched(weights, choose("cpu"))) for _ in range(2)]
    expected = readers[0].read(line_image)
    with ThreadPoolExecutor(2) as pool:
        lines = list(pool.map(lambda i: readers[i % 2].read(line_image), range(20)))
    assert lines == [expected] * 20
    assert 0 < most <= usable_processors()


_GUEST = """
import os, torch
torch.set_num_threads(2)
hooks = []
os.register_at_fork = lambda **hook: hooks.append(hook)
import khmer_fast
from khmer_fast import Reader
before = torch.get_num_threads(), torch.get_num_interop_threads(), dict(os.environ)
reader = Reader({weights!r})
reader.read({image!r})
after = torch.get_num_threads(), torch.get_num_interop_threads(), dict(os.environ)
assert before == after, (before, after)
assert not hooks, hooks
"""


def test_a_guest_changes_nothing_of_its_process(tiny_weights, line_image, tmp_path):
    """Neither importing the library nor making a Reader or reading sets anything of the host's."""
    path = tmp_path / "line.png"
    Image.fromarray(line_image).save(path)
    code = _GUEST.format(weights=str(tiny_weights), image=str(path))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_a_forked_process_reads(tiny_weights, line_image):
    from khmer_fast import Reader

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        reader = Reader(tiny_weights)
        wide = np.tile(line_image, (1, 8))  # enough work for both threads
        expected = reader.read(wide)
        Reader(tiny_weights, backend="reference").read(wide)  # OpenMP has its threads
        child = os.fork()
        if not child:
            try:
                same = reader.read(wide) == expected == Reader(tiny_weights).read(wide)
                plain = Reader(tiny_weights, backend="reference")  # torch's own threads
                same = same and plain.read(wide).text == expected.text
            finally:
                os._exit(0 if same else 1)
        end = time.monotonic() + 60
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                pytest.fail("the forked process hangs")
            time.sleep(0.05)
        assert os.waitstatus_to_exitcode(ended[1]) == 0
    finally:
        torch.set_num_threads(threads)
