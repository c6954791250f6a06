"""One decoder step: attention, GRU, projection, log_softmax (docs/spec.md, section 2, step 4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class DecoderWeights(NamedTuple):
    """The decoder's tensors, in torch's names and layout."""

    embedding: Tensor  # [V, D]
    W_k: Tensor  # [A, E]
    b_k: Tensor  # [A]
    W_init: Tensor  # [H, E]
    b_init: Tensor  # [H]
    W_q: Tensor  # [A, H]
    v: Tensor  # [A]
    W_ih: Tensor  # [3H, D + E]  gates r, z, n; input [embedding; context]
    W_hh: Tensor  # [3H, H]
    b_ih: Tensor  # [3H]
    b_hh: Tensor  # [3H]
    W_o: Tensor  # [V, H + E]  input [h'; context]
    b_o: Tensor  # [V]


def attn_gru_init(
    memory: Tensor,  # [B, T, E]
    length: Tensor,  # [B] int64
    weights: DecoderWeights,
) -> tuple[Tensor, Tensor]:
    """What is computed once a line: key [B, T, A] and h_0 [B, H] (docs/spec.md, 2.3)."""
    valid = _valid(length, memory)
    memory = memory.masked_fill(~valid[:, :, None], 0)
    key = memory @ weights.W_k.T + weights.b_k
    mean = memory.sum(1) / length[:, None].to(memory.dtype)
    h_0 = torch.tanh(mean @ weights.W_init.T + weights.b_init)
    return key, h_0


def attn_gru_step(
    memory: Tensor,  # [B, T, E]
    key: Tensor,  # [B, T, A]
    length: Tensor,  # [B] int64
    token: Tensor,  # [N] int64, N = B * K, row n = b * K + k
    h: Tensor,  # [N, H]
    embedding: Tensor,  # [V, D]
    W_q: Tensor,  # [A, H]
    v: Tensor,  # [A]
    W_ih: Tensor,  # [3H, D + E]
    W_hh: Tensor,  # [3H, H]
    b_ih: Tensor,  # [3H]
    b_hh: Tensor,  # [3H]
    W_o: Tensor,  # [V, H + E]
    b_o: Tensor,  # [V]
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of N hypotheses.

    Returns log_probs [N, V], the new state h' [N, H] and the attention weight [N, T]. Positions at
    or after `length` have no influence, NaN included. A line of length 0 gives NaN.
    """
    B, N, H = memory.shape[0], h.shape[0], h.shape[1]
    line = torch.arange(N, device=h.device) // (N // B if B else 1)  # [N]
    valid = _valid(length, memory)  # [B, T]
    memory = memory.masked_fill(~valid[:, :, None], 0)

    # 1. query, of the previous state
    q = h @ W_q.T  # [N, A]
    # 2. additive attention
    energy = torch.tanh(q[:, None, :] + key[line]) @ v  # [N, T]
    energy = energy.masked_fill(~valid[line], -torch.inf)
    weight = torch.softmax(energy, dim=1)  # [N, T]
    # 3. context
    context = (weight[:, None, :] @ memory[line])[:, 0]  # [N, E]
    # 4. GRU cell (torch's variant: the reset gate after the recurrent product)
    gate_i = torch.cat([embedding[token], context], 1) @ W_ih.T + b_ih  # [N, 3H]
    gate_h = h @ W_hh.T + b_hh  # [N, 3H]
    r = torch.sigmoid(gate_i[:, :H] + gate_h[:, :H])
    z = torch.sigmoid(gate_i[:, H : 2 * H] + gate_h[:, H : 2 * H])
    n = torch.tanh(gate_i[:, 2 * H :] + r * gate_h[:, 2 * H :])
    h_new = (1 - z) * n + z * h  # [N, H]
    # 5. projection and log_softmax
    log_probs = torch.log_softmax(torch.cat([h_new, context], 1) @ W_o.T + b_o, dim=1)  # [N, V]
    return log_probs, h_new, weight


def _valid(length: Tensor, memory: Tensor) -> Tensor:  # [B], [B, T, E] -> bool [B, T]
    return torch.arange(memory.shape[1], device=length.device)[None, :] < length[:, None]
