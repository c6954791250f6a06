"""The decoder's kernels in the emulator, and what the tests compare with the reference."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.parity import compare
from python_ref.beam_search import BeamResult, Trace, beam_search
from tests.cuda_emulator import HERE, ROOT, compile_sources
from tests.random_models import Case, random_weights

CUDA = ROOT / "csrc" / "cuda"
HARNESS = [HERE / "decoder_harness.cpp", HERE / "host.cpp"]
STORAGES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
CHOSEN = np.dtype(
    [("parent", "i4"), ("token", "i4"), ("score", "f4"), ("log_prob", "f4"), ("row", "i4"),
     ("length", "i4"), ("position", "i4")]
)  # fmt: skip


class Call(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int)
        for name in (
            "B K T S V D E A H seats n_best forced loop select_threads rows_ahead early"
        ).split()
    ]
    _fields_ += [("patience", ctypes.c_longlong), ("alpha", ctypes.c_double)]


def compile_objects(folder: Path, sources: list[Path], *include: str) -> dict[str, Path]:
    flags = ("-O1", "-fPIC", "-c", *include)
    return {x.name: compile_sources(folder / f"{x.name}.o", [x], *flags) for x in sources}


def link(folder: Path, objects: dict[str, Path]) -> Path:
    return compile_sources(folder / "decoder.so", list(objects.values()), "-shared")


def once_a_run(factory: pytest.TempPathFactory, make: Callable[[Path], None]) -> Path:
    """A folder that `make` has filled, for all test files and processes of a run."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / make.__name__
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            make(folder)
            (folder / "made").touch()
    return folder


def emulated_decoder(folder: Path) -> None:
    link(folder, compile_objects(folder, [*CUDA.glob("*.cu"), *HARNESS]))


def decoder_library(factory: pytest.TempPathFactory) -> Path:
    return once_a_run(factory, emulated_decoder) / "decoder.so"


