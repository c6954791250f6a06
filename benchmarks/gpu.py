"""`python -m benchmarks.gpu --out FOLDER`: everything that only a GPU can prove, in ten minutes.

Each part is a process of its own and writes FOLDER/PART.json; a part that fails says so there and
the others go on. Run again, only what did not end well runs again (`--again` runs all). The whole
is FOLDER/gpu.json and, to read, FOLDER/gpu.md. Times are CUDA events after warm-up: median, and the
spread between the quartiles. `--device cpu --quick` runs the same code without a GPU, for tests:
its times are no claims.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATIONS = {"512": {}, "small": dict(V=208, D=64, E=384, A=128, H=256)}
LARGEST_BEAM = 64  # of the kernels
LOOPS = ("plain", "graph", "persistent")
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")


@dataclass(frozen=True)
class Options:
    out: Path
    device: str
    quick: bool
    train_minutes: float


def decoders(weights, dtype: str, options: Options) -> dict[str, Any]:
    """The fused decoder in each of its loops; on a CPU there is one."""
    from khmer_fast.recognize.engine import CudaDecoder, make_decoder

    if options.device != "cuda":
        return {"": make_decoder(weights, dtype)}
    return {loop: CudaDecoder(weights, dtype, loop) for loop in LOOPS}


def obstacle(decoder, lines: int, beam: int) -> str:
    """Why a decoder would take another loop than its own for such a batch, or ""."""
    if getattr(decoder, "loop", "") != "persistent":
        return ""
    return decoder.persistent_obstacle(lines, beam)


def environment(options: Options) -> dict[str, Any]:
    """What runs here."""
    import torch

    from benchmarks import machine

    facts: dict[str, Any] = {"machine": machine.describe(), "torch_cuda": torch.version.cuda}
    for program in ("nvidia-smi", "nvcc", "compute-sanitizer", "ncu", "nsys"):
        facts[program] = shutil.which(program)
    if facts["nvidia-smi"]:
        query = "--query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem"
        facts["gpu"] = output(["nvidia-smi", query, "--format=csv,noheader"]).strip()
    if options.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts["device"] = properties.name
        facts["multiprocessors"] = properties.multi_processor_count
        facts["memory"] = properties.total_memory
        facts["capability"] = list(torch.cuda.get_device_capability(0))
    else:
        facts["device"] = "no GPU: " + str(facts["machine"]["processor"])
    return facts


def build(options: Options) -> dict[str, Any]:
    """The compiled module, in place; the build record says what it was built against."""
    if options.device == "cuda":
        command = [sys.executable, "setup.py", "build_ext", "--inplace"]
        output(command, KHMER_FAST_CUDA="1", MAX_JOBS=str(os.cpu_count() or 1))
    record = output([sys.executable, "-c", "import _khmer_fast_build as b; print(vars(b))"])
    return {"record": record.strip()[-600:]}


def parity(options: Options) -> dict[str, Any]:
    """The step and the whole search against the reference, over random models."""
    import torch

    from benchmarks.parity import compare
    from khmer_fast import ops
    from python_ref.attn_gru_step import DecoderWeights, attn_gru_init, attn_gru_step
    from python_ref.beam_search import beam_search
    from tests.random_models import random_case

    worst = {"log_probs": 0.0, "h": 0.0, "weight": 0.0}
    half: dict[str, list[float]] = {}
    lines = excused = 0
    searched: dict[str, int] = {}  # lines of each loop
    failures: list[str] = []
    for seed in range(12 if options.quick else 300):
        case = random_case(seed)
        if case.beam > LARGEST_BEAM:
            continue
        device = DecoderWeights(*(x.to(options.device) for x in case.weights))
        arguments = dict(beam=case.beam, n_best=case.n_best, alpha=case.alpha)
        with torch.no_grad():
            expected = beam_search(
                case.weights, case.memory, case.length, **arguments,
                step_limit=case.step_limit, return_trace=True,
            )  # fmt: skip
        for loop, decoder in decoders(device, "float32", options).items():
            if obstacle(decoder, len(case.length), case.beam):
                continue
            got = search(decoder, case, options.device, arguments)
            outcome = compare(case.weights, case.memory, case.length, expected, got)
            failures += [f"seed {seed} {loop}: {text}" for text in outcome.failures]
            lines, excused = lines + outcome.lines, excused + len(outcome.excused)
            searched[loop] = searched.get(loop, 0) + outcome.lines
        w, memory = case.weights, case.memory.nan_to_num()
        key, h = attn_gru_init(memory, case.length, w)
        token = torch.randint(0, w.embedding.shape[0], case.length.shape)
        rest = (w.embedding, w.W_q, w.v, w.W_ih, w.W_hh, w.b_ih, w.b_hh, w.W_o, w.b_o)
        step = (memory, key, case.length, token, h, *rest)
        one = attn_gru_step(*step)
        other = ops.attn_gru_step(*(x.to(options.device) for x in step))
        for name, a, b in zip(worst, one, other, strict=True):
            difference = float((a - b.cpu()).abs().max())
            worst[name] = max(worst[name], difference)
            if not difference <= 1e-4:
                failures.append(f"seed {seed}: attn_gru_step {name} is off by {difference}")
        for dtype in ("bfloat16", "float16") if options.device == "cuda" else ("bfloat16",):
            for loop, decoder in decoders(device, dtype, options).items():
                if obstacle(decoder, len(case.length), case.beam):
                    continue
                narrow = search(decoder, case, options.device, arguments)
                first = (narrow.log_prob[:, 0, :1] - expected.log_prob[:, 0, :1]).abs()
                apart = float(first.max()) if first.numel() else 0.0
                half.setdefault(f"{dtype} {loop}".strip(), []).append(apart)
    if not options.quick and excused > 0.01 * lines:  # of a few, one is more than that
        failures.append(f"{excused} of {lines} lines were excused, more than 1 %")
    result = {
        "lines": lines,
        "excused": excused,
        "lines_of_each_loop": searched,
        "step_differences": worst,
        "first_log_prob_differences": {k: statistics.median(v) for k, v in half.items()},
        "failures": failures[:20],
    }
    if failures:
        raise PartFailed(f"{len(failures)} differences from the reference", result)
    return result


def search(decoder, case, device: str, arguments: dict[str, Any]):
    """A traced search on the device, its result on the CPU."""
    import dataclasses

    from python_ref.beam_search import Trace

    got = decoder.beam_search(
        case.memory.to(device), case.length.to(device), **arguments,
        step_limit=case.step_limit.to(device), return_trace=True,
    )  # fmt: skip
    names = ("tokens", "length", "score", "log_prob", "truncated", "failed", "steps")
    trace = Trace(*(getattr(got.trace, name).cpu() for name in ("parent", "token", "score")))
    return dataclasses.replace(got, trace=trace, **{n: getattr(got, n).cpu() for n in names})


def tests(options: Options) -> dict[str, Any]:
    """The tests that are skipped without a GPU, in each loop."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    said = {loop: output(command, KHMER_FAST_CUDA_LOOP=loop) for loop in LOOPS}
    return {f"pytest, {loop}": text.strip().splitlines()[-1] for loop, text in said.items()}


