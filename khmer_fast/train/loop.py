"""One training step, and one validation: batch > losses > gradients > weights > averages."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from khmer_fast.errors import KhmerFastError
from khmer_fast.text import BOS, Vocabulary
from khmer_fast.train.loss import LossError, Losses, check, losses, losses_of_memory
from khmer_fast.train.options import TrainOptions
from khmer_fast.train.samples import TrainBatch, TrainLine, collate
from python_ref.attn_gru_step import DecoderWeights, attn_gru_init
from python_ref.config import ModelConfig
from python_ref.ctc import ctc_greedy
from python_ref.encoder import Encoder
from python_ref.model import Model

PATIENCE = 3  # epochs without a better CER before --schedule plateau halves the rate
ATTENTION_LINES = 16  # validation lines whose attention is measured


@dataclass
class Since:
    """What happened since the last record of the history; saved, so that a resumed run goes on."""

    steps: int = 0
    lines: int = 0
    nll: float = 0.0  # sum over the steps
    ctc: float = 0.0
    gradient_norm: float = 0.0  # the largest
    learning_rate: float = 0.0  # the last
    seconds: float = 0.0  # of training
    waited: float = 0.0  # seconds of those, spent waiting for data


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    epoch: int = 0  # epochs completed
    batch: int = 0  # batches done of the epoch under way
    step: int = 0  # optimiser steps in all
    lines: int = 0  # lines seen in all
    ctc_left_out: int = 0  # lines whose label did not fit CTC
    best: float | None = None  # lowest validation CER so far
    best_by_decoder: bool = False  # False: of the CTC head, in the epochs with CTC alone
    stale: int = 0  # epochs since then
    rate_factor: float = 1.0  # what --schedule plateau has left of the learning rate
    seconds: float = 0.0  # training time in all
    since: Since = dataclasses.field(default_factory=Since)

    @property
    def epoch_under_way(self) -> int:
        """The epoch that the last step was part of, from 1."""
        return self.epoch + (self.batch > 0)


@dataclass(frozen=True)
class StepReport:
    """Mean losses of one step in nats a character, and the gradient's norm before clipping."""

    nll: float
    ctc: float
    gradient_norm: float
    learning_rate: float
    lines: int  # over all ranks
    stop: bool  # some rank was told to end


class RankError(KhmerFastError):
    """Another process of a run over several devices is gone."""


