"""Records of pages in Parquet files, which are also the ledger of what is done.

A task writes its records to one part under a temporary name and renames it: a part is there whole
or not at all. Parts are named by the file's sha256 and the pages they hold.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from khmer_fast.errors import BulkError

DONE, FAILED = "done", "failed"
NAMED = 32  # characters of the sha256 in a part's name
MERGED_PARTS = 512  # parts that become one larger file when a run ends


@dataclass(frozen=True)
class PageRecord:
    """What became of one page, or of a file that cannot be opened (page 0)."""

    id: str  # sha256 of the file, a colon, the page
    source: str
    page: int  # from 1; 0: the whole file
    status: str  # DONE or FAILED
    error: str  # empty where the page is done
    text: str
    confidence: float  # the characters' mean; 1 for an empty page
    lines: int
    seconds: float  # opening and reading
    version: str
    weights: str  # sha256 of the weights
    json: str  # the page as `khmer-fast read --format json` gives it; empty for a failure


def record_id(sha256: str, page: int) -> str:
    """The id of a page: known before the page is read."""
    return f"{sha256}:{page}"


def arrow() -> tuple[Any, Any]:
    """pyarrow and its parquet module. Raises BulkError that names the extra."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise BulkError("Parquet needs pyarrow: pip install 'khmer-fast[bulk]'") from error
    return pyarrow, pyarrow.parquet


def schema() -> Any:
    """The columns of results/*.parquet, a pyarrow schema."""
    pyarrow, _ = arrow()
    kinds = {
        "str": pyarrow.string(),
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
    }
    return pyarrow.schema([(field.name, kinds[str(field.type)]) for field in fields(PageRecord)])


def part_name(sha256: str, first: int, last: int) -> str:
    """The name of the part that holds pages `first` to `last` of a file.

    The parts of a file have no page in common, so that no two have one name.
    """
    return f"{part_prefix(sha256)}{first:06d}-{last:06d}.parquet"


def part_prefix(sha256: str) -> str:
    """How the names of a file's parts begin."""
    return f"part-{sha256[:NAMED]}-"


def write_part(folder: Path, sha256: str, records: Sequence[PageRecord]) -> Path:
    """Writes records of a file, in the order of pages, as one part, whole or not at all.

    Raises BulkError if the disk refuses.
    """
    pyarrow, _ = arrow()
    columns = {
        field.name: [_storable(getattr(record, field.name)) for record in records]
        for field in fields(PageRecord)
    }
    table = pyarrow.table(columns, schema=schema())
    path = folder / part_name(sha256, records[0].page, records[-1].page)
    _write_tables(path, [table])
    return path


def _storable(value: Any) -> Any:
    """Text as Parquet takes it: bytes of a name that are no UTF-8 become escapes."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def _write_tables(
    path: Path, tables: Iterable[Any], metadata: dict[str, str] | None = None
) -> None:
    """Writes tables as one file: under a temporary name until all is on the disk."""
    _, parquet = arrow()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            kept = schema().with_metadata(metadata)
            with parquet.ParquetWriter(file, kept, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BulkError(
            f"{path}: cannot be written: {reason(error)}; what is missing will be read when the "
            "same command is given again"
        ) from error


def reason(error: OSError) -> str:
    """What the system says; pyarrow's errors have the number alone."""
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))


def is_full_disk(error: OSError) -> bool:
    """Whether a disk, a quota or a limit refuses more bytes."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def parts(folder: Path) -> list[Path]:
    """All result files, in the order of their names."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def read_rows(paths: Iterable[Path], columns: Sequence[str] | None = None) -> Iterator[dict]:
    """Rows of result files, each id once. Raises BulkError for a file that cannot be read."""
    seen: set[str] = set()
    wanted = [field.name for field in fields(PageRecord)] if columns is None else columns
    for values in read_columns(paths, list(dict.fromkeys(("id", *wanted)))):
        for row in zip(*values, strict=True):
            if row[0] not in seen:
                seen.add(row[0])
                yield dict(zip(dict.fromkeys(("id", *wanted)), row, strict=True))


def read_columns(paths: Iterable[Path], columns: Sequence[str]) -> Iterator[list[list]]:
    """Batches of columns of result files. Raises BulkError for a file that cannot be read."""
    pyarrow, parquet = arrow()
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=list(columns)):
                    yield [batch.column(name).to_pylist() for name in columns]
        except (pyarrow.ArrowException, OSError, KeyError) as error:
            raise BulkError(
                f"{path}: is no result of khmer-fast bulk, or damaged ({error}); remove it, and "
                "its pages are read again"
            ) from error


def clean(folder: Path) -> None:
    """Removes what killed writers left, and parts that a merged file holds already."""
    for path in folder.glob(".*"):
        path.unlink(missing_ok=True)
    pyarrow, parquet = arrow()
    for merged in folder.glob("merged-*.parquet"):
        try:
            held = (parquet.read_schema(merged).metadata or {}).get(b"parts", b"").decode()
        except (pyarrow.ArrowException, OSError) as error:
            raise BulkError(
                f"{merged}: is damaged ({error}); remove it, and its pages are read again"
            ) from error
        for name in held.split():
            (folder / name).unlink(missing_ok=True)


def forget_failed(folder: Path) -> int:
    """Takes the records of failed pages out of the results, so that they are read once more.

    Returns their number. What is left of a part is named by the pages that it still holds, and a
    merged file forgets which parts it was made of: one of them may come again.
    """
    pyarrow, parquet = arrow()
    forgotten = 0
    for path in parts(folder):
        failed = sum(status.count(FAILED) for (status,) in read_columns([path], ("status",)))
        if not failed:
            continue
        forgotten += failed
        table = parquet.read_table(path, schema=schema())
        table = table.filter(pyarrow.compute.not_equal(table["status"], FAILED))
        kept = path
        if path.name.startswith("part-") and table.num_rows:
            pages = table["page"].to_pylist()
            kept = path.with_name(part_name(table["id"][0].as_py(), min(pages), max(pages)))
        if table.num_rows:
            _write_tables(kept, [table])
        if not table.num_rows or kept != path:
            path.unlink()
    return forgotten


def merge(folder: Path, least: int = MERGED_PARTS) -> None:
    """Makes larger files of many parts; a kill in between leaves every record once.

    Raises BulkError if the disk refuses.
    """
    _, parquet = arrow()
    small = [path for path in parts(folder) if path.name.startswith("part-")]
    while len(small) >= least:
        group, small = small[:least], small[least:]
        number = max((int(p.stem[7:]) for p in folder.glob("merged-*.parquet")), default=-1) + 1
        tables = (parquet.read_table(path, schema=schema()) for path in group)
        names = " ".join(path.name for path in group)
        _write_tables(folder / f"merged-{number:06d}.parquet", tables, {"parts": names})
        for path in group:
            path.unlink(missing_ok=True)
