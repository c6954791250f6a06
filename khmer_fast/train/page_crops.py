"""Lines as the segmenter cuts them out of rendered pages, with their texts: what is read on a page
is what the reader was trained on.

page sample > find_lines > crops whose ink is one line's > (grey, text)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from khmer_fast.data.pages import PageSample
from khmer_fast.page.find import find_lines
from khmer_fast.page.segment import Segmenter

LEAST_OWN = 0.97  # of a crop's ink is its line's
LEAST_WHOLE = 0.95  # of a line's ink is in its crop


def page_crops(sample: PageSample, segmenter: Segmenter) -> Iterator[tuple[np.ndarray, str]]:
    """(grey uint8 [Y', X'], text) of the lines that were found whole and alone.

    A crop may hold ink of no line, and bits of others that were not painted over: the text is what
    stands on its own line. Pages that had to be levelled give none, nor do lines that the page's
    edge cuts.
    """
    found = find_lines(sample.image, segmenter)
    if found.levelled:
        return
    owners = found.owners.owners  # [Y, X] at the network's scale, line + 1
    true = _at_scale(np.rot90(sample.owner, found.rotation // 90), owners.shape)  # [Y, X]
    whole = np.bincount(true.ravel(), minlength=len(sample.lines) + 1)
    for number, ink in enumerate(found.inks):
        inside = np.bincount(true[owners == ink.index + 1], minlength=len(sample.lines) + 1)
        inside[0] = 0
        line = int(inside.argmax())
        if not inside[line] or sample.lines[line - 1].cut:
            continue
        own, all_of_it = inside[line] / inside.sum(), inside[line] / whole[line]
        if own >= LEAST_OWN and all_of_it >= LEAST_WHOLE:
            yield found.crop(number).grey, sample.lines[line - 1].text


def _at_scale(owner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The owner map [page Y, page X] at the network's scale: uint16 [Y, X], nearest."""
    image = Image.fromarray(np.ascontiguousarray(owner).astype(np.int32), "I")
    small = image.resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(small).astype(np.uint16)