class Trainer:
    """Model, optimiser, averages and schedule: everything that a checkpoint holds."""

    def __init__(
        self, config: ModelConfig, options: TrainOptions, device: torch.device, rank=0, ranks=1
    ):
        torch.manual_seed(options.seed)
        self.options = options
        self.device = device
        self.rank, self.ranks = rank, ranks
        self.dtype = getattr(torch, options.dtype)
        self.model = Model(config).to(self.device, self.dtype)
        self.average = Model(config).to(self.device, self.dtype)
        self.average.load_state_dict(self.model.state_dict())
        self.average.requires_grad_(False)
        self.optimizer = make_optimizer(self.model, options)
        self.progress = Progress()
        self.sequence = find_sequence(options.backend, self.device)
        self.recurrent = find_recurrent(options.backend, self.device)
        self.amp = find_amp(options.amp, self.device)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as torch.load(weights_only=True) reads it back."""
        return {
            "config": self.model.config.name,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": dataclasses.asdict(self.progress),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        progress = dict(state["progress"])
        self.progress = Progress(**{**progress, "since": Since(**progress["since"])})

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Takes over weights of a model whose vocabulary may be shorter; new rows stay random."""
        own = self.model.state_dict()
        with torch.no_grad():
            for name, tensor in state.items():
                own[name][: tensor.shape[0]] = tensor
        self.average.load_state_dict(own)

    def decoder_on(self) -> bool:
        return self.progress.epoch >= self.options.ctc_only_epochs

    def collate(self, lines: list[TrainLine]) -> TrainBatch:
        """A batch on the trainer's device, in its dtype."""
        batch = collate(lines, self.dtype)
        return TrainBatch(**{name: tensor.to(self.device) for name, tensor in vars(batch).items()})

    def forward(self, lines: list[TrainLine]) -> Losses:
        batch = self.collate(lines)
        decoder_on = self.decoder_on()
        return losses(
            self.model,
            batch,
            self.sequence if decoder_on else None,
            self.amp,
            ctc=self.options.ctc_weight > 0 or not decoder_on,
            recurrent=self.recurrent,
        )

    def train_step(
        self, micro_batches: list[list[TrainLine]], total_steps: int, stop: bool = False
    ) -> StepReport:
        """One optimiser step over micro-batches, which all ranks share; mean losses in nats.

        `stop` tells all ranks that one was told to end. Raises LossError for a loss or gradient
        that cannot be, before the weights change, and RankError where another rank is gone.
        """
        options, progress = self.options, self.progress
        self.optimizer.zero_grad(set_to_none=True)
        # The divisor is known from the labels alone, before the first backward.
        tokens = sum(len(line.ids) + 1 for lines in micro_batches for line in lines)
        ctc_weight = options.ctc_weight if self.decoder_on() else 1.0
        # nll, tokens, ctc, ctc_tokens, ctc_left_out, stop
        sums = torch.zeros(6, dtype=torch.float64)
        sums[5] = stop
        for lines in micro_batches:
            lines = lines[self.rank :: self.ranks]
            if not lines:
                continue
            part = self.forward(lines)
            smoothing = options.label_smoothing
            nll = (1 - smoothing) * part.nll + smoothing * part.smooth
            ((nll + ctc_weight * part.ctc) / tokens).backward()
            for i, value in enumerate((part.nll, part.tokens, part.ctc, part.ctc_tokens)):
                sums[i] += value.detach().double().cpu()
            sums[4] += part.ctc_left_out
        if self.ranks > 1:
            sums = self._sum_over_ranks(sums)
        nll_sum, nll_tokens, ctc_sum, ctc_tokens, left_out, stopped = sums.tolist()
        nll = nll_sum / max(nll_tokens, 1)
        ctc = ctc_sum / max(ctc_tokens, 1)
        step = progress.step + 1
        check(nll, ctc, step)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), options.clip or math.inf))
        if not math.isfinite(norm):
            raise LossError(
                f"the gradient at step {step} is {norm}, expected a finite number; resume from the "
                "last checkpoint with a smaller --learning-rate or --clip"
            )
        rate = learning_rate(options, progress.step, total_steps) * progress.rate_factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        update_average(self.average, self.model, options.ema_decay, step)
        lines = sum(map(len, micro_batches))
        progress.step = step
        progress.batch += len(micro_batches)
        progress.lines += lines
        progress.ctc_left_out += int(left_out)
        since = progress.since
        since.steps += 1
        since.lines += lines
        since.nll += nll
        since.ctc += ctc
        since.gradient_norm = max(since.gradient_norm, norm)
        since.learning_rate = rate
        return StepReport(nll, ctc, norm, rate, lines, stopped > 0)

    def _sum_over_ranks(self, sums: Tensor) -> Tensor:
        """Adds up losses and gradients; sums, so that it equals one process to rounding."""
        parameters = list(self.model.parameters())
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        used = torch.tensor([p.grad is not None for p in parameters], dtype=self.dtype)
        flat = torch.cat([*(g.reshape(-1) for g in gradients), used.to(self.device)])
        sums = sums.to(self.device)
        with lost_ranks(self.rank, f"step {self.progress.step + 1}"):
            torch.distributed.all_reduce(flat)
            torch.distributed.all_reduce(sums)
        used = flat[-len(parameters) :].tolist()
        offset = 0
        for parameter, ranks_with_it in zip(parameters, used, strict=True):
            count = parameter.numel()
            gradient = flat[offset : offset + count].view_as(parameter)
            parameter.grad = gradient if ranks_with_it else None
            offset += count
        return sums.cpu()

    def from_rank_0(self, value: float) -> float:
        """Rank 0's number, on all ranks."""
        if self.ranks == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        with lost_ranks(self.rank, f"the validation after step {self.progress.step}"):
            torch.distributed.broadcast(shared, 0)
        return float(shared)

    def judge(self, cer: float, by_decoder: bool, end_of_epoch: bool) -> bool:
        """Takes in a validation CER: whether it is the best, and with --schedule plateau what
        becomes of the rate, which is halved after PATIENCE epochs without a better one.
        """
        progress = self.progress
        if by_decoder and not progress.best_by_decoder:  # the CTC head's CER is another measure
            progress.best, progress.best_by_decoder, progress.stale = None, True, 0
        best = progress.best is None or cer < progress.best
        if best:
            progress.best, progress.stale = cer, 0
        elif end_of_epoch:
            progress.stale += 1
            if self.options.schedule == "plateau" and progress.stale >= PATIENCE:
                progress.rate_factor /= 2
                progress.stale = 0
        return best


