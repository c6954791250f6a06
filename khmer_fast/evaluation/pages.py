"""Scores of whole pages: characters in order and without order, lines missed, joined, split.

What stands on a page is known either line by line with boxes (`match_boxes`), or as text by line
or paragraph (`match_texts`), or as strings that are somewhere on it (`find_strings`). Texts are
compared canonical and without white space (`bare`): where a space stands is a matter of judgement.

In order: the edits between the page's whole text and the references one after the other. Without
order: each reference against the text that was matched with it, wherever it was read; text that
was matched with nothing counts as insertions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from khmer_fast.document import Box, Line
from khmer_fast.evaluation.metrics import LineEdits, line_edits
from khmer_fast.text import canonical

FOUND = 0.5  # of a reference's characters or width: with less of it, it is missed
MUCH_OF_A_LINE = 0.2  # of a line's characters: less of it is no sign of a split or a join
_USED = -1  # in a page's characters: matched already
_WALL = 1 << 20  # edits that it costs to step over matched characters


@dataclass(frozen=True)
class ReferenceLine:
    """A line that is known to stand on a page."""

    text: str
    box: Box


@dataclass(frozen=True)
class LineMatch:
    """A reference and what was read for it, both bare; an empty reference: text that is none's."""

    reference: str
    prediction: str
    box: Box | None = None  # of the reference, else of the found lines that it was read in

    @property
    def edits(self) -> LineEdits:
        """The match's counts, for `metrics.summarise`."""
        return line_edits(self.reference, self.prediction)


@dataclass(frozen=True)
class PageScore:
    """What one page, or one document, adds to the counts."""

    matches: tuple[LineMatch, ...]
    characters: int  # of the references
    edits_in_order: int
    lines: int  # references
    missed: int  # references of which less than half was found
    joined: int  # found lines that hold much of more than one reference
    split: int  # references that several found lines hold much of
    invented: int | None  # found lines that are no reference's; None: not all lines are known

    @property
    def edits_without_order(self) -> int:
        """Edits of all matches."""
        return sum(match.edits.edits for match in self.matches)


def total(scores: Sequence[PageScore]) -> PageScore:
    """The scores of several pages together; invented lines are known where they are for all."""
    invented = [score.invented for score in scores]
    return PageScore(
        matches=tuple(match for score in scores for match in score.matches),
        characters=sum(score.characters for score in scores),
        edits_in_order=sum(score.edits_in_order for score in scores),
        lines=sum(score.lines for score in scores),
        missed=sum(score.missed for score in scores),
        joined=sum(score.joined for score in scores),
        split=sum(score.split for score in scores),
        invented=None if None in invented else sum(n for n in invented if n is not None),
    )


def bare(text: str) -> str:
    """Canonical text without white space."""
    return canonical(text).replace(" ", "")


# ---- references with boxes ----


def match_boxes(
    references: Sequence[ReferenceLine], found: Sequence[Line], complete: bool
) -> PageScore:
    """Score found lines, in reading order, against references with boxes, in reading order.

    Each found word goes to the reference whose box holds most of it. `complete`: the references
    are all lines of the page; else words outside of them are left out, not counted as errors.
    """
    words = [(i, text, box) for i, line in enumerate(found) for text, box in _words(line)]
    boxes = np.array([line.box for line in references], dtype=np.float64).reshape(-1, 4)
    owner = [_owner(box, boxes) for _, _, box in words]
    matches, missed, split = [], 0, 0
    references_of: dict[int, set[int]] = defaultdict(set)  # of each found line
    for r, reference in enumerate(references):
        mine = [word for word, o in zip(words, owner, strict=True) if o == r]
        for i, _, _ in mine:
            references_of[i].add(r)
        lines = {i for i, _, _ in mine}
        prediction = bare(" ".join(text for _, text, _ in sorted(mine, key=_left)))
        matches.append(LineMatch(bare(reference.text), prediction, reference.box))
        missed += _covered(reference.box, [found[i].box for i in lines]) < FOUND or not prediction
        split += len(lines) > 1
    invented = None
    if complete:
        strangers = [i for i, line in enumerate(found) if bare(line.text) and not references_of[i]]
        invented = len(strangers)
        matches += [LineMatch("", bare(found[i].text), found[i].box) for i in strangers]
    in_order = (
        text for (_, text, _), o in zip(words, owner, strict=True) if complete or o is not None
    )
    expected = bare(" ".join(line.text for line in references))
    return PageScore(
        matches=tuple(matches),
        characters=sum(len(match.reference) for match in matches),
        edits_in_order=Levenshtein.distance(expected, bare(" ".join(in_order))),
        lines=len(references),
        missed=missed,
        joined=sum(len(mine) > 1 for mine in references_of.values()),
        split=split,
        invented=invented,
    )


