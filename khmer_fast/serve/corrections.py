"""Which lines a person corrected or accepted, and the data set that they make."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from khmer_fast.document import Box, Page
from khmer_fast.formats.json import read_page
from khmer_fast.serve.store import Store


@dataclass(frozen=True)
class CorrectedLine:
    """A line that a person vouches for."""

    page: int
    box: Box
    text: str
    read: str  # what the reader said there; "" for a line that it missed


def corrected_lines(read: Page, now: Page) -> list[CorrectedLine]:
    """The lines of a page whose text or place is not what was read, and those whose confidence a
    person raised to 1 (accepted as they are). Lines without text are left out: a picture of
    nothing would teach the reader to say nothing."""
    before = {line.box: line for line in read.lines()}
    lines = []
    for line in now.lines():
        old = before.get(line.box)
        accepted = old is not None and line.confidence == 1.0 > old.confidence
        if line.text and (old is None or old.text != line.text or accepted):
            lines.append(CorrectedLine(now.number, line.box, line.text, old.text if old else ""))
    return lines


def corrected_pages(store: Store, job: str) -> list[tuple[int, list[CorrectedLine]]]:
    """The corrected pages of a job: their rotation and their lines."""
    found = []
    for stored, read, now in store.texts(job):
        if stored.revision > 1:
            page = read_page(read)
            if lines := corrected_lines(page, read_page(now)):
                found.append((page.rotation, lines))
    return found


def image_name(job: str, page: int, line: int) -> str:
    """What the picture of a line is called, the same at each export."""
    return f"{job}-{page:04d}-{line:03d}.png"


def labels(rows: Sequence[tuple[str, CorrectedLine]]) -> bytes:
    """The labels.tsv of images and their lines, as `khmer-fast train --data` takes it."""
    file = io.StringIO()
    writer = csv.writer(file, "excel-tab", lineterminator="\n", quoting=csv.QUOTE_NONE,
                        quotechar=None)  # fmt: skip
    writer.writerow(["image", "text", "read", "page"])
    for image, line in rows:
        writer.writerow([image, _one_line(line.text), _one_line(line.read), line.page])
    return file.getvalue().encode()


def _one_line(text: str) -> str:
    return " ".join(text.split())
