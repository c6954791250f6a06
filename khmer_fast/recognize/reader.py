"""Line images to text: image > batch > encoder > decoder > tokens > text."""

from __future__ import annotations

import copy
import itertools
import math
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn

from khmer_fast.document import Alternative, Box, Character, Line
from khmer_fast.errors import ImageError, KhmerFastError, OptionError
from khmer_fast.files.images import load_grey
from khmer_fast.recognize.batch import collate, plan_batches
from khmer_fast.recognize.decoder import BACKENDS
from khmer_fast.recognize.line_image import prepare_line
from khmer_fast.text import Vocabulary, canonical, clusters
from khmer_fast.threads import Share, default_threads, usable_processors
from khmer_fast.weights import Weights, load_weights
from python_ref.beam_search import PAD, BeamResult, beam_search
from python_ref.ctc import ctc_greedy
from python_ref.encoder import Encoder, StandardizedConv2d

DTYPES = ("auto", "float32", "bfloat16")
FIRST_WINDOW = 8  # lines that are read together at first, so that the first text comes soon
MINIMUM_CAPABILITY = (8, 0)  # of a GPU: sm_80
_PROCESSORS = Share(usable_processors())  # of all readers of this process
WINDOW_BATCHES = 4  # batches whose lines are sorted by width together


def _after_fork() -> None:
    """OpenMP's threads do not live on in a forked process: it would wait for them for ever."""
    global _PROCESSORS
    _PROCESSORS = Share(usable_processors())
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Choice:
    """Where and how lines are read, and why there."""

    device: str
    backend: str
    dtype: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    line: np.ndarray  # [Y, X] uint8
    box: Box


