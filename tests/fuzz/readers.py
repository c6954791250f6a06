"""Fuzzes what reads a stranger's logs, labels, predictions, shards, weights and run folders.

`python -m tests.fuzz.readers TARGET --minutes 1` (all of them: scripts/fuzz.sh). Each input must
end in an answer or in a KhmerFastError, in less than SECONDS and MEMORY_MIB. The inputs of
tests/fuzz/corpus/TARGET and of the target itself are changed byte by byte and spliced; with the
coverage of khmer_fast's lines as a guide, an input that reaches a new line is changed further, and
`--keep` adds it to the corpus if it is small. `--cases N` runs so many instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import random
import signal
import sys
import tempfile
import time
import traceback
import unittest.mock
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from khmer_fast.errors import KhmerFastError
from python_ref.config import ModelConfig, Stage
from tests.fuzz.memory import peak_kib
from tests.fuzz.mutate import changed
from tests.fuzz.structured import STRUCTURED

CORPUS = Path(__file__).parent / "corpus"
DICTIONARIES = Path(__file__).parent / "dictionaries"
PACKAGE = str(Path(__file__).resolve().parents[2] / "khmer_fast")
SECONDS = 10  # of one input, beside other load
MEMORY_MIB = 500
SMALL = 2000  # bytes of an input that is kept


def tokens(target: str) -> tuple[bytes, ...]:
    """Words of a target's format, with Python's escapes one a line of its dictionary."""
    text = (DICTIONARIES / f"{target}.txt").read_text("ascii")
    return tuple(line.encode().decode("unicode_escape").encode("latin-1") for line in text.split())


# ---- targets: bytes in, an answer or a KhmerFastError ----


def logs(data: bytes, folder: Path) -> None:
    from khmer_fast.train.analyze import analyze
    from khmer_fast.train.logs import read_lines, read_run_or_log
    from khmer_fast.train.report import to_json, to_text

    (folder / "log.txt").write_bytes(data)
    try:
        log = read_run_or_log(folder / "log.txt")
    except KhmerFastError:
        log = read_lines(data.decode("utf-8", "replace").splitlines(keepends=True), "log")
    found = analyze(log)
    assert found[-1].topic == "next"
    to_json(log, found).encode()
    assert "\x1b" not in to_text(log, found)


def labels(data: bytes, folder: Path) -> None:
    from khmer_fast.evaluation.labels import scan_labels

    (folder / "labels.tsv").write_bytes(data)
    (folder / "a.gt.txt").write_bytes(data)
    for path in (folder / "labels.tsv", folder):
        _answers(lambda path=path: scan_labels(path))
    (folder / "labels.tsv").unlink()
    _answers(lambda: scan_labels(folder, check_images=False))


def predictions(data: bytes, folder: Path) -> None:
    from khmer_fast.evaluation.evaluate import compare_files
    from khmer_fast.evaluation.predictions import load_predictions

    path = folder / "predictions"
    path.write_bytes(data)
    _answers(lambda: [found.text.encode() for found in load_predictions(path)])
    _answers(lambda: compare_files(str(path), str(path)))


def shards(data: bytes, folder: Path) -> None:
    from khmer_fast.data.dataset import StoredSource, read_lines

    path = folder / "lines.tar"
    path.write_bytes(data)
    _answers(lambda: [line.text for line in read_lines(path, lambda problem: str(problem))])
    _answers(lambda: list(StoredSource(path, on_problem=lambda problem: str(problem)).labels()))


def weights(data: bytes, folder: Path) -> None:
    from khmer_fast.weights import load_weights

    path = folder / "weights"
    path.write_bytes(data)
    _answers(lambda: load_weights(path).calibration())


def runs(data: bytes, folder: Path) -> None:
    from khmer_fast.train.logs import read_run_or_log
    from khmer_fast.train.mend import mend_history, mend_manifest
    from khmer_fast.train.run_folder import RunFolder

    run = RunFolder(folder / "run")
    run.models.mkdir(parents=True)
    first, _, rest = data.partition(b"\n\n")
    run.manifest_path.write_bytes(first)
    (run.path / "history.jsonl").write_bytes(rest)
    (run.path / "history.csv").write_bytes(rest[::2])
    run.config_path.write_bytes(first)
    (run.models / "checkpoint_epoch_001.pth").write_bytes(rest)
    _answers(lambda: read_run_or_log(run.path))
    _answers(run.load_newest)
    with unittest.mock.patch("os.fsync"):  # the disk is not what is tested
        _answers(lambda: mend_manifest(run))
        _answers(lambda: mend_history(run))
    assert run.read_manifest() is not None
    _answers(lambda: read_run_or_log(run.path))


def _answers(call: Callable[[], Any]) -> None:
    try:
        call()
    except KhmerFastError as error:
        assert str(error)


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "logs": logs,
    "labels": labels,
    "predictions": predictions,
    "shards": shards,
    "weights": weights,
    "runs": runs,
}


# ---- inputs to begin with ----


def seeds(target: str) -> list[bytes]:
    """The corpus, and what the target's own writers write."""
    found = [path.read_bytes() for path in sorted((CORPUS / target).glob("*")) if path.is_file()]
    if target == "logs":
        logs_folder = Path(__file__).parents[1] / "logs"
        found += [path.read_bytes() for path in sorted(logs_folder.glob("*.txt"))]
    elif target == "labels":
        found += ["image\ttext\tkind\na.png\tក\tscan\n".encode(), "ក\n".encode()]
    elif target == "predictions":
        found += [
            b'[{"image": "a.png", "text": "b", "confidence": 0.5}]',
            b'{"results": [{"file": "a", "lines": [{"text": "b", "characters": []}]}]}',
            b'{"results": [{"image": "a", "reference": "b", "prediction": "c"}]}',
            b"image\tprediction\tconfidence\na.png\tb\t0.5\n",
        ]
    elif target == "shards":
        found += list(_shard_seeds())
    elif target == "weights":
        found += list(_weight_seeds())
    elif target == "runs":
        found += list(_run_seeds())
    return found


