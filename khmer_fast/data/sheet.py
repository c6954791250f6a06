"""A contact sheet: line images with their texts below them, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from khmer_fast.data.draw import require_raqm
from khmer_fast.data.fonts import Face

_WIDTH, _GAP, _CAPTION = 1000, 8, 26
_TALLEST = 72
_BACKGROUND, _TEXT = 205, 60


def draw_sheet(
    lines: Sequence[tuple[np.ndarray, str]], face: Face, latin: Face | None = None
) -> Image.Image:
    """Draw images uint8 [Y', X'] (wide ones made smaller) and the text of each, in grey.

    Captions are in `face`, or in `latin` where they have no Khmer.
    """
    require_raqm()
    khmer = ImageFont.truetype(face.path, 15)
    other = ImageFont.truetype((latin or face).path, 13)
    images = [_fit(Image.fromarray(image)) for image, _ in lines]
    height = _GAP + sum(image.height + _CAPTION + _GAP for image in images)
    sheet = Image.new("L", (_WIDTH + 2 * _GAP, height), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    y = _GAP
    for image, (_, text) in zip(images, lines, strict=True):
        sheet.paste(image, (_GAP, y))
        y += image.height
        font = khmer if any("\u1780" <= c <= "\u17ff" for c in text) else other
        pen.text((_GAP + 2, y + _CAPTION * 0.7), text, _TEXT, font, anchor="ls")
        y += _CAPTION + _GAP
    return sheet


def save_sheet(sheet: Image.Image, path: str | Path) -> None:
    """Save as a PNG of 32 greys, which is small."""
    grey = np.asarray(sheet)
    levels = np.linspace(0, 255, 32).round().astype(np.uint8)
    indexed = Image.fromarray((grey.astype(np.uint16) * 31 // 255).astype(np.uint8)).convert("P")
    indexed.putpalette(np.repeat(levels, 3).tobytes())
    indexed.save(path, "PNG", optimize=True)


def _fit(image: Image.Image) -> Image.Image:
    scale = min(1.0, _WIDTH / image.width, _TALLEST / image.height)
    if scale == 1.0:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)
