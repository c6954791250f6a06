"""Rendered pages on disk: NAME.png, NAME.json with what stands where, NAME.gt.txt with the text.

NAME.gt.txt has a printed line a line, a blank line between regions, a row of a table on one line
with a TAB between its cells; a page without text has none. NAME.owner.png, if it was asked for, is
PageSample.owner in 16 bits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from khmer_fast.data.dataset import DatasetError
from khmer_fast.data.pages import PageLine, PageRegion, PageSample
from khmer_fast.evaluation.labels import GROUND_TRUTH_SUFFIX

OWNER_SUFFIX = ".owner.png"


def page_text(page: PageSample) -> str:
    """The page's text in reading order, as NAME.gt.txt has it."""
    parts = []
    for number, _ in enumerate(page.regions):
        lines = [line for line in page.lines if line.region == number]
        rows: dict[object, dict[int, list[str]]] = {}
        for i, line in enumerate(lines):
            row, column = line.cell or (("line", i), 0)
            rows.setdefault(row, {}).setdefault(column, []).append(line.text)
        parts.append("\n".join("\t".join(map(" ".join, row.values())) for row in rows.values()))
    return "\n\n".join(parts)


def page_record(page: PageSample, image: str) -> dict[str, Any]:
    """What NAME.json holds: lines and regions in reading order, places in pixels of `image`."""
    return {
        "image": image,
        "width": page.image.shape[1],
        "height": page.image.shape[0],
        "rotation": page.rotation,
        "skew": round(page.skew, 4),
        "layout": page.layout,
        "paper": page.paper,
        "regions": [{"kind": region.kind, "box": region.box} for region in page.regions],
        "lines": [
            {
                "text": line.text,
                "baseline": [[round(float(x), 2), round(float(y), 2)] for x, y in line.baseline],
                "letter_height": round(line.letter_height, 3),
                "box": line.box,
                "region": line.region,
                "cell": line.cell,
                "kind": line.kind,
                "cut": line.cut,
            }
            for line in page.lines
        ],
    }


def write_pages(
    pages: Iterable[tuple[str, PageSample]], folder: str | Path, *, owners: bool = False
) -> int:
    """Write named pages to a new or empty folder; returns how many there were.

    Raises DatasetError if the folder holds anything.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder}: expected a new or empty folder; choose another")
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, page in pages:
        Image.fromarray(page.image).save(folder / f"{name}.png", compress_level=3)
        record = json.dumps(page_record(page, f"{name}.png"), ensure_ascii=False)
        (folder / f"{name}.json").write_text(record + "\n", encoding="utf-8")
        if page.lines:
            text = folder / (name + GROUND_TRUTH_SUFFIX)
            text.write_text(page_text(page) + "\n", encoding="utf-8")
        if owners:
            Image.fromarray(page.owner).save(folder / (name + OWNER_SUFFIX), compress_level=3)
        count += 1
    return count


def read_page(path: str | Path) -> PageSample:
    """A page from its NAME.json and what lies beside it; DatasetError without NAME.owner.png."""
    path = Path(path)
    record = json.loads(path.read_text(encoding="utf-8"))
    owners = path.with_name(path.stem + OWNER_SUFFIX)
    if not owners.exists():
        raise DatasetError(f"{owners}: there is no such file; render the pages with --owners")
    with Image.open(path.with_name(record["image"])) as image, Image.open(owners) as owner:
        return PageSample(
            np.asarray(image),
            np.asarray(owner).astype(np.uint16),
            tuple(_line(line) for line in record["lines"]),
            tuple(PageRegion(r["kind"], tuple(r["box"])) for r in record["regions"]),
            record["rotation"],
            record["skew"],
            record["layout"],
            record["paper"],
        )


def _line(line: dict[str, Any]) -> PageLine:
    return PageLine(
        line["text"],
        np.array(line["baseline"], np.float32),
        line["letter_height"],
        tuple(line["box"]),
        line["region"],
        tuple(line["cell"]) if line["cell"] else None,
        line["kind"],
        line["cut"],
    )
