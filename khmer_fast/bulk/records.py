"""Records of pages in Parquet files, which are also the ledger of what is done.

A task writes its records to one part under a temporary name and renames it: a part is there whole
or not at all. Parts are named by the file's sha256 and the pages they hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from khmer_fast.errors import BulkError

DONE, FAILED = "done", "failed"
PARTS_OF_A_FILE = 16  # characters of the sha256 in a part's name
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
    """The name of the part that holds pages `first` to `last` of a file."""
    return f"part-{sha256[:PARTS_OF_A_FILE]}-{first:06d}-{last:06d}.parquet"


def write_part(folder: Path, name: str, records: Sequence[PageRecord]) -> Path:
    """Writes records as one part, whole or not at all. Raises BulkError if the disk refuses."""
    pyarrow, parquet = arrow()
    table = pyarrow.Table.from_pylist([asdict(record) for record in records], schema=schema())
    temporary, path = folder / f".{name}.{os.getpid()}", folder / name
    try:
        with temporary.open("wb") as file:
            parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BulkError(
            f"{path}: cannot be written: {error.strerror or error}; the pages of this part will be "
            "read again when the run is resumed"
        ) from error
    return path


def parts(folder: Path) -> list[Path]:
    """All result files, in the order of their names."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def read_rows(paths: Iterable[Path], columns: Sequence[str] | None = None) -> Iterator[dict]:
    """Rows of result files, each id once. Raises BulkError for a file that cannot be read."""
    pyarrow, parquet = arrow()
    seen: set[str] = set()
    wanted = None if columns is None else list(dict.fromkeys(("id", *columns)))
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=wanted):
                    for row in batch.to_pylist():
                        if row["id"] not in seen:
                            seen.add(row["id"])
                            yield row
        except (pyarrow.ArrowException, OSError, KeyError) as error:
            raise BulkError(
                f"{path}: is no result of khmer-fast bulk, or damaged ({error}); remove it, and "
                "its pages are read again"
            ) from error


def clean(folder: Path) -> None:
    """Removes what killed writers left, and parts that a merged file holds already."""
    for path in folder.glob(".*"):
        path.unlink(missing_ok=True)
    _, parquet = arrow()
    for merged in folder.glob("merged-*.parquet"):
        held = (parquet.read_schema(merged).metadata or {}).get(b"parts", b"").decode()
        for name in held.split():
            (folder / name).unlink(missing_ok=True)


def merge(folder: Path, least: int = MERGED_PARTS) -> None:
    """Makes larger files of many parts; a kill in between leaves every record once."""
    pyarrow, parquet = arrow()
    small = [path for path in parts(folder) if path.name.startswith("part-")]
    while len(small) >= least:
        group, small = small[:least], small[least:]
        names = " ".join(path.name for path in group)
        count = len(list(folder.glob("merged-*.parquet")))
        temporary = folder / f".merged.{os.getpid()}"
        with temporary.open("wb") as file:
            with parquet.ParquetWriter(
                file, schema().with_metadata({"parts": names}), compression="zstd"
            ) as writer:
                for path in group:
                    writer.write_table(parquet.read_table(path, schema=schema()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / f"merged-{count:06d}.parquet")
        for path in group:
            path.unlink(missing_ok=True)
