"""A lock on a run folder: one trainer at a time, freed by the system however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path


class Locked(Exception):
    """Another process holds the lock; the message says which."""


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Holds the lock on `path`, which is made; raises Locked or OSError.

    Workers forked later do not hold it. Where the file system knows no locks, a warning says so.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    held = _Descriptor(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            raise Locked(holder or "unknown process") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            warnings.warn(f"{path.parent} cannot be locked: {error.strerror}", stacklevel=4)
        else:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            words = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, words.encode(), 0)
        yield
    finally:
        held.close()


class _Descriptor:
    """A file descriptor that forked children close, so that they do not keep its lock alive."""

    open_ones: weakref.WeakSet[_Descriptor] = weakref.WeakSet()

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        self.open_ones.add(self)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _close_in_child() -> None:
    for held in list(_Descriptor.open_ones):
        held.close()


os.register_at_fork(after_in_child=_close_in_child)
