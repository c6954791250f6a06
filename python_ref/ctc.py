"""What the CTC head reads by itself: a second opinion on a line."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from python_ref.beam_search import EOS, PAD, BeamResult


def ctc_greedy(logits: Tensor, length: Tensor) -> BeamResult:
    """The likeliest token a position, repeats and blanks (<pad>) dropped: one answer a line.

    logits [B, T, V], length [B]. Answers end with <eos>, whose log-probability is 0, at the line's
    last position.
    """
    log_prob, token = logits.log_softmax(2).max(2)  # [B, T]
    new = torch.ones_like(token, dtype=torch.bool)
    new[:, 1:] = token[:, 1:] != token[:, :-1]
    inside = torch.arange(token.shape[1])[None, :] < length[:, None]
    kept = new & inside & (token > EOS)
    end, certain = torch.tensor([EOS]), torch.zeros(1)
    tokens = [torch.cat([row[keep], end]) for row, keep in zip(token, kept, strict=True)]
    log_probs = [torch.cat([row[keep], certain]) for row, keep in zip(log_prob, kept, strict=True)]
    last = (length - 1).clamp(min=0)
    positions = [torch.cat([r.nonzero()[:, 0], t[None]]) for r, t in zip(kept, last, strict=True)]
    scores = torch.stack([row.sum() for row in log_probs])  # [B]
    nothing = torch.zeros(len(tokens), dtype=torch.bool)
    return BeamResult(
        tokens=pad_sequence(tokens, True, PAD)[:, None],
        length=torch.tensor([[len(row)] for row in tokens]),
        score=scores[:, None],
        log_prob=pad_sequence(log_probs, True)[:, None],
        truncated=nothing[:, None],
        failed=nothing,
        steps=length,
        position=pad_sequence(positions, True)[:, None],
    )
