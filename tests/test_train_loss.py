"""Losses are what they claim: never negative, and the same however a batch is cut."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch

from khmer_fast.recognize import engine
from khmer_fast.train import loop
from khmer_fast.train.line_objective import LineObjective, capped_cer, is_loop
from khmer_fast.train.loop import LossError, Progress, Trainer, update_average
from khmer_fast.train.loss import check, losses
from khmer_fast.train.optimizer import find_amp
from khmer_fast.train.options import TrainOptions
from khmer_fast.train.samples import LineDataset, TrainLine, batch_count, batches, collate
from khmer_fast.train.sources import Mixture
from python_ref.attn_gru_sequence import attn_gru_sequence
from python_ref.config import make_config

CPU = torch.device("cpu")
CONFIG = dataclasses.replace(make_config("tiny", 40), height=16)


def make_lines(count: int, seed: int = 0, longest: int = 5) -> list[TrainLine]:
    rng = np.random.default_rng(seed)
    return [
        TrainLine(
            rng.integers(0, 256, (16, rng.integers(40, 64)), dtype=np.uint8),
            rng.integers(3, 40, rng.integers(1, longest + 1)).tolist(),
        )
        for _ in range(count)
    ]


def make_trainer(**changes) -> Trainer:
    options = {"dtype": "float64", "amp": "off", "warmup_steps": 2, "backend": "reference"}
    options = TrainOptions(**{**options, **changes})
    return Trainer(LineObjective(CONFIG, options, CPU), options, CPU)


def test_logits_instead_of_log_probabilities_are_caught_with_the_step(monkeypatch):
    def logits(*arguments):
        log_probs, weight = attn_gru_sequence(*arguments)
        return log_probs + 50, weight

    trainer = make_trainer()
    lines = make_lines(4)
    trainer.train_step([lines], 10)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    monkeypatch.setattr(trainer.objective, "sequence", logits)
    with pytest.raises(LossError, match="decoder loss at step 2.*log_softmax"):
        trainer.train_step([lines], 10)
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert trainer.progress.step == 1


@pytest.mark.parametrize(
    ("nll", "ctc", "named"),
    [
        (-1e-9, 1, "decoder"),
        (float("nan"), 1, "decoder"),
        (1, -0.01, "CTC"),
        (1, float("inf"), "CTC"),
    ],
)
def test_impossible_losses_name_the_step(nll, ctc, named):
    with pytest.raises(LossError, match=f"{named} loss at step 7"):
        check(nll, ctc, 7)


def test_ctc_may_be_a_rounding_below_zero():
    check(0.0, -1e-6, 1)


def test_a_gradient_that_is_not_finite_changes_nothing(monkeypatch):
    trainer = make_trainer()
    trainer.train_step([make_lines(2)], 10)
    parameter = trainer.model.decoder.v
    parameter.register_hook(lambda gradient: gradient * float("nan"))
    before = trainer.model.state_dict()["decoder.v"].clone()
    with pytest.raises(LossError, match="gradient at step 2"):
        trainer.train_step([make_lines(2)], 10)
    assert torch.equal(trainer.model.state_dict()["decoder.v"], before)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_accumulation_equals_one_big_batch(smoothing):
    lines = make_lines(7)
    whole, parts = make_trainer(label_smoothing=smoothing), make_trainer(label_smoothing=smoothing)
    one = whole.train_step([lines], 10)
    other = parts.train_step([lines[:2], lines[2:3], lines[3:]], 10)
    assert other.losses["nll"] == pytest.approx(one.losses["nll"], rel=1e-12)
    assert other.losses["ctc"] == pytest.approx(one.losses["ctc"], rel=1e-12)
    assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-10)
    for left, right in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-8, atol=1e-11)


def test_smoothing_changes_the_gradient_and_not_the_reported_loss():
    plain, smooth = make_trainer(clip=0.0), make_trainer(clip=0.0, label_smoothing=0.2)
    one, other = (trainer.train_step([make_lines(3)], 10) for trainer in (plain, smooth))
    assert one.losses["nll"] == other.losses["nll"] and one.gradient_norm != other.gradient_norm


def test_padding_does_not_count():
    """A line's loss is the same alone and beside a longer one."""
    trainer = make_trainer()
    short, long = make_lines(1, longest=1)[0], make_lines(1, seed=1, longest=9)[0]
    parts = [losses(trainer.model, collate([x], torch.float64), attn_gru_sequence)
             for x in (short, long)]  # fmt: skip
    both = losses(trainer.model, collate([short, long], torch.float64), attn_gru_sequence)
    for name in ("nll", "smooth", "ctc", "tokens", "ctc_tokens"):
        alone = sum(float(getattr(part, name).detach()) for part in parts)
        assert float(getattr(both, name).detach()) == pytest.approx(alone, rel=1e-12), name


def test_blank_lines_and_labels_that_ctc_cannot_hold():
    trainer = make_trainer()
    blank = TrainLine(np.full((16, 40), 255, np.uint8), [])
    assert trainer.train_step([[blank, blank]], 10).losses["ctc"] == 0
    crowded = TrainLine(np.full((16, 40), 255, np.uint8), [5] * 8)  # 10 positions, 7 repeats
    trainer.train_step([[crowded, blank]], 10)
    assert trainer.progress.ctc_left_out == 1


def test_fast_and_reference_backends_train_alike():
    pytest.importorskip("_khmer_fast")
    lines = [make_lines(2, seed) for seed in range(8)]
    trainers = [make_trainer(backend=backend) for backend in ("reference", "fast")]
    for step in range(200):
        one, other = (trainer.train_step([lines[step % 8]], 200) for trainer in trainers)
        assert other.losses["nll"] == pytest.approx(one.losses["nll"], rel=1e-6), step
        assert other.losses["ctc"] == pytest.approx(one.losses["ctc"], rel=1e-6), step


