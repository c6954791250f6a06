"""Documents whose text is known: found in a folder, read as whole pages, and scored.

NAME.gt.txt beside NAME.pdf, or beside a picture if it has several lines: a printed line or a
paragraph a line, in reading order, form feeds between pages; TABs between the cells of a row. What
is counted says khmer_fast/evaluation/pages.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from khmer_fast.document import Page
from khmer_fast.errors import KhmerFastError
from khmer_fast.evaluation.labels import GROUND_TRUTH_SUFFIX, IMAGE_SUFFIXES, LabelError, Problem
from khmer_fast.evaluation.metrics import Scores, summarise
from khmer_fast.evaluation.pages import PageScore, match_texts, total

PAGE_END = "\f"
SUFFIXES = (".pdf", *IMAGE_SUFFIXES)


class DocumentReader(Protocol):
    """What evaluation needs of a reader of pages (khmer_fast.PageReader is one)."""

    def stream(self, file: Any, *, text_layer: str) -> Iterator[Page]:
        """The pages of a file as they are read."""


@dataclass(frozen=True)
class DocumentLabel:
    """A file and its text by page; one entry for all pages where the text has no form feed."""

    file: Path
    name: str
    where: str  # the file of the text, to blame
    pages: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class PageResult:
    """A page as it was read, and its score where its own text is known."""

    page: Page
    score: PageScore | None


@dataclass(frozen=True)
class DocumentResult:
    """A document's score, and its pages."""

    label: DocumentLabel
    score: PageScore
    pages: tuple[PageResult, ...]
    seconds: float
    note: str = ""  # what could not be compared page by page, and why

    @property
    def cer_in_order(self) -> float | None:
        """Edits in order over the text's characters."""
        return rate(self.score.edits_in_order, self.score.characters)

    @property
    def cer_without_order(self) -> float | None:
        """Edits of what was matched over the text's characters."""
        return rate(self.score.edits_without_order, self.score.characters)


@dataclass(frozen=True)
class DocumentsEvaluation:
    """Scored documents, what could not be used, and how long it took."""

    data: str
    reader: dict[str, Any]
    results: tuple[DocumentResult, ...]
    problems: tuple[Problem, ...]
    load_seconds: float | None = None

    @property
    def score(self) -> PageScore:
        """All documents together."""
        return total([result.score for result in self.results])

    @property
    def scores(self) -> Scores:
        """Scores of what was matched, without order, with bootstrap intervals."""
        return summarise([match.edits for match in self.score.matches])

    @property
    def seconds(self) -> float:
        """From opening the first file to the last text."""
        return sum(result.seconds for result in self.results)

    @property
    def pages(self) -> int:
        """Pages of all documents."""
        return sum(len(result.pages) for result in self.results)

    def worst_pages(self, most: int) -> list[tuple[DocumentResult, PageResult]]:
        """The pages with the most edits without order, most first; those without any are none."""
        wrong = [
            (page.score.edits_without_order, result, page)
            for result in self.results
            for page in result.pages
            if page.score is not None and page.score.edits_without_order
        ]
        wrong.sort(key=lambda item: -item[0])
        return [(result, page) for _, result, page in wrong[:most]]

    def as_json(self) -> dict[str, Any]:
        """The evaluation as JSON can hold it; rates are fractions."""
        scores, score = self.scores, self.score
        return {
            "cer_in_order": rate(score.edits_in_order, score.characters),
            "cer_without_order": scores.cer,
            "interval": list(scores.interval) if scores.interval else None,
            **_counts(score),
            "documents": len(self.results),
            "pages": self.pages,
            "seconds": self.seconds,
            "pages_per_second": self.pages / self.seconds if self.seconds else None,
            "load_seconds": self.load_seconds,
            "data": self.data,
            "reader": self.reader,
            "skipped": [{"where": p.where, "error": p.reason} for p in self.problems],
            "results": [_result_as_json(result) for result in self.results],
        }


def rate(edits: int, characters: int) -> float | None:
    """Edits over characters, None where there are none."""
    return edits / characters if characters else None


def holds_documents(folder: str | Path) -> bool:
    """Whether a data set is a folder of documents: a text of several lines, or one of a PDF."""
    folder = Path(folder)
    if not folder.is_dir() or (folder / "labels.tsv").is_file():
        return False
    return any(
        (folder / f"{_name(text)}.pdf").is_file() or b"\n" in text.read_bytes().strip()
        for text in folder.glob(f"*{GROUND_TRUTH_SUFFIX}")
    )


def scan_documents(folder: str | Path) -> tuple[list[DocumentLabel], list[Problem]]:
    """The documents of a folder, and what of it cannot be used.

    Raises LabelError where nothing can.
    """
    labels, problems = [], []
    for text in sorted(Path(folder).glob(f"*{GROUND_TRUTH_SUFFIX}")):
        name = _name(text)
        file = next((f for s in SUFFIXES if (f := text.parent / f"{name}{s}").is_file()), None)
        if file is None:
            kinds = ", ".join(SUFFIXES)
            problems.append(Problem(str(text), f"no file {name} with one of the endings {kinds}"))
            continue
        try:
            content = text.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            place = f"byte 0x{error.object[error.start]:02X} at position {error.start + 1}"
            problems.append(Problem(str(text), f"expected UTF-8, got {place}"))
            continue
        pages = content.removesuffix(PAGE_END).split(PAGE_END)
        lines = tuple(tuple(line for line in page.splitlines() if line.strip()) for page in pages)
        labels.append(DocumentLabel(file, file.name, str(text), lines))
    if not labels:
        raise LabelError(problems or [Problem(str(folder), "holds no text of a document")])
    return labels, problems


