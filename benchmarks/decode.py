"""`python -m benchmarks.decode`: the fused decoder against eager PyTorch and torch.compile of it.

Inside the timer: memory to tokens, keys and first state included, packing of the weights not. All
engines run the same weights and memory and must give the same answers: that is checked first, and
no speed is printed where it fails. Times are medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.eager import EagerDecoder
from benchmarks.parity import TIE, compare, rescore
from khmer_fast import ops
from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import BeamResult, beam_search

# Tokens with <eos> of the 73 lines of the shared real_lines, in canonical form.
REAL_LENGTHS = (
    22, 25, 21, 13, 7, 62, 82, 98, 87, 81, 90, 75, 94, 80, 88, 86, 82, 48, 85, 93, 96, 92, 61, 94,
    90, 93, 101, 99, 100, 22, 25, 21, 14, 16, 7, 68, 32, 73, 85, 84, 90, 21, 74, 24, 67, 129, 84,
    22, 15, 28, 17, 21, 54, 62, 87, 89, 78, 86, 80, 88, 79, 76, 92, 86, 7, 74, 87, 43, 32, 37, 28,
    39, 28,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    name: str
    B: int
    K: int
    lengths: tuple[int, ...]  # steps of each line, <eos> included

    @property
    def force_length(self) -> Tensor:
        return torch.tensor(self.lengths)


@dataclass(frozen=True)
class Sizes:
    V: int = 208
    D: int = 256
    E: int = 512
    A: int = 512
    H: int = 512
    T: int = 128


@dataclass(frozen=True)
class Row:
    """One engine on one case; times are medians in microseconds."""

    case: str
    engine: str
    B: int
    K: int
    us_a_step: float  # one step of the whole batch: time / longest line
    us_a_line_step: float  # time / steps of all lines
    lines_per_second: float
    characters_per_second: float
    over_eager: float
    mean_steps: float
    mean_live: float | None = None
    mean_parents: float | None = None
    floor_us: float | None = None  # of a line-step
    over_floor: float | None = None
    same_answers: float | None = None  # share of lines; bfloat16 may differ, others must not
    p50_ms: float | None = None
    p99_ms: float | None = None


def real_lengths(B: int) -> tuple[int, ...]:
    """B lengths that spread as those of the real lines do, longest and shortest well mixed."""
    ordered = sorted(REAL_LENGTHS)
    picked = [ordered[(2 * i + 1) * len(ordered) // (2 * B)] for i in range(B)]
    return tuple(picked[(i * 7) % B] for i in range(B)) if B % 7 else tuple(picked)


def make_weights(sizes: Sizes, seed: int = 0) -> DecoderWeights:
    """Seeded weights whose beams have 2 to 3 unique parents: tokens come in threes nearly alike."""
    rng = torch.Generator().manual_seed(seed)
    V, D, E, A, H = sizes.V, sizes.D, sizes.E, sizes.A, sizes.H

    def matrix(rows: int, columns: int, scale: float = 1.0) -> Tensor:
        return torch.randn(rows, columns, generator=rng) * (scale / columns**0.5)

    def vector(n: int, scale: float) -> Tensor:
        return torch.randn(n, generator=rng) * scale

    return DecoderWeights(
        embedding=torch.randn(V, D, generator=rng),
        W_k=matrix(A, E), b_k=vector(A, 0.1), W_init=matrix(H, E), b_init=vector(H, 0.1),
        W_q=matrix(A, H), v=vector(A, 4.0 / A**0.5),
        W_ih=matrix(3 * H, D + E), W_hh=matrix(3 * H, H),
        b_ih=vector(3 * H, 0.1), b_hh=vector(3 * H, 0.1),
        W_o=matrix(V, H + E, 4.0)[torch.arange(V) // 3 * 3] + matrix(V, H + E, 0.2),
        b_o=vector(V, 0.1),
    )  # fmt: skip


def make_memory(sizes: Sizes, B: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(B, sizes.T, sizes.E, generator=rng), torch.full((B,), sizes.T)


def cases(quick: bool) -> list[Case]:
    steps, batches = (12, (1, 4)) if quick else (60, (1, 32))
    out = [Case(f"forced {steps}", B, K, (steps,) * B) for K in (5, 1) for B in batches]
    if not quick:
        out += [Case("real lengths", 1, 5, (n,)) for n in real_lengths(3)]
        out.append(Case("real lengths", 32, 5, real_lengths(32)))
    return out


def floor_seconds(
    sizes: Sizes, rows: BeamResult, B: int, peak: float, bandwidth: float, energies: float
) -> float:
    """Least time of a line-step in float32: docs/performance.md, section 1, floor(U).

    peak, bandwidth, energies: operations, bytes and energy terms a second, measured here.
    """
    steps = float(rows.steps.sum())
    U, live = float(rows.parents.sum()) / steps, float(rows.live.sum()) / steps
    V, E, A, H, T = sizes.V, sizes.E, sizes.A, sizes.H, sizes.T
    products = U * (A * H + 3 * H * H + 3 * H * E + V * E + T * E) + live * V * H
    arithmetic = 2 * products / peak + U * T * A / energies
    keys = 2 * B * T * A * E / peak / steps  # W_k memory, once a line
    return keys + max(arithmetic, weight_bytes(sizes) / bandwidth / B)


def weight_bytes(sizes: Sizes) -> int:
    V, E, A, H = sizes.V, sizes.E, sizes.A, sizes.H
    return 4 * (A * H + 3 * H * H + 3 * H * E + V * (H + E))


def gate(weights: DecoderWeights, memory: Tensor, length: Tensor, a: BeamResult, b: BeamResult):
    """Which lines' answers differ by more than a tie; empty is green."""
    red = []
    for line in range(memory.shape[0]):
        x, y = (r.tokens[line, 0, : int(r.length[line, 0])].tolist() for r in (a, b))
        if x != y:
            scores = [rescore(weights, memory[line], length[line], t) for t in (x, y)]
            if not abs(scores[0] - scores[1]) < TIE:
                red.append(f"line {line}: scores {scores}")
    return red