class Reader:
    """Reads Khmer line images; may be used from several threads at once.

    `weights` is a file (by default the packaged model) or a loaded `Weights`. `threads` sets the
    number that torch computes with, for the whole process. Raises KhmerFastError for weights or
    options that cannot be used.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | Weights | None = None,
        device: str = "auto",
        backend: str = "fast",
        beam: int = 5,
        n_best: int = 1,
        batch_size: int = 32,
        dtype: str = "auto",
        threads: int | None = None,
    ):
        _check_count("beam", beam, 1, 256)
        _check_count("n_best", n_best, 1, beam)
        _check_count("batch_size", batch_size, 1, 4096)
        if threads is not None:
            _check_count("threads", threads, 1, 1024)
            torch.set_num_threads(threads)
        elif default_threads() < torch.get_num_threads():
            torch.set_num_threads(default_threads())
        self.choice = choose(device, backend, dtype)
        self.weights = weights if isinstance(weights, Weights) else load_weights(weights)
        self.beam, self.n_best, self.batch_size = beam, n_best, batch_size
        self._said_split = False
        self._vocabulary = Vocabulary(self.weights.charset)
        self._calibration = self.weights.calibration()
        self._model = self.weights.model
        if self.choice.device == "cuda":
            self._model = copy.deepcopy(self._model).to("cuda")
        self._encoder = self._model.encoder
        self._packed = None
        if backend == "fast":
            from khmer_fast import ops

            storage = "bfloat16" if dtype == "bfloat16" else "float32"
            on_gpu = self.choice.device == "cuda"
            try:
                self._encoder = fold(self._encoder) if on_gpu else ops.Encoder(self._encoder)
                self._packed = ops.make_decoder(self._model.decoder.weights(), storage)
            except ValueError as error:  # KHMER_FAST_ISA; the weights were checked before
                raise OptionError(str(error)) from None

    def read(self, image: Any) -> Line:
        """Reads one image: a path, bytes, a PIL image or an array (see `load_grey`).

        Raises ImageError for what is no image, or a line too wide to read.
        """
        return self._read_prepared([self._prepare(image)])[0]

    def read_batch(
        self, images: Iterable[Any], on_error: str = "raise"
    ) -> list[Line | KhmerFastError]:
        """Reads images, answers in their order.

        With on_error = "return" the error of a bad image stands in its place; with "raise" the
        first one is raised.
        """
        return list(self.read_many(images, on_error))

    def read_many(
        self, images: Iterable[Any], on_error: str = "raise"
    ) -> Iterator[Line | KhmerFastError]:
        """Like `read_batch`, but gives each answer as soon as it and those before it are known.

        Images are decoded in threads while earlier ones are read; `images` may be endless.
        """
        if on_error not in ("raise", "return"):
            raise OptionError(f"on_error must be raise or return, got {on_error!r}")
        if isinstance(images, (str, bytes, os.PathLike)):
            raise OptionError("expected several images, got one; use read() for it")
        return self._stream(iter(images), on_error)

    def _stream(self, images: Iterator[Any], on_error: str) -> Iterator[Line | KhmerFastError]:
        largest = WINDOW_BATCHES * self.batch_size
        size = min(FIRST_WINDOW, largest)
        pool = ThreadPoolExecutor(max_workers=min(4, usable_processors()))
        waiting: deque[Future] = deque()
        try:
            while True:
                ahead = itertools.islice(images, size + largest - len(waiting))
                waiting.extend(pool.submit(self._prepare_or_error, image) for image in ahead)
                if not waiting:
                    return
                window = [waiting.popleft().result() for _ in range(min(size, len(waiting)))]
                lines = iter(self._read_prepared([x for x in window if isinstance(x, Prepared)]))
                for x in window:
                    if isinstance(x, KhmerFastError) and on_error == "raise":
                        raise x
                    yield next(lines) if isinstance(x, Prepared) else x
                size = min(4 * size, largest)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, image: Any) -> Prepared:
        grey = load_grey(image)
        try:
            line = prepare_line(grey, self.weights.config.height)
        except ImageError as error:
            if isinstance(image, (str, os.PathLike)):
                raise ImageError(f"{os.fspath(image)}: {error}") from None
            raise
        return Prepared(line, (0, 0, grey.shape[1], grey.shape[0]))

    def _prepare_or_error(self, image: Any) -> Prepared | KhmerFastError:
        try:
            return self._prepare(image)
        except KhmerFastError as error:
            return error

    def _read_prepared(self, prepared: Sequence[Prepared]) -> list[Line]:
        answers: list[Line | None] = [None] * len(prepared)
        written = []
        for i, x in enumerate(prepared):
            if x.line.min() == 255:
                answers[i] = Line("", 1.0, x.box)
            else:
                written.append(i)
        widths = [prepared[i].line.shape[1] for i in written]
        for group in plan_batches(widths, self.batch_size):
            waiting = [[written[j] for j in group]]
            while waiting:
                chosen = waiting.pop()
                try:
                    result = self._decode([prepared[i].line for i in chosen])
                except torch.OutOfMemoryError:
                    waiting += self._halves(chosen)
                    continue
                for b, i in enumerate(chosen):
                    answers[i] = self._line(result, b, prepared[i].box)
        return answers

    def _halves(self, chosen: list[int]) -> list[list[int]]:
        """Two parts of a batch that the GPU has no room for; said once."""
        if len(chosen) == 1:
            raise OptionError("the GPU has too little free memory for one line; use device cpu")
        if not self._said_split:
            self._said_split = True
            warnings.warn(
                f"the GPU has too little free memory for {len(chosen)} lines at once: batches are "
                "split; a smaller batch_size saves the attempts",
                stacklevel=2,
            )
        torch.cuda.empty_cache()
        middle = len(chosen) // 2
        return [chosen[middle:], chosen[:middle]]

    def _decode(self, lines: Sequence[np.ndarray]) -> BeamResult:  # each [Y, X_b]
        if self.choice.device == "cuda":
            return self._compute(lines)
        with _PROCESSORS.of(torch.get_num_threads()):
            return self._compute(lines)

    @torch.inference_mode()
    def _compute(self, lines: Sequence[np.ndarray]) -> BeamResult:  # each [Y, X_b]
        batch = collate(lines)
        image, width = batch.image, batch.width
        if self.choice.device == "cuda":
            image = image.pin_memory().to("cuda", non_blocking=True)
            width = width.to("cuda")
        memory, length = self._encode(image, width)
        limit = torch.tensor([self.weights.config.step_limit(n) for n in length.tolist()])
        options = dict(beam=self.beam, n_best=self.n_best, step_limit=limit.to(memory.device))
        if self._packed is None:
            result = beam_search(self._model.decoder.weights(), memory, length, **options)
        else:
            result = _on_cpu(self._packed.beam_search(memory, length, **options))
        looped = result.truncated[:, 0].nonzero()[:, 0]
        if len(looped):
            at = looped.to(memory.device)
            opinion = ctc_greedy(self._model.ctc(memory[at]).cpu(), length[at].cpu())
            replace_loops(result, looped, opinion)
        return result

    def _encode(self, image: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        encoder = self._encoder
        if not image.is_cuda:
            return encoder(image, width)
        narrow = self.choice.dtype == "bfloat16"
        # float32 means float32: cuDNN would round the factors to TF32
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=narrow):
            with torch.autocast("cuda", torch.bfloat16, enabled=narrow):
                feature, length = encoder.features(image, width)
            return encoder.recurrent(feature.float(), length), length

    def _line(self, result: BeamResult, b: int, box: Box) -> Line:
        if bool(result.failed[b]):
            return Line("", 0.0, box, flags=("failed",))
        answers = []
        for i, count in enumerate(result.length[b].tolist()):
            if count:
                ids = result.tokens[b, i, :count].tolist()
                answers.append((self._vocabulary.decode(ids), ids, i))
        raw, ids, _ = answers[0]
        text = canonical(raw)
        log_probs = result.log_prob[b, 0, : len(ids)].tolist()
        alternatives: dict[str, float] = {}
        for other, _, i in answers[1:]:
            other = canonical(other)
            if other != text:
                alternatives.setdefault(other, float(result.score[b, i]))
        return Line(
            text,
            self._calibrated("line", math.exp(sum(log_probs))),
            box,
            characters=self._characters(raw, text, log_probs[: len(raw)]),
            alternatives=tuple(Alternative(other, score) for other, score in alternatives.items()),
            flags=("truncated",) if bool(result.truncated[b, 0]) else (),
        )

    def _characters(self, raw: str, text: str, log_probs: list[float]) -> tuple[Character, ...]:
        """Clusters of the text; each token of `raw` counts for the character it became."""
        sums = log_probs if raw == text else carry_over(raw, text, log_probs)
        characters, at = [], 0
        for cluster in clusters(text):
            probability = math.exp(sum(sums[at : at + len(cluster)]))
            characters.append(Character(cluster, self._calibrated("character", probability)))
            at += len(cluster)
        return tuple(characters)

    def _calibrated(self, kind: str, probability: float) -> float:
        slope, offset = self._calibration[kind]
        if (slope, offset) == (1.0, 0.0) or not 0 < probability < 1:
            return probability
        logit = slope * math.log(probability / (1 - probability)) + offset
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))


def _on_cpu(result: BeamResult) -> BeamResult:
    """The answers' tensors on the CPU, where their elements are looked at one by one."""
    names = ("tokens", "length", "score", "log_prob", "truncated", "failed", "steps")
    return BeamResult(*(getattr(result, name).cpu() for name in names))


