"""The whole model: encoder, decoder weights, CTC head (docs/spec.md, section 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import BeamResult, beam_search
from python_ref.config import ModelConfig
from python_ref.encoder import Encoder


class Decoder(nn.Module):
    """Holds the decoder's parameters under the names of `DecoderWeights`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        V, D, E, A, H = config.V, config.D, config.E, config.A, config.H
        shapes: dict[str, tuple[int, ...]] = dict(
            embedding=(V, D), W_k=(A, E), b_k=(A,), W_init=(H, E), b_init=(H,), W_q=(A, H), v=(A,),
            W_ih=(3 * H, D + E), W_hh=(3 * H, H), b_ih=(3 * H,), b_hh=(3 * H,),
            W_o=(V, H + E), b_o=(V,),
        )  # fmt: skip
        for name, shape in shapes.items():
            parameter = nn.Parameter(torch.zeros(shape))
            if name == "embedding":
                nn.init.normal_(parameter, std=1.0)
            elif name == "v":
                nn.init.normal_(parameter, std=1 / math.sqrt(A))
            elif name == "W_hh":
                for gate in parameter.data.split(H):
                    nn.init.orthogonal_(gate)
            elif len(shape) == 2:
                nn.init.xavier_uniform_(parameter)
            setattr(self, name, parameter)

    def weights(self) -> DecoderWeights:
        return DecoderWeights(*(getattr(self, name) for name in DecoderWeights._fields))


class Model(nn.Module):
    """Encoder, decoder and the CTC head that training leans on."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.ctc = nn.Linear(config.E, config.V)  # blank is <pad>

    def encode(self, image: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Lines to memory: image [B, 1, Y, X], width [B] -> memory [B, T, E], length [B]."""
        return self.encoder(image, width)

    @torch.no_grad()
    def read(self, image: Tensor, width: Tensor, beam: int = 5, **options) -> BeamResult:
        """Lines to tokens, image [B, 1, Y, X] and width [B]; options are those of `beam_search`."""
        memory, length = self.encode(image, width)
        return beam_search(self.decoder.weights(), memory, length, beam, **options)
