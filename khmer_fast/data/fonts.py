"""Fonts: which files there are, what each can draw, and which draws which part of a line."""

from __future__ import annotations

import hashlib
import logging
import random
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError

from khmer_fast.data.corpus import data_folder
from khmer_fast.data.mixture import FontMixture
from khmer_fast.errors import KhmerFastError
from khmer_fast.text import DEFAULT_CHARSET, clusters

SYSTEM_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
SUFFIXES = (".ttf", ".otf", ".woff")
# Glyph names matter to nobody here; some of Debian's fonts have a few bytes too many of them.
logging.getLogger("fontTools.ttLib.tables._p_o_s_t").setLevel(logging.ERROR)

_CHARSET = frozenset(map(ord, DEFAULT_CHARSET))
_latin_or_digit = re.compile("[0-9A-Za-z]")
_KHMER = frozenset(range(0x1780, 0x17A3)) | frozenset(range(0x17B6, 0x17D3))


class FontError(KhmerFastError):
    """A font that does not open or cannot draw what is asked; the message names the file."""


@dataclass(frozen=True)
class Face:
    """One font file and the characters of the charset that it has glyphs for."""

    path: str
    covered: frozenset[str]
    khmer: bool

    def covers(self, text: str) -> bool:
        """Whether every character of `text` has a glyph."""
        return self.covered.issuperset(text)


@dataclass(frozen=True)
class Span:
    """A stretch of text and the face that draws it."""

    text: str
    face: Face


@lru_cache(maxsize=4096)
def open_face(path: str) -> Face:
    """Read a font's character map; FontError if the file is no font."""
    try:
        with TTFont(path, lazy=True, fontNumber=0) as font:
            codes = font.getBestCmap() or {}
            shaped = "GSUB" in font
    except (TTLibError, OSError, AssertionError, KeyError, ValueError) as error:
        raise FontError(f"{path}: does not open as a font ({error})") from error
    covered = frozenset(chr(code) for code in _CHARSET.intersection(codes))
    khmer = shaped and _KHMER.issubset(codes)
    return Face(str(path), covered, khmer)


def font_files(folders: tuple[str | Path, ...]) -> list[Path]:
    """All font files below the folders, one for each file name, in the order of their names."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(Path(folder).expanduser().rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


@dataclass(frozen=True)
class FontLibrary:
    """Khmer faces in weighted groups, and Latin faces to fall back on."""

    groups: tuple[tuple[Face, ...], ...]
    weights: tuple[float, ...]
    headings: tuple[float, ...]
    latin: tuple[Face, ...]
    own_latin: float
    machine: tuple[Face, ...] = ()  # for machine-readable lines

    def choose(self, rng: random.Random, text: str, *, heading: bool) -> Face | None:
        """A Khmer face that has every Khmer character of `text`, or None if none has."""
        needed = {c for c in text if "\u1780" <= c <= "\u17ff"}
        for _ in range(8):
            weights = self.headings if heading else self.weights
            face = rng.choice(rng.choices(self.groups, weights)[0])
            if face.covers(needed):
                return face
        capable = [face for group in self.groups for face in group if face.covers(needed)]
        return rng.choice(capable) if capable else None

    def spans(self, rng: random.Random, text: str, face: Face) -> list[Span] | None:
        """Split `text` into runs that one face each draws: Khmer in `face`, the rest there or in
        one Latin face. None if a character has no glyph anywhere."""
        if self.machine and "<" in text and rng.random() < 0.8:
            machine = rng.choice(self.machine)
            if machine.covers(text):
                return [Span(text, machine)]
        latin = rng.choice(self.latin) if self.latin else face
        own = rng.random() < self.own_latin
        if (own or not _latin_or_digit.search(text)) and face.covers(text):
            return [Span(text, face)]
        spans: list[Span] = []
        for cluster in clusters(text):
            if own or "\u1780" <= cluster[0] <= "\u17ff" or not cluster[0].isalnum():
                order = (face, latin)
            else:
                order = (latin, face)
            chosen = next((f for f in order if f.covers(cluster)), None)
            if chosen is None:
                chosen = next((f for f in self.latin if f.covers(cluster)), None)
            if chosen is None or ("\u1780" <= cluster[0] <= "\u17ff" and not chosen.khmer):
                return None
            if spans and spans[-1].face is chosen:
                spans[-1] = Span(spans[-1].text + cluster, chosen)
            else:
                spans.append(Span(cluster, chosen))
        return spans

    def faces(self) -> list[Face]:
        """All Khmer faces, then the others."""
        return [face for group in self.groups for face in group] + [*self.latin, *self.machine]


def load_fonts(
    mixture: FontMixture,
    folders: tuple[str | Path, ...] | None = None,
    *,
    held_out: bool = False,
    only: tuple[str | Path, ...] = (),
) -> FontLibrary:
    """Find the mixture's fonts below `folders` (by default the system's and KHMER_FAST_DATA's).

    `held_out` takes the fonts kept from training and only them. `only` names folders or files
    whose fonts are used in place of the mixture's Khmer groups. Raises FontError if no Khmer font
    is found, or if a file named in `only` does not open or has no Khmer.
    """
    if folders is None:
        folders = (*SYSTEM_FOLDERS, data_folder() / "fonts")
    files = font_files(tuple(folders))
    latin = _matching(files, mixture.latin)
    machine = _matching(files, mixture.machine)
    if only:
        faces = _only(only)
        return FontLibrary((tuple(faces),), (1.0,), (1.0,), latin, mixture.own_latin, machine)
    groups, weights, headings = [], [], []
    for group in mixture.groups:
        faces = tuple(
            _without(face, mixture.confused.get(Path(face.path).name, ""))
            for face in _matching(files, group.files)
            if face.khmer and _matches(face.path, mixture.held_out) == held_out
        )
        if faces:
            groups.append(faces)
            weights.append(group.weight)
            headings.append(group.headings)
    if not groups:
        raise FontError(
            "expected Khmer fonts, found none of the mixture's below "
            + ", ".join(map(str, folders))
            + "; install Debian's fonts-khmeros, or name a folder with --fonts"
        )
    return FontLibrary(
        tuple(groups), tuple(weights), tuple(headings), latin, mixture.own_latin, machine
    )


def _without(face: Face, characters: str) -> Face:
    return replace(face, covered=face.covered.difference(characters)) if characters else face


def _only(paths: tuple[str | Path, ...]) -> list[Face]:
    faces = []
    for path in map(Path, paths):
        if not path.exists():
            raise FontError(f"{path}: no such font file or folder")
        for file in font_files((path,)) if path.is_dir() else [path]:
            face = open_face(str(file))
            if not face.khmer:
                raise FontError(f"{file}: the font has no Khmer; take it out of the folder")
            faces.append(face)
    if not faces:
        raise FontError(
            f"{', '.join(map(str, paths))}: expected font files (.ttf, .otf, .woff), found none"
        )
    return faces


def _matching(files: list[Path], patterns: tuple[str, ...]) -> tuple[Face, ...]:
    return tuple(open_face(str(file)) for file in files if _matches(str(file), patterns))


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(Path(path).name, pattern) for pattern in patterns)


def file_hash(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
