"""Where the time of reading a page goes, part by part, and the least that a machine needs for it.

The floor of the network is its multiply-adds at the peak of torch's matrix products here; that of
finding lines, rules and crops the bytes that must move, at the memory's speed here: the page once,
and at the network's scale each map of a pixel once written and once read. Opening and reading have
none here (benchmarks.read prints that of reading).
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks import machine
from khmer_fast.page.segment import LONG_SIDE, network_scale
from python_ref.segmenter import Segmenter

MAP_BYTES = 1 + 2 * (4 * 1 + 2 + 4)  # grey; ink, paper, rules and mask; owners; labels
LARGE_TYPE = 1 + 1 / 16  # the page once more at a quarter
TRIED = 256  # pixels of a side whose multiply-adds are counted
BUFFER = 64 * 2**20  # bytes, more than any cache


class Parts:
    """Processor seconds by part of reading a page: each call stops the clock of what called it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    def timed(self, owner: Any, name: str, part: str) -> None:
        """Puts a function of a module or object, by name, on the clock of a part."""
        call = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            self._turn(part)
            try:
                answer = call(*arguments, **options)
            finally:
                self._turn(None)
            return self._steps(answer, part) if inspect.isgenerator(answer) else answer

        setattr(owner, name, timed)

    def _steps(self, answers: Iterator[Any], part: str) -> Iterator[Any]:
        """The same answers, the time to make each one on the clock of the part."""
        while True:
            self._turn(part)
            try:
                answer = next(answers)
            except StopIteration:
                return
            finally:
                self._turn(None)
            yield answer

    def _turn(self, part: str | None) -> None:
        """Goes into a part, or (None) back to what called it."""
        now = time.process_time()
        if self._running:
            running = self._running[-1]
            self.seconds[running] = self.seconds.get(running, 0.0) + now - self._since
        self._since = now
        if part is None:
            self._running.pop()
        else:
            self._running.append(part)

    def take(self) -> dict[str, float]:
        """What was measured since the last call."""
        taken, self.seconds = self.seconds, {}
        return taken


class Floors:
    """The least time of the parts of finding lines on a page, as measured on this machine."""

    def __init__(self, network: Segmenter):
        self._network_seconds = 2 * multiply_adds(network) / machine.peak_flops()  # a pixel
        self._byte_seconds = 1 / machine.read_bandwidth(BUFFER)

    def of(self, width: int, height: int) -> dict[str, float]:
        """Seconds by part for a page of width x height pixels."""
        scale = network_scale(height, width, LONG_SIDE)
        small = width * height * scale * scale
        moved = width * height + MAP_BYTES * small
        return {
            "network": LARGE_TYPE * small * self._network_seconds,
            "lines": moved * self._byte_seconds,
            "rules": 2 * small * self._byte_seconds,
            "crops": width * height * self._byte_seconds,
        }


def multiply_adds(network: Segmenter) -> float:
    """Of the convolutions, a pixel of the page."""
    counted = 0.0
    hooks = []

    def count(module: torch.nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal counted
        counted += module.weight[0].numel() * output.numel()

    for module in network.modules():
        if getattr(module, "weight", None) is not None and module.weight.dim() == 4:
            hooks.append(module.register_forward_hook(count))
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 1, TRIED, TRIED))
    finally:
        for hook in hooks:
            hook.remove()
    return counted / TRIED**2
