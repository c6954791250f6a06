"""An evaluation as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from khmer_fast.atomic import write_result
from khmer_fast.errors import ImageError, KhmerFastError, printable
from khmer_fast.evaluation.describe import describe_reliability, percent, show
from khmer_fast.evaluation.diagnosis import (
    Calibration,
    Hallucination,
    LineResult,
    Reliability,
    Table,
)
from khmer_fast.evaluation.evaluate import Evaluation
from khmer_fast.evaluation.metrics import align
from khmer_fast.text import describe_character

STYLE = Path(__file__).parents[1] / "data_files" / "report.css"
IMAGE_HEIGHT = 72  # pixels at most; shown at two thirds of it
IMAGE_WIDTH = 3000
SHOWN_PROBLEMS = 50
LONG_TABLE = 10  # rows above which a table takes the full width
EDIT_NAMES = {"replace": "substitution", "delete": "deletion", "insert": "insertion"}
CER_STEPS = (0.0, 0.01, 0.02, 0.05, 0.10, 0.20, 0.50)


def write_report(
    path: str | Path, evaluation: Evaluation, worst: int = 40, confusion_count: int = 40
) -> None:
    """Write the report with the images of the `worst` lines; raises KhmerFastError if it cannot,
    and a report that was there before still is."""
    write_html(path, render_report(evaluation, worst, confusion_count))


def write_html(path: str | Path, html: str) -> None:
    """Write a report as a whole; raises KhmerFastError if it cannot, the old one still there."""
    try:
        write_result(path, html.encode("utf-8", "backslashreplace"))
    except OSError as error:
        reason = error.strerror
        raise KhmerFastError(f"{printable(path)}: cannot be written: {reason}") from error


def render_report(evaluation: Evaluation, worst: int, confusion_count: int) -> str:
    """The report's HTML."""
    sections = [
        _header(evaluation),
        _overview(evaluation),
        _tables(evaluation.tables),
        _calibration(evaluation.calibration) if evaluation.calibration else "",
        _hallucination(evaluation.hallucination),
        _confusions(evaluation, confusion_count),
        _worst(evaluation, worst),
        _left_out(evaluation),
    ]
    return html_document(_title(evaluation), sections)


def html_document(title: str, sections: Sequence[str]) -> str:
    """A whole HTML document of sections, in the reports' style."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


def _title(evaluation: Evaluation) -> str:
    path = Path(evaluation.data)
    name = path.parent.name if path.name == "labels.tsv" else path.name
    return f"Khmer OCR on {printable(name or path.absolute().name)}"


def _header(evaluation: Evaluation) -> str:
    facts = [f"data {printable(evaluation.data)}"]
    facts += [f"{name} {printable(value)}" for name, value in evaluation.reader.items()]
    facts.append(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    return (
        f"<header><h1>{escape(_title(evaluation))}</h1>"
        f'<p class="quiet">{escape(" · ".join(facts))}</p></header>'
    )


def _overview(evaluation: Evaluation) -> str:
    s = evaluation.scores
    cards = [
        ("character error rate", percent(s.cer), _between(s.interval)),
        (
            "cluster error rate",
            percent(s.cluster_error_rate),
            _between(s.cluster_error_rate_interval),
        ),
        ("exact lines", percent(s.exact_lines), _between(s.exact_lines_interval)),
        (
            "CER without spaces",
            percent(s.cer_without_spaces),
            _between(s.cer_without_spaces_interval),
        ),
        ("lines", f"{s.lines:,}", f"{s.characters:,} characters"),
    ]
    if evaluation.lines_per_second:
        note = f"{evaluation.seconds:.1f} s for all"
        cards.append(("lines a second", f"{evaluation.lines_per_second:.1f}", note))
    if evaluation.problems:
        cards.append(("lines left out", f"{len(evaluation.problems):,}", "see the end"))
    items = "".join(
        f'<li><span class="quiet">{escape(name)}</span><b>{escape(value)}</b>'
        f'<span class="quiet">{escape(note)}</span></li>'
        for name, value, note in cards
    )
    return (
        f'<ul class="cards">{items}</ul>'
        '<p class="quiet">Ranges are 95 % bootstrap intervals over lines; texts are compared in '
        "canonical form.</p>"
        f'<div class="columns">{_edit_kinds(evaluation)}{_histogram(evaluation.results)}</div>'
    )


def _between(interval: tuple[float, float] | None) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %" if interval else ""


def _edit_kinds(evaluation: Evaluation) -> str:
    s = evaluation.scores
    counts = {"replace": s.substitutions, "delete": s.deletions, "insert": s.insertions}
    bar = "".join(
        f'<span class="solid {tag}" style="flex:{count}"></span>'
        for tag, count in counts.items()
        if count
    )
    words = ", ".join(
        f'<span class="key {tag}">{count:,} {EDIT_NAMES[tag]}{"s" * (count != 1)}</span>'
        for tag, count in counts.items()
    )
    return f'<div><h3>Edits</h3><div class="split">{bar}</div><p>{words}</p></div>'


def _histogram(results: Sequence[LineResult]) -> str:
    """Lines by their own character error rate."""
    names = ["exact"]
    names += [f"to {100 * high:.0f} %" for _, high in zip(CER_STEPS, CER_STEPS[1:], strict=False)]
    names.append(f"over {100 * CER_STEPS[-1]:.0f} %")
    counts = [0] * len(names)
    for result in results:
        rate = result.edits.edits / max(1, result.edits.characters)
        counts[sum(rate > step for step in CER_STEPS)] += 1
    most = max(counts)
    width, bar_height = 46, 110
    bars = "".join(
        f'<rect class="fill" x="{i * width + 4}" y="{20 + bar_height * (1 - count / most):.1f}" '
        f'width="{width - 8}" height="{bar_height * count / most:.1f}"/>'
        f'<text x="{(i + 0.5) * width}" y="{14 + bar_height * (1 - count / most):.1f}" '
        f'text-anchor="middle">{count}</text>'
        f'<text x="{(i + 0.5) * width}" y="{bar_height + 36}" text-anchor="middle" '
        f'style="font-size:10px">{escape(name)}</text>'
        for i, (name, count) in enumerate(zip(names, counts, strict=True))
    )
    view = f"0 0 {width * len(names)} {bar_height + 42}"
    return (
        f"<figure><h3>Lines by their error rate</h3>"
        f'<svg viewBox="{view}" role="img" aria-label="histogram of lines by error rate">'
        f"{bars}</svg></figure>"
    )


def _tables(tables: Sequence[Table]) -> str:
    return "<h2>Where the errors are</h2>" + (
        f'<div class="columns">{"".join(_table(table) for table in tables)}</div>'
    )


def _table(table: Table) -> str:
    top = max(
        [scores.interval[1] for _, scores in table.rows if scores.interval] + [1e-9],
    )
    rows = "".join(
        f'<tr><td class="name">{escape(printable(group))}</td><td>{scores.lines:,}</td>'
        f"<td>{percent(scores.cer)}</td><td>{percent(scores.exact_lines)}</td>"
        f'<td class="bar">{_rate_bar(scores.cer, scores.interval, top)}</td></tr>'
        for group, scores in table.rows
    )
    unit = {"length": "characters", "height": "pixels"}.get(table.by, table.by)
    wide = ' class="wide"' if len(table.rows) > LONG_TABLE else ""
    return (
        f"<div{wide}><h3>By {escape(table.by)}</h3><table><thead><tr><th>{escape(unit)}</th>"
        f"<th>lines</th><th>CER</th><th>exact</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _rate_bar(rate: float | None, interval: tuple[float, float] | None, top: float) -> str:
    """A bar of the rate with its interval as a whisker; the full width is `top`."""
    if rate is None or interval is None:
        return ""
    low, middle, high = (200 * value / top for value in (interval[0], rate, interval[1]))
    return (
        '<svg viewBox="0 0 202 14" preserveAspectRatio="none" style="height:14px" '
        f'aria-hidden="true"><rect class="fill" y="2" width="{middle:.1f}" height="10" '
        f'opacity=".55"/><path class="whisker" vector-effect="non-scaling-stroke" '
        f'd="M{low:.1f} 7H{high:.1f}M{low:.1f} 4V10M{high:.1f} 4V10"/></svg>'
    )


def _calibration(found: Calibration) -> str:
    words = [f"Calibration: {describe_reliability(found.lines, 'lines')}"]
    if found.clusters:
        words.append(describe_reliability(found.clusters, "clusters"))
    aside = (
        f"The least sure {found.set_aside:,} lines hold "
        f"{percent(found.share_of_errors_set_aside)} of the errors; "
        f"without them the CER is {percent(found.cer_of_the_rest)}."
    )
    return (
        f"<h2>Confidence</h2><p>{', and '.join(words)}. {aside}</p>"
        f'<div class="columns">{_reliability_plot(found.lines, found.clusters)}'
        f"{_coverage_plot(found.curve)}</div>"
    )


PLOT = (40, 10, 300, 200)  # left, top, width, height of the plotting area in SVG units


def _frame(x_name: str, x_ticks: Sequence[str], y_ticks: Sequence[str]) -> str:
    """Axes with evenly spaced ticks; the y axis is named above the plot."""
    left, top, width, height = PLOT
    parts = [f'<path class="axis" d="M{left} {top}V{top + height}H{left + width}"/>']
    for i, tick in enumerate(x_ticks):
        x = left + width * i / (len(x_ticks) - 1)
        parts.append(
            f'<text x="{x:.0f}" y="{top + height + 16}" text-anchor="middle">{tick}</text>'
        )
    for i, tick in enumerate(y_ticks):
        y = top + height * (1 - i / (len(y_ticks) - 1))
        parts.append(f'<path class="axis" d="M{left} {y:.1f}h{width}" opacity=".5"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{tick}</text>')
    parts.append(
        f'<text x="{left + width / 2}" y="{top + height + 34}" text-anchor="middle">'
        f"{escape(x_name)}</text>"
    )
    return "".join(parts)


def _reliability_plot(lines: Reliability, clusters: Reliability | None) -> str:
    left, top, width, height = PLOT
    shares = ("0", "20", "40", "60", "80", "100")
    parts = [
        _frame("confidence, %", shares, shares),
        f'<path class="axis" stroke-dasharray="4 4" d="M{left} {top + height}l{width} {-height}"/>',
    ]
    for found, extra in ((clusters, " second"), (lines, "")):
        if found is None:
            continue
        places = [
            (left + width * confidence, top + height * (1 - right), count)
            for confidence, right, count in found.bins
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
        parts.append(f'<path class="curve{extra}" d="M{path}"/>')
        parts += [
            f'<circle class="fill{extra}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{3 + 5 * (count / found.count) ** 0.5:.1f}"><title>{count:,}</title></circle>'
            for x, y, count in places
        ]
    key = '<span style="color:var(--accent)">●</span> lines'
    if clusters:
        key += ' <span style="color:var(--replace-line)">●</span> clusters'
    return (
        f'<figure><h3>Reliability</h3><p class="quiet">right, %</p>'
        f'<svg viewBox="0 0 350 250" role="img" aria-label="reliability curve">{"".join(parts)}'
        f'</svg><p class="quiet">{key}; the dashed line is perfect, a larger dot holds more.</p>'
        "</figure>"
    )


def _coverage_plot(curve: Sequence[tuple[float, float]]) -> str:
    left, top, width, height = PLOT
    highest = max([rate for _, rate in curve] + [0.001])
    y_ticks = [f"{100 * highest * i / 4:.1f}" for i in range(5)]
    shares = ("0", "20", "40", "60", "80", "100")
    frame = _frame("share of the lines kept, surest first, %", shares, y_ticks)
    path = "L".join(
        f"{left + width * kept:.1f} {top + height * (1 - rate / highest):.1f}"
        for kept, rate in curve
    )
    return (
        "<figure><h3>Error rate when unsure lines are set aside</h3>"
        '<p class="quiet">CER of the kept lines, %</p>'
        f'<svg viewBox="0 0 350 250" role="img" aria-label="error rate by share of lines kept">'
        f'{frame}<path class="curve" d="M{path}"/></svg></figure>'
    )


def _hallucination(found: Hallucination) -> str:
    rate = (
        f" ({found.insertions_per_1000:.1f} for 1,000 characters of the references)"
        if found.insertions_per_1000 is not None
        else ""
    )
    facts = [
        f"{found.insertions:,} inserted characters{rate}",
        f"{found.blank_lines_with_text:,} of {found.blank_lines:,} blank lines got text, "
        f"{found.characters_on_blank_lines:,} characters in all",
        f"{len(found.loops):,} lines repeat what does not repeat on paper" + _named(found.loops),
        f"{len(found.truncated):,} lines never ended" + _named(found.truncated),
    ]
    items = "".join(f"<li>{fact}</li>" for fact in facts)
    return f"<h2>Invented text</h2><ul>{items}</ul>"


def _named(results: Sequence[LineResult]) -> str:
    names = [escape(printable(result.label.name)) for result in results[:8]]
    if len(results) > len(names):
        names.append("…")
    return f': <span class="quiet">{", ".join(names)}</span>' if names else ""


def _confusions(evaluation: Evaluation, count: int) -> str:
    halves = "".join(
        f"<div><h3>By {unit}</h3>{_confusion_table(evaluation.confusions(count, by_cluster))}</div>"
        for unit, by_cluster in (("character", False), ("cluster", True))
    )
    return f'<h2>Confusions</h2><div class="columns">{halves}</div>'


def _confusion_table(found: Sequence[tuple[str, str, int]]) -> str:
    if not found:
        return "<p>none</p>"
    rows = "".join(
        f'<tr><td class="pair" lang="km">{escape(show(reference))}</td>'
        f'<td class="pair" lang="km">{escape(show(prediction))}</td><td>{times:,}</td></tr>'
        for reference, prediction, times in found
    )
    return (
        '<table class="pairs"><thead><tr><th>on paper</th><th>read as</th><th>times</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _worst(evaluation: Evaluation, count: int) -> str:
    lines = evaluation.worst(count)
    if not lines:
        return "<h2>Worst lines</h2><p>Every line is exact.</p>"
    legend = " ".join(
        f'<span class="key {tag}">{EDIT_NAMES[tag]}</span>'
        for tag in ("replace", "delete", "insert")
    )
    items = "".join(_worst_line(result) for result in lines)
    return (
        f"<h2>Worst lines</h2><p>Reference above, prediction below. {legend}</p>"
        f'<ol class="worst">{items}</ol>'
    )


def _worst_line(result: LineResult) -> str:
    facts = [printable(result.label.name), f"{result.edits.edits} edits"]
    if result.edits.characters:
        facts.append(f"CER {percent(result.edits.edits / result.edits.characters)}")
    if result.confidence is not None:
        facts.append(f"confidence {100 * result.confidence:.0f} %")
    if result.truncated:
        facts.append("never ended")
    return (
        f'<li><div class="quiet">{escape(" · ".join(facts))}</div>{_image(result)}'
        f'<div class="aligned" lang="km">{aligned(result.reference, result.prediction)}</div></li>'
    )


def aligned(reference: str, prediction: str) -> str:
    """Two texts below each other, cluster by cluster, their edits marked."""
    columns = ['<span class="side" lang="en"><span>paper</span><span>read</span></span>']
    for tag, a, b in align(reference, prediction):
        if tag == "equal":
            text = escape(a)
            columns.append(f"<span><span>{text}</span><span>{text}</span></span>")
        else:
            upper, lower = (escape(show(side)) if side else "" for side in (a, b))
            columns.append(f'<span class="{tag}"><span>{upper}</span><span>{lower}</span></span>')
    return "".join(columns)


def _image(result: LineResult) -> str:
    """The line's image inlined as a small JPEG."""
    from khmer_fast.files.images import load_grey

    try:
        image = Image.fromarray(load_grey(result.label.image))
    except ImageError as error:
        return f'<p class="quiet">no image: {escape(str(error))}</p>'
    scale = min(1.0, IMAGE_HEIGHT / image.height, IMAGE_WIDTH / image.width)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return jpeg(image.resize(size, Image.Resampling.LANCZOS), "the line's image")


def jpeg(image: Image.Image, what: str) -> str:
    """A picture inlined as a JPEG; `what` it shows."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    encoded = base64.b64encode(data.getvalue()).decode("ascii")
    return (
        f'<div class="strip"><img width="{image.width}" height="{image.height}" '
        f'alt="{escape(what)}" src="data:image/jpeg;base64,{encoded}"></div>'
    )


def _left_out(evaluation: Evaluation) -> str:
    parts = []
    if evaluation.problems:
        shown = evaluation.problems[:SHOWN_PROBLEMS]
        items = "".join(f"<li>{escape(str(problem))}</li>" for problem in shown)
        more = len(evaluation.problems) - len(shown)
        items += f"<li>and {more:,} more</li>" if more else ""
        parts.append(f'<h2>Lines left out</h2><ul class="quiet">{items}</ul>')
    if evaluation.unknown:
        items = "".join(
            f"<li>{escape(describe_character(character))}: {times:,}</li>"
            for character, times in evaluation.unknown.items()
        )
        parts.append(
            f"<h2>Characters outside the vocabulary</h2><p>They count as edits.</p><ul>{items}</ul>"
        )
    return "".join(parts)