def test_the_moving_average():
    average, model = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    before = average.weight.detach().clone()
    update_average(average, model, decay=0.99, step=10_000)
    torch.testing.assert_close(average.weight, 0.99 * before + 0.01 * model.weight)
    update_average(average, model, decay=0.999, step=1)  # its memory is short at the start
    before = 0.99 * before + 0.01 * model.weight
    torch.testing.assert_close(average.weight, before * 2 / 11 + model.weight * 9 / 11)
    update_average(average, model, decay=0.0, step=10_000)
    assert torch.equal(average.weight, model.weight)


@pytest.mark.parametrize("fast", [True, False])
def test_mixed_precision_only_where_it_is_faster(monkeypatch, fast):
    monkeypatch.setattr(engine, "has_fast_bfloat16", lambda: fast)
    assert find_amp("auto", CPU) == (torch.bfloat16 if fast else None)
    assert find_amp("auto", torch.device("cuda")) == torch.bfloat16
    assert find_amp("off", CPU) is None
    assert find_amp("bfloat16", CPU) == torch.bfloat16


class Named:
    """A source whose samples say where they come from."""

    def __init__(self, name: str):
        self.name = name

    def sample(self, seed: int, index: int) -> tuple[str, int, int]:
        return self.name, seed, index


def test_a_mixture_draws_by_weight_and_by_seed_and_index_alone():
    mixture = Mixture([Named("a"), Named("b"), Named("c")], [3.0, 1.0, 4.0])
    drawn = [mixture.sample(7, index) for index in range(4000)]
    assert [(seed, index) for _, seed, index in drawn] == [(7, index) for index in range(4000)]
    counts = Counter(name for name, _, _ in drawn)
    for name, share in (("a", 3 / 8), ("b", 1 / 8), ("c", 4 / 8)):
        assert counts[name] == pytest.approx(4000 * share, abs=4 * 4000**0.5 * 0.5)
    assert [mixture.sample(7, index) for index in (3999, 5, 0)] == [drawn[i] for i in (3999, 5, 0)]
    assert [mixture.sample(8, i)[0] for i in range(50)] != [name for name, _, _ in drawn[:50]]


@pytest.mark.parametrize(
    ("text", "reference", "loop"),
    [
        ("\u17b6" * 12, "\u1780", True),
        ("\u1780\u17b6" * 6, "\u1780\u17b6", True),
        ("." * 12, "." * 11, False),
        ("\u1780\u1781\u1782", "", False),
    ],
)
def test_a_loop_repeats_what_the_reference_does_not(text, reference, loop):
    assert is_loop(text, reference) == loop


def test_the_schedule():
    options = TrainOptions(learning_rate=1.0, warmup_steps=10)
    rates = [loop.learning_rate(options, step, 110) for step in range(111)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.505) and rates[110] == pytest.approx(0.01)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))


def test_a_ctc_score_is_no_measure_for_the_decoder():
    trainer = make_trainer()
    assert trainer.judge(0.3, by_decoder=False, end_of_epoch=True)
    assert trainer.judge(0.9, by_decoder=True, end_of_epoch=True)
    assert not trainer.judge(0.95, by_decoder=True, end_of_epoch=True)
    assert trainer.progress.best == 0.9 and Progress().best is None


class Widths:
    """Lines of random widths, whose number is in the label."""

    def sample(self, seed: int, index: int):
        from khmer_fast.data.source import Sample

        rng = np.random.default_rng((seed, index))
        image = np.full((48, int(rng.integers(100, 1600))), 255, np.uint8)
        image[10:30, 5:-5] = rng.integers(0, 2, (20, image.shape[1] - 10)) * 255
        return Sample(image, f"{index:05}", "")


@pytest.mark.parametrize("workers", [0, 2])
def test_order_is_that_of_seed_and_epoch_alone(workers):
    from khmer_fast.text import Vocabulary

    vocabulary = Vocabulary()
    dataset = LineDataset(Widths(), vocabulary, 48, 3)

    def numbers(first: int, workers: int) -> list[list[int]]:
        stream = batches(dataset, 1, 150, 4, first, workers)
        return [[int(vocabulary.decode(line.ids)) for line in batch] for batch in stream]

    whole = numbers(0, 0)
    assert len(whole) == batch_count(150, 4)
    assert sorted(sum(whole, [])) == list(range(150, 300))  # the second epoch's lines, each once
    for first in (0, 1, 16, 20, 37):
        assert numbers(first, workers) == whole[first:]


def test_padding_is_bounded():
    from khmer_fast.text import Vocabulary

    dataset = LineDataset(Widths(), Vocabulary(), 48, 0)
    ink = pixels = 0
    for batch in batches(dataset, 0, 512, 16):
        ink += sum(line.image.shape[1] for line in batch)
        pixels += collate(batch).image.shape[3] * len(batch)
    assert 1 - ink / pixels < 0.1


def test_one_looping_line_does_not_choose_a_checkpoint():
    truth = ["abcdefghij"] * 20
    better, looping = [*truth[:-1], "abc" * 100], ["abcdefghiX"] * 20
    assert capped_cer(truth, looping) == pytest.approx(0.1)
    assert capped_cer(truth, better) == pytest.approx(10 / 200)
    assert capped_cer(["ab", ""], ["ab", "xyz"]) == pytest.approx(1 / 2)
    assert capped_cer(truth, truth) == 0.0
