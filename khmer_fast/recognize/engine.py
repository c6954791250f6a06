"""Where lines are computed: one small engine a device, all with the same `encode` and `decode`.

Nothing else outside of csrc/ knows devices. `choose` says which engine reads here and why,
`make_engine` makes it.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from khmer_fast.errors import OptionError
from khmer_fast.recognize.batch import MAX_PADDING, Batch
from khmer_fast.recognize.folded import folded
from khmer_fast.recognize.opinion import read_by_ctc
from khmer_fast.recognize.scales import has_scales, quantized_encoder
from khmer_fast.threads import default_threads
from khmer_fast.weights import Weights
from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import BeamResult, Trace, beam_search

if TYPE_CHECKING:
    from khmer_fast.ops import Decoder

GPU = "cuda"  # torch's name of the device
BACKENDS = ("fast", "reference")
DEVICES = ("auto", "cpu", GPU)
DTYPES = ("auto", "float32", "bfloat16", "int8")
MINIMUM_CAPABILITY = (8, 0)  # of a GPU: sm_80


@dataclass(frozen=True)
class Choice:
    """Where and how lines are read, and why there."""

    device: str
    backend: str
    dtype: str
    reason: str


@dataclass(frozen=True)
class Encoded:
    """B lines after the encoder, on the engine's device."""

    memory: Tensor  # [B, T, E] float32
    length: Tensor  # [B] int64


class Engine(Protocol):
    """What a reader needs of a device. Engines may be used from several threads at once."""

    choice: Choice
    threads: int  # of the processor that a call keeps busy; 0: it computes elsewhere
    max_padding: float  # share of a batch that may be padding, 1 where it costs nothing

    def encode(self, batch: Batch) -> Encoded:
        """Lines to memory; torch.OutOfMemoryError where the device has no room for the batch."""

    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        """Memory to tokens and their positions, on the CPU; torch.OutOfMemoryError as above."""

    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        """What the CTC head reads in some lines of the batch, on the CPU."""

    def release(self) -> None:
        """Gives cached memory back, after torch.OutOfMemoryError."""


class ReferenceEngine:
    """Plain torch on the CPU: the specification. Computes with torch's threads."""

    max_padding = MAX_PADDING

    def __init__(self, weights: Weights, choice: Choice):
        self.choice = choice
        self.threads = torch.get_num_threads()
        self._config, self._model = weights.config, weights.model
        whole = choice.dtype == "int8"
        self._encode = quantized_encoder(weights) if whole else weights.model.encode

    @torch.inference_mode()
    def encode(self, batch: Batch) -> Encoded:
        return Encoded(*self._encode(batch.ink, batch.width))

    @torch.inference_mode()
    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        limit = _step_limits(self._config, encoded.length)
        weights = self._model.decoder.weights()
        return beam_search(weights, encoded.memory, encoded.length, beam, n_best, step_limit=limit)

    @torch.inference_mode()
    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        return read_by_ctc(self._model.ctc, encoded.memory, encoded.length, lines)

    def release(self) -> None:
        pass


