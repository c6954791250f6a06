"""`python -m benchmarks.gpu_rehearsal --device emulator|cpu`: `benchmarks.gpu` without a GPU.

All four calls, killed at each part as a machine is that goes back in the middle of one, and
repeated until each has run to its end. It must then hold that every record is whole, what had ended
well was not run again, nobody lives on behind a killed call, and every part is good, or "not run"
for a reason and in CANNOT_RUN. Prints each part's state and seconds; exits with 1 where something
does not hold.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu import CALLS, NOT_ALL_RAN
from benchmarks.gpu_run import ROOT

# What needs a GPU, a program of its makers', or the kernels.
CANNOT_RUN = {
    "cpu": ("tests", "counters", "memcheck", "racecheck", "variants"),
    "emulator": ("tests", "counters", "memcheck", "racecheck", "reading", "training"),
}
LONGEST = 900  # seconds that a call may take here before it is given up


@dataclass(frozen=True)
class Rehearsed:
    call: int
    part: str
    killed_in: str  # the part that was running when the call was killed, or "" at its end
    state: str
    seconds: float


class DoesNotHold(Exception):
    """Something that a killed or repeated call must not do."""


def records(out: Path) -> dict[str, dict]:
    """Of each part that has one; raises where one is not whole."""
    try:
        return {x.stem: json.loads(x.read_text()) for x in parts_of(out)}
    except json.JSONDecodeError as error:
        raise DoesNotHold(f"a record is not whole: {error}") from None


def parts_of(out: Path) -> list[Path]:
    names = [name for parts in CALLS.values() for name in parts]
    return [x for x in out.glob("*.json") if x.stem in names]


def survivors(out: Path) -> list[str]:
    """Processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if str(out).encode() in words:
            found.append(b" ".join(words).decode(errors="replace"))
    return found


def command_of(out: Path, device: str, call: int) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(out), "--call", str(call)]
    return [*command, "--device", device, "--quick"]


def kill_in(out: Path, device: str, call: int, part: str, after: float) -> str:
    """Starts a call, and kills it `after` seconds into `part`; which part was running."""
    log = out / f"{part}.log"
    log.unlink(missing_ok=True)
    process = subprocess.Popen(command_of(out, device, call), cwd=ROOT, stdout=subprocess.DEVNULL)
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and process.poll() is None and not log.exists():
        time.sleep(0.02)
    time.sleep(after)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10
    while (left := survivors(out)) and time.monotonic() < end:
        time.sleep(0.02)
    if left:
        raise DoesNotHold(f"behind the killed call lives {left[0]}")
    begun = [x for x in CALLS[call] if (out / f"{x}.log").exists() and x not in records(out)]
    return begun[-1] if running and begun else ""


def rehearse(out: Path, device: str, calls: list[int], after: float = 1.0) -> list[Rehearsed]:
    """Kills and repeats each part of the calls; raises DoesNotHold."""
    killed: dict[tuple[int, str], str] = {}
    for call in calls:
        for part in CALLS[call]:
            stands = {k: x for k, x in records(out).items() if x["state"] == "good"}
            if part in stands:
                continue
            killed[call, part] = kill_in(out, device, call, part, after)
            now = records(out)
            again = [name for name, record in stands.items() if now.get(name) != record]
            if again:
                raise DoesNotHold(f"{', '.join(again)} ended well and was run again")
        done = subprocess.run(
            command_of(out, device, call), cwd=ROOT, capture_output=True, text=True, timeout=LONGEST
        )
        if done.returncode not in (0, NOT_ALL_RAN):
            raise DoesNotHold(f"call {call} gave {done.returncode}:\n{done.stdout}{done.stderr}")
        found = records(out)
        other = [x for x in CALLS[call] if found[x]["state"] != "good"]
        if wrong := set(other) - set(CANNOT_RUN[device]):
            raise DoesNotHold(f"{', '.join(wrong)} did not run")
        if bool(other) != (done.returncode == NOT_ALL_RAN):
            raise DoesNotHold(f"call {call} gave {done.returncode} with {other} not run")
        if any(found[x]["state"] != "not run" or not found[x]["error"] for x in other):
            raise DoesNotHold("a part is neither good nor not run for a reason")
        with tarfile.open(out / f"call_{call}.tar.gz") as tar:
            missing = {f"{part}.json" for part in CALLS[call]} - set(tar.getnames())
        if missing:
            raise DoesNotHold(f"call_{call}.tar.gz lacks {', '.join(missing)}")
    found = records(out)
    return [
        Rehearsed(call, part, where, found[part]["state"], found[part]["seconds"])
        for (call, part), where in killed.items()
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_rehearsal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=CANNOT_RUN, required=True)
    parser.add_argument("--calls", type=int, nargs="+", choices=CALLS, default=list(CALLS))
    parser.add_argument("--after", type=float, default=1.0, help="seconds into a part")
    args = parser.parse_args(argv)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            rows = rehearse(Path(folder), args.device, args.calls, args.after)
        except DoesNotHold as error:
            print(error)
            return 1
    print("| call | part | killed in | then | seconds |\n| --- | --- | --- | --- | --- |")
    for x in rows:
        where = x.killed_in or "(had ended)"
        print(f"| {x.call} | {x.part} | {where} | {x.state} | {x.seconds:.0f} |")
    print(f"all calls, each part killed and repeated: {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
