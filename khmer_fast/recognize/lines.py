"""What a decoder found to the lines of a document: tokens > readings > characters, words, line."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rapidfuzz.distance import Levenshtein

from khmer_fast.document import Alternative, Box, Character, Line, Word
from khmer_fast.recognize import doubt, machine_readable
from khmer_fast.recognize.batch import collate
from khmer_fast.recognize.engine import Engine
from khmer_fast.recognize.line_image import PreparedLine
from khmer_fast.recognize.pieces import Piece
from khmer_fast.text import Vocabulary, canonical, clusters
from python_ref.beam_search import BeamResult

DOUBTS = frozenset(("unread ink", "doubtful", "check digit"))
_LATIN = re.compile(r"[A-Za-z]+(?:/[A-Za-z]+)*")
DOUBTED = 0.1  # what is left of the confidence of a line with such flags

Calibration = Mapping[str, tuple[float, float]]  # slope and offset of "line" and "character"


@dataclass(frozen=True)
class Reading:
    """One answer to one line image; `text` is as the model gives it, not canonical."""

    text: str
    log_prob: list[float]  # of each character
    end: float  # log-probability of <eos>, 0 where the decoder did not give it
    x: list[float]  # pixels of the image, where each character was looked at
    score: float  # sum of log-probabilities
    flags: tuple[str, ...] = ()  # of document.FLAGS

    @property
    def probability(self) -> float:
        """That it is right, as the decoder says."""
        return math.exp(sum(self.log_prob) + self.end)


def read_images(
    engine: Engine,
    images: Sequence[np.ndarray],  # each uint8 [Y, X_b], prepared
    vocabulary: Vocabulary,
    stride: int,  # pixels that an encoder position stands for
    beam: int,
    n_best: int,
) -> list[list[Reading]]:
    """The answers to each image of one batch, best first; none where the model failed.

    A line that ran into its step limit is a loop: its best answer is what the CTC head reads. One
    that looks odd is compared with that, and flagged where it lost something. Raises
    torch.OutOfMemoryError where the device has no room for the batch.
    """
    encoded = engine.encode(collate(images))
    result = engine.decode(encoded, beam, n_best)
    answers = _answers(result, vocabulary, stride)
    odd = [b for b, found in enumerate(answers) if found and _is_odd(images[b], found[0])]
    if odd:
        opinion = _answers(engine.second_opinion(encoded, odd), vocabulary, stride)
        for b, (other,) in zip(odd, opinion, strict=True):
            answers[b][0] = _decided(images[b], answers[b][0], other)
    return answers


def _is_odd(image: np.ndarray, best: Reading) -> bool:
    return bool(best.flags) or doubt.is_odd(image, best.x, best.probability)


def _decided(image: np.ndarray, best: Reading, other: Reading) -> Reading:
    """The best answer to an odd line, or what the CTC head reads there instead, with its flags."""
    if best.flags:
        return replace(other, flags=best.flags)
    flags = doubt.flags(image, best.text, best.x, other.text, other.x)
    return replace(best, flags=flags) if flags else best


def _answers(result: BeamResult, vocabulary: Vocabulary, stride: int) -> list[list[Reading]]:
    """The answers to each line of a batch, best first; none where the model failed."""
    assert result.position is not None  # every engine gives it
    lines = zip(
        result.failed.tolist(), result.length.tolist(), result.tokens.tolist(),
        result.log_prob.tolist(), result.position.tolist(), result.score.tolist(),
        result.truncated.tolist(), strict=True,
    )  # fmt: skip
    return [
        [
            _reading(answer, vocabulary, stride)
            for answer in zip(*answers, strict=True)
            if answer[0] and not failed
        ]
        for failed, *answers in lines
    ]


def _reading(
    answer: tuple[int, list[int], list[float], list[int], float, bool],
    vocabulary: Vocabulary,
    stride: int,
) -> Reading:
    """One answer: how many tokens (<eos> included), the tokens, their log-probabilities and
    positions, the score, and whether it ran into its step limit."""
    count, tokens, log_prob, position, score, truncated = answer
    text = vocabulary.decode(tokens[:count])
    n = len(text)
    return Reading(
        text,
        log_prob[:n],
        log_prob[n] if n < count else 0.0,
        [stride * (t + 0.5) for t in position[:n]],
        score,
        ("truncated",) if truncated else (),
    )


def join(pieces: Sequence[Piece], answers: Sequence[Sequence[Reading]]) -> list[Reading]:
    """The answers to a line from those to its pieces, best first; none where a piece has none.

    The second answer and those after it differ from the best in one piece.
    """
    if len(pieces) == 1:
        return list(answers[0])
    if not all(answers):
        return []
    best = [found[0] for found in answers]
    whole = [_joined(pieces, best)]
    for i, found in enumerate(answers):
        whole += [_joined(pieces, [*best[:i], other, *best[i + 1 :]]) for other in found[1:]]
    return [whole[0], *sorted(whole[1:], key=lambda reading: -reading.score)]


def _joined(pieces: Sequence[Piece], readings: Sequence[Reading]) -> Reading:
    text = ""
    log_prob: list[float] = []
    x: list[float] = []
    for piece, reading in zip(pieces, readings, strict=True):
        if piece.space and text and reading.text:
            text += " "
            log_prob.append(0.0)
            x.append(piece.left)
        text += reading.text
        log_prob += reading.log_prob
        x += [piece.left + at for at in reading.x]
    return Reading(
        text,
        log_prob,
        sum(reading.end for reading in readings),
        x,
        sum(reading.score for reading in readings),
        tuple(dict.fromkeys(flag for reading in readings for flag in reading.flags)),
    )


def known(piece: Piece) -> Reading:
    """What a leader says: its marks stand evenly between its ends."""
    pitch = (piece.right - piece.left) / len(piece.text)
    middles = [pitch * (i + 0.5) for i in range(len(piece.text))]
    return Reading(piece.text, [0.0] * len(piece.text), 0.0, middles, 0.0)


def settled(reading: Reading) -> Reading:
    """The reading of a machine-readable line with each character as its place has it, and what
    the check digits say; any other as it is, but for `l` among capitals. A line of as many
    characters as its layout has no ink left to read: wide capitals look like it."""
    line = machine_readable.settle(reading.text)
    if line is None:
        return replace(reading, text=_LATIN.sub(_capital_i, reading.text))
    return replace(
        reading,
        text=line.text,
        log_prob=[reading.log_prob[i] for i in line.places],
        x=[reading.x[i] for i in line.places],
        flags=(*(flag for flag in reading.flags if flag != "unread ink"), *line.flags),
    )


def _capital_i(word: re.Match[str]) -> str:
    """A Latin word, with `I` for an `l` among capitals, which many faces draw alike."""
    others = word[0].replace("l", "")
    capitals = sum(letter.isupper() for letter in others)
    return word[0].replace("l", "I") if capitals >= 2 and others.isupper() else word[0]


def make_line(prepared: PreparedLine, answers: Sequence[Reading], calibration: Calibration) -> Line:
    """The line of a prepared image and its answers, best first; its boxes are the picture's."""
    if not answers:
        return Line("", 0.0, prepared.box, flags=("failed",))
    answers = [settled(answer) for answer in answers]
    best = answers[0]
    text = canonical(best.text)
    alternatives: dict[str, float] = {}
    for answer in answers[1:]:
        other = canonical(answer.text)
        if other != text:
            alternatives.setdefault(other, answer.score)
    characters = _characters(prepared, best, text, calibration)
    (confidence,) = _calibrated(calibration["line"], [best.probability])
    if not DOUBTS.isdisjoint(best.flags):
        confidence *= DOUBTED
    return Line(
        text,
        confidence,
        prepared.box,
        words=_words(characters),
        characters=characters,
        alternatives=tuple(Alternative(other, score) for other, score in alternatives.items()),
        flags=best.flags,
    )


