"""`khmer-fast evaluate`: read or take over the text of labelled lines, and score it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from khmer_fast.cli import add_reader_arguments, count, open_reader
from khmer_fast.diagnosis import (
    Calibration,
    Hallucination,
    LineResult,
    Reliability,
    Table,
    calibrate,
    calibration_as_json,
    hallucination,
    hallucination_as_json,
    tables,
    tables_as_json,
)
from khmer_fast.errors import KhmerFastError
from khmer_fast.labels import Label, LabelError, Problem, scan_labels
from khmer_fast.metrics import Comparison, Scores, compare, confusions, line_edits, summarise
from khmer_fast.predictions import Prediction, load_predictions, match_predictions
from khmer_fast.text import DEFAULT_CHARSET, canonical, describe_character


class LineReader(Protocol):
    """What evaluation needs of a reader (khmer_fast.Reader is one)."""

    def read_many(self, images: Iterable[Any], on_error: str) -> Iterator[Any]:
        """A Line, or the error in its place, for each image in turn."""


@dataclass(frozen=True)
class Evaluation:
    """A scored data set: what was read, how well, how fast, and what could not be used."""

    data: str
    reader: dict[str, Any]  # what read the lines, for the record
    results: tuple[LineResult, ...]
    problems: tuple[Problem, ...]  # lines left out
    scores: Scores
    tables: tuple[Table, ...]
    calibration: Calibration | None
    hallucination: Hallucination
    unknown: dict[str, int]  # characters of the references outside the vocabulary
    seconds: float | None = None  # from opening the first image to the last text
    load_seconds: float | None = None

    @property
    def lines_per_second(self) -> float | None:
        """Lines read a second, loading not counted; None where nothing was timed."""
        return len(self.results) / self.seconds if self.seconds else None

    def worst(self, most: int) -> list[LineResult]:
        """The lines with the most edits, most first; lines without any are none of them."""
        wrong = [result for result in self.results if result.edits.edits]
        return sorted(wrong, key=lambda r: (-r.edits.edits, r.edits.characters))[:most]

    def confusions(self, most: int, by_cluster: bool) -> list[tuple[str, str, int]]:
        """The most frequent edits: (reference, prediction, times); an empty string is nothing."""
        found = confusions(
            [result.reference for result in self.results],
            [result.prediction for result in self.results],
            by_cluster,
        )
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [(reference, prediction, times) for (reference, prediction), times in ordered]

    def as_json(self, confusion_count: int = 0, worst_count: int = 0) -> dict[str, Any]:
        """The evaluation under the key names of SPEC section 5, and what goes beyond them."""
        document: dict[str, Any] = {
            **self.scores.as_json(),
            "seconds": self.seconds,
            "lines_per_second": self.lines_per_second,
            "load_seconds": self.load_seconds,
            "data": self.data,
            "reader": self.reader,
            "skipped": [
                {"where": problem.where, "error": problem.reason} for problem in self.problems
            ],
            "unknown_characters": self.unknown,
            "tables": tables_as_json(self.tables),
            "calibration": calibration_as_json(self.calibration),
            "hallucination": hallucination_as_json(self.hallucination),
        }
        if confusion_count:
            document["confusions"] = {
                unit: [
                    {"reference": reference, "prediction": prediction, "count": times}
                    for reference, prediction, times in self.confusions(confusion_count, clusters)
                ]
                for unit, clusters in (("characters", False), ("clusters", True))
            }
        if worst_count:
            document["worst"] = [_result_as_json(result) for result in self.worst(worst_count)]
        document["results"] = [_result_as_json(result) for result in self.results]
        return document


def evaluate(
    data: str,
    labels: Sequence[Label],
    predictions: Sequence[Prediction | Problem],
    problems: Sequence[Problem] = (),
    charset: str = DEFAULT_CHARSET,
    heights: Sequence[int | None] | None = None,
    **facts: Any,
) -> Evaluation:
    """Score one prediction for each label; labels whose prediction is a Problem are left out.

    `heights` are those of the images in pixels; `facts` are further fields of the Evaluation.
    Raises KhmerFastError if no line is left.
    """
    left_out = list(problems)
    results = []
    for i, (label, prediction) in enumerate(zip(labels, predictions, strict=True)):
        if isinstance(prediction, Problem):
            left_out.append(prediction)
            continue
        reference, text = canonical(label.text), canonical(prediction.text)
        results.append(
            LineResult(
                label=label,
                reference=reference,
                prediction=text,
                edits=line_edits(reference, text),
                confidence=prediction.confidence,
                characters=prediction.characters,
                truncated=prediction.truncated,
                height=heights[i] if heights else None,
            )
        )
    if not results:
        raise KhmerFastError(f"{data}: no line could be scored; {len(left_out)} are bad")
    known = set(charset)
    unknown = Counter(c for result in results for c in result.reference if c not in known)
    return Evaluation(
        data=data,
        results=tuple(results),
        problems=tuple(left_out),
        scores=summarise([result.edits for result in results]),
        tables=tuple(tables(results)),
        calibration=calibrate(results),
        hallucination=hallucination(results),
        unknown=dict(unknown.most_common()),
        **{"reader": {}, **facts},
    )


def read_lines(
    reader: LineReader, labels: Sequence[Label], progress: bool = False
) -> tuple[list[Prediction | Problem], list[int | None], float]:
    """Read each label's image: predictions, image heights in pixels, and seconds it took."""
    from tqdm import tqdm

    predictions: list[Prediction | Problem] = []
    heights: list[int | None] = []
    start = time.perf_counter()
    lines = reader.read_many((label.image for label in labels), on_error="return")
    bar = tqdm(lines, total=len(labels), unit="line", disable=not progress, leave=False)
    for label, line in zip(labels, bar, strict=True):
        if isinstance(line, Exception):
            predictions.append(Problem(label.where, str(line)))
            heights.append(None)
            continue
        characters = tuple((part.text, part.confidence) for part in line.characters)
        predictions.append(
            Prediction(label.name, line.text, line.confidence, characters, line.truncated)
        )
        heights.append(line.box[3] - line.box[1])
    return predictions, heights, time.perf_counter() - start


