"""What a decoder found to the lines of a document: tokens > readings > characters, words, line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from khmer_fast.document import Alternative, Box, Character, Line, Word
from khmer_fast.recognize.batch import collate
from khmer_fast.recognize.engine import Engine
from khmer_fast.recognize.line_image import PreparedLine
from khmer_fast.text import Vocabulary, canonical, clusters
from python_ref.beam_search import BeamResult

Calibration = Mapping[str, tuple[float, float]]  # slope and offset of "line" and "character"


@dataclass(frozen=True)
class Reading:
    """One answer to one line image; `text` is as the model gives it, not canonical."""

    text: str
    log_prob: list[float]  # of each character, and of <eos> where the decoder gave it
    x: list[float]  # pixels of the line image, where each character was looked at
    score: float  # sum of log-probabilities
    truncated: bool


def read_images(
    engine: Engine,
    images: Sequence[np.ndarray],  # each uint8 [Y, X_b], prepared
    vocabulary: Vocabulary,
    stride: int,  # pixels that an encoder position stands for
    beam: int,
    n_best: int,
) -> list[list[Reading]]:
    """The answers to each image of one batch, best first; none where the model failed.

    A line that ran into its step limit is a loop: its best answer is what the CTC head reads.
    Raises torch.OutOfMemoryError where the device has no room for the batch.
    """
    encoded = engine.encode(collate(images))
    result = engine.decode(encoded, beam, n_best)
    answers = [_answers(result, b, vocabulary, stride) for b in range(len(images))]
    looped = [b for b, found in enumerate(answers) if found and found[0].truncated]
    if looped:
        opinion = engine.second_opinion(encoded, looped)
        for i, b in enumerate(looped):
            answers[b][0] = _reading(opinion, i, 0, vocabulary, stride, truncated=True)
    return answers


def _answers(result: BeamResult, b: int, vocabulary: Vocabulary, stride: int) -> list[Reading]:
    if bool(result.failed[b]):
        return []
    truncated = result.truncated[b].tolist()
    return [
        _reading(result, b, i, vocabulary, stride, truncated[i])
        for i, count in enumerate(result.length[b].tolist())
        if count
    ]


def _reading(
    result: BeamResult, b: int, i: int, vocabulary: Vocabulary, stride: int, truncated: bool
) -> Reading:
    assert result.position is not None  # every engine gives it
    count = int(result.length[b, i])
    text = vocabulary.decode(result.tokens[b, i, :count].tolist())
    return Reading(
        text,
        result.log_prob[b, i, :count].tolist(),
        [stride * (t + 0.5) for t in result.position[b, i, : len(text)].tolist()],
        float(result.score[b, i]),
        truncated,
    )


def make_line(prepared: PreparedLine, answers: Sequence[Reading], calibration: Calibration) -> Line:
    """The line of a prepared image and its answers, best first; its boxes are the picture's."""
    if not answers:
        return Line("", 0.0, prepared.box, flags=("failed",))
    best = answers[0]
    text = canonical(best.text)
    alternatives: dict[str, float] = {}
    for answer in answers[1:]:
        other = canonical(answer.text)
        if other != text:
            alternatives.setdefault(other, answer.score)
    characters = _characters(prepared, best, text, calibration)
    return Line(
        text,
        _calibrated(calibration["line"], math.exp(sum(best.log_prob))),
        prepared.box,
        words=_words(characters),
        characters=characters,
        alternatives=tuple(Alternative(other, score) for other, score in alternatives.items()),
        flags=("truncated",) if best.truncated else (),
    )


def _characters(
    prepared: PreparedLine, reading: Reading, text: str, calibration: Calibration
) -> tuple[Character, ...]:
    """Clusters of the text; each token counts for the character it became."""
    raw, log_prob, x = reading.text, reading.log_prob[: len(reading.text)], reading.x
    if raw != text:
        log_prob, x = carry_over(raw, text, log_prob), _carried_positions(raw, text, x)
    parts = clusters(text)
    ends = np.cumsum([len(part) for part in parts]).tolist()
    starts = [0, *ends][:-1]
    middles = [sum(x[i:j]) / (j - i) for i, j in zip(starts, ends, strict=True)]
    boxes = character_boxes(prepared, middles)
    pair = calibration["character"]
    return tuple(
        Character(part, _calibrated(pair, math.exp(sum(log_prob[i:j]))), box)
        for part, i, j, box in zip(parts, starts, ends, boxes, strict=True)
    )


def character_boxes(prepared: PreparedLine, middles: Sequence[float]) -> list[Box]:
    """Boxes in the picture's pixels of characters that stand round `middles` [n], line pixels.

    Each reaches to halfway to its neighbours, as high as the line's ink. Attention may look at two
    neighbours in the wrong order; their borders then fall together.
    """
    if not middles:
        return []
    left, top, right, bottom = prepared.ink
    at = np.maximum.accumulate(np.clip(middles, left, right))  # [n]
    edges = np.concatenate([[left], (at[1:] + at[:-1]) / 2, [right]])  # [n + 1]
    return [
        prepared.picture_box(x0, top, x1, bottom)
        for x0, x1 in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def _words(characters: Sequence[Character]) -> tuple[Word, ...]:
    """What stands between two spaces; a word is right if all its characters are."""
    words: list[Word] = []
    run: list[Character] = []
    for character in (*characters, Character(" ", 1.0)):
        if character.text != " ":
            run.append(character)
        elif run:
            boxes = [c.box for c in run if c.box is not None]
            box = (
                min(b[0] for b in boxes), min(b[1] for b in boxes),
                max(b[2] for b in boxes), max(b[3] for b in boxes),
            )  # fmt: skip
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


def _calibrated(pair: tuple[float, float], probability: float) -> float:
    slope, offset = pair
    if (slope, offset) == (1.0, 0.0) or not 0 < probability < 1:
        return probability
    logit = slope * math.log(probability / (1 - probability)) + offset
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))
