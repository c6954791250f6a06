"""An evaluation of documents as one HTML file that needs nothing else, with its worst pages."""

from __future__ import annotations

import time
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from khmer_fast.errors import KhmerFastError
from khmer_fast.evaluation.describe import percent
from khmer_fast.evaluation.documents import DocumentResult, DocumentsEvaluation, PageResult, rate
from khmer_fast.evaluation.html import aligned, html_document, jpeg, write_html
from khmer_fast.evaluation.pages import LineMatch
from khmer_fast.files.pages import open_pages

PICTURE_WIDTH = 900  # pixels at most
WRONG_LINES = 25  # shown of a page
WRONG, STRAY = (192, 54, 43), (47, 111, 181)  # colours of wrong lines and of text that is none's


def write_report(path: str | Path, evaluation: DocumentsEvaluation, worst: int = 10) -> None:
    """Write the report with pictures of the `worst` pages; raises KhmerFastError if it cannot."""
    title = f"Khmer OCR on {Path(evaluation.data).absolute().name}"
    sections = [
        _header(title, evaluation),
        _overview(evaluation),
        _documents(evaluation),
        _worst_pages(evaluation, worst),
        _left_out(evaluation),
    ]
    write_html(path, html_document(title, sections))


def _header(title: str, evaluation: DocumentsEvaluation) -> str:
    facts = [f"data {evaluation.data}"]
    facts += [f"{name} {value}" for name, value in evaluation.reader.items()]
    facts.append(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    return (
        f'<header><h1>{escape(title)}</h1><p class="quiet">{escape(" · ".join(facts))}</p></header>'
    )


def _overview(evaluation: DocumentsEvaluation) -> str:
    score, scores = evaluation.score, evaluation.scores
    between = (
        f"{100 * scores.interval[0]:.2f} to {100 * scores.interval[1]:.2f} %"
        if scores.interval
        else ""
    )
    cards = [
        ("CER in order", percent(rate(score.edits_in_order, score.characters)), "whole text"),
        ("CER without order", percent(scores.cer), between),
        ("lines", f"{score.lines:,}", f"{score.characters:,} characters"),
        ("missed", f"{score.missed:,}", "lines less than half found"),
        ("invented", f"{score.invented:,}", "lines that are none of the text's"),
        ("pages", f"{evaluation.pages:,}", f"{evaluation.seconds:.1f} s for all"),
    ]
    items = "".join(
        f'<li><span class="quiet">{escape(name)}</span><b>{escape(value)}</b>'
        f'<span class="quiet">{escape(note)}</span></li>'
        for name, value, note in cards
    )
    return (
        f'<ul class="cards">{items}</ul><p class="quiet">Texts are compared in canonical form '
        "without white space. Without order, each line or paragraph of the text is compared with "
        "what was read most like it, wherever that stands.</p>"
    )


def _documents(evaluation: DocumentsEvaluation) -> str:
    rows = "".join(
        f'<tr><td class="name">{escape(result.label.name)}'
        f"{'<br>' + escape(result.note) if result.note else ''}</td>"
        f"<td>{len(result.pages):,}</td><td>{percent(result.cer_in_order)}</td>"
        f"<td>{percent(result.cer_without_order)}</td><td>{result.score.missed:,}</td>"
        f"<td>{result.score.joined:,}</td><td>{result.score.split:,}</td>"
        f"<td>{result.score.invented:,}</td></tr>"
        for result in evaluation.results
    )
    return (
        "<h2>Documents</h2><table><thead><tr><th>file</th><th>pages</th><th>CER in order</th>"
        "<th>without order</th><th>missed</th><th>joined</th><th>split</th><th>invented</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _worst_pages(evaluation: DocumentsEvaluation, most: int) -> str:
    pages = evaluation.worst_pages(most)
    if not pages:
        return ""
    items = "".join(_worst_page(result, page) for result, page in pages)
    return (
        '<h2>Worst pages</h2><p>Framed: <span style="color:var(--delete-line)">lines with errors'
        '</span>, <span style="color:var(--insert-line)">text that is none of the page\'s</span>. '
        f'Reference above, what was read below.</p><ol class="worst">{items}</ol>'
    )


def _worst_page(result: DocumentResult, page: PageResult) -> str:
    score = page.score
    if score is None:
        return ""
    facts = [
        result.label.name,
        f"page {page.page.number}",
        f"{score.edits_without_order} edits",
        f"CER {percent(rate(score.edits_without_order, score.characters))}",
    ]
    wrong = [match for match in score.matches if match.edits.edits]
    wrong.sort(key=lambda match: -match.edits.edits)
    lines = "".join(
        f'<div class="aligned" lang="km">{aligned(match.reference, match.prediction)}</div>'
        for match in wrong[:WRONG_LINES]
    )
    return (
        f'<li><div class="quiet">{escape(" · ".join(facts))}</div>'
        f"{_picture(result, page, wrong)}{lines}</li>"
    )


def _picture(result: DocumentResult, page: PageResult, wrong: list[LineMatch]) -> str:
    """The page, upright, with frames round what is wrong on it, inlined as a small JPEG."""
    number = page.page.number
    try:
        (image,) = open_pages(result.label.file, str(number), text_layer=False)
    except KhmerFastError as error:
        return f'<p class="quiet">no picture: {escape(str(error))}</p>'
    if image.error is not None:
        return f'<p class="quiet">no picture: {escape(image.error)}</p>'
    upright = Image.fromarray(
        np.ascontiguousarray(np.rot90(image.grey, page.page.rotation // 90))
    ).convert("RGB")
    scale = min(1.0, PICTURE_WIDTH / upright.width)
    small = upright.resize(
        (max(1, round(upright.width * scale)), max(1, round(upright.height * scale))),
        Image.Resampling.LANCZOS,
    )
    draw = ImageDraw.Draw(small)
    for match in wrong:
        if match.box is not None:
            left, top, right, bottom = (edge * scale for edge in match.box)
            colour = WRONG if match.reference else STRAY
            draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=colour, width=2)
    return jpeg(small, "the page")


def _left_out(evaluation: DocumentsEvaluation) -> str:
    if not evaluation.problems:
        return ""
    items = "".join(f"<li>{escape(str(problem))}</li>" for problem in evaluation.problems)
    return f'<h2>Documents left out</h2><ul class="quiet">{items}</ul>'
