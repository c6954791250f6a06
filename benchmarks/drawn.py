"""Lines and pages that benchmarks draw: of the mixture's texts, or of texts made up without them.

The mixture's texts lie in KHMER_FAST_DATA. Where that is not set, `announce` says so, and the same
benchmarks run on texts made of the renderer's own word lists: what is drawn has the mixture's
fonts, lengths and papers, so that times hold, but error rates are those of such texts alone.
"""

from __future__ import annotations

import functools
import lzma
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

from khmer_fast.data import LineSource, PageSource, load_config
from khmer_fast.data.corpus import data_folder
from khmer_fast.data.draw import require_raqm
from khmer_fast.data.fonts import load_fonts
from khmer_fast.data.words import words
from khmer_fast.errors import KhmerFastError

LISTS = (
    "months",
    "days",
    "places",
    "units",
    "articles",
    "fields",
    "ministries",
    "state",
    "openers",
)
LATIN = ("Side Event", "Version 2.0", "Digital Government Forum", "Office", "Phnom Penh", "page")
PARAGRAPHS = 3000
MADE_UP = (
    "KHMER_FAST_DATA is not set: texts are made up of the renderer's word lists; times hold, error "
    "rates are those of such texts and compare to no others"
)


def announce(file: TextIO | None = None) -> bool:
    """Says (on stdout) what cannot be measured here, before anything is; False where nothing can be
    drawn."""
    file = file or sys.stdout
    try:
        require_raqm()
        load_fonts(load_config().fonts)
    except KhmerFastError as error:
        print(f"no lines can be drawn here: {error}", file=file, flush=True)
        return False
    if not has_texts():
        print(MADE_UP, file=file, flush=True)
    return True


def has_texts() -> bool:
    """Whether the mixture's texts are at hand."""
    return (data_folder() / "text").is_dir()


def line_source(config: Any = None, **options: Any) -> LineSource:
    """LineSource, of made-up texts where the mixture's are not at hand."""
    return LineSource(config, text_folder=None if has_texts() else Path(_folder().name), **options)


def page_source(config: Any = None, **options: Any) -> PageSource:
    """PageSource, likewise."""
    return PageSource(config, text_folder=None if has_texts() else Path(_folder().name), **options)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """The mixture's files, made up; it lasts as long as this process."""
    folder = tempfile.TemporaryDirectory(prefix="made-up-texts-")
    rng = random.Random(0)
    known = [word for name in LISTS for word in words(name)]
    for source in load_config().text.files:
        if source.use == "words":
            text = "\n".join(known)
        else:
            text = "".join(_paragraph(rng, known) for _ in range(PARAGRAPHS))
        (Path(folder.name) / source.file).write_bytes(lzma.compress(text.encode(), preset=0))
    return folder


def _paragraph(rng: random.Random, known: list[str]) -> str:
    """Some phrases without spaces, as Khmer is written, here and there a Latin one or a number."""
    phrases = []
    for _ in range(rng.randint(2, 8)):
        roll = rng.random()
        if roll < 0.1:
            phrases.append(rng.choice(LATIN))
        elif roll < 0.2:
            phrases.append(str(rng.randint(1, 3000)))
        else:
            phrases.append("\u200b".join(rng.choices(known, k=rng.randint(2, 9))))
    return " ".join(phrases) + "។\n"