def probe(options: Options) -> dict[str, Any]:
    """What the sanitizers look at: each storage type decodes a small batch, with everything on."""
    import torch

    from benchmarks.decode import Sizes, make_memory, make_weights
    from python_ref.attn_gru_step import DecoderWeights

    sizes = Sizes(V=37, D=8, E=40, A=23, H=36, T=21)
    weights = DecoderWeights(*(x.to(options.device) for x in make_weights(sizes)))
    memory, length = (x.to(options.device) for x in make_memory(sizes, 6))
    for dtype in ("float32", "bfloat16", "float16") if options.device == "cuda" else ("float32",):
        for decoder in decoders(weights, dtype, options).values():
            for force in (None, torch.full((6,), 7, device=options.device)):
                decoder.beam_search(
                    memory, length, 5, 3, 0.6, force_length=force, return_attention=True,
                    return_trace=True, step_limit=torch.full((6,), 9, device=options.device),
                )  # fmt: skip
    if options.device == "cuda":
        torch.cuda.synchronize()
    return {"ran": True}


def sanitizers(options: Options) -> dict[str, Any]:
    """compute-sanitizer's four tools over `probe`."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return {"skipped": "compute-sanitizer is not on PATH"}
    found: dict[str, Any] = {}
    for tool in SANITIZERS:
        command = [program, "--tool", tool, "--error-exitcode", "9",
                   "--kernel-regex", "kns=khmer_fast", sys.executable, "-m", "benchmarks.gpu",
                   "--part", "probe", "--out", tempfile.gettempdir(),
                   "--device", options.device]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        found[tool] = {"exit": done.returncode, "said": done.stdout[-1500:]}
    bad = [tool for tool, x in found.items() if x["exit"] != 0]
    if bad:
        raise PartFailed(f"compute-sanitizer: {', '.join(bad)}", found)
    return found


def timed(run: Callable[[], object], device: str, quick: bool) -> dict[str, float]:
    """Milliseconds of a call: median and spread."""
    import torch

    rounds = 3 if quick else 15
    for _ in range(1 if quick else 3):
        run()
    times = []
    for _ in range(rounds):
        if device == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            run()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end))
        else:
            begin = time.perf_counter()
            run()
            times.append((time.perf_counter() - begin) * 1e3)
    quartiles = statistics.quantiles(times, n=4)
    return {"ms": statistics.median(times), "spread_ms": quartiles[2] - quartiles[0]}


def eager_step(weights, memory, length, K: int):
    """One step of the eager decoder on static tensors, for a CUDA graph; no early end."""
    import torch

    from benchmarks.eager import EagerDecoder

    B, T, _ = memory.shape
    key = torch.nn.functional.linear(memory, weights.W_k, weights.b_k)
    outside = torch.arange(T, device=memory.device)[None, None, :] >= length[:, None, None]
    h = torch.zeros(B * K, weights.W_q.shape[1], device=memory.device)
    token = torch.ones(B * K, dtype=torch.int64, device=memory.device)
    score = torch.zeros(B, K, device=memory.device)
    first = torch.arange(B, device=memory.device)[:, None] * K
    eager = EagerDecoder(weights)

    def step() -> None:
        log_probs, h_new = eager._step(memory, key, outside, token, h)
        V = log_probs.shape[1]
        best, flat = (score[:, :, None] + log_probs.view(B, K, V)).flatten(1).topk(K)
        score.copy_(best)
        token.copy_((flat % V).flatten())
        h.copy_(h_new[(first + flat // V).flatten()])

    return step


def table(options: Options) -> dict[str, Any]:
    """Ours in each loop, eager, and a captured CUDA graph of the eager step, a step of a batch."""
    import torch

    from benchmarks.decode import Sizes, make_memory, make_weights, real_lengths
    from python_ref.attn_gru_step import DecoderWeights

    device, rows = options.device, []
    for name, changed in CONFIGURATIONS.items():
        sizes = Sizes(**changed) if not options.quick else Sizes(48, 32, 64, 64, 64, 32)
        weights = DecoderWeights(*(x.to(device) for x in make_weights(sizes)))
        for B in (1, 2) if options.quick else (1, 32, 256):
            memory, length = (x.to(device) for x in make_memory(sizes, B))
            for case in ("forced", "real"):
                steps = [6 if options.quick else 60] * B
                if case == "real":
                    steps = [min(n, 9) if options.quick else n for n in real_lengths(B)]
                force = torch.tensor(steps, device=device)
                for dtype in ("float32", "bfloat16"):
                    for loop, decoder in decoders(weights, dtype, options).items():
                        for K in (5, 1):
                            if obstacle(decoder, B, K):
                                continue
                            row = timed(
                                lambda d=decoder, k=K, m=memory, n=length, f=force: d.beam_search(
                                    m, n, k, force_length=f
                                ), device, options.quick,
                            )  # fmt: skip
                            rows.append(dict(row, engine=f"ours {dtype} {loop}".strip(),
                                             sizes=name, case=case, B=B, K=K, steps=max(steps),
                                             dtype=dtype, loop=loop))  # fmt: skip
                if case == "forced":
                    with torch.inference_mode():
                        step = eager_step(weights, memory, length, 5)
                        count = 3 if options.quick else 10
                        runs = {"eager step": lambda s=step, n=count: [s() for _ in range(n)]}
                        if device == "cuda":
                            runs["graph of it"] = captured(step, count)
                        for engine, run in runs.items():
                            row = timed(run, device, options.quick)
                            rows.append(dict(row, engine=engine, sizes=name, case=case, B=B, K=5,
                                             steps=count))  # fmt: skip
    for row in rows:
        row["us_a_step"] = row["ms"] * 1e3 / row["steps"]
    return {"rows": rows, "read": reading(options)}


def fastest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best loop for each batch, and how many times as fast as the plain one it is."""
    groups: dict[tuple, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row.get("loop"):
            key = (row["sizes"], row["case"], row["dtype"], row["K"], row["B"])
            groups.setdefault(key, {})[row["loop"]] = row
    best = []
    for loops in groups.values():
        row = min(loops.values(), key=lambda r: r["ms"])
        best.append(dict(row, times_plain=loops["plain"]["ms"] / row["ms"]))
    return best


def captured(step: Callable[[], None], count: int) -> Callable[[], None]:
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return lambda: [graph.replay() for _ in range(count)]


def reading(options: Options) -> dict[str, Any]:
    """PNG to text, lines a second, with the packaged model."""
    from khmer_fast.recognize.reader import Reader

    image = str(ROOT / "examples" / "line.png")
    rows = {}
    for dtype in ("float32", "bfloat16") if options.device == "cuda" else ("float32",):
        reader = Reader(device=options.device, dtype=dtype, batch_size=4 if options.quick else 256)
        images = [image] * (4 if options.quick else 4096)
        text = reader.read(image).text
        begin = time.perf_counter()
        answers = reader.read_batch(images)
        seconds = time.perf_counter() - begin
        if any(line.text != text for line in answers):
            raise PartFailed(f"{dtype}: a line reads otherwise in a batch", {"text": text})
        rows[dtype] = {"lines_per_second": len(images) / seconds, "text": text}
    return rows


def profile(options: Options) -> dict[str, Any]:
    """torch.profiler over one batch: the time of each kernel."""
    import torch
    from torch.profiler import ProfilerActivity

    from benchmarks.decode import Sizes, make_memory, make_weights
    from khmer_fast.recognize.engine import make_decoder
    from python_ref.attn_gru_step import DecoderWeights

    sizes = Sizes(48, 32, 64, 64, 64, 32) if options.quick else Sizes()
    weights = DecoderWeights(*(x.to(options.device) for x in make_weights(sizes)))
    cuda = options.device == "cuda"
    decoder = make_decoder(weights, "bfloat16" if cuda else "float32")
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if cuda else [])
    found = {}
    for B in (2,) if options.quick else (1, 32, 256):
        memory, length = (x.to(options.device) for x in make_memory(sizes, B))
        force = torch.full((B,), 6 if options.quick else 60, device=options.device)
        decoder.beam_search(memory, length, 5, force_length=force)
        with torch.profiler.profile(activities=kinds) as profiler:
            decoder.beam_search(memory, length, 5, force_length=force)
        by = "self_cuda_time_total" if cuda else "self_cpu_time_total"
        found[f"B = {B}"] = profiler.key_averages().table(sort_by=by, row_limit=12)
    return found


