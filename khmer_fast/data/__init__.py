"""Rendered training lines: text and fonts in, labelled grey images out.

text files > corpus > texts > fonts > draw > degrade > source; datasets are stored by `dataset`.
"""

from khmer_fast.data.config import ConfigError, RenderConfig, load_config
from khmer_fast.data.source import LineSource, Sample

__all__ = ["ConfigError", "LineSource", "RenderConfig", "Sample", "load_config"]
