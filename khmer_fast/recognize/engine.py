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
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from khmer_fast.errors import OptionError
from khmer_fast.recognize.batch import Batch
from khmer_fast.threads import default_threads
from khmer_fast.weights import Weights
from python_ref.beam_search import BeamResult, beam_search
from python_ref.ctc import ctc_greedy
from python_ref.encoder import Encoder, StandardizedConv2d

GPU = "cuda"  # torch's name of the device
BACKENDS = ("fast", "reference")
DEVICES = ("auto", "cpu", GPU)
DTYPES = ("auto", "float32", "bfloat16")
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

    def encode(self, batch: Batch) -> Encoded:
        """Lines to memory; torch.OutOfMemoryError where the device has no room for the batch."""

    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        """Memory to tokens and their positions, on the CPU; torch.OutOfMemoryError as above."""

    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        """What the CTC head reads in some lines of the batch, on the CPU."""

    def release(self) -> None:
        """Gives cached memory back, after torch.OutOfMemoryError."""


class ReferenceEngine:
    """Plain torch on the CPU, float32: the specification. Computes with torch's threads."""

    def __init__(self, weights: Weights, choice: Choice):
        self.choice = choice
        self.threads = torch.get_num_threads()
        self._config, self._model = weights.config, weights.model

    @torch.inference_mode()
    def encode(self, batch: Batch) -> Encoded:
        return Encoded(*self._model.encode(batch.image, batch.width))

    @torch.inference_mode()
    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        limit = _step_limits(self._config, encoded.length)
        weights = self._model.decoder.weights()
        return beam_search(weights, encoded.memory, encoded.length, beam, n_best, step_limit=limit)

    @torch.inference_mode()
    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        return _ctc(self._model.ctc, encoded, lines)

    def release(self) -> None:
        pass


class CpuEngine:
    """The fused kernels on the CPU; `threads` share the lines of a batch.

    Encoder in float32, decoder in `dtype`. Raises OptionError where KHMER_FAST_ISA asks for an
    instruction set that is not there.
    """

    def __init__(
        self, weights: Weights, choice: Choice, dtype: str = "float32", threads: int | None = None
    ):
        from khmer_fast import ops

        self.choice = choice
        self.threads = default_threads() if threads is None else threads
        self._config, self._ctc = weights.config, weights.model.ctc
        try:
            self._encoder = ops.Encoder(weights.model.encoder)
            self._decoder = ops.Decoder(weights.model.decoder.weights(), dtype)
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
        return _ctc(self._ctc, encoded, lines)

    def release(self) -> None:
        pass


class CudaEngine:
    """A GPU: convolutions of cuDNN, the decoder's kernels of csrc/cuda.

    `dtype` bfloat16 narrows the convolutions and the decoder's weights.
    """

    threads = 0

    def __init__(self, weights: Weights, choice: Choice, dtype: str = "float32"):
        from khmer_fast import ops

        self.choice = choice
        self._config = weights.config
        model = copy.deepcopy(weights.model).to(GPU)
        self._ctc = model.ctc
        self._encoder = fold(model.encoder)
        self._decoder = ops.make_decoder(model.decoder.weights(), dtype)

    @torch.inference_mode()
    def encode(self, batch: Batch) -> Encoded:
        image = batch.image.pin_memory().to(GPU, non_blocking=True)
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
            encoded.memory, encoded.length, beam, n_best, step_limit=limit, return_attention=True
        )
        assert found.attention is not None
        position = found.attention.argmax(3)  # [B, n_best, S]
        return _on_cpu(replace(found, attention=None, position=position))

    @torch.inference_mode()
    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        return _ctc(self._ctc, encoded, lines)

    def release(self) -> None:
        torch.cuda.empty_cache()