def training(options: Options) -> dict[str, Any]:
    """`tiny` through khmer-fast train on the device; with --train MINUTES `small`, too."""
    cases = [("tiny", 2 if options.quick else 40, 32 if options.quick else 2000, 1.0)]
    if options.train_minutes > 0:
        cases.append(("small", 1000, 20000, options.train_minutes))
    found = {}
    for config, epochs, lines, minutes in cases:
        run = options.out / f"train_{config}"
        shutil.rmtree(run, ignore_errors=True)
        command = [sys.executable, "-m", "khmer_fast", "train", "--data", "rendered", "--out",
                   str(run), "--config", config, "--device", options.device,
                   "--epochs", str(epochs), "--lines-per-epoch", str(lines),
                   "--batch-lines", "16" if options.quick else "64",
                   "--validate-lines", "8" if options.quick else "200"]  # fmt: skip
        with open(options.out / f"train_{config}.log", "w") as log:
            started = time.monotonic()
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
            try:
                process.wait(minutes * 60)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(60)
                ended = "stopped at its time"
            else:
                ended = f"exit {process.returncode}"
        text = (options.out / f"train_{config}.log").read_text(errors="replace")
        found[config] = {
            "ended": ended, "seconds": time.monotonic() - started, "said": text[-3000:]
        }  # fmt: skip
        if ended not in ("exit 0", "stopped at its time"):
            raise PartFailed(f"training {config}: {ended}", found)
    return found


