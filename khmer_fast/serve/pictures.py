"""Pictures of a job's pages and of their lines, drawn in a worker or for a training set."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from khmer_fast.document import Box
from khmer_fast.errors import FileError
from khmer_fast.files.file_page import FilePage, PageRanges
from khmer_fast.files.pages import open_pages
from khmer_fast.page.find import find_lines
from khmer_fast.page.segment import Segmenter
from khmer_fast.serve.tasks import Source

JPEG_QUALITY = 85


def open_page(source: Source, number: int, text_layer: bool = False) -> FilePage:
    """One page of a file, as it lies there."""
    ranges = PageRanges(((number, number),))
    return next(open_pages(Path(source.path), ranges, source.password, text_layer, source.name))


def upright(image: FilePage, rotation: int) -> np.ndarray:
    """A page turned upright, `rotation` as Page.rotation: uint8 [Y, X]. Raises FileError for a page
    that cannot be shown."""
    if image.error is not None:
        raise FileError(image.error)
    return np.ascontiguousarray(np.rot90(image.grey, rotation // 90))


def jpeg(grey: np.ndarray, width: int | None) -> bytes:  # uint8 [Y, X]
    """The picture as a JPEG, made smaller where `width` says so."""
    image = Image.fromarray(grey)
    if width is not None and width < image.width:
        height = max(round(image.height * width / image.width), 1)
        image = image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
    return _encoded(image, "JPEG", quality=JPEG_QUALITY)


def cut_lines(grey: np.ndarray, boxes: Sequence[Box], segmenter: Segmenter) -> list[bytes]:
    """PNGs of lines of an upright page, uint8 [Y, X]: those that the page network finds are cut as
    the reader saw them, others (drawn, split, joined) by their boxes."""
    found = find_lines(grey, segmenter, rotation=0)
    numbers = {found.box(line.box): i for i, line in enumerate(found.lines)}
    pictures = []
    for box in boxes:
        left, top, right, bottom = box
        crop = found.crop(numbers[box]).grey if box in numbers else grey[top:bottom, left:right]
        pictures.append(_encoded(Image.fromarray(crop), "PNG"))
    return pictures


def _encoded(image: Image.Image, format: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
