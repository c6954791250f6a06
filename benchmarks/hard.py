"""`python -m benchmarks.hard`: the packaged model on lines of the hard kinds.

Errors of each kind, drawn in fonts that training never sees, and over what the same lines cost
without their hardness: a long line over its parts, one in two inks or on two papers over itself in
one, a turned one over itself upright, one with bits of its neighbours over itself without.
Machine-readable lines are drawn in OCR-B, which training draws, too: the standard has no other
face. Of lines with a planted loss those are counted that carry a flag. With KHMER_FAST_DATA the
development lines are turned, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine
from benchmarks.drawn import announce, line_source
from benchmarks.hard_lines import NEIGHBOURS, HardLine, HardLines, turn
from benchmarks.page_sets import load_page_set
from khmer_fast.data.corpus import data_folder
from khmer_fast.document import Line
from khmer_fast.errors import KhmerFastError
from khmer_fast.evaluation.labels import load_labels
from khmer_fast.evaluation.metrics import line_edits, summarise
from khmer_fast.files.images import load_grey
from khmer_fast.recognize import long_lines
from khmer_fast.recognize.batch import Batch
from khmer_fast.recognize.engine import Encoded, Engine, make_engine
from khmer_fast.recognize.reader import Reader
from khmer_fast.text import canonical, shorten_leaders
from khmer_fast.weights import Weights, load_weights
from python_ref.beam_search import BeamResult

SEED = 5_000_011  # of lines that neither training, validation nor calibration draws
COUNTS = {
    "plain": 500, "250 characters": 300, "400 characters": 300, "joined 4": 300,
    "a sentence five times": 100, "two inks": 250, "weak ink": 100, "highlighted": 250,
    "leaders": 300, "machine-readable": 300, "machine-readable, other faces": 300,
    "tiny type": 1000, "cells": 1000, "neighbours": 300,
}  # fmt: skip
ANGLES = (-10, -5, 5, 10)  # degrees
DEVELOPMENT = ("real_lines", "real_varied")
LOST = (6, 24)  # characters of a planted loss


@dataclass(frozen=True)
class Row:
    """Errors of one kind, and of the same lines without what makes them hard."""

    kind: str
    lines: int
    cer: float
    cer_without_spaces: float
    wrong_lines: float  # share
    flagged: int
    ms_a_line: float
    easy_cer: float | None = None

    @property
    def times_easy(self) -> float | None:
        return self.cer / self.easy_cer if self.easy_cer else None


def score(lines: Sequence[Line], texts: Sequence[str]) -> Any:
    edits = [
        line_edits(shorten_leaders(canonical(text)), shorten_leaders(line.text))
        for line, text in zip(lines, texts, strict=True)
    ]
    return summarise(edits)


def read(reader: Reader, images: Sequence[np.ndarray]) -> tuple[list[Line], float]:
    """The lines and processor milliseconds a line; images are grey uint8 [Y', X']."""
    start = time.process_time()
    lines = reader.read_batch(images)
    return lines, 1e3 * (time.process_time() - start) / len(images)


def measure(reader: Reader, kind: str, lines: Sequence[HardLine]) -> Row:
    found, ms = read(reader, [line.image for line in lines])
    scores = score(found, [line.text for line in lines])
    parts = [part for line in lines for part in line.parts]
    easy = None
    if parts:
        easy_found, _ = read(reader, [part.image for part in parts])
        easy = score(easy_found, [part.text for part in parts]).cer
    return Row(
        kind, len(lines), scores.cer, scores.cer_without_spaces, 1 - scores.exact_lines,
        sum(bool(line.flags) for line in found), ms, easy,
    )  # fmt: skip


# ---- turned lines ----


def development_lines() -> list[HardLine]:
    """The development sets' lines; none without KHMER_FAST_DATA."""
    found = []
    for name in DEVELOPMENT:
        if (data_folder() / name).is_dir():
            labels = load_labels(str(data_folder() / name))
            found += [HardLine(load_grey(label.image), canonical(label.text)) for label in labels]
    return found


def with_neighbours() -> list[HardLine]:
    """The development sets' lines cut out of their pages with a quarter of their height more above
    and below, where their neighbours stand, beside the same lines as the labels have them."""
    found = []
    for name in DEVELOPMENT:
        if (data_folder() / name).is_dir():
            for document in load_page_set(str(data_folder() / name), Path()).documents:
                page = load_grey(document.pictures[0])
                for line in document.lines:
                    left, top, right, bottom = line.box
                    more = round(NEIGHBOURS * (bottom - top))
                    text = canonical(line.text)
                    cut = HardLine(page[top:bottom, left:right], text)
                    image = page[max(top - more, 0) : bottom + more, left:right]
                    found.append(HardLine(image, text, parts=(cut,)))
    return found


def turned(lines: Sequence[HardLine], degrees: float) -> list[HardLine]:
    return [replace(x, image=turn(x.image, degrees), parts=(replace(x, parts=()),)) for x in lines]


# ---- planted losses ----


