"""A grey page to the network's maps: scaled so that letters have a size that it knows."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from khmer_fast import ops
from khmer_fast.page import pixels
from khmer_fast.page.bands import Maps
from khmer_fast.segmenter_weights import SegmenterWeights, load_segmenter
from python_ref.segmenter import SegmenterOutput

LONG_SIDE = 1280  # network pixels of a page's longer side
STRIP = 2.5  # of a longer page so many times the shorter side counts as the longer one
MOST_ENLARGED = 2.0
LONGEST = 16_384  # network pixels, of a strip
LARGEST = 4_000_000  # network pixels
OFFSET_UNIT = 16.0  # network pixels of the offset map's 1


def network_scale(height: int, width: int, long_side: int = LONG_SIDE) -> float:
    """Network pixels a page pixel, for a page of height x width pixels."""
    short, long = sorted((height, width))
    counted = min(long, max(STRIP * short, long_side))
    return min(
        MOST_ENLARGED,
        long_side / counted,
        LONGEST / long,
        math.sqrt(LARGEST / (height * width)),
    )


def scale_page(grey: np.ndarray, scale: float) -> np.ndarray:
    """The page with each pixel's share of area: uint8 [Y, X] -> uint8 [Y scale, X scale]."""
    Y, X = (max(1, round(n * scale)) for n in grey.shape)
    grey = np.ascontiguousarray(grey)
    if (Y, X) == grey.shape:
        return grey
    if scale < 1:
        return pixels.shrink(grey, Y, X)
    return np.asarray(Image.fromarray(grey).resize((X, Y), Image.Resampling.BILINEAR))


class PageNetwork(Protocol):
    """What finds lines: a Segmenter, or whatever stands in for one."""

    def maps(self, grey: np.ndarray) -> Maps:
        """What is seen on a page at the network's scale: uint8 [Y, X]."""


class Segmenter:
    """The network that finds lines, packed once; may be used from several threads at once.

    `weights` is a file or loaded (by default the packaged ones); `threads` (torch's by default)
    share a page. The backend "reference" computes with python_ref's network. Raises KhmerFastError
    for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | SegmenterWeights | None = None,
        backend: str = "fast",
        threads: int | None = None,
    ):
        self.weights = weights if isinstance(weights, SegmenterWeights) else load_segmenter(weights)
        self._network: Callable[[Tensor], SegmenterOutput] = self.weights.model
        if backend != "reference":
            self._network = partial(ops.Segmenter(self.weights.model), threads=threads)

    @torch.inference_mode()
    def maps(self, grey: np.ndarray) -> Maps:
        """What the network says of a page at its scale: uint8 [Y, X]."""
        image = torch.from_numpy(255 - grey).to(torch.float32).mul_(1 / 255)
        output = self._network(image[None, None])
        return Maps(
            band=output.band[0].numpy(),
            above=output.above[0].numpy(),
            below=output.below[0].numpy(),
            offset=OFFSET_UNIT * output.offset[0].numpy(),
            rotation=output.rotation[0].softmax(0).numpy(),
        )
