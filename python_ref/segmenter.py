"""The segmenter: a U of convolutions that finds a page's lines (docs/pages.md section 3, step 1).

Plain 3x3 convolutions at strides 2 and 4, depthwise and pointwise ones from stride 8 on. Dense
weights are standardised as in the encoder, so that a page's result does not depend on its batch,
training equals reading, and reading can fold the weights once. A level of n pixels has ceil(n / 2)
at the next stride and every convolution sees paper (0) beyond its image: a page alone needs no
padding, and what is padded with 0 is seen as more paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from python_ref.encoder import BRANCH_GAIN, RELU_GAIN

DEPTHWISE = (5, 9)  # rows, columns of a block's depthwise filter from stride 16 on
DEPTHWISE_8 = (5, 5)  # at stride 8, and wherever a stride is doubled
MAPS = 4  # band, above, below, offset
ROTATIONS = 4  # 0, 90, 180, 270 degrees clockwise


@dataclass(frozen=True)
class SegmenterConfig:
    """Sizes of one segmenter."""

    name: str
    stem: int  # channels at stride 2
    fine: int  # channels at stride 4
    channels: tuple[int, ...]  # at strides 8, 16, 32
    blocks: tuple[int, ...]  # residual blocks at those strides on the way down; one on the way up


class SegmenterOutput(NamedTuple):
    """What the network says of a page, at stride 4; px are pixels of the network's input."""

    band: Tensor  # [B, Y/4, X/4] logit of the band from the baseline to a plain consonant's top
    above: Tensor  # [B, Y/4, X/4] log2(1 + px/4) from the band's middle to the top of its ink
    below: Tensor  # [B, Y/4, X/4] the same to the bottom
    offset: Tensor  # [B, Y/4, X/4] px/16 from a pixel of ink down to the middle of its band
    rotation: Tensor  # [B, 4] logits of the clockwise turn that was applied: 0, 90, 180, 270


class DenseConv2d(nn.Module):
    """A convolution whose filters have mean 0 and a learned norm (python_ref/encoder.py)."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, gain: float = 1.0):
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.gain = nn.Parameter(torch.full((outputs,), gain))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def folded_weight(self) -> Tensor:  # [outputs, inputs, size, size]
        fan_in = self.weight[0].numel()
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        scale = (RELU_GAIN * self.gain)[:, None, None, None] * torch.rsqrt(variance * fan_in + 1e-6)
        return (self.weight - mean) * scale

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, Y, X] -> [B, outputs, Y', X']
        weight = self.folded_weight()
        return F.conv2d(x, weight, self.bias, self.stride, padding=weight.shape[2] // 2)


class DepthwiseConv2d(nn.Module):
    """A filter for each channel."""

    def __init__(self, channels: int, size: tuple[int, int], stride: int = 1):
        super().__init__()
        self.stride = stride
        taps = size[0] * size[1]
        self.weight = nn.Parameter(torch.randn(channels, 1, *size) * RELU_GAIN / taps**0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def folded_weight(self) -> Tensor:  # [C, 1, rows, columns]
        return self.weight

    def forward(self, x: Tensor) -> Tensor:  # [B, C, Y, X] -> [B, C, Y', X']
        rows, columns = self.weight.shape[2:]
        padding = (rows // 2, columns // 2)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=len(self.weight))


class Down(nn.Module):
    """Half the size: depthwise with stride 2, pointwise to more channels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.depthwise = DepthwiseConv2d(inputs, DEPTHWISE_8, stride=2)
        self.pointwise = DenseConv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, Y, X] -> [B, outputs, Y', X']
        return F.relu(self.pointwise(self.depthwise(x)))


class Block(nn.Module):
    def __init__(self, channels: int, size: tuple[int, int]):
        super().__init__()
        self.depthwise = DepthwiseConv2d(channels, size)
        self.pointwise = DenseConv2d(channels, channels, 1, gain=BRANCH_GAIN)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, Y, X]
        return F.relu(x + self.pointwise(F.relu(self.depthwise(x))))


