"""Evaluations in words, for a terminal."""

from __future__ import annotations

from khmer_fast.errors import printable
from khmer_fast.evaluation.diagnosis import Reliability
from khmer_fast.evaluation.evaluate import Evaluation
from khmer_fast.evaluation.metrics import Comparison
from khmer_fast.text import describe_character


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
            lines.append(f"{printable(group)[:24]:<24} {scores.lines:>6}  {cer:<24}  {exact:>8}")
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
                f"{result.edits.edits:>6}  {printable(result.label.name)}\n"
                f"        {printable(result.reference)}\n        {printable(result.prediction)}"
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
    first, text = text[0], printable(text)
    return f"\u25cc{text}" if "\u17b6" <= first <= "\u17d3" or first == "\u17dd" else text
