"""A file that appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from khmer_fast.errors import FormatError, printable


class NewFile:
    """Writes beside `path` under a temporary name, and renames at the end of a `with` block.

    An error inside the block leaves nothing behind, and what was at `path` as it was. Raises
    FormatError if `path` exists and `overwrite` is false, both before and after the work.
    """

    def __init__(self, path: Path, overwrite: bool = False):
        self.path = path
        self.overwrite = overwrite

    def open(self) -> BinaryIO:
        """Makes the temporary file, readable and writable."""
        self._refuse_existing()
        handle, name = tempfile.mkstemp(prefix=".khmer-fast-", dir=self.path.parent)
        self._temporary = Path(name)
        self.file: BinaryIO = os.fdopen(handle, "w+b")
        return self.file

    def finish(self) -> None:
        """Closes the file, safe on the disk under its temporary name."""
        if not self.file.closed:
            self.file.flush()
            os.fsync(self.file.fileno())
            os.fchmod(self.file.fileno(), 0o666 & ~_umask())
            self.file.close()

    def keep(self) -> None:
        """Gives the file its name."""
        try:
            self.finish()
            self._refuse_existing()
            os.replace(self._temporary, self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Removes what was written."""
        self.file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> BinaryIO:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.keep()
        else:
            self.discard()

    def _refuse_existing(self) -> None:
        if not self.overwrite and os.path.lexists(self.path):
            raise FormatError(
                f"{printable(self.path)}: is there already; move it away, or overwrite it"
            )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
