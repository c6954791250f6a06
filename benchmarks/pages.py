"""`python -m benchmarks.pages FOLDER...`: whole pages beside Tesseract, errors and time.

khmer_fast and Tesseract (psm 3, khm+Khmer) read the same pictures on one core, taking turns page by
page. Errors are over canonical text without white space (khmer_fast/evaluation/pages.py says what
is counted); what a FOLDER may hold stands in benchmarks/page_sets.py. Without a folder there are
rendered pages (--rendered) and trials of the parts (benchmarks/page_trials.py says how they judge).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, tesseract
from benchmarks.drawn import announce
from benchmarks.line_rows import number
from benchmarks.page_engines import BAR, ENGINES, OURS, Engine, PageReading, open_engine
from benchmarks.page_sets import KnownDocument, PageSet, load_page_set
from khmer_fast.document import Page
from khmer_fast.errors import KhmerFastError
from khmer_fast.evaluation.describe import percent
from khmer_fast.evaluation.metrics import Scores, summarise
from khmer_fast.evaluation.pages import PageScore, total

QUICK_PAGES = 2  # documents of each set
DRAWN_PAGES = 20  # where no folder is given
TIMER = (
    "Inside the timer, khmer_fast: from opening the page's picture to its text in order; not "
    "loading the weights. Tesseract: its process over the same file, less the time of the same "
    "process over one blank picture (its start). PDF pages were rendered before, for both."
)


# ---- one set ----


@dataclass(frozen=True)
class Row:
    """One engine on some documents of a set; times are those of the median round, a page."""

    engine: str
    kind: str  # "all", or the kind of the documents
    documents: int
    pages: int
    score: PageScore
    printed_lines: bool
    seconds: float
    cpu_seconds: float
    cached: bool
    parts: dict[str, float]  # processor seconds a page
    floors: dict[str, float]  # of parts: the least that this machine needs for them

    @property
    def scores(self) -> Scores:
        """Scores of the matches: without order."""
        return summarise([match.edits for match in self.score.matches])

    @property
    def cer_in_order(self) -> float | None:
        """Edits in order over the references' characters."""
        return self.score.edits_in_order / self.score.characters if self.score.characters else None

    def as_json(self) -> dict[str, Any]:
        """The row's figures."""
        score, scores, lines = self.score, self.scores, self.printed_lines
        return {
            "engine": self.engine,
            "kind": self.kind,
            "documents": self.documents,
            "pages": self.pages,
            "characters": score.characters,
            "cer_in_order": self.cer_in_order,
            "edits_in_order": score.edits_in_order,
            "cer_without_order": scores.cer,
            "interval": list(scores.interval) if scores.interval else None,
            "edits_without_order": score.edits_without_order,
            "lines": score.lines,
            "missed": score.missed,
            "joined": score.joined if lines else None,
            "split": score.split if lines else None,
            "invented": score.invented,
            "seconds_a_page": self.seconds,
            "cpu_seconds_a_page": self.cpu_seconds,
            "times_from_cache": self.cached,
            "parts": self.parts,
            "floors": self.floors,
        }


@dataclass(frozen=True)
class ReadDocument:
    """A document as one engine read it: the first round's pages, the times of all rounds."""

    known: KnownDocument
    rounds: tuple[tuple[PageReading, ...], ...]  # [rounds][pages]

    @property
    def pages(self) -> list[Page]:
        """What was read."""
        return [reading.page for reading in self.rounds[0]]

    def seconds(self, name: str) -> float:
        """Wall (`seconds`) or processor time (`cpu_seconds`) of all pages, of the median round."""
        return statistics.median(sum(getattr(r, name) for r in one) for one in self.rounds)


def read_set(
    pages: PageSet, engines: Sequence[Engine], rounds: int, progress: bool
) -> dict[str, list[ReadDocument]]:
    """Each engine reads each page `rounds` times, in turns, every other page backwards."""
    from tqdm import tqdm

    read: dict[str, list[ReadDocument]] = {engine.name: [] for engine in engines}
    turns = 0
    with tqdm(total=pages.pages, unit="page", disable=not progress, leave=False) as bar:
        for document in pages.documents:
            of: dict[str, list[list[PageReading]]] = {
                e.name: [[] for _ in range(rounds)] for e in engines
            }
            for picture in document.pictures:
                for k in range(rounds):
                    for engine in engines if turns % 2 == 0 else reversed(engines):
                        of[engine.name][k].append(engine.read(picture))
                    turns += 1
                bar.update()
            for name, readings in of.items():
                read[name].append(ReadDocument(document, tuple(map(tuple, readings))))
    return read


def make_row(engine: str, kind: str, documents: Sequence[ReadDocument]) -> Row:
    """Scores and times of some documents together."""
    pages = sum(len(document.known.pictures) for document in documents)
    readings = [r for document in documents for one in document.rounds for r in one]
    return Row(
        engine=engine,
        kind=kind,
        documents=len(documents),
        pages=pages,
        score=total([document.known.score(document.pages) for document in documents]),
        printed_lines=all(document.known.printed_lines for document in documents),
        seconds=sum(document.seconds("seconds") for document in documents) / pages,
        cpu_seconds=sum(document.seconds("cpu_seconds") for document in documents) / pages,
        cached=any(reading.cached for reading in readings),
        parts=mean_of([reading.parts for reading in readings]),
        floors=mean_of([reading.floors for reading in readings]),
    )