def _words(line: Line) -> list[tuple[str, Box]]:
    """The words of a line with their boxes; the whole line where they are not known."""
    return [(word.text, word.box) for word in line.words] or [(line.text, line.box)]


def _left(word: tuple[int, str, Box]) -> int:
    return word[2][0]


def _owner(box: Box, boxes: np.ndarray) -> int | None:
    """The reference, of boxes [n, 4], that holds most of a word, at least half of its size."""
    if not len(boxes):
        return None
    size = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])  # [n, 2]
    shared = np.prod(np.clip(size, 0, None), axis=1)  # [n]
    best = int(shared.argmax())
    whole = (box[2] - box[0]) * (box[3] - box[1])
    reference = np.prod(boxes[best, 2:] - boxes[best, :2])
    return best if shared[best] > 0 and shared[best] >= min(whole, reference) / 2 else None


def _covered(box: Box, others: Sequence[Box]) -> float:
    """The share of a box's width that others stand over, under or in."""
    columns = np.zeros(box[2] - box[0], dtype=bool)
    for left, _, right, _ in others:
        columns[max(0, left - box[0]) : max(0, right - box[0])] = True
    return float(columns.mean()) if columns.size else 0.0


# ---- references without boxes ----


def match_texts(references: Sequence[str], found: Sequence[Line]) -> PageScore:
    """Score found lines, in reading order, against the page's text by line or paragraph, in order.

    Without order, each reference, the longest first, takes the stretch of the read text that is
    most like it (one stretch of what was read, so a paragraph needs its lines in order). What
    stays over on both sides is then paired where that makes fewer edits.
    """
    expected = [text for text in map(bare, references) if text]
    lines = [bare(line.text) for line in found]
    text = _codes("".join(lines))  # [n], of what is free yet
    line_of = np.repeat(np.arange(len(lines)), [len(line) for line in lines])  # [n]
    read = "".join(lines)
    taken: dict[int, tuple[int, int]] = {}  # stretch of each reference
    for r in sorted(range(len(expected)), key=lambda r: -len(expected[r])):
        start, end, edits = infix(_codes(expected[r]), text, line_of)
        if edits <= (1 - FOUND) * len(expected[r]):
            taken[r] = start, end
            text[start:end] = _USED
    for r, (start, end) in _pair_rest(expected, taken, read, text):
        taken[r] = start, end
        text[start:end] = _USED
    matches, missed, split = [], 0, 0
    parts = Counter()  # references that a found line holds much of
    for r, reference in enumerate(expected):
        start, end = taken.get(r, (0, 0))
        around = _around([found[i].box for i in set(line_of[start:end].tolist())])
        matches.append(LineMatch(reference, read[start:end], around))
        missed += matches[-1].edits.edits > (1 - FOUND) * len(reference)
        held = Counter(line_of[start:end].tolist())
        parts.update(i for i, n in held.items() if n >= MUCH_OF_A_LINE * len(lines[i]))
        split += sum(n >= MUCH_OF_A_LINE * len(reference) for n in held.values()) > 1
    free = np.bincount(line_of[text != _USED], minlength=len(lines))  # [lines], characters
    for i in np.flatnonzero(free):
        rest = "".join(read[k] for k in np.flatnonzero((line_of == i) & (text != _USED)))
        matches.append(LineMatch("", rest, found[i].box))
    return PageScore(
        matches=tuple(matches),
        characters=sum(map(len, expected)),
        edits_in_order=Levenshtein.distance("".join(expected), read),
        lines=len(expected),
        missed=missed,
        joined=sum(n > 1 for n in parts.values()),
        split=split,
        invented=sum(
            bool(line) and n > FOUND * len(line)
            for line, n in zip(lines, free.tolist(), strict=True)
        ),
    )


