"""attn_gru_sequence for CUDA, emulated on CPU tensors, against the plain loop and its autograd."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from khmer_fast.cli.info import collect
from khmer_fast.sequence import attn_gru_sequence
from khmer_fast.train.line_objective import find_recurrent, find_sequence
from python_ref.attn_gru_sequence import attn_gru_sequence as reference
from python_ref.encoder import Encoder
from tests.cuda_emulator import COMPILER, HERE, ROOT, compile_sources
from tests.test_attn_gru_sequence import (
    OP,
    SCALES,
    SHAPES,
    differing,
    make,
    op_arguments,
    op_run,
    run,
    to_dtype,
)

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

KERNELS = ROOT / "csrc/cuda/attn_gru_sequence_cuda.cu"
TORCH = Path(torch.__file__).parent
NAMESPACE = "khmer_fast_sequence"  # the emulated module's, beside the real one


def compile_object(folder: Path, source: Path, *flags: str) -> Path:
    include = [TORCH / "include", TORCH / "include/torch/csrc/api/include"]
    flags += (f"-Dkhmer_fast={NAMESPACE}", "-fPIC", "-c", f"-I{HERE / 'torch'}")
    flags += tuple(f"-isystem{path}" for path in include)
    return compile_sources(folder / f"{source.name}.o", [source], *flags)


def link(folder: Path, objects: list[Path]) -> Path:
    libraries = [f"-L{TORCH / 'lib'}", "-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"]
    return compile_sources(folder / "sequence.so", objects, "-shared", *libraries)


def load(library: Path) -> torch.library.Library:
    """Puts the emulated operators in the place of the CPU's, for as long as the result lives."""
    torch.ops.load_library(str(library))
    place = torch.library.Library("khmer_fast", "IMPL")
    with warnings.catch_warnings(action="ignore"):  # it tells of the overriding
        for name in ("attn_gru_sequence", "attn_gru_sequence_backward"):
            emulated = getattr(getattr(torch.ops, NAMESPACE), name).default
            place.impl(name, emulated, "CPU", allow_override=True)
    return place


