"""Text lines by kind: what stands on Cambodia's paper, cut and mixed as typists do.

Every kind is a function (source, rng, length) -> raw text; `TextSource.line` brings it to canonical
form, keeps the longest stretch that can be drawn and read unambiguously, and cuts it to length.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from khmer_fast.data.corpus import Corpus
from khmer_fast.data.form_texts import FORM_KINDS
from khmer_fast.data.mixture import TextMixture
from khmer_fast.data.number_texts import NUMBER_KINDS
from khmer_fast.data.sentence_texts import SENTENCE_KINDS
from khmer_fast.data.text_parts import (
    CONSONANTS,
    INDEPENDENT_VOWELS,
    OTHERS,
    RARE_SIGNS,
    ROBAT,
    SHIFTERS,
    SIGNS,
    VOWELS,
    Kind,
    cluster_word,
    latin_word,
)
from khmer_fast.text import COENG, canonical, clusters

# A cluster that every font draws without a dotted circle, and that can be read back; or any
# other character of the charset.
_drawable = re.compile(
    f"(?:[{CONSONANTS}{INDEPENDENT_VOWELS}]{ROBAT}?(?:{COENG}[{CONSONANTS}]){{0,3}}[{SHIFTERS}]?"
    f"[{VOWELS}]?(?:[{SIGNS}{RARE_SIGNS}](?![{SIGNS}{RARE_SIGNS}])|\u17c6\u17cb)?[\u17c7\u17c8]?"
    f"(?![\u17b6-\u17d3\u17dd])|[{re.escape(OTHERS)}])+"
)
_break = re.compile("([\u200b \n\xa0]+|(?<=[។៕])(?!ល))")

KINDS: dict[str, Kind] = {**SENTENCE_KINDS, **NUMBER_KINDS, **FORM_KINDS}


@dataclass(frozen=True)
class TextLine:
    """A canonical text and the kind that made it."""

    text: str
    kind: str


@dataclass
class TextSource:
    """Draws lines of text; `dropped` counts what was cut away, by reason."""

    corpus: Corpus
    mixture: TextMixture
    dropped: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._kinds = list(self.mixture.kinds)
        self._kind_weights = _cumulative(self.mixture.kinds.values())
        self._length_weights = _cumulative(entry.weight for entry in self.mixture.lengths)
        self._running_weights = _cumulative(self.corpus.running_weights)
        self._word_weights = _cumulative(self.corpus.word_weights)

    def line(self, rng: random.Random) -> TextLine:
        """One canonical line, of no more characters than the longest range of lengths; empty
        with the chance of a blank line."""
        if rng.random() < self.mixture.blank:
            return TextLine("", "blank")
        kind = rng.choices(self._kinds, cum_weights=self._kind_weights)[0]
        entry = rng.choices(self.mixture.lengths, cum_weights=self._length_weights)[0]
        return TextLine(self.text(rng, kind, rng.randint(entry.low, entry.high)), kind)

    def text(self, rng: random.Random, kind: str, length: int) -> str:
        """One canonical text of a kind, at most `length` characters and never empty."""
        for _ in range(20):
            text = self._clean(KINDS[kind](self, rng, length), length)
            if text:
                return text
        self.dropped["line"] += 1
        return rng.choice(CONSONANTS)

    def _clean(self, raw: str, length: int) -> str:
        """Canonical form, the longest drawable stretch of it, cut at a cluster to `length`."""
        text = canonical(raw)
        if not text or not _drawable.fullmatch(text):
            stretches = [match.group() for match in _drawable.finditer(text)]
            if not stretches:
                return ""
            self.dropped["stretch"] += 1
            text = max(stretches, key=len).strip()
        if len(text) > length:
            text = _cut(text, length)
        return text

    def running(self, rng: random.Random, length: int) -> str:
        """A window of running text, from a natural or unnatural place to another."""
        text = rng.choices(self.corpus.running, cum_weights=self._running_weights)[0]
        at = rng.randrange(len(text))
        window = text[at : at + 3 * length + 60]
        natural = rng.random() < self.mixture.natural_cut
        if natural:
            start = _break.search(window)
            window = window[start.end() :] if start else window
        if rng.random() < 0.9 or len(window.split("\n", 1)[0]) < length // 2:
            window = window.replace("\n", " ")
        else:
            window = window.split("\n", 1)[0]
        if not natural or rng.random() < 0.3:
            return _cut(canonical(window), length)
        pieces, total = [], 0
        for piece in _break.split(window):
            size = len(piece) - piece.count("\u200b")
            if pieces and total + size > length:
                break
            pieces.append(piece)
            total += size
        return "".join(pieces)

    def word(self, rng: random.Random) -> str:
        """One word, uniformly from a word list (so rare ones are common here)."""
        if not self.corpus.words:
            return cluster_word(rng)
        return rng.choice(rng.choices(self.corpus.words, cum_weights=self._word_weights)[0])

    def latin_run(self, rng: random.Random) -> str:
        """A Latin name, phrase or word as it stands in Khmer text."""
        if not self.corpus.latin or rng.random() < 0.15:
            return latin_word(rng)
        run = rng.choice(self.corpus.latin)
        if rng.random() < 0.6:
            words = run.split()
            run = " ".join(words[: rng.randint(1, 3)])
        return run.strip(" ()[]\"',;:-")


def _cumulative(weights: Iterable[float]) -> list[float]:
    total, sums = 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    return sums


def _cut(text: str, length: int) -> str:
    """At most `length` characters of a canonical text, whole clusters, no space at the ends."""
    if len(text) <= length:
        return text.strip(" ")
    total, kept = 0, []
    for cluster in clusters(text):
        total += len(cluster)
        if total > length and kept:
            break
        kept.append(cluster)
    return "".join(kept).strip(" ")