PARTS = {  # in their order, with the seconds each may take
    "environment": (environment, 60),
    "build": (build, 300),
    "parity": (parity, 120),
    "tests": (tests, 120),
    "sanitizers": (sanitizers, 300),
    "table": (table, 240),
    "profile": (profile, 60),
    "training": (training, 120),
}


class PartFailed(Exception):
    """A part that ran to its end and found something wrong; carries what it found."""

    def __init__(self, message: str, found: dict[str, Any]):
        super().__init__(message)
        self.found = found


def output(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-4000:]
        raise PartFailed(f"{' '.join(command[:4])} gave {done.returncode}", {"said": said})
    return done.stdout


def run_part(name: str, options: Options) -> int:
    """Runs one part in this process and writes its file; returns 0 where it ended well."""
    work = probe if name == "probe" else PARTS[name][0]
    started = time.monotonic()
    try:
        record = {"ok": True, "found": work(options)}
    except PartFailed as error:
        record = {"ok": False, "error": str(error), "found": error.found}
    except Exception:  # what went wrong is the result: it stands in the report
        record = {"ok": False, "error": traceback.format_exc()[-4000:], "found": {}}
    record["seconds"] = time.monotonic() - started
    (options.out / f"{name}.json").write_text(json.dumps(record, ensure_ascii=False, indent=1))
    return 0 if record["ok"] else 1


