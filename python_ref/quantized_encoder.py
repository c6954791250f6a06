"""The encoder in 8-bit integers, what dtype int8 computes (docs/spec.md, section 2).

An activation is a whole number of 0...255 times the scale of its channel, fixed when the weights
were calibrated; a weight is a whole number of -127...127 (the first layer's: -4095...4095) times
the scale of its output. Sums of their products are exact, so every order of them gives the same
bits, and one float32 multiplication and addition an output leads to the next layer's whole numbers.
The GRU's state is float32, and whole numbers where it is multiplied; its gates are single float32
operations in one order, so that they have the same bits everywhere, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from python_ref.encoder import Encoder, ResidualBlock, StandardizedConv2d, reverse, valid

LEVELS = 255  # of an activation
WEIGHT_LEVELS = 127
FIRST_WEIGHT_LEVELS = 4095  # the first layer's 9 products fit float32, and its rounding shows most
CENTRE = 128  # the level of a feature or state of 0: they have both signs


class Scales(NamedTuple):
    """What one level of each activation stands for."""

    convs: tuple[Tensor, ...]  # [outputs] of each convolution, in the order of use
    feature: Tensor  # [features], after the normalisation


class QuantizedLayer(NamedTuple):
    """Outputs are multiplier * (sum of whole numbers) + bias + residual * (the block's input)."""

    weight: Tensor  # [outputs, ...] int8; int16 of the first
    multiplier: Tensor  # [outputs]
    bias: Tensor  # [outputs]
    residual: Tensor | None = None  # [outputs], of the second convolution of a block


class QuantizedEncoder:
    """An encoder's weights as whole numbers; called like `Encoder`."""

    def __init__(self, encoder: Encoder, scales: Scales):
        self.config = encoder.config
        self.convs: list[QuantizedLayer] = []
        before = torch.tensor([1 / LEVELS])  # of the image
        block_input = before
        for (conv, part), after in zip(in_order(encoder), scales.convs, strict=True):
            weight = conv.standardized_weight().detach()
            levels = WEIGHT_LEVELS if self.convs else FIRST_WEIGHT_LEVELS
            weight = weight * before[None, :, None, None]
            layer = quantize(weight, conv.bias.detach(), after, levels)
            if part == 1:
                block_input = before
            if part == 2:
                layer = layer._replace(residual=block_input / after)
            self.convs.append(layer)
            before = after
        rows = encoder.project.in_features // len(before)
        project = encoder.project.weight.detach() * before.repeat(rows)
        one = torch.ones(1)
        self.project = quantize(project, encoder.project.bias.detach(), one)
        self.norm_gain = encoder.norm.weight.detach() / scales.feature
        self.norm_bias = encoder.norm.bias.detach() / scales.feature + CENTRE
        self.gates, self.hidden = [], []
        for gru in (encoder.gru_forward, encoder.gru_backward):
            weights = {name[:-3]: x.detach() for name, x in gru.named_parameters()}
            inputs = weights["weight_ih"] * scales.feature
            self.gates.append(quantize_centred(inputs, weights["bias_ih"]))
            states = weights["weight_hh"] / (LEVELS - CENTRE)
            self.hidden.append(quantize_centred(states, weights["bias_hh"]))

    def __call__(self, image: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes lines: image [B, 1, Y, X] (paper 0, ink 1), width [B] int64 in pixels, each >= 1.

        Returns memory [B, T, E] (0 at padding) and length [B]. A line with a pixel within its width
        that is not finite has a memory of NaN.
        """
        within = valid(width, image.shape[3])[:, None, None, :]
        image = image.masked_fill(~within, 0)
        finite = image.isfinite().flatten(1).all(1)  # [B]
        level, length = self.convolutions(image.nan_to_num(0), width)
        level = self.features(level)
        halves = []
        for layer, hidden, backward in zip(self.gates, self.hidden, (False, True), strict=True):
            gates = linear(layer, level)  # [B, T, 3H]
            half = gru(reverse(gates, length) if backward else gates, hidden)
            halves.append(reverse(half, length) if backward else half)
        memory = torch.cat(halves, 2).masked_fill(~finite[:, None, None], torch.nan)
        return memory.masked_fill(~valid(length, memory.shape[1])[:, :, None], 0), length

    def convolutions(self, image: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Levels of the last stage, a vector a position: [B, T, Y' * C]; and length [B]."""
        x = (image.clamp(0, 1) * LEVELS).round()
        layers = iter(self.convs)
        for stage in self.config.stages:
            width = (width + stage.stride_x - 1) // stage.stride_x
            mask = valid(width, (x.shape[3] + stage.stride_x - 1) // stage.stride_x)[:, None, None]
            x = convolve(next(layers), x, (stage.stride_y, stage.stride_x)) * mask
            for _ in range(stage.blocks):
                branch = convolve(next(layers), x) * mask
                x = convolve(next(layers), branch, added=x) * mask
        return x.permute(0, 3, 2, 1).flatten(2), width

    def features(self, level: Tensor) -> Tensor:  # [B, T, Y' * C] -> levels [B, T, features]
        """Projection and normalisation, each position by itself; in double, hence to the bit."""
        x = linear(self.project, level).double()
        centred = x - x.mean(2, keepdim=True)
        scale = 1 / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
        level = centred * scale * self.norm_gain.double() + self.norm_bias.double()
        return level.clamp(0, LEVELS).round()


def in_order(encoder: Encoder) -> Iterator[tuple[StandardizedConv2d, int]]:
    """Convolutions in the order of use: 0 of a stage, 1 and 2 of a block."""
    for conv, blocks in zip(encoder.convs, encoder.blocks, strict=True):
        assert isinstance(conv, StandardizedConv2d) and isinstance(blocks, nn.ModuleList)
        yield conv, 0
        for block in blocks:
            assert isinstance(block, ResidualBlock)
            yield block.conv1, 1
            yield block.conv2, 2


def quantize(
    weight: Tensor, bias: Tensor, after: Tensor, levels: int = WEIGHT_LEVELS
) -> QuantizedLayer:
    """A layer for inputs in levels: weight [outputs, ...] for them, bias [outputs], and what one
    level of the outputs stands for, [outputs] or [1]."""
    largest = weight.abs().flatten(1).amax(1)  # [outputs]
    step = torch.where(largest > 0, largest, 1) / levels
    whole = (weight / step.view(-1, *(1,) * (weight.ndim - 1))).round()
    whole = whole.to(torch.int8 if levels == WEIGHT_LEVELS else torch.int16)
    return QuantizedLayer(whole, step / after, bias / after)


def quantize_centred(weight: Tensor, bias: Tensor) -> QuantizedLayer:  # [outputs, inputs]
    """A layer for inputs whose level of 0 is CENTRE."""
    layer = quantize(weight, bias, torch.ones(1))
    centre = layer.weight.double().sum(1) * CENTRE * layer.multiplier.double()
    return layer._replace(bias=(layer.bias.double() - centre).float())


def apply(layer: QuantizedLayer, total: Tensor) -> Tensor:  # [..., outputs] float64, whole numbers
    """From sums to outputs, in float32."""
    return total.float() * layer.multiplier + layer.bias


def convolve(
    layer: QuantizedLayer,
    x: Tensor,  # [B, inputs, Y, X] levels
    stride: tuple[int, int] = (1, 1),
    added: Tensor | None = None,  # [B, outputs, Y, X] levels
) -> Tensor:  # [B, outputs, Y', X'] levels
    total = F.conv2d(x.double(), layer.weight.double(), None, stride, padding=1)
    output = apply(layer, total.movedim(1, 3)).movedim(3, 1)
    if added is not None:
        assert layer.residual is not None
        output = output + added * layer.residual[:, None, None]
    return output.clamp(0, LEVELS).round()


def linear(layer: QuantizedLayer, level: Tensor) -> Tensor:  # [..., inputs] -> [..., outputs]
    return apply(layer, F.linear(level.double(), layer.weight.double()))


def gru(gates: Tensor, hidden: QuantizedLayer) -> Tensor:  # [B, T, 3H] -> [B, T, H]
    """The recurrent half of torch's GRU, from a state of 0."""
    h = gates.new_zeros(gates.shape[0], gates.shape[2] // 3)
    states = []
    for gate in gates.unbind(1):
        r, z, n = gate.chunk(3, 1)
        level = (h * (LEVELS - CENTRE) + CENTRE).round()
        h_r, h_z, h_n = linear(hidden, level).chunk(3, 1)
        r, z = sigmoid(r + h_r), sigmoid(z + h_z)
        n = sigmoid((n + r * h_n) * 2) * 2 - 1  # tanh
        h = n + z * (h - n)
        states.append(h)
    return torch.stack(states, 1)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + 2^y) with y = -x log2(e), within 1e-6, as single float32 operations in one order."""
    y = (x * -1.4426950216293335).clamp(-125, 125)
    whole = y.round()
    part = y - whole
    e = part * 0.009582852013409138 + 0.055906426161527634
    e = e * part + 0.24024099111557007
    e = e * part + 0.6931241750717163
    e = e * part + 1
    power = ((whole.int() + 127) << 23).view(torch.float32)
    return 1 / (e * power + 1)
