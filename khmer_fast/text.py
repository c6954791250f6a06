"""Canonical Khmer text, its clusters, and the vocabulary between characters and token ids.

Canonical form (docs/spec.md, section 4) is what labels, renderings, references and predictions are
brought to before they are compared. It changes the code points, never what a reader sees:

1. Invisible characters go: U+200B, U+200C, U+200D, U+FEFF and the other default-ignorable ones
   (joiners, soft hyphen, bidi marks, variation selectors, the deprecated U+17B4 and U+17B5).
   Control characters stay: they are errors for `Vocabulary.encode` to name.
2. White space of any kind (as `str.split` knows it) becomes single spaces, none at the ends. NFC.
3. Deprecated characters become what Unicode recommends: U+17A3 is U+17A2, U+17A4 is U+17A2 U+17B6,
   U+17D8 (beyyal) is U+17D4 U+179B U+17D4.
4. A syllable stands in the order of Unicode L2/22-290: base, robat, coeng + consonant (COENG RO
   last), register shifter, vowel, signs, final visarga. Split vowels are joined, and COENG DA is
   COENG TA (one glyph). A U under an upper vowel becomes the register shifter that fonts draw just
   like it there: U+17C9 on NGO NYO NO BA MO YO RO LO VO, U+17CA on SA HA QA.

A COENG that no consonant follows ends a syllable and stays where it is.
Source of 4: Unicode L2/22-290 and SIL's khnormal (MIT), without its error of counting a bare
consonant after a coeng pair to the same syllable.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from khmer_fast.errors import KhmerFastError

NORMALIZER_VERSION = "1"

PAD, BOS, EOS = 0, 1, 2
FIRST_CHARACTER = 3

COENG = "\u17d2"
_RO = "\u179a"
_BASE = "\u1780-\u17a2\u17a5-\u17b3\u25cc"
_NOT_RO = "\u1780-\u1799\u179b-\u17a2\u17a5-\u17b3\u25cc"
_NOT_BA = "\u1780-\u1793\u1795-\u17a2\u17a5-\u17b3\u25cc"
_FIRST_SERIES = (
    "\u1780-\u1783\u1785-\u1788\u178a-\u178d\u178f-\u1792\u1795-\u1797\u179e-\u17a0\u17a2"
)
_MARK = "\u17b6-\u17d1\u17d3\u17dd"
_SIGN = "\u17c6\u17cb\u17cd-\u17d1\u17d3\u17dd"
_VISARGA = "\u17c7\u17c8"
_MUUSIKATOAN, _TRIISAP = "\u17c9", "\u17ca"
_LOWERED_ON = {_MUUSIKATOAN: frozenset("ងញនបមយរលវ"), _TRIISAP: frozenset("សហអ")}

_replaced = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17a3\u17a4\u17b4\u17b5\u17d8\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]|\u17d2\u178a"
)
_REPLACEMENT = {
    "\u17a3": "\u17a2",
    "\u17a4": "\u17a2\u17b6",
    "\u17d8": "\u17d4\u179b\u17d4",
    "\u17d2\u178a": "\u17d2\u178f",
}

# A syllable with marks, unless it has at most one vowel and is in order already (nearly all are).
_ONE_VOWEL_TAIL = (
    f"\u17cc?(?:{COENG}[{_NOT_RO}])*(?:{COENG}{_RO})?[\u17c9\u17ca]?"
    f"(?:[\u17b6-\u17ba\u17bc-\u17c5]?[{_SIGN}]*|\u17bb[\u17c6\u17cb\u17cd-\u17cf\u17d1\u17d3]*)"
    f"[{_VISARGA}]*"
)
_syllable_to_order = re.compile(
    f"[{_BASE}](?!{_ONE_VOWEL_TAIL}(?![{_MARK}]|{COENG}[{_BASE}]))(?:[{_MARK}]|{COENG}[{_BASE}])+"
)
_part = re.compile(f"{COENG}.|.")
_strong = re.compile(f"[{_FIRST_SERIES}]\u17cc?(?:{COENG}[{_NOT_BA}]){{0,2}}$")
_low_shifter = re.compile(
    "([\u17c1-\u17c5]?)\u17bb(?=[\u17b7-\u17ba\u17be\u17bf\u17dd\u17d0]|\u17b6\u17c6)"
)


def _rank(part: str) -> int:
    """Place of a part of a syllable (a mark, or COENG and its consonant) in canonical order."""
    if part[0] == COENG:
        return 2 if part[1] == _RO else 1
    return _MARK_RANK[part]


_MARK_RANK = {
    chr(code): rank
    for rank, codes in (
        (0, [0x17CC]),  # robat
        (3, [0x17C9, 0x17CA]),  # register shifters
        (4, range(0x17BE, 0x17C6)),  # vowels with a part in front
        (5, range(0x17BB, 0x17BE)),  # vowels below
        (6, range(0x17B7, 0x17BB)),  # vowels above
        (7, [0x17B6]),  # vowel behind
        (8, [0x17C6, 0x17CB, *range(0x17CD, 0x17D2), 0x17D3, 0x17DD]),  # signs
        (9, [0x17C7, 0x17C8]),  # visarga
    )
    for code in codes
}


def _order_syllable(syllable: str) -> str:
    """The syllable with its parts in canonical order, its split vowels joined."""
    parts = sorted(_part.findall(syllable, 1), key=_rank)
    core_parts = [part for part in parts if _rank(part) <= 2]
    core = syllable[0] + "".join(core_parts)
    rest = "".join(parts[len(core_parts) :])
    rest = re.sub("\u17c1([\u17bb-\u17bd]?)\u17b8", "\u17be\\1", rest)  # E + II is OE
    rest = re.sub("\u17c1([\u17bb-\u17bd]?)\u17b6", "\u17c4\\1", rest)  # E + AA is OO
    rest = rest.replace("\u17be\u17bb", "\u17bb\u17be")
    shifter = _TRIISAP if _strong.search(core) else _MUUSIKATOAN
    if (low := _low_shifter.match(rest)) and not _LOWERED_ON[shifter].isdisjoint(core):
        rest = shifter + low.group(1) + rest[low.end() :]
    ordered = core + rest
    return ordered if ordered == syllable else _order_syllable(ordered)  # with piled-up vowels


def canonical(text: str) -> str:
    """Bring text to canonical form (see the module's docstring); idempotent, and NFC."""
    text = _replaced.sub(lambda match: _REPLACEMENT.get(match.group(), ""), text)
    text = unicodedata.normalize("NFC", text)
    text = " ".join(text.split())
    # NFC again: ordering can bring U+17DD before a COENG that no consonant follows.
    text = _syllable_to_order.sub(lambda match: _order_syllable(match.group()), text)
    return unicodedata.normalize("NFC", text)


LEADER = 6  # marks of a leader that scores compare
_dots = re.compile("[.…](?: ?[.…])+")
_dashes = re.compile(f"([-_—])(?: ?\\1){{{LEADER - 1},}}")


def shorten_leaders(text: str) -> str:
    """A canonical text as scores compare it: a run of six dots, dashes or underscores or more, with
    spaces between them or without, is six of them. `…` counts as three dots."""

    def six(match: re.Match[str]) -> str:
        run = match.group()
        return "." * LEADER if run.count(".") + 3 * run.count("…") >= LEADER else run

    return _dashes.sub(lambda match: match.group(1) * LEADER, _dots.sub(six, text))


_cluster = re.compile(f"[{_BASE}](?:{COENG}[{_BASE}]|[{_MARK}]|{COENG})*|.", re.DOTALL)


def clusters(text: str) -> list[str]:
    """Split text into clusters: a base with its coeng consonants, vowels and signs, or any other
    single character; joined they give the text back."""
    return _cluster.findall(text)


_VOWELS = frozenset(map(chr, range(0x17B6, 0x17C6)))
# Two vowels of a cluster that are one: parts of a split vowel, and a lowered register shifter.
_VOWEL_PAIRS = frozenset(
    [
        "\u17c1\u17b6",
        "\u17c1\u17b8",
        *(f"\u17bb{chr(c)}" for c in (0x17B7, 0x17B8, 0x17B9, 0x17BA, 0x17BE)),
    ]
)
_khmer_part = re.compile(f"{COENG}[{_BASE}]|.", re.DOTALL)
_base = re.compile(f"[{_BASE}]")
_mark = re.compile(f"[{_MARK}\u17b4\u17b5]|{COENG}")


def misplaced(text: str) -> int:
    """How many of its Khmer characters no cluster can hold where they stand.

    These are: a vowel, sign or subscript without a base before it (as in text in the order that it
    is drawn), a COENG without a consonant after it, a second vowel, a sign that is there already, a
    fourth subscript. `text` is as it was found, not canonical, which would put some of it in order.
    """
    wrong = 0
    cluster: list[str] | None = None  # marks and subscripts after the current base
    for part in _khmer_part.findall(text):
        if part in ("\u200b", "\u200c", "\u200d"):
            continue
        if _base.match(part):
            cluster = []
        elif not _mark.match(part):
            cluster = None
        elif cluster is None or part == COENG:
            wrong += 1
        else:
            vowels = [mark for mark in cluster if mark in _VOWELS]
            piled = part in _VOWELS and vowels and "".join((*vowels, part)) not in _VOWEL_PAIRS
            deep = part[0] == COENG and sum(mark[0] == COENG for mark in cluster) >= 3
            wrong += bool(piled or deep or (part[0] != COENG and part in cluster))
            cluster.append(part)
    return wrong


DEFAULT_CHARSET = (
    "".join(chr(code) for code in range(0x20, 0x7F))
    + "".join(chr(code) for code in range(0x1780, 0x17A3))  # consonants
    + "".join(chr(code) for code in range(0x17A5, 0x17B4))  # independent vowels
    + "".join(chr(code) for code in range(0x17B6, 0x17C6))  # dependent vowels
    + "".join(chr(code) for code in range(0x17C6, 0x17D4))  # signs and COENG
    + "\u17d4\u17d5\u17d6\u17d7\u17d9\u17da\u17db\u17dc\u17dd"  # punctuation, riel, rare signs
    + "".join(chr(code) for code in range(0x17E0, 0x17EA))  # digits
    + "«»“”‘’…–—"
)


class UnknownCharacterError(KhmerFastError, ValueError):
    """A text has characters that the vocabulary lacks; `characters` lists them."""

    def __init__(self, characters: Iterable[str], charset_size: int):
        self.characters = list(characters)
        named = ", ".join(describe_character(character) for character in self.characters)
        super().__init__(
            f"expected only the vocabulary's {charset_size} characters, got {named}: "
            "remove them from the text, or use a charset that contains them"
        )


def describe_character(character: str) -> str:
    """One character for a message: itself, its code point and its Unicode name."""
    name = unicodedata.name(character, "unnamed")
    shown = repr(character) if character.isprintable() else ascii(character)
    return f"{shown} (U+{ord(character):04X} {name})"


@dataclass(frozen=True)
class Vocabulary:
    """Characters and their token ids: `<pad>` 0, `<bos>` 1, `<eos>` 2, then the charset in order.

    Raises KhmerFastError for a charset that is empty or names a character twice.
    """

    charset: str = DEFAULT_CHARSET
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {character: i for i, character in enumerate(self.charset, FIRST_CHARACTER)}
        if not ids:
            raise KhmerFastError("expected a charset of at least one character, got an empty one")
        if len(ids) != len(self.charset):
            twice = sorted(c for c, times in Counter(self.charset).items() if times > 1)
            more = f" and {len(twice) - 10:,} more" if len(twice) > 10 else ""
            raise KhmerFastError(
                "expected each character once in the charset, got several of "
                + ", ".join(describe_character(character) for character in twice[:10])
                + more
            )
        object.__setattr__(self, "_ids", ids)

    @property
    def size(self) -> int:
        """Number of token ids, V: the characters and the three special tokens."""
        return FIRST_CHARACTER + len(self.charset)

    def encode(self, text: str) -> list[int]:
        """Token ids (each >= 3) of a canonical text, without `<bos>` and `<eos>`.

        Raises UnknownCharacterError that names every character outside the charset.
        """
        try:
            return [self._ids[character] for character in text]
        except KeyError:
            raise UnknownCharacterError(self.unknown(text), len(self.charset)) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; special tokens are skipped, others outside [0, V) an error."""
        size = self.size
        characters = []
        for token in ids:
            if not 0 <= token < size:
                raise KhmerFastError(f"expected token ids in [0, {size}), got {token}")
            if token >= FIRST_CHARACTER:
                characters.append(self.charset[token - FIRST_CHARACTER])
        return "".join(characters)

    def unknown(self, text: str) -> list[str]:
        """The distinct characters of a text that the charset lacks, in order of appearance."""
        return [character for character in dict.fromkeys(text) if character not in self._ids]
