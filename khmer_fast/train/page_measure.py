"""How well the segmenter finds lines on pages whose lines are known: line by line, not by pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from khmer_fast.train.page_loss import PageBatch, collate_pages, page_losses
from khmer_fast.train.page_targets import OFFSET_UNIT, PageCrop
from python_ref.segmenter import SegmenterOutput

FOUND = 0.8  # share of a line's columns of cells in which a found line is seen
BESIDE = 2  # cells off a band that still count as its edge


@torch.no_grad()
def measure_pages(
    model: nn.Module,  # python_ref.segmenter.Segmenter
    crops: Sequence[PageCrop],
    collate: Callable[[Sequence[PageCrop]], PageBatch] = collate_pages,
) -> dict[str, float]:
    """Mean loss of the maps, and by lines and cells of the upright crops what was found.

    Shares are in [0, 1]. The turn has its share of wrong ones and no part in the loss, where a page
    that is surely wrong would outweigh thirty.
    missed: lines that are found in less than 80 % of their columns; lost: in less than half.
    invented: cells found more than two cells off any band, over the cells of all bands.
    above, below: mean error of log2(1 + px/4); offset: mean error in px; turned: wrong rotations.
    """
    sums = dict.fromkeys(
        ("loss", "lines", "missed", "lost", "cells", "invented", "extent_cells", "above", "below"),
        0.0,
    )
    sums |= dict.fromkeys(("offset_cells", "offset", "turns", "turned"), 0.0)
    for crop in crops:
        batch = collate([crop])
        output = SegmenterOutput(*(x.float().cpu() for x in model(batch.image)))
        batch = collate_pages([crop])
        sums["loss"] += float(page_losses(output, batch).of_maps())
        _add(sums, crop, output)
    lines, cells = max(sums["lines"], 1), max(sums["cells"], 1)
    extents, offsets = max(sums["extent_cells"], 1), max(sums["offset_cells"], 1)
    return {
        "loss": sums["loss"] / max(len(crops), 1),
        "lines": sums["lines"],
        "missed": sums["missed"] / lines,
        "lost": sums["lost"] / lines,
        "invented": sums["invented"] / cells,
        "above": sums["above"] / extents,
        "below": sums["below"] / extents,
        "offset": sums["offset"] / offsets,
        "turned": sums["turned"] / max(sums["turns"], 1),
    }


@torch.no_grad()
def find_bands(
    model: nn.Module,  # python_ref.segmenter.Segmenter
    crop: PageCrop,
    collate: Callable[[Sequence[PageCrop]], PageBatch] = collate_pages,
) -> np.ndarray:
    """Probability of the band in each cell of a crop: float32 [y, x]."""
    return torch.sigmoid(model(collate([crop]).image).band[0]).float().cpu().numpy()


def _add(sums: dict[str, float], crop: PageCrop, output: SegmenterOutput) -> None:
    if crop.rotation >= 0:
        sums["turns"] += 1
        sums["turned"] += int(output.rotation[0].argmax()) != crop.rotation
    if crop.rotation > 0:
        return
    maps, weight = crop.maps.astype(np.float32), crop.weight.astype(np.float32)
    found = output.band[0].numpy() > 0  # [y, x]
    count, hit = _columns(crop.line), _columns(np.where(found, crop.line, 0))  # [lines]
    hit = np.pad(hit, (0, len(count) - len(hit)))
    share = hit[count > 0] / count[count > 0]
    sums["lines"] += len(share)
    sums["missed"] += int((share < FOUND).sum())
    sums["lost"] += int((share < 0.5).sum())
    near = _widen(maps[0] > 0, BESIDE) | (weight[0] == 0)
    sums["cells"] += int((crop.line > 0).sum())
    sums["invented"] += int((found & ~near).sum())
    known = weight[1] > 0
    sums["extent_cells"] += int(known.sum())
    for i, name in ((1, "above"), (2, "below")):
        sums[name] += float(np.abs(getattr(output, name)[0].numpy() - maps[i])[known].sum())
    known = weight[2] > 0
    sums["offset_cells"] += int(known.sum())
    error = np.abs(output.offset[0].numpy() - maps[3])[known].sum()
    sums["offset"] += float(error) * OFFSET_UNIT


def _columns(line: np.ndarray) -> np.ndarray:
    """Of each line, in how many columns it has cells: int16 [y, x] -> int64 [most lines]."""
    row, column = np.nonzero(line)
    pairs = np.unique(line[row, column].astype(np.int64) * line.shape[1] + column)
    return np.bincount(pairs // line.shape[1])[1:]


def _widen(mask: np.ndarray, by: int) -> np.ndarray:
    """bool [y, x]: a mask with `by` cells more on all sides."""
    y, x = mask.shape
    padded = np.pad(mask, by)
    rows = np.logical_or.reduce([padded[i : i + y] for i in range(2 * by + 1)])
    return np.logical_or.reduce([rows[:, i : i + x] for i in range(2 * by + 1)])
