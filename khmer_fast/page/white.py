"""White over the whole height or width of some places: their columns and bands."""

from __future__ import annotations

from collections.abc import Sequence

from khmer_fast.page.places import Place

GUTTER = 1.1  # letter heights of white between what stands side by side
SHRUNK = 0.2  # letter heights taken off each end of a line: boxes are never exact
WALLED = 0.3  # of a gutter's least width is enough where a rule stands in it


def columns_of(places: Sequence[Place]) -> list[list[Place]]:
    """Places by column from left to right: parted by every gutter that runs through all."""
    columns: list[list[Place]] = []
    right = float("-inf")
    for place in sorted(places, key=lambda place: place.left):
        shrunk = min(SHRUNK * place.letter, 0.1 * place.width)
        least = WALLED if place.index < 0 else 1.0
        if columns and place.left + shrunk - right < 0.9 * least * GUTTER * place.letter:
            columns[-1].append(place)
        else:
            columns.append([place])
        right = max(right, place.right - shrunk)
    return [sorted(column, key=lambda place: (place.bottom, place.left)) for column in columns]


def bands_of(places: Sequence[Place], touch: float = 0.0) -> tuple[list[list[Place]], list[float]]:
    """Places parted by white over the whole width, and how high that white is; `touch` is the share
    of its height by which a place may reach into the band above."""
    bands: list[list[Place]] = []
    whites = []
    end = float("-inf")
    for place in sorted(places, key=lambda place: place.top):
        if bands and place.top + touch * (place.bottom - place.top) < end:
            bands[-1].append(place)
        else:
            if bands:
                whites.append(place.top - end)
            bands.append([place])
        end = max(end, place.bottom)
    return bands, whites
