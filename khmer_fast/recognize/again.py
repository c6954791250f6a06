"""A second look at lines, or pieces of long ones, read unsurely: the same picture, wider.

Condensed and blurred type has few encoder positions a letter; wider, it has more. Of the two
readings the surer one is right more often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from khmer_fast.recognize.lines import Reading

UNSURE = 0.01  # probability of all that a picture says, below which it is looked at again
WIDER = 1.25


def looked_at_again(
    images: Sequence[np.ndarray],  # each uint8 [Y, X_i], prepared
    answers: Sequence[list[Reading]],  # to each, best first
    read: Callable[[Sequence[np.ndarray]], list[list[Reading]]],
) -> list[list[Reading]]:
    """The answers to each image, those to an unsure one from the surer of two looks."""
    unsure = [i for i, found in enumerate(answers) if found and found[0].probability < UNSURE]
    surer = list(answers)
    for i, found in zip(unsure, read([_wider(images[i]) for i in unsure]), strict=True):
        if found and found[0].probability > answers[i][0].probability:
            scale = images[i].shape[1] / _width(images[i])
            surer[i] = [replace(x, x=[scale * at for at in x.x]) for x in found]
    return surer


def _width(image: np.ndarray) -> int:
    return round(WIDER * image.shape[1])


def _wider(image: np.ndarray) -> np.ndarray:  # uint8 [Y, X] -> [Y, 1.25 X]
    size = (_width(image), image.shape[0])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
