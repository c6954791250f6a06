"""Disturbs `khmer-fast bulk` and checks that nothing is lost: `python scripts/kill_bulk.py --help`.

    workers   a worker is killed by kill -9 every --interval seconds, for --minutes
    runs      the whole run is killed at --kills random moments, and begun again
    node      a node of a Ray cluster of two (on this machine) is removed in the middle
    disk      the file system of the results is full in the middle
    file      files are deleted while they wait, and come back

After each, the results must equal those of an undisturbed run, row for row; order and seconds
aside. Where a run ends before the time or the kills are over, it is compared and a new one begins.
Prints what was done, and ends with 1 where rows differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from PIL import Image, ImageDraw, ImageFont

from khmer_fast.bulk.records import FAILED, parts, read_rows

PAGES_PER_TASK = 5
PAGES_A_PDF = 23  # five tasks
FULL = 64 << 10  # bytes of the results' file system, in which a run ends with a full disk


@dataclass(frozen=True)
class Setting:
    """Where and on what the runs are."""

    folder: Path
    files: Path
    options: tuple[str, ...]  # of khmer-fast bulk
    ray: bool
    random: random.Random

    def start(self, out: Path, *more: str, **popen: Any) -> subprocess.Popen:
        """A run in a session of its own."""
        command = [
            sys.executable, "-m", "khmer_fast", "bulk", str(self.files), "--out", str(out),
            "--pages-per-task", str(PAGES_PER_TASK), *self.options, *more,
        ]  # fmt: skip
        if self.ray and "--ray" not in more:
            command.append("--ray")
        return subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, **popen,
        )  # fmt: skip

    def finish(self, out: Path, *more: str) -> None:
        """A run to its end, which must be good."""
        process = self.start(out, *more)
        said = process.communicate()[1]
        if process.returncode != 0:
            raise SystemExit(
                f"a run that nothing disturbed ended with {process.returncode}: {said}"
            )

    def new_out(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="out-", dir=self.folder))


def make_files(folder: Path, pages: int) -> None:
    """Small pages with two lines each: a third of them in PDFs, the others alone."""
    folder.mkdir()
    font = ImageFont.load_default(size=22)

    def page(number: int) -> Image.Image:
        image = Image.new("L", (320, 96), 255)
        draw = ImageDraw.Draw(image)
        draw.text((12, 8), f"Page {number} of many", font=font, fill=0)
        draw.text((12, 52), f"Number {number * 7919 % 100003}", font=font, fill=0)
        return image

    number, of_pdfs = 0, pages // 3
    while number < of_pdfs:
        last = min(number + PAGES_A_PDF, of_pdfs)
        first, *others = [page(n) for n in range(number, last)]
        first.save(folder / f"{number:06d}.pdf", save_all=True, append_images=others)
        number = last
    for number in range(of_pdfs, pages):
        page(number).save(folder / f"{number:06d}.png")


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """The results by id, without seconds. Rows that are there twice must be equal."""
    return {
        row["id"]: {k: v for k, v in row.items() if k != "seconds"}
        for row in read_rows(parts(out / "results"))
    }


def written(out: Path) -> int:
    """Result files that are there."""
    return len(list((out / "results").glob("*.parquet")))


def compare(reference: dict, out: Path) -> int:
    """Rows of a run. Raises SystemExit where they are not those of the undisturbed one."""
    found = rows(out)
    missing, more = reference.keys() - found.keys(), found.keys() - reference.keys()
    changed = [id for id in reference.keys() & found.keys() if reference[id] != found[id]]
    if missing or more or changed:
        for id in [*missing, *more, *changed][:5]:
            print(id, reference.get(id), found.get(id), sep="\n  ")
        raise SystemExit(
            f"{out}: {len(missing)} rows missing, {len(more)} too many, {len(changed)} changed"
        )
    shutil.rmtree(out)
    return len(found)


def workers_of(run: psutil.Process) -> list[psutil.Process]:
    """The processes that read: the pool's, or Ray's actors."""
    with contextlib.suppress(psutil.NoSuchProcess):
        found = []
        for child in run.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                command = " ".join(child.cmdline())
                if "spawn_main" in command or "MapWorker" in command or "ReadTask" in command:
                    found.append(child)
        return found
    return []


def kill_workers(setting: Setting, reference: dict, minutes: float, interval: float) -> dict:
    """A worker every `interval` seconds; the first one as soon as something is written, and at
    least one however long that takes."""
    kills = runs = 0
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end or not kills:
        out = setting.new_out()
        run = setting.start(out)
        due = time.monotonic() + (interval if kills else 0)
        while run.poll() is None:
            time.sleep(0.05)
            now = time.monotonic()
            if due <= now and (now < end + interval or not kills) and written(out):
                victims = workers_of(psutil.Process(run.pid))
                if victims:
                    setting.random.choice(victims).kill()
                    kills += 1
                    due = time.monotonic() + interval
        said = run.communicate()[1]
        if run.returncode != 0:
            raise SystemExit(f"a run whose workers were killed ended with {run.returncode}: {said}")
        compare(reference, out)
        runs += 1
    return {"killed": kills, "runs": runs, "rows": len(reference)}


def kill_runs(setting: Setting, reference: dict, kills: int, seconds: float) -> dict:
    """The whole run, at random moments of its first `seconds`, until so many kills were done."""
    done = runs = most = 0
    while done < kills:
        out = setting.new_out()
        of_this = 0
        while True:
            run = setting.start(out)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(setting.random.uniform(0.5, seconds) if done < kills else None)
            if run.poll() is None:
                family = psutil.Process(run.pid).children(recursive=True)
                os.killpg(run.pid, signal.SIGKILL)
                for process in family:  # Ray's have sessions of their own
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                run.communicate()
                done, of_this = done + 1, of_this + 1
                continue
            said = run.communicate()[1]
            if run.returncode != 0:
                raise SystemExit(f"a run that was begun again ended with {run.returncode}: {said}")
            break
        compare(reference, out)
        runs, most = runs + 1, max(most, of_this)
    return {"killed": done, "most of one run": most, "runs": runs, "rows": len(reference)}


def remove_node(setting: Setting, reference: dict, times: int) -> dict:
    """One of two nodes, when a third of the results is there; with and without another in its
    place."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    removed = 0
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for round in range(times):
            node = cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes()
            out = setting.new_out()
            run = setting.start(out, "--workers", "2", "--ray", cluster.address)
            while run.poll() is None and len(rows(out)) < len(reference) / 3:
                time.sleep(0.2)
            before = len(rows(out))
            in_the_middle = run.poll() is None
            cluster.remove_node(node, allow_graceful=False)
            removed += in_the_middle
            print(f"  node removed with {before} of {len(reference)} rows there", flush=True)
            if round % 2 and in_the_middle:
                node = cluster.add_node(num_cpus=1)
            said = run.communicate()[1]
            if run.returncode != 0:
                raise SystemExit(f"a run whose node went ended with {run.returncode}: {said}")
            compare(reference, out)
            if round % 2 and in_the_middle:
                cluster.remove_node(node)
    finally:
        cluster.shutdown()
    return {"removed": removed, "runs": times, "rows": len(reference)}


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], None] | None]:
    """A file system of FULL bytes at `folder`, and what enlarges it; None where none is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FULL}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield lambda: subprocess.run(
            ["mount", "-o", "remount,size=1g", str(folder)], check=True
        ) and None  # fmt: skip
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_disk(setting: Setting, reference: dict) -> dict:
    """A small tmpfs, or where mounting is not allowed a limit of a file's size."""
    with small_disk(setting.folder / "disk") as enlarge:
        out = setting.folder / "disk" / "out"

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

        run = setting.start(out, preexec_fn=None if enlarge else limit)
        said = run.communicate()[1]
        if run.returncode != 1 or "cannot be written" not in said:
            raise SystemExit(f"a full disk ended the run with {run.returncode}: {said}")
        kept = len(rows(out))
        print("  said:", said.strip().splitlines()[-1], flush=True)
        if enlarge:
            enlarge()
        setting.finish(out)
        return {
            "by": "tmpfs" if enlarge else "RLIMIT_FSIZE", "kept of the full disk": kept,
            "rows": compare(reference, out),
        }  # fmt: skip


