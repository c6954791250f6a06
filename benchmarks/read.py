"""`python -m benchmarks.read FOLDER_OR_TSV...`: image to text beside Tesseract, speed and errors.

Parity comes first: with a beam of 5 and of 1 the fast backend must give what the reference backend
gives on each line, else no speed is printed. Then khmer_fast (float32, int8, bfloat16 where the
processor computes with it, greedy search, greedy CTC of the same encoder) and Tesseract take turns
on one core; each time is the median of its rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, tesseract
from khmer_fast.document import Line
from khmer_fast.errors import KhmerFastError, WeightsError
from khmer_fast.evaluation.describe import percent
from khmer_fast.evaluation.labels import Label, load_labels
from khmer_fast.evaluation.metrics import LineEdits, Scores, compare, line_edits, summarise
from khmer_fast.recognize.batch import Batch
from khmer_fast.recognize.engine import (
    CpuEngine,
    Encoded,
    Engine,
    choose,
    has_fast_bfloat16,
    make_engine,
)
from khmer_fast.recognize.reader import Reader
from khmer_fast.text import canonical
from khmer_fast.weights import Weights, load_weights
from python_ref.beam_search import BeamResult

BEAM = 5
OURS, GREEDY, CTC, BFLOAT16, INT8 = (
    f"khmer_fast beam {BEAM}", "khmer_fast greedy", "CTC greedy", f"khmer_fast beam {BEAM} bf16",
    f"khmer_fast beam {BEAM} int8",
)  # fmt: skip
BAR = "Tesseract khm+Khmer"
QUICK_LINES = 12  # of each set
CONFIDENCE_TOLERANCE = 1e-3  # between backends; log-probabilities agree to 1e-4
TIMER = (
    "Inside the timer, khmer_fast: from opening the first image file to the last text; not loading "
    "the model. Tesseract: its process over a list of images that were scaled and bordered before, "
    "less the time of the same process over one blank image (its start). Files are in the page "
    "cache."
)


# ---- what is read ----


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


# ---- what reads ----


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


class CtcEngine(CpuEngine):
    """Reads by the CTC head: the likeliest token a position, repeats and blanks dropped."""

    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        return self.second_opinion(encoded, range(len(encoded.length)))


def ctc_reader(weights: Weights) -> Reader:
    return Reader(weights, beam=1, engine=CtcEngine(weights, choose("cpu"), threads=1))


def reader_engine(name: str, reader: Reader, images: Sequence[Path]) -> Contender:
    def read() -> Reading:
        start, cpu_start = time.perf_counter(), time.process_time()
        lines = reader.read_batch(images)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        return Reading(tuple(line.text for line in lines), seconds, cpu_seconds)

    return Contender(name, read)


def tesseract_engine(name: str, languages: str, listed: Path, blank: Path) -> Contender:
    def read() -> Reading:
        start, run = tesseract.read(blank, languages), tesseract.read(listed, languages)
        return Reading(run.texts, run.seconds, run.cpu_seconds, start.seconds, start.cpu_seconds)

    return Contender(name, read)


def readers(weights: Weights) -> tuple[dict[str, Reader], list[str]]:
    """Our readers by name, of one thread each; a sentence for each that this machine leaves out."""
    found = {
        OURS: Reader(weights, beam=BEAM, dtype="float32", threads=1),
        GREEDY: Reader(weights, beam=1, dtype="float32", threads=1),
        CTC: ctc_reader(weights),
    }
    left_out = []
    try:
        found[INT8] = Reader(weights, beam=BEAM, dtype="int8", threads=1)
    except WeightsError as error:  # no scales beside weights of one's own
        left_out.append(f"{INT8}: left out, {error}.")
    if has_fast_bfloat16():
        found[BFLOAT16] = Reader(weights, beam=BEAM, dtype="bfloat16", threads=1)
    else:
        left_out.append(
            f"{BFLOAT16}: left out, this processor does not compute in bfloat16 (AVX512-BF16)."
        )
    return found, left_out


def tesseract_models() -> tuple[dict[str, str], list[str]]:
    """Tesseract's `-l` arguments by name, and a sentence for each model that is missing."""
    found = tesseract.installed_models()
    missing = [name for name in tesseract.MODELS if name not in found]
    if not missing:
        return found, []
    return found, [
        f"Tesseract {', '.join(missing)}: left out, not installed "
        f"(apt install {tesseract.PACKAGES})."
    ]


