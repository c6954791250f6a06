"""A second look at lines, or pieces of long ones, read unsurely: the same picture in another size.

Condensed and blurred type has few encoder positions a letter; wider, it has more. Words by
themselves fill the height, which letters in lines seldom do. Of the two readings the surer one is
right more often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from khmer_fast.recognize.lines import Reading

UNSURE = 0.01  # probability of all that a picture says, below which it is looked at again,
WIDER = 1.25  # so many times as wide
SHORT, UNSURE_SHORT = 256, 0.6  # pixels that a word or two have, and the same for them:
LOWER = 0.8  # they are looked at so many times as high
PAPER = 255


def looked_at_again(
    images: Sequence[np.ndarray],  # each uint8 [Y, X_i], prepared
    answers: Sequence[list[Reading]],  # to each, best first
    read: Callable[[Sequence[np.ndarray]], list[list[Reading]]],
) -> list[list[Reading]]:
    """The answers to each image, those to an unsure one from the surer of two looks."""
    unsure = [i for i, found in enumerate(answers) if found and _is_unsure(images[i], found[0])]
    surer = list(answers)
    others = [_another_size(images[i]) for i in unsure]
    for i, other, found in zip(unsure, others, read(others), strict=True):
        if found and found[0].probability > answers[i][0].probability:
            scale = images[i].shape[1] / other.shape[1]
            surer[i] = [replace(x, x=[scale * at for at in x.x]) for x in found]
    return surer


def _is_unsure(image: np.ndarray, best: Reading) -> bool:
    return best.probability < (UNSURE_SHORT if image.shape[1] <= SHORT else UNSURE)


def _another_size(image: np.ndarray) -> np.ndarray:
    """uint8 [Y, X] -> [Y, 1.25 X]; of a short one [Y, X], lower and in the middle."""
    Y, X = image.shape
    if X > SHORT:
        return _resized(image, round(WIDER * X), Y)
    height = round(LOWER * Y)
    top = (Y - height) // 2
    page = np.full_like(image, PAPER)
    page[top : top + height] = _resized(image, X, height)
    return page


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
