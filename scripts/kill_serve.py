"""Kills a service's server or workers with SIGKILL at random moments while clients make jobs.

python -m scripts.kill_serve --kills 30

Checks that at the end every job is there once, every page of it was read once, every correction is
kept, and no process is left over. Exits with 1 and says why otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx

from tests.support.pdfs import pdf_bytes
from tests.support.service import RunningService, alive, wait_for

PAGES = 4  # of each job
CORRECTED = "ក"


def law() -> bytes:
    """A PDF of PAGES pages."""
    return pdf_bytes([b"BT /F1 24 Tf 20 300 Td (Page %d) Tj ET" % n for n in range(PAGES)])


class Clients:
    """Makes jobs and corrects them, as a client that asks again until it is answered."""

    def __init__(self, port: int, jobs: int):
        self._url = f"http://127.0.0.1:{port}"
        self._jobs = jobs
        self.ids: list[str] = []  # of the jobs that it was told of
        self.corrected: list[str] = []
        self.wrong: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Waits until all of it is done."""
        self._thread.join(600)
        if self._thread.is_alive():
            self.wrong.append("the clients did not come to an end")

    def _run(self) -> None:
        file = {"file": ("law.pdf", law())}
        for number in range(self._jobs):
            headers = {"Idempotency-Key": f"job-{number}"}
            made = self._ask("POST", "/v1/jobs", files=file, headers=headers)
            self.ids.append(made.json()["id"])
            self._correct(self.ids[-1])

    def _correct(self, id: str) -> None:
        """Corrects the first page as soon as it is read; a 412 means that an earlier try came
        through without its answer."""
        path = f"/v1/jobs/{id}/pages/1"
        while (page := self._ask("GET", path)).status_code == 409:
            time.sleep(0.05)
        record = page.json()
        record["regions"][0]["lines"][0]["text"] = CORRECTED
        answer = self._ask("PUT", path, json=record, headers={"If-Match": page.headers["etag"]})
        if answer.status_code not in (200, 412):
            self.wrong.append(f"a correction was refused: {answer.text}")
        self.corrected.append(id)

    def _ask(self, method: str, path: str, **more) -> httpx.Response:
        while True:
            with suppress(httpx.TransportError), httpx.Client(timeout=30) as client:
                answer = client.request(method, self._url + path, **more)
                if answer.status_code < 500:
                    return answer
            time.sleep(0.1)


def run(folder: Path, kills: int, jobs: int, seed: int, pause: float = 1.5) -> list[str]:
    """What went wrong while `jobs` were made and `kills` processes killed."""
    chance = random.Random(seed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = RunningService(folder / "data", workers=2, port=port)
    clients = Clients(port, jobs)
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    for _ in range(kills):
        time.sleep(chance.uniform(0.05, pause))
        workers = service.workers()
        seen.update(workers)
        if workers and chance.random() < 0.6:
            with suppress(ProcessLookupError):  # it ended with its server
                os.kill(chance.choice(workers), signal.SIGKILL)
            counts["worker"] += 1
        else:
            service.kill()
            service = RunningService(folder / "data", workers=2, port=port)
            counts["server"] += 1
    clients.join()
    wrong = clients.wrong + _checked(service, clients, jobs, counts["server"])
    seen.update(service.workers())
    service.kill()
    wait_for(lambda: not any(map(alive, seen)), 60)
    print(f"killed: {counts['worker']} workers, {counts['server']} servers; {jobs} jobs")
    return wrong


def _checked(service: RunningService, clients: Clients, jobs: int, kills: int) -> list[str]:
    wrong = []
    found = [job["id"] for job in service.client.get("/v1/jobs?limit=10000").json()["jobs"]]
    if sorted(found) != sorted(clients.ids) or len(found) != jobs:
        wrong.append(f"{jobs} jobs were made, {len(clients.ids)} told of, {len(found)} are there")
    for id in found:
        job = service.finished(id)
        if job["done"] != PAGES:
            wrong.append(f"of job {id} {job['done']} of {PAGES} pages were read: {job}")
    for id in clients.corrected:
        page = service.client.get(f"/v1/jobs/{id}/pages/1").json()
        text = page["regions"][0]["lines"][0]["text"]
        if page["revision"] != 2 or text != CORRECTED:
            wrong.append(f"job {id}: its correction is lost or twice there: {page['revision']}")
    times: Counter[tuple[str, int]] = Counter()
    for line in service.log.read_text().splitlines():
        with suppress(ValueError):  # a line that a kill cut off, and tracebacks of children
            record = json.loads(line)
            if record.get("event") == "page":
                times[record["job"], record["page"]] += 1
    wrong += [f"page {page} was kept {count} times" for page, count in times.items() if count > 1]
    if len(times) < jobs * PAGES - 2 * kills:  # a line may be lost with its server
        wrong.append(f"{len(times)} of {jobs * PAGES} pages are in the log")
    return wrong


def main(argv: list[str] | None = None) -> int:
    """Runs it in a folder that is removed in the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        wrong = run(Path(folder), args.kills, args.jobs, args.seed)
        for line in wrong:
            print(line)
    print("nothing lost, nothing done twice" if not wrong else f"{len(wrong)} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
