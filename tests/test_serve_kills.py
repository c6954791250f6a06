"""Servers and workers that are killed: no job is lost, none done twice, no other request fails."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pypdfium2")

from scripts import kill_serve
from tests.support.service import RunningService, alive, wait_for

ROOT = Path(__file__).resolve().parents[1]
LINE = (ROOT / "examples" / "line.png").read_bytes()


def test_kills_at_random_moments(tmp_path):
    assert kill_serve.run(tmp_path, kills=4, jobs=6, seed=5) == []


def test_a_worker_that_dies_costs_no_request(tmp_path):
    """Requests that were with it are answered by its successor."""
    page = (ROOT / "examples" / "page.png").read_bytes()
    with RunningService(tmp_path / "data") as service:
        (worker,) = service.workers()
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(service.read(page))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: service.client.get("/health").status_code == 200)
        os.kill(worker, signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 3
        assert service.workers() != [worker]
        assert "khmer_fast_worker_deaths_total 1.0" in service.client.get("/metrics").text


def test_a_server_that_dies_takes_its_workers_along_and_is_resumed(tmp_path):
    service = RunningService(tmp_path / "data").wait_ready()
    id = service.make_job(kill_serve.law(), "law.pdf").json()["id"]
    workers = service.workers()
    service.kill()
    wait_for(lambda: not any(map(alive, workers)), 30)
    with RunningService(tmp_path / "data") as service:
        job = service.finished(id)
        assert job["status"] == "done" and job["done"] == kill_serve.PAGES


def test_workers_are_replaced_after_so_many_pages(tmp_path):
    with RunningService(tmp_path / "data", "--restart-after", "3") as service:
        seen = set()
        for _ in range(8):
            assert service.read(LINE, layout="line").status_code == 200
            seen.update(service.workers())
        assert len(seen) >= 3
        assert "khmer_fast_worker_deaths_total 0.0" in service.client.get("/metrics").text


def test_weights_that_cannot_be_loaded_are_said(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    service = RunningService(tmp_path / "data", "--weights", str(tmp_path / "bad.safetensors"))
    try:
        told = wait_for(lambda: service.client.get("/ready").json()["failure"])
        assert "bad.safetensors" in told
        assert service.client.get("/ready").status_code == 503
        assert service.client.get("/health").status_code == 200
    finally:
        service.kill()


def test_jobs_go_when_their_time_is_over(tmp_path):
    service = RunningService(tmp_path / "data", "--keep-days", "0.00003").wait_ready()  # 2.6 s
    id = service.make_job(LINE, "line.png").json()["id"]
    service.kill()
    with RunningService(tmp_path / "data") as service:
        wait_for(lambda: service.client.get(f"/v1/jobs/{id}").status_code == 404, 70)
        assert list((tmp_path / "data" / "jobs").iterdir()) == []
