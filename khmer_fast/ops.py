"""Loads the compiled module `_khmer_fast` and wraps what it offers: operators and the decoder."""

from __future__ import annotations

import torch

from khmer_fast.errors import KhmerFastError


class BuildMismatchError(KhmerFastError):
    """The compiled module is missing, or was built against another torch."""


def _load():
    try:
        import _khmer_fast_build as build
    except ImportError as error:
        raise BuildMismatchError(
            "khmer_fast's compiled module is not installed; run `pip install .` in its repository"
        ) from error
    running = torch.__version__.split("+")[0]
    if build.TORCH != running or (build.CUDA and build.CUDA != torch.version.cuda):
        built = build.TORCH + (f" with CUDA {build.CUDA}" if build.CUDA else "")
        cuda = f" with CUDA {torch.version.cuda}" if build.CUDA else ""
        raise BuildMismatchError(
            f"khmer_fast was built against torch {built} but runs with torch {running}{cuda}: "
            "rebuild it with `pip install --no-build-isolation --force-reinstall --no-deps .`, "
            f"or install torch=={build.TORCH}"
        )
    import _khmer_fast

    return build, _khmer_fast


build, _native = _load()
