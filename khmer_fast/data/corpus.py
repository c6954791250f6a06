"""Text files as the renderer draws from them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from khmer_fast.data.mixture import TextFile
from khmer_fast.errors import KhmerFastError

_COMPRESSED: dict[str, Callable[[Path], io.BufferedIOBase]] = {
    ".xz": lzma.LZMAFile,
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
}
# U+0085 and U+2028 are white space for khmer_fast.text; other control characters are damage.
_control = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd]")
_latin = re.compile(r"[A-Za-z][ -~]{2,80}")


class TextError(KhmerFastError):
    """A text file that cannot be used: the message names the file and the line."""


def data_folder() -> Path:
    """The folder of private development data: $KHMER_FAST_DATA; without it, one that is missing."""
    return Path(os.environ.get("KHMER_FAST_DATA") or "KHMER_FAST_DATA is not set")


def read_text(path: Path, *, drop_control: bool = False) -> str:
    """The text of a UTF-8 file (.xz, .gz and .bz2 too), lines ended by a newline.

    Raises TextError, naming file and line, for bytes that are not UTF-8 and, unless
    `drop_control`, for control characters.
    """
    try:
        compressed = _COMPRESSED.get(path.suffix)
        with path.open("rb") if compressed is None else compressed(path) as file:
            raw = file.read()
    except FileNotFoundError as error:
        raise TextError(
            f"{path}: there is no such text file; give texts of your own with --text, or set "
            "KHMER_FAST_DATA to the folder whose folder `text` has the mixture's"
        ) from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TextError(f"{path}: cannot be read: {reason}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise TextError(
            f"{path}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}); convert the file, for "
            "example with iconv"
        ) from error
    text = text.replace("\r\n", "\n")
    bad = _control.search(text)
    if bad and drop_control:
        return _control.sub("", text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        raise TextError(
            f"{path}:{line}: control character U+{ord(bad.group()):04X}; remove it from the text"
        )
    return text


@dataclass(frozen=True)
class Corpus:
    """Running texts and words to draw lines from; the weights stand beside the texts."""

    running: tuple[str, ...]
    running_weights: tuple[float, ...]
    words: tuple[tuple[str, ...], ...]
    word_weights: tuple[float, ...]
    latin: tuple[str, ...] = field(repr=False)


def load_corpus(files: tuple[TextFile, ...], folder: Path) -> Corpus:
    """Read the text files of a mixture from `folder`; TextError for a missing or empty one."""
    running: list[tuple[str, float]] = []
    words: list[tuple[tuple[str, ...], float]] = []
    for source in files:
        path = folder / source.file
        text = read_text(path, drop_control=source.drop_control)
        if not text.strip():
            raise TextError(f"{path}: expected text, the file is empty")
        if source.use == "running":
            running.append((text, source.weight))
        else:
            entries = (line.split("\t", 1)[0].strip() for line in text.split("\n"))
            words.append((tuple(entry for entry in entries if entry), source.weight))
    if not running:
        raise TextError("expected at least one text file of use 'running' in the mixture")
    latin = [m for text, _ in running for m in _latin.findall(text)]
    return Corpus(
        running=tuple(text for text, _ in running),
        running_weights=tuple(weight for _, weight in running),
        words=tuple(entries for entries, _ in words),
        word_weights=tuple(weight for _, weight in words),
        latin=tuple(dict.fromkeys(run.strip() for run in latin)),
    )
