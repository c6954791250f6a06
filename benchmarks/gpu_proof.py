"""Parts of `benchmarks.gpu` that prove: build, smoke, equal bits, parity, tests, sanitizers."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu_run import (
    CARRY,
    LARGEST_BEAM,
    LOOPS,
    ROOT,
    NotRun,
    Options,
    PartFailed,
    decoders,
    obstacle,
    on_device,
    output,
    part_command,
    run_limited,
    search,
    write_whole,
)


def environment(options: Options) -> dict[str, Any]:
    """What runs here."""
    import importlib.util

    import torch

    facts: dict[str, Any] = {"torch": torch.__version__, "torch_cuda": torch.version.cuda}
    for program in ("nvidia-smi", "nvcc", "compute-sanitizer", "ncu"):
        facts[program] = shutil.which(program)
    for module in ("setuptools", "numpy", "PIL", "fontTools", "rapidfuzz", "safetensors"):
        facts[module] = importlib.util.find_spec(module) is not None
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
        facts["device"] = f"no GPU: {options.device}"
    return facts


def build(options: Options) -> dict[str, Any]:
    """The compiled module for the one architecture at hand, or the one that was carried."""
    if options.device == "emulator":
        from benchmarks.gpu_run import emulated_class

        return {"module": str(emulated_class(options))}
    carried = CARRY / "module"
    if options.device == "cuda" and carried.is_dir():
        for file in carried.iterdir():
            shutil.copy2(file, ROOT / file.name)
    check = [sys.executable, "-c", "from khmer_fast import ops; print(vars(ops.build))"]
    try:
        record = output(check)
        if options.device == "cpu" or carried.is_dir():
            return {"record": record.strip()[-600:], "built": False}
    except PartFailed:
        if options.device == "cpu":
            raise
    import torch

    major, minor = torch.cuda.get_device_capability(0)
    said = output(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        KHMER_FAST_CUDA="1", MAX_JOBS=str(os.cpu_count() or 1),
        TORCH_CUDA_ARCH_LIST=f"{major}.{minor}",
    )  # fmt: skip
    return {"record": output(check).strip()[-600:], "built": True, "said": said[-1500:]}


def small_decoder(options: Options) -> tuple[Any, Any, Any]:
    """Weights, memory and length of six lines, small enough for a sanitizer."""
    from benchmarks.decode import Sizes, make_memory, make_weights
    from python_ref.attn_gru_step import DecoderWeights

    sizes = Sizes(V=37, D=8, E=40, A=23, H=36, T=21)
    weights = DecoderWeights(*on_device(make_weights(sizes), options))
    return weights, *on_device(make_memory(sizes, 6), options)


def smoke(options: Options) -> dict[str, Any]:
    """Every loop and storage type answers a small batch as the plain loop does."""
    import torch

    weights, memory, length = small_decoder(options)
    force = torch.full((6,), 7, device=options.tensors)
    answers: dict[str, list[Any]] = {}
    for dtype in options.dtypes:
        for loop, made in decoders(weights, dtype, options).items():
            got = made.beam_search(memory, length, 5, force_length=force, return_attention=True)
            answers[f"{dtype} {loop}".strip()] = got.tokens[:, 0].cpu().tolist()
    first = {name.split()[0]: found for name, found in reversed(answers.items())}
    other = [name for name, found in answers.items() if found != first[name.split()[0]]]
    if other:
        raise PartFailed(f"other tokens than the plain loop: {', '.join(other)}", answers)
    return {"loops": list(answers)}


def equality(options: Options) -> dict[str, Any]:
    """Lines of a batch that fills every seat and refills them, bit for bit as each alone."""
    import torch

    from benchmarks.decode import Sizes, make_memory, make_weights
    from python_ref.attn_gru_step import DecoderWeights
    from python_ref.beam_search import beam_search

    sizes = Sizes(48, 32, 64, 64, 64, 32) if options.quick else Sizes()
    B, steps = (12, 6) if options.quick else (300, 40)
    plain = DecoderWeights(*make_weights(sizes))
    weights = DecoderWeights(*on_device(plain, options))
    memory, length = make_memory(sizes, B)
    rng = torch.Generator().manual_seed(0)
    length = torch.randint(1, sizes.T + 1, (B,), generator=rng)
    limit = torch.randint(1, steps + 1, (B,), generator=rng)
    arguments = dict(beam=5, n_best=2, alpha=0.6)
    failures, compared, worst = [], 0, 0.0
    for dtype in options.dtypes:
        for loop, made in decoders(weights, dtype, options).items():
            if obstacle(made, B, 5):
                continue
            inputs = on_device((memory, length), options)
            together = made.beam_search(*inputs, **arguments, step_limit=limit.to(options.tensors))
            for b in range(0, B, 7 if B > 100 else 3):
                one = slice(b, b + 1)
                alone = made.beam_search(
                    *(x[one] for x in inputs), **arguments,
                    step_limit=limit[one].to(options.tensors),
                )  # fmt: skip
                S = alone.tokens.shape[2]
                for name in ("tokens", "log_prob", "position"):
                    a, b_ = getattr(alone, name)[0], getattr(together, name)[b, :, :S]
                    if not torch.equal(a, b_):
                        failures.append(f"{dtype} {loop} line {b}: {name}")
                if not torch.equal(alone.score[0], together.score[b]):
                    failures.append(f"{dtype} {loop} line {b}: score")
                compared += 1
            if dtype == "float32":
                for b in range(4):
                    one = slice(b, b + 1)
                    with torch.no_grad():
                        expected = beam_search(
                            plain, memory[one], length[one], **arguments, step_limit=limit[one]
                        )
                    S = expected.log_prob.shape[2]
                    far = (expected.log_prob[0] - together.log_prob[b, :, :S].cpu()).abs().max()
                    worst = max(worst, float(far))
    found = {"compared": compared, "against_the_reference": worst, "failures": failures[:20]}
    if failures or worst > 1e-4:
        raise PartFailed(f"{len(failures)} lines differ from themselves alone", found)
    return found


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
        if case.beam > (18 if options.device == "emulator" else LARGEST_BEAM):
            continue
        device = DecoderWeights(*on_device(case.weights, options))
        arguments = dict(beam=case.beam, n_best=case.n_best, alpha=case.alpha)
        with torch.no_grad():
            expected = beam_search(
                case.weights, case.memory, case.length, **arguments,
                step_limit=case.step_limit, return_attention=True, return_trace=True,
            )  # fmt: skip
        for loop, made in decoders(device, "float32", options).items():
            if obstacle(made, len(case.length), case.beam):
                continue
            got = search(made, case, options.tensors, arguments)
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
        other = ops.attn_gru_step(*on_device(step, options))
        for name, a, b in zip(worst, one, other, strict=True):
            difference = float((a - b.cpu()).abs().max())
            worst[name] = max(worst[name], difference)
            if not difference <= 1e-4:
                failures.append(f"seed {seed}: attn_gru_step {name} is off by {difference}")
        for dtype in options.dtypes[1:]:
            for loop, made in decoders(device, dtype, options).items():
                if obstacle(made, len(case.length), case.beam):
                    continue
                narrow = search(made, case, options.tensors, arguments)
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


def each_loop(
    name: str, command: list[str], options: Options, seconds: float
) -> dict[str, dict[str, Any]]:
    """Runs `command` once in each loop; each loop's result is kept in FOLDER/NAME.loops.json.

    A loop that was not reached, or stopped at its share of the seconds, is "not run"; one that
    ended well stands when the part is repeated.
    """
    kept = options.out / f"{name}.loops.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for loop in LOOPS:
        if found.get(loop, {}).get("exit") == 0:
            continue
        log = options.out / f"{name}_{loop}.log"
        ended = run_limited(command, log, seconds / len(LOOPS), KHMER_FAST_CUDA_LOOP=loop)
        found[loop] = {"exit": "not run" if ended.code is None else ended.code, "said": ended.said}
        write_whole(kept, json.dumps(found, indent=1))
    bad = [loop for loop, x in found.items() if x["exit"] not in (0, "not run")]
    if bad:
        raise PartFailed(f"{name} failed in the loop {', '.join(bad)}", found)
    late = [loop for loop, x in found.items() if x["exit"] == "not run"]
    if late:
        raise PartFailed(f"{name} did not end in time: {', '.join(late)}", found)
    return found


def tests(options: Options) -> dict[str, Any]:
    """The tests that are skipped without a GPU, in each loop."""
    if options.device != "cuda":
        raise NotRun(f"tests/test_gpu.py needs a GPU, the device is {options.device}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    return each_loop("tests", command, options, 95)


def probe(options: Options) -> dict[str, Any]:
    """What the sanitizers look at: a small batch with everything on, in KHMER_FAST_CUDA_LOOP."""
    import torch

    weights, memory, length = small_decoder(options)
    loop = os.environ.get("KHMER_FAST_CUDA_LOOP", "")
    for dtype in options.dtypes:
        for name, made in decoders(weights, dtype, options).items():
            if loop and name and name != loop:
                continue
            for force in (None, torch.full((6,), 7, device=options.tensors)):
                made.beam_search(
                    memory, length, 5, 3, 0.6, force_length=force, return_attention=True,
                    return_trace=True,
                    step_limit=torch.full((6,), 9, device=options.tensors),
                )  # fmt: skip
    if options.device == "cuda":
        torch.cuda.synchronize()
    return {"ran": True}


def sanitizer(tool: str, options: Options, seconds: float) -> dict[str, Any]:
    """One of compute-sanitizer's tools over `probe`, a process a loop."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        raise NotRun("compute-sanitizer is not on PATH")
    command = [program, "--tool", tool, "--error-exitcode", "9", "--kernel-regex",
               "kns=khmer_fast", *part_command("probe", options)]  # fmt: skip
    return each_loop(tool, command, options, seconds)


