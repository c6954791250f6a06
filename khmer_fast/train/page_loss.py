"""Losses of the segmenter: sums over the crops, each crop's own a mean, so that crops add up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from khmer_fast.train.loop import LossError, Sums
from khmer_fast.train.page_targets import PageCrop
from python_ref.segmenter import Segmenter, SegmenterConfig, SegmenterOutput

EXTENT_BETA = 0.1  # in log2: where smooth L1 turns from square to straight
OFFSET_BETA = 0.05
ROTATION_WEIGHT = 0.4
FEWEST_CELLS = 32.0  # of weight: a crop with less has a smaller share of a masked loss


@dataclass(frozen=True)
class PageBatch:
    """B crops as the network takes them; y = Y/4 and x = X/4."""

    image: Tensor  # [B, 1, Y, X] float, paper 0, ink 1
    maps: Tensor  # [B, 4, y, x]
    weight: Tensor  # [B, 3, y, x]
    rotation: Tensor  # [B] int64, -1 unknown


@dataclass(frozen=True)
class PageLosses:
    """Sums over the crops of a batch."""

    band: Tensor  # scalar, binary cross-entropy
    dice: Tensor  # scalar
    extent: Tensor  # scalar, smooth L1 of above and below
    offset: Tensor  # scalar, smooth L1
    rotation: Tensor  # scalar, cross-entropy

    def of_maps(self) -> Tensor:
        return 2 * self.band + self.dice + self.extent + self.offset

    def total(self) -> Tensor:
        return self.of_maps() + ROTATION_WEIGHT * self.rotation


class PageObjective:
    """The segmenter's losses, each a mean over the crops."""

    losses = ("band", "dice", "extent", "offset", "rotation")

    def __init__(self, config: SegmenterConfig, dtype: torch.dtype, device: torch.device):
        self.config, self.dtype, self.device = config, dtype, device
        self.config_name = config.name

    def make_model(self) -> Segmenter:
        return Segmenter(self.config).to(memory_format=torch.channels_last)  # a third faster

    def count(self, crop: PageCrop) -> int:
        return 1

    def collate(self, crops: Sequence[PageCrop]) -> PageBatch:
        """A batch on the trainer's device, in its dtype."""
        batch = collate_pages(crops, self.dtype)
        return PageBatch(**{name: tensor.to(self.device) for name, tensor in vars(batch).items()})

    def sums(self, model: Segmenter, crops: Sequence[PageCrop], epoch: int) -> Sums:
        batch = self.collate(crops)
        parts = page_losses(model(batch.image), batch)
        known = float((batch.rotation >= 0).sum())
        counts = (*[len(crops)] * (len(self.losses) - 1), known)
        return Sums(parts.total(), tuple(getattr(parts, name) for name in self.losses), counts)

    def check(self, means: Mapping[str, float], step: int) -> None:
        for name, value in means.items():
            if not value >= -1e-6 or math.isinf(value):
                raise LossError(
                    f"{name} loss at step {step}: expected a finite number >= 0, got {value}; "
                    "resume from the last checkpoint with a smaller --learning-rate or --clip"
                )


def collate_pages(crops: Sequence[PageCrop], dtype: torch.dtype = torch.float32) -> PageBatch:
    """Crops of one size as a batch."""
    image = torch.from_numpy(np.stack([crop.image for crop in crops]))
    return PageBatch(
        ((255 - image.to(dtype)) / 255)[:, None],
        torch.from_numpy(np.stack([crop.maps for crop in crops])).to(dtype),
        torch.from_numpy(np.stack([crop.weight for crop in crops])).to(dtype),
        torch.tensor([crop.rotation for crop in crops]),
    )


def page_losses(output: SegmenterOutput, batch: PageBatch) -> PageLosses:
    """What the maps [B, y, x] and the rotation [B, 4] of a batch cost."""
    band, extent, offset = batch.weight.unbind(1)  # [B, y, x]
    target = batch.maps[:, 0]
    logit = output.band.to(target.dtype)
    cross = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    p = torch.sigmoid(logit)
    both = (band * p * target).sum((1, 2))
    each = (band * (p.square() + target.square())).sum((1, 2))
    dice = 1 - (2 * both + 1) / (each + 1)  # [B]
    extents = sum(
        F.smooth_l1_loss(found, batch.maps[:, i], reduction="none", beta=EXTENT_BETA)
        for i, found in ((1, output.above), (2, output.below))
    )
    offsets = F.smooth_l1_loss(output.offset, batch.maps[:, 3], reduction="none", beta=OFFSET_BETA)
    known = batch.rotation >= 0
    turn = F.cross_entropy(output.rotation[known], batch.rotation[known], reduction="sum")
    return PageLosses(
        _mean(cross, band).sum(),
        dice.sum(),
        _mean(extents, extent).sum(),
        _mean(offsets, offset).sum(),
        turn,
    )


def _mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Weighed mean of each crop: [B, y, x], [B, y, x] -> [B]."""
    return (loss * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(FEWEST_CELLS)
