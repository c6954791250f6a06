"""Loads the compiled module `_khmer_fast` and wraps what it offers: operators and the decoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import python_ref.encoder
import python_ref.quantized_encoder
import python_ref.segmenter
from khmer_fast.errors import KhmerFastError
from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import BeamResult, Trace
from python_ref.segmenter import SegmenterOutput


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
    toolkits = getattr(build, "TOOLKITS", {})  # versions by torch's name of the toolkit
    here = {name: getattr(torch.version, name) for name in toolkits}
    if build.TORCH != running or here != toolkits:
        raise BuildMismatchError(
            f"khmer_fast was built against torch {_named(build.TORCH, toolkits)} but runs with "
            f"torch {_named(running, here)}: "
            "rebuild it with `pip install --no-build-isolation --force-reinstall --no-deps .`, "
            f"or install torch=={build.TORCH}"
        )
    import _khmer_fast

    return build, _khmer_fast


def _named(version: str, toolkits: dict[str, str | None]) -> str:
    with_them = "".join(f" with {name.upper()} {found}" for name, found in toolkits.items())
    return version + with_them


build, _native = _load()


def clean_line(
    grey: np.ndarray, height: int, alone: bool, plain: bool = False
) -> (
    tuple[np.ndarray, tuple[int, int, int, int], tuple[int, int, int, int], bool]
    | np.ndarray
    | None
):
    """An ordinary line's image, its ink there and in the picture, and whether it may lean:
    csrc/cpu/line_image.cpp.

    uint8 [Y', X'] -> uint8 [height, X] and two boxes (left, top, right, bottom), to the bit what
    `recognize.line_image.prepare_reference` gives unless it does lean; None where that has to look
    closer. One that is known to be `plain` is on one paper in one ink. Unless the line is known to
    stand `alone`, its ink (bool [Y', X']) where some at an edge may be another's.
    """
    return _native.clean_line(grey, height, alone, plain)


def may_hold_leader(line: np.ndarray) -> bool:
    """Whether a clean line, uint8 [Y, X], may hold a leader, at a glance: `recognize.leaders`."""
    return _native.may_hold_leader(line)


def may_hold_filler(line: np.ndarray) -> bool:
    """The same of fillers: `recognize.fillers`."""
    return _native.may_hold_filler(line)


def label_ink(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connected pieces of one class of ink: uint8 [Y, X] -> labels int32 [Y, X] (0: paper), boxes
    int32 [C, 4] (left, top, right, bottom), areas int32 [C]."""
    return _native.page_label(ink)


