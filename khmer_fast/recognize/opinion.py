"""The second opinion on a line: what the CTC head reads, for some lines of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from python_ref.beam_search import BeamResult
from python_ref.ctc import ctc_greedy


def read_by_ctc(
    head: nn.Linear,  # E to V
    memory: Tensor,  # [B, T, E]
    length: Tensor,  # [B] int64
    lines: Sequence[int],  # of the batch, at least one
) -> BeamResult:
    """One answer to each of the lines, on the CPU, one at a time: no padding is computed."""
    found = []
    for b in lines:
        positions = length[b : b + 1].cpu()
        logits = head(memory[b : b + 1, : int(positions)]).cpu()  # [1, T, V]
        found.append(ctc_greedy(logits, positions))
    return _stacked(found)


def _stacked(results: Sequence[BeamResult]) -> BeamResult:
    """Results of one line each, as one."""

    def padded(name: str) -> Tensor:
        rows = [getattr(result, name)[0, 0] for result in results]  # [S] each
        return pad_sequence(rows, batch_first=True)[:, None]

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(result, name) for result in results])

    return BeamResult(
        *(padded("tokens"), joined("length"), joined("score"), padded("log_prob")),
        *(joined("truncated"), joined("failed"), joined("steps")),
        position=padded("position"),
    )
