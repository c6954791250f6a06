"""Texts of forms, tables and cards."""

from __future__ import annotations

import random

import pytest

from khmer_fast.data.form_texts import FORM_KINDS, MACHINE_READABLE, machine_readable
from khmer_fast.text import Vocabulary, canonical


class Words:
    def word(self, rng: random.Random) -> str:
        return rng.choice(("ទឹក", "ភ្នំ", "សាលារៀន"))

    def running(self, rng: random.Random, length: int) -> str:
        return ("សាលារៀន " * 20)[: max(1, length)]


def test_machine_readable_lines_have_their_width_and_letters():
    widths = set()
    for seed in range(300):
        text = machine_readable(Words(), random.Random(seed), 0)
        assert set(text) <= set(MACHINE_READABLE)
        widths.add(len(text))
    assert widths == {30, 44}


@pytest.mark.parametrize("kind", sorted(FORM_KINDS))
def test_kinds_repeat_themselves_and_can_be_written(kind):
    vocabulary = Vocabulary()
    texts = set()
    for seed in range(200):
        text = FORM_KINDS[kind](Words(), random.Random(seed), 40)
        assert text == FORM_KINDS[kind](Words(), random.Random(seed), 40)
        assert not vocabulary.unknown(canonical(text))
        texts.add(text)
    assert len(texts) > 30
