"""Two processes by torchrun train as one does, and a dead one ends the run."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from khmer_fast.train.history import open_history
from khmer_fast.train.run import train
from khmer_fast.train.run_folder import RunFolder
from tests.test_train_run import (
    ROOT,
    TIMES,
    assert_same_run,
    command_line,
    lines,  # noqa: F401  a fixture
    options,
    quiet,
    wait_for,
)

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)
RANKS = dict(
    dtype="float64", epochs=2, batch_lines=5, accumulate=2, validate_every_steps=1, keep=20,
    rank_timeout=60.0,
)  # fmt: skip


def start(arguments: list[str], launcher: list[str], **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "khmer_fast", "train", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def torchrun(arguments: list[str]) -> subprocess.Popen:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return start(arguments, launcher)


@pytest.fixture(scope="module")
def two(lines, tmp_path_factory) -> Path:  # noqa: F811
    """A run of two processes that nothing disturbed."""
    out = tmp_path_factory.mktemp("two") / "run"
    process = torchrun(command_line(options(lines, out=out, **RANKS)))
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 0, said
    assert said.count("Done:") == 1 and "2 processes" in said  # rank 0 alone speaks
    return out


def test_two_processes_equal_one(two, lines, tmp_path):  # noqa: F811
    one = train(out=tmp_path / "one", say=quiet, **options(lines, **RANKS))
    left, right = (open_history(RunFolder(run)).records for run in (one, two))
    assert len(left) == len(right) >= 3
    for ours, theirs in zip(left, right, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - TIMES:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-9, abs=1e-12), name
    models = [RunFolder(run).load_newest().state["average"] for run in (one, two)]
    for name, tensor in models[0].items():
        torch.testing.assert_close(models[1][name], tensor, rtol=1e-6, atol=1e-9)


def test_two_processes_resume(two, lines, tmp_path):  # noqa: F811
    out = tmp_path / "run"
    process = torchrun(command_line(options(lines, out=out, **RANKS)))
    wait_for(process, "Saved checkpoint", 1)
    for pid in processes_of(out):  # torchrun, too: its options name the run
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert len(open_history(RunFolder(out)).records) < len(open_history(RunFolder(two)).records)
    process = torchrun(["--resume", str(out)])
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 0 and "Resumed from epoch" in said, said
    assert_same_run(two, out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first(lines, tmp_path, number):  # noqa: F811
    out = tmp_path / "run"
    process = torchrun(command_line(options(lines, out=out, **{**RANKS, "epochs": 1000})))
    wait_for(process, "Saved checkpoint", 1)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1 and f"{number.name}: saved a checkpoint at step" in said, said
    (step,) = set(re.findall(r"saved a checkpoint at step (\d+)", said))  # one on all ranks
    assert RunFolder(out).load_newest().state["progress"]["step"] == int(step)


def processes_of(out: Path) -> list[int]:
    """Processes whose command line names `out`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(out) in command:
                found.append(int(entry.name))
    return found


def test_a_dead_process_ends_the_run(lines, tmp_path):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    values = options(lines, out=tmp_path / "run", **{**RANKS, "epochs": 1000, "rank_timeout": 20.0})
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    first, second = (
        start(command_line(values), [], RANK=str(rank), LOCAL_RANK=str(rank), **place)
        for rank in range(2)
    )
    try:
        wait_for(first, "Saved checkpoint", 2)
        second.kill()
        said = first.communicate(timeout=60)[1]
        assert first.returncode == 1
        assert "rank 0 lost the others" in said and "--resume" in said
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert RunFolder(tmp_path / "run").load_newest().state["progress"]["step"] >= 2