def check_reference(weights, memory, length, decoder: ops.Decoder, K: int) -> list[str]:
    """The fused decoder against python_ref on a few lines, traces included."""
    memory, length = memory[:2], length[:2]
    force = torch.full_like(length, 20)
    options = dict(force_length=force, return_trace=True)
    expected = beam_search(weights, memory, length, K, **options, return_attention=True)
    got = decoder.beam_search(memory, length, K, **options)
    return list(compare(weights, memory, length, expected, got).failures)


def run_case(
    case: Case,
    sizes: Sizes,
    weights: DecoderWeights,
    engines: dict[str, Callable[..., BeamResult]],
    rounds: int,
    limits: tuple[float, float, float],  # peak, bandwidth, energies
) -> list[Row]:
    """Rows of all engines; raises SystemExit where their answers differ."""
    memory, length = make_memory(sizes, case.B)
    arguments = (memory, length, case.K)
    results = {
        name: decode(*arguments, force_length=case.force_length) for name, decode in engines.items()
    }
    for name, result in results.items():
        if name == "bf16":
            continue
        red = gate(weights, memory, length, results["eager"], result)
        if red:
            raise SystemExit(f"{case.name}, B = {case.B}: {name} differs from eager: {red[:3]}")
    runs = [
        lambda d=decode: d(*arguments, force_length=case.force_length)
        for decode in engines.values()
    ]
    times = machine.interleaved(runs, rounds)
    eager = statistics.median(times[list(engines).index("eager")])
    rows = []
    for (name, result), each in zip(results.items(), times, strict=True):
        seconds = statistics.median(each)
        steps = sum(case.lengths)
        row = dict(
            case=case.name,
            engine=name,
            B=case.B,
            K=case.K,
            us_a_step=seconds / max(case.lengths) * 1e6,
            us_a_line_step=seconds / steps * 1e6,
            lines_per_second=case.B / seconds,
            characters_per_second=(steps - case.B) / seconds,
            over_eager=eager / seconds,
            mean_steps=steps / case.B,
        )
        if isinstance(result, ops.DecodeResult):
            row |= dict(
                mean_live=float(result.live.sum()) / steps,
                mean_parents=float(result.parents.sum()) / steps,
            )
            if name == "fused":
                floor = floor_seconds(sizes, result, case.B, *limits)
                row |= dict(floor_us=floor * 1e6, over_floor=seconds / steps / floor)
            if name == "bf16":
                tokens, expected = result.tokens, results["fused"].tokens
                row["same_answers"] = float((tokens == expected).all(2).float().mean())
            if case.B == 1:
                many = machine.interleaved([runs[list(results).index(name)]], 100)[0]
                row |= dict(
                    p50_ms=statistics.median(many) * 1e3,
                    p99_ms=statistics.quantiles(many, n=100)[98] * 1e3,
                )
        rows.append(Row(**row))
    return rows


