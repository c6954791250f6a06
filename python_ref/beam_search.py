"""Beam search, to the tie (docs/spec.md, section 3), line by line: short, obvious, slow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from python_ref.attn_gru_step import DecoderWeights, attn_gru_init, attn_gru_step

PAD, BOS, EOS = 0, 1, 2


@dataclass(frozen=True)
class Trace:
    """Every survivor of every step; an empty slot has parent -1, token PAD, score -inf."""

    parent: Tensor  # [B, S, K] int64
    token: Tensor  # [B, S, K] int64
    score: Tensor  # [B, S, K] float32


@dataclass(frozen=True)
class BeamResult:
    """The `n_best` answers of each line, best first. S is the longest answer of the batch.

    Answers that do not exist have length 0 and score -inf; what lies behind an answer's length is
    PAD, and 0 elsewhere.
    """

    tokens: Tensor  # [B, n_best, S] int64, <eos> included
    length: Tensor  # [B, n_best] int64, tokens with <eos>
    score: Tensor  # [B, n_best] float32, sum of log-probabilities
    log_prob: Tensor  # [B, n_best, S] float32
    truncated: Tensor  # [B, n_best] bool, ended by the step limit
    failed: Tensor  # [B] bool, ran out of candidates (numbers that are not finite): no answer
    steps: Tensor  # [B] int64, steps that the line ran
    attention: Tensor | None = None  # [B, n_best, S, T]
    trace: Trace | None = None
    # [B, n_best, S] int64, each token's encoder position of the largest attention weight, the first
    # of equals; None where the device does not say
    position: Tensor | None = None


@dataclass
class Hypothesis:
    score: float
    tokens: list[int]
    log_prob: list[float]
    finished: bool
    attention: list[Tensor]  # of [T]


def beam_search(
    weights: DecoderWeights,
    memory: Tensor,  # [B, T, E]
    length: Tensor,  # [B] int64
    beam: int = 5,
    n_best: int = 1,
    alpha: float = 0.0,
    step_limit: Tensor | None = None,  # [B] int64, S_b; default length + 8
    force_length: Tensor | None = None,  # [B] int64, steps with <eos>; for benchmarks
    return_attention: bool = False,
    return_trace: bool = False,
) -> BeamResult:
    """Decodes each line with a beam of K = `beam` hypotheses.

    Ranking is score / length ** alpha. Raises ValueError for beam < 1, n_best outside [1, beam]
    or alpha that is negative or not finite.
    """
    if beam < 1:
        raise ValueError(f"beam must be at least 1, got {beam}")
    if not 1 <= n_best <= beam:
        raise ValueError(f"n_best must lie in [1, beam] = [1, {beam}], got {n_best}")
    if not 0 <= alpha < float("inf"):
        raise ValueError(f"alpha must be finite and at least 0, got {alpha}")
    B, T = memory.shape[:2]
    limit = length + 8 if step_limit is None else step_limit
    if force_length is not None:
        limit = force_length
    lines = [
        _line(
            weights,
            memory[b : b + 1, : int(length[b])],
            length[b : b + 1],
            beam,
            n_best,
            float(alpha),
            int(limit[b]),
            force_length is not None,
        )
        for b in range(B)
    ]
    return _collect(lines, n_best, beam, T, return_attention, return_trace)


def _line(
    weights: DecoderWeights,
    memory: Tensor,  # [1, T, E]
    length: Tensor,  # [1]
    K: int,
    n_best: int,
    alpha: float,
    limit: int,  # S_b
    forced: bool,
) -> tuple[list[Hypothesis], list[tuple[Tensor, Tensor, Tensor]]]:
    V = weights.embedding.shape[0]
    key, h = attn_gru_init(memory, length, weights)
    h = h.expand(K, -1)  # [K, H]
    step_weights = (
        weights.embedding, weights.W_q, weights.v, weights.W_ih, weights.W_hh,
        weights.b_ih, weights.b_hh, weights.W_o, weights.b_o,
    )  # fmt: skip
    score = torch.full((K,), -torch.inf)  # [K], empty slots are -inf
    score[0] = 0.0
    token = torch.full((K,), BOS)  # [K]
    beams: list[Hypothesis | None] = [Hypothesis(0.0, [], [], False, [])] + [None] * (K - 1)
    trace = []
    for step in range(1, limit + 1):
        finished = torch.tensor([x is not None and x.finished for x in beams])
        log_probs, h_new, attention = attn_gru_step(memory, key, length, token, h, *step_weights)

        # 1. candidates [K, V]: a live hypothesis with every token, a finished one as it is
        candidate = score[:, None] + log_probs.float()
        candidate[finished] = -torch.inf
        candidate[:, [PAD, BOS]] = -torch.inf
        if forced and step < limit:
            candidate[:, EOS] = -torch.inf
        if forced and step == limit:
            candidate[:, :EOS] = -torch.inf
            candidate[:, EOS + 1 :] = -torch.inf
        candidate[finished, EOS] = score[finished]
        candidate = candidate.masked_fill(~candidate.isfinite(), -torch.inf)

        # 2. the best K in the total order: score, then parent, then token (flat index)
        score, order = torch.sort(candidate.flatten(), descending=True, stable=True)
        score, order = score[:K], order[:K]
        parent, token = order // V, order % V
        empty = score == -torch.inf

        # 3. the survivors
        survivors: list[Hypothesis | None] = []
        for k in range(K):
            source = beams[int(parent[k])]
            if source is None or bool(empty[k]):
                survivors.append(None)
            elif source.finished:
                survivors.append(source)
            else:
                survivors.append(
                    Hypothesis(
                        float(score[k]),
                        source.tokens + [int(token[k])],
                        source.log_prob + [float(log_probs[parent[k], token[k]])],
                        int(token[k]) == EOS,
                        source.attention + [attention[parent[k]]],
                    )
                )
        beams = survivors
        h = h_new[parent]
        trace.append((parent.masked_fill(empty, -1), token.masked_fill(empty, PAD), score.clone()))
        if _done(beams, n_best, alpha, limit):
            break
    answers = [x for x in beams if x is not None and x.tokens]
    answers.sort(key=lambda x: -_rank(x.score, len(x.tokens), alpha))  # stable: ties by slot
    return answers[:n_best], trace


def _rank(score: float, length: int, alpha: float) -> float:
    return score / length**alpha


def _done(beams: list[Hypothesis | None], n_best: int, alpha: float, limit: int) -> bool:
    live = [x for x in beams if x is not None and not x.finished]
    if not live:
        return True
    if alpha == 0:
        return all(x is None or x.finished for x in beams[:n_best])
    ranks = sorted(_rank(x.score, len(x.tokens), alpha) for x in beams if x and x.finished)
    if len(ranks) < n_best:
        return False
    return max(_rank(x.score, limit, alpha) for x in live) < ranks[-n_best]


def _collect(lines, n_best: int, K: int, T: int, with_attention: bool, with_trace: bool):
    B = len(lines)
    S = max((len(x.tokens) for answers, _ in lines for x in answers), default=0)
    steps = torch.tensor([len(trace) for _, trace in lines], dtype=torch.int64)
    tokens = torch.full((B, n_best, S), PAD)
    length = torch.zeros(B, n_best, dtype=torch.int64)
    score = torch.full((B, n_best), -torch.inf)
    log_prob = torch.zeros(B, n_best, S)
    position = torch.zeros(B, n_best, S, dtype=torch.int64)
    truncated = torch.zeros(B, n_best, dtype=torch.bool)
    attention = torch.zeros(B, n_best, S, T) if with_attention else None
    for b, (answers, _) in enumerate(lines):
        for i, x in enumerate(answers):
            count = len(x.tokens)
            tokens[b, i, :count] = torch.tensor(x.tokens)
            length[b, i] = count
            score[b, i] = x.score
            log_prob[b, i, :count] = torch.tensor(x.log_prob)
            truncated[b, i] = not x.finished
            rows = torch.stack(x.attention)  # [count, length of the line]
            position[b, i, :count] = rows.argmax(1)
            if attention is not None:
                attention[b, i, :count, : rows.shape[1]] = rows
    failed = torch.tensor([not answers for answers, _ in lines], dtype=torch.bool)
    trace = None
    if with_trace:
        longest = int(steps.max()) if B else 0
        trace = Trace(
            torch.full((B, longest, K), -1),
            torch.full((B, longest, K), PAD),
            torch.full((B, longest, K), -torch.inf),
        )
        for b, (_, rows) in enumerate(lines):
            for s, (parent, token, value) in enumerate(rows):
                trace.parent[b, s], trace.token[b, s], trace.score[b, s] = parent, token, value
    return BeamResult(
        tokens, length, score, log_prob, truncated, failed, steps, attention, trace, position
    )