class CpuEngine:
    """The fused kernels on the CPU; `threads` share the lines of a batch.

    dtype "bfloat16" narrows the decoder, "int8" the encoder; the other half is float32. Raises
    OptionError where KHMER_FAST_ISA names no instruction set.
    """

    max_padding = 1.0  # each line is computed at its own width

    def __init__(
        self, weights: Weights, choice: Choice, dtype: str = "float32", threads: int | None = None
    ):
        from khmer_fast import ops

        self.choice = choice
        self.threads = default_threads() if threads is None else threads
        self._config, ctc = weights.config, weights.model.ctc
        self._ctc = partial(torch.ops.khmer_fast.linear, W=ctc.weight, b=ctc.bias)
        try:
            if dtype == "int8":
                self._encoder: ops.Encoder = ops.QuantizedEncoder(quantized_encoder(weights))
            else:
                self._encoder = ops.Encoder(weights.model.encoder)
            narrow = "bfloat16" if dtype == "bfloat16" else "float32"
            self._decoder = ops.Decoder(weights.model.decoder.weights(), narrow)
        except ValueError as error:  # KHMER_FAST_ISA; the weights were checked before
            raise OptionError(str(error)) from None

    @property
    def computes_in(self) -> str:
        """What the decoder's products multiply."""
        return self._decoder.computes_in

    @torch.inference_mode()
    def encode(self, batch: Batch) -> Encoded:
        return Encoded(*self._encoder(batch.image, batch.width, self.threads))

    @torch.inference_mode()
    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        limit = _step_limits(self._config, encoded.length)
        return self._decoder.beam_search(
            encoded.memory, encoded.length, beam, n_best, step_limit=limit, threads=self.threads
        )

    @torch.inference_mode()
    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        return read_by_ctc(self._ctc, encoded.memory, encoded.length, lines)

    def release(self) -> None:
        pass


class CudaEngine:
    """A GPU: convolutions of cuDNN, the decoder's kernels of csrc/cuda.

    `dtype` bfloat16 narrows the convolutions and the decoder's weights.
    """

    threads = 0
    max_padding = MAX_PADDING

    def __init__(self, weights: Weights, choice: Choice, dtype: str = "float32"):
        self.choice = choice
        self._config = weights.config
        model = copy.deepcopy(weights.model).to(GPU)
        self._ctc = model.ctc
        self._encoder = folded(model.encoder)
        self._decoder = make_decoder(model.decoder.weights(), dtype)

    @torch.inference_mode()
    def encode(self, batch: Batch) -> Encoded:
        image = batch.ink.pin_memory().to(GPU, non_blocking=True)
        narrow = self.choice.dtype == "bfloat16"
        # float32 means float32: cuDNN would round the factors to TF32
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=narrow):
            with torch.autocast(GPU, torch.bfloat16, enabled=narrow):
                feature, length = self._encoder.features(image, batch.width.to(GPU))
            return Encoded(self._encoder.recurrent(feature.float(), length), length)

    @torch.inference_mode()
    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        limit = _step_limits(self._config, encoded.length)
        found = self._decoder.beam_search(
            encoded.memory, encoded.length, beam, n_best, step_limit=limit
        )
        return _on_cpu(found)

    @torch.inference_mode()
    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        return read_by_ctc(self._ctc, encoded.memory, encoded.length, lines)

    def release(self) -> None:
        torch.cuda.empty_cache()


class CudaDecoder:
    """The fused decoder on a GPU: arguments and results of `ops.Decoder`, all tensors on the GPU.

    dtype "bfloat16" or "float16" halves weights, keys and memory; sums stay float32. Work goes to
    the caller's current stream. loop "plain", "graph" or "persistent" says what runs the steps, see
    docs/cuda.md; the answers are the same. Raises OptionError where khmer_fast was built without
    CUDA.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        dtype: str = "float32",
        loop: str | None = None,  # None: KHMER_FAST_CUDA_LOOP, else "plain"
    ):
        from khmer_fast.ops import build

        if build.CUDA is None:
            raise OptionError(
                f"this khmer_fast decodes on the CPU only: it was built without CUDA "
                f"({build.CUDA_REASON})"
            )
        loop = loop or os.environ.get("KHMER_FAST_CUDA_LOOP", "plain")
        self._bind(torch.classes.khmer_fast.CudaDecoder, weights, dtype, loop)

    def _bind(self, native, weights: DecoderWeights, dtype: str, loop: str = "plain") -> None:
        self._native = native([tensor.detach() for tensor in weights], dtype, loop)
        self.computes_in = dtype
        self.loop = loop

    def persistent_obstacle(self, lines: int, beam: int = 5, positions: int = 1) -> str:
        """Why the persistent loop leaves a batch of so many lines to the plain one, or ""."""
        return self._native.persistent_obstacle(lines, beam, positions)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes V, D, E, A and H."""
        return dict(zip("VDEAH", self._native.sizes(), strict=True))

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
    ) -> BeamResult:
        """Decodes each line with a beam of K = `beam`, at most 64, hypotheses.

        As `ops.Decoder.beam_search`; `threads` is ignored.
        """
        *fields, steps, position, attention, history = self._native.beam_search(
            memory.detach(),
            length,
            beam,
            n_best,
            alpha,
            step_limit,
            force_length,
            return_attention,
            return_trace,
        )
        trace = _trace(history, steps) if return_trace else None
        fields += [steps, attention if return_attention else None, trace, position]
        return BeamResult(*fields)


