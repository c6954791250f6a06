"""Labelled line images on disk: a TSV, or a folder of NAME.png + NAME.gt.txt pairs.

TSV: UTF-8, tabs, no quoting (a leading `"` is text); a header with the columns `image` and `text`,
further columns kept; image paths relative to the TSV. A folder may hold a `labels.tsv` instead of
pairs. An empty text is data: a line image with nothing on it.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from khmer_fast.errors import KhmerFastError, printable
from khmer_fast.text import describe_character

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
GROUND_TRUTH_SUFFIX = ".gt.txt"


@dataclass(frozen=True)
class Label:
    """One line image and its text as the file has it (not canonical yet).

    `name` is the image as the data set calls it; `where` is the file and line to blame.
    """

    image: Path
    text: str
    columns: dict[str, str] = field(default_factory=dict)
    name: str = ""
    where: str = ""


@dataclass(frozen=True)
class Problem:
    """A line of a data set that cannot be used: where it stands, and why it cannot."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.where)}: {printable(self.reason)}"


class LabelError(KhmerFastError):
    """A data set has lines that cannot be used; `problems` lists them."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        shown = [str(problem) for problem in problems[:5]]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more bad lines")
        super().__init__("\n".join(shown))


def load_labels(
    path: str | Path, check_images: bool = True, text_column: Sequence[str] = ("text",)
) -> list[Label]:
    """Load the labels of a data set (TSV or folder); the first `text_column` there is the text.

    Raises LabelError naming file and line for text that is not UTF-8, control characters, a wrong
    number of columns, an image that is missing or named twice; KhmerFastError for an empty set.
    """
    labels, problems = scan_labels(path, check_images, text_column)
    if problems:
        raise LabelError(problems)
    return labels


def scan_labels(
    path: str | Path, check_images: bool = True, text_column: Sequence[str] = ("text",)
) -> tuple[list[Label], list[Problem]]:
    """Load what can be used of a data set, and list what cannot; errors as for load_labels where
    the set as a whole cannot be read (no file, no header, no line at all)."""
    path = Path(path)
    if path.is_dir() and (path / "labels.tsv").is_file():
        path = path / "labels.tsv"
    found = _scan_folder(path) if path.is_dir() else _scan_tsv(path, text_column)
    labels: list[Label] = []
    problems: list[Problem] = []
    first: dict[str, str] = {}
    for entry in found:
        problem = (
            entry if isinstance(entry, Problem) else _image_problem(entry, first, check_images)
        )
        if problem is not None:
            problems.append(problem)
        else:
            labels.append(entry)
    if not labels and not problems:
        raise KhmerFastError(f"{printable(path)}: expected at least one labelled line, got none")
    if not labels:
        raise LabelError(problems)
    return labels, problems


def _image_problem(label: Label, first: dict[str, str], check_images: bool) -> Problem | None:
    """What is wrong with the label's image; `first` keeps where each image was named first."""
    image = os.path.normpath(label.image)
    if image in first:
        return Problem(label.where, f"image {label.name} was named before: {first[image]}")
    first[image] = label.where
    if check_images:
        try:
            there = label.image.is_file()
        except OSError as error:  # a name that is too long, a folder that may not be read
            name = printable(label.name, 80)
            return Problem(label.where, f"image {name} cannot be opened: {error.strerror}")
        if not there:
            return Problem(label.where, f"image {label.image} is missing")
    return None


def _scan_tsv(path: Path, text_column: Sequence[str]) -> list[Label | Problem]:
    header, *rows = _read(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    names = _decode(header.removesuffix(b"\r"), f"{path}:1").split("\t")
    text_name = next((name for name in text_column if name in names), None)
    if text_name is None or "image" not in names:
        got = ", ".join(printable(name, 80) for name in names[:8])
        raise KhmerFastError(
            f"{printable(path)}:1: expected a header with tab-separated columns, among them image "
            f"and {text_column[0]}, got {got}"
        )
    if len(set(names)) < len(names):
        raise KhmerFastError(
            f"{printable(path)}:1: expected each column name once, got {', '.join(names[:20])}"
        )
    found: list[Label | Problem] = []
    for number, row in enumerate(rows, 2):
        row = row.removesuffix(b"\r")
        if row:
            try:
                found.append(_tsv_label(path, number, row, names, text_name))
            except LabelError as error:
                found.extend(error.problems)
    return found


def _tsv_label(path: Path, number: int, row: bytes, names: list[str], text_name: str) -> Label:
    where = f"{path}:{number}"
    values = _decode(row, where).split("\t")
    if len(values) != len(names):
        reason = f"expected {len(names)} columns ({', '.join(names)}), got {len(values)}"
        raise LabelError([Problem(where, reason)])
    columns = dict(zip(names, values, strict=True))
    name, text = columns.pop("image"), columns.pop(text_name)
    if not name:
        raise LabelError([Problem(where, "expected an image's path, got nothing")])
    return Label(path.parent / name, text, columns, name, where)


def _scan_folder(folder: Path) -> list[Label | Problem]:
    files = {file.name for file in folder.iterdir()}
    found: list[Label | Problem] = []
    stems = sorted(
        name.removesuffix(GROUND_TRUTH_SUFFIX)
        for name in files
        if name.endswith(GROUND_TRUTH_SUFFIX)
    )
    if not stems:
        raise KhmerFastError(
            f"{printable(folder)}: expected NAME.png + NAME.gt.txt pairs or a labels.tsv, got "
            "neither"
        )
    for stem in stems:
        file = folder / (stem + GROUND_TRUTH_SUFFIX)
        image = next((stem + end for end in IMAGE_SUFFIXES if stem + end in files), f"{stem}.png")
        if not file.is_file():
            found.append(Problem(str(file), "expected a file of text, got something else"))
            continue
        data = _read(file).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
        if b"\n" in data:
            lines = data.count(b"\n") + 1
            found.append(Problem(str(file), f"expected one line of text, got {lines}"))
            continue
        try:
            found.append(Label(folder / image, _decode(data, str(file)), {}, image, str(file)))
        except LabelError as error:
            found.extend(error.problems)
    labelled = set(stems)
    for name in sorted(files):
        stem, dot, suffix = name.rpartition(".")
        if f".{suffix.lower()}" in IMAGE_SUFFIXES and stem not in labelled:
            missing = stem + GROUND_TRUTH_SUFFIX
            found.append(Problem(str(folder / name), f"has no text: {missing} is missing"))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KhmerFastError(f"{printable(path)}: cannot be opened: {error.strerror}") from error


def _decode(data: bytes, where: str) -> str:
    """The text of one line; raises LabelError if it is not UTF-8 or has control characters."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"expected UTF-8, got byte 0x{data[error.start]:02X} at position {error.start + 1}"
        raise LabelError([Problem(where, reason)]) from None
    control = next((c for c in text if c != "\t" and unicodedata.category(c) == "Cc"), None)
    if control is not None:
        reason = f"expected text, got the control character {describe_character(control)}"
        raise LabelError([Problem(where, reason)])
    return text