def mean_of(seconds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean over pages, part by part."""
    names = dict.fromkeys(name for parts in seconds for name in parts)
    return {name: sum(parts.get(name, 0.0) for parts in seconds) / len(seconds) for name in names}


def set_rows(read: dict[str, list[ReadDocument]]) -> list[Row]:
    """Rows for the whole set, then by kind; engines under each other."""
    first = next(iter(read.values()))
    kinds = list(dict.fromkeys(document.known.kind for document in first))
    rows = [make_row(name, "all", documents) for name, documents in read.items()]
    if len(kinds) > 1:
        rows += [
            make_row(name, kind, [d for d in documents if d.known.kind == kind])
            for kind in kinds
            for name, documents in read.items()
        ]
    return rows


# ---- what is printed ----


def set_table(pages: PageSet, rows: Sequence[Row]) -> str:
    """Errors and time of the engines on one set, whole and by kind."""
    name = max(len(row.engine) for row in rows)
    kind = max(len(row.kind) for row in rows)
    lines = [
        f"{pages.name}: {len(pages.documents)} documents, {pages.pages} pages",
        f"{'':{kind}}  {'':{name}} {'in order':>9}  {'without order [95 %]':<22}"
        f"{'lines':>6}{'missed':>8}{'joined':>8}{'split':>7}{'invented':>10}{'s/page':>8}{'CPU':>7}",
    ]
    for row in rows:
        s, scores, known = row.score, row.scores, row.printed_lines
        counts = (s.missed, s.joined if known else None, s.split if known else None, s.invented)
        cells = (
            f"{'–' if value is None else value:>{width}}"
            for value, width in zip(counts, (8, 8, 7, 10), strict=True)
        )
        shown = row.kind if row.engine == rows[0].engine else ""
        lines.append(
            f"{shown:{kind}}  {row.engine:{name}} {percent(row.cer_in_order):>9}  "
            f"{percent(scores.cer, scores.interval):<22}{s.lines:>6}{''.join(cells)}"
            f"{number(row.seconds, 8, 2)}{number(row.cpu_seconds, 7, 2)}"
            f"{' (cached)' if row.cached else ''}"
        )
    return "\n".join(lines)


def parts_line(row: Row) -> str:
    """Where the processor's time goes, for a page, and its floor (benchmarks/page_parts.py)."""
    shown = []
    for name, seconds in sorted(row.parts.items(), key=lambda item: -item[1]):
        floor = row.floors.get(name)
        at_least = "" if floor is None else f" (floor {1000 * floor:.1f})"
        shown.append(f"{name} {1000 * seconds:.1f}{at_least}")
    return f"{row.engine}, ms a page: " + ", ".join(shown)


def speed_line(rows: Sequence[Row]) -> str:
    """How the engines' times lie to each other."""
    by_name = {row.engine: row for row in rows if row.kind == "all"}
    ours, bar = by_name.get(OURS), by_name.get(BAR)
    if ours is None or bar is None or not ours.seconds or not ours.cpu_seconds:
        return ""
    return (
        f"{OURS} takes 1/{bar.seconds / ours.seconds:.1f} of {BAR}'s time a page "
        f"(1/{bar.cpu_seconds / ours.cpu_seconds:.1f} by processor time)"
    )


def worst_lines(documents: Sequence[ReadDocument], most: int) -> str:
    """The references with the most edits, and the text that is no reference's."""
    found = [
        (document.known.name, match)
        for document in documents
        for match in document.known.score(document.pages).matches
        if match.edits.edits
    ]
    found.sort(key=lambda item: -item[1].edits.edits)
    return "\n".join(
        f"{match.edits.edits:>5}  {name} {match.box or ''}\n"
        f"       {match.reference}\n       {match.prediction}"
        for name, match in found[:most]
    )


def machine_line(about: dict[str, Any], rounds: int, quick: bool) -> str:
    """What was measured on, in a line."""
    core = "threads not bound to a core" if about["core"] is None else f"core {about['core']}"
    return (
        f"{about['processor']}, {about['cores']} cores, {about['instruction_set']}, torch "
        f"{about['torch']}, Tesseract {about['tesseract'] or 'missing'}; one thread, {core}, "
        f"load {about['load']:.1f} before; {rounds} rounds"
        f"{', quick: these are no figures' if quick else ''}"
    )


# ---- the command ----


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 for data that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="pages whose text is known")
    parser.add_argument(
        "--rendered", type=count, default=0, metavar="N", help="read N rendered pages, too"
    )
    trials = parser.add_argument_group("trials")
    trials.add_argument(
        "--order", type=count, default=0, metavar="N",
        help="order of N rendered pages from their true lines",
    )  # fmt: skip
    trials.add_argument(
        "--ink", type=count, default=0, metavar="N",
        help="lines found with all their ink on N rendered pages in unseen fonts and layouts",
    )  # fmt: skip
    trials.add_argument(
        "--rotations", type=count, default=0, metavar="N",
        help="quarter turns seen on N pages: those of the folders and rendered ones",
    )  # fmt: skip
    trials.add_argument(
        "--turned", action="store_true",
        help="labelled pages of the folders turned by 2, 5 and 10 degrees, and bent by 3 %%",
    )  # fmt: skip
    trials.add_argument(
        "--blank", type=count, default=0, metavar="N", help="text invented on N pages without any"
    )
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="default: both"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="documents whose name or kind is one of these"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_PAGES} documents of each set, one round"
    )
    parser.add_argument("--rounds", type=int, default=1, help="turns of each engine (default 1)")
    parser.add_argument("--weights", metavar="FILE", help="the reader's, instead of the packaged")
    parser.add_argument("--segmenter", metavar="FILE", help="the page network's, likewise")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="show N worst lines")
    parser.add_argument(
        "--tesseract-cache", metavar="FOLDER", help="keep Tesseract's answers and times there"
    )
    parser.add_argument(
        "--trials-only", action="store_true", help="use the folders for the trials alone"
    )
    parser.add_argument("--json-only", action="store_true", help="print the JSON document only")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    trials = (options.order, options.ink, options.rotations, options.turned, options.blank)
    if not options.folders and not any(trials):
        options.rendered = options.rendered or (QUICK_PAGES if options.quick else DRAWN_PAGES)
    drawn = options.rendered or options.order or options.ink or options.rotations
    if drawn or options.blank:
        if not announce(sys.stderr if options.json_only else sys.stdout):
            return 1
    try:
        return run(options)
    except KhmerFastError as error:
        print(f"benchmarks.pages: error: {error}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace) -> int:
    """Reads, prints tables and the JSON document."""
    rounds = 1 if options.quick else options.rounds

    def show(text: str) -> None:
        if not options.json_only:
            print(text, flush=True)

    about = {
        **machine.describe(), "tesseract": tesseract.version(), "load": os.getloadavg()[0]
    }  # fmt: skip
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sets = [load_page_set(folder, scratch) for folder in options.folders]
        sets = [chosen(pages, options.only, options.quick) for pages in sets]
        if options.rendered:
            from benchmarks.page_trials import rendered_set

            sets.append(rendered_set(options.rendered, scratch))
        about["core"] = stack.enter_context(machine.one_core())
        show(machine_line(about, rounds, options.quick))
        show(TIMER + "\n")
        engines = [open_engine(name, scratch, options) for name in options.engines] if sets else []
        out = []
        for pages in sets:
            if not pages.documents or options.trials_only:
                continue
            read = read_set(pages, engines, rounds, sys.stderr.isatty())
            rows = set_rows(read)
            show(set_table(pages, rows))
            for row in rows:
                if row.kind == "all" and row.parts:
                    show(parts_line(row))
            show(speed_line(rows) + "\n")
            if options.worst:
                for name, documents in read.items():
                    show(f"worst lines of {name}\n{worst_lines(documents, options.worst)}\n")
            out.append({"data": pages.name, "rows": [row.as_json() for row in rows]})
        found = {}
        for name, results in run_trials(options, sets):
            found[name] = [asdict(result) for result in results]
            show("\n".join(map(str, results)))
    document = {
        "machine": about,
        "quick": options.quick,
        "rounds": rounds,
        "inside_the_timer": TIMER,
        "sets": out,
        "trials": found,
    }
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    return 0


def run_trials(
    options: argparse.Namespace, sets: Sequence[PageSet]
) -> Iterator[tuple[str, Sequence[Any]]]:
    """The trials that were asked for, by name."""
    from benchmarks import page_trials as trials

    if options.order:
        yield "order", [trials.order_trial(options.order)]
    if not (options.ink or options.rotations or options.turned or options.blank):
        return
    reader = trials.PageReader(
        options.weights, options.segmenter, layout="page", device="cpu", threads=1
    )
    if options.ink:
        yield "ink", [trials.ink_trial(options.ink, reader.segmenter)]
    if options.rotations:
        pictures = [x for pages in sets for d in pages.documents for x in d.pictures]
        yield "rotations", [trials.rotation_trial(options.rotations, pictures, reader)]
    if options.turned:
        yield "turned", trials.turned_trial(sets, reader)
    if options.blank:
        yield "blank", [trials.blank_trial(options.blank, reader)]


def count(text: str) -> int:
    """A number of pages, for argparse."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a number of pages, got {text}")
    return number


def chosen(pages: PageSet, only: Sequence[str] | None, quick: bool) -> PageSet:
    """The documents that were asked for."""
    documents = [d for d in pages.documents if not only or d.name in only or d.kind in only]
    return PageSet(pages.name, tuple(documents[:QUICK_PAGES] if quick else documents))


if __name__ == "__main__":
    sys.exit(main())