def _around(boxes: Sequence[Box]) -> Box | None:
    """The box round boxes, None of none."""
    if not boxes:
        return None
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _pair_rest(
    expected: Sequence[str], taken: dict[int, tuple[int, int]], read: str, text: np.ndarray
) -> list[tuple[int, tuple[int, int]]]:
    """Pairs of references that took nothing and stretches of text [n] that nobody took."""
    edges = np.flatnonzero(np.diff(np.pad(text != _USED, 1).astype(np.int8)))
    stretches = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    gains = sorted(
        (Levenshtein.distance(reference, read[start:end]) - len(reference) - end + start, r, k)
        for r, reference in enumerate(expected)
        if r not in taken
        for k, (start, end) in enumerate(stretches)
    )
    pairs: list[tuple[int, tuple[int, int]]] = []
    used: tuple[set[int], set[int]] = set(), set()
    for gain, r, k in gains:
        if gain < 0 and r not in used[0] and k not in used[1]:
            pairs.append((r, stretches[k]))
            used[0].add(r)
            used[1].add(k)
    return pairs


def _codes(text: str) -> np.ndarray:
    """The code points of a text, int32 [n]."""
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.int32).copy()


def infix(needle: np.ndarray, text: np.ndarray, line_of: np.ndarray) -> tuple[int, int, int]:
    """The stretch of text [n] with the fewest edits to needle [m]: start, end, edits.

    Both are code points, int32; `line_of` [n] is the found line of each character. The stretch
    holds no matched (`_USED`) characters. Of equal ones the first is taken, as long as its lines
    allow: a wrong character is a substitution, not one too few here and one too many elsewhere.
    """
    row = _infix_rows(needle, text)
    end = int(row.argmin())
    edits = int(row[end])
    while 0 < end < len(text) and line_of[end] == line_of[end - 1] and row[end + 1] == edits:
        end += 1
    low = max(0, end - len(needle) - edits)
    # Backwards from the end: the last character must be the stretch's last.
    back = _infix_rows(needle[::-1], text[low:end][::-1], anchored=True)
    start = end - int(back.argmin())
    while low < start < end and line_of[start] == line_of[start - 1]:
        if back[end - start + 1] != back[end - start]:
            break
        start -= 1
    return start, end, edits


def _infix_rows(needle: np.ndarray, text: np.ndarray, anchored: bool = False) -> np.ndarray:
    """Edits from needle [m] to the best stretch of text [n] that ends at each place: [n + 1].

    Anchored: the stretch starts at the text's start.
    """
    steps = np.where(text == _USED, _WALL, 1)
    walked = np.concatenate([[0], np.cumsum(steps)])  # [n + 1], what leaving characters out costs
    row = walked.copy() if anchored else np.zeros(len(text) + 1, dtype=np.int64)
    for done, code in enumerate(needle, 1):
        best = row + 1  # the needle's character is left out
        np.minimum(best[1:], row[:-1] + (text != code), out=best[1:])
        best[1:][text == _USED] = _WALL if anchored else done
        row = np.minimum.accumulate(best - walked) + walked
    return row


# ---- strings that stand somewhere ----


def find_strings(strings: Sequence[str], found: Sequence[Line]) -> PageScore:
    """Score strings that stand somewhere on a page: the edits to the best stretch for each.

    A stretch is one of the page's text as it was read; text that no string names is no error.
    """
    lines = [bare(line.text) for line in found]
    read = "".join(lines)
    text = _codes(read)
    line_of = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    matches = []
    for string in filter(None, map(bare, strings)):
        start, end, _ = infix(_codes(string), text, line_of)
        matches.append(LineMatch(string, read[start:end]))
    edits = [match.edits.edits for match in matches]
    return PageScore(
        matches=tuple(matches),
        characters=sum(len(match.reference) for match in matches),
        edits_in_order=sum(edits),
        lines=len(matches),
        missed=sum(
            n > (1 - FOUND) * len(match.reference) for n, match in zip(edits, matches, strict=True)
        ),
        joined=0,
        split=0,
        invented=None,
    )
