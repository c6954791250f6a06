"""`python -m benchmarks.rendered`: what it counts and draws, on a few lines of any model."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from benchmarks import rendered
from khmer_fast.data import LineSource
from khmer_fast.errors import KhmerFastError


def test_quick_run(tiny_weights, tmp_path, capsys):
    try:
        LineSource()
    except KhmerFastError as error:
        pytest.skip(str(error))
    sheet = tmp_path / "sheet.png"
    arguments = ["--lines", "40", "--weights", str(tiny_weights), "--sheet", str(sheet)]
    assert rendered.main(arguments) == 0
    out = capsys.readouterr().out
    told = json.loads(out.splitlines()[-1])
    assert told["trained_fonts"]["lines"] == told["held_out_fonts"]["lines"] == 40
    assert told["bfloat16"]["interval"][0] <= told["bfloat16"]["difference"]
    assert set(told["by"]) == {"text", "paper"} and "never trained on" in out
    drawn = Image.open(sheet)
    assert drawn.width == 1016 and drawn.height > 200
