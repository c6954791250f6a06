"""Engines that read labelled lines in turns: what they read, how fast and how well; tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine
from khmer_fast.evaluation.describe import percent
from khmer_fast.evaluation.labels import Label, load_labels
from khmer_fast.evaluation.metrics import LineEdits, Scores, compare, line_edits, summarise
from khmer_fast.text import canonical

BEAM = 5
OURS, GREEDY, CTC, BFLOAT16, FLOAT32 = (
    f"khmer_fast beam {BEAM}", "khmer_fast greedy", "CTC greedy", f"khmer_fast beam {BEAM} bf16",
    f"khmer_fast beam {BEAM} float32",
)  # fmt: skip
BAR = "Tesseract khm+Khmer"
QUICK_LINES = 12  # of each set


@dataclass(frozen=True)
class DataSet:
    name: str
    labels: tuple[Label, ...]

    @property
    def images(self) -> list[Path]:
        return [label.image for label in self.labels]


def load_data_set(path: str, quick: bool) -> DataSet:
    """A data set, or a few of its lines, evenly spaced. Raises KhmerFastError for bad ones."""
    labels = load_labels(path)
    if quick and len(labels) > QUICK_LINES:
        labels = [labels[i * len(labels) // QUICK_LINES] for i in range(QUICK_LINES)]
    place = Path(path).resolve()
    return DataSet(place.parent.name if place.name == "labels.tsv" else place.stem, tuple(labels))


@dataclass(frozen=True)
class Reading:
    """One pass over a data set."""

    texts: tuple[str, ...]
    seconds: float
    cpu_seconds: float  # of all threads
    start_seconds: float = 0.0  # both to be taken off the two above
    start_cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Contender:
    name: str
    read: Callable[[], Reading]
    readings: list[Reading] = field(default_factory=list)

    def take_turn(self) -> None:
        self.readings.append(self.read())


# ---- rows ----


@dataclass(frozen=True)
class Row:
    """One engine on one data set; times are medians, None where the start took longer."""

    engine: str
    lines_per_second: float | None
    characters_per_second: float | None  # of the answer
    cpu_ms_a_line: float | None
    seconds: tuple[float, ...]  # wall time of each round
    start_seconds: float  # taken off
    scores: Scores
    kinds: dict[str, Scores]
    edits: tuple[LineEdits, ...]

    def as_json(self) -> dict[str, Any]:
        out = {k: v for k, v in vars(self).items() if k not in ("scores", "kinds", "edits")}
        kinds = {kind: scores.as_json() for kind, scores in self.kinds.items()}
        return {**out, **self.scores.as_json(), "kinds": kinds}


def make_row(engine: Contender, data: DataSet) -> Row:
    """Scores the first round's texts; the median round is the time."""
    readings = engine.readings
    texts = [canonical(text) for text in readings[0].texts]
    edits = [
        line_edits(canonical(label.text), text)
        for label, text in zip(data.labels, texts, strict=True)
    ]
    groups: dict[str, list[LineEdits]] = {}
    for label, found in zip(data.labels, edits, strict=True):
        if "kind" in label.columns:
            groups.setdefault(label.columns["kind"] or "(none)", []).append(found)
    start = statistics.median(r.start_seconds for r in readings)
    start_cpu = statistics.median(r.start_cpu_seconds for r in readings)
    seconds = statistics.median(r.seconds for r in readings) - start
    cpu_seconds = statistics.median(r.cpu_seconds for r in readings) - start_cpu
    return Row(
        engine=engine.name,
        lines_per_second=len(edits) / seconds if seconds > 0 else None,
        characters_per_second=sum(map(len, texts)) / seconds if seconds > 0 else None,
        cpu_ms_a_line=1000 * cpu_seconds / len(edits) if cpu_seconds > 0 else None,
        seconds=tuple(r.seconds for r in readings),
        start_seconds=start,
        scores=summarise(edits),
        kinds={kind: summarise(group) for kind, group in sorted(groups.items())},
        edits=tuple(edits),
    )


def measure(engines: Sequence[Contender], data: DataSet, rounds: int) -> list[Row]:
    machine.interleaved([engine.take_turn for engine in engines], rounds)
    return [make_row(engine, data) for engine in engines]


@dataclass(frozen=True)
class Ratio:
    """How many times faster A reads than B, and how A's CER lies to B's (paired bootstrap)."""

    a: str
    b: str
    speed: float | None  # by wall time
    cpu: float | None  # by processor time
    cer_difference: float | None  # A - B
    cer_interval: tuple[float, float] | None


def ratios(rows: Sequence[Row]) -> list[Ratio]:
    """Our default against each other engine, and a decoder in bfloat16 against float32."""
    by_name = {row.engine: row for row in rows}
    pairs = [(OURS, name) for name in by_name if name not in (OURS, BFLOAT16)]
    pairs += [(BFLOAT16, FLOAT32 if FLOAT32 in by_name else OURS)] if BFLOAT16 in by_name else []
    out = []
    for a, b in ((by_name[x], by_name[y]) for x, y in pairs):
        paired = compare(b.edits, a.edits) if a.scores.characters else None
        out.append(
            Ratio(
                a.engine,
                b.engine,
                quotient(a.lines_per_second, b.lines_per_second),
                quotient(b.cpu_ms_a_line, a.cpu_ms_a_line),
                paired.difference if paired else None,
                paired.interval if paired else None,
            )
        )
    return out


def quotient(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


# ---- what is printed ----


def number(value: float | None, width: int, digits: int = 1) -> str:
    return f"{'–' if value is None else format(value, f',.{digits}f'):>{width}}"


def set_table(data: DataSet, rows: Sequence[Row]) -> str:
    """Speed and errors of all engines on one set, and CER by kind."""
    name = max(len(row.engine) for row in rows)
    head = (
        f"{'':{name}} {'lines/s':>9} {'chars/s':>9} {'CPU ms/line':>12}  "
        f"{'CER [95 %]':<24}{'cluster errors [95 %]':<25}{'exact lines':>11}"
    )
    lines = [f"{data.name}: {len(data.labels)} lines, {rows[0].scores.characters:,} characters"]
    lines.append(head)
    for row in rows:
        s = row.scores
        lines.append(
            f"{row.engine:{name}} {number(row.lines_per_second, 9)} "
            f"{number(row.characters_per_second, 9, 0)} {number(row.cpu_ms_a_line, 12)}  "
            f"{percent(s.cer, s.interval):<24}"
            f"{percent(s.cluster_error_rate, s.cluster_error_rate_interval):<25}"
            f"{percent(s.exact_lines):>11}"
        )
    kinds = rows[0].kinds
    if kinds:
        width = max(12, *(len(kind) + 1 for kind in kinds))
        lines.append(
            f"{'CER by kind (lines)':{name}} "
            + "".join(
                f"{f'{kind} ({scores.lines})':>{width + 6}}" for kind, scores in kinds.items()
            )
        )
        for row in rows:
            cells = (f"{percent(scores.cer):>{width + 6}}" for scores in row.kinds.values())
            lines.append(f"{row.engine:{name}} {''.join(cells)}")
    return "\n".join(lines)


def ratio_line(found: Ratio) -> str:
    text = (
        f"{found.a} reads {number(found.speed, 0, 2)} times as fast as {found.b} "
        f"({number(found.cpu, 0, 2)} times by processor time)"
    )
    if found.cer_difference is None:
        return text
    low, high = (f"{100 * end:+.2f}" for end in found.cer_interval)
    return f"{text}; CER {100 * found.cer_difference:+.2f} points [{low}, {high}]"