def _shard_seeds() -> Iterator[bytes]:
    import io
    import tarfile

    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for name, content in (("a.png", b"x"), ("a.txt", b"1"), ("a.json", b'{"kind": "b"}')):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        yield file.getvalue()[:6000]


def smallest_config() -> ModelConfig:
    """A model that is as small as one can be."""
    return ModelConfig("tiny", (Stage(1, 8, 2, 0),), 1, 1, A=1, D=1, H=1, V=6, height=8)


@functools.cache
def smallest_model() -> tuple[dict[str, Any], dict[str, Any]]:
    """Its configuration and its tensors by name."""
    import torch

    from python_ref.model import Model

    torch.manual_seed(0)
    config = smallest_config()
    return dataclasses.asdict(config), dict(Model(config).state_dict())


def _weight_seeds() -> Iterator[bytes]:
    import io

    import torch

    from khmer_fast.weights import save_weights

    (fields, state), config = smallest_model(), smallest_config()
    with tempfile.TemporaryDirectory() as folder:
        save_weights(Path(folder) / "w", state, config, "abc", {"calibration": '{"line": [1, 0]}'})
        yield (Path(folder) / "w").read_bytes()
    file = io.BytesIO()
    torch.save({"config": fields, "charset": "abc", "model": state}, file)
    yield file.getvalue()


def _run_seeds() -> Iterator[bytes]:
    from khmer_fast.train.history import to_lines

    manifest = (
        b'{"run": "abc", "version": 1, "files": {"models/best_model.pth": {"size": 5, "sha256": '
        b'"a", "epoch": 1, "step": null, '
        b'"previous": {"size": 4, "sha256": "b", "epoch": 0, "step": 7}}}}'
    )
    records = [
        {"epoch": e, "step": 10 * e, "val_cer": 1 / (e + 1), "end_of_epoch": True} for e in range(9)
    ]
    yield manifest + b"\n\n" + to_lines(records).encode()
    yield b"epochs = 3\n\nepoch,step,val_cer\n1,10,0.5\n2,20,0.4\n"


