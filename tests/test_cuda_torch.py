"""csrc/cuda/decoder_torch.cpp over the emulator, on CPU tensors, against the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu_run import search
from benchmarks.parity import compare
from khmer_fast.recognize.engine import CudaDecoder
from python_ref.attn_gru_step import attn_gru_init, attn_gru_step
from python_ref.beam_search import beam_search
from tests.cuda_emulator import COMPILER, compile_torch
from tests.random_models import random_case

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    torch.ops.load_library(str(compile_torch(tmp_path_factory.mktemp("emulated"))))
    return torch.classes.khmer_fast_emulated.CudaDecoder


def decoder(native, weights, dtype="float32", loop="plain") -> CudaDecoder:
    made = CudaDecoder.__new__(CudaDecoder)
    made._bind(native, weights, dtype, loop)
    return made


def test_search_and_step(native):
    for seed in range(12):
        case = random_case(seed)
        if case.beam > 18:
            continue
        options = dict(beam=case.beam, n_best=case.n_best, alpha=case.alpha)
        expected = beam_search(
            case.weights, case.memory, case.length, **options, step_limit=case.step_limit,
            return_trace=True,
        )  # fmt: skip
        got = search(decoder(native, case.weights), case, "cpu", options)
        parity = compare(case.weights, case.memory, case.length, expected, got)
        assert not parity.failures, (seed, parity.failures)
        assert got.tokens.shape == expected.tokens.shape
        w, memory = case.weights, case.memory.nan_to_num()
        key, h = attn_gru_init(memory, case.length, w)
        token = torch.randint(0, w.embedding.shape[0], case.length.shape)
        rest = (w.embedding, w.W_q, w.v, w.W_ih, w.W_hh, w.b_ih, w.b_hh, w.W_o, w.b_o)
        step = (memory, key, case.length, token, h, *rest)
        emulated = torch.ops.khmer_fast_emulated.attn_gru_step(*step)
        for a, b in zip(attn_gru_step(*step), emulated, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_empty_batches_and_wrong_input(native):
    case = random_case(1)
    made = decoder(native, case.weights, "bfloat16")
    E = case.memory.shape[2]
    none = made.beam_search(torch.zeros(0, 4, E), torch.zeros(0, dtype=torch.int64))
    assert none.tokens.shape == (0, 1, 0)
    two = torch.zeros(2, dtype=torch.int64)
    still = made.beam_search(torch.zeros(2, 4, E), two + 4, step_limit=two)
    assert still.failed.tolist() == [True, True] and still.tokens.shape == (2, 1, 0)
    with pytest.raises(ValueError, match="beam must be at most 64"):
        made.beam_search(torch.zeros(2, 4, E), two + 4, beam=65)
    with pytest.raises(ValueError, match="length must be at most T"):
        made.beam_search(torch.zeros(2, 4, E), two + 5)
    with pytest.raises(ValueError, match="dtype must be"):
        decoder(native, case.weights, "int8")
    with pytest.raises(ValueError, match="loop must be plain, graph or persistent, got fast"):
        decoder(native, case.weights, loop="fast")


@pytest.mark.parametrize("loop", ["graph", "persistent"])
def test_loops(native, loop):
    """Batches of other sizes in turn through one decoder, and several at once."""
    weights = random_case(2).weights
    E = weights.W_k.shape[1]
    made, plain = decoder(native, weights, loop=loop), decoder(native, weights)
    rng = torch.Generator().manual_seed(0)
    for lines, positions in ((2, 9), (1, 40), (2, 9), (3, 5), (0, 4), (2, 0)):
        memory = torch.randn(lines, positions, E, generator=rng)
        length = torch.full((lines,), positions)
        options = dict(beam=3, n_best=2, return_attention=True, return_trace=True)
        options["step_limit"] = torch.arange(lines) + 3
        got, expected = (x.beam_search(memory, length, **options) for x in (made, plain))
        assert torch.equal(got.tokens, expected.tokens) and got.failed.equal(expected.failed)
        assert torch.equal(got.trace.token, expected.trace.token)
        torch.testing.assert_close(got.attention, expected.attention, atol=1e-5, rtol=0)
        torch.testing.assert_close(got.log_prob, expected.log_prob, atol=1e-5, rtol=0)


def test_what_does_not_fit_is_said_once(native):
    case = random_case(1)
    made = decoder(native, case.weights, loop="persistent")
    assert made.persistent_obstacle(1, 5) == "" and "32 rows" in made.persistent_obstacle(7, 5)
    memory = torch.zeros(4, 3, case.memory.shape[2])
    arguments = (memory, torch.full((4,), 3), 1, 1, 0.0, torch.full((4,), 2))
    expected = decoder(native, case.weights).beam_search(*arguments)
    with pytest.warns(
        UserWarning, match="plain loop decodes in place of the persistent one"
    ) as said:
        for _ in range(2):  # four lines, three multiprocessors
            assert torch.equal(made.beam_search(*arguments).tokens, expected.tokens)
    assert len(said) == 1


OPS = torch.ops.khmer_fast_emulated


def test_search_waits_for_the_packing_on_another_stream(native):
    """The first stream does its work when somebody waits for it."""
    case = random_case(1)
    options = (case.memory, case.length, case.beam, case.n_best, 0.0, case.step_limit)
    expected = decoder(native, case.weights).beam_search(*options)
    for loop in ("plain", "graph", "persistent"):
        OPS.recorded()
        OPS.use_stream(1)
        made = decoder(native, case.weights, loop=loop)
        OPS.use_stream(0)
        weights = {x.untyped_storage().data_ptr() for x in case.weights}
        flat = OPS.recorded()
        assert set(flat[::2]) == weights and set(flat[1::2]) == {1}, "read on stream 1"
        got = made.beam_search(*options)
        assert torch.equal(got.tokens, expected.tokens) and not got.failed.any(), loop
        flat = OPS.recorded()
        assert len(flat) == 2 and flat[1] == 0 and flat[0] not in weights, "the packed weights"


def test_line_beyond_the_shared_memory_is_named(native):
    case = random_case(1)
    made = decoder(native, case.weights)
    E, A = case.memory.shape[2], case.weights.W_k.shape[0]
    longest = ((99 - 4) << 10) // 4 - (A + 15) // 16 * 16
    try:
        OPS.emulated_shared(99 << 10)  # sm_86
        with pytest.raises(ValueError, match=f"at most T = {longest} positions on this GPU"):
            made.beam_search(torch.zeros(1, longest + 1, E), torch.ones(1, dtype=torch.int64))
    finally:
        OPS.emulated_shared(163 << 10)


def test_an_error_of_no_launch_names_no_kernel(native):
    """Kernels ran on this thread before; the emulator fills their shared memory with NaN."""
    case = random_case(1)
    decoder(native, case.weights).beam_search(case.memory, case.length)
    with pytest.raises(RuntimeError, match="a test failed on the GPU: the launch timed out"):
        OPS.fail_outside_a_launch()


def areas_of_memory() -> int:
    """Of this process; Linux allows 65,530."""
    return Path("/proc/self/maps").read_text().count("\n")


def test_positions_and_variants(native):
    case = random_case(4)
    options = dict(beam=case.beam, n_best=case.n_best, step_limit=case.step_limit)
    expected = beam_search(case.weights, case.memory, case.length, **options)
    before = areas_of_memory()
    for loop in ("plain", "graph+rows4", "plain+select128+rows4", "graph+early"):
        got = decoder(native, case.weights, loop=loop).beam_search(
            case.memory, case.length, **options
        )
        assert torch.equal(got.tokens, expected.tokens)
        assert torch.equal(got.position, expected.position)
    assert areas_of_memory() - before < 8000, "stacks of early launches are not given back"
    with pytest.raises(
        ValueError, match="a variant of a loop must be select128, rows4 or early, got x"
    ):
        decoder(native, case.weights, loop="graph+x")