def report(options: Options, names: list[str]) -> dict[str, Any]:
    """All parts together: gpu.json, and gpu.md to read."""
    parts = {}
    for name in names:
        file = options.out / f"{name}.json"
        parts[name] = json.loads(file.read_text()) if file.exists() else None
    facts = (parts.get("environment") or {}).get("found", {})
    whole = {"device": facts.get("device"), "quick": options.quick, "parts": parts}
    (options.out / "gpu.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1))
    lines = [f"# {facts.get('device', 'unknown device')}", ""]
    if options.quick or options.device != "cuda":
        lines += ["A dry run: no number here is a measurement of a GPU.", ""]
    lines += ["| part | result | seconds |", "| --- | --- | --- |"]
    for name, part in parts.items():
        state = "not run" if part is None else "good" if part["ok"] else "FAILED"
        lines.append(f"| {name} | {state} | {part['seconds'] if part else 0:.0f} |")
    rows = ((parts.get("table") or {}).get("found") or {}).get("rows", [])
    if rows:
        lines += ["", "| sizes | case | B | K | engine | us a step | ms | spread |"]
        lines.append("| --- " * 8 + "|")
        lines += [
            f"| {r['sizes']} | {r['case']} | {r['B']} | {r['K']} | {r['engine']} | "
            f"{r['us_a_step']:.1f} | {r['ms']:.2f} | {r['spread_ms']:.2f} |"
            for r in rows
        ]
    best = fastest(rows)
    if best:
        lines += ["", "| sizes | case | dtype | K | B | fastest loop | us a step | times plain |"]
        lines.append("| --- " * 8 + "|")
        lines += [
            f"| {r['sizes']} | {r['case']} | {r['dtype']} | {r['K']} | {r['B']} | {r['loop']} | "
            f"{r['us_a_step']:.1f} | {r['times_plain']:.2f} |"
            for r in best
        ]
    for name, part in parts.items():
        if part and name != "table":
            lines += ["", f"## {name}", ""]
            if not part["ok"]:
                lines += ["```", part["error"], "```"]
            for key, value in part["found"].items():
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                lines += [f"{key}:", "```", text[:6000], "```"]
    (options.out / "gpu.md").write_text("\n".join(lines) + "\n")
    return whole


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--train", type=float, default=0, metavar="MINUTES", help="train small, too"
    )
    parser.add_argument("--part", choices=[*PARTS, "probe"], help="this part only, in this process")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts only")
    parser.add_argument("--again", action="store_true", help="run what ended well before, too")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="few and small cases")
    args = parser.parse_args(argv)
    options = Options(args.out.resolve(), args.device, args.quick, args.train)
    options.out.mkdir(parents=True, exist_ok=True)
    if args.part:
        return run_part(args.part, options)
    names = args.only or list(PARTS)
    for name in names:
        file = options.out / f"{name}.json"
        if not args.again and file.exists() and json.loads(file.read_text())["ok"]:
            print(f"{name}: stands", flush=True)
            continue
        file.unlink(missing_ok=True)
        limit = PARTS[name][1] + (60 * args.train if name == "training" else 0)
        command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--out",
                   str(options.out), "--device", args.device,
                   "--train", str(args.train)]  # fmt: skip
        command += ["--quick"] if args.quick else []
        started = time.monotonic()
        try:
            done = subprocess.run(command, cwd=ROOT, timeout=limit, capture_output=True, text=True)
            said = done.stderr[-3000:]
        except subprocess.TimeoutExpired:
            said = f"did not end within {limit:.0f} s"
        if not file.exists():  # the process itself died
            record = {"ok": False, "error": said, "found": {}, "seconds": limit}
            record["seconds"] = time.monotonic() - started
            file.write_text(json.dumps(record, indent=1))
        part = json.loads(file.read_text())
        state = "good" if part["ok"] else "FAILED: " + part["error"].strip().splitlines()[-1]
        print(f"{name}: {state} ({part['seconds']:.0f} s)", flush=True)
        report(options, list(PARTS))
    whole = report(options, list(PARTS))
    print(options.out / "gpu.md")
    return 0 if all((whole["parts"][name] or {}).get("ok") for name in names) else 1


if __name__ == "__main__":
    sys.exit(main())