def decoder_objects(factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the library was linked of, by the source's name."""
    return {x.stem: x for x in once_a_run(factory, emulated_decoder).glob("*.o")}


def pointers(arrays) -> ctypes.Array:
    return (ctypes.c_void_p * len(arrays))(*(a and a.pointer for a in arrays))


LOOPS = ("plain", "graph", "persistent")
PATIENCE = 60_000_000_000  # ticks, which are nanoseconds in the emulator


def emulated(
    emulator, case: Case, dtype=torch.float32, attention=False, seats=None, loop="plain",
    patience=PATIENCE, variants=(256, 16, False), **options,
) -> BeamResult:  # fmt: skip
    """A loop of the search with the arguments and the result of the reference."""
    forced = options.get("force_length") is not None
    limit = options["force_length"] if forced else case.step_limit
    B, T = case.memory.shape[:2]
    V, D = case.weights.embedding.shape
    A, E = case.weights.W_k.shape
    S, K, n = max(1, int(limit.max())), case.beam, case.n_best
    call = Call(
        B, K, T, S, V, D, E, A, case.weights.W_q.shape[1], seats or B, n, forced,
        LOOPS.index(loop), *variants, patience, case.alpha,
    )  # fmt: skip
    weights = [emulator.put(w.numpy()) for w in case.weights]
    shapes = [(B, n, S), (B, n), (B, n), (B, n, S), (B, n), (B,), (B,), (B, n, S)]
    types = [np.int64, np.int64, np.float32, np.float32, bool, bool, np.int64, np.int64]
    out = [emulator.empty(s, t) for s, t in zip(shapes, types, strict=True)]
    out.append(emulator.empty((B, n, S, T)) if attention else None)
    history = emulator.empty((B, S, K), CHOSEN)
    inputs = [emulator.put(x.numpy()) for x in (case.memory, case.length, limit)]
    emulator.run(
        "emulated_beam_search",
        STORAGES[dtype], ctypes.byref(call), pointers(weights), *inputs, pointers(out), history,
    )  # fmt: skip
    *fields, position, weight = (torch.from_numpy(a.get()) if a else None for a in out)
    assert all(a.free() for a in out if a) and history.pointer is not None
    steps, chosen = fields[6], history.get()
    chosen[np.arange(S)[None] >= steps.numpy()[:, None]] = (-1, 0, -np.inf, 0, -1, 0, 0)
    longest = int(steps.max()) if B else 0
    trace = Trace(*(torch.from_numpy(chosen[k][:, :longest].copy()) for k in CHOSEN.names[:3]))
    return BeamResult(*fields, weight, trace, position)


def reference(case: Case, **options) -> BeamResult:
    arguments = dict(beam=case.beam, n_best=case.n_best, alpha=case.alpha, return_trace=True)
    arguments |= dict(step_limit=case.step_limit, return_attention=True) | options
    with torch.no_grad():
        return partial(beam_search, case.weights)(case.memory, case.length, **arguments)


def disagreements(emulator, case: Case, **options) -> tuple[tuple[str, ...], int]:
    """What differs from the reference, and how many lines differ at a tie."""
    got = emulated(emulator, case, **options)
    expected = reference(case, **{k: v for k, v in options.items() if k == "force_length"})
    parity = compare(case.weights, case.memory, case.length, expected, got)
    return parity.failures, len(parity.excused)


def usual(case: Case) -> bool:
    return case.beam <= 18  # larger ones cost much emulated time and show nothing new


def wide_beam() -> Case:
    """As many parents in a line as fill several tiles, and windows of their children."""
    rng = torch.Generator().manual_seed(8)
    w = random_weights(rng, V=33, D=3, E=16, A=7, H=17)
    memory, length = torch.randn(2, 5, 16, generator=rng), torch.tensor([5, 3])
    return Case(w, memory, length, 60, 2, 0.6, torch.tensor([5, 4]))


def batch(B: int, seed: int = 0, beam: int = 3, T: int = 21) -> Case:
    rng = torch.Generator().manual_seed(seed)
    w = random_weights(rng, V=37, D=8, E=40, A=23, H=36)
    w.b_o[2] += 1.5
    length = torch.randint(1, T + 1, (B,), generator=rng)
    memory = torch.randn(B, T, 40, generator=rng)
    return Case(w, memory, length, beam, 1, 0.0, torch.full((B,), 6))


def lines_that_differ(emulator, dtype, loop="plain") -> list[int]:
    rng = torch.Generator().manual_seed(4)
    B, T, K, seats = 136, 9, 4, 128  # rows: 512
    limit = torch.full((B,), 3)
    limit[5:B:9] = 1  # whose seats the last eight lines take
    w = random_weights(rng, V=240, D=8, E=270, A=70, H=250)
    memory, length = torch.randn(B, T, 270, generator=rng), torch.arange(B) % T + 1
    case = Case(w, memory, length, K, 1, 0.0, limit)
    together = emulated(emulator, case, dtype, seats=seats, loop=loop)
    parents = together.trace.parent[:, 1].sort(-1).values  # of the last step's children
    full = (parents.diff(dim=-1) != 0).all(-1)
    different = []
    for b in (0, 135, *full.nonzero().flatten()[:3].tolist()):
        one = slice(b, b + 1)
        emulator.seed(b)
        alone = emulated(emulator, Case(w, memory[one], length[one], K, 1, 0.0, limit[one]), dtype)
        for name in ("parent", "token", "score"):
            own = getattr(alone.trace, name)[0]
            if not torch.equal(own, getattr(together.trace, name)[b, : len(own)]):
                different.append(b)
    assert int(full.sum()) > 3
    return different


FIELDS = ("tokens", "length", "score", "log_prob", "truncated", "failed", "steps", "position")


def ragged(B: int, seed: int, n_best: int = 2, alpha: float = 0.6) -> Case:
    """Lines that end at different steps, one of them at none and one without numbers."""
    case = batch(B, seed)
    rng = torch.Generator().manual_seed(seed)
    limit = torch.randint(1, 9, (B,), generator=rng)
    limit[B // 2] = 0
    case.memory[B // 3] = torch.nan
    return Case(case.weights, case.memory, case.length, 3, n_best, alpha, limit)


def same(a: BeamResult, b: BeamResult) -> bool:
    names = FIELDS if a.attention is None else (*FIELDS, "attention")
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in names) and all(
        torch.equal(x, y)
        for x, y in zip(vars(a.trace).values(), vars(b.trace).values(), strict=True)
    )


def large_sizes() -> Case:
    """More positions and elements than the lanes of a block take at once."""
    rng = torch.Generator().manual_seed(6)
    w = random_weights(rng, V=19, D=5, E=300, A=200, H=72)
    memory, length = torch.randn(2, 300, 300, generator=rng), torch.tensor([300, 131])
    return Case(w, memory, length, 1, 1, 0.0, torch.tensor([3, 2]))


def all_equal(V: int, K: int) -> Case:
    """Every token is as likely as every other, to the bit: the order of places decides alone."""
    rng = torch.Generator().manual_seed(V)
    w = random_weights(rng, V=V, D=3, E=16, A=7, H=17)
    w.W_o[:], w.b_o[:] = 0.0, 0.0
    w.b_o[2] = -9.0  # the end of a line comes last
    memory, length = torch.randn(1, 5, 16, generator=rng), torch.tensor([5])
    return Case(w, memory, length, K, 1, 0.0, torch.tensor([4]))


def differing_ties(emulator) -> list[tuple[int, int]]:
    """Sizes (V, K) where not the reference's hypotheses survive, of so many that are equal."""
    different = []
    for V, K in ((50, 5), (50, 40), (300, 6)):  # several tokens a lane, two lists a lane, memory
        case = all_equal(V, K)
        got, expected = emulated(emulator, case).trace, reference(case).trace
        for name in ("parent", "token"):
            if not torch.equal(getattr(got, name), getattr(expected, name)):
                different.append((V, K))
    return different
