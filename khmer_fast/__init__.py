"""Khmer OCR: pages in, Khmer Unicode text out.

`read` reads a file, `PageReader` many of them, `Reader` line images; `decode` is the decoder alone,
`train` trains a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from khmer_fast import train
    from khmer_fast.document import Document, Line
    from khmer_fast.errors import (
        FileError,
        FormatError,
        ImageError,
        KhmerFastError,
        OptionError,
        WeightsError,
    )
    from khmer_fast.page.page_reader import PageReader, read
    from khmer_fast.recognize.decoder import decode
    from khmer_fast.recognize.engine import make_decoder
    from khmer_fast.recognize.reader import Reader
    from python_ref.attn_gru_step import DecoderWeights

    __version__: str

__all__ = [
    "DecoderWeights",
    "Document",
    "FileError",
    "FormatError",
    "ImageError",
    "KhmerFastError",
    "Line",
    "OptionError",
    "PageReader",
    "Reader",
    "WeightsError",
    "__version__",
    "decode",
    "make_decoder",
    "read",
    "train",
]

_HOME = {  # loaded when first asked for: `khmer-fast --help` must not wait for torch
    "DecoderWeights": "python_ref.attn_gru_step",
    "Document": "khmer_fast.document",
    "FileError": "khmer_fast.errors",
    "FormatError": "khmer_fast.errors",
    "ImageError": "khmer_fast.errors",
    "KhmerFastError": "khmer_fast.errors",
    "Line": "khmer_fast.document",
    "OptionError": "khmer_fast.errors",
    "PageReader": "khmer_fast.page.page_reader",
    "Reader": "khmer_fast.recognize.reader",
    "WeightsError": "khmer_fast.errors",
    "decode": "khmer_fast.recognize.decoder",
    "make_decoder": "khmer_fast.recognize.engine",
    "read": "khmer_fast.page.page_reader",
    "train": "khmer_fast.train",  # a package that can be called
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("khmer-fast")
        except PackageNotFoundError:  # run from its source folder
            return "unknown"
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    return module if name == "train" else getattr(module, name)
