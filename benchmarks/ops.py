"""`python -m benchmarks.ops`: one decoder step, engine by engine, and what it is made of.

The step of the 512 configuration at K = 5 as eager PyTorch, torch.compile and ONNX Runtime run it
over all N = B * K rows, our operator over the same rows (it packs the weights at each call: the
decoder keeps them packed), and the step inside the fused beam search, which computes shared parents
once and selects its hypotheses, too. Parts: torch's own products and energies of the same shapes,
as shares of the machine's peak. All steps must give the same answers: that is checked first, and no
speed is printed where it fails. Medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import machine
from benchmarks.decode import Sizes, make_memory, make_weights
from benchmarks.eager import EagerDecoder
from khmer_fast import ops

TOLERANCE = 1e-3  # of a log-probability: float32 against float32, energies 4 / sqrt(A) each
STEPS = 60  # of the beam search that the fused step is measured in


@dataclass(frozen=True)
class Row:
    """One engine; microseconds are medians of one step of all B lines."""

    what: str
    B: int
    K: int
    us: float
    us_a_line: float
    gflops: float | None = None  # of the products and energies of all N rows
    share_of_peak: float | None = None


class Step:
    """Inputs of one step in the middle of a beam search, and every engine that computes it."""

    def __init__(self, sizes: Sizes, B: int, K: int, compile: bool):
        self.sizes, self.B, self.K = sizes, B, K
        w = self.w = make_weights(sizes)
        self.memory, self.length = make_memory(sizes, B)
        self.key = F.linear(self.memory, w.W_k, w.b_k)  # [B, T, A]
        self.outside = torch.zeros(B, 1, sizes.T, dtype=torch.bool)
        rng = torch.Generator().manual_seed(2)
        self.token = torch.randint(3, sizes.V, (B * K,), generator=rng)
        self.h = torch.randn(B * K, sizes.H, generator=rng).tanh()  # [N, H]
        self.engines = {"eager": EagerDecoder(w).step}
        if compile:
            self.engines["torch.compile"] = EagerDecoder(w, compile=True).step
        if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
            self.engines["ONNX Runtime"] = self.onnx_runtime()
        self.engines["attn_gru_step, packing"] = self.fused

    def arguments(self) -> tuple[Tensor, ...]:
        return self.memory, self.key, self.outside, self.token, self.h

    def fused(self, memory: Tensor, key: Tensor, outside: Tensor, token: Tensor, h: Tensor):
        w = self.w
        log_probs, h, _ = ops.attn_gru_step(
            memory, key, self.length, token, h, w.embedding, w.W_q, w.v, w.W_ih, w.W_hh,
            w.b_ih, w.b_hh, w.W_o, w.b_o,
        )  # fmt: skip
        return log_probs, h

    def onnx_runtime(self) -> Callable[..., tuple[Tensor, Tensor]]:
        import onnxruntime

        step = EagerDecoder(self.w)._step

        class Module(torch.nn.Module):
            def forward(self, *arguments: Tensor):
                return step(*arguments)

        file, names = io.BytesIO(), ["memory", "key", "outside", "token", "h"]
        torch.onnx.export(
            Module(), self.arguments(), file, input_names=names, dynamo=False, opset_version=17
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            file.getvalue(), options, providers=["CPUExecutionProvider"]
        )
        taken = {i.name for i in session.get_inputs()}  # a constant input is folded away

        def run(*arguments: Tensor) -> tuple[Tensor, Tensor]:
            feed = {n: a.numpy() for n, a in zip(names, arguments, strict=True) if n in taken}
            log_probs, h = session.run(None, feed)
            return torch.from_numpy(log_probs), torch.from_numpy(h)

        return run

    def check(self) -> None:
        """Raises SystemExit where an engine's log-probabilities differ from eager's."""
        with torch.inference_mode():
            expected, _ = self.engines["eager"](*self.arguments())
            for name, engine in self.engines.items():
                difference = float((engine(*self.arguments())[0] - expected).abs().max())
                if not difference < TOLERANCE:
                    raise SystemExit(
                        f"B = {self.B}: {name} differs from eager by {difference}, "
                        f"no speed is printed"
                    )

    def operations(self) -> float:
        """Of one step of all N rows: 2 a multiply-add, 1 a tanh."""
        V, D, E, A, H, T = (getattr(self.sizes, n) for n in ("V", "D", "E", "A", "H", "T"))
        products = A * H + 3 * H * (D + E) + 3 * H * H + V * (H + E) + T * E + T * A
        return float(self.B * self.K * (2 * products + T * A))

    def rows(self, rounds: int, peak: float) -> list[Row]:
        runs = {
            name: lambda engine=engine: engine(*self.arguments())
            for name, engine in self.engines.items()
        }
        decoder = ops.Decoder(self.w)
        narrow = ops.Decoder(self.w, "bfloat16")
        force = torch.full((self.B,), STEPS)
        inside = {"beam search, a step": decoder}
        if narrow.computes_in == "bfloat16":
            inside["beam search bf16, a step"] = narrow
        for name, each in inside.items():
            runs[name] = lambda d=each: d.beam_search(
                self.memory, self.length, self.K, force_length=force, threads=1
            )
        with torch.inference_mode():
            for run in runs.values():
                run()
            times = machine.interleaved(list(runs.values()), rounds)
        out = []
        for (name, _), each in zip(runs.items(), times, strict=True):
            seconds = statistics.median(each) / (STEPS if name in inside else 1)
            rate = None if name in inside else self.operations() / seconds
            out.append(self.row(name, seconds, rate, peak))
        return out

    def row(self, what: str, seconds: float, rate: float | None, peak: float) -> Row:
        return Row(
            what, self.B, self.K, seconds * 1e6, seconds * 1e6 / self.B,
            rate and rate / 1e9, rate and rate / peak,
        )  # fmt: skip

    def parts(self, rounds: int, peak: float) -> list[Row]:
        """torch's own operators on the shapes of one step."""
        V, D, E, A, H, T = (getattr(self.sizes, n) for n in ("V", "D", "E", "A", "H", "T"))
        w, N, h = self.w, self.B * self.K, self.h
        x, y = torch.randn(N, D + E), torch.randn(N, H + E)
        weight = torch.rand(self.B, self.K, T)
        q = torch.randn(self.B, self.K, 1, A)
        log_probs = torch.randn(self.B, self.K * V)
        products = 2 * N
        named: dict[str, tuple[Callable[[], object], float]] = {
            "linear q, at::linear": (lambda: F.linear(h, w.W_q), products * A * H),
            "linear gates of the input": (
                lambda: F.linear(x, w.W_ih, w.b_ih), products * 3 * H * (D + E)),
            "linear gates of the state": (
                lambda: F.linear(h, w.W_hh, w.b_hh), products * 3 * H * H),
            "linear output": (lambda: F.linear(y, w.W_o, w.b_o), products * V * (H + E)),
            "context, bmm": (lambda: torch.bmm(weight, self.memory), products * T * E),
            "energy, tanh(q + key) v": (
                lambda: torch.tanh(q + self.key[:, None]) @ w.v, N * T * A * 3.0),
            "topk of K V candidates": (lambda: log_probs.topk(self.K), 0.0),
        }  # fmt: skip
        with torch.inference_mode():
            for run, _ in named.values():
                run()
            times = machine.interleaved([run for run, _ in named.values()], 5 * rounds)
        out = []
        for (name, (_, operations)), each in zip(named.items(), times, strict=True):
            seconds = statistics.median(each)
            out.append(self.row(f"  {name}", seconds, operations / seconds or None, peak))
        return out