def _trace(history: Tensor, steps: Tensor) -> Trace:  # [B, S, K, 7] int32 (Chosen), [B]
    longest = int(steps.max()) if len(steps) else 0
    history = history[:, :longest]
    unused = (torch.arange(longest, device=steps.device) >= steps[:, None])[:, :, None]
    return Trace(
        history[..., 0].long().masked_fill(unused, -1),
        history[..., 1].long().masked_fill(unused, 0),
        history[..., 2].contiguous().view(torch.float32).masked_fill(unused, -torch.inf),
    )


def make_decoder(weights: DecoderWeights, dtype: str = "float32") -> Decoder | CudaDecoder:
    """The fused decoder on the device that the weights are on."""
    if weights.embedding.is_cuda:
        return CudaDecoder(weights, dtype)
    from khmer_fast.ops import Decoder

    return Decoder(weights, dtype)


def make_engine(
    weights: Weights,
    device: str = "auto",
    backend: str = "fast",
    dtype: str = "auto",
    threads: int | None = None,
) -> Engine:
    """The engine that `choose` names; `threads` are those of `CpuEngine`."""
    choice = choose(device, backend, dtype, weights)
    if choice.backend == "reference":
        return ReferenceEngine(weights, choice)
    if choice.device == GPU:
        return CudaEngine(weights, choice, choice.dtype)
    return CpuEngine(weights, choice, choice.dtype if dtype == "auto" else dtype, threads)


def _step_limits(config: Any, length: Tensor) -> Tensor:  # [B] -> [B], on the same device
    limits = [config.step_limit(n) for n in length.tolist()]
    return torch.tensor(limits, dtype=torch.int64, device=length.device)


def _on_cpu(result: BeamResult) -> BeamResult:
    """The answers' tensors on the CPU, where their elements are looked at one by one."""
    names = ("tokens", "length", "score", "log_prob", "truncated", "failed", "steps", "position")
    return replace(result, **{name: getattr(result, name).cpu() for name in names})


def choose(
    device: str = "auto", backend: str = "fast", dtype: str = "auto", weights: Weights | None = None
) -> Choice:
    """The device, backend and dtype that reading uses; raises OptionError for impossible ones.

    On a CPU "auto" is int8 for weights that have its scales, else float32.
    """
    for name, value, known in (
        ("backend", backend, BACKENDS), ("dtype", dtype, DTYPES), ("device", device, DEVICES),
    ):  # fmt: skip
        if value not in known:
            raise OptionError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    on_cpu = dtype
    if dtype == "auto":
        on_cpu = "int8" if weights is not None and has_scales(weights) else "float32"
    if backend == "reference":
        if device == GPU:
            raise OptionError("the reference reads on the CPU only; use device auto or cpu")
        if dtype == "bfloat16":
            raise OptionError("the reference has no bfloat16; use dtype auto, float32 or int8")
        return Choice("cpu", "reference", on_cpu, "the reference was asked for")
    if dtype == "int8":
        if device == GPU:
            raise OptionError("int8 is for processors; use device auto or cpu, or another dtype")
        return Choice("cpu", "fast", "int8", "int8 was asked for; the decoder in float32")
    obstacle = None if device == "cpu" else cuda_obstacle()
    if device == GPU and obstacle:
        raise OptionError(f"device cuda cannot be used: {obstacle}; use device auto or cpu")
    if device != "cpu" and not obstacle:
        reason = f"{torch.cuda.get_device_name(0)} ({'asked for' if device == 'cuda' else 'found'})"
        return Choice(GPU, "fast", "float32" if dtype == "auto" else dtype, reason)
    reason = "device cpu was asked for" if device == "cpu" else f"no CUDA: {obstacle}"
    if dtype == "bfloat16":
        from khmer_fast.ops import multiplies_bfloat16

        if not multiplies_bfloat16():
            return Choice(
                "cpu", "fast", "float32",
                f"{reason}; bfloat16 was asked for: the decoder's weights are stored in it, but "
                "this processor computes faster in float32",
            )  # fmt: skip
        reason += "; the decoder in bfloat16, the encoder in float32"
    return Choice("cpu", "fast", on_cpu, reason)


