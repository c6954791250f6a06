"""How sure it is that what was found is text at all: logos, seals and icons look like lines, too,
and the reader finds letters in them.

A logistic model of how the line looks, how it reads and how much of the page is surely text:
scripts/fit_text_likelihood.py --pages 400 fits it on rendered pages. On 200 pages without text,
which it was not fitted on, 525 lines were found and 234 of them read surely: one is sure now; of
2,608 lines of text, some of them alone on their page, 26 fall under LEAST.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from khmer_fast.document import Line
from khmer_fast.page.find import FoundPage

LEAST = 0.05  # what is less likely text is left out, and the page says so,
LONG, CLEAR = 8.0, 0.87  # unless it is so many letter heights long and its band scores so much:
# whole lines that nobody can read, such as handwriting, stay
WEIGHTS = {  # of PACKAGED_SEGMENTER and PACKAGED, in the order of `features`
    "constant": -8.68,
    "score": 2.85,
    "core": -1.74,
    "others": 0.06,
    "letters": -1.27,
    "page": 1.28,
    "reading": 0.36,
}
USUAL_CORE = 0.8  # share of a line's ink that stands in its band
USUAL_LETTERS = 1.2  # characters a letter height of its length
WORD = 4  # letters: shorter texts are found in anything and say nothing of the page


def text_likelihood(found: FoundPage, numbers: Sequence[int], lines: Sequence[Line]) -> np.ndarray:
    """Probability that each line is text: lines[i] was read from found line numbers[i]. [n]"""
    if not lines:
        return np.zeros(0)
    logit = features(found, numbers, lines) @ np.array(list(WEIGHTS.values()))
    return 1 / (1 + np.exp(-np.clip(logit, -30, 30)))


def is_no_text(found: FoundPage, numbers: Sequence[int], likelihood: np.ndarray) -> list[bool]:
    """Which lines are left out, by the likelihood of each: [n] all."""
    left_out = []
    for number, likely in zip(numbers, likelihood, strict=True):
        band = found.bands[found.inks[number].index]
        is_line = band.right - band.left >= LONG * band.letter_height and band.score >= CLEAR
        left_out.append(bool(likely < LEAST) and not is_line)
    return left_out


def features(found: FoundPage, numbers: Sequence[int], lines: Sequence[Line]) -> np.ndarray:
    """What the model sees of each line: float64 [n, features], in the order of WEIGHTS."""
    owners, columns = found.owners, found.owners.columns
    index = np.array([found.inks[i].index for i in numbers])
    letter = columns.letter[index].astype(np.float64)
    length = (columns.inner[index, 1] - columns.inner[index, 0]) / letter  # [n], letter heights
    score = np.clip([found.bands[i].score for i in index], 0.5, 0.98)
    own, others = owners.band[index, 1], owners.band[index, 2]
    ink = np.maximum(owners.counts[index].sum(1), 1)
    sure = np.clip([line.confidence for line in lines], 0.02, 0.98)
    texts = [line.text.replace(" ", "") for line in lines]
    characters = np.array([len(text) for text in texts]) / np.maximum(length, 0.5)
    return np.stack(
        [
            np.ones(len(lines)),
            np.log(score / (1 - score)),  # of the band, by the network
            np.abs(own / ink - USUAL_CORE),
            np.clip(20 * others / (length * letter * letter), 0, 2),  # ink of others in the band
            np.abs(np.log(np.clip(characters, 0.1, 5) / USUAL_LETTERS)),
            np.full(len(lines), np.log1p(_sure_letters(texts, lines))),
            np.log(sure / (1 - sure)),
        ],
        1,
    )


def _sure_letters(texts: Sequence[str], lines: Sequence[Line]) -> float:
    """Letters and digits of the page's words, each as much as its line is sure."""
    letters = [sum(character.isalnum() for character in text) for text in texts]
    return sum(
        count * line.confidence for count, line in zip(letters, lines, strict=True) if count >= WORD
    )
