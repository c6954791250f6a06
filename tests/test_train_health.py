"""Online checks warn of what is wrong, once, and are silent on a run that goes well."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khmer_fast.train import trend
from khmer_fast.train.health import Monitor
from khmer_fast.train.lock_on import lock_on, mean_lock_on


def good_record(epoch: int, **changes) -> dict:
    """A run that goes well, with a little noise."""
    noise = 0.01 * math.sin(7 * epoch)
    record = {
        "epoch": epoch,
        "step": epoch * 500,
        "lines": epoch * 16000,
        "train_loss": 2.0 * math.exp(-epoch / 8) + 0.05 + noise / 10,
        "val_loss": 2.1 * math.exp(-epoch / 8) + 0.08 + noise / 10,
        "val_cer": 0.9 * math.exp(-epoch / 6) + 0.01 + abs(noise) / 10,
        "val_without_eos": 0.01,
        "val_length": 40.0,
        "val_true_length": 41.0,
        "val_distinct": 1.0,
        "lock_on": min(0.3 + 0.2 * epoch, 0.8),
    }
    return {**record, **changes}


def codes(monitor: Monitor, records) -> list[str]:
    return [finding.code for record in records for finding in monitor.record(record)]


def test_a_good_run_is_silent():
    monitor = Monitor()
    assert codes(monitor, [good_record(epoch) for epoch in range(1, 25)]) == []
    for step in range(1, 500):
        assert monitor.step(step, {"nll": 3 / step, "ctc": 1e-9}, 1 + math.sin(step) ** 2) == []


def test_losses_that_cannot_be_are_named_with_their_step():
    for value, code in ((-0.7, "loss.negative"), (math.nan, "loss.not_finite")):
        (finding,) = Monitor().step(417, {"nll": value})
        assert finding.code == code and finding.level == "problem"
        assert "417" in finding.observation and finding.next_step
    assert "log_softmax" in Monitor().step(1, {"nll": -1.0})[0].meaning
    assert Monitor().step(1, {"ctc": -1e-6}) == []  # rounding
    assert Monitor().step(1, {"ctc": -0.1})[0].code == "loss.negative"


def test_a_gradient_that_explodes_is_said_and_a_single_spike_is_not():
    monitor = Monitor()
    for step in range(100):
        assert monitor.step(step, {}, 1.0 + 0.1 * (step % 3)) == []
    assert monitor.step(100, {}, 500.0) == []
    for step in range(101, 111):
        assert monitor.step(step, {}, 1.0) == []
    found = [f.code for step in range(111, 131) for f in monitor.step(step, {}, 50.0)]
    assert found == ["gradient.explodes"]
    assert Monitor().step(1, {}, math.inf)[0].code == "gradient.not_finite"


def test_cer_above_one_names_its_causes():
    monitor = Monitor()
    changes = {"val_cer": 1.17, "val_without_eos": 0.8, "val_length": 120.0, "lock_on": 0.05}
    (finding,) = monitor.record(good_record(1, **changes))
    assert finding.code == "cer.above_one"
    for word in ("117.00%", "insertions", "<eos>", "lock"):
        assert word.lower() in finding.line().lower()
    locked = Monitor().record(good_record(9, val_cer=1.3, lock_on=0.9))[0]
    assert "labels" in locked.meaning


def test_a_warning_is_repeated_seldom_and_again_when_it_comes_back():
    monitor = Monitor()
    high = [good_record(epoch, val_cer=1.2) for epoch in range(1, 8)]
    assert codes(monitor, high) == ["cer.above_one"] * 2
    assert codes(monitor, [good_record(8), good_record(9, val_cer=1.2)]) == ["cer.above_one"]


def test_attention_that_wanders_and_attention_that_never_locks():
    monitor = Monitor()
    records = [good_record(epoch, lock_on=0.8) for epoch in range(1, 4)]
    assert codes(monitor, records) == []
    assert codes(monitor, [good_record(4, lock_on=0.3)]) == ["attention.wanders"]
    assert "attention.not_locked" in codes(
        Monitor(), [good_record(epoch, lock_on=0.05) for epoch in range(1, 9)]
    )
    early = [good_record(epoch, lock_on=0.05) for epoch in (1, 2, 3)]
    assert codes(Monitor(), early) == []


def test_collapse_to_one_output():
    assert codes(Monitor(), [good_record(1, val_distinct=0.002)]) == ["output.collapsed"]


def test_overfitting_begins():
    records = [good_record(epoch) for epoch in range(1, 8)]
    base = records[-1]["val_loss"]
    for i in range(1, 7):
        records.append(good_record(7 + i, val_loss=base * (1 + 0.03 * i), val_cer=0.4 + 0.01 * i))
    found = codes(Monitor(), records)
    assert "loss.overfitting" in found


def test_a_model_that_waits_for_its_data():
    starved = good_record(1, data_share=0.2, seconds=100.0)
    (finding,) = Monitor().record(starved)
    assert finding.code == "speed.starved" and "--workers" in finding.next_step
    assert Monitor().record(good_record(1, data_share=0.04, seconds=100.0)) == []
    assert Monitor().record({**starved, "seconds": 20.0}) == []  # it has only begun


def test_the_decoder_is_not_measured_against_ctc_alone():
    alone = dict(train_nll=None, train_loss=0.5, val_cer=0.08, lines=10_000)
    for count in range(1, 8):  # wherever the window of the trend lies
        records = [good_record(e, **alone) for e in range(1, 7)]
        records += [good_record(e, train_nll=2.0) for e in range(7, 7 + count)]
        assert "learning.stopped" not in codes(Monitor(), records)
    late = dict(lock_on=0.1, lines=60_000)  # a decoder that was just switched on
    assert codes(Monitor(), [good_record(7, **late), good_record(8, **late)]) == []


def test_learning_has_stopped_or_has_converged():
    def flat(cer):
        return [
            good_record(e, train_loss=3.5 + 0.002 * (e % 2), val_loss=3.7, val_cer=cer, lock_on=0.9)
            for e in range(1, 10)
        ]

    def found(cer):
        monitor = Monitor()
        findings = [f for record in flat(cer) for f in monitor.record(record)]
        return next(f for f in findings if f.code == "learning.stopped")

    assert found(0.6).level == "warning"
    assert found(0.008).level == "note" and "converged" in found(0.008).meaning


def test_a_resumed_monitor_remembers_the_history():
    monitor = Monitor()
    monitor.restore([good_record(epoch, lock_on=0.8) for epoch in range(1, 4)])
    assert [f.code for f in monitor.record(good_record(4, lock_on=0.1))] == ["attention.wanders"]


# --- lock-on --------------------------------------------------------------------------------------


def diagonal(steps: int, positions: int, width: float = 0.7) -> np.ndarray:
    place = np.linspace(1, positions - 2, steps)[:, None]
    weights = np.exp(-(((np.arange(positions)[None] - place) / width) ** 2))
    return weights / weights.sum(1, keepdims=True)


def test_lock_on_tells_a_path_from_a_fog():
    path = lock_on(diagonal(40, 120))
    assert path.score > 0.85 and path.monotonicity > 0.99 and path.coverage > 0.95
    fog = np.full((40, 120), 1 / 120)
    assert lock_on(fog).score < 0.05
    random = np.random.default_rng(0).dirichlet(np.ones(120), 40)
    assert lock_on(random).score < 0.25
    one_place = np.eye(120)[np.full(40, 60)]
    assert lock_on(one_place).score < 0.05 and lock_on(one_place).sharpness > 0.99
    backwards = diagonal(40, 120)[::-1]
    assert lock_on(backwards).score == 0
    jumping = diagonal(40, 120)[np.random.default_rng(1).permutation(40)]
    assert lock_on(jumping).monotonicity < 0.2
    wide = lock_on(diagonal(40, 120, width=8))
    assert 0.3 < wide.sharpness < path.sharpness
    half = diagonal(40, 120) * 0.5 + fog * 0.5
    assert lock_on(half).score < path.score - 0.1


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 10**6))
def test_lock_on_lies_between_zero_and_one(steps, positions, seed):
    weights = np.random.default_rng(seed).dirichlet(np.full(positions, 0.2), steps)
    one = lock_on(weights.reshape(steps, positions))
    assert all(0 <= value <= 1 for value in vars(one).values())


def test_lock_on_of_broken_weights_is_none():
    assert lock_on(np.full((5, 5), np.nan)).score == 0
    assert mean_lock_on([]) == {}
    both = mean_lock_on([diagonal(10, 30), np.full((10, 30), 1 / 30)])
    assert 0.3 < both["lock_on"] < 0.6
    assert set(both) == {
        "attention_monotonicity",
        "attention_sharpness",
        "attention_coverage",
        "lock_on",
    }


# --- trends ---------------------------------------------------------------------------------------


def test_a_trend_knows_what_it_does_not_know():
    x = list(range(20))
    steep = trend.fit(x, [5 - 0.1 * i for i in x])
    assert steep.slope == pytest.approx(-0.1) and steep.falls
    assert steep.reaches(0)[0] == pytest.approx(50)
    random = np.random.default_rng(3)
    inside = sum(
        (line := trend.fit(x, (random.normal(size=20) - 0.05 * np.arange(20)).tolist())).low
        <= -0.05
        <= line.high
        for _ in range(300)
    )
    assert 0.9 < inside / 300 <= 1.0
    flat = trend.fit(x, random.normal(size=20).tolist())
    assert not flat.falls and not flat.rises
    if flat.slope < 0:
        assert flat.reaches(-100)[2] == math.inf
    assert trend.fit([1, 2], [1, 2]) is None and trend.fit([1, 1, 1], [1, 2, 3]) is None
    assert trend.fit(x, [1 + i for i in x]).reaches(0) is None


def test_quantiles_of_t_fall_towards_the_normal():
    values = [trend.quantile(1 + 0.1 * i) for i in range(400)]
    assert all(a >= b - 0.01 for a, b in zip(values, values[1:], strict=False))
    assert trend.quantile(5) == pytest.approx(2.57) and 1.96 < trend.quantile(1e9) < 1.97
    assert trend.quantile(30) == pytest.approx(2.042, abs=0.01)
