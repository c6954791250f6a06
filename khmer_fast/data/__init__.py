"""Rendered training lines and pages: text and fonts in, labelled grey images out.

lines: text files > corpus > texts > fonts > draw > degrade > source
pages: texts, fonts > page_composer, page_layouts > page_geometry > degrade > pages
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from khmer_fast.data.config import ConfigError, load_config
    from khmer_fast.data.mixture import RenderConfig
    from khmer_fast.data.pages import PageLine, PageRegion, PageSample, PageSource
    from khmer_fast.data.source import LineSource, Sample

__all__ = [
    "ConfigError",
    "LineSource",
    "PageLine",
    "PageRegion",
    "PageSample",
    "PageSource",
    "RenderConfig",
    "Sample",
    "load_config",
]

_HOME = {  # loaded when first asked for: `khmer-fast render --help` must not wait for Pillow
    "ConfigError": "khmer_fast.data.config",
    "LineSource": "khmer_fast.data.source",
    "PageLine": "khmer_fast.data.pages",
    "PageRegion": "khmer_fast.data.pages",
    "PageSample": "khmer_fast.data.pages",
    "PageSource": "khmer_fast.data.pages",
    "RenderConfig": "khmer_fast.data.mixture",
    "Sample": "khmer_fast.data.source",
    "load_config": "khmer_fast.data.config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
