"""Streams of line images to lines: decoded in threads, read in batches, answered in order."""

from __future__ import annotations

import itertools
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from khmer_fast.document import Line
from khmer_fast.errors import ImageError, KhmerFastError, OptionError, printable
from khmer_fast.files.images import is_stream, load_grey, read_stream
from khmer_fast.recognize.again import looked_at_again
from khmer_fast.recognize.batch import plan_batches
from khmer_fast.recognize.engine import Choice, Engine, make_engine
from khmer_fast.recognize.line_image import PreparedLine, prepare
from khmer_fast.recognize.lines import Reading, join, known, make_line, read_images
from khmer_fast.recognize.pieces import pieces_of
from khmer_fast.text import Vocabulary
from khmer_fast.threads import Share, mend_after_fork, usable_processors
from khmer_fast.weights import Weights, load_weights

FIRST_WINDOW = 8  # lines that are read together at first, so that the first text comes soon
WINDOW_BATCHES = 4  # batches whose lines are sorted by width together

_processors = Share(usable_processors())  # of all readers of this process


class Reader:
    """Reads Khmer line images; may be used from several threads at once.

    `weights` is a file (by default the packaged model) or a loaded `Weights`. `threads` share the
    lines of a batch in the fast backend on a CPU (by default torch's number, held to the processors
    that this process may use). `dtype` "auto" is int8 on a CPU where the weights' scales stand
    beside them, as the packaged ones' do, else float32. An `engine` of one's own takes the place of
    `device`, `backend`, `dtype` and `threads`.

    Making a Reader changes nothing of the process: torch's own number of threads, which the
    reference backend computes with, stays what the program set. A forked child that reads lets
    torch compute with one thread, since OpenMP's do not live on there. Raises KhmerFastError for
    weights or options that cannot be used.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | Weights | None = None,
        device: str = "auto",
        backend: str = "fast",
        beam: int = 5,
        n_best: int = 1,
        batch_size: int = 64,
        dtype: str = "auto",
        threads: int | None = None,
        engine: Engine | None = None,
    ):
        _check_count("beam", beam, 1, 256)
        _check_count("n_best", n_best, 1, beam)
        _check_count("batch_size", batch_size, 1, 4096)
        if threads is not None:
            _check_count("threads", threads, 1, 1024)
        self.weights = weights if isinstance(weights, Weights) else load_weights(weights)
        self.engine = engine or make_engine(self.weights, device, backend, dtype, threads)
        self.beam, self.n_best, self.batch_size = beam, n_best, batch_size
        self._said_split = False
        self._vocabulary = Vocabulary(self.weights.charset)
        self._calibration = self.weights.calibration()

    @property
    def choice(self) -> Choice:
        """Where and how lines are read, and why there."""
        return self.engine.choice

    def read(self, image: Any) -> Line:
        """Reads one image: a path, bytes, a PIL image or an array (see `load_grey`).

        Raises ImageError for what is no image, or a line too wide to read.
        """
        return self.read_prepared([self.prepare(image)])[0]

    def read_batch(
        self, images: Iterable[Any], on_error: str = "raise"
    ) -> list[Line | KhmerFastError]:
        """Reads images, answers in their order.

        With on_error = "return" the error of a bad image stands in its place; with "raise" the
        first one is raised.
        """
        if isinstance(images, list) and on_error in ("raise", "return"):
            if all(isinstance(image, np.ndarray) for image in images):
                return list(self._read_arrays(images, on_error))
        return list(self.read_many(images, on_error))

    def read_crops(
        self, pictures: Sequence[np.ndarray], alone: Sequence[bool]
    ) -> list[Line | KhmerFastError]:
        """Reads pictures in memory, each uint8 [Y', X'], an error in the place of a bad one.

        `alone` says of each whether it was cut along its own ink, so that nothing in it is another
        line's.
        """
        window = [
            self._prepare_or_error(picture, alone=cut)
            for picture, cut in zip(pictures, alone, strict=True)
        ]
        return list(self._read_window(window, "return"))

    def _read_arrays(
        self, images: Sequence[np.ndarray], on_error: str
    ) -> Iterator[Line | KhmerFastError]:
        """Pictures in memory: there is no decoding for which threads would pay."""
        size = WINDOW_BATCHES * self.batch_size
        for start in range(0, len(images), size):
            window = [self._prepare_or_error(image) for image in images[start : start + size]]
            yield from self._read_window(window, on_error)

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
                waiting.extend(self._submit(pool, image) for image in ahead)
                if not waiting:
                    return
                window = [waiting.popleft().result() for _ in range(min(size, len(waiting)))]
                yield from self._read_window(window, on_error)
                size = min(4 * size, largest)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _read_window(
        self, window: Sequence[PreparedLine | KhmerFastError], on_error: str
    ) -> Iterator[Line | KhmerFastError]:
        lines = iter(self.read_prepared([x for x in window if isinstance(x, PreparedLine)]))
        for x in window:
            if isinstance(x, KhmerFastError) and on_error == "raise":
                raise x
            yield next(lines) if isinstance(x, PreparedLine) else x

    def _submit(self, pool: ThreadPoolExecutor, image: Any) -> Future:
        """Has an image prepared in a thread; a pipe is read here, where Ctrl-C ends the waiting."""
        if not isinstance(image, (str, os.PathLike)) or not is_stream(image):
            return pool.submit(self._prepare_or_error, image)
        try:
            data = read_stream(image)
        except ImageError as error:
            failed: Future = Future()
            failed.set_result(error)
            return failed
        return pool.submit(self._prepare_or_error, data, printable(os.fspath(image)))

    def prepare(self, image: Any, name: str | None = None, alone: bool = False) -> PreparedLine:
        """The first half of `read`: an image, as `read` takes it, to a clean line. One that is
        known to stand `alone` has no bits of other lines to be taken out."""
        if name is None and isinstance(image, (str, os.PathLike)):
            name = printable(os.fspath(image))
        grey = load_grey(image, name)
        try:
            return prepare(grey, self.weights.config.height, alone)
        except ImageError as error:
            raise ImageError(f"{name}: {error}" if name else str(error)) from None

    def _prepare_or_error(
        self, image: Any, name: str | None = None, alone: bool = False
    ) -> PreparedLine | KhmerFastError:
        try:
            return self.prepare(image, name, alone)
        except KhmerFastError as error:
            return error

    def read_prepared(self, prepared: Sequence[PreparedLine]) -> list[Line]:
        """The second half of `read`, for many lines: clean lines to texts, in their order."""
        pieces = [[] if x.blank else pieces_of(x.image) for x in prepared]
        images = [piece.image for line in pieces for piece in line if piece.image is not None]
        answers = iter(looked_at_again(images, self._read_all(images), self._read_all))
        lines = []
        for x, parts in zip(prepared, pieces, strict=True):
            if not parts:
                lines.append(Line("", 1.0, x.box))
                continue
            found = [[known(part)] if part.image is None else next(answers) for part in parts]
            lines.append(make_line(x, join(parts, found), self._calibration))
        return lines

    def _read_all(self, images: Sequence[np.ndarray]) -> list[list[Reading]]:  # uint8 [Y, X_i]
        """The answers to each image, read in batches of nearly equal width."""
        answers: list[list[Reading]] = [[] for _ in images]
        widths = [image.shape[1] for image in images]
        for group in plan_batches(widths, self.batch_size, self.engine.max_padding):
            waiting = [group]
            while waiting:
                chosen = waiting.pop()
                try:
                    found = self._compute([images[i] for i in chosen])
                except torch.OutOfMemoryError:
                    waiting += self._halves(chosen)
                    continue
                for i, readings in zip(chosen, found, strict=True):
                    answers[i] = readings
        return answers

    def _compute(self, images: Sequence[np.ndarray]) -> list[list[Reading]]:  # uint8 [Y, X_b]
        mend_after_fork()
        threads = self.engine.threads
        with _processors.of(threads) if threads else nullcontext():
            return read_images(
                self.engine,
                images,
                self._vocabulary,
                self.weights.config.stride,
                self.beam,
                self.n_best,
            )

    def _halves(self, chosen: list[int]) -> list[list[int]]:
        """Two parts of a batch that the device has no room for; said once."""
        where = self.choice.device
        if len(chosen) == 1:
            raise OptionError(f"device {where} has too little free memory for one line; use cpu")
        if not self._said_split:
            self._said_split = True
            warnings.warn(
                f"device {where} has too little free memory for {len(chosen)} lines at once: "
                "batches are split; a smaller batch_size saves the attempts",
                stacklevel=2,
            )
        self.engine.release()
        middle = len(chosen) // 2
        return [chosen[middle:], chosen[:middle]]


def _check_count(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise OptionError(f"{name} must be an integer in [{low}, {high}], got {value!r}")
