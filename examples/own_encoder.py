"""The decoder alone, for people with an encoder of their own: memory [B, T, E] to token ids."""

from __future__ import annotations

import torch

import khmer_fast
from khmer_fast.recognize.decoder import named_weights
from khmer_fast.text import Vocabulary
from khmer_fast.weights import load_weights

weights = load_weights()  # or a state_dict of your own, with the decoder's names
decoder = named_weights(weights.state)
torch.manual_seed(0)
memory = torch.randn(3, 40, weights.config.E)  # what your encoder gives: [B, T, E] float32
length = torch.tensor([40, 25, 10])  # positions of each line
result = khmer_fast.decode(decoder, memory, length, beam=5)
vocabulary = Vocabulary(weights.charset)
for b in range(3):
    ids = result.tokens[b, 0, : result.length[b, 0]].tolist()
    print(f"{len(ids)} tokens, score {float(result.score[b, 0]):.2f}: {vocabulary.decode(ids)!r}")