def cuda_obstacle() -> str | None:
    """Why lines cannot be read on a GPU, or None where they can."""
    from khmer_fast.ops import build

    if build.CUDA is None:
        return f"khmer_fast was built without it ({build.CUDA_REASON})"
    with warnings.catch_warnings(record=True) as said:  # an old driver is a warning of torch
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        why = " ".join(str(warning.message).split("\n")[0] for warning in said)
        return f"torch sees no GPU with a working driver{f' ({why})' if why else ''}"
    major, minor = torch.cuda.get_device_capability(0)
    if (major, minor) < MINIMUM_CAPABILITY:
        name = torch.cuda.get_device_name(0)
        return f"{name} has compute capability {major}.{minor}, the kernels need 8.0 or newer"
    return None


def gpu_facts() -> dict[str, Any]:
    """What `khmer-fast info` says of the GPU: how khmer_fast was built, what is here."""
    from khmer_fast.ops import build

    obstacle = cuda_obstacle()
    facts: dict[str, Any] = {
        "device": GPU,
        "built": build.CUDA is not None,
        "toolkit": build.CUDA,
        "torch_toolkit": torch.version.cuda,
        "reason": build.CUDA_REASON,
        "usable": obstacle is None,
    }
    if obstacle:
        facts["obstacle"] = obstacle
    here = build.CUDA is not None and torch.cuda.device_count() > 0
    facts["name"] = torch.cuda.get_device_name(0) if here else None
    if here:
        facts["compute_capability"] = ".".join(map(str, torch.cuda.get_device_capability(0)))
    return facts


def training_device(name: str, local_rank: int | None = None) -> torch.device:
    """The device that training asks for: auto, cpu, or a GPU as torch names it.

    `local_rank` says which GPU is this process's where several train together. Raises OptionError
    for a name that torch does not know or a GPU that is not there.
    """
    if name == "auto":
        name = GPU if torch.cuda.is_available() else "cpu"
    if name == GPU and local_rank is not None:
        name = f"{GPU}:{local_rank}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"--device: expected auto, cpu, {GPU} or {GPU}:N, got {name}") from None
    if device.type == GPU:
        if not torch.cuda.is_available():
            raise OptionError(f"--device {name}: this PyTorch finds no GPU; give --device cpu")
        torch.cuda.set_device(device)
    return device


def process_group(device: torch.device) -> str:
    """The backend through which processes that train on such devices speak."""
    return "nccl" if device.type == GPU else "gloo"


def has_fast_bfloat16() -> bool:
    """Whether torch multiplies bfloat16 fast here (AVX512-BF16) and may (KHMER_FAST_ISA)."""
    allowed = os.environ.get("KHMER_FAST_ISA", "avx512_bf16") == "avx512_bf16"
    return allowed and torch.cpu._is_avx512_bf16_supported()
