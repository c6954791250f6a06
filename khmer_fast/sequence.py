"""The recurrent parts of training, each one differentiable op for a whole sequence.

`attn_gru_sequence` is the decoder, the same function as `python_ref.attn_gru_sequence`;
`encoder_recurrent` is `python_ref.encoder.Encoder.recurrent`. What needs no state stands outside of
the ops, in one product each over all steps: the input's part of the gates before, projection and
log_softmax after.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from khmer_fast import ops  # noqa: F401, registers the operators
from python_ref.encoder import Encoder


def has_kernels(device_type: str) -> bool:
    """Whether the fused decoder trains on a device of torch's, as this khmer_fast was built."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(
        "khmer_fast::attn_gru_sequence", device_type.upper()
    )


def attn_gru_sequence(
    memory: Tensor,  # [B, T, E]
    key: Tensor,  # [B, T, A]
    length: Tensor,  # [B] int64
    h_0: Tensor,  # [B, H]
    token: Tensor,  # [B, S] int64, the inputs: <bos>, y_1, y_2, ...
    target_length: Tensor,  # [B] int64, steps at or after it are padding
    embedding: Tensor,  # [V, D]
    W_q: Tensor,  # [A, H]
    v: Tensor,  # [A]
    W_ih: Tensor,  # [3H, D + E]
    W_hh: Tensor,  # [3H, H]
    b_ih: Tensor,  # [3H]
    b_hh: Tensor,  # [3H]
    W_o: Tensor,  # [V, H + E]
    b_o: Tensor,  # [V]
) -> tuple[Tensor, Tensor]:
    """All steps of B lines, each with the token it is given.

    Returns log_probs [B, S, V] and the attention weight [B, S, T], both 0 at steps at or after
    `target_length`; all are float32 (float64 for float64 weights), under autocast too. Raises
    ValueError or TypeError for a wrong shape, dtype or length.
    """
    state, context, weight = attn_gru_states(
        memory, key, length, h_0, token, target_length, embedding, W_q, v, W_ih, W_hh, b_ih, b_hh
    )
    with torch.autocast(memory.device.type, enabled=False):
        H = state.shape[2]
        logits = linear(context.flatten(0, 1), W_o[:, H:], b_o)  # [B S, V]
        logits = logits + linear(state.flatten(0, 1), W_o[:, :H])
        log_probs = torch.log_softmax(logits.unflatten(0, state.shape[:2]), 2)
    ended = torch.arange(token.shape[1], device=token.device) >= target_length[:, None]  # [B, S]
    return log_probs.masked_fill(ended[:, :, None], 0), weight


def attn_gru_states(
    memory: Tensor,  # [B, T, E]
    key: Tensor,  # [B, T, A]
    length: Tensor,  # [B] int64
    h_0: Tensor,  # [B, H]
    token: Tensor,  # [B, S] int64
    target_length: Tensor,  # [B] int64
    embedding: Tensor,  # [V, D]
    W_q: Tensor,  # [A, H]
    v: Tensor,  # [A]
    W_ih: Tensor,  # [3H, D + E]
    W_hh: Tensor,  # [3H, H]
    b_ih: Tensor,  # [3H]
    b_hh: Tensor,  # [3H]
) -> tuple[Tensor, Tensor, Tensor]:
    """attn_gru_sequence without the projection.

    Returns the states h' [B, S, H], context [B, S, E] and the attention weight [B, S, T], all 0 at
    steps at or after `target_length`.
    """
    D = embedding.shape[1]
    with torch.autocast(memory.device.type, enabled=False):
        dtype = W_q.dtype
        # the embedding's part of the gates, once a token of the vocabulary
        table = F.linear(embedding, W_ih[:, :D], b_ih)  # [V, 3H]
        gate_input = F.embedding(token, table)  # [B, S, 3H]
        state, context, weight, _, _ = torch.ops.khmer_fast.attn_gru_sequence(
            memory.to(dtype), key.to(dtype), length, h_0.to(dtype), gate_input, target_length,
            W_q, v, W_ih[:, D:], W_hh, b_hh,
        )  # fmt: skip
    return state, context, weight


def encoder_recurrent(encoder: Encoder, feature: Tensor, length: Tensor) -> Tensor:
    """Both directions of the encoder's GRU.

    feature [B, T, features], finite at padding too; length [B] int64. Returns memory [B, T, E],
    0 at padding, float32 (float64 for float64 weights), under autocast too.
    """
    directions = (encoder.gru_forward, encoder.gru_backward)
    W_ih, W_hh, b_ih, b_hh = (
        torch.cat([getattr(gru, name) for gru in directions])
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )  # [6H, features], [6H, H], [6H], [6H]
    with torch.autocast(feature.device.type, enabled=False):
        gate_input = linear(feature.to(W_ih.dtype).flatten(0, 1), W_ih, b_ih)  # [B T, 6H]
        gate_input = gate_input.unflatten(0, feature.shape[:2])
        memory, _ = torch.ops.khmer_fast.gru_sequence(gate_input, length, W_hh, b_hh)
    return memory


