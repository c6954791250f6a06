"""Sizes of the model: one entry a configuration, nothing about them in the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

_Width = TypeVar("_Width", int, Tensor)


@dataclass(frozen=True)
class Stage:
    """One convolution with a stride, then `blocks` residual blocks at its resolution."""

    channels: int
    stride_y: int
    stride_x: int
    blocks: int


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one model; letters as in docs/spec.md, section 1."""

    name: str
    stages: tuple[Stage, ...]
    features: int  # inputs of the encoder's GRU at one position
    encoder_hidden: int  # hidden units of the encoder's GRU, each direction
    A: int  # attention size
    D: int  # token embedding size
    H: int  # hidden size of the decoder's GRU
    V: int  # vocabulary with the special tokens
    height: int = 48  # Y, pixels

    @property
    def E(self) -> int:
        """Memory size: both directions of the encoder's GRU."""
        return 2 * self.encoder_hidden

    @property
    def stride(self) -> int:
        """Horizontal pixels an encoder position stands for."""
        stride = 1
        for stage in self.stages:
            stride *= stage.stride_x
        return stride

    def positions(self, width: _Width) -> _Width:
        """Encoder positions T of a line `width` pixels wide, or of each of int64 [B]."""
        for stage in self.stages:
            width = -(-width // stage.stride_x)
        return width

    def step_limit(self, length: int) -> int:
        """Most output steps S_b, `<eos>` included, of a line with `length` encoder positions."""
        return length + 8


def make_config(name: str, vocabulary: int) -> ModelConfig:
    """The configuration called `name` for a vocabulary of V = `vocabulary` tokens.

    Raises ValueError for a name that is none of `CONFIGURATIONS`.
    """
    if name not in CONFIGURATIONS:
        known = ", ".join(CONFIGURATIONS)
        raise ValueError(f"configuration must be one of {known}, got {name!r}")
    return ModelConfig(name=name, V=vocabulary, **CONFIGURATIONS[name])


CONFIGURATIONS: dict[str, dict] = {
    "tiny": dict(  # for tests
        stages=(Stage(8, 2, 2, 0), Stage(12, 2, 2, 0), Stage(16, 4, 1, 1)),
        features=32,
        encoder_hidden=16,
        A=24,
        D=12,
        H=32,
    ),
    "small": dict(  # the packaged model
        stages=(Stage(16, 2, 2, 0), Stage(32, 2, 2, 1), Stage(64, 2, 1, 1), Stage(128, 2, 1, 1)),
        features=192,
        encoder_hidden=192,
        A=128,
        D=64,
        H=256,
    ),
    "base": dict(  # the paper's scale, about 10 M parameters
        stages=(Stage(32, 2, 2, 1), Stage(64, 2, 2, 2), Stage(128, 2, 1, 2), Stage(256, 2, 1, 2)),
        features=512,
        encoder_hidden=256,
        A=512,
        D=256,
        H=512,
    ),
}
