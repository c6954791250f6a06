"""The word lists of the renderer: words.toml, read once."""

from __future__ import annotations

import functools
from pathlib import Path

from khmer_fast.errors import KhmerFastError
from khmer_fast.toml_file import read_toml

WORDS = Path(__file__).with_name("words.toml")


@functools.cache
def _lists() -> dict[str, tuple[str, ...]]:
    return {name: tuple(words) for name, words in read_toml(WORDS, KhmerFastError).items()}


def words(name: str) -> tuple[str, ...]:
    """The list called `name`; a word that stands several times is drawn as often."""
    return _lists()[name]
