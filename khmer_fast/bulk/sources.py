"""Sources to the names of files: files, folders, globs, lists, Parquet files of paths, URLs."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from khmer_fast.bulk.records import arrow
from khmer_fast.errors import BulkError
from khmer_fast.files.pages import SUFFIXES

STANDARD_INPUT = "-"
PATH_COLUMNS = ("path", "source", "file")  # of a Parquet file that lists files


def expand(sources: Iterable[str], stdin: IO[str] | None = None) -> Iterator[str]:
    """The names of all files that `sources` mean, in order, each once.

    A source is a file, a folder (searched through, in the order of names, for files that can be
    read), a pattern with `*`, `-` (a list of files, one a line, from `stdin`), a `.parquet` file
    with a column `path`, or a URL that fsspec opens (`s3://bucket/folder/`). A file that is not
    there is passed on: reading it makes the record that says so. Raises BulkError for a list or
    a folder that cannot be read, or a pattern that matches nothing.
    """
    seen: set[bytes] = set()
    for source in sources:
        for name in _expand(source, stdin):
            encoded = name.encode("utf-8", "surrogateescape")
            digest = hashlib.blake2b(encoded, digest_size=16).digest()  # shorter than the name
            if digest not in seen:
                seen.add(digest)
                yield name


def _expand(source: str, stdin: IO[str] | None) -> Iterator[str]:
    if source == STANDARD_INPUT:
        if stdin is None:
            raise BulkError("a list of files was to come from standard input, which is closed")
        yield from (line for line in (row.rstrip("\r\n") for row in stdin) if line.strip())
    elif is_url(source):
        yield from _in_filesystem(source)
    elif os.path.isdir(source):
        yield from _in_folder(source)
    elif source.endswith(".parquet"):
        yield from _in_parquet(source)
    elif glob.has_magic(source) and not os.path.lexists(source):
        names = sorted(glob.glob(source, recursive=True))
        if not names:
            raise BulkError(f"{source}: no file matches this pattern")
        for name in names:
            yield from _in_folder(name) if os.path.isdir(name) else (name,)
    else:
        yield source


def is_url(name: str) -> bool:
    """Whether fsspec opens the name: `s3://...`, `gs://...`, `memory://...`."""
    scheme, mark, _ = name.partition("://")
    return bool(mark) and scheme.isalnum()


def can_be_read(name: str) -> bool:
    """Whether a file of a folder is one to read, by the end of its name."""
    return name.lower().endswith(tuple(SUFFIXES))


def _in_folder(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise BulkError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(names) if can_be_read(name))


def _in_parquet(name: str) -> Iterator[str]:
    pyarrow, parquet = arrow()
    try:
        with parquet.ParquetFile(name) as file:
            columns = [c for c in PATH_COLUMNS if c in file.schema_arrow.names]
            if not columns:
                raise BulkError(
                    f"{name}: expected a column {' or '.join(PATH_COLUMNS)}, "
                    f"got {', '.join(file.schema_arrow.names)}"
                )
            for batch in file.iter_batches(columns=columns[:1]):
                yield from (str(value) for value in batch.column(0).to_pylist() if value)
    except (pyarrow.ArrowException, OSError) as error:
        raise BulkError(f"{name}: cannot be read as a Parquet list of files: {error}") from error


def _in_filesystem(url: str) -> Iterator[str]:
    try:
        import fsspec
    except ImportError as error:
        raise BulkError("a URL as a source needs fsspec: pip install 'khmer-fast[bulk]'") from error
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        if glob.has_magic(path):
            found = sorted(filesystem.glob(path))
        elif filesystem.isdir(path):
            found = sorted(name for name in filesystem.find(path) if can_be_read(name))
        else:
            found = [path]
    except Exception as error:  # each file system has errors of its own: no key, no host, no driver
        raise BulkError(f"{url}: cannot be listed: {type(error).__name__}: {error}") from error
    if not found and glob.has_magic(path):
        raise BulkError(f"{url}: no file matches this pattern")
    yield from (filesystem.unstrip_protocol(name) for name in found)


def local_copy(name: str, folder: Path) -> Path:
    """The file itself, or for a URL a copy of it in `folder`, which the caller removes.

    Raises OSError where it cannot be fetched.
    """
    if not is_url(name):
        return Path(name)
    import fsspec

    copy = folder / ("file" + os.path.splitext(name)[1])
    try:
        with fsspec.open(name, "rb") as remote, copy.open("wb") as file:
            while block := remote.read(1 << 20):
                file.write(block)
    except OSError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise OSError(f"{type(error).__name__}: {error}") from error
    return copy
