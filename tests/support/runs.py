"""Run folders with small states, for the tests of what a trainer leaves on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from khmer_fast.train.run_folder import RunFolder


def state_of(epoch: int, step: int | None = None) -> dict:
    generator = torch.Generator().manual_seed(epoch * 1000 + (step or 0))
    return {
        "model": {"weight": torch.randn(40, 16, generator=generator)},
        "epoch": epoch,
        "step": step,
        "schedule": {"rate": 0.1 / 3, "kind": "cosine"},
        "history": [{"cer": 1.1739}, None, True],
    }


def same(left, right) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right) and left.dtype == right.dtype
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def write_weights(path: Path) -> None:
    path.write_bytes(b"weights " * 100)


def new_run(path: Path, epochs: int = 0, keep: int = 3) -> RunFolder:
    folder = RunFolder(path, keep)
    folder.create()
    for epoch in range(1, epochs + 1):
        folder.save(state_of(epoch), epoch, best=True, write_weights=write_weights)
    return folder


def in_child(action, *arguments) -> int:
    """Exit status of action(*arguments) in a forked child, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            action(*arguments)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"child: {error!r}\n".encode())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }
