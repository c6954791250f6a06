"""Loads the compiled module `_khmer_fast` and wraps what it offers: operators and the decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from khmer_fast.errors import KhmerFastError
from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import BeamResult, Trace


class BuildMismatchError(KhmerFastError):
    """The compiled module is missing, or was built against another torch."""


def _load():
    try:
        import _khmer_fast_build as build
    except ImportError as error:
        raise BuildMismatchError(
            "khmer_fast's compiled module is not installed; run `pip install .` in its repository"
        ) from error
    running = torch.__version__.split("+")[0]
    if build.TORCH != running or (build.CUDA and build.CUDA != torch.version.cuda):
        built = build.TORCH + (f" with CUDA {build.CUDA}" if build.CUDA else "")
        cuda = f" with CUDA {torch.version.cuda}" if build.CUDA else ""
        raise BuildMismatchError(
            f"khmer_fast was built against torch {built} but runs with torch {running}{cuda}: "
            "rebuild it with `pip install --no-build-isolation --force-reinstall --no-deps .`, "
            f"or install torch=={build.TORCH}"
        )
    import _khmer_fast

    return build, _khmer_fast


build, _native = _load()


@dataclass(frozen=True)
class DecodeResult(BeamResult):
    """What `python_ref.beam_search` returns, and how many rows the kernels had to compute."""

    live: Tensor | None = None  # [B] int64, live hypotheses summed over the steps
    parents: Tensor | None = None  # [B] int64, unique parents summed over the steps


class Decoder:
    """The fused decoder: owns packed weights; may be used from several threads at once.

    weights: the tensors of `python_ref.attn_gru_step.DecoderWeights`, float32 on the CPU. They are
    copied. Raises ValueError or TypeError for a wrong shape, dtype or device.
    """

    def __init__(self, weights: DecoderWeights):
        self._native = _native.Decoder(*(tensor.detach() for tensor in weights))

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes V, D, E, A and H."""
        return self._native.sizes

    @property
    def instruction_set(self) -> str:
        """The kernels that the weights are packed for: baseline, avx2 or avx512."""
        return self._native.instruction_set

    def beam_search(
        self,
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
    ) -> DecodeResult:
        """Decodes each line with a beam of K = `beam` hypotheses (SPEC.md section 3).

        Arguments and result are those of `python_ref.beam_search.beam_search`. A line's answer does
        not depend on its batch or on the number of threads. `threads` shares out the lines; None
        means torch's number.
        """
        *fields, trace, live, parents = self._native.beam_search(
            memory.detach(),
            length,
            beam,
            n_best,
            alpha,
            step_limit,
            force_length,
            return_attention,
            return_trace,
            torch.get_num_threads() if threads is None else threads,
        )
        return DecodeResult(*fields, Trace(*trace) if trace else None, live, parents)


def instruction_set() -> str:
    """The kernels used now: baseline, avx2 or avx512, capped by KHMER_FAST_ISA."""
    return _native.instruction_set()
