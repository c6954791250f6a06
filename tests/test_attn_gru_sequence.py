"""attn_gru_sequence against the plain loop: values, each gradient, padding, registration."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor

from khmer_fast.sequence import attn_gru_sequence, attn_gru_states
from python_ref.attn_gru_sequence import attn_gru_sequence as reference
from tests.conftest import run_with

OP = torch.ops.khmer_fast.attn_gru_sequence
ISA = ("avx512", "avx2", "baseline")
SHAPES = {
    "ragged": dict(B=5, T=9, S=7, E=11, A=13, D=5, H=10, V=17),
    "one_position": dict(B=3, T=1, S=4, E=3, A=5, D=2, H=4, V=6),
    "one_step": dict(B=3, T=6, S=1, E=4, A=3, D=2, H=5, V=6),
    "one_line": dict(B=1, T=7, S=5, E=6, A=4, D=3, H=5, V=8),
    "square": dict(B=4, T=8, S=6, E=8, A=8, D=8, H=8, V=8),
    "whole_vectors": dict(B=3, T=21, S=6, E=64, A=32, D=16, H=48, V=20),
    "whole_tiles": dict(B=8, T=19, S=3, E=44, A=20, D=4, H=40, V=9),  # eight lines go together
}
# of keys and queries: the three forms of the tanh, and all of it saturated
SCALES = {"usual": 1.0, "factored": 12.0, "direct": 40.0, "saturated": 1e4}


def make(
    B: int, T: int, S: int, E: int, A: int, D: int, H: int, V: int,
    dtype: torch.dtype = torch.float64, scale: float = 1.0, seed: int = 0,
) -> dict[str, Tensor]:  # fmt: skip
    """Arguments of attn_gru_sequence; the first line has all positions, the last all steps."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, factor: float = 1.0) -> Tensor:
        x = torch.randn(*shape, generator=generator, dtype=torch.float64) * factor
        return x.to(dtype).requires_grad_()

    length = torch.randint(1, T + 1, (B,), generator=generator)
    target_length = torch.randint(0, S + 1, (B,), generator=generator)
    length[0], target_length[-1] = T, S
    return dict(
        memory=normal(B, T, E),
        key=normal(B, T, A, factor=scale),
        length=length,
        h_0=normal(B, H),
        token=torch.randint(0, V, (B, S), generator=generator),
        target_length=target_length,
        embedding=normal(V, D),
        W_q=normal(A, H, factor=scale / math.sqrt(H)),
        v=normal(A),
        W_ih=normal(3 * H, D + E, factor=1 / math.sqrt(D + E)),
        W_hh=normal(3 * H, H, factor=1 / math.sqrt(H)),
        b_ih=normal(3 * H),
        b_hh=normal(3 * H),
        W_o=normal(V, H + E, factor=1 / math.sqrt(H + E)),
        b_o=normal(V),
    )


def to_dtype(arguments: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: x.detach().to(dtype).requires_grad_() if x.is_floating_point() else x
        for name, x in arguments.items()
    }


def run(function, arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    """Results and gradients of a loss that touches all of them, by name."""
    log_probs, weight = function(**arguments)
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (x * torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)).sum()
        for x in (log_probs, weight)
    )
    names = [name for name, x in arguments.items() if x.is_floating_point()]
    gradients = torch.autograd.grad(loss, [arguments[name] for name in names])
    found = {"log_probs": log_probs.detach(), "weight": weight.detach()}
    return found | {f"d_{name}": x for name, x in zip(names, gradients, strict=True)}


