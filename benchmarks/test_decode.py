"""The engines of `benchmarks.decode` under pytest-benchmark: `pytest benchmarks`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.decode import Sizes, check_reference, gate, make_memory, make_weights
from benchmarks.eager import EagerDecoder
from khmer_fast import ops

STEPS = 12


@pytest.fixture(scope="module")
def engines():
    torch.set_num_threads(1)
    weights = make_weights(Sizes())
    decoder = ops.Decoder(weights)
    memory, length = make_memory(Sizes(), 2)
    assert not check_reference(weights, memory, length, decoder, 5)
    eager = EagerDecoder(weights)
    return weights, {
        "eager": eager.beam_search,
        "fused": lambda *a, **o: decoder.beam_search(*a, **o, threads=1),
    }


@pytest.mark.parametrize("K", [5, 1])
@pytest.mark.parametrize("B", [1, 32])
@pytest.mark.parametrize("engine", ["eager", "fused"])
def test_decode(benchmark, engines, engine, B, K):
    weights, decode = engines
    memory, length = make_memory(Sizes(), B)
    arguments = (memory, length, K)
    force = torch.full((B,), STEPS)
    result = benchmark.pedantic(
        decode[engine], arguments, dict(force_length=force), rounds=3, warmup_rounds=1
    )
    expected = decode["eager"](*arguments, force_length=force)
    assert not gate(weights, memory, length, expected, result)
