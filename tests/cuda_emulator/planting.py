"""Mistakes planted in the kernels, all in one build: `planted_mistake` says which is made."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cuda_emulator import ROOT, Emulator

CUDA = ROOT / "csrc" / "cuda"


@dataclass(frozen=True)
class Mistake:
    """In `file`, between `before` and `after`: `wrong` in the place of `right`.

    Both are an expression, or both are statements. `check` is what must notice it.
    """

    check: Callable[[Emulator], bool]
    file: str
    right: str
    wrong: str
    before: str = ""
    after: str = ""

    def switched(self, text: str, number: int) -> str:
        """The file's text with both, of which planted_mistake == number chooses the wrong one."""
        place = self.before + self.right + self.after
        assert text.count(place) == 1, (place, text.count(place))
        here = f"planted_mistake == {number}"
        if self.right.endswith(";"):
            both = f"if ({here}) {{ {self.wrong} }} else {{ {self.right} }}"
        else:
            both = f"({here} ? ({self.wrong}) : ({self.right}))"
        return text.replace(place, self.before + both + self.after)


def plant(folder: Path, mistakes: dict[str, Mistake]) -> None:
    """folder/cuda: the changed files with all mistakes; folder/planted.cpp: which is made, none."""
    (folder / "cuda").mkdir()
    changed: dict[str, str] = {}
    for number, mistake in enumerate(mistakes.values(), 1):
        text = changed.get(mistake.file) or (CUDA / mistake.file).read_text()
        changed[mistake.file] = mistake.switched(text, number)
    for name, text in changed.items():
        (folder / "cuda" / name).write_text(f'extern "C" int planted_mistake;\n{text}')
    (folder / "planted.cpp").write_text('extern "C" { int planted_mistake = 0; }\n')


def make(emulator: Emulator, number: int) -> None:
    """Makes mistake `number`, which counts from 1, and no other; 0: none."""
    ctypes.c_int.in_dll(emulator.library, "planted_mistake").value = number
