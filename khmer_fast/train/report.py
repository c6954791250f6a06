"""The report of `khmer-fast analyze`: findings as text, JSON and HTML."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from khmer_fast.errors import printable
from khmer_fast.train.analysis.finding import Finding
from khmer_fast.train.run_log import RunLog

TOPICS = {
    "log": "The log",
    "loss": "Loss",
    "cer": "Character error rate",
    "attention": "Attention",
    "checkpoints": "Checkpoints and backups",
    "speed": "Speed",
    "next": "What to do",
}
_PARTS = (
    ("observation", ""),
    ("meaning", "Means"),
    ("expectation", "Expect"),
    ("next_step", "Next"),
)


def to_text(log: RunLog, findings: Sequence[Finding], width: int = 88) -> str:
    """The report for a terminal."""
    lines = [printable(log.source)]
    for topic, title in TOPICS.items():
        about = [finding for finding in findings if finding.topic == topic]
        if not about:
            continue
        lines += ["", title]
        for finding in about:
            mark = {"problem": "!!", "warning": "! ", "good": "+ ", "note": "- "}[finding.level]
            for name, label in _PARTS:
                words = printable(getattr(finding, name))
                if words:
                    words = f"{label}: {words}" if label else words
                    first = f"  {mark} " if not label else "     "
                    lines += textwrap.wrap(
                        words, width, initial_indent=first, subsequent_indent="     "
                    )
    return "\n".join(lines) + "\n"


def to_json(log: RunLog, findings: Sequence[Finding]) -> str:
    """The report for programs: figures are fractions, nats and seconds."""
    document = {
        "source": printable(log.source),
        "kind": log.kind,
        "lines": log.lines,
        "unread_lines": log.unread,
        "unread_examples": [printable(example) for example in log.unread_examples],
        "unknown_figures": log.unknown,
        "axis": log.axis,
        "planned_epochs": log.planned_epochs,
        "history": [{k: _jsonable(v) for k, v in record.items()} for record in log.records],
        "findings": [_jsonable(asdict(finding)) for finding in findings],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def to_html(log: RunLog, findings: Sequence[Finding]) -> str:
    """The report as one HTML page that needs nothing else."""
    from khmer_fast.train.plots import history_plot

    buffer = io.BytesIO()
    history_plot(log.records).save(buffer, "PNG")
    plot = base64.b64encode(buffer.getvalue()).decode()
    body = []
    for topic, title in TOPICS.items():
        about = [finding for finding in findings if finding.topic == topic]
        if not about:
            continue
        body.append(f"<h2>{html.escape(title)}</h2>")
        for finding in about:
            words = []
            for name, label in _PARTS:
                if getattr(finding, name):
                    bold = f"<b>{label}:</b> " if label else ""
                    words.append(f"<p>{bold}{html.escape(getattr(finding, name))}</p>")
            body.append(f'<section class="{finding.level}">{"".join(words)}</section>')
    title = html.escape(f"{printable(log.source)}: training analysis")
    return _PAGE.format(title=title, plot=plot, body="\n".join(body))


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1e1e22; background: #fff;
  font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.3rem; }}
h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
img {{ max-width: 100%; }}
section {{ border-left: 4px solid #c4c6cc; padding-left: 1rem; margin: 1rem 0; }}
section.good {{ border-color: #008c68; }}
section.warning {{ border-color: #d65e00; }}
section.problem {{ border-color: #b00020; }}
p {{ margin: 0.2rem 0; }}
</style>
<h1>{title}</h1>
<img alt="Loss, CER and lock-on by epoch" src="data:image/png;base64,{plot}">
{body}
</html>
"""