def compare_files(path_a: str, path_b: str) -> Comparison:
    """Compare two answers of `evaluate --json` on the same lines by paired bootstrap.

    Raises KhmerFastError if a file is no such answer, or the lines are not the same.
    """
    lines_a, lines_b = _scored_lines(path_a), _scored_lines(path_b)
    if lines_a.keys() != lines_b.keys():
        only = [len(lines_a.keys() - lines_b.keys()), len(lines_b.keys() - lines_a.keys())]
        raise KhmerFastError(
            f"expected the same lines in both files, got {only[0]} only in {path_a} and {only[1]} "
            f"only in {path_b}: evaluate both on one data set"
        )
    return compare(
        [line_edits(reference, lines_a[image, reference]) for image, reference in lines_a],
        [line_edits(reference, lines_b[image, reference]) for image, reference in lines_a],
    )


def _scored_lines(path: str) -> dict[tuple[str, str], str]:
    """The predictions of an `evaluate --json` answer, by image and reference."""
    try:
        document = json.loads(Path(path).read_bytes())
        return {
            (line["image"], canonical(line["reference"])): canonical(line["prediction"])
            for line in document["results"]
        }
    except OSError as error:
        raise KhmerFastError(f"{path}: cannot be opened: {error.strerror}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise KhmerFastError(
            f"{path}: expected the answer of khmer-fast evaluate --json ({error!r})"
        ) from error


