"""`python -m benchmarks.rendered`: the packaged model on rendered lines that it never saw.

Character error rates by kind of text and by kind of paper, in fonts that training draws and in
fonts that it never sees (`held_out` in the mixture: text faces, headings and scripts in about the
shares that training has), in float32, and what bfloat16 and int8 change, paired line by line on
`--paired` lines. `--sheet` draws the worst line of each kind of text, with what was read below it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks import machine
from benchmarks.drawn import announce, line_source
from khmer_fast import Reader
from khmer_fast.data import LineSource
from khmer_fast.data.fonts import Face
from khmer_fast.data.sheet import draw_sheet, save_sheet
from khmer_fast.data.source import Sample
from khmer_fast.errors import WeightsError
from khmer_fast.evaluation.metrics import (
    Comparison,
    LineEdits,
    Scores,
    compare,
    line_edits,
    summarise,
)
from khmer_fast.text import canonical

SEED = 4_000_003  # of lines that neither training, validation nor calibration draws
NONSENSE = "clusters"  # random clusters: nobody writes them
KINDS_DRAWN = 12
CHUNK = 1000  # lines


@dataclass(frozen=True)
class Readings:
    samples: Sequence[Sample]
    texts: Sequence[str]
    edits: Sequence[LineEdits]

    def scores(self, chosen: Sequence[int] | None = None) -> Scores:
        return summarise([self.edits[i] for i in chosen] if chosen is not None else self.edits)


def read(reader: Reader, samples: Sequence[Sample]) -> Readings:
    texts = [line.text for line in reader.read_many(sample.image for sample in samples)]
    edits = [line_edits(canonical(s.text), t) for s, t in zip(samples, texts, strict=True)]
    return Readings(samples, texts, edits)


def differences(
    base: Reader, others: dict[str, Reader], source: LineSource, count: int
) -> dict[str, Comparison]:
    """What each of the others changes against `base` on `count` lines, a few of them in memory."""
    edits: dict[str, list[LineEdits]] = {name: [] for name in ("", *others)}
    for start in range(0, count, CHUNK):
        samples = [source.sample(SEED, i) for i in range(start, min(start + CHUNK, count))]
        for name, reader in {"": base, **others}.items():
            edits[name].extend(read(reader, samples).edits)
    return {name: compare(edits[""], edits[name]) for name in others}


def samples_in(face: Face, count: int) -> list[Sample]:
    source = line_source(fonts=(face.path,))
    return [source.sample(SEED, i) for i in range(count)]


def by_part(readings: Readings, part: int) -> dict[str, Scores]:
    """Scores by kind of text (part 0) or of paper (part 1), worst first."""
    lines = defaultdict(list)
    for i, sample in enumerate(readings.samples):
        lines[sample.kind.split("/")[part]].append(i)
    scores = {kind: readings.scores(chosen) for kind, chosen in lines.items()}
    return dict(sorted(scores.items(), key=lambda item: -(item[1].cer or 0)))


def row(name: str, scores: Scores) -> str:
    cer = "" if scores.cer is None else f"{scores.cer:8.2%}"
    interval = "" if scores.interval is None else "[{:.2%}, {:.2%}]".format(*scores.interval)
    return f"{name:<44}{scores.lines:>7}{cer:>10}  {interval:<18}{scores.exact_lines:>8.1%}"


def failures(readings: Readings) -> list[int]:
    """The worst line of each kind of text that people write, the worst kinds first."""
    worst: dict[str, int] = {}
    rate = [x.edits / max(x.characters, 1) for x in readings.edits]
    for i in sorted(range(len(rate)), key=lambda i: -rate[i]):
        kind = readings.samples[i].kind.split("/")[0]
        if kind != NONSENSE and rate[i] > 0:
            worst.setdefault(kind, i)
    return list(islice(worst.values(), KINDS_DRAWN))


def draw(readings: Readings, source: LineSource, path: Path) -> None:
    pictures = [
        (readings.samples[i].image, f"{readings.texts[i]}   ({readings.samples[i].kind})")
        for i in failures(readings)
    ]
    face, latin = source.fonts.groups[0][0], next(iter(source.fonts.latin), None)
    save_sheet(draw_sheet(pictures, face, latin), path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rendered", description=__doc__)
    parser.add_argument("--weights", help="a weights file (default: the packaged ones)")
    parser.add_argument("--lines", type=int, default=5000, help="in each kind of fonts")
    parser.add_argument(
        "--paired", type=int, default=5000, help="lines for bfloat16 and int8 against float32"
    )
    parser.add_argument("--sheet", type=Path, help="draw what is read wrongly to this PNG")
    options = parser.parse_args(argv)

    if not announce():
        return 1
    source, unseen = line_source(), line_source(held_out=True)
    reader = Reader(options.weights, dtype="float32")
    trained = read(reader, [source.sample(SEED, i) for i in range(options.lines)])
    held_out = read(reader, [unseen.sample(SEED, i) for i in range(options.lines)])
    by_font = {
        Path(face.path).name: read(reader, samples_in(face, options.lines // 10)).scores()
        for face in unseen.fonts.faces()
        if face.khmer
    }
    others = {}
    for dtype in ("bfloat16", "int8"):
        try:
            others[dtype] = Reader(options.weights, dtype=dtype)
        except WeightsError as error:  # int8 without scales beside weights of one's own
            print(f"{dtype} is left out: {error}", file=sys.stderr)
    narrow = differences(reader, others, source, options.paired)

    print(json.dumps(machine.describe()))
    print(f"{'':<44}{'lines':>7}{'CER':>10}  {'95 %':<18}{'exact':>8}")
    print(row("all", trained.scores()))
    print(row("fonts never trained on", held_out.scores()))
    print(f"their errors: {held_out.scores().cer / trained.scores().cer:.2f} times as many")
    for dtype, found in narrow.items():
        low, high = found.interval
        print(
            f"{dtype}: {found.difference:+.3%} [{low:+.3%}, {high:+.3%}], {options.paired:,} lines"
        )
    print("\nby font never trained on")
    for font, scores in by_font.items():
        print(row(font, scores))
    parts = {name: by_part(trained, part) for part, name in enumerate(("text", "paper"))}
    for name, scores in parts.items():
        print(f"\nby {name}")
        for kind, of_kind in scores.items():
            print(row(kind, of_kind))
    if options.sheet:
        draw(trained, source, options.sheet)
    print(
        json.dumps(
            {
                "machine": machine.describe(),
                "trained_fonts": trained.scores().as_json(),
                "held_out_fonts": held_out.scores().as_json(),
                **{dtype: found.as_json() for dtype, found in narrow.items()},
                "by": {
                    name: {kind: scores.cer for kind, scores in of_part.items()}
                    for name, of_part in (parts | {"font": by_font}).items()
                },
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