def two_threads(decoder: ops.Decoder, sizes: Sizes, lines: int, rounds: int) -> dict[str, float]:
    """What a second thread gains for `lines` lines, beside what it gains for plain arithmetic."""
    memory, length = make_memory(sizes, lines)
    force = torch.tensor(real_lengths(lines))

    def run(threads: int) -> Callable[[], object]:
        return lambda: decoder.beam_search(memory, length, force_length=force, threads=threads)

    one, two = machine.interleaved([run(1), run(2)], rounds)
    gain, possible = statistics.median(one) / statistics.median(two), machine.gain_of_two_threads()
    return dict(lines=lines, gain=gain, arithmetic_gain=possible, share=(gain - 1) / (possible - 1))


def table(rows: list[Row]) -> str:
    head = (
        f"{'case':<14}{'engine':<9}{'B':>3}{'K':>3}{'us/step':>11}{'us/line-step':>13}"
        f"{'lines/s':>9}{'chars/s':>9}{'x eager':>8}{'steps':>7}{'live':>6}{'U':>6}"
        f"{'floor us':>9}{'x floor':>8}{'same':>6}{'p50 ms':>8}{'p99 ms':>8}"
    )

    def cell(value: float | None, width: int, digits: int) -> str:
        return f"{'' if value is None else format(value, f'.{digits}f'):>{width}}"

    lines = [head]
    for r in rows:
        lines.append(
            f"{r.case:<14}{r.engine:<9}{r.B:>3}{r.K:>3}{r.us_a_step:>11.1f}"
            f"{r.us_a_line_step:>13.1f}{r.lines_per_second:>9.1f}{r.characters_per_second:>9.0f}"
            f"{r.over_eager:>8.2f}{r.mean_steps:>7.1f}{cell(r.mean_live, 6, 2)}"
            f"{cell(r.mean_parents, 6, 2)}{cell(r.floor_us, 9, 1)}{cell(r.over_floor, 8, 2)}"
            f"{cell(r.same_answers, 6, 2)}{cell(r.p50_ms, 8, 2)}{cell(r.p99_ms, 8, 2)}"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, a few seconds")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs of each engine")
    parser.add_argument("--compile", action="store_true", help="torch.compile of eager, too")
    options = parser.parse_args(argv)

    torch.set_num_threads(1)
    sizes = Sizes(V=48, D=32, E=64, A=64, H=64, T=32) if options.quick else Sizes()
    weights = make_weights(sizes)
    decoder = ops.Decoder(weights)
    memory, length = make_memory(sizes, 2)
    for K in (1, 5):
        red = check_reference(weights, memory, length, decoder, K)
        if red:
            print(f"parity with python_ref is red, no speed is printed: {red}", file=sys.stderr)
            return 1

    about = machine.describe()
    peak, bandwidth = machine.peak_flops(), machine.read_bandwidth(weight_bytes(sizes))
    energies = ops.peak_energies()
    print(
        f"{about['processor']}, {about['cores']} cores, {about['instruction_set']}, torch "
        f"{about['torch']}, one thread: {peak / 1e9:.0f} GFLOP/s, "
        f"{bandwidth / 1e9:.0f} GB/s over {weight_bytes(sizes) / 1e6:.1f} MB of weights, "
        f"{energies / 1e9:.1f} G energy terms/s"
    )
    engines = {"eager": EagerDecoder(weights).beam_search}
    if options.compile:
        engines["compile"] = EagerDecoder(weights, compile=True).beam_search
    engines["fused"] = lambda *a, **o: decoder.beam_search(*a, **o, threads=1)
    narrow = ops.Decoder(weights, "bfloat16")
    if narrow.computes_in == "bfloat16":
        engines["bf16"] = lambda *a, **o: narrow.beam_search(*a, **o, threads=1)
    limits = (peak, bandwidth, energies)
    rows: list[Row] = []
    for case in cases(options.quick):
        rows += run_case(case, sizes, weights, engines, options.rounds, limits)
    print(table(rows))
    threads = two_threads(decoder, sizes, 8 if options.quick else 64, options.rounds)
    print(
        f"two threads, {threads['lines']} lines: {threads['gain']:.2f} times one; two arithmetic "
        f"loops: {threads['arithmetic_gain']:.2f} times one"
    )
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {memory_mb:.0f} MB")
    print(
        json.dumps(
            dict(
                machine=about,
                sizes=asdict(sizes),
                peak_gflops=peak / 1e9,
                read_gb_per_second=bandwidth / 1e9,
                energies_g_per_second=energies / 1e9,
                rows=[asdict(row) for row in rows],
                threads=threads,
                peak_memory_mb=memory_mb,
            )
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
