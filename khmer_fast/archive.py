"""What torch.save wrote, opened without trust: tensors and plain values, and nothing else.

torch.load(weights_only=True) runs no code, but a few bytes can still make it allocate without
bound (a bytearray of any size, a compressed entry of zeros). So before it is called, the archive's
parts must be stored as they are and fit in the file, and the pickle may name only what rebuilds a
tensor over one of those parts.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from typing import Any

import torch

from khmer_fast.errors import printable

ZIP_START = b"PK\x03\x04"
_ZIP_ENTRY = b"PK\x01\x02"  # stands once for each part
MAX_PARTS = 20_000
MAX_PICKLE = 4 << 20  # bytes; a checkpoint of `base` has 60,000

_STORAGES = "Double Float Half BFloat16 Long Int Short Char Byte Bool".split()
_ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}Storage" for name in _STORAGES),
}


class ArchiveError(Exception):
    """Why an archive cannot be used, in words that fit behind a file's name."""


def read_archive(content: bytes) -> Any:
    """The object of an archive that torch.save wrote, on the CPU; raises ArchiveError.

    Memory and time are bounded by the size of `content`. A tensor may claim more elements than its
    storage holds (strides of 0): whoever allocates by its size asks `holds_its_elements` first.
    """
    _check(content)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no exception types; any of them means: not usable
        raise ArchiveError(f"cannot be loaded: {_first_line(error)}") from error


def holds_its_elements(tensor: torch.Tensor) -> bool:
    """Whether a tensor lies dense in the CPU's memory, with a place for each of its elements."""
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return False
    reach = 1 + sum((n - 1) * abs(s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.numel() == 0 or reach == tensor.numel()


def _check(content: bytes) -> None:
    if content.count(_ZIP_ENTRY) > MAX_PARTS:
        raise ArchiveError(f"is an archive of more than {MAX_PARTS:,} parts")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            pickles = [part for part in parts if part.filename.endswith("/data.pkl")]
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise ArchiveError("is a compressed archive, which torch.save does not write")
            if sum(part.file_size for part in parts) > len(content):
                raise ArchiveError("claims parts that are larger than the file")
            if len(pickles) != 1:
                raise ArchiveError("is no archive that torch.save wrote: it has no data.pkl")
            if pickles[0].file_size > MAX_PICKLE:
                raise ArchiveError(f"describes its tensors in more than {MAX_PICKLE:,} bytes")
            pickled = archive.read(pickles[0])
    except ArchiveError:
        raise
    except Exception as error:  # zipfile stumbles in many ways over what is no zip
        raise ArchiveError(f"is not a whole archive: {_first_line(error)}") from error
    _check_pickle(pickled)


def _check_pickle(pickled: bytes) -> None:
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name == "GLOBAL":
                allowed = argument in _ALLOWED
            else:
                allowed = opcode.name not in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX")
            if not allowed:
                named = printable(argument or opcode.name, 80)
                raise ArchiveError(
                    f"holds objects that are neither tensors nor plain values ({named}), and "
                    "loading those can run a stranger's code"
                )
    except ArchiveError:
        raise
    except Exception as error:  # pickletools has no error of its own
        raise ArchiveError(f"its description of the tensors is damaged: {error!r}") from error


def _first_line(error: Exception) -> str:
    """What an error says, without torch's advice to load the file all the same."""
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "weights_only" in words or "add_safe_globals" in words:
        words = "it holds what is neither a tensor nor a plain value"
    return printable(words, 200)
