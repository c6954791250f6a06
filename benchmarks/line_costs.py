"""Where a reader's time goes, one line alone, memory, and the start of the command."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.line_floors import Floors, floors
from benchmarks.line_rows import BEAM, FLOAT32, DataSet
from khmer_fast.errors import KhmerFastError
from khmer_fast.recognize.batch import Batch
from khmer_fast.recognize.engine import Encoded, Engine, make_engine
from khmer_fast.recognize.reader import Reader
from khmer_fast.weights import Weights
from python_ref.beam_search import BeamResult


class ProbedEngine:
    """An engine that adds up the processor time of its calls and keeps what it decoded."""

    def __init__(self, engine: Engine):
        self.engine, self.choice, self.threads = engine, engine.choice, engine.threads
        self.max_padding = engine.max_padding
        self.encode_seconds = self.decode_seconds = 0.0
        self.answers: list[BeamResult] = []
        self.widths: list[int] = []  # pixels of each line
        self.positions: list[int] = []  # of each batch

    def encode(self, batch: Batch) -> Encoded:
        start = time.process_time()
        encoded = self.engine.encode(batch)
        self.encode_seconds += time.process_time() - start
        self.widths += batch.width.tolist()
        self.positions.append(encoded.memory.shape[1])
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
    ms_a_line: float  # of processor time, all parts
    floors: Floors


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
        ms_a_line=1e3 * total / len(images),
        floors=floors(
            weights.config,
            images,
            engine.widths,
            list(zip(engine.answers, engine.positions, strict=True)),
        ),
    )


def stages_line(where: Stages) -> str:
    parts = []
    for name in ("prepare", "encode", "decode", "rest"):
        share = getattr(where, name)
        part = f"{name} {share * where.ms_a_line:.2f} ms ({100 * share:.0f} %"
        floor = getattr(where.floors, name, None)  # the rest has none: it may be nothing
        parts.append(part + (")" if floor is None else f", floor {floor:.2f})"))
    return (
        f"{FLOAT32}, where the time of a line goes: {', '.join(parts)}; floors at "
        f"{where.floors.peak_gflops:.0f} GFLOP/s, of prepare Pillow's decoding alone; decoder "
        f"{where.decode_us_a_step:.0f} us a line-step, a line has "
        f"{where.mean_steps:.1f} steps with {where.mean_live:.2f} live "
        f"hypotheses and {where.mean_parents:.2f} unique parents"
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
