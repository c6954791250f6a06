"""A service in a process of its own, as a user starts it, for tests with real requests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import httpx

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds


class RunningService:
    """`khmer-fast serve` on a free port; its stderr goes to a file in the folder above its data."""

    def __init__(self, data: Path, *options: str, workers: int = 1, port: int = 0):
        self.data, self.log = data, data.parent / f"{data.name}.log"
        command = [
            sys.executable, "-m", "khmer_fast", "serve", "--port", str(port), "--data", str(data),
            "--workers", str(workers), *options,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("khmer-fast: http://"), said + self.log.read_text()
        self.url = said.split()[1].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE)

    def wait_ready(self) -> RunningService:
        wait_for(lambda: self.client.get("/ready").status_code == 200)
        return self

    def read(self, file: bytes, name: str = "page.png", **fields: str) -> httpx.Response:
        return self.client.post("/v1/read", files={"file": (name, file)}, data=fields)

    def make_job(self, file: bytes, name: str = "page.png", **fields: str) -> httpx.Response:
        return self.client.post("/v1/jobs", files={"file": (name, file)}, data=fields)

    def finished(self, id: str) -> dict:
        """The job, once all its pages are read."""
        return wait_for(lambda: (job := self.job(id))["status"] in ("done", "failed") and job)

    def job(self, id: str) -> dict:
        return self.client.get(f"/v1/jobs/{id}").json()

    def workers(self) -> list[int]:
        """Ids of its worker processes."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                parent = status.read_text().partition("PPid:\t")[2].partition("\n")[0]
                command = (status.parent / "cmdline").read_bytes()
            except OSError:  # it ended just now
                continue
            if int(parent) == self.process.pid and b"spawn_main" in command:
                found.append(int(status.parent.name))
        return found

    def kill(self) -> None:
        """Ends the server as a power cut does; its workers end by themselves."""
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self) -> int:
        """Ends the server as a system does; its exit code."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def __enter__(self) -> RunningService:
        return self.wait_ready()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()


def wait_for(question, seconds: float = PATIENCE):
    """What `question()` answers, once that is true."""
    end = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return answer


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
