"""Does a decoder give what the reference gives? (docs/spec.md, section 3, Parity)"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from python_ref.attn_gru_step import DecoderWeights, attn_gru_init, attn_gru_step
from python_ref.beam_search import BOS, BeamResult, Trace

TIE = 1e-4  # float64 scores nearer than this may come in either order
LOG_PROB_TOLERANCE = 1e-4
SCORE_TOLERANCE = 1e-6  # of the score, but at least LOG_PROB_TOLERANCE
NEAR = 1e-6  # attention weights nearer than this may come in either order


@dataclass(frozen=True)
class Parity:
    """What became of the lines that were compared."""

    lines: int
    excused: tuple[int, ...]  # differ at a tie
    failures: tuple[str, ...]  # "line 3: ..."
    near: int = 0  # tokens that stand at another of two positions of like attention weight


def compare(
    weights: DecoderWeights,
    memory: Tensor,  # [B, T, E]
    length: Tensor,  # [B]
    reference: BeamResult,
    result: BeamResult,
) -> Parity:
    """Compares two results that hold traces, line by line.

    Positions are compared where the reference holds its attention and the result has them.
    """
    excused, failures, near = [], [], 0
    for b in range(memory.shape[0]):
        place = first_difference(reference.trace, result.trace, b)
        if place is not None:
            step, slot = place
            apart = [
                rescore(weights, memory[b], length[b], tokens_of(trace, b, step, slot))
                for trace in (reference.trace, result.trace)
            ]
            if abs(apart[0] - apart[1]) < TIE:
                excused.append(b)
            else:
                failures.append(f"line {b}: step {step} slot {slot} differs, scores {apart}")
            continue
        reasons = numbers(reference, result, b)
        if not reasons and reference.attention is not None and result.position is not None:
            moved, reasons = positions(reference, result, b)
            near += moved
        failures.extend(f"line {b}: {reason}" for reason in reasons)
    return Parity(memory.shape[0], tuple(excused), tuple(failures), near)


def first_difference(a: Trace, b: Trace, line: int) -> tuple[int, int] | None:
    """First (step, slot) where two traces of a line chose differently."""
    for step in range(max(a.token.shape[1], b.token.shape[1])):
        for slot in range(a.token.shape[2]):
            if survivor(a, line, step, slot) != survivor(b, line, step, slot):
                return step, slot
    return None


def survivor(trace: Trace, line: int, step: int, slot: int) -> tuple[int, int]:
    if step >= trace.token.shape[1]:
        return -1, 0
    return int(trace.parent[line, step, slot]), int(trace.token[line, step, slot])


def tokens_of(trace: Trace, line: int, step: int, slot: int) -> list[int]:
    """Tokens of the hypothesis in a slot; <eos> ends it, however long it stayed in the beam."""
    tokens: list[int] = []
    while step >= 0:
        slot, token = survivor(trace, line, step, slot)
        if slot < 0:
            return []
        tokens.append(token)
        step -= 1
    tokens.reverse()
    return tokens[: tokens.index(2) + 1] if 2 in tokens else tokens


def rescore(weights: DecoderWeights, memory: Tensor, length: Tensor, tokens: list[int]) -> float:
    """Sum of log-probabilities of given tokens in float64; minus infinity for no hypothesis."""
    if not tokens:
        return float("-inf")
    double = DecoderWeights(*(x.double() for x in weights))
    memory, length = memory.double()[None], length[None]
    key, h = attn_gru_init(memory, length, double)
    score, token = 0.0, BOS
    for following in tokens:
        log_probs, h, _ = attn_gru_step(
            memory, key, length, torch.tensor([token]), h, double.embedding, double.W_q, double.v,
            double.W_ih, double.W_hh, double.b_ih, double.b_hh, double.W_o, double.b_o,
        )  # fmt: skip
        score += float(log_probs[0, following])
        token = following
    return score


def numbers(reference: BeamResult, result: BeamResult, b: int) -> list[str]:
    """What differs in the numbers of a line whose traces agree."""
    reasons = []
    for name in ("length", "truncated", "failed", "steps"):
        expected, got = getattr(reference, name)[b], getattr(result, name)[b]
        if not torch.equal(expected, got):
            reasons.append(f"{name} is {got.tolist()}, expected {expected.tolist()}")
    if reasons:
        return reasons
    for i in range(reference.length.shape[1]):
        count = int(reference.length[b, i])
        if not torch.equal(reference.tokens[b, i, :count], result.tokens[b, i, :count]):
            reasons.append(f"answer {i}: tokens differ")
        far = (reference.log_prob[b, i, :count] - result.log_prob[b, i, :count]).abs()
        if not bool((far <= LOG_PROB_TOLERANCE).all()):
            reasons.append(f"answer {i}: log_prob is off by {float(far.max())}")
        score = float(reference.score[b, i])
        tolerance = max(LOG_PROB_TOLERANCE, SCORE_TOLERANCE * abs(score)) if count else 0.0
        if count and not abs(score - float(result.score[b, i])) <= tolerance:
            reasons.append(f"answer {i}: score is {float(result.score[b, i])}, expected {score}")
    return reasons


def positions(reference: BeamResult, result: BeamResult, b: int) -> tuple[int, list[str]]:
    """How many tokens of a line stand at a like position, and what stands at an unlike one."""
    moved, reasons = 0, []
    for i, count in enumerate(reference.length[b].tolist()):
        weight = reference.attention[b, i, :count]  # [count, T]
        pair = torch.stack([r.position[b, i, :count] for r in (reference, result)], 1)
        largest, there = weight.gather(1, pair).unbind(1)
        other = pair[:, 0] != pair[:, 1]
        moved += int(other.sum())
        for s in torch.nonzero(other & ~(largest - there < NEAR)).flatten().tolist():
            expected, got = pair[s].tolist()
            reasons.append(f"answer {i}: token {s} stands at {got}, expected {expected}")
    return moved, reasons
