"""`python -m benchmarks.train`: the fused training ops against eager PyTorch, and whole steps.

Decoder: forward and backward of `attn_gru_sequence`, of the loop as a good engineer writes it
(what needs no state is taken out of it) and, with --compile, of that loop with a compiled step.
Training: whole steps of `small` on rendered lines, rendering included, by both backends; where
there are no texts to render (KHMER_FAST_DATA), that is said at the start and the rest is measured.
Gradients are compared first, and no speed is printed where they differ. Medians of interleaved
runs.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import machine
from khmer_fast.data import LineSource
from khmer_fast.errors import KhmerFastError
from khmer_fast.sequence import attn_gru_sequence
from khmer_fast.text import Vocabulary
from khmer_fast.train.samples import LineDataset
from python_ref.attn_gru_sequence import attn_gru_sequence as reference

TOLERANCE = 1e-3  # of a gradient's largest value, float32 against float32


@dataclass(frozen=True)
class Sizes:
    E: int
    A: int
    D: int
    H: int
    B: int = 32
    T: int = 128
    S: int = 80
    V: int = 208


CASES = {
    "512": Sizes(E=512, A=512, D=256, H=512),
    "small": Sizes(E=384, A=128, D=64, H=256),
    "quick": Sizes(E=24, A=16, D=8, H=16, B=3, T=9, S=6, V=20),
}


@dataclass(frozen=True)
class Row:
    """One engine on one case; seconds are medians of forward and backward."""

    case: str
    engine: str
    threads: int
    seconds: float
    over_eager: float


def make(
    sizes: Sizes, lines: int | None = None, seed: int = 0, device: str = "cpu"
) -> dict[str, Tensor]:
    """Arguments of attn_gru_sequence: full lines, or the first `lines` of them."""
    rng = torch.Generator().manual_seed(seed)
    B, T, S, V = lines or sizes.B, sizes.T, sizes.S, sizes.V
    E, A, D, H = sizes.E, sizes.A, sizes.D, sizes.H

    def leaf(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=rng) * scale).to(device).requires_grad_()

    arguments = dict(
        memory=leaf(B, T, E), key=leaf(B, T, A), length=torch.full((B,), T), h_0=leaf(B, H),
        token=torch.randint(0, V, (B, S), generator=rng), target_length=torch.full((B,), S),
        embedding=leaf(V, D), W_q=leaf(A, H, scale=H**-0.5), v=leaf(A, scale=A**-0.5),
        W_ih=leaf(3 * H, D + E, scale=(D + E) ** -0.5), W_hh=leaf(3 * H, H, scale=H**-0.5),
        b_ih=leaf(3 * H, scale=0.1), b_hh=leaf(3 * H, scale=0.1),
        W_o=leaf(V, H + E, scale=(H + E) ** -0.5), b_o=leaf(V, scale=0.1),
    )  # fmt: skip
    return {name: x.to(device) for name, x in arguments.items()}


def eager_step(
    memory: Tensor,  # [B, T, E]
    key: Tensor,  # [B, T, A]
    outside: Tensor,  # [B, T] bool
    gate_input: Tensor,  # [B, 3H], of the embedding
    h: Tensor,  # [B, H]
    W_state: Tensor,  # [A + 3H, H]: W_q, W_hh
    b_state: Tensor,  # [A + 3H]
    v: Tensor,  # [A]
    W_ic: Tensor,  # [3H, E]
) -> tuple[Tensor, Tensor]:
    A, H = key.shape[2], h.shape[1]
    q, gate_h = F.linear(h, W_state, b_state).split([A, 3 * H], 1)
    energy = torch.tanh(q[:, None] + key) @ v  # [B, T]
    weight = energy.masked_fill(outside, -torch.inf).softmax(1)
    context = torch.bmm(weight[:, None], memory)[:, 0]  # [B, E]
    r_i, z_i, n_i = (gate_input + F.linear(context, W_ic)).chunk(3, 1)
    r_h, z_h, n_h = gate_h.chunk(3, 1)
    n = torch.tanh(n_i + torch.sigmoid(r_i + r_h) * n_h)
    return torch.lerp(n, h, torch.sigmoid(z_i + z_h)), context


def eager_sequence(step: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., Tensor]:
    """The loop around `step`; its arguments are those of attn_gru_sequence."""

    def run(
        memory, key, length, h_0, token, target_length, embedding, W_q, v, W_ih, W_hh, b_ih, b_hh,
        W_o, b_o,
    ) -> Tensor:  # fmt: skip
        D, S = embedding.shape[1], token.shape[1]
        positions = torch.arange(memory.shape[1], device=memory.device)
        outside = positions[None, :] >= length[:, None]
        table = F.linear(embedding, W_ih[:, :D], b_ih)  # [V, 3H]
        gate_input = F.embedding(token, table).unbind(1)  # S of [B, 3H]
        W_state = torch.cat([W_q, W_hh])
        b_state = torch.cat([b_hh.new_zeros(W_q.shape[0]), b_hh])
        W_ic = W_ih[:, D:].contiguous()
        h, rows = h_0, []
        for s in range(S):
            h, context = step(memory, key, outside, gate_input[s], h, W_state, b_state, v, W_ic)
            rows += [h, context]
        state = torch.cat(rows, 1).view(h.shape[0], S, -1)  # [B, S, H + E]
        log_probs = F.linear(state, W_o, b_o).log_softmax(2)
        ended = torch.arange(S, device=memory.device)[None, :] >= target_length[:, None]
        return log_probs.masked_fill(ended[:, :, None], 0)

    return run


def engines(compile: bool) -> dict[str, Callable[..., Tensor]]:
    found = {"eager": eager_sequence(eager_step)}
    if compile:
        found["compile"] = eager_sequence(torch.compile(eager_step, dynamic=False))
    found["fused"] = lambda **arguments: attn_gru_sequence(**arguments)[0]
    return found


def loss_of(log_probs: Tensor, token: Tensor) -> Tensor:
    return F.nll_loss(log_probs.flatten(0, 1), token.flatten(), reduction="mean")


def forward_backward(
    engine: Callable[..., Tensor], arguments: dict[str, Tensor]
) -> tuple[Tensor, ...]:
    leaves = [x for x in arguments.values() if x.requires_grad]
    loss = loss_of(engine(**arguments), arguments["token"])
    return (loss.detach(), *torch.autograd.grad(loss, leaves))


def red(found: dict[str, Callable[..., Tensor]], sizes: Sizes, device: str) -> list[str]:
    """What differs from the reference on ragged lines: loss or gradients, by engine and name."""
    arguments = make(sizes, lines=2, device=device)
    arguments["length"][1] = sizes.T // 2
    arguments["target_length"][1] = sizes.S // 2
    expected = forward_backward(lambda **a: reference(**a)[0], arguments)
    names = ["loss", *(f"d_{name}" for name, x in arguments.items() if x.requires_grad)]
    out = []
    for engine, run in found.items():
        for name, x, y in zip(names, forward_backward(run, arguments), expected, strict=True):
            if not bool((x - y).abs().max() <= TOLERANCE * y.abs().max()):
                out.append(f"{engine}: {name} is off by {float((x - y).abs().max()):.3g}")
    return out


def time_decoder(case: str, found: dict, threads: int, rounds: int, device: str) -> list[Row]:
    torch.set_num_threads(threads)
    arguments = make(CASES[case], device=device)

    def once(engine: Callable[..., Tensor]) -> None:
        forward_backward(engine, arguments)
        if device != "cpu":
            torch.cuda.synchronize()

    runs = [lambda e=engine: once(e) for engine in found.values()]
    for run in runs:
        run()
    medians = [statistics.median(x) for x in machine.interleaved(runs, rounds)]
    eager = medians[list(found).index("eager")]
    return [
        Row(case, name, threads, seconds, eager / seconds)
        for name, seconds in zip(found, medians, strict=True)
    ]


def peak_mb(case: str, engine: str) -> float:
    """Peak memory that one forward and backward adds, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.train", "--peak-of", case, engine]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def own_peak_mb(case: str, engine: str) -> float:
    torch.set_num_threads(1)
    run = engines(compile=False)[engine]
    forward_backward(run, make(CASES["quick"]))  # loads the code
    arguments = make(CASES[case])

    def peak() -> float:  # of this process; ru_maxrss would begin with its parent's
        return float(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

    before = peak()
    forward_backward(run, arguments)
    return peak() - before


def open_lines() -> tuple[LineDataset, Vocabulary]:
    """Rendered lines to train on, fonts and texts opened; raises KhmerFastError without them."""
    vocabulary = Vocabulary()
    dataset = LineDataset(LineSource(), vocabulary, 48, seed=7)
    dataset[0]
    return dataset, vocabulary


def time_training(
    dataset: LineDataset, vocabulary: Vocabulary, batches: int, batch_lines: int, rounds: int
) -> dict[str, float]:
    """Lines a second of whole steps of `small`, one thread, rendering included, by backend."""
    from khmer_fast.train.line_objective import LineObjective
    from khmer_fast.train.loop import Trainer
    from khmer_fast.train.options import DataPart, TrainOptions
    from python_ref.config import make_config

    torch.set_num_threads(1)
    start = time.perf_counter()
    lines = [dataset[1 + i] for i in range(batches * batch_lines)]
    rendering = time.perf_counter() - start
    lines.sort(key=lambda line: line.image.shape[1])
    cut = [lines[i : i + batch_lines] for i in range(0, len(lines), batch_lines)]
    steps = {}
    for backend in ("reference", "fast"):
        options = TrainOptions(
            data=(DataPart("rendered"),),
            config="small",
            backend=backend,
            warmup_steps=1,
            ctc_only_epochs=0,
        )
        cpu = torch.device("cpu")
        objective = LineObjective(make_config("small", vocabulary.size), options, cpu)
        trainer = Trainer(objective, options, cpu)
        steps[backend] = lambda t=trainer: [t.train_step([batch], 1000) for batch in cut]
    for step in steps.values():
        step()
    times = machine.interleaved(list(steps.values()), rounds)
    rates = {
        backend: len(lines) / (rendering + statistics.median(each))
        for backend, each in zip(steps, times, strict=True)
    }
    return dict(
        lines=len(lines),
        rendering_seconds_a_line=rendering / len(lines),
        mean_width=sum(line.image.shape[1] for line in lines) / len(lines),
        reference_lines_per_second=rates["reference"],
        fast_lines_per_second=rates["fast"],
        ratio=rates["fast"] / rates["reference"],
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny decoder, no training steps")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["512", "small"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs of each engine")
    parser.add_argument("--compile", action="store_true", help="torch.compile of eager, too")
    parser.add_argument(
        "--batches", type=int, default=4, help="training batches; 0 leaves them out"
    )
    parser.add_argument(
        "--device", default="cpu", help="cuda: the decoder alone, on a GPU; no memory, no training"
    )
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.peak_of:
        print(own_peak_mb(*options.peak_of))
        return 0

    cases = ["quick"] if options.quick else options.cases
    torch.set_num_threads(1)
    lines = left_out = None
    if options.batches and not options.quick and options.device == "cpu":
        try:
            lines = open_lines()
        except KhmerFastError as error:
            left_out = f"training steps are left out: {error}"
            print(f"benchmarks.train: {left_out}", file=sys.stderr, flush=True)
    found = engines(options.compile)
    device, on_cpu = options.device, options.device == "cpu"
    wrong = [f"{case}: {text}" for case in cases for text in red(found, CASES[case], device)]
    if wrong:
        print(f"parity with python_ref is red, no speed is printed: {wrong}", file=sys.stderr)
        return 1

    about = machine.describe()
    print(
        f"{about['processor']}, {about['cores']} cores, {about['instruction_set']}, "
        f"torch {about['torch']}"
    )
    if not on_cpu:
        print(torch.cuda.get_device_name(device))
    rows: list[Row] = []
    print(f"{'case':<8}{'engine':<9}{'threads':>8}{'ms':>10}{'x eager':>9}")
    for case in cases:
        for threads in options.threads if on_cpu else [1]:
            for row in time_decoder(case, found, threads, options.rounds, device):
                rows.append(row)
                print(
                    f"{case:<8}{row.engine:<9}{threads:>8}{row.seconds * 1e3:>10.1f}"
                    f"{row.over_eager:>9.2f}"
                )
    memory = {
        case: {name: peak_mb(case, name) for name in ("eager", "fused")} for case in cases if on_cpu
    }
    for case, peaks in memory.items():
        share = peaks["fused"] / peaks["eager"] if peaks["eager"] else math.nan
        print(
            f"peak memory, {case}: eager {peaks['eager']:.0f} MB, fused {peaks['fused']:.0f} MB, "
            f"{share:.2f} times"
        )
    training = None
    if lines:
        training = time_training(*lines, options.batches, 32, max(1, options.rounds // 2))
        print(
            f"training small, rendering included, one thread: reference "
            f"{training['reference_lines_per_second']:.1f}, fast "
            f"{training['fast_lines_per_second']:.1f} lines/s, {training['ratio']:.2f} times"
        )
    print(
        json.dumps(
            dict(
                machine=about,
                device="cpu" if on_cpu else torch.cuda.get_device_name(device),
                sizes={case: asdict(CASES[case]) for case in cases},
                rows=[asdict(row) for row in rows],
                peak_mb=memory,
                training=training,
                left_out=left_out,
            )
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