# ---- the fuzzer ----


@dataclass(frozen=True)
class Finding:
    """An input that went wrong, and how."""

    data: bytes
    what: str


class Coverage:
    """Lines of khmer_fast that were reached, found by Python's own tracing."""

    def __init__(self) -> None:
        self.lines: set[tuple[CodeType, int]] = set()

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        self.lines.add((frame.f_code, frame.f_lineno))
        return self._trace

    def of(self, call: Callable[[], None]) -> int:
        """Calls, and returns how many lines were reached for the first time."""
        before, tracer = len(self.lines), sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        finally:
            sys.settrace(tracer)  # such as pytest-cov's
        return len(self.lines) - before


def run_one(target: str, data: bytes, coverage: Coverage | None = None) -> tuple[str, int]:
    """What went wrong with one input, nothing if it is well, and the lines that it reached anew."""
    new = 0
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(SECONDS)
    before = peak_kib()
    try:
        with tempfile.TemporaryDirectory() as name:
            call = lambda: TARGETS[target](data, Path(name))  # noqa: E731
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if coverage is None:
                    call()
                else:
                    new = coverage.of(call)
    except BaseException:  # all of them are findings
        if sys.exc_info()[0] is KeyboardInterrupt:
            raise
        return traceback.format_exc(), new
    finally:
        signal.alarm(0)
    grown = (peak_kib() - before) >> 10
    return (f"took {grown} MiB" if grown > MEMORY_MIB else ""), new


class TooSlow(BaseException):
    """An input took longer than SECONDS."""


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def fuzz(
    target: str,
    seed: int,
    cases: int = 10**9,
    minutes: float | None = None,
    guided: bool = True,
    pool: list[bytes] | None = None,
    count: Callable[[], Any] = int,
) -> Iterator[Finding]:
    """Runs inputs until `cases` or `minutes` are over; `pool` gets those that reach new lines, and
    `count` is called for each."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    pool = [] if pool is None else pool
    coverage = Coverage() if guided else None
    first = seeds(target)
    for data in first:
        what, _ = run_one(target, data, coverage)
        if what:
            yield Finding(data, what)
    rng = random.Random(seed)
    inputs, words = list(first), tokens(target)
    for _ in range(cases):
        if end is not None and time.monotonic() > end:
            return
        if target in STRUCTURED and rng.random() < 0.5:
            data = STRUCTURED[target](rng)
        else:
            data = changed(rng.choice(inputs), inputs, rng, words)
        what, new = run_one(target, data, coverage)
        count()
        if what:
            yield Finding(data, what)
        elif new and data:
            inputs.append(data)
            pool.append(data)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--cases", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without coverage, faster")
    parser.add_argument("--keep", action="store_true", help="add small inputs that reach new lines")
    parser.add_argument("--input", type=Path, help="run this file alone")
    args = parser.parse_args()
    if args.input:
        what, _ = run_one(args.target, args.input.read_bytes())
        print(what or "well")
        return 1 if what else 0
    begin, findings, pool, seen = time.monotonic(), 0, [], set()
    ran = itertools.count()
    guided, count = not args.plain, functools.partial(next, ran)
    for found in fuzz(args.target, args.seed, args.cases, args.minutes, guided, pool, count):
        findings += 1
        last = found.what.strip().splitlines()[-1]
        if last not in seen:
            seen.add(last)
            path = Path(tempfile.gettempdir()) / f"{args.target}_{len(seen)}"
            path.write_bytes(found.data)
            print(f"{found.what}\n{path}: --input runs it again", flush=True)
    if args.keep:
        folder = CORPUS / args.target
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))
        for data in pool:
            if len(data) <= SMALL:
                (folder / f"{number:03}").write_bytes(data)
                number += 1
    seconds = time.monotonic() - begin
    print(
        f"{args.target}: {next(ran):,} inputs in {seconds:.0f} s, {len(pool)} of them with new "
        f"lines, {findings} findings"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
