"""Losses: NLL of the decoder and CTC of the encoder, as sums with their counts.

Sums and counts, not means: micro-batches and ranks add up, and divide by the global count once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from khmer_fast.text import BOS, EOS, PAD
from khmer_fast.train.loop import LossError
from khmer_fast.train.samples import TrainBatch
from python_ref.attn_gru_step import attn_gru_init
from python_ref.encoder import Encoder
from python_ref.model import Model


@dataclass(frozen=True)
class Losses:
    """Sums over the batch in nats, and what they are divided by."""

    nll: Tensor  # scalar, over the labels and <eos>
    smooth: Tensor  # scalar, label smoothing: - mean over V of log_probs, over the same tokens
    tokens: Tensor  # scalar int64
    ctc: Tensor  # scalar, over the lines whose label fits
    ctc_tokens: Tensor  # scalar int64, labels of those lines
    ctc_left_out: int  # lines with fewer positions than characters plus repeats


def losses(
    model: Model,
    batch: TrainBatch,
    sequence,  # attn_gru_sequence: the reference or the fused one; None leaves the decoder out
    amp: torch.dtype | None = None,
    ctc: bool = True,
    recurrent=Encoder.recurrent,  # the encoder's GRU, or its fused form
) -> Losses:
    """The forward pass. `amp` is the dtype of the convolutions (None: that of the weights)."""
    device_type = batch.image.device.type
    with torch.autocast(device_type, amp or torch.bfloat16, enabled=amp is not None):
        feature, length = model.encoder.features(batch.image, batch.width)
    memory = recurrent(model.encoder, feature.to(model.ctc.weight.dtype), length)  # [B, T, E]
    return losses_of_memory(model, memory, length, batch, sequence, ctc)


def losses_of_memory(
    model: Model,
    memory: Tensor,  # [B, T, E]
    length: Tensor,  # [B]
    batch: TrainBatch,
    sequence,
    ctc: bool = True,
) -> Losses:
    """The losses of lines that are encoded already."""
    zero = memory.new_zeros(())
    count = torch.zeros((), dtype=torch.int64, device=memory.device)
    nll, smooth, tokens = zero, zero, count
    if sequence is not None:
        nll, smooth, tokens = _decoder_loss(model, memory, length, batch, sequence)
    if not ctc:
        return Losses(nll, smooth, tokens, zero, count, 0)
    return Losses(nll, smooth, tokens, *_ctc_loss(model, memory, length, batch))


def _decoder_loss(model: Model, memory: Tensor, length: Tensor, batch: TrainBatch, sequence):
    weights = model.decoder.weights()
    B, L = batch.label.shape
    bos = torch.full((B, 1), BOS, device=batch.label.device)
    token = torch.cat([bos, batch.label], 1)  # [B, S], S = L + 1
    target = torch.cat([batch.label, torch.full_like(bos, PAD)], 1)
    target[torch.arange(B), batch.label_length] = EOS
    target_length = batch.label_length + 1
    key, h_0 = attn_gru_init(memory, length, weights)
    log_probs, _ = sequence(
        memory, key, length, h_0, token, target_length,
        weights.embedding, weights.W_q, weights.v, weights.W_ih, weights.W_hh,
        weights.b_ih, weights.b_hh, weights.W_o, weights.b_o,
    )  # [B, S, V]  # fmt: skip
    valid = torch.arange(L + 1, device=token.device)[None, :] < target_length[:, None]
    picked = log_probs[valid]  # [tokens, V]
    nll = F.nll_loss(picked, target[valid], reduction="sum")
    return nll, -picked.mean(1).sum(), target_length.sum()


def _ctc_loss(model: Model, memory: Tensor, length: Tensor, batch: TrainBatch):
    label, label_length = batch.label, batch.label_length
    repeats = ((label[:, 1:] == label[:, :-1]) & (label[:, 1:] != PAD)).sum(1)
    fits = (label_length + repeats <= length) & (label_length > 0)
    left_out = int((~fits & (label_length > 0)).sum())
    logits = model.ctc(memory)  # [B, T, V]
    if not bool(fits.any()):  # blank lines only
        return logits.sum() * 0, label_length.new_zeros(()), left_out
    log_probs = torch.log_softmax(logits, 2)
    each = F.ctc_loss(
        log_probs[fits].transpose(0, 1), label[fits], length[fits], label_length[fits],
        blank=PAD, reduction="none",
    )  # fmt: skip
    return each.sum(), label_length[fits].sum(), left_out


def check(nll: float, ctc: float, step: int) -> None:
    """Raises LossError where a mean loss cannot be what it claims; says which step broke it."""
    for name, value, floor in (("decoder loss", nll, 0.0), ("CTC loss", ctc, -1e-3)):
        if not value >= floor or value == float("inf"):
            cause = (
                "a negative log-likelihood is never negative: the output lacks its log_softmax"
                if value < floor
                else "numbers in the batch, the weights or the gradients are not finite"
            )
            raise LossError(
                f"{name} at step {step}: expected a finite number >= 0, got {value}: {cause}. "
                "Resume from the last checkpoint with a smaller --learning-rate or --clip."
            )
