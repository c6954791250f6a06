"""The decoder over a given target sequence (teacher forcing): the plain loop of `attn_gru_step`."""

from __future__ import annotations

import torch
from torch import Tensor

from python_ref.attn_gru_step import attn_gru_step


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
    `target_length`. Positions at or after `length` have no influence, NaN included, on results
    and gradients alike.
    """
    positions = torch.arange(memory.shape[1], device=length.device)
    padding = (positions >= length[:, None])[:, :, None]  # [B, T, 1]
    memory, key = memory.masked_fill(padding, 0), key.masked_fill(padding, 0)
    h = h_0
    log_probs, weight = [], []
    for s in range(token.shape[1]):
        step_log_probs, h, step_weight = attn_gru_step(
            memory, key, length, token[:, s], h,
            embedding, W_q, v, W_ih, W_hh, b_ih, b_hh, W_o, b_o,
        )  # fmt: skip
        log_probs.append(step_log_probs)
        weight.append(step_weight)
    ended = torch.arange(token.shape[1], device=token.device) >= target_length[:, None]  # [B, S]
    return (
        torch.stack(log_probs, 1).masked_fill(ended[:, :, None], 0),
        torch.stack(weight, 1).masked_fill(ended[:, :, None], 0),
    )
