"""Keeps the real images, which measure accuracy, out of training: by the content of their pixels.

real_images.toml holds the SHA-256 (its first 16 bytes) of the size and grey pixels of every image
of the development sets (real_* below KHMER_FAST_DATA); `list_real_images` made it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from khmer_fast.errors import KhmerFastError
from khmer_fast.files.images import load_grey
from khmer_fast.toml_file import read_toml

REAL_IMAGES = Path(__file__).with_name("real_images.toml")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


class RealImageError(KhmerFastError):
    """An image that only measures accuracy was about to be trained on."""


def image_hash(grey: np.ndarray) -> str:
    """SHA-256 of the size and the pixels of an image, uint8 [Y', X'], its first 16 bytes."""
    digest = hashlib.sha256(f"{grey.shape[0]}x{grey.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(grey))
    return digest.hexdigest()[:32]


@lru_cache(maxsize=1)
def real_images() -> frozenset[str]:
    """The hashes of the images that must not be trained on."""
    return frozenset(read_toml(REAL_IMAGES, KhmerFastError)["sha256"])


def refuse_real(grey: np.ndarray, where: str) -> None:
    """Raise RealImageError, which names `where`, if the image uint8 [Y', X'] is a real one."""
    if image_hash(grey) in real_images():
        raise RealImageError(
            f"{where}: this image is one of a development set, which measures accuracy and is "
            "never trained on; take it out of the training data"
        )


def list_real_images(folder: Path) -> str:
    """The text of real_images.toml for the real_* folders below the data folder."""
    paths = sorted(
        path
        for real in folder.glob("real_*")
        for path in real.rglob("*")
        if path.suffix.lower() in _SUFFIXES
    )
    hashes = sorted({image_hash(load_grey(path)) for path in paths})
    lines = "".join(f'  "{value}",\n' for value in hashes)
    return f"# Made by khmer_fast.data.guard.list_real_images.\nsha256 = [\n{lines}]\n"
