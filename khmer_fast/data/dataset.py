"""Labelled lines on disk in three forms, and from one to another.

pairs    NAME.png + NAME.gt.txt in a folder
tsv      labels.tsv (image, text, further columns) and images/NAME.png
shards   lines-000000.tar, …: NAME.png, NAME.txt and, for further columns, NAME.json; a shard is
         read and written in one go, so that millions of lines stream (WebDataset reads it too)

Images are copied as the bytes they are; nothing is decoded on the way.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from khmer_fast.data.guard import refuse_real
from khmer_fast.data.source import Sample
from khmer_fast.errors import ImageError, KhmerFastError, printable
from khmer_fast.evaluation.labels import (
    GROUND_TRUTH_SUFFIX,
    IMAGE_SUFFIXES,
    LabelError,
    Problem,
    scan_labels,
)
from khmer_fast.files.images import load_grey
from khmer_fast.text import canonical

FORMS = ("pairs", "tsv", "shards")
SHARD_LINES = 10_000
MAX_MEMBER = 256 << 20  # bytes of one file in a shard


class DatasetError(KhmerFastError):
    """Stored lines that cannot be read or written; the message names the file and the line."""


@dataclass(frozen=True)
class StoredLine:
    """One line as it is stored: the bytes of its image file and that file's suffix, the text as
    the file has it, further columns; `where` is the file and line to blame."""

    name: str
    image: bytes
    suffix: str
    text: str
    columns: dict[str, str] = field(default_factory=dict)
    where: str = ""


def read_lines(
    path: str | Path, on_problem: Callable[[Problem], None] | None = None
) -> Iterator[StoredLine]:
    """The lines of a data set of any form, streamed.

    What cannot be used is given to `on_problem` and the rest goes on; without it, LabelError or
    DatasetError is raised, naming file and line.
    """
    path = Path(path)
    shards = _shards(path)
    if shards:
        for shard in shards:
            yield from _read_shard(shard, on_problem)
        return
    labels, problems = scan_labels(path)
    if problems and on_problem is None:
        raise LabelError(problems)
    for problem in problems:
        on_problem(problem)
    for label in labels:
        name = Path(label.name).with_suffix("").as_posix()
        try:
            image = label.image.read_bytes()
        except OSError as error:
            problem = Problem(label.where, f"image {label.name}: cannot be read: {error.strerror}")
            if on_problem is None:
                raise DatasetError(str(problem)) from error
            on_problem(problem)
            continue
        suffix = label.image.suffix.lower()
        yield StoredLine(name, image, suffix, label.text, label.columns, label.where)


def _shards(path: Path) -> list[Path]:
    if path.suffix == ".tar" and path.is_file():
        return [path]
    return sorted(path.glob("*.tar")) if path.is_dir() else []


def _read_shard(path: Path, on_problem: Callable[[Problem], None] | None) -> Iterator[StoredLine]:
    for name, parts in _members(path):
        line = _shard_line(path, name, parts)
        if isinstance(line, StoredLine):
            yield line
        elif on_problem is None:
            raise DatasetError(str(line))
        else:
            on_problem(line)


def _members(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Files of a shard that share a name, by suffix, streamed."""
    try:
        with tarfile.open(path, "r|") as tar:
            name, parts = "", {}
            for member in tar:
                if not member.isfile():
                    continue
                stem, _, suffix = member.name.rpartition(".")
                if stem != name and parts:
                    yield name, parts
                    parts = {}
                name = stem
                parts[f".{suffix.lower()}"] = _content(tar, member) or b""
            if parts:
                yield name, parts
    except _SHARD_ERRORS as error:
        raise _damaged(path, error) from error


_SHARD_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError)


def _damaged(path: Path, error: Exception) -> DatasetError:
    reason = printable(error, 200)
    return DatasetError(f"{printable(path)}: damaged or truncated shard ({reason})")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> bytes | None:
    """The bytes of a file in a shard; ValueError for one that claims to be larger than it is."""
    if member is None:
        return None
    if member.issparse() or member.size > MAX_MEMBER:
        raise ValueError(f"{printable(member.name, 80)} has {member.size:,} bytes")
    file = tar.extractfile(member)
    return file.read() if file else None


