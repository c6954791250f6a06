"""pdfium, which is one library with one state: whoever calls it holds `LOCK`."""

from __future__ import annotations

import threading
from types import ModuleType

from khmer_fast.errors import FileError

LOCK = threading.RLock()  # concurrent calls crash or lose text, even on different documents


def load() -> ModuleType:
    """pypdfium2. Raises FileError that names the extra where it is not installed."""
    try:
        import pypdfium2
    except ImportError as error:
        raise FileError("PDFs need pypdfium2: pip install 'khmer-fast[pdf]'") from error
    return pypdfium2
