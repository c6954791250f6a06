"""Parts of `benchmarks.gpu` that measure: the interleaved table, variants, kernels, reading.

Engines of a batch run in turn, round after round, so that clocks and neighbours touch all alike.
Before, they run in turn for half a second, so that clocks have gone up. Times are CUDA events; p50
and p99 are over the rounds.
"inside" counts keys and first state, "outside" does not, for every engine.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu_run import (
    ROOT,
    VARIANTS,
    NotRun,
    Options,
    PartFailed,
    decoder,
    decoders,
    obstacle,
    on_device,
    part_command,
    run_limited,
)

CONFIGURATIONS = {"512": {}, "small": dict(V=208, D=64, E=384, A=128, H=256)}
Run = Callable[[], object]


def interleaved(engines: dict[str, Run], options: Options) -> dict[str, dict[str, float]]:
    """Milliseconds of a call of each: p50, p99 and the spread between the quartiles."""
    import torch

    cuda, rounds = options.device == "cuda", 2 if options.quick else 40
    end = time.monotonic() + (0 if options.quick else 0.5)  # clocks go up
    while True:
        for run in engines.values():
            run()
        if cuda:
            torch.cuda.synchronize()
        if time.monotonic() >= end:
            break
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, run in engines.items():
            if cuda:
                begin, end_ = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda.synchronize()
                begin.record()
                run()
                end_.record()
                torch.cuda.synchronize()
                times[name].append(begin.elapsed_time(end_))
            else:
                started = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - started) * 1e3)
    found = {}
    for name, each in times.items():
        low, p50, high = statistics.quantiles(each, n=4)
        found[name] = {
            "ms": p50,
            "p99_ms": sorted(each)[min(len(each) - 1, round(0.99 * len(each)))],
            "spread_ms": high - low,
        }
    return found


class EagerStep:
    """The eager decoder's step on static tensors, for a CUDA graph; no early end."""

    def __init__(self, weights: Any, memory: Any, length: Any, K: int, compile: bool = False):
        import torch

        from benchmarks.eager import EagerDecoder

        self.weights, self.memory, self.length = weights, memory, length
        self.B, self.K = memory.shape[0], K
        self.outside = (
            torch.arange(memory.shape[1], device=memory.device)[None, None, :]
            >= length[:, None, None]
        )
        H, device = weights.W_q.shape[1], memory.device
        self.h = torch.zeros(self.B * K, H, device=device, dtype=memory.dtype)
        self.token = torch.ones(self.B * K, dtype=torch.int64, device=device)
        self.score = torch.zeros(self.B, K, device=device, dtype=memory.dtype)
        self.first = torch.arange(self.B, device=device)[:, None] * K
        self.step_of = EagerDecoder(weights, compile=compile).step
        self.setup()

    def setup(self) -> None:
        """Keys and first state."""
        import torch
        import torch.nn.functional as F

        w = self.weights
        self.key = F.linear(self.memory, w.W_k, w.b_k)
        mean = self.memory.sum(1) / self.length[:, None]
        state = torch.tanh(F.linear(mean.to(self.memory.dtype), w.W_init, w.b_init))
        self.h.copy_(state.repeat_interleave(self.K, 0))

    def __call__(self) -> None:
        log_probs, h_new = self.step_of(self.memory, self.key, self.outside, self.token, self.h)
        V = log_probs.shape[1]
        best, flat = (
            (self.score[:, :, None] + log_probs.view(self.B, self.K, V)).flatten(1).topk(self.K)
        )
        self.score.copy_(best)
        self.token.copy_((flat % V).flatten())
        self.h.copy_(h_new[(self.first + flat // V).flatten()])


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a replayed CUDA graph."""
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
    return graph.replay


def batches(options: Options) -> list[tuple[str, Any, int]]:
    from benchmarks.decode import Sizes

    if options.quick:
        return [("quick", Sizes(48, 16, 32, 32, 32, 16), B) for B in (1, 2)]
    return [(n, Sizes(**c), B) for n, c in CONFIGURATIONS.items() for B in (1, 32, 256)]


def unique_parents(made: Any, memory: Any, length: Any, K: int, force: Any) -> float:
    """Parents of a line's step whose query and attention its children share, in the mean."""
    trace = made.beam_search(memory, length, K, force_length=force, return_trace=True).trace
    counts = [len(set(row)) for line in trace.parent.cpu().tolist() for row in line if row[0] >= 0]
    return statistics.mean(counts)


def table(options: Options) -> dict[str, Any]:
    """Ours in each loop and type, eager and its CUDA graph in both types; a row a batch and engine.

    Rows are kept as they come: a table that was stopped goes on where it was.
    """
    import torch

    from benchmarks.decode import make_memory, make_weights, real_lengths
    from python_ref.attn_gru_step import DecoderWeights

    kept = Kept(options.out / "table.rows.jsonl")
    for name, sizes, B in batches(options):
        weights = DecoderWeights(*on_device(make_weights(sizes), options))
        memory, length = on_device(make_memory(sizes, B), options)
        for case in ("forced", "real"):
            steps = [6 if options.quick else 60] * B
            if case == "real":
                steps = [min(n, 9) if options.quick else n for n in real_lengths(B)]
            most = max(steps)
            force = torch.tensor(steps, device=options.tensors)
            for K in (5, 1):
                if kept.has(sizes=name, case=case, B=B, K=K):
                    continue
                engines: dict[str, Run] = {}
                facts: dict[str, dict[str, Any]] = {}
                parents = 0.0
                for dtype in options.dtypes[:2]:
                    for loop, made in decoders(weights, dtype, options).items():
                        if obstacle(made, B, K):
                            continue
                        label = f"ours {dtype} {loop}".strip()
                        for where, limit in (("inside", force), ("init", force.clamp(max=1))):
                            engines[f"{label}|{where}"] = (
                                lambda d=made, k=K, f=limit, m=memory, n=length: d.beam_search(
                                    m, n, k, force_length=f
                                )
                            )
                        facts[label] = dict(dtype=dtype, loop=loop, steps=most)
                        parents = parents or unique_parents(made, memory, length, K, force)
                if case == "forced" and K == 5:
                    eager_engines(weights, memory, length, K, most, options, engines, facts)
                times = interleaved(engines, options)
                rows = []
                for label, fact in facts.items():
                    whole, init = times[f"{label}|inside"], times[f"{label}|init"]
                    outside = (
                        (whole["ms"] - init["ms"]) / max(most - 1, 1)
                        if fact.get("loop") is not None
                        else (whole["ms"] - init["ms"]) / fact["steps"]
                    )
                    rows.append(
                        dict(whole, engine=label, sizes=name, case=case, B=B, K=K, V=sizes.V,
                             parents=parents, us_a_step=whole["ms"] * 1e3 / fact["steps"],
                             us_a_step_outside=outside * 1e3, **fact)
                    )  # fmt: skip
                kept.add(rows)
    return {"rows": kept.rows, "V": sorted({row["V"] for row in kept.rows})}


def eager_engines(
    weights: Any, memory: Any, length: Any, K: int, steps: int, options: Options,
    engines: dict[str, Run], facts: dict[str, dict[str, Any]],
) -> None:  # fmt: skip
    """Adds eager and, on a GPU, its CUDA graph, in float32 and bfloat16."""
    import torch

    from python_ref.attn_gru_step import DecoderWeights

    cuda = options.device == "cuda"
    for dtype in (torch.float32, torch.bfloat16) if cuda else (torch.float32,):
        short = str(dtype).removeprefix("torch.")
        w = DecoderWeights(*(x.to(dtype) for x in weights))
        with torch.inference_mode():
            step = EagerStep(w, memory.to(dtype), length, K)
            runs: dict[str, Callable[[], None]] = {f"eager {short}": step}
            if cuda:
                runs[f"graph of eager {short}"] = captured(step)
        for label, run in runs.items():

            def inside(s=step, r=run) -> None:
                with torch.inference_mode():
                    s.setup()
                    for _ in range(steps):
                        r()

            def init(s=step) -> None:
                with torch.inference_mode():
                    s.setup()

            engines |= {f"{label}|inside": inside, f"{label}|init": init}
            facts[label] = dict(dtype=short, steps=steps)


def compiled(options: Options) -> dict[str, Any]:
    """torch.compile of the eager step: a part of its own, since compiling takes its time."""
    import torch

    from benchmarks.decode import make_memory, make_weights
    from python_ref.attn_gru_step import DecoderWeights

    kept = Kept(options.out / "compiled.rows.jsonl")
    for name, sizes, B in batches(options)[: 1 if options.quick else 3]:
        if kept.has(sizes=name, B=B):
            continue
        weights = DecoderWeights(*on_device(make_weights(sizes), options))
        memory, length = on_device(make_memory(sizes, B), options)
        with torch.inference_mode():
            step = EagerStep(weights, memory, length, 5, compile=True)
            time_of = interleaved({"compiled": lambda s=step: [s() for _ in range(10)]}, options)
        kept.add([dict(time_of["compiled"], engine="torch.compile of eager float32", sizes=name,
                       case="forced", B=B, K=5, V=sizes.V, steps=10, dtype="float32",
                       us_a_step_outside=time_of["compiled"]["ms"] * 100)])  # fmt: skip
    return {"rows": kept.rows}


def variants(options: Options) -> dict[str, Any]:
    """What only a GPU can choose between, against the usual constants, in turn."""
    import torch

    from benchmarks.decode import make_memory, make_weights
    from python_ref.attn_gru_step import DecoderWeights

    if options.device == "cpu":
        raise NotRun("the CPU's decoder has no variants of the kernels")
    kept = Kept(options.out / "variants.rows.jsonl")
    for name, sizes, B in batches(options):
        weights = DecoderWeights(*on_device(make_weights(sizes), options))
        memory, length = on_device(make_memory(sizes, B), options)
        steps = 6 if options.quick else 60
        force = torch.full((B,), steps, device=options.tensors)
        for usual in sorted({loop.split("+")[0] for loop in VARIANTS}):
            if kept.has(sizes=name, B=B, usual=usual):
                continue
            loops = [usual, *(loop for loop in VARIANTS if loop.startswith(usual + "+"))]
            made = {loop: decoder(weights, "bfloat16", loop, options) for loop in loops}
            if obstacle(made[usual], B, 5):
                continue
            answers = {
                loop: d.beam_search(memory, length, 5, force_length=force).tokens.cpu()
                for loop, d in made.items()
            }
            other = [x for x in loops if not torch.equal(answers[x], answers[usual])]
            if other:
                raise PartFailed(f"{', '.join(other)} answers otherwise", {"rows": kept.rows})
            times = interleaved(
                {
                    loop: lambda d=d, m=memory, n=length, f=force: d.beam_search(
                        m, n, 5, force_length=f
                    )
                    for loop, d in made.items()
                },
                options,
            )
            same = dict(usual=usual, sizes=name, B=B, steps=steps)
            us = {loop: times[loop]["ms"] * 1e3 / steps for loop in loops}
            kept.add([dict(times[x], **same, loop=x, us_a_step=us[x]) for x in loops])
    return {"rows": kept.rows}


def profile(options: Options) -> dict[str, Any]:
    """torch.profiler over a batch: us of each kernel, and what a step takes beside them.

    In the graph's loop that is the cost of an iteration of the WHILE node with its gaps.
    """
    import torch
    from torch.profiler import ProfilerActivity

    from benchmarks.decode import make_memory, make_weights
    from python_ref.attn_gru_step import DecoderWeights

    cuda = options.device == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    steps, found = 6 if options.quick else 60, {}
    for name, sizes, B in [b for b in batches(options) if b[0] != "small"]:
        weights = DecoderWeights(*on_device(make_weights(sizes), options))
        memory, length = on_device(make_memory(sizes, B), options)
        force = torch.full((B,), steps, device=options.tensors)
        for loop, made in decoders(weights, options.dtypes[-2:][0], options).items():
            if obstacle(made, B, 5):
                continue

            def run(d=made, m=memory, n=length, f=force) -> None:
                d.beam_search(m, n, 5, force_length=f)

            step_us = interleaved({"": run}, options)[""]["ms"] * 1e3 / steps
            with torch.profiler.profile(activities=kinds) as profiler:
                run()
            kernels = {}
            for event in profiler.key_averages():
                total = event.device_time_total if cuda else event.self_cpu_time_total
                if total > 0 and (not cuda or "khmer_fast" in event.key):
                    kernels[event.key[:120]] = {"calls": event.count, "us": total / event.count}
            in_steps = sum(k["us"] * k["calls"] for k in kernels.values()) / steps
            found[f"{name} B = {B} {loop}".strip()] = {
                "step_us": step_us,
                "kernels_us": in_steps,
                "beside_them_us": step_us - in_steps,
                "kernels": dict(
                    sorted(kernels.items(), key=lambda x: -x[1]["us"] * x[1]["calls"])[:12]
                ),
            }
    return found


def counters(options: Options) -> dict[str, Any]:
    """ncu over selection and attention, with the clocks as they are."""
    program = shutil.which("ncu")
    if program is None or options.device != "cuda":
        raise NotRun("ncu is not on PATH" if program is None else "ncu needs a GPU")
    found = {}
    for kernel in ("select_kernel", "attend_kernel"):
        command = [program, "--clock-control", "none", "--kernel-name", f"regex:{kernel}",
                   "--launch-skip", "20", "--launch-count", "2", "--set", "full",
                   *part_command("one_batch", options)]  # fmt: skip
        ended = run_limited(command, options.out / f"ncu_{kernel}.log", 45)
        found[kernel] = "not run: its time ended" if ended.code is None else ended.said[-3500:]
    return found


def one_batch(options: Options) -> dict[str, Any]:
    """What ncu looks at: a batch of 32 lines in the plain loop."""
    import torch

    from benchmarks.decode import Sizes, make_memory, make_weights
    from python_ref.attn_gru_step import DecoderWeights

    weights = DecoderWeights(*on_device(make_weights(Sizes()), options))
    memory, length = on_device(make_memory(Sizes(), 32), options)
    made = decoder(weights, "bfloat16", "plain", options)
    made.beam_search(memory, length, 5, force_length=torch.full((32,), 30, device=options.tensors))
    return {"ran": True}


def reading(options: Options) -> dict[str, Any]:
    """PNG to text, lines a second, with the packaged model."""
    from khmer_fast.recognize.reader import Reader

    if options.device == "emulator":
        raise NotRun("the emulator does not read lines")
    image = str(ROOT / "examples" / "line.png")
    rows, differing = {}, {}
    for dtype in ("float32", "bfloat16") if options.device == "cuda" else ("float32",):
        reader = Reader(device=options.device, dtype=dtype, batch_size=4 if options.quick else 256)
        images = [image] * (4 if options.quick else 4096)
        text = reader.read(image).text
        reader.read_batch(images[: len(images) // 4])
        begin = time.perf_counter()
        answers = reader.read_batch(images)
        seconds = time.perf_counter() - begin
        rows[dtype] = {"lines_per_second": len(images) / seconds, "text": text}
        wrong = sorted({line.text for line in answers} - {text})
        if wrong:
            differing[dtype] = wrong[:5]
    if differing:
        raise PartFailed("a line reads otherwise in a batch", {"rows": rows, "texts": differing})
    return {"rows": rows}


class Kept:
    """Rows in a file that grows as they come."""

    def __init__(self, file: Path):
        self.file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.rows: list[dict[str, Any]] = []
        for line in lines:
            try:
                self.rows.extend(json.loads(line))
            except json.JSONDecodeError:  # the last line of a process that was killed
                break
        file.write_text("".join(json.dumps([row]) + "\n" for row in self.rows))

    def has(self, **key: object) -> bool:
        return any(all(row.get(k) == v for k, v in key.items()) for row in self.rows)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Together, so that no group is kept in part."""
        self.rows += rows
        with self.file.open("a") as file:
            file.write(json.dumps(rows) + "\n")
