"""The one reader of TOML files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from khmer_fast.errors import KhmerFastError, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: str | Path, error: type[KhmerFastError]) -> dict[str, Any]:
    """The tables of a TOML file; raises `error` where it cannot be read or is none."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as reason:
        raise error(f"{printable(path)}: cannot be read: {reason.strerror}") from reason
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as reason:
        raise error(f"{printable(path)}: not valid TOML: {printable(reason, 200)}") from reason
