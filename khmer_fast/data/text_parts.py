"""What lines of text are made of: clusters, words, digits, and how they are put together."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from khmer_fast.data.words import words
from khmer_fast.text import COENG, DEFAULT_CHARSET

CONSONANTS = "".join(chr(code) for code in range(0x1780, 0x17A3))
INDEPENDENT_VOWELS = "".join(chr(code) for code in range(0x17A5, 0x17B4))
VOWELS = "".join(chr(code) for code in range(0x17B6, 0x17C6))
SIGNS = "\u17c6\u17cb\u17cd\u17ce\u17cf\u17d0"
RARE_SIGNS = "\u17d1\u17d3\u17dd"
SHIFTERS = "\u17c9\u17ca"
ROBAT = "\u17cc"
KHMER_DIGITS = "០១២៣៤៥៦៧៨៩"
TO_KHMER = str.maketrans("0123456789", KHMER_DIGITS)
# characters of the charset that are no part of a cluster
OTHERS = "".join(c for c in DEFAULT_CHARSET if not "\u1780" <= c <= "\u17d3" and c != "\u17dd")
SYLLABLES = words("syllables")


class Source(Protocol):
    """What the kinds of text draw from: khmer_fast.data.texts.TextSource."""

    def running(self, rng: random.Random, length: int) -> str:
        """A window of running text."""

    def word(self, rng: random.Random) -> str:
        """One word."""

    def latin_run(self, rng: random.Random) -> str:
        """A Latin name, phrase or word."""


Kind = Callable[[Source, random.Random, int], str]  # source, rng, length: raw text


def legal_cluster(rng: random.Random) -> str:
    """A random cluster that Khmer spelling allows: every consonant meets every subscript."""
    if rng.random() < 0.06:
        return rng.choice(INDEPENDENT_VOWELS)
    text = rng.choice(CONSONANTS)
    roll = rng.random()
    if roll < 0.04:
        text += ROBAT
    elif roll < 0.62:
        first = rng.choice(CONSONANTS)
        text += COENG + first
        if roll < 0.12 and first != "រ":
            text += COENG + rng.choice("យរវល")
    if rng.random() < 0.08:
        text += rng.choice(SHIFTERS)
    if rng.random() < 0.6:
        text += rng.choice(VOWELS)
    roll = rng.random()
    if roll < 0.12:
        text += rng.choice(SIGNS)
    elif roll < 0.16:
        text += rng.choice("\u17c7\u17c8")
    elif roll < 0.165:
        text += rng.choice(RARE_SIGNS)
    return text


def cluster_word(rng: random.Random) -> str:
    """One to four random clusters."""
    return "".join(legal_cluster(rng) for _ in range(rng.randint(1, 4)))


def latin_word(rng: random.Random) -> str:
    """A pronounceable Latin word, in one of the usual cases."""
    word = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4)))
    return rng.choice((word, word, word.capitalize(), word.upper()))


def digits(rng: random.Random, count: int) -> str:
    """`count` Arabic digits."""
    return "".join(rng.choices("0123456789", k=count))


def script(rng: random.Random, text: str, khmer: float = 0.6) -> str:
    """The text with its digits in Khmer with a chance of `khmer`."""
    return text.translate(TO_KHMER) if rng.random() < khmer else text


def fill(parts: Callable[[], str], length: int, between: Callable[[], str]) -> str:
    """Parts until `length` characters are reached; `parts` and `between` are called for each."""
    text = parts()
    while len(text) < length:
        text += between() + parts()
    return text


def mix(source: Source, rng: random.Random, length: int, insert: Callable[[], str]) -> str:
    """Running text with something inserted at a space or an end."""
    inserted = insert()
    rest = max(1, length - len(inserted) - 2)
    at = rng.choice((0, rest, rng.randint(0, rest)))
    gap = rng.choice((" ", " ", " ", ""))
    left = source.running(rng, at) if at else ""
    right = source.running(rng, rest - at) if rest > at else ""
    return left + gap + inserted + gap + right