def _shard_line(path: Path, name: str, parts: dict[str, bytes]) -> StoredLine | Problem:
    where = f"{path}:{name}"
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if suffix in parts), None)
    if suffix is None or ".txt" not in parts:
        missing = "an image" if suffix is None else f"{name}.txt"
        return Problem(where, f"expected an image and a text beside each other, no {missing}")
    try:
        text = parts[".txt"].decode("utf-8").rstrip("\r\n")
        columns = json.loads(parts.get(".json", b"{}"))
    except (ValueError, RecursionError) as error:
        return Problem(where, f"expected UTF-8 text and JSON ({printable(error, 200)})")
    if not isinstance(columns, dict) or not all(isinstance(v, str) for v in columns.values()):
        return Problem(where, "expected columns as one JSON object of texts")
    if "\n" in text:
        return Problem(where, f"expected one line of text, got {text.count(chr(10)) + 1}")
    return StoredLine(name, parts[suffix], suffix, text, columns, where)


def write_lines(
    lines: Iterable[StoredLine], folder: str | Path, form: str, shard_lines: int = SHARD_LINES
) -> int:
    """Write lines to a new or empty folder in one of FORMS; returns how many there were.

    Raises DatasetError if the folder holds anything, if a name comes twice or if no line came.
    """
    folder = Path(folder)
    if form not in FORMS:
        raise DatasetError(f"expected one of the forms {', '.join(FORMS)}, got {form!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder}: expected a new or empty folder; choose another")
    folder.mkdir(parents=True, exist_ok=True)
    write = {"pairs": _write_pairs, "tsv": _write_tsv, "shards": _write_shards}[form]
    count = write(lines, folder, shard_lines)
    if not count:
        raise DatasetError(f"{folder}: expected at least one line to write, got none")
    return count


def _file_name(line: StoredLine) -> str:
    return line.name.removeprefix("images/").replace("/", "_")


def _write_pairs(lines: Iterable[StoredLine], folder: Path, _: int) -> int:
    count = 0
    for line in lines:
        name = _file_name(line)
        image = folder / (name + line.suffix)
        if image.exists():
            raise DatasetError(f"{line.where or line.name}: the name {name} comes twice")
        image.write_bytes(line.image)
        (folder / (name + GROUND_TRUTH_SUFFIX)).write_text(line.text + "\n", encoding="utf-8")
        count += 1
    return count


def _write_tsv(lines: Iterable[StoredLine], folder: Path, _: int) -> int:
    images = folder / "images"
    images.mkdir()
    count, columns = 0, []
    with (folder / "labels.tsv").open("w", encoding="utf-8", newline="\n") as table:
        for line in lines:
            if not count:
                columns = list(line.columns)
                table.write("\t".join(["image", "text", *columns]) + "\n")
            name = _file_name(line) + line.suffix
            if (images / name).exists():
                raise DatasetError(f"{line.where or line.name}: the name {name} comes twice")
            values = [line.columns.get(column, "") for column in columns]
            row = [f"images/{name}", line.text, *values]
            if any("\t" in value or "\n" in value for value in row):
                raise DatasetError(f"{line.where or line.name}: a tab or newline fits no TSV")
            (images / name).write_bytes(line.image)
            table.write("\t".join(row) + "\n")
            count += 1
    return count


def _write_shards(lines: Iterable[StoredLine], folder: Path, shard_lines: int) -> int:
    count, tar = 0, None
    try:
        for line in lines:
            if count % shard_lines == 0:
                if tar:
                    tar.close()
                tar = tarfile.open(folder / f"lines-{count // shard_lines:06}.tar", "w")
            name = _file_name(line)
            _add(tar, name + line.suffix, line.image)
            _add(tar, name + ".txt", line.text.encode())
            if line.columns:
                _add(tar, name + ".json", json.dumps(line.columns, ensure_ascii=False).encode())
            count += 1
    finally:
        if tar:
            tar.close()
    return count


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


HELD_OUT = 20  # every 20th line measures, where no validation set is given


@dataclass(frozen=True)
class _Place:
    """Where a line stands: its files, or offsets and sizes inside a shard."""

    file: Path
    image: tuple[int, int] | None
    text: str
    kind: str
    where: str