def differing(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> list[str]:
    """Names whose largest error exceeds `tolerance` of the expected tensor's largest value."""
    return [
        name
        for name, x in expected.items()
        if not bool((found[name] - x).abs().max() <= tolerance * (x.abs().max() + 1e-3))
    ]


def op_arguments(arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leaves for the op itself, from those of the whole function."""
    D = arguments["embedding"].shape[1]
    W_ih = arguments["W_ih"].detach()
    gate_input = arguments["embedding"].detach()[arguments["token"]] @ W_ih[:, :D].T
    names = ("memory", "key", "length", "h_0", "gate_input", "target_length", "W_q", "v")
    names += ("W_ic", "W_hh", "b_hh")
    found = arguments | dict(gate_input=gate_input, W_ic=W_ih[:, D:].contiguous())
    return {
        name: found[name].detach().requires_grad_(found[name].is_floating_point()) for name in names
    }


def op_run(arguments: dict[str, Tensor], seed: int = 2) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The op's results and its gradients by name."""
    output = OP(**arguments)
    generator = torch.Generator().manual_seed(seed)
    upstream = [
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in output[:3]
    ]
    names = [name for name, x in arguments.items() if x.is_floating_point()]
    gradients = torch.autograd.grad(output[:3], [arguments[name] for name in names], upstream)
    return list(output), dict(zip(names, gradients, strict=True))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_plain_loop(shape: str, scale: str):
    arguments = make(**SHAPES[shape], scale=SCALES[scale])
    expected = run(reference, arguments)
    # where the tanh saturates, what is left of a derivative is rounding
    tolerance = 1e-9 if scale == "usual" else 1e-6
    assert differing(run(attn_gru_sequence, arguments), expected, tolerance) == []


@pytest.mark.parametrize("shape", ["ragged", "one_position", "one_step", "one_line"])
def test_gradcheck(shape: str):
    sizes = SHAPES[shape] | dict(E=3, A=3, H=2, T=min(SHAPES[shape]["T"], 5))
    arguments = op_arguments(make(**sizes))

    def results(*values: Tensor):
        return OP(*values)[:3]

    assert torch.autograd.gradcheck(results, tuple(arguments.values()), fast_mode=False)


@pytest.mark.parametrize("outlier", [0.0, 30.0, 60.0], ids=["paired", "factored", "direct"])
@pytest.mark.parametrize("seed", range(3))
def test_float32_error_is_within_twice_eager(outlier: float, seed: int):
    """One key far from 0 in each line decides the form of the tanh."""
    sizes = dict(B=6, T=40, S=20, E=72, A=48, D=16, H=64, V=50)
    arguments = make(**sizes, dtype=torch.float32, seed=seed)
    if outlier:
        with torch.no_grad():
            arguments["key"][:, 0, 0] = outlier
    exact = run(reference, to_dtype(arguments, torch.float64))
    eager, found = run(reference, arguments), run(attn_gru_sequence, arguments)
    for name, x in exact.items():
        allowed = 2 * (eager[name] - x).abs().max() + 1e-6 * x.abs().max()
        assert bool((found[name] - x).abs().max() <= allowed), name


@pytest.mark.parametrize("isa", ISA)
def test_every_instruction_set(isa: str):
    """The float kernels agree with float64 on each instruction set that this processor has."""
    code = (
        "import tests.test_attn_gru_sequence as t, torch\n"
        "for shape in t.SHAPES.values():\n"
        "    for scale in (1.0, 12.0, 40.0):\n"
        "        exact = t.make(**shape, scale=scale)\n"
        "        found = t.run(t.attn_gru_sequence, t.to_dtype(exact, torch.float32))\n"
        "        expected = t.run(t.reference, exact)\n"
        "        bad = t.differing(found, expected, 1e-4 if scale == 1 else 1e-2)\n"
        "        assert not bad, (shape, scale, bad)\n"
    )
    run_with(isa, code)


@pytest.mark.parametrize("name", ["d_W_q", "d_v", "d_W_ih", "d_W_hh", "d_b_ih", "d_b_hh", "d_key"])
def test_the_comparison_catches_a_mutated_gradient(name: str):
    """Another order of gates, a transposition, one index doubled, one never written."""
    arguments = make(**SHAPES["square"])
    arguments["length"].fill_(8)
    arguments["target_length"].fill_(6)
    expected = run(reference, arguments)
    x = expected[name]
    mutants = [x.roll(8, 0) if x.shape[0] == 24 else x.flip(0), x.clone(), x.clone(), 2 * x]
    mutants[1][0] = mutants[1][1]
    mutants[2][-1] = 0
    if x.dim() == 2 and x.shape[0] == x.shape[1]:
        mutants.append(x.T)
    for mutant in mutants:
        assert differing(expected | {name: mutant}, expected, 1e-6) == [name]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_is_never_read(dtype: torch.dtype):
    arguments = op_arguments(make(**SHAPES["ragged"], dtype=dtype))
    clean, clean_gradients = op_run(arguments)
    poisoned = {name: x.detach().clone() for name, x in arguments.items()}
    steps = arguments["gate_input"].shape[1]
    for b, (length, steps_b) in enumerate(
        zip(arguments["length"], arguments["target_length"], strict=True)
    ):
        poisoned["memory"][b, length:] = torch.nan
        poisoned["key"][b, length:] = torch.nan
        poisoned["gate_input"][b, steps_b:] = torch.nan
    poisoned = {name: x.requires_grad_(x.is_floating_point()) for name, x in poisoned.items()}
    output = OP(**poisoned)
    for found, expected in zip(output, clean, strict=True):
        assert torch.equal(found, expected)
    # what comes from above at steps that do not exist has no influence either
    generator = torch.Generator().manual_seed(2)
    upstream = [
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(dtype) for x in output[:3]
    ]
    ended = torch.arange(steps) >= arguments["target_length"][:, None]
    upstream = [x.masked_fill(ended[:, :, None], torch.nan) for x in upstream]
    leaves = [x for x in poisoned.values() if x.requires_grad]
    gradients = torch.autograd.grad(output[:3], leaves, upstream)
    for found, (name, expected) in zip(gradients, clean_gradients.items(), strict=True):
        assert torch.equal(found, expected), name


def test_nothing_is_left_unwritten():
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
    for x, y in zip(first, second, strict=True):
        assert torch.equal(x, y)


def test_a_nan_in_the_data_shows_in_its_line_alone():
    arguments = make(**SHAPES["ragged"], dtype=torch.float32)
    arguments["target_length"].fill_(7)
    with torch.no_grad():
        clean, _ = attn_gru_sequence(**arguments)
        arguments["memory"][1, 0, 0] = torch.nan
        log_probs, _ = attn_gru_sequence(**arguments)
    assert log_probs[1].isnan().all()
    others = [0, 2, 3, 4]
    assert torch.equal(log_probs[others], clean[others])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_line_does_not_depend_on_its_batch_or_on_threads(dtype: torch.dtype):
    arguments = op_arguments(make(**SHAPES["whole_vectors"] | dict(B=7), dtype=dtype))
    lines = ("memory", "key", "length", "h_0", "gate_input", "target_length")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        output, gradients = op_run(arguments)
        torch.set_num_threads(3)
        threaded, threaded_gradients = op_run(arguments)
    finally:
        torch.set_num_threads(before)
    for x, y in zip(output, threaded, strict=True):
        assert torch.equal(x, y)
    for name in ("memory", "key", "h_0", "gate_input", "v"):
        assert torch.equal(gradients[name], threaded_gradients[name]), name
    for b in range(7):
        alone = {name: x[b : b + 1] if name in lines else x for name, x in arguments.items()}
        with torch.no_grad():
            for x, y in zip(OP(**alone), output, strict=True):
                assert torch.equal(x, y[b : b + 1])


def test_two_runs_are_equal_bit_for_bit():
    arguments = make(**SHAPES["whole_vectors"], dtype=torch.float32)
    first, second = run(attn_gru_sequence, arguments), run(attn_gru_sequence, arguments)
    for name, x in first.items():
        assert torch.equal(x, second[name]), name


def test_a_gradient_is_added_to_what_is_there():
    arguments = make(**SHAPES["ragged"])
    for _ in range(2):
        attn_gru_sequence(**arguments)[0].sum().backward()
    twice = arguments["W_hh"].grad
    once = torch.autograd.grad(attn_gru_sequence(**arguments)[0].sum(), arguments["W_hh"])[0]
    assert torch.equal(twice, 2 * once)


def test_inputs_need_not_be_contiguous():
    arguments = make(**SHAPES["ragged"])
    expected = run(attn_gru_sequence, arguments)
    strided = {
        name: x.detach().mT.contiguous().mT.requires_grad_(x.is_floating_point())
        if x.dim() > 1
        else x
        for name, x in arguments.items()
    }
    found = run(attn_gru_sequence, strided)
    assert differing(found, expected, 1e-12) == []


def test_opcheck():
    for dtype in (torch.float32, torch.float64):
        arguments = op_arguments(make(**SHAPES["ragged"], dtype=dtype))
        torch.library.opcheck(OP, tuple(arguments.values()))


def test_compiles_as_one_graph():
    arguments = make(**SHAPES["ragged"], dtype=torch.float32)
    compiled = torch.compile(attn_gru_sequence, backend="aot_eager", fullgraph=True)
    expected = run(attn_gru_sequence, arguments)
    assert differing(run(compiled, arguments), expected, 1e-5) == []


def test_autocast_computes_in_float32():
    arguments = make(**SHAPES["ragged"], dtype=torch.float32)
    expected = run(attn_gru_sequence, arguments)

    def under_autocast(**arguments: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return attn_gru_sequence(**arguments)

    found = run(under_autocast, arguments)
    assert found["log_probs"].dtype == torch.float32
    assert differing(found, expected, 1e-6) == []
    inputs = op_arguments(arguments)
    _, gradients = op_run(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # of the backward too
        _, gradients_under_autocast = op_run(inputs)
    assert differing(gradients_under_autocast, gradients, 1e-6) == []
    halves = {name: arguments[name].detach().bfloat16() for name in ("memory", "key", "h_0")}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_probs, _ = attn_gru_sequence(**arguments | halves)
    assert log_probs.dtype == torch.float32


def test_what_is_saved_for_the_backward_has_no_gradient_of_its_own():
    output = OP(**op_arguments(make(**SHAPES["ragged"])))
    assert [x.requires_grad for x in output] == [True, True, True, False, False]


def test_a_part_of_the_results_is_enough():
    arguments = make(**SHAPES["ragged"])
    inputs = {name: arguments[name] for name in inspect.signature(attn_gru_states).parameters}
    for i in range(3):
        attn_gru_states(**inputs)[i].sum().backward()
    assert arguments["memory"].grad is not None


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("memory", torch.zeros(5, 11), ValueError, r"memory must have shape \[B, T, E\], got"),
        ("key", torch.zeros(5, 8, 13), ValueError,
         r"key must have shape \[B, T, A\] = \[5, 9, 13\], got \[5, 8, 13\]"),
        ("length", torch.zeros(5), TypeError, "length must have dtype Long, got Float"),
        ("length", torch.tensor([9, 0, 1, 1, 1]), ValueError,
         r"length must lie in \[1, 9\], got 0 for line 1"),
        ("target_length", torch.full((5,), 8), ValueError,
         r"target_length must lie in \[0, 7\], got 8 for line 0"),
        ("h_0", torch.zeros(5, 10, dtype=torch.float64), TypeError,
         "h_0 must have dtype Float, got Double"),
        ("W_hh", torch.zeros(10, 30), ValueError,
         r"W_hh must have shape \[3H, H\] = \[30, 10\], got \[10, 30\]"),
        ("v", torch.zeros(12), ValueError, r"v must have shape \[A\] = \[13\], got \[12\]"),
        ("memory", torch.zeros(5, 9, 11, dtype=torch.bfloat16), TypeError,
         "memory must have dtype Float or Double, got BFloat16"),
    ],
)  # fmt: skip
def test_bad_input_is_named(name: str, value: Tensor, error: type, message: str):
    arguments = op_arguments(make(**SHAPES["ragged"], dtype=torch.float32))
    with pytest.raises(error, match=message):
        OP(**arguments | {name: value})


def test_names_are_those_of_the_reference():
    names = list(inspect.signature(reference).parameters)
    assert list(inspect.signature(attn_gru_sequence).parameters) == names
    schema = OP.default._schema
    made = {"gate_input", "W_ic"}  # from token, embedding, W_ih and b_ih
    kept = [argument.name for argument in schema.arguments if argument.name not in made]
    assert kept == [name for name in names if name in kept]
