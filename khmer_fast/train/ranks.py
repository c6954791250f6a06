"""This process among those of a run over several devices, as torchrun starts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch

from khmer_fast.errors import OptionError
from khmer_fast.train.loop import lost_ranks
from khmer_fast.train.options import TrainOptions


@dataclass(frozen=True)
class Rank:
    """This process among those of the run."""

    rank: int
    ranks: int
    device: torch.device

    def wait(self, where: str) -> None:
        """Until all ranks are here."""
        if self.ranks > 1:
            with lost_ranks(self.rank, where):
                torch.distributed.barrier()


@contextlib.contextmanager
def ranks(options: TrainOptions) -> Iterator[Rank]:
    """This process's place by torchrun's variables; alone without them."""
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and count > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"--device: expected auto, cpu, cuda or cuda:N, got {name}") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise OptionError(f"--device {name}: this PyTorch finds no GPU; give --device cpu")
        torch.cuda.set_device(device)
    if count == 1:
        yield Rank(0, 1, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    with lost_ranks(rank, "the start"):
        torch.distributed.init_process_group(
            backend, timeout=timedelta(seconds=options.rank_timeout)
        )
    try:
        yield Rank(rank, count, device)
    finally:
        torch.distributed.destroy_process_group()
