"""The encoder: residual convolutions, then a bidirectional GRU (docs/spec.md, section 2, step 2).

The convolutions need no batch statistics: their weights are standardised (Qiao et al. 2019, with
the gains of Brock et al. 2021, "Characterizing signal propagation..."), so that a line's result
does not depend on its batch, training equals reading, and reading can fold the weights once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from python_ref.config import ModelConfig

RELU_GAIN = 1.7139588594436646  # keeps unit variance through a ReLU of a unit normal
BRANCH_GAIN = 0.2  # a residual branch's share at the start


class StandardizedConv2d(nn.Module):
    """A 3x3 convolution whose filters have mean 0 and a learned norm."""

    def __init__(
        self, inputs: int, outputs: int, stride: tuple[int, int] = (1, 1), gain: float = 1.0
    ):
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.gain = nn.Parameter(torch.full((outputs,), gain))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def standardized_weight(self) -> Tensor:  # [outputs, inputs, 3, 3]
        fan_in = self.weight[0].numel()
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        scale = (RELU_GAIN * self.gain)[:, None, None, None] * torch.rsqrt(variance * fan_in + 1e-6)
        return (self.weight - mean) * scale

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, Y, X] -> [B, outputs, Y', X']
        return F.conv2d(x, self.standardized_weight(), self.bias, self.stride, padding=1)


class ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = StandardizedConv2d(channels, channels)
        self.conv2 = StandardizedConv2d(channels, channels, gain=BRANCH_GAIN)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # [B, C, Y, X], mask [B, 1, 1, X]
        branch = clear(F.relu(self.conv1(x)), mask)
        return clear(F.relu(x + self.conv2(branch)), mask)


class Encoder(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.convs = nn.ModuleList()
        self.blocks = nn.ModuleList()
        inputs, rows = 1, config.height
        for stage in config.stages:
            stride = (stage.stride_y, stage.stride_x)
            self.convs.append(StandardizedConv2d(inputs, stage.channels, stride))
            self.blocks.append(
                nn.ModuleList(ResidualBlock(stage.channels) for _ in range(stage.blocks))
            )
            inputs, rows = stage.channels, -(-rows // stage.stride_y)
        self.project = nn.Linear(inputs * rows, config.features)
        self.norm = nn.LayerNorm(config.features)
        self.gru_forward = nn.GRU(config.features, config.encoder_hidden, batch_first=True)
        self.gru_backward = nn.GRU(config.features, config.encoder_hidden, batch_first=True)

    def forward(self, image: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes lines: image [B, 1, Y, X] (paper 0, ink 1), width [B] int64 in pixels, each >= 1.

        Returns memory [B, T, E] (0 at padding) and length [B] int64. What stands in the image at
        or right of `width` has no influence, NaN included.
        """
        feature, length = self.features(image, width)
        return self.recurrent(feature, length), length

    def features(self, image: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """The convolutional half: feature [B, T, features] and length [B]."""
        x, length = self.convolutions(image, width)
        # 4. projection and normalisation, each position by itself
        return self.norm(self.project(x)), length

    def convolutions(self, image: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """The last stage's output, one vector a position: x [B, T, Y' * C] and length [B]."""
        # 1. padding becomes paper
        x = image.masked_fill(~valid(width, image.shape[3])[:, None, None, :], 0)
        x = x.contiguous(memory_format=torch.channels_last)
        # 2. stages; after each convolution the columns at or right of the width are cleared, as
        #    the border of a narrower image would be
        for conv, blocks, stage in zip(self.convs, self.blocks, self.config.stages, strict=True):
            width = (width + stage.stride_x - 1) // stage.stride_x
            columns = (x.shape[3] + stage.stride_x - 1) // stage.stride_x
            mask = None
            if bool((width < columns).any()):
                mask = valid(width, columns)[:, None, None, :].to(x.dtype)
            x = clear(F.relu(conv(x)), mask)
            for block in blocks.children():
                x = block(x, mask)
        # 3. one vector a position
        return x.permute(0, 3, 2, 1).flatten(2), width

    def recurrent(self, feature: Tensor, length: Tensor) -> Tensor:
        """The recurrent half: feature [B, T, features], length [B] -> memory [B, T, E]."""
        # 5. each direction begins at a valid position: padding comes last and changes nothing
        left_to_right, _ = self.gru_forward(feature)
        right_to_left, _ = self.gru_backward(reverse(feature, length))
        memory = torch.cat([left_to_right, reverse(right_to_left, length)], dim=2)
        return memory * valid(length, memory.shape[1])[:, :, None]


def valid(length: Tensor, positions: int) -> Tensor:
    """Which positions are not padding: length [B] -> bool [B, positions]."""
    return torch.arange(positions, device=length.device)[None, :] < length[:, None]


def reverse(x: Tensor, length: Tensor) -> Tensor:
    """Turns each line's valid positions round: x [B, T, C], length [B] -> [B, T, C]."""
    position = torch.arange(x.shape[1], device=x.device)[None, :]  # [1, T]
    last = length[:, None] - 1
    source = torch.where(position <= last, last - position, position)  # [B, T]
    return x.gather(1, source[:, :, None].expand_as(x))


def clear(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask
