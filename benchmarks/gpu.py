"""`python -m benchmarks.gpu --out FOLDER [--call N]`: everything that only a GPU can prove.

Four calls, each of at most ten minutes and with one file to take away, FOLDER/call_N.tar.gz:
  1  build for the architecture at hand, smoke, equal bits, parity, tests
  2  time of each kernel, cost of a step beside them, hardware counters
  3  the table of all engines, torch.compile, reading
  4  memcheck and racecheck, variants of the kernels, training
Without --call all of them. Each part is a process of its own and writes FOLDER/PART.json; what
ended well is not run again (`--again` runs all): a call that was killed is repeated and goes on.
What did not run is "not run". `--device cpu --quick` and `--device emulator --quick` run the same
code without a GPU: their times are no claims. `scripts/carry_for_gpu.sh` collects what a machine
without a network needs.
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
from benchmarks.gpu_run import NotRun, Options, Part, PartFailed, part_command, run_limited

# Seconds that each may take; in the order of the calls.
PARTS: dict[str, tuple[Part, float]] = {
    "environment": (gpu_proof.environment, 60),
    "build": (gpu_proof.build, 300),
    "smoke": (gpu_proof.smoke, 60),
    "equality": (gpu_proof.equality, 90),
    "parity": (gpu_proof.parity, 120),
    "tests": (gpu_proof.tests, 120),
    "profile": (gpu_speed.profile, 90),
    "counters": (gpu_speed.counters, 100),
    "table": (gpu_speed.table, 270),
    "compiled": (gpu_speed.compiled, 120),
    "reading": (gpu_speed.reading, 90),
    "memcheck": (lambda o: gpu_proof.sanitizer("memcheck", o, 150), 160),
    "racecheck": (lambda o: gpu_proof.sanitizer("racecheck", o, 150), 160),
    "variants": (gpu_speed.variants, 90),
    "training": (gpu_proof.training, 90),
}
CALLS = {  # parts, and seconds after which no part begins
    1: (("environment", "build", "smoke", "equality", "parity", "tests"), 480),
    2: (("environment", "build", "profile", "counters"), 420),
    3: (("environment", "build", "table", "compiled", "reading"), 540),
    4: (("environment", "build", "memcheck", "racecheck", "variants", "training"), 540),
}
LOOKED_AT: dict[str, Part] = {"probe": gpu_proof.probe, "one_batch": gpu_speed.one_batch}
EMULATED = 20  # times as long as on a GPU


def run_part(name: str, options: Options) -> int:
    """Runs one part in this process and writes its record; returns 0 unless it failed."""
    work = LOOKED_AT[name] if name in LOOKED_AT else PARTS[name][0]
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
    write_record(options.out / f"{name}.json", record)
    return 1 if record["state"] == "failed" else 0


def write_record(file: Path, record: dict[str, Any]) -> None:
    """Whole or not at all, so that a process that is killed leaves none in part."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(record, ensure_ascii=False, indent=1))
    part.replace(file)


def run_call(names: tuple[str, ...], options: Options, seconds: float, again: bool) -> bool:
    """Runs the parts that have not ended well, each in a process; True where none failed."""
    end, good = time.monotonic() + seconds, True
    factor = EMULATED if options.device == "emulator" else 1
    for name in names:
        file = options.out / f"{name}.json"
        if not again and file.exists() and json.loads(file.read_text())["state"] == "good":
            print(f"{name}: stands", flush=True)
            continue
        file.unlink(missing_ok=True)
        left = end - time.monotonic()
        if left < 15:
            print(f"{name}: not run, the call's time has ended", flush=True)
            continue
        minutes = 60 * options.train_minutes if name == "training" else 0
        limit = min(PARTS[name][1] * factor + minutes, left)
        started = time.monotonic()
        ended = run_limited(part_command(name, options), options.out / f"{name}.log", limit)
        if not file.exists():  # the process itself died
            why = f"stopped after {limit:.0f} s" if ended.code is None else f"exit {ended.code}"
            record = {
                "state": "failed",
                "error": f"{why}: {ended.said}",
                "found": kept(name, options),
            }
            write_record(file, record | {"seconds": time.monotonic() - started})
        part = json.loads(file.read_text())
        good = good and part["state"] != "failed"
        last = part.get("error", "").strip().splitlines()[-1:] or [""]
        print(f"{name}: {part['state']} ({part['seconds']:.0f} s) {last[0]}", flush=True)
        write_report(options, PARTS)
        if name == "build" and part["state"] == "failed":
            break
    return good


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
    good = True
    for call in [args.call] if args.call else CALLS:
        names, seconds = CALLS[call]
        names = tuple(name for name in names if not args.only or name in args.only)
        if args.device == "emulator":
            seconds *= EMULATED
        good = run_call(names, options, seconds + 60 * args.train, args.again) and good
        write_report(options, PARTS)
        module = gpu_proof.module_files() if call == 1 and args.device == "cuda" else []
        print(pack(options, call, names, module))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
