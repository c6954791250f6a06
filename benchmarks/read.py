"""`python -m benchmarks.read [FOLDER_OR_TSV...]`: image to text beside Tesseract, speed and errors.

Parity comes first: with a beam of 5 and of 1 the fast backend must give what the reference backend
gives on each line, else no speed is printed. Then khmer_fast (as it reads by default, an encoder in
int8; greedily; by the CTC head; all in float32; float32 with a decoder in bfloat16, where the
processor computes in it) and Tesseract take turns on one core; each time is the median of its
rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import machine, tesseract
from benchmarks.drawn import announce, line_source
from benchmarks.line_costs import peak_memory, single_line, stages, stages_line, start_time
from benchmarks.line_rows import (
    BEAM,
    BFLOAT16,
    CTC,
    FLOAT32,
    GREEDY,
    OURS,
    QUICK_LINES,
    Contender,
    DataSet,
    Reading,
    load_data_set,
    measure,
    ratio_line,
    ratios,
    set_table,
)
from khmer_fast.document import Line
from khmer_fast.errors import KhmerFastError
from khmer_fast.recognize.engine import CpuEngine, Encoded, choose, has_fast_bfloat16
from khmer_fast.recognize.reader import Reader
from khmer_fast.weights import Weights, load_weights
from python_ref.beam_search import BeamResult

SEED = 30_000_000  # of drawn lines: none that training draws
DRAWN_LINES = 200  # where no data is given
CONFIDENCE_TOLERANCE = 1e-3  # between backends; log-probabilities agree to 1e-4
TIMER = (
    "Inside the timer, khmer_fast: from opening the first image file to the last text; not loading "
    "the model. Tesseract: its process over a list of images that were scaled and bordered before, "
    "less the time of the same process over one blank image (its start). Files are in the page "
    "cache."
)


# ---- what reads ----


class CtcEngine(CpuEngine):
    """Reads by the CTC head: the likeliest token a position, repeats and blanks dropped."""

    def decode(self, encoded: Encoded, beam: int, n_best: int) -> BeamResult:
        return self.second_opinion(encoded, range(len(encoded.length)))


def ctc_reader(weights: Weights) -> Reader:
    choice = choose("cpu", weights=weights)
    return Reader(weights, beam=1, engine=CtcEngine(weights, choice, choice.dtype, threads=1))


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
        OURS: Reader(weights, beam=BEAM, device="cpu", threads=1),
        GREEDY: Reader(weights, beam=1, device="cpu", threads=1),
        CTC: ctc_reader(weights),
    }
    left_out = []
    if found[OURS].choice.dtype == "float32":
        left_out.append(f"{FLOAT32}: left out, these weights have no scales for int8.")
    else:
        found[FLOAT32] = Reader(weights, beam=BEAM, dtype="float32", threads=1)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 for a red gate or data that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.read",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data", nargs="*", metavar="FOLDER_OR_TSV",
        help=f"labelled lines (default: {DRAWN_LINES} that the renderer draws)",
    )  # fmt: skip
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
        with tempfile.TemporaryDirectory() as folder:
            data = [load_data_set(path, options.quick) for path in options.data]
            if not data:
                if not announce(sys.stderr if options.json_only else sys.stdout):
                    return 1
                data = [drawn_set(Path(folder), QUICK_LINES if options.quick else DRAWN_LINES)]
            return run(data, options)
    except KhmerFastError as error:
        print(f"benchmarks.read: error: {error}", file=sys.stderr)
        return 1


def drawn_set(folder: Path, count: int) -> DataSet:
    """Lines that the renderer draws in fonts that training never sees, as a data set."""
    source = line_source(held_out=True)
    rows = ["image\ttext\tkind"]
    for i in range(count):
        sample = source.sample(SEED, i)
        Image.fromarray(sample.image).save(folder / f"{i:04}.png")
        rows.append(f"{i:04}.png\t{sample.text}\t{sample.kind.split('/')[1]}")
    (folder / "labels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return replace(load_data_set(str(folder), quick=False), name="rendered")


def run(data: Sequence[DataSet], options: argparse.Namespace) -> int:
    rounds = 1 if options.quick else options.rounds

    def show(text: str) -> None:
        if not options.json_only:
            print(text, flush=True)

    weights = load_weights(options.weights)
    ours, left_out = readers(weights)
    models, missing = tesseract_models()
    left_out += missing
    about = {
        **machine.describe(), "tesseract": tesseract.version(), "load": os.getloadavg()[0]
    }  # fmt: skip
    with machine.one_core() as core, tempfile.TemporaryDirectory() as folder:
        about["core"] = core
        show(machine_line(about, weights, rounds, options.quick))
        red = []
        gated = [ours[name] for name in (OURS, GREEDY, FLOAT32) if name in ours]
        for fast in gated:
            dtype = fast.choice.dtype
            reference = Reader(weights, backend="reference", beam=fast.beam, dtype=dtype)
            red += [text for d in data for text in parity_failures(fast, reference, d)]
        if red:
            print("parity is red, no speed is printed:", *red[:5], sep="\n  ", file=sys.stderr)
            return 1
        lines = sum(len(d.labels) for d in data)
        ways = ", ".join(f"beam {fast.beam} {fast.choice.dtype}" for fast in gated)
        show(f"parity: fast is reference on {lines} of {lines} lines, {ways}\n{TIMER}")
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


if __name__ == "__main__":
    sys.exit(main())
