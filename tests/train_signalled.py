"""`python -m tests.train_signalled NUMBER OPTION...`: `khmer-fast train` that gets a signal when it
has said that its second checkpoint is saved. Sent from outside, it comes when the machine lets it,
which may be after the run."""

import os
import signal
import sys
from typing import Any

from khmer_fast.cli import main


class Heard:
    """A stream that counts what is said."""

    def __init__(self, stream: Any, number: int):
        self.stream, self.number, self.left = stream, number, 2

    def write(self, text: str) -> int:
        written = self.stream.write(text)
        if "Saved checkpoint" in text:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


if __name__ == "__main__":  # not in the loader's workers
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.stderr = Heard(sys.stderr, int(sys.argv[1]))
    sys.exit(main(["train", *sys.argv[2:]]))
