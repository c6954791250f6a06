"""Straight rules on a page (the lines of tables and frames, which are no text's ink), and the
straight edges of coloured grounds (of cards, cells, bars)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from khmer_fast.document import Point
from khmer_fast.page import pixels

SHORTEST_RULE = 40  # pixels of a whole rule
SHORTEST_EDGE = 30  # pixels of half the scale
LEAST_DIFFERENCE = 7  # grey levels between a rule and its paper
_BREAK = 16  # pixels between pieces of one rule, or a share of the shorter piece
_BREAK_SHARE = 0.3
_APART = 2.5  # pixels across between pieces of one rule
_BENT = 0.05  # between their slopes


@dataclass(frozen=True)
class Rule:
    """A rule from its left or upper end to its right or lower end; page pixels."""

    start: Point
    end: Point
    thickness: float


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules of a page, those from left to right and those from top to bottom, and the edges
    of its grounds, which are rules without thickness."""

    horizontal: tuple[Rule, ...] = ()
    vertical: tuple[Rule, ...] = ()
    mask: np.ndarray | None = None  # bool [Y, X], the rules' ink at the network's scale
    level_edges: tuple[Rule, ...] = ()
    upright_edges: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class _Piece:
    """A piece of a level rule: y = slope x + offset for columns left to right (exclusive)."""

    left: float
    right: float
    slope: float
    offset: float
    thickness: float

    def at(self, x: float) -> float:
        return self.slope * x + self.offset


def find_rules(grey: np.ndarray, scale: float = 1.0) -> Rules:
    """The rules and edges of a page: grey uint8 [Y, X].

    `scale` is the size of a pixel of `grey` over one of the page: rules are in pixels of the page,
    the mask in those of `grey`.
    """
    least = _least_difference(grey)
    level, upright, edges, upright_edges, mask = pixels.find_rules(grey, least)
    return Rules(
        tuple(_rules(level, SHORTEST_RULE, scale)),
        tuple(_upright(rule) for rule in _rules(upright, SHORTEST_RULE, scale)),
        mask,
        tuple(_rules(edges, SHORTEST_EDGE, scale / 2)),
        tuple(_upright(rule) for rule in _rules(upright_edges, SHORTEST_EDGE, scale / 2)),
    )


def _least_difference(grey: np.ndarray) -> int:
    """Grey levels by which a rule differs from its paper: more than the page's noise does."""
    some = grey[:: max(1, grey.shape[0] // 64)].astype(np.int16)
    bend = np.abs(2 * some[:, 1:-1] - some[:, :-2] - some[:, 2:])
    noise = _median(bend) if bend.size else 0.0
    return max(LEAST_DIFFERENCE, round(1.3 * noise))


def _median(values: np.ndarray) -> float:
    """The median of small whole numbers, counted."""
    total = np.bincount(values.ravel()).cumsum()
    middle = (values.size - 1) // 2, values.size // 2
    return float(np.searchsorted(total, middle, side="right").mean())


def _rules(pieces: np.ndarray, shortest: float, scale: float) -> Iterator[Rule]:
    """Level rules of pieces [P, 5], in pixels of the page."""
    for piece in _joined([_Piece(*numbers) for numbers in pieces.tolist()]):
        if piece.right - piece.left >= shortest:
            yield Rule(
                (piece.left / scale, (piece.at(piece.left) + 0.5) / scale),
                (piece.right / scale, (piece.at(piece.right) + 0.5) / scale),
                piece.thickness / scale,
            )


def _upright(rule: Rule) -> Rule:
    return Rule(rule.start[::-1], rule.end[::-1], rule.thickness)


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Pieces in line made one, over small breaks; those that lie on a longer one are it."""
    rules: list[_Piece] = []
    for piece in sorted(pieces, key=lambda p: (p.left, -p.right)):
        if any(_lies_on(rule, piece) for rule in rules):
            continue
        for i, rule in enumerate(rules):
            if _goes_on(rule, piece):
                y0, y1 = rule.at(rule.left), piece.at(piece.right)
                slope = (y1 - y0) / (piece.right - rule.left)
                thickness = max(rule.thickness, piece.thickness)
                rules[i] = _Piece(rule.left, piece.right, slope, y0 - slope * rule.left, thickness)
                break
        else:
            rules.append(piece)
    return rules


def _lies_on(rule: _Piece, piece: _Piece) -> bool:
    """Whether a piece is a stretch of a rule."""
    x = (piece.left + piece.right) / 2
    return piece.right <= rule.right and abs(rule.at(x) - piece.at(x)) <= _APART


def _goes_on(rule: _Piece, piece: _Piece) -> bool:
    """Whether a piece is in line with a rule, and not far behind its end."""
    shorter = min(rule.right - rule.left, piece.right - piece.left)
    if piece.left - rule.right > max(_BREAK, _BREAK_SHARE * shorter) or piece.right <= rule.right:
        return False
    x = (rule.right + piece.left) / 2
    return abs(rule.at(x) - piece.at(x)) <= _APART and abs(rule.slope - piece.slope) <= _BENT
