"""What must hold of a CUDA build on a machine without a GPU; run by check_cuda_build.sh."""

from __future__ import annotations

import torch

from khmer_fast import ops
from khmer_fast.cli.info import collect
from khmer_fast.errors import OptionError
from khmer_fast.recognize.engine import choose
from python_ref.attn_gru_step import attn_gru_init, attn_gru_step
from tests.random_models import random_case

assert ops.build.CUDA == torch.version.cuda, (ops.build.CUDA, torch.version.cuda)
assert not torch.cuda.is_available(), "this check is for a machine without a GPU"
for key in ("CPU", "CUDA"):
    for op in ("attn_gru_step", "attn_gru_sequence", "attn_gru_sequence_backward"):
        name = f"khmer_fast::{op}"
        assert torch._C._dispatch_has_kernel_for_dispatch_key(name, key), (name, key)

case = random_case(4)
w, memory, length = case.weights, case.memory.nan_to_num(), case.length
key, h = attn_gru_init(memory, length, w)
rest = (w.embedding, w.W_q, w.v, w.W_ih, w.W_hh, w.b_ih, w.b_hh, w.W_o, w.b_o)
token = torch.ones(len(length), dtype=torch.int64)
expected = attn_gru_step(memory, key, length, token, h, *rest)
got = ops.attn_gru_step(memory, key, length, token, h, *rest)
for a, b in zip(expected, got, strict=True):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)

try:
    torch.classes.khmer_fast.CudaDecoder(list(w[:5]), "float32", "plain")
except ValueError as error:
    assert "13 tensors" in str(error), error
else:
    raise AssertionError("a decoder without weights was taken")

try:
    choose("cuda")
except OptionError as error:
    print(f"device cuda: {error}")
else:
    raise AssertionError("device cuda was taken without a GPU")
choice = choose("auto")
assert choice.device == "cpu", choice
print(f"device auto: {choice.device}, {choice.reason}")
print(f"info: {collect()['gpu']}")
