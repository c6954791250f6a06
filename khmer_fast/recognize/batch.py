"""Prepared lines to padded tensors, in batches of nearly equal width: image > batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MAX_PADDING = 0.05  # share of a batch, where padding is computed
MAX_COLUMNS = 98_304  # pixel columns of a batch, padding included: bounds the memory


@dataclass(frozen=True)
class Batch:
    """B lines as the encoder takes them; X is the widest of them."""

    image: Tensor  # [B, 1, Y, X], paper and padding 0: uint8 with ink 255, or float32 with ink 1
    width: Tensor  # [B] int64, pixels

    @property
    def ink(self) -> Tensor:
        """The image as numbers: [B, 1, Y, X] float32, paper and padding 0, ink 1."""
        return self.image / 255 if self.image.dtype == torch.uint8 else self.image


def collate(lines: Sequence[np.ndarray], width_step: int = 1) -> Batch:
    """Pads prepared lines, each uint8 [Y, X_b] from `prepare_line`, to one batch.

    Training and reading share it, and with it what is dark and what is light. X is a multiple of
    `width_step`. Raises ValueError for no lines or lines of different heights.
    """
    heights = {line.shape[0] for line in lines}
    if len(heights) != 1:
        raise ValueError(f"expected lines of one height, got heights {sorted(heights)}")
    widths = [line.shape[1] for line in lines]
    columns = -(-max(widths) // width_step) * width_step
    image = np.zeros((len(lines), 1, heights.pop(), columns), np.uint8)
    for b, line in enumerate(lines):
        np.subtract(255, line, out=image[b, 0, :, : widths[b]])
    return Batch(torch.from_numpy(image), torch.tensor(widths, dtype=torch.int64))


def plan_batches(
    widths: Sequence[int], batch_size: int, max_padding: float = MAX_PADDING
) -> list[list[int]]:
    """Cuts lines, given by their widths in pixels, into batches of indices, narrowest first.

    A batch has at most `batch_size` lines, MAX_COLUMNS columns (or one line), and of these a share
    of `max_padding` that is padding.
    """
    batches: list[list[int]] = []
    used = 0  # columns of the last batch that are not padding
    for i in sorted(range(len(widths)), key=lambda i: widths[i]):
        width = widths[i]
        count = len(batches[-1]) + 1 if batches else 0
        columns = count * width
        fits = 0 < count <= batch_size and columns <= MAX_COLUMNS
        if fits and used + width >= (1 - max_padding) * columns:
            batches[-1].append(i)
            used += width
        else:
            batches.append([i])
            used = width
    return batches