def _name(text: Path) -> str:
    return text.name.removesuffix(GROUND_TRUTH_SUFFIX)


def evaluate_documents(
    data: str,
    reader: DocumentReader,
    labels: Sequence[DocumentLabel],
    problems: Sequence[Problem] = (),
    progress: bool = False,
    load_seconds: float | None = None,
    about: dict[str, Any] | None = None,
) -> DocumentsEvaluation:
    """Read each document from its pictures (text layers are not looked at) and score it.

    A file that cannot be opened is a problem; `about` the reader is for the record. Raises
    KhmerFastError if no document is left.
    """
    from tqdm import tqdm

    results, left_out = [], list(problems)
    for label in tqdm(labels, unit="document", disable=not progress, leave=False):
        start = time.perf_counter()
        try:
            pages = list(reader.stream(label.file, text_layer="never"))
        except KhmerFastError as error:
            left_out.append(Problem(str(label.file), str(error)))
            continue
        results.append(score_document(label, pages, time.perf_counter() - start))
    if not results:
        raise KhmerFastError(f"{data}: no document could be read; {len(left_out)} are bad")
    return DocumentsEvaluation(
        data=data,
        results=tuple(results),
        problems=tuple(left_out),
        reader=about or {},
        load_seconds=load_seconds,
    )


def score_document(label: DocumentLabel, pages: Iterable[Page], seconds: float) -> DocumentResult:
    """Score a document's pages, one by one where the text has as many."""
    pages = list(pages)
    notes = [f"page {page.number}: {page.error}" for page in pages if page.error is not None]
    if len(label.pages) == len(pages):
        scores: list[PageScore | None] = [
            match_texts(text, list(page.lines()))
            for text, page in zip(label.pages, pages, strict=True)
        ]
        score = total([score for score in scores if score is not None])
    else:
        if len(label.pages) > 1:
            notes.append(
                f"the text has {len(label.pages)} pages, the file {len(pages)}: compared as one"
            )
        lines = [line for page in pages for line in page.lines()]
        score = match_texts([text for page in label.pages for text in page], lines)
        scores = [None] * len(pages)
    results = tuple(map(PageResult, pages, scores))
    return DocumentResult(label, score, results, seconds, "; ".join(notes))


def _counts(score: PageScore) -> dict[str, int | None]:
    return {
        "edits_in_order": score.edits_in_order,
        "edits_without_order": score.edits_without_order,
        "characters": score.characters,
        "lines": score.lines,
        "missed": score.missed,
        "joined": score.joined,
        "split": score.split,
        "invented": score.invented,
    }


def _result_as_json(result: DocumentResult) -> dict[str, Any]:
    return {
        "file": result.label.name,
        "cer_in_order": result.cer_in_order,
        "cer_without_order": result.cer_without_order,
        **_counts(result.score),
        "seconds": result.seconds,
        "note": result.note,
        "pages": [
            {"number": page.page.number, **(_counts(page.score) if page.score else {})}
            for page in result.pages
        ],
    }


def describe_documents(evaluation: DocumentsEvaluation, worst: int = 0) -> str:
    """The evaluation as text for a terminal, with the `worst` wrong lines."""
    from khmer_fast.evaluation.describe import percent

    score, scores = evaluation.score, evaluation.scores
    rows = [
        ("documents", f"{len(evaluation.results):,} with {evaluation.pages:,} pages, "
                      f"{score.lines:,} lines, {score.characters:,} characters"),
        ("CER in order", percent(rate(score.edits_in_order, score.characters))),
        ("without order", percent(scores.cer, scores.interval)),
        ("lines", f"{score.missed:,} missed, {score.joined:,} joined, {score.split:,} split, "
                  f"{score.invented:,} invented"),
        ("speed", f"{evaluation.pages / max(evaluation.seconds, 1e-9):.2f} pages/s"),
    ]  # fmt: skip
    if evaluation.problems:
        rows.append(("skipped", f"{len(evaluation.problems)} bad documents"))
    parts = ["\n".join(f"{name:<16} {value}" for name, value in rows)]
    name = max(len(result.label.name) for result in evaluation.results)
    table = [
        f"{'':{name}} {'pages':>6} {'in order':>9} {'without':>9} {'missed':>7} {'invented':>9}"
    ]
    for result in evaluation.results:
        table.append(
            f"{result.label.name:{name}} {len(result.pages):>6} {percent(result.cer_in_order):>9} "
            f"{percent(result.cer_without_order):>9} {result.score.missed:>7} "
            f"{result.score.invented:>9}{'  ' + result.note if result.note else ''}"
        )
    parts.append("\n".join(table))
    if worst:
        wrong = [
            (match.edits.edits, result.label.name, match)
            for result in evaluation.results
            for match in result.score.matches
            if match.edits.edits
        ]
        wrong.sort(key=lambda item: -item[0])
        parts.append(
            "worst lines\n"
            + "\n".join(
                f"{edits:>6}  {file}\n        {match.reference}\n        {match.prediction}"
                for edits, file, match in wrong[:worst]
            )
        )
    return "\n\n".join(parts)
