"""An encoder as reading uses it: the standardised weights computed once."""

from __future__ import annotations

import copy

import torch
from torch import nn

from python_ref.encoder import Encoder, StandardizedConv2d


def folded(encoder: Encoder) -> Encoder:
    """A copy whose convolutions keep their standardised weights, computed once."""
    encoder = copy.deepcopy(encoder)
    for parent in list(encoder.modules()):
        for name, conv in list(parent.named_children()):
            if isinstance(conv, StandardizedConv2d):
                outputs, inputs = conv.weight.shape[:2]
                plain = nn.Conv2d(inputs, outputs, 3, conv.stride, padding=1)
                weight = conv.standardized_weight().contiguous(memory_format=torch.channels_last)
                plain.weight, plain.bias = nn.Parameter(weight), conv.bias
                setattr(parent, name, plain)
    return encoder.requires_grad_(False)
