"""Rows of cards: small blocks of a number or a name, large, and a line or two about it; and rows of
boxes, whatever stands in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from khmer_fast.page.places import Place
from khmer_fast.page.white import bands_of, columns_of

_LINES = 4  # of a card, at most
_LARGER = 1.3  # times the card's other letters: its number
_CARDS = 0.75  # of a row's blocks are cards
_FEWEST = 3  # cards on a page that has rows of them
_WHITE = 0.8  # letter heights between rows of cards, at least
_TOUCH = 0.25  # of its height by which a box may reach into the row above
_BOXES = 0.5  # of what stands on a page of boxes,
_MANY_BOXES = 4  # or so many of them


def card_rows(places: Sequence[Place]) -> list[list[Place]]:
    """Places parted, from top to bottom, into the rows of cards and what stands between them.

    One part where there are no two rows of cards.
    """
    best: list[list[Place]] = [list(places)]
    letters = sorted(place.letter for place in places)
    if len(letters) < 2 * _FEWEST or letters[-_FEWEST] <= _LARGER * letters[0]:
        return best  # no letters so much larger than others
    bands, whites = bands_of(places)
    least = _WHITE * letters[len(letters) // 2]
    most = 0
    for threshold in sorted({white for white in whites if white > least}, reverse=True):
        sections = [list(bands[0])]
        for white, band in zip(whites, bands[1:], strict=True):
            if white >= threshold:
                sections.append(list(band))
            else:
                sections[-1] += band
        cards = [_cards(section) for section in sections]
        if sum(cards) > most:
            most = sum(cards)
            best = _around(sections, cards)
    return best if most >= _FEWEST else [list(places)]


def box_rows(places: Sequence[Place], boxes: Collection[int]) -> list[list[list[Place]]]:
    """Places in rows of boxes and what stands between them, from top to bottom, each parted into
    its columns; `boxes` are their indices. None where most places are no boxes, or none stand
    beside each other."""
    count = sum(place.index in boxes for place in places)
    if count < 2 or count < min(_MANY_BOXES, _BOXES * len(places)):
        return []
    rows: list[list[list[Place]]] = []
    between: list[Place] = []  # what stands between two rows of boxes
    for band in bands_of(places, _TOUCH)[0]:
        if any(place.index in boxes for place in band):
            rows += [[between]] if between else []
            rows.append(columns_of(band))
            between = []
        else:
            between += band
    rows += [[between]] if between else []
    return rows if any(len(row) > 1 for row in rows) else []


def _around(sections: Sequence[list[Place]], cards: Sequence[int]) -> list[list[Place]]:
    """The sections of cards, and what stands between them, each as one."""
    parts: list[list[Place]] = []
    for k, section in enumerate(sections):
        if parts and not cards[k] and not cards[k - 1]:
            parts[-1] += section
        else:
            parts.append(list(section))
    return parts


def _cards(section: Sequence[Place]) -> int:
    """How many cards stand beside each other in a section; 0 where it is no row of them."""
    if len(section) < 4:  # two cards of two lines
        return 0
    columns = columns_of(section)
    cards = sum(map(_is_card, columns))
    return cards if cards >= 2 and cards >= _CARDS * len(columns) else 0


def _is_card(lines: Sequence[Place]) -> bool:
    """Whether one of two or a few lines, one under the other, is far larger than the others."""
    if not 2 <= len(lines) <= _LINES:
        return False
    if any(b.top < a.bottom for a, b in zip(lines, lines[1:], strict=False)):
        return False
    letters = sorted(place.letter for place in lines)
    return letters[-1] > _LARGER * letters[-2]