# ---- parity ----


def parity_failures(fast: Reader, reference: Reader, data: DataSet) -> list[str]:
    """Lines that the two readers read differently, with what each read."""
    answers = zip(
        data.labels, fast.read_batch(data.images), reference.read_batch(data.images), strict=True
    )
    return [
        f"{data.name} {label.name}, beam {fast.beam}: fast {a.text!r} ({a.confidence:.6f}), "
        f"reference {b.text!r} ({b.confidence:.6f})"
        for label, a, b in answers
        if not same(a, b)
    ]


def same(a: Line, b: Line) -> bool:
    return (
        a.text == b.text
        and a.truncated == b.truncated
        and a.failed == b.failed
        and abs(a.confidence - b.confidence) <= CONFIDENCE_TOLERANCE
    )


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
    """Our default against each other engine, bfloat16 and int8 the other way round."""
    by_name = {row.engine: row for row in rows}
    pairs = [(OURS, name) for name in by_name if name not in (OURS, BFLOAT16, INT8)]
    pairs += [(name, OURS) for name in (BFLOAT16, INT8) if name in by_name]
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


# ---- where the time goes ----


class ProbedEngine:
    """An engine that adds up the processor time of its calls and keeps what it decoded."""

    def __init__(self, engine: Engine):
        self.engine, self.choice, self.threads = engine, engine.choice, engine.threads
        self.max_padding = engine.max_padding
        self.encode_seconds = self.decode_seconds = 0.0
        self.answers: list[BeamResult] = []

    def encode(self, batch: Batch) -> Encoded:
        start = time.process_time()
        encoded = self.engine.encode(batch)
        self.encode_seconds += time.process_time() - start
        return encoded

    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        start = time.process_time()
        self.answers.append(self.engine.decode(encoded, beam, n_best))
        self.decode_seconds += time.process_time() - start
        return self.answers[-1]

    def second_opinion(self, encoded: Encoded, lines: Sequence[int]) -> BeamResult:
        return self.engine.second_opinion(encoded, lines)

    def release(self) -> None:
        self.engine.release()


@dataclass(frozen=True)
class Stages:
    """One pass, one stage after the other: shares of the processor time, and the decoder's work."""

    prepare: float  # file to clean line
    encode: float
    decode: float
    rest: float  # batches, text, confidences
    decode_us_a_step: float  # of one line
    mean_steps: float
    mean_live: float
    mean_parents: float


def stages(weights: Weights, images: Sequence[Path]) -> Stages | None:
    """None where no line has anything to decode."""
    engine = ProbedEngine(make_engine(weights, dtype="float32", threads=1))
    reader = Reader(weights, beam=BEAM, engine=engine)
    start = time.process_time()
    prepared = [reader.prepare(image) for image in images]
    middle = time.process_time()
    reader.read_prepared(prepared)
    end = time.process_time()
    if not engine.answers:
        return None
    steps, live, parents = (
        float(sum(getattr(answer, name).sum() for answer in engine.answers))
        for name in ("steps", "live", "parents")
    )
    lines = sum(len(answer.steps) for answer in engine.answers)
    total = end - start
    encode, decode = engine.encode_seconds, engine.decode_seconds
    return Stages(
        prepare=(middle - start) / total,
        encode=encode / total,
        decode=decode / total,
        rest=(end - middle - encode - decode) / total,
        decode_us_a_step=1e6 * decode / steps,
        mean_steps=steps / lines,
        mean_live=live / steps,
        mean_parents=parents / steps,
    )


@dataclass(frozen=True)
class SingleLine:
    """The same line read alone, again and again."""

    image: str
    reads: int
    p50_ms: float
    p99_ms: float


