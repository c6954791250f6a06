"""`khmer-fast render`: labelled line images, or pages, from text and fonts, to disk or to see."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from khmer_fast.data.mixture import RenderConfig
    from khmer_fast.data.source import LineSource

_CHUNK = 64
_SHEET_LINES = 40
_FORMS = ("tsv", "pairs", "shards")


@dataclass(frozen=True)
class RenderOptions:
    """What a worker needs to build its LineSource."""

    config: str | None
    texts: tuple[str, ...]
    fonts: tuple[str, ...]
    held_out: bool

    def mixture(self, default: Path) -> RenderConfig:
        """The mixture of texts and fonts: the file of --config or `default`, over --text's."""
        from khmer_fast.data.config import load_config
        from khmer_fast.data.mixture import TextFile

        config = load_config(self.config or default)
        if self.texts:
            files = tuple(
                TextFile(str(Path(text).resolve()), "running", 1.0) for text in self.texts
            )
            config = replace(config, text=replace(config.text, files=files))
        return config

    def open(self) -> LineSource:
        """The source of lines that the options describe."""
        from khmer_fast.data.config import DEFAULT_CONFIG
        from khmer_fast.data.source import LineSource

        config = self.mixture(DEFAULT_CONFIG)
        return LineSource(config, fonts=self.fonts, held_out=self.held_out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--out", metavar="FOLDER", help="write the lines to this new folder")
    parser.add_argument(
        "--form", choices=_FORMS, default="tsv", help="labels.tsv, NAME.png + NAME.gt.txt, or tar"
    )
    parser.add_argument("--sheet", metavar="PNG", help="draw a contact sheet of the first lines")
    parser.add_argument("--lines", type=_count, default=None, metavar="N", help="default 1000")
    parser.add_argument("--seed", type=_natural, default=0, help="another seed is other lines")
    parser.add_argument("--start", type=_natural, default=0, help="index of the first line")
    parser.add_argument("--workers", type=_count, default=1, help="processes; the lines stay equal")
    parser.add_argument(
        "--text", nargs="+", default=[], metavar="FILE", help="UTF-8 texts (.xz, .gz too)"
    )
    parser.add_argument(
        "--fonts", nargs="+", default=[], metavar="PATH", help="Khmer font files or folders"
    )
    parser.add_argument("--held-out", action="store_true", help="fonts that training never sees")
    parser.add_argument("--config", metavar="TOML", help="mixture (default: the packaged one)")
    pages = parser.add_argument_group("pages")
    pages.add_argument("--pages", type=_count, metavar="N", help="whole pages in place of lines")
    pages.add_argument(
        "--long-side", type=_count, metavar="PX", help="of every page (default: the mixture's)"
    )
    pages.add_argument(
        "--layout", nargs="+", default=[], metavar="NAME", help="these layouts and no others"
    )
    pages.add_argument(
        "--crops",
        action="store_true",
        help="in place of pages the labelled lines that the page network cuts out of them",
    )
    pages.add_argument("--owners", action="store_true", help="write whose ink each pixel is, too")
    pages.add_argument("--page-config", metavar="TOML", help="mixture of layouts and paper")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.set_defaults(error=parser.error)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected at least 0, got {value}")
    return value


def run(args: argparse.Namespace) -> int:
    """Render; 0. Raises KhmerFastError for what cannot be done."""
    if not args.out and not args.sheet:
        args.error("--out FOLDER or --sheet PNG is needed")
    options = RenderOptions(args.config, tuple(args.text), tuple(args.fonts), args.held_out)
    if args.pages:
        from khmer_fast.cli.render_pages import run_pages
        from khmer_fast.data.pages import DEFAULT_LINES

        return run_pages(args, options.mixture(DEFAULT_LINES))
    source = options.open()
    if args.sheet:
        _sheet(source, args)
    if not args.out:
        return 0
    from khmer_fast.data.dataset import write_lines

    count = args.lines or 1000
    dropped: Counter = Counter()
    begin = time.perf_counter()
    lines = _rendered(options, args.seed, args.start, count, args.workers, source, dropped)
    if sys.stderr.isatty():
        lines = _progress(lines, count)
    written = write_lines(lines, args.out, args.form)
    seconds = time.perf_counter() - begin
    description = {"seed": args.seed, "start": args.start, "lines": written, **source.describe()}
    (Path(args.out) / "render.json").write_text(
        json.dumps(description, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    summary = {
        "out": args.out,
        "form": args.form,
        "lines": written,
        "seconds": round(seconds, 3),
        "lines_per_second": round(written / seconds, 1),
        "dropped": dict(dropped),
    }
    if args.json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        print(f"{written} lines in {args.out}, {summary['lines_per_second']} lines/s")
    return 0


def _sheet(source: LineSource, args: argparse.Namespace) -> None:
    from khmer_fast.data.sheet import draw_sheet, save_sheet

    count = args.lines if args.lines and not args.out else _SHEET_LINES
    samples = [source.sample(args.seed, args.start + i) for i in range(count)]
    face = source.fonts.groups[0][0]
    latin = next(iter(source.fonts.latin), None)
    sheet = draw_sheet([(s.image, s.text) for s in samples], face, latin)
    save_sheet(sheet, args.sheet)


def _rendered(
    options: RenderOptions,
    seed: int,
    start: int,
    count: int,
    workers: int,
    source: LineSource,
    dropped: Counter,
) -> Iterator:
    """Lines `start` to `start + count` of `seed` in order, rendered by `workers` processes."""
    chunks = [(i, min(i + _CHUNK, start + count)) for i in range(start, start + count, _CHUNK)]
    if workers == 1:
        for first, last in chunks:
            yield from _stored(source, seed, first, last)
        dropped.update(source.dropped)
        return
    with ProcessPoolExecutor(workers, initializer=_open_worker, initargs=(options,)) as pool:
        waiting: deque[Future] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(_work, seed, *chunk))
            if len(waiting) > 2 * workers:
                lines, cut = waiting.popleft().result()
                dropped.update(cut)
                yield from lines
        while waiting:
            lines, cut = waiting.popleft().result()
            dropped.update(cut)
            yield from lines


_worker: list[LineSource] = []


def _open_worker(options: RenderOptions) -> None:
    _worker.append(options.open())


def _work(seed: int, first: int, last: int) -> tuple[list, Counter]:
    source = _worker[0]
    source.dropped.clear()
    return list(_stored(source, seed, first, last)), Counter(source.dropped)


def _stored(source: LineSource, seed: int, first: int, last: int) -> Iterator:
    from PIL import Image

    from khmer_fast.data.dataset import StoredLine

    for index in range(first, last):
        sample = source.sample(seed, index)
        file = io.BytesIO()
        Image.fromarray(sample.image).save(file, "PNG", compress_level=3)
        columns = dict(zip(("kind", "paper"), sample.kind.split("/"), strict=True))
        yield StoredLine(f"{index:08}", file.getvalue(), ".png", sample.text, columns)


def _progress(lines: Iterator, count: int) -> Iterator:
    """The lines as they pass, counted on a terminal."""
    for i, line in enumerate(lines, 1):
        if i % 100 == 0 or i == count:
            print(f"\r{i} / {count} lines", end="\n" if i == count else "", file=sys.stderr)
        yield line
