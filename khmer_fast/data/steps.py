"""What degradations share: the table of steps, the tones of paper, and arithmetic on grey pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

BILINEAR = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Tones:
    """Grey levels of ink and of paper."""

    ink: int
    paper: int


Step = Callable[[np.ndarray, float, np.random.Generator, Tones], np.ndarray]
STEPS: dict[str, Step] = {}


def step(function: Step) -> Step:
    STEPS[function.__name__] = function
    return function


def as_image(page: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(page))


def through_table(page: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Map grey levels through values [256]."""
    return np.clip(values, 0, 255).astype(np.uint8)[page]


def add(page: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Add int16 [Y', X'] (or what broadcasts to it) and clip."""
    return np.clip(page.astype(np.int16) + change, 0, 255).astype(np.uint8)


def light(page: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply by float32 that broadcasts to [Y', X'], at most 1."""
    return (page * factor).astype(np.uint8)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], rows: int, columns: int
) -> np.ndarray:
    """Smooth noise in [0, 1], float32 of `shape`, with `rows` x `columns` independent values."""
    coarse = rng.random((max(2, rows), max(2, columns)), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((shape[1], shape[0]), BILINEAR))
