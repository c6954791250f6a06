"""Pictures of what each step made of a page, to look at: bands, lines, owners, order, crops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from khmer_fast.document import Page
from khmer_fast.page import pixels
from khmer_fast.page.find import FoundPage
from khmer_fast.page.parts import STRIDE

BAND = (255, 210, 0)
LINE, BASELINE, RULE, UNREAD = (0, 60, 255), (0, 150, 0), (255, 0, 255), (255, 0, 0)
COLOURS = ((0, 90, 200), (200, 60, 0), (0, 140, 60), (150, 0, 160), (0, 140, 160), (130, 110, 0))
CROPS_WIDTH = 1600  # pixels of the sheet of crops
MOST_CROPS = 200


def save_pictures(folder: str | Path, name: str, found: FoundPage, page: Page) -> list[Path]:
    """Writes NAME.bands.png, .lines.png, .owners.png, .order.png and .crops.png."""
    files = []
    for kind, picture in (
        ("bands", bands_picture(found)),
        ("lines", lines_picture(found)),
        ("owners", owners_picture(found)),
        ("order", order_picture(found, page)),
        ("crops", crops_picture(found)),
    ):
        files.append(Path(folder) / f"{name}.{kind}.png")
        picture.save(files[-1])
    return files


def bands_picture(found: FoundPage) -> Image.Image:
    """The network's probability of a band, yellow, and the smooth middles."""
    Y, X = found.owners.owners.shape
    probability = 1 / (1 + np.exp(-np.clip(found.maps.band, -30, 30)))
    cells = Image.fromarray(np.rint(255 * probability).astype(np.uint8))
    share = cells.resize((STRIDE * cells.width, STRIDE * cells.height), Image.Resampling.NEAREST)
    share = share.crop((0, 0, X, Y))
    picture = Image.composite(Image.new("RGB", (X, Y), BAND), _page(found), share)
    draw = ImageDraw.Draw(picture)
    for band in found.bands:
        draw.line([tuple(point) for point in band.middle.tolist()], BASELINE, 2)
    return picture


def lines_picture(found: FoundPage) -> Image.Image:
    """Outlines and baselines of the lines, and the page's rules."""
    picture = _page(found)
    draw = ImageDraw.Draw(picture)
    scale = picture.width / found.grey.shape[1]
    for line in found.lines:
        draw.polygon([(scale * x, scale * y) for x, y in line.polygon], outline=LINE)
        draw.line([(scale * x, scale * y) for x, y in line.baseline], BASELINE)
    for rule in (*found.rules.horizontal, *found.rules.vertical):
        draw.line([(scale * x, scale * y) for x, y in (rule.start, rule.end)], RULE, 2)
    return picture


def owners_picture(found: FoundPage) -> Image.Image:
    """Ink by line, in turns of colours; ink of no line red, rules and frames pink."""
    owners = found.owners.owners
    colours = np.full((pixels.NOBODY + 1, 3), UNREAD, np.uint8)
    colours[pixels.FRAME] = RULE
    lines = np.arange(1, len(found.bands) + 1)
    colours[lines] = np.array(COLOURS, np.uint8)[(lines - 1) % len(COLOURS)]
    picture = np.array(_page(found))
    picture[owners > 0] = colours[owners[owners > 0]]
    return Image.fromarray(picture)


def order_picture(found: FoundPage, page: Page) -> Image.Image:
    """Regions with their kinds, and lines with their numbers in reading order."""
    grey = found.grey
    scale = found.owners.owners.shape[1] / grey.shape[1]
    size = (round(scale * page.width), round(scale * page.height))
    if found.levelled:
        picture = Image.new("RGB", size, "white")  # boxes are those of the page as it lay
    else:
        picture = Image.fromarray(grey).convert("RGB").resize(size, Image.Resampling.BOX)
        picture = Image.blend(picture, Image.new("RGB", size, "white"), 0.5)
    draw = ImageDraw.Draw(picture)
    number, last = 0, None
    for i, region in enumerate(page.regions):
        colour = COLOURS[i % len(COLOURS)]
        left, top, right, bottom = (scale * edge for edge in region.box)
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=colour, width=2)
        draw.text((right + 4, top), f"{i + 1} {region.kind}", colour)
        for cell in region.cells:
            draw.rectangle([scale * edge for edge in cell.box], outline=colour)
        for line in region.all_lines():
            number += 1
            x, y = scale * line.box[0], scale * (line.box[1] + line.box[3]) / 2
            if last is not None:
                draw.line([last, (x, y)], colour)
            draw.text((x, y - 5), str(number), colour)
            last = (x, y)
    return picture


def crops_picture(found: FoundPage) -> Image.Image:
    """The lines as the reader gets them, one under the other."""
    crops = list(_crops(found))
    height = sum(crop.height + 4 for crop in crops) or 1
    sheet = Image.new("L", (CROPS_WIDTH, height), 128)
    y = 0
    for crop in crops:
        sheet.paste(crop, (0, y))
        y += crop.height + 4
    return sheet


def _crops(found: FoundPage) -> Iterator[Image.Image]:
    order = sorted(range(len(found.lines)), key=lambda i: found.lines[i].box[1])
    for i in order[:MOST_CROPS]:
        crop = Image.fromarray(found.crop(i).grey)
        if crop.width > CROPS_WIDTH:
            height = max(1, round(crop.height * CROPS_WIDTH / crop.width))
            crop = crop.resize((CROPS_WIDTH, height), Image.Resampling.BOX)
        yield crop


def _page(found: FoundPage) -> Image.Image:
    """The page at the network's scale, in colour and pale."""
    Y, X = found.owners.owners.shape
    grey = Image.fromarray(found.grey).resize((X, Y), Image.Resampling.BOX).convert("RGB")
    return Image.blend(grey, Image.new("RGB", grey.size, "white"), 0.3)
