"""The circle of docs/serve.md, measured: pages read, corrected, exported, trained on, read again.

python -m scripts.correction_circle --font FONT.ttf --out FOLDER [--epochs N]

Draws pages in a font that training never draws. The first ones go through a running service: a
program in the place of a person puts the true text on each line and saves it. The corrections are
exported and trained on, from the packaged weights, beside rendered lines; what is measured are
other pages of the same font: before, after, and after as many steps on rendered lines alone.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rapidfuzz.distance import Levenshtein

from khmer_fast.data import LineSource
from khmer_fast.document import Page
from khmer_fast.page.page_reader import PageReader
from khmer_fast.text import canonical
from tests.support.service import RunningService

LINES = 20  # of a page
PITCH, LEFT, TOP, SIZE = 78, 90, 100, 36  # pixels
WIDTH, HEIGHT = 1240, 1754


def texts(count: int, seed: int) -> list[str]:
    """Lines of 15 to 45 characters."""
    source, found, index = LineSource(), [], 0
    while len(found) < count:
        text = source.sample(seed, index).text
        index += 1
        if 15 <= len(text) <= 45:
            found.append(text)
    return found


def draw_page(lines: list[str], font: str) -> bytes:
    """A PNG of the lines in a font."""
    image = Image.new("L", (WIDTH, HEIGHT), 255)
    face = ImageFont.truetype(font, SIZE, layout_engine=ImageFont.Layout.RAQM)
    pen = ImageDraw.Draw(image)
    for i, text in enumerate(lines):
        pen.text((LEFT, TOP + PITCH * i), text, 0, face, language="km")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def row_of(box: tuple[int, int, int, int]) -> int:
    """Which of a page's lines a box holds."""
    return round(((box[1] + box[3]) / 2 - TOP - SIZE * 0.7) / PITCH)


def read_rows(page: Page) -> list[str]:
    """What was read of each of a page's lines; pieces of one line are joined."""
    rows: list[list] = [[] for _ in range(LINES)]
    for line in page.lines():
        if 0 <= row_of(line.box) < LINES:
            rows[row_of(line.box)].append(line)
    return [" ".join(x.text for x in sorted(row, key=lambda x: x.box[0])) for row in rows]


def cer(pages: list[tuple[bytes, list[str]]], weights: str | None) -> float:
    """Characters that are wrong on pages, of those that are there."""
    reader = PageReader(weights, threads=1)
    edits = characters = 0
    for data, truth in pages:
        for text, read in zip(truth, read_rows(reader.read(data).pages[0]), strict=True):
            edits += Levenshtein.distance(canonical(text), read)
            characters += len(canonical(text))
    return edits / characters


def correct(service: RunningService, data: bytes, truth: list[str]) -> int:
    """Puts the true text on each line that is one whole line of the page; how many."""
    id = service.make_job(data).json()["id"]
    service.finished(id)
    path = f"/v1/jobs/{id}/pages/1"
    answer = service.client.get(path)
    page = answer.json()
    lines = [line for region in page["regions"] for line in region["lines"]]
    rows = [row_of(line["box"]) for line in lines]
    corrected = 0
    for line, row in zip(lines, rows, strict=True):
        if 0 <= row < LINES and rows.count(row) == 1:
            line["text"], line["confidence"] = truth[row], 1.0
            corrected += 1
    kept = service.client.put(path, json=page, headers={"If-Match": answer.headers["etag"]})
    kept.raise_for_status()
    return corrected


def main(argv: list[str] | None = None) -> int:
    """Prints the error before and after."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--font", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--pages", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only-before", action="store_true")
    args = parser.parse_args(argv)
    rows = texts(2 * args.pages * LINES, seed=21)
    pages = [
        (draw_page(rows[i : i + LINES], args.font), rows[i : i + LINES])
        for i in range(0, len(rows), LINES)
    ]
    theirs, others = pages[: args.pages], pages[args.pages :]
    print(f"before: {cer(others, None):.2%} of the characters of {len(others)} other pages wrong")
    if args.only_before:
        return 0
    args.out.mkdir(parents=True)
    with RunningService(args.out / "data") as service:
        count = sum(correct(service, data, truth) for data, truth in theirs)
    labels = args.out / "labels.tsv"
    run = [sys.executable, "-m", "khmer_fast"]
    export = [*run, "corrections", "--data", str(args.out / "data"), "--out", str(labels)]
    subprocess.run(export, check=True)
    print(f"{count} lines of {len(theirs)} pages corrected")
    for name, data in (
        ("corrections and rendered lines", [f"{labels}=1", "rendered=1"]),
        ("rendered lines alone", ["rendered=1"]),
    ):
        trained = args.out / name.replace(" ", "_")
        subprocess.run(
            [
                *run, "train", "--init-from", "packaged", "--data", *data, "--out", str(trained),
                "--epochs", str(args.epochs), "--lines-per-epoch", "600",
                "--learning-rate", "0.0003", "--warmup-steps", "50", "--batch-lines", "16",
                "--validate-lines", "50", "--threads", "1",
            ],
            check=True,
        )  # fmt: skip
        weights = str(trained / "models" / "best_model.safetensors")
        print(f"after {name}: {cer(others, weights):.2%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
