"""Labels that can't be right: found by size, characters, order, duplicates and shared lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from khmer_fast.data.dataset import StoredLine
from khmer_fast.data.guard import image_hash, real_images
from khmer_fast.errors import ImageError, printable
from khmer_fast.files.images import load_grey
from khmer_fast.recognize.line_image import prepare_line
from khmer_fast.text import DEFAULT_CHARSET, canonical, clusters, describe_character

# Pixels at 48 rows: the densest real line has 8.3 a character, and no cluster is narrower than 4.
_NARROWEST_CHARACTER = 4.0
_WIDEST_CHARACTER = 120.0
_RARE_SHARE = 1e-5  # so none in sets under 100,000 characters, where many are rare by chance
_SHARED_LENGTH = 12  # shorter texts are shared by chance


@dataclass(frozen=True)
class LabelFault:
    """One line that looks wrong: where it stands, which check found it, and what was found."""

    where: str
    check: str
    message: str

    def __str__(self) -> str:
        return f"{printable(self.where)}: {self.check}: {printable(self.message)}"


@dataclass
class Checker:
    """Checks lines as they stream by; `finish` gives what only the whole set shows.

    `known_texts` and `known_images` are those of the sets that this one must not share lines with.
    """

    known_texts: dict[str, str] = field(default_factory=dict)
    known_images: dict[str, str] = field(default_factory=dict)
    lines: int = 0
    _images: dict[str, str] = field(default_factory=dict)
    _characters: Counter = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict)

    def check(self, line: StoredLine) -> Iterator[LabelFault]:
        """Faults of one line."""
        self.lines += 1
        yield from self._text(line)
        try:
            grey = load_grey(line.image, line.where)
            prepared = prepare_line(grey)
        except ImageError as error:
            yield LabelFault(line.where, "broken image", str(error))
            return
        yield from _width(line, prepared.shape[1])
        digest = image_hash(grey)
        if digest in self._images:
            yield LabelFault(
                line.where, "duplicate image", f"same pixels as {self._images[digest]}"
            )
        self._images.setdefault(digest, line.where)
        if digest in self.known_images:
            yield LabelFault(line.where, "shared image", f"also in {self.known_images[digest]}")
        if digest in real_images():
            yield LabelFault(line.where, "real image", "of a development set: never train on it")

    def _text(self, line: StoredLine) -> Iterator[LabelFault]:
        text = canonical(line.text)
        if text != line.text:
            yield LabelFault(line.where, "not canonical", f"{line.text!r} is {text!r} in order")
        for character in set(text):
            self._characters[character] += text.count(character)
            self._first.setdefault(character, line.where)
            if character not in DEFAULT_CHARSET:
                named = describe_character(character)
                yield LabelFault(line.where, "unknown character", f"{named} is not in the charset")
        stray = [c for c in clusters(text) if "\u17b6" <= c[0] <= "\u17d3" or c[0] == "\u17dd"]
        if stray:
            named = describe_character(stray[0][0])
            yield LabelFault(line.where, "stray sign", f"{named} stands on no consonant")
        if len(text) >= _SHARED_LENGTH and text in self.known_texts:
            yield LabelFault(line.where, "shared text", f"also in {self.known_texts[text]}")

    def finish(self) -> Iterator[LabelFault]:
        """Faults over the whole set: characters so rare that a label may be mistyped."""
        total = sum(self._characters.values())
        for character, count in sorted(self._characters.items()):
            if count <= _RARE_SHARE * total:
                named = describe_character(character)
                message = f"{named} occurs {count} times in {total} characters"
                yield LabelFault(self._first[character], "uncommon character", message)


def _width(line: StoredLine, width: int) -> Iterator[LabelFault]:
    """`width` is the prepared line's, at 48 rows."""
    count = len(canonical(line.text))
    if count and width < _NARROWEST_CHARACTER * count:
        message = f"{count} characters in {width} pixels at 48 rows"
        yield LabelFault(line.where, "too many characters", message)
    elif count and width > _WIDEST_CHARACTER * (count + 4):
        message = f"{count} characters in {width} pixels at 48 rows"
        yield LabelFault(line.where, "too few characters", message)


def known_lines(sets: Iterable[Iterable[StoredLine]]) -> tuple[dict[str, str], dict[str, str]]:
    """Texts and image hashes of other data sets, each with where it stands."""
    texts: dict[str, str] = {}
    images: dict[str, str] = {}
    for lines in sets:
        for line in lines:
            texts.setdefault(canonical(line.text), line.where)
            images.setdefault(image_hash(load_grey(line.image, line.where)), line.where)
    return texts, images