class Up(nn.Module):
    """Twice the size, added to what stood there on the way down."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.pointwise = DenseConv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:  # [B, inputs, Y', X'], [B, outputs, Y, X]
        x = F.interpolate(self.pointwise(x), scale_factor=2.0, mode="nearest")
        return skip + x[:, :, : skip.shape[2], : skip.shape[3]]


class Readout(nn.Module):
    """What is read off the features at each place."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1) * 0.01)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def folded_weight(self) -> Tensor:  # [outputs, inputs, 1, 1]
        return self.weight

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, Y, X] -> [B, outputs, Y, X]
        return F.conv2d(x, self.weight, self.bias)


class Segmenter(nn.Module):
    def __init__(self, config: SegmenterConfig):
        super().__init__()
        self.config = config
        self.stem = DenseConv2d(1, config.stem, 3, stride=2)
        self.fine = DenseConv2d(config.stem, config.fine, 3, stride=2)
        widths = (config.fine, *config.channels)
        sizes = (DEPTHWISE_8, *[DEPTHWISE] * (len(config.channels) - 1))
        self.down = nn.ModuleList(map(Down, widths[:-1], widths[1:]))
        self.blocks = nn.ModuleList(
            nn.ModuleList(Block(channels, size) for _ in range(count))
            for channels, size, count in zip(config.channels, sizes, config.blocks, strict=True)
        )
        self.up = nn.ModuleList(map(Up, widths[1:], widths[:-1]))
        self.up_blocks = nn.ModuleList(map(Block, config.channels[:-1], sizes[:-1]))
        self.merge = DenseConv2d(config.fine, config.fine, 3)
        self.head = Readout(config.fine, MAPS)
        self.turn = Readout(config.channels[-1], ROTATIONS + 1)

    def forward(self, image: Tensor) -> SegmenterOutput:
        """Maps of pages: image [B, 1, Y, X], ink 1 and paper 0 on a dark-on-light page."""
        # 1. strides 2 and 4
        x = F.relu(self.stem(image)).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.fine(x))
        # 2. down to the coarsest stride
        skips = []
        for down, blocks in zip(self.down, self.blocks, strict=True):
            skips.append(x)
            x = down(x)
            for block in blocks.children():
                x = block(x)
        rotation = self.rotation(x)
        # 3. up again to stride 4
        for level in reversed(range(len(self.up))):
            x = self.up[level](x, skips[level])
            if level > 0:
                x = self.up_blocks[level - 1](x)
        # 4. four maps
        maps = self.head(F.relu(self.merge(x)))  # [B, 4, Y/4, X/4]
        band, above, below, offset = maps.unbind(1)
        return SegmenterOutput(band, above, below, offset, rotation)

    def in_order(self) -> Iterator[DepthwiseConv2d | DenseConv2d | Readout]:
        """The convolutions as the fused segmenter takes them: level by level, there and back."""
        parts: list[nn.Module] = [self.stem, self.fine]
        for level in range(len(self.down)):
            parts += [self.down[level], self.blocks[level], self.up[level]]
            parts += self.up_blocks[level : level + 1]
        for part in (*parts, self.merge, self.head, self.turn):
            for module in part.modules():
                if isinstance(module, (DepthwiseConv2d, DenseConv2d, Readout)):
                    yield module

    def rotation(self, x: Tensor) -> Tensor:
        """The page's turn from the coarsest features, each place weighed by what it knows.

        x [B, C, Y/32, X/32] -> logits [B, 4].
        """
        votes = self.turn(x).flatten(2)  # [B, 5, places]
        weight = votes[:, ROTATIONS:].softmax(2)  # [B, 1, places]
        return (votes[:, :ROTATIONS] * weight).sum(2)


SEGMENTERS: dict[str, SegmenterConfig] = {
    "tiny": SegmenterConfig("tiny", 4, 8, (8, 16, 16), (1, 1, 1)),  # for tests
    "small": SegmenterConfig("small", 8, 16, (32, 64, 96), (1, 2, 3)),  # the packaged one
}
