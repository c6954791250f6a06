"""Random decoders that do what trained ones do: end, tie, saturate, loop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from python_ref.attn_gru_step import DecoderWeights


@dataclass(frozen=True)
class Case:
    weights: DecoderWeights
    memory: Tensor  # [B, T, E], NaN at padding
    length: Tensor  # [B]
    beam: int
    n_best: int
    alpha: float
    step_limit: Tensor  # [B]


def random_weights(rng: torch.Generator, V: int, D: int, E: int, A: int, H: int) -> DecoderWeights:
    def matrix(rows: int, columns: int, scale: float = 1.0) -> Tensor:
        return torch.randn(rows, columns, generator=rng) * (scale / columns**0.5)

    def vector(n: int, scale: float) -> Tensor:
        return torch.randn(n, generator=rng) * scale

    return DecoderWeights(
        embedding=torch.randn(V, D, generator=rng),
        W_k=matrix(A, E), b_k=vector(A, 0.1),
        W_init=matrix(H, E), b_init=vector(H, 0.1),
        W_q=matrix(A, H, 2.0), v=vector(A, 1.0),
        W_ih=matrix(3 * H, D + E, 1.5), W_hh=matrix(3 * H, H),
        b_ih=vector(3 * H, 0.1), b_hh=vector(3 * H, 0.1),
        W_o=matrix(V, H + E, 4.0), b_o=vector(V, 0.5),
    )  # fmt: skip


def random_case(seed: int) -> Case:
    rng = torch.Generator().manual_seed(seed)

    def pick(*choices):
        return choices[int(torch.randint(len(choices), (), generator=rng))]

    V = pick(4, 5, 9, 17, 33)
    D, E, A, H = pick(3, 8), pick(5, 16, 34), pick(1, 7, 16, 23), pick(4, 17, 32)
    B, T = pick(1, 2), pick(1, 3, 8, 20, 67)
    w = random_weights(rng, V, D, E, A, H)
    if pick(True, False):  # some units of the attention saturate, for some keys or some queries
        unit = int(torch.randint(A, (), generator=rng))
        w.b_k[unit] += pick(-60.0, -30.0, 15.0, 30.0, 60.0)
        w.W_q[unit] *= pick(1.0, 1.0, 10.0, 40.0)
    w.b_o[2] += pick(-6.0, -2.0, 0.0, 1.0, 3.0)  # <eos> never, late, early
    if pick(True, False, False, False):  # tokens that nothing tells apart
        tied = torch.randperm(V - 3, generator=rng)[: max(2, V // 3)] + 3
        w.W_o[tied] = 0.0
        w.b_o[tied] = pick(0.5, 2.0)
        if pick(True, False, False):  # nor their children
            w.embedding[tied] = w.embedding[tied[0]].clone()
    length = torch.randint(1, T + 1, (B,), generator=rng)
    length[0] = T
    memory = torch.randn(B, T, E, generator=rng)
    memory[torch.arange(T)[None, :] >= length[:, None]] = torch.nan
    beam = pick(1, 2, 3, 5, 5, 8, 2 * V)
    return Case(
        w,
        memory,
        length,
        beam,
        pick(1, 1, min(2, beam), beam),
        pick(0.0, 0.0, 0.6, 1.0),
        torch.randint(1, 15, (B,), generator=rng),
    )