def make_engine(
    weights: Weights,
    device: str = "auto",
    backend: str = "fast",
    dtype: str = "auto",
    threads: int | None = None,
) -> Engine:
    """The engine that `choose` names; `threads` are those of `CpuEngine`."""
    choice = choose(device, backend, dtype)
    if choice.backend == "reference":
        return ReferenceEngine(weights, choice)
    storage = "bfloat16" if dtype == "bfloat16" else "float32"
    if choice.device == GPU:
        return CudaEngine(weights, choice, storage)
    return CpuEngine(weights, choice, storage, threads)


def _step_limits(config: Any, length: Tensor) -> Tensor:  # [B] -> [B], on the same device
    limits = [config.step_limit(n) for n in length.tolist()]
    return torch.tensor(limits, dtype=torch.int64, device=length.device)


def _ctc(head: nn.Linear, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
    """What the CTC head reads in some lines, one line at a time: no padding is computed."""
    found = []
    for b in lines:
        length = encoded.length[b : b + 1].cpu()
        logits = head(encoded.memory[b : b + 1, : int(length)]).cpu()  # [1, T, V]
        found.append(ctc_greedy(logits, length))
    return _stacked(found)


def _stacked(results: Sequence[BeamResult]) -> BeamResult:
    """Results of one line each, as one."""

    def padded(name: str) -> Tensor:
        rows = [getattr(result, name)[0, 0] for result in results]  # [S] each
        return pad_sequence(rows, batch_first=True)[:, None]

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(result, name) for result in results])

    return BeamResult(
        *(padded("tokens"), joined("length"), joined("score"), padded("log_prob")),
        *(joined("truncated"), joined("failed"), joined("steps")),
        position=padded("position"),
    )


def _on_cpu(result: BeamResult) -> BeamResult:
    """The answers' tensors on the CPU, where their elements are looked at one by one."""
    names = ("tokens", "length", "score", "log_prob", "truncated", "failed", "steps", "position")
    return replace(result, **{name: getattr(result, name).cpu() for name in names})


def fold(encoder: Encoder) -> Encoder:
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


def choose(device: str = "auto", backend: str = "fast", dtype: str = "auto") -> Choice:
    """The device, backend and dtype that reading uses; raises OptionError for impossible ones."""
    for name, value, known in (
        ("backend", backend, BACKENDS), ("dtype", dtype, DTYPES), ("device", device, DEVICES),
    ):  # fmt: skip
        if value not in known:
            raise OptionError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if backend == "reference":
        if device == GPU:
            raise OptionError("the reference reads on the CPU only; use device auto or cpu")
        if dtype == "bfloat16":
            raise OptionError("the reference computes in float32 only; use dtype auto or float32")
        return Choice("cpu", "reference", "float32", "the reference was asked for")
    obstacle = None if device == "cpu" else cuda_obstacle()
    if device == GPU and obstacle:
        raise OptionError(f"device cuda cannot be used: {obstacle}; use device auto or cpu")
    if device != "cpu" and not obstacle:
        reason = f"{torch.cuda.get_device_name(0)} ({'asked for' if device == 'cuda' else 'found'})"
        return Choice(GPU, "fast", "float32" if dtype == "auto" else dtype, reason)
    reason = "device cpu was asked for" if device == "cpu" else f"no CUDA: {obstacle}"
    if dtype == "bfloat16" and not has_fast_bfloat16():
        return Choice(
            "cpu", "fast", "float32",
            f"{reason}; bfloat16 was asked for: the decoder's weights are stored in it, but this "
            "processor computes faster in float32",
        )  # fmt: skip
    if dtype == "bfloat16":
        reason += "; the decoder in bfloat16, the encoder in float32"
    return Choice("cpu", "fast", "float32" if dtype == "auto" else dtype, reason)


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


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16) and may (KHMER_FAST_ISA)."""
    allowed = os.environ.get("KHMER_FAST_ISA", "avx512_bf16") == "avx512_bf16"
    return allowed and torch.cpu._is_avx512_bf16_supported()