class StoredSource:
    """Stored lines to train on, in place of LineSource: `sample(seed, index)` is line `index` of
    an endless sequence, each pass over the set in an order of its own.

    The texts stay in memory, the images on disk. Labels are made canonical. Images of
    development sets are refused (RealImageError) when they are read. `held_out` takes every 20th
    line only (True), all others (False), or the whole set (None). What cannot be used is given to
    `on_problem` and left out; without it LabelError or DatasetError is raised.
    """

    def __init__(
        self,
        path: str | Path,
        held_out: bool | None = None,
        on_problem: Callable[[Problem], None] | None = None,
    ):
        self.path = path
        self._places = list(_places(Path(path), on_problem))
        if held_out is not None and len(self._places) > 1:
            held = set(self._places[::HELD_OUT])
            self._places = [place for place in self._places if (place in held) == held_out]
        if not self._places:
            raise DatasetError(f"{path}: expected at least one labelled line, got none")
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def labels(self) -> Iterator[tuple[str, str]]:
        """(where, canonical text) of each line."""
        return ((place.where, place.text) for place in self._places)

    def leave_out(self, numbers: Collection[int]) -> None:
        """Forgets lines by their number in labels(); raises DatasetError if none is left."""
        self._places = [place for n, place in enumerate(self._places) if n not in numbers]
        self._order = None
        if not self._places:
            raise DatasetError(f"{self.path}: none of its lines can be used")

    def size(self, number: int) -> tuple[int, int]:
        """Width and height of an image, read from its header; ImageError where it is damaged."""
        place = self._places[number]
        try:
            file = self._file(place)
            with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
                size = image.size
                image.verify()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ImageError(f"{place.where}: image cannot be read: {error}") from None
        return size

    def grey(self, number: int) -> np.ndarray:
        """The image [Y', X'] of a line by its number in labels()."""
        place = self._places[number]
        grey = load_grey(self._file(place), place.where)
        refuse_real(grey, place.where)
        return grey

    def _file(self, place: _Place) -> Path | bytes:
        if place.image is None:
            return place.file
        offset, size = place.image
        with place.file.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def sample(self, seed: int, index: int) -> Sample:
        """Line `index` (>= 0) in the order that `seed` (>= 0) gives."""
        epoch, at = divmod(index, len(self._places))
        if self._order is None or self._order[0] != (seed, epoch):
            order = np.random.default_rng((seed, epoch)).permutation(len(self._places))
            self._order = ((seed, epoch), order)
        number = int(self._order[1][at])
        place = self._places[number]
        return Sample(self.grey(number), place.text, place.kind)


def _places(path: Path, on_problem: Callable[[Problem], None] | None) -> Iterator[_Place]:
    shards = _shards(path)
    if not shards:
        labels, problems = scan_labels(path)
        if problems and on_problem is None:
            raise LabelError(problems)
        for problem in problems:
            on_problem(problem)
        for label in labels:
            kind = label.columns.get("kind", "")
            yield _Place(label.image, None, canonical(label.text), kind, label.where)
    for shard in shards:
        try:
            with tarfile.open(shard, "r:") as tar:
                found = list(_places_of_shard(shard, tar))
        except _SHARD_ERRORS as error:
            raise _damaged(shard, error) from error
        for place in found:
            if isinstance(place, _Place):
                yield place
            elif on_problem is None:
                raise DatasetError(str(place))
            else:
                on_problem(place)


def _places_of_shard(shard: Path, tar: tarfile.TarFile) -> Iterator[_Place | Problem]:
    members = {member.name: member for member in tar if member.isfile()}
    for name, member in members.items():
        stem, _, suffix = name.rpartition(".")
        if f".{suffix.lower()}" not in IMAGE_SUFFIXES:
            continue
        parts = {f".{suffix.lower()}": b"", ".json": b"{}"}
        for end in (".txt", ".json"):
            content = _content(tar, members.get(stem + end))
            if content is not None:
                parts[end] = content
        line = _shard_line(shard, stem, parts)
        if isinstance(line, Problem):
            yield line
            continue
        place = (member.offset_data, member.size)
        yield _Place(shard, place, canonical(line.text), line.columns.get("kind", ""), line.where)