def single_line(reader: Reader, data: Sequence[DataSet], reads: int) -> SingleLine:
    """Times the line whose text is of median length."""
    labels = sorted((x for d in data for x in d.labels), key=lambda x: (len(x.text), x.name))
    label = labels[len(labels) // 2]
    times = machine.interleaved([lambda: reader.read(label.image)], reads)[0]
    return SingleLine(
        label.name, reads, 1e3 * statistics.median(times), 1e3 * float(np.quantile(times, 0.99))
    )


# ---- other processes ----

_PEAK_MEMORY = """
import contextlib, json, os, sys, torch
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
before = peak()
from khmer_fast.cli import main
weights, images = json.load(sys.stdin)
with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
    code = main(["read", "--threads", "1", "--weights", weights, *images])
print(before, peak(), file=sys.stderr)
sys.exit(code)
"""


def in_repository(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a Python process that finds this khmer_fast; raises KhmerFastError if it fails."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, encoding="utf-8", **options,
    )  # fmt: skip
    if done.returncode:
        raise KhmerFastError(f"python {command[0]} ... failed: {done.stderr.strip()[-500:]}")
    return done


@dataclass(frozen=True)
class Memory:
    """Peak resident memory in MB of `khmer-fast read` over all lines."""

    torch_import: float
    reading: float

    @property
    def above(self) -> float:
        return self.reading - self.torch_import


def peak_memory(weights: Path, data: Sequence[DataSet]) -> Memory | None:
    """None where the system does not tell it (/proc)."""
    status = Path("/proc/self/status")
    if not status.exists() or "VmHWM" not in status.read_text():
        return None
    images = [str(image.resolve()) for d in data for image in d.images]
    done = in_repository(["-c", _PEAK_MEMORY], input=json.dumps([str(weights.resolve()), images]))
    before, after = done.stderr.split()[-2:]
    return Memory(float(before), float(after))


@dataclass(frozen=True)
class Start:
    """Seconds from process start to its end, medians."""

    read_one_line: float
    import_torch: float


def start_time(weights: Path, image: Path, rounds: int) -> Start:
    read = ["-m", "khmer_fast", "read", "--weights", str(weights.resolve()), str(image.resolve())]
    times = machine.interleaved(
        [lambda: in_repository(read), lambda: in_repository(["-c", "import torch"])], rounds
    )
    return Start(*map(statistics.median, times))


@contextmanager
def one_core() -> Iterator[int | None]:
    """All threads of this process, and what it starts, on its idlest core; gives its number.

    None, and no such promise, where the system cannot do it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if not hasattr(os, "sched_setaffinity") or not Path("/proc/self/task").exists():
            yield None
            return
        allowed = os.sched_getaffinity(0)
        core = idlest_core(allowed)
        _move_threads({core})
        try:
            yield core
        finally:
            _move_threads(allowed)
    finally:
        torch.set_num_threads(threads)


def idlest_core(cores: set[int], seconds: float = 0.5) -> int:
    """The core that had the least to do for a while, so that no other load decides the figures."""
    before = _idle_ticks()
    time.sleep(seconds)
    after = _idle_ticks()
    return max(cores, key=lambda core: (after.get(core, 0) - before.get(core, 0), core))


def _idle_ticks() -> dict[int, int]:
    rows = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    return {int(row[0][3:]): int(row[4]) for row in rows if row and row[0][3:].isdigit()}


def _move_threads(cores: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:  # it ended meanwhile
            continue


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


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 for a red gate or data that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.read",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="+", metavar="FOLDER_OR_TSV", help="labelled lines")
    parser.add_argument("--weights", metavar="FILE", help="instead of the packaged ones")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_LINES} lines of each set, one round"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each engine (default 3)")
    parser.add_argument("--json-only", action="store_true", help="print the JSON document only")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    try:
        return run(options)
    except KhmerFastError as error:
        print(f"benchmarks.read: error: {error}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace) -> int:
    rounds = 1 if options.quick else options.rounds

    def show(text: str) -> None:
        if not options.json_only:
            print(text, flush=True)

    data = [load_data_set(path, options.quick) for path in options.data]
    weights = load_weights(options.weights)
    ours, left_out = readers(weights)
    models, missing = tesseract_models()
    left_out += missing
    about = {
        **machine.describe(), "tesseract": tesseract.version(), "load": os.getloadavg()[0]
    }  # fmt: skip
    with one_core() as core, tempfile.TemporaryDirectory() as folder:
        about["core"] = core
        show(machine_line(about, weights, rounds, options.quick))
        red = []
        for fast in (ours[OURS], ours[GREEDY]):
            reference = Reader(weights, backend="reference", beam=fast.beam)
            red += [text for d in data for text in parity_failures(fast, reference, d)]
        if red:
            print("parity is red, no speed is printed:", *red[:5], sep="\n  ", file=sys.stderr)
            return 1
        lines = sum(len(d.labels) for d in data)
        show(f"parity: fast is reference on {lines} of {lines} lines, beam {BEAM} and 1\n{TIMER}")
        show("\n".join(left_out) + "\n" if left_out else "")
        sets = []
        for i, d in enumerate(data):
            place = Path(folder, str(i))
            place.mkdir()
            rows = measure(engines(d, ours, models, place), d, rounds)
            found = ratios(rows)
            where = stages(weights, d.images)
            show(set_table(d, rows))
            show("\n".join(map(ratio_line, found)))
            show(stages_line(where) + "\n" if where else "")
            sets.append(
                {
                    "data": d.name,
                    "lines": len(d.labels),
                    "rows": [row.as_json() for row in rows],
                    "ratios": [asdict(ratio) for ratio in found],
                    "stages": asdict(where) if where else None,
                }
            )
        single = single_line(ours[OURS], data, 20 if options.quick else 200)
        memory = peak_memory(Path(weights.path), data)
        start = start_time(Path(weights.path), data[0].labels[0].image, rounds)
    show(
        f"one line alone ({single.image}, {single.reads} times): p50 {single.p50_ms:.1f} ms, "
        f"p99 {single.p99_ms:.1f} ms, {single.p99_ms / single.p50_ms:.2f} times"
    )
    if memory:
        show(
            f"peak memory of khmer-fast read over all lines: {memory.above:.0f} MB above torch's "
            f"import ({memory.torch_import:.0f} MB)"
        )
    show(
        f"khmer-fast read of one line, process start to end: {start.read_one_line:.2f} s; "
        f"import torch: {start.import_torch:.2f} s\n"
    )
    print(
        json.dumps(
            {
                "machine": about,
                "weights": {"sha256": weights.sha256, "configuration": weights.config.name},
                "quick": options.quick,
                "rounds": rounds,
                "inside_the_timer": TIMER,
                "parity": {"lines": lines, "beams": [BEAM, 1], "differ": 0},
                "left_out": left_out,
                "sets": sets,
                "single_line": asdict(single),
                "memory_mb": {**asdict(memory), "above": memory.above} if memory else None,
                "start_seconds": asdict(start),
            },
            ensure_ascii=False,
            allow_nan=False,
        )
    )
    return 0


def engines(
    data: DataSet, ours: dict[str, Reader], models: dict[str, str], folder: Path
) -> list[Contender]:
    out = [reader_engine(name, reader, data.images) for name, reader in ours.items()]
    if models:
        listed, blank = tesseract.prepare(data.images, folder), tesseract.prepare_blank(folder)
        out += [
            tesseract_engine(f"Tesseract {name}", languages, listed, blank)
            for name, languages in models.items()
        ]
    for engine in out[: len(ours)]:
        engine.read()  # warms up what the parity gate has not
    return out


def machine_line(about: dict[str, Any], weights: Weights, rounds: int, quick: bool) -> str:
    core = "threads not bound to a core" if about["core"] is None else f"core {about['core']}"
    return (
        f"{about['processor']}, {about['cores']} cores, {about['instruction_set']}, torch "
        f"{about['torch']}, Tesseract {about['tesseract'] or 'missing'}; one thread, {core}, "
        f"load {about['load']:.1f} before; weights {weights.config.name} {weights.sha256[:12]}; "
        f"{rounds} rounds{', quick: these are no figures' if quick else ''}"
    )


def stages_line(where: Stages) -> str:
    shares = ", ".join(
        f"{name} {100 * getattr(where, name):.0f} %"
        for name in ("prepare", "encode", "decode", "rest")
    )
    return (
        f"{OURS}, where the time goes: {shares}; decoder {where.decode_us_a_step:.0f} us a "
        f"line-step, a line has {where.mean_steps:.1f} steps with {where.mean_live:.2f} live "
        f"hypotheses and {where.mean_parents:.2f} unique parents"
    )


if __name__ == "__main__":
    sys.exit(main())
