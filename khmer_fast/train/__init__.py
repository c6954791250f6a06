"""The trainer: samples > batch > losses > step > validation > checkpoint.

The package itself can be called: `khmer_fast.train(data=["lines"], out="runs/first")` is
`khmer_fast.train.run.train`.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _Package(types.ModuleType):
    def __call__(self, *args: Any, **options: Any):
        from khmer_fast.train.run import train

        return train(*args, **options)


sys.modules[__name__].__class__ = _Package
