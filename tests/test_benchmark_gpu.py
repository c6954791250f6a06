"""`benchmarks.gpu` without a GPU: calls run, are killed and go on; what cannot run is not run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest

from benchmarks import gpu, gpu_rehearsal
from benchmarks.gpu_rehearsal import DoesNotHold, records, rehearse, survivors
from benchmarks.gpu_report import fastest, write_report
from benchmarks.gpu_run import NotRun, Options, PartFailed, run_limited
from benchmarks.gpu_speed import Kept

DRY = ["--device", "cpu", "--quick"]


def state(folder, part: str) -> str:
    return json.loads((folder / f"{part}.json").read_text())["state"]


def test_first_call_runs_and_stands(tmp_path, capsys):
    """Parity is good, what needs a GPU is not run, and a second time nothing that was good runs."""
    only = ["environment", "build", "smoke", "parity", "tests"]
    arguments = ["--out", str(tmp_path), "--call", "1", "--only", *only, *DRY]
    assert gpu.main(arguments) == gpu.NOT_ALL_RAN
    assert {part: state(tmp_path, part) for part in only} == dict.fromkeys(only, "good") | {
        "tests": "not run"
    }
    assert json.loads((tmp_path / "parity.json").read_text())["found"]["lines"] > 10
    text = (tmp_path / "gpu.md").read_text()
    assert "no number here is a measurement" in text and "| racecheck | not run |" in text
    with tarfile.open(tmp_path / "call_1.tar.gz") as tar:
        assert {"gpu.md", "gpu.json", "parity.json", "parity.log"} <= set(tar.getnames())
    capsys.readouterr()
    assert gpu.main(arguments) == gpu.NOT_ALL_RAN
    said = capsys.readouterr().out
    assert said.count("stands") == 4 and "4 good, tests not run" in said
    assert gpu.main([*arguments[:5], "smoke", *DRY]) == 0


def test_speed_parts(tmp_path):
    for part in ("table", "profile", "counters", "variants"):
        out = ["--out", str(tmp_path), "--part", part, *DRY]
        assert gpu.main(out) == 0, (tmp_path / f"{part}.json").read_text()
    rows = json.loads((tmp_path / "table.json").read_text())["found"]["rows"]
    assert {r["engine"] for r in rows} == {"ours float32", "eager float32"}
    assert all(r["V"] == 48 and r["p99_ms"] >= r["ms"] and r["parents"] >= 1 for r in rows)
    assert state(tmp_path, "counters") == state(tmp_path, "variants") == "not run"


def test_killed_table_goes_on_where_it_was(tmp_path):
    """A row that is there is not measured again, one that was written in part is."""
    rows = tmp_path / "table.rows.jsonl"
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", "table", "--out", str(tmp_path)]
    process = subprocess.Popen([*command, *DRY], cwd=gpu.gpu_proof.ROOT)
    end = time.monotonic() + 120
    while time.monotonic() < end and not (rows.exists() and "\n" in rows.read_text()):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = Kept(rows).rows
    assert before and not (tmp_path / "table.json").exists()
    with rows.open("a") as file:
        file.write('[{"sizes": "qui')
    assert gpu.main([*command[3:], *DRY]) == 0
    after = json.loads((tmp_path / "table.json").read_text())["found"]["rows"]
    assert after[: len(before)] == before and len(after) > len(before)


def test_killed_part_is_failed_with_its_rows(tmp_path):
    Kept(tmp_path / "table.rows.jsonl").add([{"B": 1}])
    options = Options(tmp_path, "cpu", quick=True)
    assert gpu.run_call({"table": 0.5}, options, again=False) == {"table": "failed"}
    record = json.loads((tmp_path / "table.json").read_text())
    assert record["state"] == "failed" and "stopped after" in record["error"]
    assert record["found"] == {"rows": [{"B": 1}]}


def test_children_of_a_stopped_process_end_with_it(tmp_path):
    """A sanitizer's or a compiler's children do not live on."""
    pid = tmp_path / "pid"
    command = ["sh", "-c", f"sleep 60 & echo $! > {pid}; echo said; wait"]
    ended = run_limited(command, tmp_path / "log", 0.5)
    assert ended.code is None and ended.said == "said\n"
    end = time.monotonic() + 5
    while time.monotonic() < end and os.path.exists(f"/proc/{pid.read_text().strip()}"):
        status = open(f"/proc/{pid.read_text().strip()}/status").read()
        if "\nState:\tZ" in status:
            break
        time.sleep(0.05)
    else:
        assert not os.path.exists(f"/proc/{pid.read_text().strip()}")


def test_nothing_runs_where_nothing_was_built(tmp_path, monkeypatch, capsys):
    """What was not reached is not run, in the report and for who started the call."""

    monkeypatch.setattr(gpu, "part_command", lambda name, _: [sys.executable, "-c", "exit(3)"])
    options = Options(tmp_path, "cpu", quick=True)
    states = gpu.run_call({"build": 20, "smoke": 20}, options, again=False)
    assert states == {"build": "failed", "smoke": "not run"}
    assert "smoke: not run, nothing was built" in capsys.readouterr().out
    assert write_report(options, gpu.PARTS)["parts"]["smoke"]["state"] == "not run"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotRun("no ncu"), "not run"),
        (ModuleNotFoundError("No module named 'rapidfuzz'"), "not run"),
        (PartFailed("differs", {"rows": [1]}), "failed"),
        (ZeroDivisionError(), "failed"),
    ],
)
def test_states(tmp_path, monkeypatch, error, expected):
    def work(options):
        raise error

    monkeypatch.setitem(gpu.PARTS, "reading", work)
    code = gpu.run_part("reading", Options(tmp_path, "cpu"))
    assert state(tmp_path, "reading") == expected and code == (expected == "failed")
    found = json.loads((tmp_path / "reading.json").read_text())["found"]
    assert found == getattr(error, "found", {})


def test_calls_fit():
    """The limits of a call's parts fit into ten minutes together, all calls into half an hour, and
    every part is in one."""
    assert all(sum(parts.values()) <= 600 for parts in gpu.CALLS.values())
    once = sum(sum(parts.values()) for parts in gpu.CALLS.values()) - 3 * gpu.BEFORE["build"]
    assert once <= 30 * 60
    assert {name for parts in gpu.CALLS.values() for name in parts} == set(gpu.PARTS)


def test_killed_call_is_repeated(tmp_path):
    """`benchmarks.gpu_rehearsal` does so with all calls; here with a short one."""
    rows = rehearse(tmp_path, "cpu", [2], after=0.3)
    states = {x.part: x.state for x in rows}
    assert states == {"environment": "good", "build": "good", "profile": "good",
                      "counters": "not run"}  # fmt: skip
    assert sum(bool(x.killed_in) for x in rows) >= 2


def test_rehearsal_sees_what_must_not_be(tmp_path, monkeypatch):
    """A call that calls it good, or well, what did not run; a process behind a killed call."""
    program = (
        "import json, pathlib, sys, tarfile\n"
        "out = pathlib.Path(sys.argv[1])\n"
        "for part in ('environment', 'build', 'profile', 'counters'):\n"
        "    (out / f'{part}.log').touch()\n"
        "    state = 'STATE' if part == 'profile' else 'good'\n"
        "    record = dict(state=state, error='', seconds=0, found={})\n"
        "    whole = out / f'{part}.whole'\n"
        "    whole.write_text(json.dumps(record))\n"
        "    whole.replace(out / f'{part}.json')\n"
        "tarfile.open(out / 'call_2.tar.gz', 'w:gz').close()\n"
        "sys.exit(STATUS)\n"
    )
    for state, status, expected in (
        ("good", 2, "gave 2 with"), ("not run", 0, "profile did not run"), ("good", 0, "lacks"),
        ("good", 1, "call 2 gave 1"),
    ):  # fmt: skip
        out = tmp_path / f"{state}{status}"
        out.mkdir()
        planted = program.replace("STATE", state).replace("STATUS", str(status))
        command = [sys.executable, "-c", planted, str(out)]
        monkeypatch.setattr(gpu_rehearsal, "command_of", lambda *_, c=command: c)
        with pytest.raises(DoesNotHold, match=expected):
            rehearse(out, "cpu", [2], after=0)
    process = subprocess.Popen([sys.executable, "-c", "input()", str(out)], stdin=subprocess.PIPE)
    while not survivors(out):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not survivors(out)
    (out / "build.json").write_text('{"state": "goo')
    with pytest.raises(DoesNotHold, match="not whole"):
        records(out)


def test_each_sanitizer_loop_is_kept(tmp_path, monkeypatch):
    """One that does not end, or finds something, does not lose what the others found."""
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        "#!/bin/sh\necho $KHMER_FAST_CUDA_LOOP\n"
        "case $KHMER_FAST_CUDA_LOOP in graph) sleep 60 & wait ;; persistent) exit 9 ;; esac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(PartFailed, match="memcheck failed in the loop persistent") as failed:
        gpu.gpu_proof.sanitizer("memcheck", Options(tmp_path, "cuda"), 3)
    exits = {loop: x["exit"] for loop, x in failed.value.found.items()}
    assert exits == {"plain": 0, "graph": "not run", "persistent": 9}
    assert json.loads((tmp_path / "memcheck.loops.json").read_text())["plain"]["exit"] == 0


def test_report_names_the_fastest_loop(tmp_path):
    rows = [
        dict(sizes="512", case="forced", dtype="bfloat16", K=5, B=B, loop=loop, ms=ms,
             spread_ms=0.1, us_a_step=ms, engine=f"ours bfloat16 {loop}")
        for B, loop, ms in ((1, "plain", 6.0), (1, "persistent", 1.5), (256, "plain", 4.0),
                            (256, "graph", 5.0))
    ]  # fmt: skip
    rows.append(dict(rows[0], engine="eager step", ms=0.1))
    del rows[-1]["loop"]
    best = fastest(rows)
    assert [(r["B"], r["loop"], r["times_plain"]) for r in best] == [
        (1, "persistent", 4.0), (256, "plain", 1.0)
    ]  # fmt: skip
    record = {"state": "good", "found": {"rows": rows}, "seconds": 1.0}
    (tmp_path / "table.json").write_text(json.dumps(record))
    write_report(Options(tmp_path, "cuda"), gpu.PARTS)
    assert "| bfloat16 | 5 | 1 | persistent | 1.5 | 4.0 |" in (tmp_path / "gpu.md").read_text()
