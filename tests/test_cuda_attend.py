"""The blocks that share a context each compute a share of it, emulated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.cuda_emulator import COMPILER, HERE, Emulator, compile_sources

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

SHARES = 4


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    out = tmp_path_factory.mktemp("attend") / "attend.so"
    sources = [HERE / "attend_harness.cu", HERE / "host.cpp"]
    return Emulator(compile_sources(out, sources, "-O1", "-fPIC", "-shared"))


def wrong_shares(emulator, T: int, Ep: int) -> bool:
    rng = torch.Generator().manual_seed(T)
    memory = torch.randn(T, Ep, generator=rng).to(torch.bfloat16)
    weight = torch.rand(T, generator=rng).softmax(0)
    out = emulator.empty((SHARES, Ep), np.int16)  # all bits set: NaN
    put = [emulator.put(memory.view(torch.int16).numpy()), emulator.put(weight.numpy())]
    emulator.run("emulated_shares", *put, T, Ep, out)
    context = torch.from_numpy(out.get()).view(torch.bfloat16).float()
    touched = ~context.isnan()
    most = -(-(Ep // 8) // SHARES) * 8
    whole, expected = context.nansum(0), weight @ memory.float()
    return not (
        touched.sum(1).max() == most  # no block does more than its share
        and touched.sum(0).eq(1).all()  # and every element is somebody's, once
        and torch.allclose(whole, expected, atol=0.02, rtol=0.02)
    )


@pytest.mark.parametrize(("T", "Ep"), [(128, 512), (300, 512), (5, 272), (17, 16)])
def test_each_block_touches_its_share(emulator, T, Ep):
    assert not wrong_shares(emulator, T, Ep)