@pytest.fixture(scope="module")
def host_objects(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("host")
    sources = (HERE / "sequence_harness.cpp", HERE / "host.cpp")
    return [compile_object(folder, source, "-O0", "-g0") for source in sources]


@pytest.fixture(scope="module")
def library(host_objects, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sequence")
    return link(folder, [*host_objects, compile_object(folder, KERNELS, "-O1")])


@pytest.fixture(scope="module")
def emulator(library):
    """The library's emulator_* functions, while its operators stand in the CPU's place."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    place = load(library)
    functions = ctypes.CDLL(str(library))
    functions.emulator_launches.restype = ctypes.c_uint64
    functions.emulator_options.argtypes = [ctypes.c_uint64, ctypes.c_bool, ctypes.c_double]
    yield functions
    place._destroy()
    torch.set_num_threads(threads)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_plain_loop(emulator, shape: str, scale: str):
    arguments = make(**SHAPES[shape], scale=SCALES[scale])
    before = emulator.emulator_launches()
    found = run(attn_gru_sequence, arguments)
    # four kernels a step, forward and backward; the last gradient of the state and the keys'
    assert emulator.emulator_launches() - before == 8 * SHAPES[shape]["S"] + 2
    # where the tanh saturates, what is left of a derivative is rounding
    tolerance = 1e-9 if scale == "usual" else 1e-6
    assert differing(found, run(reference, arguments), tolerance) == []


@pytest.mark.parametrize("seed", range(6))
def test_random_sizes_in_any_order_of_threads(emulator, seed: int):
    """Sizes beside those of the tiles, blocks of a launch one by one and all at once."""
    generator = torch.Generator().manual_seed(seed)
    highest = dict(B=20, T=70, S=4, E=70, A=140, D=4, H=40, V=12)
    sizes = {
        name: int(torch.randint(1, high + 1, (), generator=generator))
        for name, high in highest.items()
    }
    emulator.emulator_options(seed, seed == 5, 20.0)
    arguments = make(**sizes, seed=seed)
    found = run(attn_gru_sequence, arguments)
    assert differing(found, run(reference, arguments), 1e-9) == [], sizes
    emulator.emulator_options(seed + 100, False, 20.0)
    again = run(attn_gru_sequence, arguments)
    assert all(torch.equal(x, again[name]) for name, x in found.items())


def test_deep_products(emulator):
    """More than one chunk of every product, and a last one that is not full."""
    arguments = make(B=2, T=3, S=2, E=136, A=40, D=3, H=110, V=7)
    expected = run(reference, arguments)
    assert differing(run(attn_gru_sequence, arguments), expected, 1e-9) == []


def test_gradcheck(emulator):
    arguments = op_arguments(make(B=2, T=3, S=2, E=2, A=3, D=2, H=2, V=4))

    def results(*values):
        return OP(*values)[:3]

    assert torch.autograd.gradcheck(results, tuple(arguments.values()), fast_mode=True)


@pytest.mark.parametrize("outlier", [0.0, 30.0, 60.0], ids=["paired", "factored", "direct"])
@pytest.mark.parametrize("seed", range(2))
def test_float32_error_is_within_twice_eager(emulator, outlier: float, seed: int):
    """One key far from 0 in each line decides the form of the tanh."""
    arguments = make(B=5, T=40, S=8, E=72, A=48, D=16, H=64, V=50, dtype=torch.float32, seed=seed)
    if outlier:
        with torch.no_grad():
            arguments["key"][:, 0, 0] = outlier
    exact = run(reference, to_dtype(arguments, torch.float64))
    eager, found = run(reference, arguments), run(attn_gru_sequence, arguments)
    for name, x in exact.items():
        allowed = 2 * (eager[name] - x).abs().max() + 1e-6 * x.abs().max()
        assert bool((found[name] - x).abs().max() <= allowed), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_is_never_read(emulator, dtype: torch.dtype):
    arguments = op_arguments(make(**SHAPES["ragged"], dtype=dtype))
    arguments["target_length"][1] = 0
    clean, clean_gradients = op_run(arguments)
    poisoned = {name: x.detach().clone() for name, x in arguments.items()}
    poisoned["h_0"][1] = torch.nan
    lengths = zip(arguments["length"], arguments["target_length"], strict=True)
    for b, (length, steps) in enumerate(lengths):
        poisoned["memory"][b, length:] = torch.nan
        poisoned["key"][b, length:] = torch.nan
        poisoned["gate_input"][b, steps:] = torch.nan
    leaves = [x.requires_grad_() for x in poisoned.values() if x.is_floating_point()]
    output = OP(**poisoned)
    for found, expected in zip(output, clean, strict=True):
        assert torch.equal(found, expected)
    # what comes from above at steps that do not exist has no influence either
    generator = torch.Generator().manual_seed(2)
    upstream = [
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(dtype) for x in output[:3]
    ]
    steps = arguments["gate_input"].shape[1]
    ended = torch.arange(steps) >= arguments["target_length"][:, None]
    upstream = [x.masked_fill(ended[:, :, None], torch.nan) for x in upstream]
    gradients = torch.autograd.grad(output[:3], leaves, upstream)
    for found, (name, expected) in zip(gradients, clean_gradients.items(), strict=True):
        assert torch.equal(found, expected), name


def test_nothing_is_left_unwritten(emulator):
    """Every result is the same when fresh memory is full of NaN."""
    arguments = op_arguments(make(**SHAPES["ragged"], dtype=torch.float32))
    output, gradients = op_run(arguments)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        again, gradients_again = op_run(arguments)
    finally:
        torch.use_deterministic_algorithms(False)
    first, second = [*output, *gradients.values()], [*again, *gradients_again.values()]
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_a_nan_in_the_data_shows_in_its_line_alone(emulator):
    arguments = make(**SHAPES["ragged"], dtype=torch.float32)
    arguments["target_length"].fill_(7)
    with torch.no_grad():
        clean, _ = attn_gru_sequence(**arguments)
        arguments["memory"][1, 0, 0] = torch.nan
        log_probs, _ = attn_gru_sequence(**arguments)
    assert log_probs[1].isnan().all()
    others = [0, 2, 3, 4]
    assert torch.equal(log_probs[others], clean[others])


def test_a_line_does_not_depend_on_its_batch(emulator):
    sizes = SHAPES["ragged"] | dict(B=18, S=3)  # more lines than a tile has rows
    arguments = op_arguments(make(**sizes, dtype=torch.float32))
    output, gradients = op_run(arguments)
    lines = ("memory", "key", "length", "h_0", "gate_input", "target_length")
    for b in (0, 9, 17):
        alone = {name: x[b : b + 1] if name in lines else x for name, x in arguments.items()}
        with torch.no_grad():
            for x, y in zip(OP(**alone), output, strict=True):
                assert torch.equal(x, y[b : b + 1])
    assert all(bool(x.isfinite().all()) for x in gradients.values())


def test_a_part_of_the_results_is_enough(emulator):
    arguments = op_arguments(make(**SHAPES["ragged"]))
    leaves = [x for x in arguments.values() if x.requires_grad]
    parts = [torch.autograd.grad(OP(**arguments)[i].sum(), leaves) for i in range(3)]
    whole = torch.autograd.grad(sum(x.sum() for x in OP(**arguments)[:3]), leaves)
    for x, *each in zip(whole, *parts, strict=True):
        torch.testing.assert_close(sum(each), x)


def test_results_have_the_shapes_that_were_registered(emulator):
    arguments = op_arguments(make(**SHAPES["ragged"]))
    output = OP(**arguments)
    saved = [x.detach() for name, x in arguments.items() if name not in ("gate_input", "b_hh")]
    upstream = [torch.ones_like(x) for x in output[:3]]
    backward = torch.ops.khmer_fast.attn_gru_sequence_backward
    for op, given in ((OP, arguments.values()), (backward, (*upstream, *saved, *output))):
        given = tuple(x.detach() for x in given)
        torch.library.opcheck(op, given, test_utils=("test_schema", "test_faketensor"))


def test_empty_batches(emulator):
    for changed in (dict(B=0), dict(S=0)):
        arguments = op_arguments(make(**SHAPES["square"]))
        for name, x in arguments.items():
            if "B" in changed and name not in ("W_q", "v", "W_ic", "W_hh", "b_hh"):
                arguments[name] = x.detach()[:0].requires_grad_(x.requires_grad)
        if "S" in changed:
            arguments["gate_input"] = arguments["gate_input"].detach()[:, :0].requires_grad_()
            arguments["target_length"].zero_()
        output, gradients = op_run(arguments)
        assert [x.shape[:2].numel() for x in output] == [0] * 5
        assert all(bool((x == 0).all()) for x in gradients.values())


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("key", torch.zeros(5, 8, 13), ValueError,
         r"key must have shape \[B, T, A\] = \[5, 9, 13\], got \[5, 8, 13\]"),
        ("length", torch.tensor([9, 0, 1, 1, 1]), ValueError,
         r"length must lie in \[1, 9\], got 0 for line 1"),
        ("target_length", torch.full((5,), 8), ValueError,
         r"target_length must lie in \[0, 7\], got 8 for line 0"),
        ("memory", torch.zeros(5, 9, 11, dtype=torch.bfloat16), TypeError,
         "memory must have dtype Float or Double, got BFloat16"),
    ],
)  # fmt: skip
def test_bad_input_is_named(emulator, name: str, value, error: type, message: str):
    arguments = op_arguments(make(**SHAPES["ragged"], dtype=torch.float32))
    with pytest.raises(error, match=message):
        OP(**arguments | {name: value})


def test_inputs_need_not_be_contiguous_and_autocast_changes_nothing(emulator):
    arguments = op_arguments(make(**SHAPES["ragged"], dtype=torch.float32))
    output, gradients = op_run(arguments)
    strided = {
        name: x.detach().mT.contiguous().mT.requires_grad_(x.requires_grad) if x.dim() > 1 else x
        for name, x in arguments.items()
    }
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again, gradients_again = op_run(strided)
    for x, y in zip(output, again, strict=True):
        assert torch.equal(x, y)
    for name, x in gradients.items():
        torch.testing.assert_close(gradients_again[name], x, msg=name)


def test_training_on_a_gpu_takes_the_op_where_it_was_built(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr("khmer_fast.sequence.has_kernels", lambda device: True)
    assert find_sequence("fast", cuda) is attn_gru_sequence
    assert find_sequence("reference", cuda) is reference
    assert find_recurrent("fast", cuda) is Encoder.recurrent  # cuDNN's
    assert collect()["training"]["gpu_decoder"] == "khmer_fast::attn_gru_sequence"
    monkeypatch.setattr("khmer_fast.sequence.has_kernels", lambda device: False)
    assert find_sequence("fast", cuda) is reference
    assert collect()["training"]["gpu_decoder"] == "the plain loop: built for the CPU alone"


# Mistakes that the comparison must see: (what stands in the kernels, what is planted)
MISTAKES = {
    "barrier dropped": ("        tile.W[(i * kThreads + thread) / kColumns]"
                        "[g * kColumns + column] = w[g][i];\n    __syncthreads();",
                        "        tile.W[(i * kThreads + thread) / kColumns]"
                        "[g * kColumns + column] = w[g][i];"),
    "index doubled": ("d_product[2 * H] = d_h *", "d_product[H] = d_h *"),
    "factor of a mirrored gate": ("d_n * hidden * r * (1 - r)", "d_n * hidden * z * (1 - r)"),
    "step before": ("p.d_product + row_of(p, p.line[first + m], s + 1) * width",
                    "p.d_product + row_of(p, p.line[first + m], s) * width"),
    "position left out": ("for (int s = 0; s < (t0 < length ? steps : 0); ++s) {",
                          "for (int s = 1; s < (t0 < length ? steps : 0); ++s) {"),
}  # fmt: skip

# One process imports torch, and a child of it loads each library.
CATCH = """
import os, sys
import torch
torch.set_num_threads(1)
import tests.test_cuda_sequence as t
a = t.make(**t.SHAPES["ragged"])
a["target_length"].fill_(7)
expected = t.run(t.reference, a)
for library in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        place = t.load(t.Path(library))
        try:
            bad = t.differing(t.run(t.attn_gru_sequence, a), expected, 1e-6)
        except RuntimeError as error:  # the emulator's report
            bad = [str(error)[:200]]
        print(*bad, flush=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, library
"""


def test_planted_mistakes_are_caught(host_objects, library, tmp_path):
    text = KERNELS.read_text()
    libraries = [library]
    for i, (right, wrong) in enumerate(MISTAKES.values()):
        assert text.count(right) == 1
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / KERNELS.name).write_text(text.replace(right, wrong))
        object_ = compile_object(folder, folder / KERNELS.name, "-O0", "-g0")
        libraries.append(link(folder, [*host_objects, object_]))
    done = subprocess.run(
        [sys.executable, "-c", CATCH, *libraries], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    unchanged, *caught = done.stdout.split("\n")[:-1]
    print(dict(zip(MISTAKES, caught, strict=True)))
    assert unchanged == ""
    assert all(caught)


def test_sanitizers(tmp_path):
    """Address and undefined: both loops in a program of its own, arrays of just their size."""
    main = tmp_path / "main.cpp"
    main.write_text(MAIN)
    program = compile_sources(
        tmp_path / "sanitized", [KERNELS, main],
        "-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
    )  # fmt: skip
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


MAIN = """
#include <deque>
#include <vector>
#include "cuda/attn_gru_sequence_cuda.h"
using namespace khmer_fast;
const int B = 3, S = 3, T = 37, A = 67, E = 19, H = 21;
template <class X>
struct Arrays {
  std::deque<std::vector<X>> all;
  X* operator()(int rows, int columns) {
    auto& x = all.emplace_back(std::size_t(rows) * columns);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = X(int(i * 7 % 13) - 6) / 16;
    return x.data();
  }
};
template <class X>
int run() {
  Arrays<X> a;
  const std::int64_t length[] = {5, 1, 37}, steps[] = {2, 0, 3}, line[] = {2, 0, 1};
  const CudaSequence<X> in{B, S, T, A, E, H, a(B * T, E), a(B * T, A), a(B * T, A), a(B, 1),
                           length, steps, line, a(B, H), a(1, A)};
  const CudaSequenceForward<X> forward{
      in, a(B * S, 3 * H), a(H, A + 3 * H), a(E, 3 * H), a(3, H), a(B * S, H), a(B * S, E),
      a(B * S, T), a(B * S, 4 * H), a(B * S, A), a(B, 3 * H), a(B, T)};
  int bad = attn_gru_sequence_cuda(forward, nullptr);
  for (int given = 0; given < 2; ++given)
    bad |= attn_gru_sequence_backward_cuda(
        CudaSequenceBackward<X>{
            in, a(A + 3 * H, H), a(3 * H, E), forward.state, forward.weight, forward.gates,
            forward.q, a(B, 1), given ? a(B * S, H) : nullptr, given ? a(B * S, E) : nullptr,
            given ? a(B * S, T) : nullptr, a(B, H), a(B * S, A + 4 * H), a(B * S, E), a(B, T),
            a(B * S, T), a(B * T, A), a(B * ((T + kKeyPositions - 1) / kKeyPositions), A)},
        nullptr);
  return bad;
}
int main() { return run<float>() | run<double>(); }
"""
