"""What a file says about the program that made it, and when."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

NAME = "khmer_fast"


def program() -> str:
    """Name and version, as far as it is installed."""
    try:
        return f"{NAME} {version('khmer-fast')}"
    except PackageNotFoundError:
        return NAME


def now() -> datetime:
    """The time in UTC, in whole seconds; SOURCE_DATE_EPOCH, if set (reproducible-builds.org)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is not None:
        return datetime.fromtimestamp(int(epoch), timezone.utc)
    return datetime.now(timezone.utc).replace(microsecond=0)
