"""Machine-readable lines of passports, visas and cards (ICAO 9303): what may stand at each place.

A line of 30, 36 or 44 characters that fits one of the standard's layouts is read by it: where
letters alone may stand an 0 is an O, where digits alone may stand an O is an 0. Check digits are
verified, never mended: what they say is a flag. Those over several lines (the last one of a card's
second line) are not looked at, since a line is read by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<")
FLAG = "check digit"  # of document.FLAGS
CHANGED = 0.3  # share of a line's characters that may be put right by their place, at most

# What is read for a character of these lines wherever it stands: small letters, Khmer digits and
# shapes, guillemets.
_ANYWHERE = str.maketrans(
    "abcdefghijklmnopqrstuvwxyz០១២៣៤៥៦៧៨៩ទ«‹$@",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234567899<<SQ",
)
_LETTER = str.maketrans("0125684", "OIZSGBA")
_DIGIT = str.maketrans("OQDILZSGBA", "0001125684")
_SPECKS = str.maketrans("", "", " -.,'`~_|")  # read between two characters: none of the line's

# Classes of places: letters and fillers (A), digits (N), digits and fillers (n), all (X), sex (S).
_CLASSES = {
    "A": frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ<"),
    "N": frozenset("0123456789"),
    "n": frozenset("0123456789<"),
    "X": CHARACTERS,
    "S": frozenset("MFX<"),
}
_WAYS = {"A": _LETTER, "N": _DIGIT, "n": _DIGIT}


@dataclass(frozen=True)
class _Layout:
    """One kind of line: a class for each place, and which fields a check digit stands for."""

    places: str
    starts: str = ""  # letters that the line may begin with; empty: any
    checks: tuple[tuple[tuple[tuple[int, int], ...], int], ...] = ()
    # fields ((first place, last + 1), ...), and the place of their check digit


_PERSON = "X" * 9 + "N" + "AAA" + "nnnnnn" + "N" + "S" + "NNNNNN" + "N"  # number, country, dates
_OF_PERSON = ((((0, 9),), 9), (((13, 19),), 19), (((21, 27),), 27))


def _composite(end: int) -> tuple[tuple[tuple[int, int], ...], int]:
    return ((0, 10), (13, 20), (21, end)), end


_LAYOUTS = (
    _Layout("A" * 44, "PV"),
    _Layout(_PERSON + "X" * 14 + "nN", checks=(*_OF_PERSON, (((28, 42),), 42), _composite(43))),
    _Layout(_PERSON + "X" * 15 + "<", checks=_OF_PERSON),  # of a visa
    _Layout("A" * 36, "ACIPV"),
    _Layout(_PERSON + "X" * 7 + "N", checks=(*_OF_PERSON, _composite(35))),
    _Layout(_PERSON + "X" * 7 + "<", checks=_OF_PERSON),  # of a visa
    _Layout("A" * 5 + "X" * 9 + "n" + "X" * 15, "ACI", checks=((((5, 14),), 14),)),
    _Layout(
        "nnnnnn" + "N" + "S" + "NNNNNN" + "N" + "AAA" + "X" * 11 + "N",
        checks=((((0, 6),), 6), (((8, 14),), 14)),
    ),
    _Layout("A" * 30),
)


@dataclass(frozen=True)
class MachineReadable:
    """A machine-readable line: its characters, each with its place in what was read."""

    text: str
    places: tuple[int, ...]  # of the text's characters in the reading
    flags: tuple[str, ...] = ()


def check_digit(field: str) -> str:
    """The check digit of a field (weights 7, 3, 1, modulo 10); the field holds CHARACTERS alone."""
    total = sum((0 if c == "<" else int(c, 36)) * (7, 3, 1)[i % 3] for i, c in enumerate(field))
    return str(total % 10)


def settle(reading: str) -> MachineReadable | None:
    """A reading as its machine-readable line; None where it is none for certain."""
    if len(reading) < 30 or "<" not in reading:
        return None
    text = reading.translate(_ANYWHERE)
    return _settled(text) or _settled(text.replace("-", "<"))


def _settled(text: str) -> MachineReadable | None:
    kept = [i for i, c in enumerate(text) if c.translate(_SPECKS)]
    text = "".join(text[i] for i in kept)
    if not CHARACTERS.issuperset(text):
        return None
    best: tuple[int, int, str] | None = None  # changed characters and failing checks, the fewest
    for layout in _LAYOUTS:
        fitted = _fitted(text, layout)
        if fitted is None:
            continue
        wrong = sum(not right for right in _checks(fitted, layout))
        changed = sum(a != b for a, b in zip(text, fitted, strict=True))
        if best is None or (changed, wrong) < best[:2]:
            best = changed, wrong, fitted
    if best is None or best[0] > CHANGED * len(text):
        return None
    return MachineReadable(best[2], tuple(kept), (FLAG,) if best[1] else ())


def _fitted(text: str, layout: _Layout) -> str | None:
    """The text with each character put right by its place's class; None where that cannot be."""
    if len(text) != len(layout.places):
        return None
    out = ""
    for character, place in zip(text, layout.places, strict=True):
        allowed = _CLASSES.get(place, frozenset(place))
        if character not in allowed:
            character = character.translate(_WAYS.get(place, {}))
            if character not in allowed:
                return None
        out += character
    if layout.starts and out[0] not in layout.starts:
        return None
    if not layout.checks and "<<" not in out:
        return None
    return out if not layout.checks or any(_checks(out, layout)) or "<<<" in out else None


def _checks(text: str, layout: _Layout) -> list[bool]:
    """Whether each check digit is right; a filler stands for one of an empty field."""
    found = []
    for fields, place in layout.checks:
        field = "".join(text[first:end] for first, end in fields)
        if text[place] == "<":
            # of an empty field, or of a number too long for its field: it goes on behind
            found.append(not field.strip("<") or layout.starts != "")
        else:
            found.append(text[place] == check_digit(field))
    return found