def _characters(
    prepared: PreparedLine, reading: Reading, text: str, calibration: Calibration
) -> tuple[Character, ...]:
    """Clusters of the text; each token counts for the character it became."""
    raw, log_prob, x = reading.text, reading.log_prob, reading.x
    if raw != text:
        log_prob, x = carry_over(raw, text, log_prob), _carried_positions(raw, text, x)
    parts = clusters(text)
    middles: list[float] = []
    chances: list[float] = []  # log-probabilities of the clusters
    i = 0
    for part in parts:
        j = i + len(part)
        middles.append(x[i] if j - i == 1 else sum(x[i:j]) / (j - i))
        chances.append(log_prob[i] if j - i == 1 else sum(log_prob[i:j]))
        i = j
    boxes = character_boxes(prepared, middles)
    confidences = _calibrated(calibration["character"], [math.exp(chance) for chance in chances])
    return tuple(map(Character, parts, confidences, boxes))


def character_boxes(prepared: PreparedLine, middles: Sequence[float]) -> list[Box]:
    """Boxes in the picture's pixels of characters that stand round `middles` [n], line pixels.

    Each reaches to halfway to its neighbours, as high as the line's ink. Attention may look at two
    neighbours in the wrong order; their borders then fall together.
    """
    if not middles:
        return []
    left, _, right, _ = prepared.ink
    at = np.maximum.accumulate(np.clip(middles, left, right))  # [n]
    return prepared.picture_boxes(np.concatenate([[left], (at[1:] + at[:-1]) / 2, [right]]))


def _words(characters: Sequence[Character]) -> tuple[Word, ...]:
    """What stands between two spaces; a word is right if all its characters are."""
    words: list[Word] = []
    run: list[Character] = []
    for character in (*characters, Character(" ", 1.0)):
        if character.text != " ":
            run.append(character)
        elif run:
            left, top, right, bottom = zip(*(c.box for c in run if c.box is not None), strict=True)
            box = (min(left), min(top), max(right), max(bottom))
            confidence = math.prod(c.confidence for c in run)
            words.append(Word("".join(c.text for c in run), confidence, box))
            run = []
    return tuple(words)


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


def _carried_positions(raw: str, text: str, x: Sequence[float]) -> list[float]:
    """Where the characters of `text`, the canonical form of `raw`, stand: each where the character
    is that it comes from, one that comes from none where the one before it is."""
    out = [0.0] * len(text)
    last = x[0] if x else 0.0
    for edit in Levenshtein.opcodes(raw, text):
        for k in range(edit.dest_start, edit.dest_end):
            source = edit.src_start + k - edit.dest_start
            last = x[source] if source < edit.src_end else last
            out[k] = last
    return out


def _calibrated(pair: tuple[float, float], probabilities: list[float]) -> list[float]:
    slope, offset = pair
    if pair == (1.0, 0.0):
        return probabilities
    return [
        1 / (1 + math.exp(-max(-700.0, min(700.0, slope * math.log(p / (1 - p)) + offset))))
        if 0 < p < 1
        else p
        for p in probabilities
    ]