def _result_as_json(result: LineResult) -> dict[str, Any]:
    return {
        "image": result.label.name,
        "reference": result.reference,
        "prediction": result.prediction,
        "edits": result.edits.edits,
        "confidence": result.confidence,
        "truncated": result.truncated,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="a TSV with the columns image and text, or a folder of NAME.png + NAME.gt.txt",
    )
    add_reader_arguments(parser)
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        help="score these texts (TSV or JSON, of any program) instead of reading the images",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out lines that are broken, and say how many, instead of stopping",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A.json", "B.json"),
        help="is one of two --json answers on the same lines better? (paired bootstrap)",
    )
    parser.add_argument(
        "--confusions", type=count, default=0, metavar="N", help="show the N most frequent edits"
    )
    parser.add_argument(
        "--worst", type=count, default=0, metavar="N", help="show the N lines with the most edits"
    )
    parser.add_argument("--html", metavar="FILE", help="write a report to look at in a browser")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Carry the verb out; the exit code. Raises KhmerFastError for what cannot be done."""
    if args.compare:
        comparison = compare_files(*args.compare)
        _print(comparison.as_json() if args.json else describe_comparison(comparison))
        return 0
    if args.data is None:
        args.error("DATA is needed, or --compare A.json B.json")
    if args.html and not Path(args.html).absolute().parent.is_dir():
        raise KhmerFastError(f"{args.html}: its folder does not exist")
    evaluation = _evaluate_data(args)
    try:
        if args.html:
            _write_report(args, evaluation)
    finally:  # a report that cannot be written takes no scores with it
        if args.json:
            _print(evaluation.as_json(args.confusions, args.worst))
        else:
            _print(describe(evaluation, args.confusions, args.worst))
    return 0


def _write_report(args: argparse.Namespace, evaluation: Evaluation) -> None:
    from khmer_fast.report import write_report

    write_report(args.html, evaluation, args.worst or 40, args.confusions or 25)
    print(f"report: {args.html}", file=sys.stderr)


def _evaluate_data(args: argparse.Namespace) -> Evaluation:
    labels, problems = scan_labels(args.data, check_images=not args.predictions)
    _refuse(problems, args.skip_bad)
    if args.predictions:
        predictions = match_predictions(labels, load_predictions(args.predictions))
        _refuse([p for p in predictions if isinstance(p, Problem)], args.skip_bad)
        return evaluate(
            args.data, labels, predictions, problems, reader={"predictions": args.predictions}
        )
    start = time.perf_counter()
    reader = open_reader(args)
    load_seconds = time.perf_counter() - start
    predictions, heights, seconds = read_lines(reader, labels, progress=sys.stderr.isatty())
    _refuse([p for p in predictions if isinstance(p, Problem)], args.skip_bad)
    return evaluate(
        args.data,
        labels,
        predictions,
        problems,
        reader.weights.charset,
        heights,
        seconds=seconds,
        load_seconds=load_seconds,
        reader={
            "weights": str(args.weights or "packaged"),
            "beam": args.beam,
            "device": reader.choice.device,
            "backend": reader.choice.backend,
            "dtype": reader.choice.dtype,
        },
    )


def _refuse(problems: list[Problem], skip_bad: bool) -> None:
    if problems and not skip_bad:
        raise LabelError(problems)
    for problem in problems[:5]:
        print(f"skipped: {problem}", file=sys.stderr)
    if len(problems) > 5:
        print(f"skipped: and {len(problems) - 5} more bad lines", file=sys.stderr)


def _print(answer: dict[str, Any] | str) -> None:
    if isinstance(answer, dict):
        answer = json.dumps(answer, ensure_ascii=False, allow_nan=False)
    print(answer)


def percent(rate: float | None, interval: tuple[float, float] | None = None) -> str:
    """A rate for people: 3.89 % [2.90, 5.12]; a dash where there is none."""
    if rate is None:
        return "–"
    shown = f"{100 * rate:.2f} %"
    return f"{shown} [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]" if interval else shown


def describe_reliability(found: Reliability, unit: str) -> str:
    """The expected calibration error over lines or clusters in words."""
    return (
        f"expected error {percent(found.expected_calibration_error)} over {found.count:,} {unit} "
        f"(perfect confidences would show {percent(found.error_by_chance)})"
    )


def describe_comparison(found: Comparison) -> str:
    """A comparison in words."""
    low, high = (f"{100 * end:+.2f}" for end in found.interval)
    verdict = {
        "a": "A is better",
        "b": "B is better",
        "undecided": "undecided at the 95 % level",
    }[found.verdict]
    return (
        f"A {percent(found.cer_a)}, B {percent(found.cer_b)} CER on {found.lines} lines\n"
        f"B - A {100 * found.difference:+.2f} points [{low}, {high}]: {verdict}; "
        f"B has fewer errors in {100 * found.b_better:.1f} % of the resamples"
    )


def describe(evaluation: Evaluation, confusion_count: int = 0, worst_count: int = 0) -> str:
    """An evaluation as text for a terminal."""
    s = evaluation.scores
    rows = [
        ("lines", f"{s.lines:,} with {s.characters:,} characters"),
        ("CER", percent(s.cer, s.interval)),
        ("", f"{s.substitutions:,} substitutions, {s.deletions:,} deletions, "
             f"{s.insertions:,} insertions"),
        ("clusters", percent(s.cluster_error_rate, s.cluster_error_rate_interval)),
        ("exact lines", percent(s.exact_lines, s.exact_lines_interval)),
        ("without spaces", percent(s.cer_without_spaces, s.cer_without_spaces_interval)),
    ]  # fmt: skip
    if evaluation.lines_per_second:
        rows.append(("speed", f"{evaluation.lines_per_second:.1f} lines/s"))
    if calibration := evaluation.calibration:
        rows.append(("calibration", describe_reliability(calibration.lines, "lines")))
        if calibration.clusters:
            rows.append(("", describe_reliability(calibration.clusters, "clusters")))
        rows.append(
            ("least sure 10 %", f"hold {percent(calibration.share_of_errors_set_aside)} of the "
                                f"errors; CER of the rest {percent(calibration.cer_of_the_rest)}")
        )  # fmt: skip
    h = evaluation.hallucination
    rows.append(
        ("invented", f"{h.blank_lines_with_text} of {h.blank_lines} blank lines got text, "
                     f"{len(h.loops)} lines loop, {len(h.truncated)} never ended")
    )  # fmt: skip
    if evaluation.problems:
        rows.append(("skipped", f"{len(evaluation.problems)} bad lines"))
    if evaluation.unknown:
        named = ", ".join(
            f"{describe_character(c)} {times}x"
            for c, times in list(evaluation.unknown.items())[:10]
        )
        rows.append(("not in the vocabulary", named))
    parts = ["\n".join(f"{name:<16} {value}" for name, value in rows)]
    for table in evaluation.tables:
        lines = [f"{'by ' + table.by:<24} {'lines':>6}  {'CER':<24}  {'exact':>8}"]
        for group, scores in table.rows:
            cer = percent(scores.cer, scores.interval)
            exact = percent(scores.exact_lines)
            lines.append(f"{group[:24]:<24} {scores.lines:>6}  {cer:<24}  {exact:>8}")
        parts.append("\n".join(lines))
    if confusion_count:
        for unit, by_cluster in (("characters", False), ("clusters", True)):
            parts.append(
                f"confusions of {unit} (reference > prediction)\n"
                + "\n".join(
                    f"{times:>6}  {show(reference)} > {show(prediction)}"
                    for reference, prediction, times in evaluation.confusions(
                        confusion_count, by_cluster
                    )
                )
            )
    if worst_count:
        parts.append(
            "worst lines\n"
            + "\n".join(
                f"{result.edits.edits:>6}  {result.label.name}\n"
                f"        {result.reference}\n        {result.prediction}"
                for result in evaluation.worst(worst_count)
            )
        )
    return "\n\n".join(parts)


def show(text: str) -> str:
    """A character or cluster that can be seen: marks on a dotted circle, a space as a box."""
    if not text:
        return "∅"
    if text == " ":
        return "␣"
    first = text[0]
    return f"\u25cc{text}" if "\u17b6" <= first <= "\u17d3" or first == "\u17dd" else text