def table(rows: list[Row]) -> str:
    head = f"{'step or part':<30}{'B':>3}{'K':>3}{'us':>11}{'us/line':>9}{'GFLOP/s':>9}{'peak':>7}"
    lines = [head]
    for r in rows:
        rate = "" if r.gflops is None else f"{r.gflops:>9.1f}{r.share_of_peak:>7.0%}"
        lines.append(f"{r.what:<30}{r.B:>3}{r.K:>3}{r.us:>11.1f}{r.us_a_line:>9.1f}{rate}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, a few seconds")
    parser.add_argument("--rounds", type=int, default=20, help="interleaved runs of each engine")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the step, too")
    options = parser.parse_args(argv)

    torch.set_num_threads(1)
    sizes = Sizes(V=48, D=32, E=64, A=64, H=64, T=32) if options.quick else Sizes()
    steps = [Step(sizes, B, 5, options.compile) for B in ((1, 4) if options.quick else (1, 32))]
    for step in steps:
        step.check()
    about, peak = machine.describe(), machine.peak_flops()
    print(
        f"{about['processor']}, {about['cores']} cores, {about['instruction_set']}, torch "
        f"{about['torch']}, one thread: {peak / 1e9:.0f} GFLOP/s"
    )
    rows = [
        row
        for step in steps
        for row in step.rows(options.rounds, peak) + step.parts(options.rounds, peak)
    ]
    print(table(rows))
    if "ONNX Runtime" not in steps[0].engines:
        print("ONNX Runtime left out: `pip install onnxruntime onnx` to have it")
    print(json.dumps({"machine": about, "peak_gflops": peak / 1e9, "sizes": asdict(sizes),
                      "rows": [asdict(row) for row in rows]}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
