"""Tesseract as a baseline, one process with one thread: lines scaled to 48 px with a border, or
whole pages as they are.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from khmer_fast.document import Box, Line, Page, Region, Word
from khmer_fast.errors import KhmerFastError

HEIGHT = 48  # pixels of the scaled line
BORDER = 10  # pixels on each side
NEARLY_WHITE = 240  # a crop whose edge is lighter gets a white border
MODELS = {  # name in the table: names that its files go by (Debian, elsewhere)
    "khm": (("khm",),),
    "Khmer": (("Khmer", "script/Khmer"),),
    "khm+Khmer": (("khm",), ("Khmer", "script/Khmer")),
}
PACKAGES = "tesseract-ocr tesseract-ocr-khm tesseract-ocr-script-khmr"


class TesseractError(KhmerFastError):
    """Tesseract failed, or did not answer for each line."""


@dataclass(frozen=True)
class Run:
    """One process over a list of lines."""

    texts: tuple[str, ...]
    seconds: float  # wall time, start included
    cpu_seconds: float


def version() -> str | None:
    """The version of the program, None where it is not installed."""
    if shutil.which("tesseract") is None:
        return None
    return _call(["tesseract", "--version"]).splitlines()[0].removeprefix("tesseract ")


def installed_models() -> dict[str, str]:
    """The models of MODELS that can be used here, each with its `-l` argument."""
    if version() is None:
        return {}
    languages = set(_call(["tesseract", "--list-langs"]).splitlines()[1:])
    found = {}
    for name, parts in MODELS.items():
        chosen = [next((x for x in part if x in languages), None) for part in parts]
        if all(chosen):
            found[name] = "+".join(x for x in chosen if x)
    return found


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise TesseractError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def with_border(image: Image.Image) -> Image.Image:
    """A line as Tesseract likes it: grey, HEIGHT high, BORDER of its paper on each side.

    The paper's colour is the median of the crop's outermost pixels, or white where that is nearly
    white.
    """
    grey = image.convert("L")
    pixels = np.asarray(grey)  # [Y', X']
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = int(np.median(edge))
    width = max(1, round(grey.width * HEIGHT / grey.height))
    out = Image.new(
        "L", (width + 2 * BORDER, HEIGHT + 2 * BORDER), 255 if paper >= NEARLY_WHITE else paper
    )
    out.paste(grey.resize((width, HEIGHT), Image.Resampling.LANCZOS), (BORDER, BORDER))
    return out


def prepare(images: Sequence[Path], folder: Path) -> Path:
    """Writes each image with its border to `folder`; returns the list file to give to `read`."""
    written = []
    for i, path in enumerate(images):
        target = folder / f"{i:06}.png"
        with Image.open(path) as image:
            with_border(image).save(target, compress_level=1)
        written.append(target)
    listed = folder / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in written), encoding="utf-8")
    return listed


def prepare_blank(folder: Path) -> Path:
    """A list of one blank image: reading it is Tesseract's start and nothing else."""
    target = folder / "blank.png"
    Image.new("L", (2 * HEIGHT, HEIGHT + 2 * BORDER), 255).save(target)
    listed = folder / "blank.txt"
    listed.write_text(f"{target}\n", encoding="utf-8")
    return listed


def read(listed: Path, languages: str) -> Run:
    """Reads all lines of a list file in one process with one thread.

    Raises TesseractError if it fails or gives another number of texts.
    """
    expected = len(listed.read_text(encoding="utf-8").splitlines())
    command = ["tesseract", str(listed), "-", "-l", languages, "--psm", "7"]
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    before = _children_cpu()
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True)
    seconds = time.perf_counter() - start
    cpu_seconds = _children_cpu() - before
    pages = done.stdout.decode("utf-8").split("\f")
    if len(pages) == expected + 1 and not pages[-1]:  # Tesseract 4 ends each page, 5 separates them
        pages.pop()
    if done.returncode or len(pages) != expected:
        message = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise TesseractError(
            f"{' '.join(command)}: expected {expected} texts, got {len(pages)} and exit code "
            f"{done.returncode}: {message[-1] if message else 'no message'}"
        )
    return Run(tuple(" ".join(page.split()) for page in pages), seconds, cpu_seconds)


@dataclass(frozen=True)
class PageRun:
    """One process over one page."""

    page: Page
    seconds: float  # wall time, start included
    cpu_seconds: float
    cached: bool = False  # answer and times come from an earlier run


def read_page(picture: Path, languages: str, cache: Path | None = None) -> PageRun:
    """Reads a page by `--psm 3`: Tesseract's blocks are regions, its lines and words have boxes.

    An answer in the folder `cache`, by the hash of the file and the command, is taken from there,
    and one that is not is put there. Raises TesseractError.
    """
    options = ["-l", languages, "--psm", "3", "-c", "tessedit_create_tsv=1"]
    kept = None
    if cache is not None:
        key = hashlib.sha256(picture.read_bytes())
        key.update(repr((version(), options)).encode())
        kept = cache / f"{key.hexdigest()}.json"
        if kept.exists():
            answer = json.loads(kept.read_text(encoding="utf-8"))
            page = page_of_tsv(answer["tsv"])
            return PageRun(page, answer["seconds"], answer["cpu_seconds"], cached=True)
    before = _children_cpu()
    start = time.perf_counter()
    done = subprocess.run(
        ["tesseract", str(picture), "-", *options],
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        capture_output=True,
    )
    seconds = time.perf_counter() - start
    cpu_seconds = _children_cpu() - before
    if done.returncode:
        raise TesseractError(f"tesseract {picture}: {done.stderr.decode('utf-8', 'replace')}")
    tsv = done.stdout.decode("utf-8")
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        answer = {"tsv": tsv, "seconds": seconds, "cpu_seconds": cpu_seconds}
        kept.write_text(json.dumps(answer, ensure_ascii=False), encoding="utf-8")
    return PageRun(page_of_tsv(tsv), seconds, cpu_seconds)


def page_of_tsv(tsv: str) -> Page:
    """The page that Tesseract's TSV describes."""
    rows = list(csv.DictReader(tsv.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    width, height = next((_box(row)[2:] for row in rows if row["level"] == "1"), (0, 0))
    blocks: dict[tuple[str, ...], dict[tuple[str, ...], list[dict[str, str]]]] = {}
    for row in rows:
        if row["level"] == "5" and row["text"].strip():
            block = row["page_num"], row["block_num"], row["par_num"]
            blocks.setdefault(block, {}).setdefault((*block, row["line_num"]), []).append(row)
    regions = []
    for block in blocks.values():
        lines = tuple(_line(words) for words in block.values())
        regions.append(Region("text", _union([line.box for line in lines]), lines))
    return Page(1, width, height, tuple(regions))


def _line(rows: Sequence[dict[str, str]]) -> Line:
    words = tuple(Word(row["text"], float(row["conf"]) / 100, _box(row)) for row in rows)
    return Line(
        " ".join(word.text for word in words),
        min(word.confidence for word in words),
        _union([word.box for word in words]),
        words=words,
    )


def _box(row: dict[str, str]) -> Box:
    left, top, width, height = (int(row[name]) for name in ("left", "top", "width", "height"))
    return left, top, left + width, top + height


def _union(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