def delete_files(setting: Setting, reference: dict) -> dict:
    """Late pictures and a PDF whose first pages are read; they come back, and --retry-failed."""
    out, aside = setting.new_out(), setting.folder / "aside"
    aside.mkdir()
    run = setting.start(out)
    while not written(out) and run.poll() is None:
        time.sleep(0.02)
    files = sorted(setting.files.iterdir())
    gone = [files[0], *files[-3:]]
    for file in gone:
        shutil.move(file, aside / file.name)
    said = run.communicate()[1]
    failed = [row for row in rows(out).values() if row["status"] == FAILED]
    if run.returncode != 1 or not {str(file) for file in gone[1:]} <= {r["source"] for r in failed}:
        raise SystemExit(f"deleted files ended the run with {run.returncode}: {said} {failed}")
    for file in gone:
        shutil.move(aside / file.name, file)
    aside.rmdir()
    setting.finish(out, "--retry-failed")
    return {"deleted": len(gone), "failed rows": len(failed), "rows": compare(reference, out)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("workers", "runs", "node", "disk", "file")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="default: all of them")
    parser.add_argument("--pages", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--interval", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--kill-within", type=float, default=15.0, metavar="SECONDS")
    parser.add_argument("--nodes", type=int, default=4, help="times that a node is removed")
    parser.add_argument("--ray", action="store_true", help="workers and runs by Ray")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        help="of khmer-fast bulk, such as --option=--beam=1",
    )
    args = parser.parse_args(argv)
    if unknown := set(args.kinds) - set(kinds):
        parser.error(f"expected {', '.join(kinds)}, got {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="kill-bulk-") as name:
        folder = Path(name)
        make_files(folder / "files", args.pages)
        setting = Setting(
            folder, folder / "files", tuple(args.option), args.ray, random.Random(args.seed)
        )
        began = time.monotonic()
        undisturbed = setting.new_out()
        setting.finish(undisturbed)
        reference = rows(undisturbed)
        assert len(reference) == args.pages, f"{len(reference)} rows of {args.pages} pages"
        print(f"undisturbed: {len(reference)} rows in {time.monotonic() - began:.0f} s", flush=True)
        steps: dict[str, Callable[[], dict]] = {
            "workers": lambda: kill_workers(setting, reference, args.minutes, args.interval),
            "runs": lambda: kill_runs(setting, reference, args.kills, args.kill_within),
            "node": lambda: remove_node(setting, reference, args.nodes),
            "disk": lambda: fill_disk(setting, reference),
            "file": lambda: delete_files(setting, reference),
        }
        log = {}
        for kind in args.kinds or kinds:
            began = time.monotonic()
            log[kind] = steps[kind]() | {"seconds": round(time.monotonic() - began)}
            print(f"{kind}: equal; {log[kind]}", flush=True)
    print(json.dumps(log))
    return 0


if __name__ == "__main__":
    sys.exit(main())
