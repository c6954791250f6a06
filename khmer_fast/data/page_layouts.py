"""The layouts by name: each is a function that fills a Composer, in reading order."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from khmer_fast.data.page_apps import app, chat
from khmer_fast.data.page_canvas import Canvas
from khmer_fast.data.page_charts import report
from khmer_fast.data.page_composer import POINTS, Composer, choose_type
from khmer_fast.data.page_decoys import decoys
from khmer_fast.data.page_forms import form, invoice, receipt
from khmer_fast.data.page_hard import figures, overprinted, signs
from khmer_fast.data.page_letters import law, letter
from khmer_fast.data.page_posters import card, certificate, cover, menu, poster, styles
from khmer_fast.data.page_prose import book, columns, contents, exam, newspaper
from khmer_fast.data.page_screens import dashboard, web
from khmer_fast.data.page_snippets import blank, line, lines, word
from khmer_fast.data.page_tables import table
from khmer_fast.data.page_type import Typesetter
from khmer_fast.data.texts import TextSource

LAYOUTS: dict[str, Callable[[Composer], None]] = {
    "letter": letter,
    "law": law,
    "columns": columns,
    "contents": contents,
    "book": book,
    "newspaper": newspaper,
    "report": report,
    "table": table,
    "form": form,
    "invoice": invoice,
    "receipt": receipt,
    "poster": poster,
    "cover": cover,
    "card": card,
    "styles": styles,
    "app": app,
    "web": web,
    "dashboard": dashboard,
    "chat": chat,
    "line": line,
    "word": word,
    "lines": lines,
    "blank": blank,
    "overprinted": overprinted,
    "figures": figures,
    "signs": signs,
    "decoys": decoys,
    "certificate": certificate,
    "menu": menu,
    "exam": exam,
}
_Range = tuple[float, float]
_SHAPES: dict[str, tuple[_Range, ...]] = {  # width to height
    "receipt": ((0.3, 0.55),),
    "card": ((1.3, 2.0),),
    "app": ((0.45, 0.6),),
    "chat": ((0.45, 0.6),),
    "certificate": ((1.3, 1.5),),
    "line": ((1.0, 2.0),),
    "word": ((1.0, 2.0),),
    "lines": ((1.0, 2.0),),
}
_PAPER = ((0.707, 0.707), (0.707, 0.707), (0.65, 0.8), (1.3, 1.5))
_SCREEN = ((0.45, 0.6), (1.2, 1.9), (0.7, 1.2))


def begin(
    rng: random.Random,
    numbers: np.random.Generator,
    texts: TextSource,
    setter: Typesetter,
    layout: str,
    on: str,
    long_side: int,
) -> Composer:
    """An empty page for a layout: its shape, its two types, and how it is set."""
    shapes = _SHAPES.get(layout) or (_PAPER if on == "paper" else _SCREEN)
    aspect = rng.uniform(*rng.choice(shapes))
    width = long_side if aspect >= 1 else max(32, round(long_side * aspect))
    height = long_side if aspect < 1 else max(32, round(long_side / aspect))
    unit = long_side / POINTS
    size = (
        rng.choices(
            (rng.uniform(5.5, 9), rng.triangular(8.5, 16, 11.5), rng.uniform(15, 26)), (15, 70, 15)
        )[0]
        * unit
    )
    body = choose_type(rng, setter.fonts, size)
    heading = choose_type(rng, setter.fonts, size * rng.uniform(1.0, 1.3), heading=True)
    if on == "screen" and rng.random() < 0.6:
        body = body.at(hinted=True, size=float(max(6, round(size))), stretch=1.0)
    emphasis = rng.choice((0.0, 0.0, 0.05, 0.15, 0.4))
    noted = rng.choice((0.0, 0.0, 0.0, 0.0, 0.03, 0.12))
    return Composer(
        rng, numbers, texts, setter, Canvas(height, width), body, heading, unit,
        khmer_digits=rng.random() < 0.7, emphasis=emphasis, noted=noted,
    )  # fmt: skip
