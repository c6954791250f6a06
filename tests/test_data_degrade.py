import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khmer_fast.data.config import DEFAULT_CONFIG, load_config
from khmer_fast.data.degrade import STEPS, Tones
from khmer_fast.data.page_config import load_page_config

TONES = Tones(ink=20, paper=230)
PAPERS = (*load_config(DEFAULT_CONFIG.with_name("varied.toml")).papers, *load_page_config().papers)
STRENGTHS = {
    name: sorted({s for p in PAPERS for step in p.steps if step.do == name for s in step.strength})
    for name in STEPS
}


def _page(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """White with black strokes."""
    rng = np.random.default_rng(seed)
    page = np.full((rows, columns), 255, np.uint8)
    for _ in range(1 + columns // 6):
        y, x = rng.integers(0, rows), rng.integers(0, columns)
        page[y : y + max(1, rows // 4), x : x + 2] = 0
    return page


def test_every_step_is_in_a_packaged_mixture():
    assert [name for name, strengths in STRENGTHS.items() if not strengths] == []


@pytest.mark.parametrize("name", sorted(STEPS))
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(8, 90), columns=st.integers(4, 400), seed=st.integers(0, 2**32), data=st.data()
)
def test_steps_keep_pages_and_repeat_themselves(name, rows, columns, seed, data):
    low, high = STRENGTHS[name][0], STRENGTHS[name][-1]
    strength = data.draw(st.floats(low, high))
    page = _page(rows, columns, seed)
    before = page.copy()
    once = STEPS[name](page, strength, np.random.default_rng(seed), TONES)
    assert np.array_equal(page, before)
    assert once.dtype == np.uint8 and once.ndim == 2
    assert once.shape[1] == columns and rows <= once.shape[0] <= 2 * rows + 2
    again = STEPS[name](page, strength, np.random.default_rng(seed), TONES)
    assert np.array_equal(once, again)


@pytest.mark.parametrize("name", ["tilt", "bend", "perspective"])
@pytest.mark.parametrize("seed", range(5))
def test_moved_ink_stays_on_the_page(name, seed):
    page = np.full((40, 400), 255, np.uint8)
    page[:4, 30:370] = 0
    page[-4:, 30:370] = 0
    moved = STEPS[name](page, STRENGTHS[name][-1], np.random.default_rng(seed), TONES)
    ink = (255 - page.astype(int)).sum()
    assert abs((255 - moved.astype(int)).sum() - ink) < 0.25 * ink


def test_tone_maps_black_and_white():
    page = np.array([[0, 255]], np.uint8)
    assert STEPS["tone"](page, 0, np.random.default_rng(0), TONES).tolist() == [[20, 230]]
    assert STEPS["invert"](page, 0, np.random.default_rng(0), TONES).tolist() == [[255, 0]]


def test_threshold_leaves_two_levels_and_keeps_grey_ink():
    page = np.full((20, 60), 250, np.uint8)
    page[5:15, 10:14] = 140
    out = STEPS["threshold"](page, 0.5, np.random.default_rng(0), TONES)
    assert set(np.unique(out)) == {0, 255}
    assert (out[6:14, 10:14] == 0).all()


@pytest.mark.parametrize("sigma", [0.4, 0.8, 1.2])
def test_blur_has_the_sigma_asked_for(sigma):
    page = np.full((41, 41), 255, np.uint8)
    page[20, 20] = 0
    dark = 255.0 - STEPS["blur"](page, sigma, np.random.default_rng(0), TONES)
    place = np.arange(41) - 20
    variance = (dark.sum(0) * place**2).sum() / dark.sum()
    assert variance == pytest.approx(sigma**2, rel=0.25)


def test_noise_has_the_deviation_asked_for():
    page = np.full((100, 100), 128, np.uint8)
    out = STEPS["noise"](page, 12.0, np.random.default_rng(0), TONES).astype(float)
    assert out.std() == pytest.approx(12.0, rel=0.1)
    assert out.mean() == pytest.approx(128, abs=1)


def test_low_resolution_leaves_sixteen_rows():
    page = _page(20, 200)
    fine = STEPS["low_resolution"](page, 2.6, np.random.default_rng(0), TONES)
    rough = STEPS["low_resolution"](_page(80, 200), 2.6, np.random.default_rng(0), TONES)
    assert fine.shape == (20, 200) and rough.shape == (80, 200)
    again = STEPS["low_resolution"](_page(16, 200), 2.6, np.random.default_rng(0), TONES)
    assert np.array_equal(again, _page(16, 200))
