"""Bulk runs that are disturbed, by processes and by a real local Ray: the script, short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow")

from khmer_fast.bulk import local, ray_data, worker
from khmer_fast.bulk.records import DONE, FAILED, parts, read_rows
from khmer_fast.cli import main
from tests.conftest import draw

ROOT = Path(__file__).resolve().parents[1]


def disturb(tiny_weights: Path, *arguments: str) -> dict:
    """What the script did, after it found all rows equal."""
    command = [sys.executable, str(ROOT / "scripts/kill_bulk.py"), *arguments]
    for option in (f"--weights={tiny_weights}", "--beam=1", "--workers=2"):
        command.append(f"--option={option}")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_is_lost_by_processes(tiny_weights):
    log = disturb(
        tiny_weights, "workers", "runs", "disk", "file", "--pages", "120",
        "--minutes", "0.1", "--interval", "2", "--kills", "3", "--kill-within", "5",
    )  # fmt: skip
    assert log["workers"]["killed"] >= 1 and log["runs"]["killed"] == 3
    assert log["disk"]["kept of the full disk"] < 120 and log["file"]["failed rows"] >= 3


def test_nothing_is_lost_by_ray(tiny_weights):
    pytest.importorskip("ray")
    log = disturb(tiny_weights, "node", "--pages", "90", "--nodes", "1")
    assert log["node"]["removed"] == 1


FRAMES, READ = 400, 20  # of a file, and those after which an interruption comes
POISON = 2  # a page that kills whoever reads it


def read_or_die(reader, file, path, pages, *rest):
    if POISON in pages:
        os.kill(os.getpid(), signal.SIGKILL)
    return READ_PAGES(reader, file, path, pages, *rest)


def look_or_die(source):
    if source.endswith("poison.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return FACTS_OF(source)


READ_PAGES, FACTS_OF, OPEN_WORKER = worker.read_pages, worker.facts_of, local._open_worker


def open_poisoned_worker(*arguments) -> None:
    worker.read_pages, worker.facts_of = read_or_die, look_or_die
    OPEN_WORKER(*arguments)


def poisoned_facts(row):
    ray_data.facts_of = look_or_die
    return RAY_FACTS(row)


RAY_FACTS = ray_data._facts


def read_slowly(reader, file, path, pages, *rest):
    """Says that READ pages are read, and takes its time for the others."""
    for n, record in enumerate(READ_PAGES(reader, file, path, pages, *rest), 1):
        yield record
        if n == READ:
            Path(file.source).with_suffix(".read").touch()
        if n >= READ:
            time.sleep(0.05)


def open_slow_worker(*arguments) -> None:
    worker.read_pages = read_slowly
    OPEN_WORKER(*arguments)


class SlowReadTask(ray_data.ReadTask):
    def __call__(self, row):
        worker.read_pages = read_slowly
        return super().__call__(row)


def main_slowly(arguments: list[str]) -> int:
    """`khmer-fast` whose workers, of either kind, read slowly."""
    local._open_worker, ray_data.ReadTask = open_slow_worker, SlowReadTask
    return main(arguments)


class PoisonedReadTask(ray_data.ReadTask):
    def __call__(self, row):
        worker.read_pages = read_or_die
        return super().__call__(row)


@pytest.mark.parametrize("how", ["processes", "ray"])
def test_what_kills_its_worker_is_blamed_alone(how, tiny_weights, tmp_path, monkeypatch):
    frames = [Image.fromarray(draw(f"Frame {i}")) for i in range(7 if how == "processes" else 2)]
    frames[0].save(tmp_path / "frames.tiff", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "other.png")
    frames[0].save(tmp_path / "poison.png")
    out = tmp_path / "out"
    arguments = ["bulk", str(tmp_path), "--out", str(out), "--weights", str(tiny_weights)]
    arguments += ["--beam", "1", "--workers", "1"]
    if how == "ray":
        ray = pytest.importorskip("ray")
        monkeypatch.setattr(ray_data, "ReadTask", PoisonedReadTask)
        monkeypatch.setattr(ray_data, "_facts", poisoned_facts)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        try:
            assert main([*arguments, "--ray"]) == 1
        finally:
            ray.shutdown()
    else:
        monkeypatch.setattr(local, "_open_worker", open_poisoned_worker)
        assert main(arguments) == 1
    found = {(Path(r["source"]).name, r["page"]): r for r in read_rows(parts(out / "results"))}
    assert len(found) == len(frames) + 2
    failed = {key: row["error"] for key, row in found.items() if row["status"] == FAILED}
    assert failed.keys() == {("frames.tiff", POISON), ("poison.png", 0)}
    assert all("died" in error for error in failed.values())
    assert found["other.png", 1]["status"] == DONE


@pytest.mark.parametrize("how", ["processes", "ray"])
def test_interrupting_keeps_the_finished_pages_of_a_task(how, tiny_weights, tmp_path):
    if how == "ray":
        pytest.importorskip("ray")
    frames = [Image.fromarray(draw(f"Frame {i}")) for i in range(FRAMES)]
    frames[0].save(tmp_path / "frames.tiff", save_all=True, append_images=frames[1:])
    out, halfway = tmp_path / "out", tmp_path / "frames.read"
    arguments = ["bulk", str(tmp_path), "--out", str(out), "--weights", str(tiny_weights)]
    arguments += ["--beam", "1", "--workers", "1", "--pages-per-task", str(FRAMES)]
    arguments += ["--ray"] if how == "ray" else []
    code = "import sys; from tests.test_bulk_kills import main_slowly as main; sys.exit(main({}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code.format(arguments)], stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    while not halfway.exists() and process.poll() is None:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    seconds = time.monotonic() - began
    assert process.returncode == 130 and "the same command goes on" in said
    others = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert seconds < 5 * others, f"{seconds:.1f} s beside a load of {others:.1f} a processor"
    kept = [row["page"] for row in read_rows(parts(out / "results"))]
    assert READ <= len(kept) < FRAMES


def test_the_example_of_a_cluster_is_one():
    util = pytest.importorskip("ray.autoscaler._private.util")
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / "examples/ray_cluster.yaml").read_text("utf-8"))
    util.validate_config(util.prepare_config(config))
    with pytest.raises(Exception, match="max_wrkers"):
        util.validate_config(util.prepare_config(config | {"max_wrkers": 2}))
    types = config["available_node_types"]
    machines, processors = types["reader"]["max_workers"], types["reader"]["resources"]["CPU"]
    text = (ROOT / "examples/ray_cluster.yaml").read_text("utf-8")
    assert f"--workers {machines * processors}" in text