class Forgetful:
    """An engine whose answers lack some tokens, and what attention looked at for them."""

    def __init__(self, engine: Engine, rng: np.random.Generator):
        self.engine, self.choice, self.threads = engine, engine.choice, engine.threads
        self.max_padding, self._rng = engine.max_padding, rng

    def encode(self, batch: Batch) -> Encoded:
        return self.engine.encode(batch)

    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        found = self.engine.decode(encoded, beam, 1)
        fields = {
            n: getattr(found, n).clone() for n in ("tokens", "length", "log_prob", "position")
        }
        for b, count in enumerate(found.length[:, 0].tolist()):
            lost = int(self._rng.integers(*LOST))
            if count <= lost + 8:
                continue
            first = int(self._rng.integers(0, count - lost))
            for name in ("tokens", "log_prob", "position"):
                row = fields[name][b, 0]
                row[first : count - lost] = row[first + lost : count].clone()
            fields["length"][b, 0] = count - lost
        return replace(found, **fields)

    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        return self.engine.second_opinion(encoded, lines)

    def release(self) -> None:
        self.engine.release()


@dataclass(frozen=True)
class Losses:
    """Lines that lost something, and how many of them say so."""

    what: str
    lines: int
    flagged: int
    surest: float  # the highest confidence of a line without a flag


def losses(what: str, found: Sequence[Line], texts: Sequence[str], least: int) -> Losses:
    """Counts the lines that lack at least so many characters."""
    lacking = [
        line
        for line, text in zip(found, texts, strict=True)
        if line_edits(canonical(text), line.text).deletions >= least
    ]
    silent = [line.confidence for line in lacking if not line.flags]
    return Losses(what, len(lacking), len(lacking) - len(silent), max(silent, default=0.0))


def planted(weights: Weights, hard: HardLines, count: int) -> list[Losses]:
    """Tokens taken out of the decoder's answers, and long lines that are read in one go."""
    lines = [hard.line("plain", 10_000 + i) for i in range(count)]
    texts = [line.text for line in lines]
    engine = Forgetful(make_engine(weights, threads=1), np.random.default_rng(SEED))
    forgotten = Reader(weights, engine=engine).read_batch([line.image for line in lines])
    out = [losses(f"{LOST[0]} to {LOST[1]} tokens forgotten", forgotten, texts, LOST[0])]
    lines = [hard.line(kind, 10_000 + i) for kind in ("250 characters", "joined 4")
             for i in range(count // 4)]  # fmt: skip
    longest, long_lines.LONGEST = long_lines.LONGEST, 10**9
    try:
        whole = Reader(weights, threads=1).read_batch([line.image for line in lines])
    finally:
        long_lines.LONGEST = longest
    out.append(losses("long lines, not cut", whole, [line.text for line in lines], 12))
    return out


# ---- what is printed ----


def number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def table(rows: Sequence[Row]) -> str:
    head = f"{'':<30}{'lines':>6}{'CER':>9}{'no spaces':>11}{'wrong':>8}{'flagged':>9}"
    lines = [f"{head}{'easy':>9}{'times':>7}{'ms/line':>9}"]
    for r in rows:
        lines.append(
            f"{r.kind:<30}{r.lines:>6}{r.cer:>9.2%}{r.cer_without_spaces:>11.2%}"
            f"{r.wrong_lines:>8.1%}{r.flagged:>9}{number(r.easy_cer, '.2%'):>9}"
            f"{number(r.times_easy, '.2f'):>7}{r.ms_a_line:>9.1f}"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hard", description=__doc__)
    parser.add_argument("--weights", help="a weights file (default: the packaged ones)")
    parser.add_argument("--kinds", nargs="+", choices=COUNTS, help="these alone")
    parser.add_argument("--share", type=float, default=1.0, help="of the lines (default 1)")
    parser.add_argument("--trained-fonts", action="store_true", help="in fonts that training draws")
    parser.add_argument("--json", metavar="FILE", help="also write all figures there")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if not announce():
        return 1
    try:
        return run(options)
    except KhmerFastError as error:
        print(f"benchmarks.hard: error: {error}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace) -> int:
    weights = load_weights(options.weights)
    reader = Reader(weights, threads=1)
    hard = HardLines(line_source(held_out=not options.trained_fonts), SEED)

    def some(count: int) -> int:
        return max(2, round(options.share * count))

    rows: list[Row] = []

    def add(kind: str, make: Callable[[], Sequence[HardLine]]) -> None:
        rows.append(measure(reader, kind, make()))
        print(table(rows).splitlines()[-1] if len(rows) > 1 else table(rows), flush=True)

    for kind in options.kinds or COUNTS:
        count = some(COUNTS[kind])
        if kind == "machine-readable" and not hard.ocr_b:
            print(f"{kind} lines: left out, OCR-B is not installed (Debian's fonts-ocr-b)")
            continue
        add(kind, lambda k=kind, n=count: [hard.line(k, i) for i in range(n)])
    if options.kinds:
        return 0
    upright = [hard.line("plain", i) for i in range(some(200))]
    development = development_lines()
    for angle in ANGLES:
        add(f"turned by {angle}", lambda a=angle: turned(upright, a))
        if development:
            add(f"development, by {angle}", lambda a=angle: turned(development, a))
    if development:
        add("development, upright", lambda: development)
        add(f"development, {NEIGHBOURS:g} more", with_neighbours)
    else:
        print("development lines: left out, KHMER_FAST_DATA is not set")
    found = planted(weights, hard, some(500))
    for loss in found:
        print(
            f"{loss.what}: {loss.flagged} of {loss.lines} lines that lost something are flagged; "
            f"the surest of the others has a confidence of {loss.surest:.2f}"
        )
    if options.json:
        record = {
            "machine": machine.describe(),
            "weights": weights.sha256,
            "held_out_fonts": not options.trained_fonts,
            "rows": [asdict(row) | {"times_easy": row.times_easy} for row in rows],
            "losses": [asdict(loss) for loss in found],
        }
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(record, file, ensure_ascii=False, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
