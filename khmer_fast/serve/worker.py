"""A worker process: tasks come through a pipe, and answers go back."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from khmer_fast.errors import KhmerFastError
from khmer_fast.serve.options import ReaderOptions
from khmer_fast.serve.tasks import Refusal

READY = "ready"


def main(pipe: Connection, options: ReaderOptions) -> None:
    """Loads a reader, says READY (or a Refusal), and answers batches of tasks until the pipe ends:
    each answer goes with its task's place in the batch, as soon as it is known.

    Anything but a KhmerFastError ends the process: the server starts another one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on a terminal is the server's to act on
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before torch is loaded
    with suppress(OSError):  # a machine short of memory ends a worker, never the server
        Path("/proc/self/oom_score_adj").write_text("500")

    from khmer_fast.serve.reading import Reading, refusal

    try:
        reading = Reading(options)
    except KhmerFastError as error:
        pipe.send(refusal(error))
        return
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the server has ended
        pipe.send(READY)
        while True:
            for answer in reading.answers(pipe.recv()):
                pipe.send(answer)


__all__ = ["READY", "Refusal", "main"]