@contextlib.contextmanager
def lost_ranks(rank: int, where: str) -> Iterator[None]:
    """Turns the error of a process that waits for one that is gone into words."""
    try:
        yield
    except RuntimeError as error:
        first = next(iter(str(error).splitlines()), "")
        raise RankError(
            f"rank {rank} lost the others at {where}: a process ended or stopped answering "
            f"({first}); see what that process said, and continue with --resume"
        ) from error


def make_optimizer(model: Model, options: Any) -> torch.optim.Optimizer:
    """AdamW; gains, biases, norms and `v` are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98), fused=True)


def learning_rate(options: Any, step: int, total_steps: int) -> float:
    """Linear warm-up, then constant or half a cosine down to 1 % at `total_steps`."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    if options.schedule != "cosine":
        return options.learning_rate
    done = (step - options.warmup_steps) / max(total_steps - options.warmup_steps, 1)
    return options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1))))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights, with a shorter memory at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def find_sequence(backend: str, device: torch.device) -> Callable:
    """`attn_gru_sequence`: the fused op, or the plain loop of the reference."""
    if backend == "fast":
        from khmer_fast.sequence import attn_gru_sequence, has_kernels

        if has_kernels(device.type):
            return attn_gru_sequence
    from python_ref.attn_gru_sequence import attn_gru_sequence

    return attn_gru_sequence


def find_recurrent(backend: str, device: torch.device) -> Callable:
    """The encoder's GRU: the fused op, or torch's, which on a GPU is cuDNN's."""
    if backend == "reference" or device.type == "cuda":
        return Encoder.recurrent
    from khmer_fast.sequence import encoder_recurrent

    return encoder_recurrent


def find_amp(choice: str, device: torch.device) -> torch.dtype | None:
    """The dtype of the convolutions: bfloat16 where it is faster than float32, else None."""
    if choice == "off":
        return None
    if choice == "bfloat16" or device.type == "cuda":
        return torch.bfloat16
    from khmer_fast.recognize.engine import has_fast_bfloat16

    return torch.bfloat16 if has_fast_bfloat16() else None


@dataclass(frozen=True)
class Validation:
    """What one look at the validation lines gave; `record` holds the history's figures."""

    record: dict[str, float | None]
    predictions: list[str]
    attention: list[Tensor]  # of [S, T], teacher-forced, for the first ATTENTION_LINES


