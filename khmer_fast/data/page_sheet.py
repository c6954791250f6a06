"""A contact sheet of pages: as they are, with the owners of their ink, baselines and order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from khmer_fast.data.pages import PageSample

_GAP, _BACKGROUND = 8, (70, 70, 110)
_COLUMNS = 4


def draw_page_sheet(pages: Sequence[PageSample], side: int = 640) -> Image.Image:
    """Draw pages, each at most `side` pixels long, in rows of four: RGB."""
    pictures = []
    for page in pages:
        picture = draw_page(page)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        pictures.append(picture)
    columns = min(_COLUMNS, max(1, len(pictures)))
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    width = max((sum(p.width + _GAP for p in row) for row in rows), default=0) + _GAP
    heights = [max(p.height for p in row) + _GAP for row in rows]
    sheet = Image.new("RGB", (width, sum(heights) + _GAP), _BACKGROUND)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        left = _GAP
        for picture in row:
            sheet.paste(picture, (left, top))
            left += picture.width + _GAP
        top += height
    return sheet


def draw_page(page: PageSample) -> Image.Image:
    """A page in grey, each line's ink in a colour of its own, baselines in red, regions in blue
    with their numbers: RGB."""
    golden = np.arange(len(page.lines) + 1) * math.tau * 0.381966
    colours = np.stack([128 + 110 * np.cos(golden + shift) for shift in (0, 2.1, 4.2)], 1)
    colours[0] = 0
    rgb = np.repeat(page.image[..., None], 3, 2).astype(np.float32)
    inked = page.owner > 0
    rgb[inked] = 0.25 * rgb[inked] + 0.7 * colours[page.owner[inked]]
    picture = Image.fromarray(rgb.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    thick = max(1, round(max(page.image.shape) / 1000))
    for line in page.lines:
        pen.line([tuple(point) for point in line.baseline.tolist()], (220, 0, 0), thick)
    for i, region in enumerate(page.regions):
        pen.rectangle(region.box, outline=(0, 90, 255), width=thick)
        where = (region.box[0], max(0, region.box[1] - 12 * thick))
        pen.text(where, f"{i} {region.kind}", (0, 60, 200), font_size=11 * thick)
    return picture
