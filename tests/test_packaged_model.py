"""The packaged weights read rendered lines of every kind of paper, and invent no text."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from benchmarks import foreign
from khmer_fast import Reader
from khmer_fast.data import LineSource
from khmer_fast.data.mixture import LengthRange
from khmer_fast.segmenter_weights import load_segmenter
from khmer_fast.weights import load_weights
from tests.data_fixtures import KHMER_FONTS, LATIN_FONTS, needs_fonts, small_config, write_texts

LINES = 12  # of each kind of paper
# Character error rates that must not be passed. Measured on 2026-11-24: 0 to 2.2 %, 0.7 % in all.
MOST_OF_ONE_PAPER = 0.08
MOST_OF_ALL = 0.03


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(threads=1)


def test_weights_say_where_they_lie():
    assert Path(load_weights().path).is_file() and Path(load_segmenter().path).is_file()


@needs_fonts
def test_rendered_lines_of_every_paper_are_read(reader, tmp_path):
    write_texts(tmp_path)
    config = small_config(blank=0.0, lengths=(LengthRange(20, 60, 1.0),))
    edits, characters = defaultdict(int), defaultdict(int)
    for paper in config.papers:
        source = LineSource(
            replace(config, papers=(paper,)),
            text_folder=tmp_path,
            font_folders=(KHMER_FONTS, LATIN_FONTS),
        )
        samples = [source.sample(foreign.SEED, i) for i in range(LINES)]
        lines = reader.read_batch([sample.image for sample in samples])
        for line, sample in zip(lines, samples, strict=True):
            edits[paper.name] += Levenshtein.distance(line.text, sample.text)
            characters[paper.name] += len(sample.text)
    rates = {name: edits[name] / characters[name] for name in edits}
    assert len(rates) == len(config.papers) >= 9
    assert max(rates.values()) < MOST_OF_ONE_PAPER, rates
    assert sum(edits.values()) / sum(characters.values()) < MOST_OF_ALL, rates


@pytest.mark.parametrize("draw", [foreign.blank, foreign.noise])
def test_nothing_is_invented_where_nothing_stands(reader, draw):
    rng = np.random.default_rng(5)
    lines = reader.read_batch([draw(rng) for _ in range(20)])
    assert [line.text for line in lines] == [""] * 20


def test_foreign_scripts_and_drawings_are_never_read_with_confidence(reader):
    rng = np.random.default_rng(5)
    images = [foreign.drawing(rng) for _ in range(20)]
    for text, font in ((foreign.THAI, "NotoSansThai-Regular.ttf"),
                       (foreign.LAO, "NotoSansLao-Regular.ttf")):  # fmt: skip
        try:
            images += [foreign.words(text, font)(rng)[0] for _ in range(10)]
        except FileNotFoundError:
            continue  # Debian's fonts-noto-core is not here
    lines = reader.read_batch(images)
    sure = [line for line in lines if line.text and line.confidence >= 0.5]
    assert len(sure) <= 1, sure