def attn_gru_step(
    memory: Tensor,  # [B, T, E]
    key: Tensor,  # [B, T, A]
    length: Tensor,  # [B] int64
    token: Tensor,  # [N] int64, N = B * K, row n = b * K + k
    h: Tensor,  # [N, H]
    embedding: Tensor,  # [V, D]
    W_q: Tensor,  # [A, H]
    v: Tensor,  # [A]
    W_ih: Tensor,  # [3H, D + E]
    W_hh: Tensor,  # [3H, H]
    b_ih: Tensor,  # [3H]
    b_hh: Tensor,  # [3H]
    W_o: Tensor,  # [V, H + E]
    b_o: Tensor,  # [V]
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of N hypotheses, float32: log_probs [N, V], h' [N, H] and attention weight [N, T].

    The fused twin of `python_ref.attn_gru_step.attn_gru_step`, and like it NaN for a line of length
    0. Raises ValueError or TypeError for a wrong shape, dtype, device, length or token.
    """
    return torch.ops.khmer_fast.attn_gru_step(
        memory, key, length, token, h, embedding, W_q, v, W_ih, W_hh, b_ih, b_hh, W_o, b_o
    )


@torch.library.register_fake("khmer_fast::attn_gru_step")
def _(memory, key, length, token, h, embedding, W_q, v, W_ih, W_hh, b_ih, b_hh, W_o, b_o):
    N, T, V = h.shape[0], memory.shape[1], embedding.shape[0]
    return h.new_empty(N, V), torch.empty_like(h), h.new_empty(N, T)


class Encoder:
    """The fused encoder on the CPU: owns packed weights; may be used from several threads at once.

    The twin of `python_ref.encoder.Encoder`, float32; a line's memory is the same to the bit in any
    batch. `encoder` is on the CPU; its weights are copied.
    """

    def __init__(self, encoder: python_ref.encoder.Encoder):
        config = encoder.config
        convs = [
            module
            for stage in zip(encoder.convs, encoder.blocks, strict=True)
            for part in stage
            for module in part.modules()
            if isinstance(module, python_ref.encoder.StandardizedConv2d)
        ]
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        parameters = (
            [x for conv in convs for x in (conv.standardized_weight(), conv.bias)],
            [x for layer in (encoder.project, encoder.norm) for x in (layer.weight, layer.bias)],
            [getattr(gru, n) for gru in (encoder.gru_forward, encoder.gru_backward) for n in names],
        )
        self._native = _native.Encoder(
            config.height,
            [(s.channels, s.stride_y, s.stride_x, s.blocks) for s in config.stages],
            *([x.detach().float() for x in group] for group in parameters),
        )
        self._positions = config.positions

    def __call__(
        self,
        image: Tensor,  # [B, 1, Y, X], paper 0: float32 with ink 1, or uint8 with ink 255
        width: Tensor,  # [B] int64, pixels
        threads: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Memory [B, T, E], 0 at padding, and length [B]; `threads` (torch's) share the lines.

        Raises ValueError or TypeError for a wrong shape, dtype, device or width.
        """
        memory = self._native(image, width, torch.get_num_threads() if threads is None else threads)
        return memory, self._positions(width)


class QuantizedEncoder(Encoder):
    """The fused encoder in 8-bit integers.

    The twin of `python_ref.quantized_encoder.QuantizedEncoder`, equal to the bit on every
    instruction set. Called like `Encoder`; the weights are copied.
    """

    def __init__(self, encoder: python_ref.quantized_encoder.QuantizedEncoder):
        config = encoder.config
        self._native = _native.Encoder.quantized(
            config.height,
            [(s.channels, s.stride_y, s.stride_x, s.blocks) for s in config.stages],
            [[x for x in layer if x is not None] for layer in encoder.convs],
            list(encoder.project[:3]),
            [encoder.norm_gain, encoder.norm_bias],
            [list(layer[:3]) for layer in encoder.gates],
            [list(layer[:3]) for layer in encoder.hidden],
        )
        self._positions = config.positions


class Segmenter:
    """The fused segmenter on the CPU: owns packed weights; several threads may use it at once.

    The twin of `python_ref.segmenter.Segmenter`, float32; a page's maps are the same to the bit for
    any number of threads. `segmenter` is on the CPU; its weights are copied.
    """

    def __init__(self, segmenter: python_ref.segmenter.Segmenter):
        convs = list(segmenter.in_order())
        up_blocks = [1] * (len(segmenter.down) - 1) + [0]
        self._native = _native.Segmenter(
            list(zip(segmenter.config.blocks, up_blocks, strict=True)),
            [x.detach().float() for conv in convs for x in (conv.folded_weight(), conv.bias)],
        )

    def __call__(
        self,
        image: Tensor,  # [B, 1, Y, X], paper 0: float32 with ink 1, or uint8 with ink 255
        threads: int | None = None,
    ) -> SegmenterOutput:
        """Maps [B, ceil(Y/4), ceil(X/4)] and rotation [B, 4]; `threads` (torch's) share the rows.

        Raises ValueError or TypeError for a wrong shape, dtype or device.
        """
        maps, rotation = self._native(
            image, torch.get_num_threads() if threads is None else threads
        )
        band, above, below, offset = maps.unbind(1)
        return SegmenterOutput(band, above, below, offset, rotation)


@dataclass(frozen=True)
class DecodeResult(BeamResult):
    """What `python_ref.beam_search` returns, and how many rows the kernels had to compute."""

    live: Tensor | None = None  # [B] int64, live hypotheses summed over the steps
    parents: Tensor | None = None  # [B] int64, unique parents summed over the steps


class Decoder:
    """The fused decoder: owns packed weights; may be used from several threads at once.

    weights: the tensors of `python_ref.attn_gru_step.DecoderWeights`, float32 on the CPU. They are
    copied. dtype "bfloat16" halves them; see `computes_in`. Raises ValueError or TypeError for a
    wrong shape, dtype or device.
    """

    def __init__(self, weights: DecoderWeights, dtype: str = "float32"):
        self._native = _native.Decoder(
            [_detached(name, x) for name, x in zip(weights._fields, weights, strict=True)], dtype
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes V, D, E, A and H."""
        return self._native.sizes

    @property
    def instruction_set(self) -> str:
        """The kernels that the weights are packed for, see `instruction_set`."""
        return self._native.instruction_set

    @property
    def computes_in(self) -> str:
        """What products multiply: bfloat16 weights are widened where the processor has none."""
        return self._native.computes_in

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
        """Decodes each line with a beam of K = `beam` hypotheses (docs/spec.md, section 3).

        Arguments and result are those of `python_ref.beam_search.beam_search`. A line's answer does
        not depend on its batch or on the number of threads. `threads` shares out the lines; None
        means torch's number.
        """
        result = self._native.beam_search(
            _detached("memory", memory),
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
        *fields, trace, position, live, parents = result.fields()
        fields += [Trace(*trace) if trace else None, position, live, parents]
        return DecodeResult(*fields)


def _detached(name: str, x: Tensor) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(x).__name__}")
    return x.detach()


def instruction_set() -> str:
    """The kernels used now: baseline, avx2, avx2_vnni, avx512, avx512_vnni or avx512_bf16.

    KHMER_FAST_ISA caps them.
    """
    return _native.instruction_set()


def multiplies_bfloat16() -> bool:
    """Whether these kernels multiply bfloat16 themselves, rather than widen it to float32."""
    try:
        return _native.multiplies_bfloat16()
    except ValueError:  # KHMER_FAST_ISA names no kernels
        return False


def peak_flops(seconds: float = 0.5) -> float:
    """Float32 operations a second of one thread, in the decoder's product with operands at hand."""
    return _native.peak_flops(seconds)


def peak_energies(seconds: float = 0.5) -> float:
    """Terms of the additive energy, a tanh each, a second of one thread in the decoder's kernel."""
    return _native.peak_energies(seconds)
