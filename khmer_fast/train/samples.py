"""The order of samples and their batches: functions of (seed, epoch, index) alone.

Nothing here depends on the number of workers or of ranks, so that a run that was killed and
resumed sees what an uninterrupted one sees.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from khmer_fast.recognize.batch import collate as pad_images
from khmer_fast.text import Vocabulary

POOL_BATCHES = 16  # batches that are sorted by width together
WIDTH_STEP = 64  # pixels; oneDNN compiles its kernels anew for each width it meets


class Source(Protocol):
    """Where lines come from; `sample` is a pure function of (seed, index)."""

    def sample(self, seed: int, index: int): ...


@dataclass(frozen=True)
class TrainLine:
    image: np.ndarray  # [Y, X] uint8, prepared: dark ink on white paper
    ids: list[int]  # the label, without <bos> and <eos>


@dataclass(frozen=True)
class TrainBatch:
    """B lines as the model takes them; L is the longest label."""

    image: Tensor  # [B, 1, Y, X] float, paper 0, ink 1
    width: Tensor  # [B] int64
    label: Tensor  # [B, L] int64, <pad> behind the label
    label_length: Tensor  # [B] int64, without <bos> and <eos>


@dataclass(frozen=True)
class LineDataset(torch.utils.data.Dataset):
    """Sample `i` of an epoch, rendered or read, prepared and encoded."""

    source: Source
    vocabulary: Vocabulary
    height: int
    seed: int

    def __getitem__(self, index: int) -> TrainLine:
        from khmer_fast.recognize.line_image import prepare_line

        sample = self.source.sample(self.seed, index)
        return TrainLine(
            prepare_line(sample.image, self.height), self.vocabulary.encode(sample.text)
        )

    def order(self, lines: Sequence[TrainLine], epoch: int, pool: int) -> list[int]:
        """How the lines of a pool are put together: by width."""
        return sorted(range(len(lines)), key=lambda i: lines[i].image.shape[1])


def batches(
    dataset: Any,  # samples by index, a seed, and order(samples, epoch, pool)
    epoch: int,
    lines_per_epoch: int,
    batch_lines: int,
    first_batch: int = 0,
    workers: int = 0,
) -> Iterator[list[Any]]:
    """Batches of epoch `epoch` (from 0), beginning with batch `first_batch`.

    Pools of POOL_BATCHES * batch_lines consecutive samples are ordered by the dataset (lines: by
    width) and cut into batches, whose order is then drawn from (seed, epoch, pool). Several ranks
    each take their share of every batch, sample by sample.
    """
    pool_lines = POOL_BATCHES * batch_lines
    first_pool = first_batch // POOL_BATCHES
    start = epoch * lines_per_epoch
    indices = range(start + first_pool * pool_lines, start + lines_per_epoch)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=batch_lines,
        sampler=indices,
        num_workers=workers,
        collate_fn=list,
        prefetch_factor=2 * POOL_BATCHES // workers if workers else None,
        worker_init_fn=_start_worker,
    )
    pool: list[Any] = []
    number = first_pool
    skip = first_batch - first_pool * POOL_BATCHES
    loaded = iter(loader)
    while True:
        chunk = next(loaded, None)
        if chunk is not None:
            pool += chunk
            if len(pool) < pool_lines:
                continue
        if pool:
            order = dataset.order(pool, epoch, number)
            cut = [order[i : i + batch_lines] for i in range(0, len(order), batch_lines)]
            shuffle = np.random.default_rng((dataset.seed, epoch, number)).permutation(len(cut))
            for i in shuffle[skip:]:
                yield [pool[j] for j in cut[i]]
        if chunk is None:
            return
        pool, number, skip = [], number + 1, 0


def _start_worker(worker: int) -> None:
    """The model's step goes first, and signals are the trainer's affair: it ends its workers."""
    os.nice(5)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(trainer: int) -> None:
    """Ends this worker when its trainer was killed: it would wait for a reader for ever."""
    while os.getppid() == trainer:
        time.sleep(1)
    os._exit(1)


def batch_count(lines_per_epoch: int, batch_lines: int) -> int:
    """Batches of one epoch."""
    return -(-lines_per_epoch // batch_lines)


def collate(lines: list[TrainLine], dtype: torch.dtype = torch.float32) -> TrainBatch:
    """Pads lines to the widest image, rounded up to WIDTH_STEP, and to the longest label."""
    batch = pad_images([line.image for line in lines], WIDTH_STEP)
    label = torch.zeros(len(lines), max(len(line.ids) for line in lines), dtype=torch.int64)
    for b, line in enumerate(lines):
        label[b, : len(line.ids)] = torch.tensor(line.ids, dtype=torch.int64)
    return TrainBatch(
        batch.ink.to(dtype),
        batch.width,
        label,
        torch.tensor([len(line.ids) for line in lines]),
    )
