"""One training step of any task: samples > losses > gradients > weights > averages."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from khmer_fast.errors import KhmerFastError
from khmer_fast.train.optimizer import make_optimizer
from khmer_fast.train.options import TrainOptions

PATIENCE = 3  # epochs without a better score before --schedule plateau halves the rate


class LossError(KhmerFastError):
    """A loss that cannot be: negative or not finite."""


@dataclass(frozen=True)
class Sums:
    """What a batch costs, as sums with their counts: micro-batches and ranks add up."""

    total: Tensor  # scalar, to be minimised: over the count of the samples
    values: Sequence[Tensor]  # of each loss that is reported
    counts: Sequence[float | Tensor]  # and what its sum is divided by
    left_out: int = 0  # samples that a loss could not be told of


class Objective(Protocol):
    """What is trained and what it costs."""

    config_name: str
    losses: tuple[str, ...]  # names of what is reported, in the order of Sums

    def make_model(self) -> nn.Module:
        """A model with random weights, float32 on the CPU."""

    def count(self, sample: Any) -> int:
        """What a sample counts in the mean that is minimised."""

    def sums(self, model: Any, samples: Sequence[Any], epoch: int) -> Sums:
        """The forward pass of a model that it made in epoch `epoch` (from 0)."""

    def check(self, means: Mapping[str, float], step: int) -> None:
        """Raises LossError where a mean loss cannot be what it claims."""


@dataclass
class Since:
    """What happened since the last record of the history; saved, so that a resumed run goes on."""

    steps: int = 0
    lines: int = 0
    losses: dict[str, float] = dataclasses.field(default_factory=dict)  # sums over the steps
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
    lines: int = 0  # samples seen in all
    ctc_left_out: int = 0  # lines whose label did not fit CTC
    best: float | None = None  # lowest validation score so far: of lines the CER
    best_by_decoder: bool = False  # False: of the CTC head, in the epochs with CTC alone
    stale: int = 0  # epochs since then
    rate_factor: float = 1.0  # what --schedule plateau has left of the learning rate
    seconds: float = 0.0  # training time in all
    since: Since = dataclasses.field(default_factory=Since)

    @property
    def epoch_under_way(self) -> int:
        """The epoch that the last step was part of, from 1."""
        return self.epoch + (self.batch > 0)


def upgraded(progress: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's progress as this version has it: version 0.1 knew losses of lines alone."""
    since = dict(progress["since"])
    if "nll" in since and "ctc" in since:
        since["losses"] = {name: since.pop(name) for name in ("nll", "ctc")}
    return {**progress, "since": since}


@dataclass(frozen=True)
class StepReport:
    """Mean losses of one step by name, and the gradient's norm before clipping."""

    losses: dict[str, float]
    gradient_norm: float
    learning_rate: float
    lines: int  # over all ranks
    stop: bool  # some rank was told to end


class RankError(KhmerFastError):
    """Another process of a run over several devices is gone."""


class Trainer:
    """Model, optimiser, averages and schedule: everything that a checkpoint holds."""

    def __init__(
        self, objective: Objective, options: TrainOptions, device: torch.device, rank=0, ranks=1
    ):
        torch.manual_seed(options.seed)
        self.objective = objective
        self.options = options
        self.device = device
        self.rank, self.ranks = rank, ranks
        self.dtype = getattr(torch, options.dtype)
        self.model = objective.make_model().to(self.device, self.dtype)
        self.average = copy.deepcopy(self.model)
        self.average.requires_grad_(False)
        self.optimizer = make_optimizer(self.model, options, device)
        self.progress = Progress(since=self.since())

    def since(self) -> Since:
        """Nothing yet."""
        return Since(losses=dict.fromkeys(self.objective.losses, 0.0))

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as torch.load(weights_only=True) reads it back."""
        return {
            "config": self.objective.config_name,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": dataclasses.asdict(self.progress),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        progress = upgraded(state["progress"])
        self.progress = Progress(**{**progress, "since": Since(**progress["since"])})

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Takes over weights of a model whose vocabulary may be shorter; new rows stay random."""
        own = self.model.state_dict()
        with torch.no_grad():
            for name, tensor in state.items():
                own[name][: tensor.shape[0]] = tensor
        self.average.load_state_dict(own)

    def train_step(
        self, micro_batches: list[list[Any]], total_steps: int, stop: bool = False
    ) -> StepReport:
        """One optimiser step over micro-batches, which all ranks share; mean losses.

        `stop` tells all ranks that one was told to end. Raises LossError for a loss or gradient
        that cannot be, before the weights change, and RankError where another rank is gone.
        """
        options, progress, objective = self.options, self.progress, self.objective
        self.optimizer.zero_grad(set_to_none=True)
        # The divisor is known from the samples alone, before the first backward.
        count = sum(objective.count(sample) for samples in micro_batches for sample in samples)
        names = objective.losses
        # a value and a count for each loss, then: left out, stop
        sums = torch.zeros(2 * len(names) + 2, dtype=torch.float64)
        sums[-1] = stop
        for samples in micro_batches:
            samples = samples[self.rank :: self.ranks]
            if not samples:
                continue
            part = objective.sums(self.model, samples, progress.epoch)
            (part.total / count).backward()
            for i, value in enumerate((*part.values, *part.counts)):
                sums[i] += torch.as_tensor(value).detach().double().cpu()
            sums[-2] += part.left_out
        if self.ranks > 1:
            sums = self._sum_over_ranks(sums)
        *parts, left_out, stopped = sums.tolist()
        values, counts = parts[: len(names)], parts[len(names) :]
        means = {n: v / max(c, 1) for n, v, c in zip(names, values, counts, strict=True)}
        step = progress.step + 1
        objective.check(means, step)
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
        for name, mean in means.items():
            since.losses[name] += mean
        since.gradient_norm = max(since.gradient_norm, norm)
        since.learning_rate = rate
        return StepReport(means, norm, rate, lines, stopped > 0)

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
        offset = 0
        for parameter, ranks_with_it in zip(parameters, flat[-len(used) :].tolist(), strict=True):
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

    def judge(self, score: float, by_decoder: bool, end_of_epoch: bool) -> bool:
        """Takes in a validation score: whether it is the best, and with --schedule plateau what
        becomes of the rate, which is halved after PATIENCE epochs without a better one.
        """
        progress = self.progress
        if by_decoder and not progress.best_by_decoder:  # the CTC head's CER is another measure
            progress.best, progress.best_by_decoder, progress.stale = None, True, 0
        best = progress.best is None or score < progress.best
        if best:
            progress.best, progress.stale = score, 0
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
