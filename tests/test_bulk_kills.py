"""Bulk runs that are disturbed, by processes and by a real local Ray: the script, short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

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
