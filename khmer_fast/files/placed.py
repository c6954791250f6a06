"""A page that was read, put back into its file: its transform, its notes, its text layer."""

from __future__ import annotations

from dataclasses import replace

from khmer_fast.document import Page
from khmer_fast.files.file_page import FilePage
from khmer_fast.files.text_layer import apply, layer_page

TEXT_LAYER = ("auto", "never", "only")  # what becomes of a PDF's own text

Transform = tuple[float, float, float, float, float, float]


def placed(page: Page, file_page: FilePage) -> Page:
    """The page that was read from `file_page.grey` as it stands in its file.

    `page.transform` leads from its pixels to those of `grey` and then to the file's; the notes of
    both stand together; the text is the file's own layer's where that is believed.
    """
    turned = page.transform
    page = replace(
        page,
        dpi=file_page.dpi,
        transform=after(turned, file_page.transform),
        notes=(*file_page.notes, *page.notes),
    )
    if page.error is not None or file_page.text_layer is None:
        return page
    return apply(page, file_page.text_layer.moved(inverse(turned)))


def unread(file_page: FilePage) -> Page:
    """The page with its text layer alone (`only`), not read from its picture; or with its error."""
    height, width = file_page.grey.shape
    page = Page(
        file_page.number,
        width,
        height,
        dpi=file_page.dpi,
        notes=file_page.notes,
        transform=file_page.transform,
        error=file_page.error,
    )
    return page if page.error else layer_page(page, file_page.text_layer)


def after(first: Transform, second: Transform) -> Transform:
    """The transform that does `first`, then `second`."""
    a, b, c, d, e, f = first
    p, q, r, s, t, u = second
    return (
        a * p + b * r,
        a * q + b * s,
        c * p + d * r,
        c * q + d * s,
        e * p + f * r + t,
        e * q + f * s + u,
    )


def inverse(transform: Transform) -> Transform:
    """The transform back."""
    a, b, c, d, e, f = transform
    det = a * d - b * c
    return (
        d / det,
        -b / det,
        -c / det,
        a / det,
        (c * f - d * e) / det,
        (b * e - a * f) / det,
    )
