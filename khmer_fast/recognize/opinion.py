"""The second opinion on a line: what the CTC head reads, for some lines of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from python_ref.beam_search import BeamResult
from python_ref.ctc import ctc_greedy


def read_by_ctc(
    head: Callable[[Tensor], Tensor],  # [N, E] to logits [N, V]
    memory: Tensor,  # [B, T, E]
    length: Tensor,  # [B] int64
    lines: Sequence[int],  # of the batch, at least one
) -> BeamResult:
    """One answer to each of the lines, on the CPU; no padding is computed by the head."""
    positions = length[list(lines)].cpu()
    rows = torch.cat([memory[b, :n] for b, n in zip(lines, positions.tolist(), strict=True)])
    logits = head(rows).cpu().split(positions.tolist())  # [T_b, V] each
    return ctc_greedy(pad_sequence(logits, batch_first=True), positions)