def replace_loops(result: BeamResult, looped: Tensor, opinion: BeamResult) -> None:
    """The best answers of lines that ran into their step limit become the CTC head's, in place.

    looped [L]: the lines; opinion: their CTC paths, which are shorter than their step limits.
    """
    for i, b in enumerate(looped.tolist()):
        count = int(opinion.length[i, 0])
        result.tokens[b, 0] = PAD
        result.tokens[b, 0, :count] = opinion.tokens[i, 0, :count]
        result.log_prob[b, 0] = 0
        result.log_prob[b, 0, :count] = opinion.log_prob[i, 0, :count]
        result.length[b, 0], result.score[b, 0] = count, opinion.score[i, 0]


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


def carry_over(raw: str, text: str, log_probs: Sequence[float]) -> list[float]:
    """Log-probabilities of the characters of `raw`, moved to those of `text`, its canonical form.

    A character that canonical form drops or moves counts for the one that stands in its place.
    """
    sums = [0.0] * len(text)
    for edit in Levenshtein.opcodes(raw, text):
        for k in range(edit.src_start, edit.src_end):
            at = min(edit.dest_start + k - edit.src_start, max(edit.dest_end - 1, 0))
            if text:
                sums[min(at, len(text) - 1)] += log_probs[k]
    return sums


def choose(device: str = "auto", backend: str = "fast", dtype: str = "auto") -> Choice:
    """The device, backend and dtype that reading uses; raises OptionError for impossible ones."""
    if backend not in BACKENDS:
        raise OptionError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if dtype not in DTYPES:
        raise OptionError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if device not in ("auto", "cpu", "cuda"):
        raise OptionError(f"device must be auto, cpu or cuda, got {device!r}")
    if backend == "reference":
        if device == "cuda":
            raise OptionError("the reference reads on the CPU only; use device auto or cpu")
        if dtype == "bfloat16":
            raise OptionError("the reference computes in float32 only; use dtype auto or float32")
        return Choice("cpu", "reference", "float32", "the reference was asked for")
    obstacle = None if device == "cpu" else cuda_obstacle()
    if device == "cuda" and obstacle:
        raise OptionError(f"device cuda cannot be used: {obstacle}; use device auto or cpu")
    if device != "cpu" and not obstacle:
        reason = f"{torch.cuda.get_device_name(0)} ({'asked for' if device == 'cuda' else 'found'})"
        return Choice("cuda", "fast", "float32" if dtype == "auto" else dtype, reason)
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


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16) and may (KHMER_FAST_ISA)."""
    allowed = os.environ.get("KHMER_FAST_ISA", "avx512_bf16") == "avx512_bf16"
    return allowed and torch.cpu._is_avx512_bf16_supported()


def _check_count(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise OptionError(f"{name} must be an integer in [{low}, {high}], got {value!r}")