def training(options: Options) -> dict[str, Any]:
    """`tiny` through khmer-fast train on the device; with --train MINUTES `small`, too."""
    if options.device == "emulator":
        raise NotRun("the emulator does not train")
    cases = [("tiny", 2 if options.quick else 40, 32 if options.quick else 2000, 1.0)]
    if options.train_minutes > 0:
        cases.append(("small", 1000, 20000, options.train_minutes))
    found = {}
    for config, epochs, lines, minutes in cases:
        folder = options.out / f"train_{config}"
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "khmer_fast", "train", "--data", "rendered", "--out",
                   str(folder), "--config", config, "--device", options.device,
                   "--epochs", str(epochs), "--lines-per-epoch", str(lines),
                   "--batch-lines", "16" if options.quick else "64",
                   "--validate-lines", "8" if options.quick else "200"]  # fmt: skip
        data = {"KHMER_FAST_DATA": str(CARRY)} if (CARRY / "text").is_dir() else {}
        ended = run_limited(command, options.out / f"train_{config}.log", minutes * 60, **data)
        for missing in ("expected Khmer fonts", "there is no such text file", "No module named"):
            if missing in ended.said:
                raise NotRun(ended.said.strip().splitlines()[-1])
        state = "stopped at its time" if ended.code is None else f"exit {ended.code}"
        found[config] = {"ended": state, "said": ended.said[-3000:]}
        if ended.code not in (0, None):
            raise PartFailed(f"training {config}: {state}", found)
    return found


def module_files() -> list[Path]:
    """The module that was built here, for the next call to carry."""
    return [*ROOT.glob("_khmer_fast*.so"), *ROOT.glob("_khmer_fast_build.py")]
