"""Pictures of a run show what they claim: weights under the line, each series, round ticks."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from khmer_fast.train import plots


def ink(picture: Image.Image, box: tuple[int, int, int, int]) -> float:
    return 1 - float(np.asarray(picture.convert("L").crop(box), dtype=float).mean()) / 255


def test_an_attention_picture_shows_the_weights_under_the_line():
    image = np.full((48, 500), 255, np.uint8)
    image[:, 100:110] = 0
    weights = np.eye(10)
    tokens = [*"ភាស", "\u17d2", *" A1.", "«", "<eos>"]
    picture = plots.attention_picture(image, weights, tokens, "epoch 3")
    left = plots.MARGIN + plots.GUTTER
    top = picture.height - plots.MARGIN - 10 * plots.ROW
    assert picture.width == left + 500 + plots.MARGIN
    for row in range(10):
        y = top + row * plots.ROW
        shares = [
            ink(picture, (left + 50 * t + 2, y + 3, left + 50 * t + 48, y + plots.ROW - 3))
            for t in range(10)
        ]
        assert int(np.argmax(shares)) == row and shares[row] > 0.5
        assert sum(shares) - shares[row] < 0.2
        assert ink(picture, (plots.MARGIN, y, left - 2, y + plots.ROW)) > 0.005  # a label
    above = plots.MARGIN + 18
    assert ink(picture, (left + 100, above + 2, left + 110, above + 46)) > 0.95
    with pytest.raises(ValueError, match="tokens"):
        plots.attention_picture(image, weights, tokens[:3])
    plots.attention_picture(image, np.full((2, 7), np.nan), ["a", "b"])
    plots.attention_picture(image, np.zeros((0, 0)), [])


def test_attention_pictures_of_epochs_stand_side_by_side(tmp_path):
    image = np.full((48, 900), 255, np.uint8)
    for epoch in (1, 2, 3, 10, 100, 1000):
        plots.save_attention(tmp_path, 1, epoch, image, np.eye(3), ["a", "b", "c"], "lock-on 1")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len([n for n in names if re.fullmatch(r"line_01_epoch_\d+\.png", n)]) == 6
    with Image.open(tmp_path / "line_01.png") as sheet:
        assert sheet.width == 4 * plots.SHEET_WIDTH


def test_the_pictures_of_an_epoch(tmp_path):
    image = np.full((48, 300), 255, np.uint8)
    records = [{"epoch": 1, "val_cer": 0.5}]
    plots.draw_epoch(tmp_path / "plots", 1, records, [(image, "កខ")], [np.eye(3)])
    names = {path.relative_to(tmp_path / "plots").as_posix() for path in tmp_path.rglob("*.png")}
    assert names == {"history.png", "attention/line_01.png", "attention/line_01_epoch_001.png"}


def test_a_plot_shows_each_series_and_leaves_out_what_is_not_there():
    falling = [{"epoch": e, "val_cer": 1 / e, "train_loss": 1 / e} for e in range(1, 40)]
    picture = plots.history_plot(falling)
    assert picture.height == 480
    colours = np.asarray(picture).reshape(-1, 3).astype(int)
    near = (np.abs(colours - plots.SERIES[0]).sum(1) < 30).sum()
    assert near > 500
    assert plots.history_plot([{"epoch": 1, "val_cer": 0.5}]).height == 240
    for odd in ([], [{"epoch": 1}], [{"epoch": 1, "val_cer": math.nan}], [{"val_cer": 0.0}] * 2):
        assert plots.history_plot(odd).width == 900
    flat = [{"epoch": e, "train_loss": 0.0, "val_cer": 1e-9, "lock_on": 0.0} for e in range(3)]
    plots.history_plot(flat)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_enclose(low, width):
    high = low + width
    if high <= low:
        return
    ticks = plots._ticks(low, high)
    assert 2 <= len(ticks) <= 9 and ticks == sorted(ticks)
    room = 1e-6 * max(abs(low), abs(high), 1e-3)
    assert ticks[0] <= low + room and ticks[-1] >= high - room
