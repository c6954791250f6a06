"""How confidences are calibrated when weights are packaged."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from khmer_fast.data.corpus import data_folder
from scripts.package_weights import FROM_A_PAGE, cut_lines, platt


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.6, 0.5), (1.4, -1.0)])
def test_the_calibration_finds_how_confidences_mislead(slope, offset):
    rng = np.random.default_rng(0)
    logit = rng.normal(1.0, 2.0, 20_000)
    right = rng.random(len(logit)) < 1 / (1 + np.exp(-(slope * logit + offset)))
    confidence = 1 / (1 + np.exp(-logit))
    found = platt(list(zip(confidence.tolist(), right.tolist(), strict=True)))
    assert found == pytest.approx((slope, offset), abs=0.08)


def test_a_calibration_of_few_lines_stays_near_the_identity():
    assert platt([(0.9, True)]) == pytest.approx((1.0, 0.0), abs=0.2)


def test_lines_of_pages_are_cut_for_the_calibration():
    if not (data_folder() / "text").is_dir():
        pytest.skip("KHMER_FAST_DATA has no texts to draw pages of")
    lines = [*itertools.islice(cut_lines(), FROM_A_PAGE + 1)]
    for grey, text in lines:
        assert grey.dtype == np.uint8 and grey.ndim == 2 and text
    assert len({text for _, text in lines}) > 1