def linear(
    x: Tensor,  # [R, K]
    W: Tensor,  # [N, K]
    b: Tensor | None = None,  # [N]
) -> Tensor:
    """x W^T + b [R, N]: torch's, on a CPU by the kernels of the ops."""
    if x.device.type != "cpu":
        return F.linear(x, W, b)
    return torch.ops.khmer_fast.linear(x, W, b)


@torch.library.register_fake("khmer_fast::linear")
def _linear_fake(x, W, b):
    return x.new_empty(x.shape[0], W.shape[0])


@torch.library.register_fake("khmer_fast::linear_backward")
def _linear_backward_fake(d_y, x, W):
    return x.new_empty(x.shape), W.new_empty(W.shape)


def _linear_save(ctx, inputs, output) -> None:
    x, W, _ = inputs
    ctx.save_for_backward(x, W)


def _linear_backward(ctx, d_y):
    d_x, d_W = torch.ops.khmer_fast.linear_backward(d_y, *ctx.saved_tensors)
    return d_x, d_W, d_y.sum(0) if ctx.needs_input_grad[2] else None


torch.library.register_autograd("khmer_fast::linear", _linear_backward, setup_context=_linear_save)


@torch.library.register_fake("khmer_fast::attn_gru_sequence")
def _sequence_fake(memory, key, length, h_0, gate_input, target_length, W_q, v, W_ic, W_hh, b_hh):
    (B, T, E), A, S, H = memory.shape, key.shape[2], gate_input.shape[1], h_0.shape[1]
    return tuple(memory.new_empty(B, S, size) for size in (H, E, T, 4 * H, A))


@torch.library.register_fake("khmer_fast::attn_gru_sequence_backward")
def _backward_fake(
    d_state, d_context, d_weight, memory, key, length, h_0, target_length, W_q, v, W_ic, W_hh,
    state, context, weight, gates, q,
):  # fmt: skip
    B, S, H = state.shape
    return (
        torch.empty_like(memory, memory_format=torch.contiguous_format),
        torch.empty_like(key, memory_format=torch.contiguous_format),
        torch.empty_like(h_0, memory_format=torch.contiguous_format),
        memory.new_empty(B, S, 3 * H),
        torch.empty_like(W_q, memory_format=torch.contiguous_format),
        torch.empty_like(v, memory_format=torch.contiguous_format),
        torch.empty_like(W_ic, memory_format=torch.contiguous_format),
        torch.empty_like(W_hh, memory_format=torch.contiguous_format),
        memory.new_empty(3 * H),
    )


def _save(ctx, inputs, output) -> None:
    memory, key, length, h_0, _, target_length, W_q, v, W_ic, W_hh, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[3:])
    ctx.save_for_backward(memory, key, length, h_0, target_length, W_q, v, W_ic, W_hh, *output)


def _backward(ctx, d_state, d_context, d_weight, d_gates, d_q):
    if d_state is None and d_context is None and d_weight is None:
        return (None,) * 11
    d_memory, d_key, d_h_0, d_gate_input, d_W_q, d_v, d_W_ic, d_W_hh, d_b_hh = (
        torch.ops.khmer_fast.attn_gru_sequence_backward(
            d_state, d_context, d_weight, *ctx.saved_tensors
        )
    )
    return (
        d_memory, d_key, None, d_h_0, d_gate_input, None, d_W_q, d_v, d_W_ic, d_W_hh, d_b_hh,
    )  # fmt: skip


torch.library.register_autograd("khmer_fast::attn_gru_sequence", _backward, setup_context=_save)


@torch.library.register_fake("khmer_fast::gru_sequence")
def _gru_fake(gate_input, length, W_hh, b_hh):
    B, T, columns = gate_input.shape
    H = columns // 6
    return gate_input.new_empty(B, T, 2 * H), gate_input.new_empty(B, T, 8 * H)


@torch.library.register_fake("khmer_fast::gru_sequence_backward")
def _gru_backward_fake(d_state, length, W_hh, state, gates):
    B, T, columns = state.shape
    H = columns // 2
    return state.new_empty(B, T, 6 * H), state.new_empty(6 * H, H), state.new_empty(6 * H)


def _gru_save(ctx, inputs, output) -> None:
    _, length, W_hh, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(length, W_hh, *output)


def _gru_backward(ctx, d_state, d_gates):
    if d_state is None:
        return (None,) * 4
    length, W_hh, state, gates = ctx.saved_tensors
    d_gate_input, d_W_hh, d_b_hh = torch.ops.khmer_fast.gru_sequence_backward(
        d_state, length, W_hh, state, gates
    )
    return d_gate_input, None, d_W_hh, d_b_hh


torch.library.register_autograd("khmer_fast::gru_sequence", _gru_backward, setup_context=_gru_save)
