"""`python -m benchmarks.gpu --out FOLDER [--call N]`: everything that only a GPU can prove.

Four calls, each of at most ten minutes and with one file to take away, FOLDER/call_N.tar.gz:
  1  build for the architecture at hand, smoke, equal bits, parity, tests
  2  time of each kernel, cost of a step beside them, hardware counters
  3  the table of all engines, torch.compile, reading
  4  memcheck and racecheck, variants of the kernels, training
Without --call all of them. Each part is a process of its own and writes FOLDER/PART.json; what
ended well is not run again (`--again` runs all): a call that was killed is repeated and goes on.
What did not run is "not run", and the exit status then 2: 0 is for parts that all ran and ended
well, 1 for one that failed. `--device cpu --quick` and `--device emulator --quick` run the same
code without a GPU: their times are no claims; `python -m benchmarks.gpu_rehearsal` does so and
kills and repeats the call at each part. `scripts/carry_for_gpu.sh` collects what a machine without
a network needs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks import gpu_proof, gpu_speed
from benchmarks.gpu_report import pack, write_report
from benchmarks.gpu_run import (
    NotRun,
    Options,
    Part,
    PartFailed,
    part_command,
    run_limited,
    write_whole,
)

PARTS: dict[str, Part] = {
    "environment": gpu_proof.environment,
    "build": gpu_proof.build,
    "smoke": gpu_proof.smoke,
    "equality": gpu_proof.equality,
    "parity": gpu_proof.parity,
    "tests": gpu_proof.tests,
    "profile": gpu_speed.profile,
    "counters": gpu_speed.counters,
    "table": gpu_speed.table,
    "compiled": gpu_speed.compiled,
    "reading": gpu_speed.reading,
    "memcheck": lambda o: gpu_proof.sanitizer("memcheck", o, 85),
    "racecheck": lambda o: gpu_proof.sanitizer("racecheck", o, 85),
    "variants": gpu_speed.variants,
    "training": gpu_proof.training,
}
# Seconds that each part of a call may take; all of a call fit into ten minutes. A machine that was
# given the module of call 1 builds nothing in the others: then all four fit into half an hour.
BEFORE: dict[str, float] = {"environment": 20, "build": 220}
CALLS: dict[int, dict[str, float]] = {
    1: {**BEFORE, "smoke": 30, "equality": 50, "parity": 60, "tests": 100},
    2: {**BEFORE, "profile": 100, "counters": 100},
    3: {**BEFORE, "table": 220, "compiled": 80, "reading": 60},
    4: {**BEFORE, "memcheck": 90, "racecheck": 90, "variants": 60, "training": 60},
}
LOOKED_AT: dict[str, Part] = {"probe": gpu_proof.probe, "one_batch": gpu_speed.one_batch}
NOT_ALL_RAN = 2  # exit status where nothing failed and something was not run: that is not well
EMULATED = 3  # times as long as on a GPU


def run_part(name: str, options: Options) -> int:
    """Runs one part in this process and writes its record; returns 0 unless it failed."""
    work = LOOKED_AT[name] if name in LOOKED_AT else PARTS[name]
    started = time.monotonic()
    record: dict[str, Any]
    try:
        record = {"state": "good", "found": work(options)}
    except PartFailed as error:
        record = {"state": "failed", "error": str(error), "found": error.found}
    except (NotRun, ModuleNotFoundError) as error:
        record = {"state": "not run", "error": str(error), "found": {}}
    except Exception:  # what went wrong is the result: it stands in the report
        record = {"state": "failed", "error": traceback.format_exc()[-4000:], "found": {}}
    record["seconds"] = time.monotonic() - started
    write_whole(options.out / f"{name}.json", json.dumps(record, ensure_ascii=False, indent=1))
    return 1 if record["state"] == "failed" else 0


def run_call(parts: dict[str, float], options: Options, again: bool) -> dict[str, str]:
    """Runs the parts that have not ended well, each in a process with its seconds; all states."""
    factor = EMULATED if options.device == "emulator" else 1
    states: dict[str, str] = {}
    for name, seconds in parts.items():
        file = options.out / f"{name}.json"
        if not again and file.exists() and json.loads(file.read_text())["state"] == "good":
            states[name] = "good"
            print(f"{name}: stands", flush=True)
            continue
        if states.get("build") == "failed":
            states[name] = "not run"
            print(f"{name}: not run, nothing was built", flush=True)
            continue
        file.unlink(missing_ok=True)
        minutes = 60 * options.train_minutes if name == "training" else 0
        limit = seconds * factor + minutes
        started = time.monotonic()
        ended = run_limited(part_command(name, options), options.out / f"{name}.log", limit)
        if not file.exists():  # the process itself died
            why = f"stopped after {limit:.0f} s" if ended.code is None else f"exit {ended.code}"
            record: dict[str, Any] = {"state": "failed", "error": f"{why}: {ended.said}"}
            record["found"] = kept(name, options)
            record["seconds"] = time.monotonic() - started
            write_whole(file, json.dumps(record, ensure_ascii=False, indent=1))
        part = json.loads(file.read_text())
        states[name] = part["state"]
        last = part.get("error", "").strip().splitlines()[-1:] or [""]
        print(f"{name}: {part['state']} ({part['seconds']:.0f} s) {last[0]}", flush=True)
        write_report(options, PARTS)
    return states


def kept(name: str, options: Options) -> dict[str, Any]:
    """The rows that a part had written before it was stopped."""
    if not (options.out / f"{name}.rows.jsonl").exists():
        return {}
    return {"rows": gpu_speed.Kept(options.out / f"{name}.rows.jsonl").rows}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--call", type=int, choices=CALLS, help="this call's parts only")
    parser.add_argument(
        "--train", type=float, default=0, metavar="MINUTES", help="train small, too"
    )
    parser.add_argument(
        "--part", choices=[*PARTS, *LOOKED_AT], help="this part only, in this process"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts only")
    parser.add_argument("--again", action="store_true", help="run what ended well before, too")
    parser.add_argument("--device", choices=("cuda", "cpu", "emulator"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="few and small cases")
    args = parser.parse_args(argv)
    options = Options(args.out.resolve(), args.device, args.quick, args.train)
    options.out.mkdir(parents=True, exist_ok=True)
    if args.part:
        return run_part(args.part, options)
    states: dict[str, str] = {}
    for call in [args.call] if args.call else CALLS:
        parts = {n: x for n, x in CALLS[call].items() if not args.only or n in args.only}
        states |= run_call(parts, options, args.again)
        write_report(options, PARTS)
        module = gpu_proof.module_files() if call == 1 and args.device == "cuda" else []
        print(pack(options, call, parts, module))
    other = [f"{name} {state}" for name, state in states.items() if state != "good"]
    print(", ".join([f"{len(states) - len(other)} good", *other]))
    return 1 if "failed" in states.values() else NOT_ALL_RAN if other else 0


if __name__ == "__main__":
    sys.exit(main())