@torch.no_grad()
def validate(
    trainer: Trainer,
    lines: list[TrainLine],
    vocabulary: Vocabulary,
    by_decoder: bool = True,
    beam: int = 5,
) -> Validation:
    """Reads the lines with the averaged weights: greedily, by beam and by the CTC head.

    Without `by_decoder` by the CTC head alone, whose CER then stands under `val_cer` too.
    """
    from khmer_fast.evaluation.metrics import score
    from khmer_fast.recognize.decoder import decode

    model, options = trainer.average, trainer.options
    decoder = DecoderWeights(*(w.float().cpu() for w in model.decoder.weights()))
    if by_decoder and options.backend == "fast":
        from khmer_fast.ops import Decoder

        decoder = Decoder(decoder)
    references = [vocabulary.decode(line.ids) for line in lines]
    greedy, by_beam, by_ctc = [""] * len(lines), [""] * len(lines), [""] * len(lines)
    without_eos = 0
    sums = torch.zeros(4, dtype=torch.float64)
    order = sorted(range(len(lines)), key=lambda i: lines[i].image.shape[1])
    for start in range(0, len(lines), options.batch_lines):
        chosen = order[start : start + options.batch_lines]
        batch = trainer.collate([lines[i] for i in chosen])
        feature, length = model.encoder.features(batch.image, batch.width)
        memory = trainer.recurrent(model.encoder, feature, length)
        sequence = trainer.sequence if by_decoder else None
        part = losses_of_memory(model, memory, length, batch, sequence)
        sums += torch.tensor([float(part.nll), part.tokens, float(part.ctc), part.ctc_tokens])
        path = ctc_greedy(model.ctc(memory).cpu(), length.cpu())
        for b, i in enumerate(chosen):
            by_ctc[i] = vocabulary.decode(path.tokens[b, 0, : path.length[b, 0]].tolist())
        if not by_decoder:
            continue
        memory, length = memory.float().cpu(), length.cpu()
        for width, texts in ((1, greedy), (beam, by_beam)):
            result = decode(decoder, memory, length, beam=width, backend=options.backend)
            for b, i in enumerate(chosen):
                texts[i] = vocabulary.decode(result.tokens[b, 0, : result.length[b, 0]].tolist())
            if width == 1:
                without_eos += int((result.truncated[:, 0] | result.failed).sum())
    texts = greedy if by_decoder else by_ctc
    scores, ctc_cer = score(references, texts), score(references, by_ctc).cer
    characters = max(scores.characters, 1)
    nll, tokens, ctc, ctc_tokens = sums.tolist()
    nll, ctc = nll / max(tokens, 1), ctc / max(ctc_tokens, 1)
    return Validation(
        {
            "val_loss": nll + options.ctc_weight * ctc if by_decoder else ctc,
            "val_nll": nll if by_decoder else None,
            "val_ctc": ctc,
            "val_cer": scores.cer,
            "val_substitutions": scores.substitutions / characters,
            "val_deletions": scores.deletions / characters,
            "val_insertions": scores.insertions / characters,
            "val_cluster_error_rate": scores.cluster_error_rate,
            "val_cer_beam": score(references, by_beam).cer if by_decoder else None,
            "val_ctc_cer": ctc_cer,
            "val_without_eos": without_eos / len(lines) if by_decoder else None,
            "val_loops": sum(map(is_loop, texts, references)) / len(lines),
            "val_distinct": len(set(texts)) / max(len(set(references)), 1),
            "val_length": sum(map(len, texts)) / len(lines),
            "val_true_length": sum(map(len, references)) / len(lines),
        },
        texts,
        forced_attention(trainer, lines[:ATTENTION_LINES]) if by_decoder else [],
    )


@torch.no_grad()
def forced_attention(trainer: Trainer, lines: list[TrainLine]) -> list[Tensor]:
    """Attention weights [S, T] of each line when the decoder is given the true characters."""
    model = trainer.average
    rows = []
    for line in lines:
        batch = trainer.collate([line])
        memory, length = model.encode(batch.image, batch.width)
        weights = model.decoder.weights()
        key, h_0 = attn_gru_init(memory, length, weights)
        token = torch.tensor([[BOS, *line.ids]], device=trainer.device)  # [1, S]
        _, weight = trainer.sequence(
            memory, key, length, h_0, token, torch.tensor([token.shape[1]], device=trainer.device),
            weights.embedding, weights.W_q, weights.v, weights.W_ih, weights.W_hh,
            weights.b_ih, weights.b_hh, weights.W_o, weights.b_o,
        )  # fmt: skip
        rows.append(weight[0, :, : int(length[0])].cpu())
    return rows


def is_loop(text: str, reference: str) -> bool:
    """Whether a reading repeats what its reference does not, as `evaluate` counts it."""
    from khmer_fast.evaluation.diagnosis import LOOP, repetition

    return repetition(text) - repetition(reference) >= LOOP
