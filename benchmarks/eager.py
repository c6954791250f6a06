"""The baseline: the decoder in eager PyTorch as a good engineer writes it.

All N = B * K rows go through each step in one batch, weights are laid out once, `linear`, `bmm` and
`topk` do the work, finished hypotheses are masked, and the loop ends when every line is done. The
candidates are those of `python_ref.beam_search`, except that topk may order exact ties differently.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import BOS, EOS, PAD, BeamResult, Trace


class EagerDecoder:
    """Beam search with alpha 0 and n_best 1; `compile` wraps the step in torch.compile."""

    def __init__(self, weights: DecoderWeights, compile: bool = False):
        self.w = weights
        self.step = torch.compile(self._step, dynamic=False) if compile else self._step

    @torch.inference_mode()
    def beam_search(
        self,
        memory: Tensor,  # [B, T, E]
        length: Tensor,  # [B]
        beam: int = 5,
        force_length: Tensor | None = None,  # [B]
    ) -> BeamResult:
        w, K = self.w, beam
        B, T, E = memory.shape
        limit = length + 8 if force_length is None else force_length
        valid = torch.arange(T)[None, :] < length[:, None]  # [B, T]
        memory = memory.masked_fill(~valid[:, :, None], 0)
        key = F.linear(memory, w.W_k, w.b_k)  # [B, T, A]
        h = torch.tanh(F.linear(memory.sum(1) / length[:, None], w.W_init, w.b_init))
        h = h[:, None].expand(B, K, -1).reshape(B * K, -1)  # [N, H]
        outside = ~valid[:, None, :]  # [B, 1, T]
        score = torch.full((B, K), -torch.inf)
        score[:, 0] = 0
        token = torch.full((B, K), BOS)
        finished = torch.zeros(B, K, dtype=torch.bool)
        stay = torch.full((w.b_o.shape[0],), -torch.inf)  # a finished hypothesis takes <eos>
        stay[EOS] = 0
        first = torch.arange(B)[:, None] * K  # [B, 1]
        parents, tokens, scores = [], [], []
        for step in range(1, int(limit.max()) + 1):
            log_probs, h = self.step(memory, key, outside, token.flatten(), h)
            log_probs = log_probs.view(B, K, -1)
            log_probs[:, :, :EOS] = -torch.inf
            if force_length is not None:
                log_probs[:, :, EOS].masked_fill_((step < limit)[:, None], -torch.inf)
                if bool((step == limit).any()):
                    log_probs[:, :, EOS + 1 :].masked_fill_(
                        (step == limit)[:, None, None], -torch.inf
                    )
            log_probs = torch.where(finished[:, :, None], stay, log_probs)
            candidate = (score[:, :, None] + log_probs).flatten(1)  # [B, K * V]
            score, flat = candidate.topk(K)
            parent = flat // stay.shape[0]
            token = flat % stay.shape[0]
            finished = (token == EOS) | (score == -torch.inf)
            h = h[(first + parent).flatten()]
            parents.append(parent)
            tokens.append(token)
            scores.append(score)
            ended = step >= limit
            finished = finished | ended[:, None]
            if bool((finished[:, 0]).all()):
                break
        return collect(parents, tokens, scores)

    def _step(
        self,
        memory: Tensor,  # [B, T, E]
        key: Tensor,  # [B, T, A]
        outside: Tensor,  # [B, 1, T]
        token: Tensor,  # [N]
        h: Tensor,  # [N, H]
    ) -> tuple[Tensor, Tensor]:
        w, B = self.w, memory.shape[0]
        q = F.linear(h, w.W_q).view(B, -1, 1, key.shape[2])  # [B, K, 1, A]
        energy = torch.tanh(q + key[:, None]) @ w.v  # [B, K, T]
        weight = energy.masked_fill(outside, -torch.inf).softmax(2)
        context = torch.bmm(weight, memory).flatten(0, 1)  # [N, E]
        gate_i = F.linear(torch.cat([w.embedding[token], context], 1), w.W_ih, w.b_ih)
        gate_h = F.linear(h, w.W_hh, w.b_hh)
        r_i, z_i, n_i = gate_i.chunk(3, 1)
        r_h, z_h, n_h = gate_h.chunk(3, 1)
        n = torch.tanh(n_i + torch.sigmoid(r_i + r_h) * n_h)
        h = torch.lerp(n, h, torch.sigmoid(z_i + z_h))
        log_probs = F.linear(torch.cat([h, context], 1), w.W_o, w.b_o).log_softmax(1)
        return log_probs, h


def collect(parents: list[Tensor], tokens: list[Tensor], scores: list[Tensor]) -> BeamResult:
    """Backtracks slot 0 of every line from the pointers of each step, [B, K] each."""
    B, S = tokens[0].shape[0], len(tokens)
    parent, token = torch.stack(parents, 1), torch.stack(tokens, 1)  # [B, S, K]
    score = torch.stack(scores, 1)
    answer = torch.full((B, S), PAD)
    log_prob = torch.zeros(B, S)
    slot = torch.zeros(B, 1, dtype=torch.int64)
    for s in range(S - 1, -1, -1):
        answer[:, s] = token[:, s].gather(1, slot)[:, 0]
        here = score[:, s].gather(1, slot)[:, 0]
        slot = parent[:, s].gather(1, slot)
        log_prob[:, s] = here - (score[:, s - 1].gather(1, slot)[:, 0] if s else 0)
    ended = answer == EOS
    length = torch.where(ended.any(1), ended.int().argmax(1) + 1, S)
    behind = torch.arange(S)[None, :] >= length[:, None]
    return BeamResult(
        tokens=answer.masked_fill(behind, PAD)[:, None],
        length=length[:, None],
        score=score[:, -1, :1],
        log_prob=log_prob.masked_fill(behind, 0)[:, None],
        truncated=~ended.any(1)[:, None],
        failed=torch.zeros(B, dtype=torch.bool),
        steps=torch.full((B,), S),
        trace=Trace(parent, token, score),
    )
