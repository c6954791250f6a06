"""Files that are replaced as a whole or not at all, also over a kill, a full disk or a power cut.

What is written stands beside its target under a temporary name until it is whole and on the disk;
then it is renamed, and the folder is fsynced.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

WRITE_CHUNK = 4 << 20  # bytes a write() call


def replace_file(target: Path, content: bytes | memoryview) -> None:
    """Puts `content` in the place of `target`; raises OSError, and what stood there still does."""
    temporary = write_beside(target, content)
    try:
        os.replace(temporary, target)
    except OSError:
        remove(temporary)
        raise
    fsync_folder(target.parent)


def write_result(path: str | Path, content: bytes) -> None:
    """Writes what a user asked for at `path`: like replace_file, but through a link, and straight
    into what is no file of its own (a pipe, /dev/stdout)."""
    path = Path(path)
    device = str(path.absolute()).startswith(("/dev/", "/proc/"))
    if device or (path.exists() and not path.is_file()):
        with open(path, "wb") as file:
            file.write(content)
    else:
        replace_file(path.resolve(), content)


def write_beside(target: Path, content: bytes | memoryview) -> Path:
    """Writes and fsyncs a temporary file beside `target`; nothing is left of it on an error."""
    temporary = temporary_name(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(content)
        while len(view):
            view = view[os.write(descriptor, view[:WRITE_CHUNK]) :]
        os.fsync(descriptor)
    except BaseException:
        remove(temporary)
        raise
    finally:
        os.close(descriptor)
    return temporary


def temporary_name(target: Path) -> Path:
    """Where `target` is written before it is renamed."""
    return target.with_name(f".{target.name}.tmp")


def remove(path: Path) -> None:
    """Deletes a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def set_aside(path: Path) -> None:
    """Renames a file so that nothing takes it for part of a run; nothing is lost."""
    os.replace(path, path.with_name(path.name + ".set_aside"))


def fsync(path: Path) -> None:
    """Waits until what a file or folder holds is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(path: Path) -> None:
    """The same for the names in a folder, where the file system can."""
    try:
        fsync(path)
    except OSError as error:
        # some network file systems cannot fsync a folder; the rename is then all there is
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES):
            raise
