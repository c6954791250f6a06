"""The decoder alone, for people with an encoder of their own: memory > tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from khmer_fast.errors import OptionError
from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import BeamResult, beam_search

if TYPE_CHECKING:
    from khmer_fast.ops import Decoder
    from khmer_fast.recognize.engine import CudaDecoder

BACKENDS = ("fast", "reference")


def decode(
    weights: DecoderWeights | Mapping[str, Tensor] | Decoder | CudaDecoder,
    memory: Tensor,  # [B, T, E] float32
    length: Tensor,  # [B] int64
    beam: int = 5,
    n_best: int = 1,
    alpha: float = 0.0,
    step_limit: Tensor | None = None,  # [B] int64, S_b; default length + 8
    force_length: Tensor | None = None,  # [B] int64, steps with <eos>; for benchmarks
    return_attention: bool = False,
    return_trace: bool = False,
    threads: int | None = None,
    backend: str = "fast",
) -> BeamResult:
    """Decodes encoder output with beam search, K = `beam` (docs/spec.md, section 3).

    `weights` are the decoder's tensors, by name (`decoder.` in front is allowed); those who decode
    often pack them once with `khmer_fast.make_decoder(DecoderWeights(...))` and pass that. All
    tensors are on one device, the CPU or a GPU, and so is the answer. Positions at or after
    `length` have no influence. `threads` shares out the lines (None: torch's number).
    Raises ValueError or TypeError for wrong shapes, dtypes or values, KhmerFastError for a backend
    that is unknown or not installed.
    """
    if backend not in BACKENDS:
        raise OptionError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if isinstance(weights, Mapping):
        weights = named_weights(weights)
    options = (beam, n_best, alpha, step_limit, force_length, return_attention, return_trace)
    if backend == "reference":
        if not isinstance(weights, DecoderWeights):
            raise OptionError("the reference backend takes tensors, got a packed decoder")
        return beam_search(weights, memory, length, *options)
    if isinstance(weights, DecoderWeights):
        from khmer_fast.recognize.engine import make_decoder

        weights = make_decoder(weights)
    return weights.beam_search(memory, length, *options, threads=threads)


def named_weights(state: Mapping[str, Tensor]) -> DecoderWeights:
    """The decoder's tensors out of a state_dict, with or without `decoder.` in front."""
    prefix = "decoder." if "decoder.v" in state else ""
    missing = [name for name in DecoderWeights._fields if prefix + name not in state]
    if missing:
        raise OptionError(f"the decoder's weights lack {', '.join(missing)}")
    return DecoderWeights(*(state[prefix + name] for name in DecoderWeights._fields))
