"""Khmer OCR: a line image in, Khmer Unicode text out.

`Reader` reads line images, `decode` is the decoder alone, `train` trains a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from khmer_fast import train
    from khmer_fast.document import Line
    from khmer_fast.errors import KhmerFastError
    from khmer_fast.recognize.decoder import decode
    from khmer_fast.recognize.reader import Reader

__all__ = ["KhmerFastError", "Line", "Reader", "decode", "train"]

_HOME = {  # loaded when first asked for: `khmer-fast --help` must not wait for torch
    "KhmerFastError": "khmer_fast.errors",
    "Line": "khmer_fast.document",
    "Reader": "khmer_fast.recognize.reader",
    "decode": "khmer_fast.recognize.decoder",
    "train": "khmer_fast.train",  # a package that can be called
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    return module if name == "train" else getattr(module, name)
