"""Logs are read without guessing: what is known is right, what is not known is listed."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khmer_fast.train import analyze, report
from khmer_fast.train.history import epoch_line
from khmer_fast.train.log_names import name_of
from khmer_fast.train.logs import LogError, read_lines, read_run_or_log
from khmer_fast.train.run_log import RunLog

LOGS = Path(__file__).parent / "logs"


def read(text: str) -> RunLog:
    return read_lines(text.splitlines(), "log")


def codes(log: RunLog) -> dict:
    return {finding.code: finding for finding in analyze.analyze(log)}


# --- one line -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, percent", [("117.39", True), ("1.1739", False)])
def test_a_cer_without_its_unit_is_said_to_be_assumed(value, percent):
    log = read_lines([f"epoch=1 val_cer={value}", f"epoch=2 val_cer={value}"], "log")
    assert log.records[0]["val_cer"] == pytest.approx(1.1739)
    assert codes(log)["cer.unit_assumed"].figures["percent"] is percent


@pytest.mark.parametrize(
    "line, expected",
    [
        ("Epoch 3: Train Loss: 1.5", {"train_loss": 1.5}),
        ("=== Epoch 3 of 20 ===  training loss = 1.5, valid loss = 2e0", {"val_loss": 2.0}),
        ("[2024-05-01 12:00:00] INFO - Epoch [3/20], Train Loss: 1.5", {"train_loss": 1.5}),
        ("2024-05-01 12:00:00,123 INFO epoch=3 train_loss=1.5", {"train_loss": 1.5}),
        ("epoch: 3, lr: 1e-4, loss: 1.5", {"train_loss": 1.5, "learning_rate": 1e-4}),
        ('{"epoch": 3, "train_loss": 1.5, "val_cer": "50%"}', {"val_cer": 0.5}),
        ("{'loss': 1.5, 'epoch': 3.0}", {"train_loss": 1.5}),
        ("Epoch 3 | Train Loss: 1.5 | Val CER: 12.5% | Time: 90s", {"val_cer": 0.125}),
        ("Epoch 3: 50%|#### | 5/10 [00:10<00:10, 1.0it/s, loss=1.5]", {"train_loss": 1.5}),
        ("\x1b[32mEpoch 3/20\x1b[0m Train Loss: 1.5\r", {"train_loss": 1.5}),
        ("Epoch 3 Train Loss: nan", {}),
        ("Epoch 3 New best CER: 12.5%", {"best_cer": 0.125}),
        ("Training epoch 3: avg train loss 1.5 train_loss=2.5", {"train_loss": 2.5}),
    ],
)
def test_lines_that_are_read(line, expected):
    log = read_lines([line], "log")
    assert log.unread == 0
    if expected:
        assert log.records[0]["epoch"] == 3
    assert all(log.records[0][name] == value for name, value in expected.items())


@pytest.mark.parametrize(
    "line",
    [
        "Loading data from /content/drive",
        "Best epoch: 12",
        "ctc something loss: 3.0",
        "Train Loss: 3.6855",  # of which epoch?
        "version: 1.2.3",
        "shape: (3, 4)",
        '{"epoch": 1',
        "GPU memory: 15.2 GB",
    ],
)
def test_lines_that_are_not_guessed(line):
    log = read_lines([line, "Epoch 1", "Train Loss: 1.0"], "log")
    assert log.unread == 1 and log.unread_examples == [line]
    assert log.records == [{"epoch": 1, "train_loss": 1.0}]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text(max_size=60)
        | st.sampled_from(
            ["Epoch 1/3", "Epoch 2", "Train Loss: -1", "val_cer=nan", "loss=inf", "Epoch 0"]
            + ["Resumed from epoch 1", "Saved checkpoint: a", "Val CER: 3%", "epoch=99999999999"]
            + ["{'epoch': 1, 'loss': 2}", "Time: 00:10", "Failed to backup x: y", "lr=0"]
        ),
        max_size=25,
    )
)
def test_any_log_is_read_and_analysed(lines):
    log = read_lines(lines, "log")
    assert 0 <= log.unread <= log.lines <= len(lines)
    found = analyze.analyze(log)
    assert found[-1].topic == "next"
    json.loads(report.to_json(log, found), parse_constant=pytest.fail)
    assert report.to_text(log, found)


def test_the_log_of_our_own_trainer_says_what_the_history_holds():
    record = {
        "epoch": 3, "step": 1200, "train_loss": 3.2, "train_nll": 3.0, "train_ctc": 1.2,
        "val_loss": 3.5, "val_nll": 3.25, "val_ctc": 1.5, "val_cer": 0.1234,
        "val_substitutions": 0.05, "val_deletions": 0.01, "val_insertions": 0.0634,
        "val_cer_beam": 0.12, "val_ctc_cer": 0.2, "best_cer": 0.12, "val_without_eos": 0.03,
        "lock_on": 0.82, "learning_rate": 0.001, "gradient_norm": 1.2, "lines_per_second": 33.1,
        "data_share": 0.014,
    }  # fmt: skip
    line = epoch_line({**record, "seconds_left": 12000.0}, 100)
    log = read_lines(["2024-05-01 12:00:00 " + line], "log")
    assert log.unread == 0 and log.planned_epochs == 100
    (read,) = log.records
    assert read.keys() == record.keys()
    assert all(read[name] == pytest.approx(value) for name, value in record.items())


def test_the_other_lines_of_our_own_log_are_understood():
    lines = [
        "2024-05-01 12:00:00 Training small (1,951,820 parameters) on lines; cpu",
        "2024-05-01 12:00:00 Left out 8 lines, listed in logs/left_out.txt:",
        "2024-05-01 12:00:00 The history goes back to step 800: 1 fewer",
        "2024-05-01 12:00:00 Resumed from epoch 8, step 800 (run/models/checkpoint_epoch_008.pth)",
        "2024-05-01 12:00:00 Passed over run/models/checkpoint_epoch_009.pth: has 3 bytes",
        "2024-05-01 12:01:00 " + epoch_line({"epoch": 9, "step": 900, "train_loss": 3.5}, 100),
        "2024-05-01 12:01:00 Warning: Validation CER is 117.39%, above 100 %. Insertions outnumber",
        "2024-05-01 12:01:01 Saved checkpoint: run/models/checkpoint_epoch_009.pth",
        "2024-05-01 12:01:02 Backup to /drive failed: No space left on device. Training goes on",
        "2024-05-01 12:01:03 Backup to /drive works again.",
        "2024-05-01 12:01:04 SIGTERM: saving a checkpoint after this step.",
        "2024-05-01 12:01:05 Waiting for the backup to /drive.",
        "2024-05-01 12:01:06 Backup to /drive is complete and verified (9 files copied).",
        "2024-05-01 12:01:06 Done: 9 epochs, best validation CER 9.00%; khmer-fast read",
        "2024-05-01 12:01:06 Backup folder run is the run's own folder: no second copy is made.",
    ]
    log = read_lines(lines, "log")
    assert log.unread_examples == [] and log.unread == 0
    assert log.records == [{"epoch": 9, "step": 900, "train_loss": 3.5}]
    assert log.planned_epochs == 100
    assert (log.resumed, log.same_file, log.backups >= 1) == ([8], 1, True)
    assert len(log.backup_failures) == 1 and 9 in log.saved
    assert len(log.warnings) == 1 and log.warnings[0].startswith("Validation CER")
    assert codes(log)["log.read"].figures["warnings"] == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_logs_in_other_encodings(tmp_path, encoding):
    path = tmp_path / "log.txt"
    path.write_bytes("Epoch 1/2 – é\r\nTrain Loss: 2.5\r\n".encode(encoding, "replace"))
    log = read_run_or_log(path)
    assert log.records == [{"epoch": 1, "train_loss": 2.5}]


def test_what_is_no_log_is_an_error_that_says_what_is_expected(tmp_path):
    path = tmp_path / "log.txt"
    for content in (b"", b"hello\nworld\n", bytes(range(256)) * 20):
        path.write_bytes(content)
        with pytest.raises(LogError, match="Train Loss"):
            read_run_or_log(path)
    with pytest.raises(LogError, match="No such file"):
        read_run_or_log(tmp_path / "missing.txt")
    with pytest.raises(LogError, match="history.jsonl"):
        read_run_or_log(tmp_path)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        (
            "cer",
            "cer CER character_error_rate characterErrorRate Character-Error-Rate char_error_rate",
        ),
        (
            "val_cer",
            "val_cer valCER validation_character_error_rate val/cer cer/val eval_cer devCer",
        ),
        (
            "val_loss",
            "validation_loss validationLoss valid_loss ValLoss loss/val eval/loss avg_val_loss",
        ),
        (
            "train_loss",
            "train_loss trainLoss TrainingLoss training/loss loss.train train_loss_epoch",
        ),
        ("val_wer", "word_error_rate wordErrorRate WER val_wer"),
        ("learning_rate", "learning_rate learningRate lr LR Learning-Rate"),
        ("gradient_norm", "grad_norm gradientNorm gnorm"),
        (
            None,
            "aux_loss teacher_cer cer_weight ppl loss_scale accuracy norm_edit_dis lr_mult loss_2",
        ),
    ],
)
def test_full_words_and_every_way_to_write_them(name, labels):
    for label in labels.split():
        assert name_of(label) == name, label
        spaced = label.replace("_", " ")
        assert name_of(spaced) == name, spaced


def test_the_line_that_was_passed_over():
    log = read("epoch=9 character_error_rate=117.39% validation_loss=3.7 learning_rate=1e-3 bleu=3")
    assert (
        log.records == [{"epoch": 9, "val_cer": 1.1739, "val_loss": 3.7, "learning_rate": 0.001}]
        and log.percent_assumed is None
    )
    assert log.unknown == {"bleu": 1}
    found = codes(log)
    assert "bleu (1 time)" in found["log.unknown_figures"].observation
    assert "Everything" not in found["log.read"].meaning
    assert found["cer.name_assumed"].level == "note" and "cer.unknown" not in found


def test_a_figure_that_is_not_known_is_listed_wherever_it_stands():
    log = read(
        "Epoch 1/2\nTrain Loss: 3.0 - ppl: 20.1 - time left: 1:02:03\nppl=4 ups=1.5it/s\n"
        'Epoch 2 | train loss 2.0 | perplexity 9.5\n{"epoch": 2, "nested": {"f1": 0.5}}'
    )
    assert [r["train_loss"] for r in log.records] == [3.0, 2.0]
    unknown = {"ppl": 2, "time left": 1, "ups": 1, "perplexity": 1, "nested f1": 1}
    assert log.unknown == unknown and log.unread == 1
    document = json.loads(report.to_json(log, analyze.analyze(log)))
    assert document["unknown_figures"] == unknown


# --- the shapes of public programs, with invented figures (tests/logs) ----------------------------


def assert_read(
    name: str, records: list[dict], unknown: str = "", axis: str = "epoch", unread: int = 0
) -> RunLog:
    """Reads a log of tests/logs; `unknown` names the figures that must be listed."""
    log = read_run_or_log(LOGS / f"{name}.txt")
    assert (log.axis, log.unread) == (axis, unread)
    assert len(log.records) == len(records)
    for record, expected in zip(log.records, records, strict=True):
        assert record == pytest.approx(expected)
    assert sorted(log.unknown) == sorted(unknown.split("; ") if unknown else [])
    analysed = analyze.analyze(log)
    assert report.to_text(log, analysed) and report.to_json(log, analysed)
    return log


def test_keras():
    log = assert_read(
        "keras",
        [
            dict(epoch=1, train_loss=3.4521, train_cer=0.91, val_loss=3.1034, val_cer=0.88),
            dict(epoch=2, train_loss=2.9, val_loss=2.8, val_cer=0.7, learning_rate=0.001),
        ],
        "ETA",
    )
    assert log.planned == 20 and log.epoch_seconds == {1: 35, 2: 34}


def test_lightning():
    assert_read(
        "lightning", [dict(epoch=3, train_loss=0.33, val_loss=0.345, val_cer=0.0213)], "v_num"
    )


def test_paddleocr():
    log = assert_read(
        "paddleocr",
        [
            dict(
                epoch=3, step=90, learning_rate=0.000513, train_ctc=0.7, train_loss=2.4,
                lines_per_second=78.8,
            ),
            dict(epoch=4, step=120, learning_rate=0.0006, train_loss=2.1),
        ],
        "acc; norm_edit_dis; SARLoss; avg_reader_cost; avg_batch_cost; avg_samples; eta",
    )  # fmt: skip
    assert log.planned == 100 and log.saved == [3] and log.epoch_seconds == {3: 300}


def test_kraken():
    records = [dict(epoch=0, val_cer=0.335), dict(epoch=1, val_cer=0.205)]
    log = assert_read("kraken", records, "early_stopping")
    assert log.cer_from_accuracy and "cer.from_accuracy" in codes(log)
    assert_read("ketos", [dict(epoch=1, val_cer=0.1), dict(epoch=2, val_cer=0.03)])


def test_an_accuracy_that_is_not_of_characters_is_not_understood():
    log = read("Epoch 1/5\nloss: 0.5 - val_accuracy: 0.8")
    assert log.records == [dict(epoch=1, train_loss=0.5)] and log.unknown == {"val_accuracy": 1}


def test_transformers():
    log = assert_read(
        "transformers",
        [
            dict(epoch=0.5, train_loss=2.5, gradient_norm=1.25, learning_rate=4e-5),
            dict(
                epoch=1, train_loss=2.1, gradient_norm=1.5, learning_rate=3e-5, val_loss=1.4,
                val_cer=0.42,
            ),
        ],
        "eval_runtime; eval_samples_per_second; eval_steps_per_second",
    )  # fmt: skip
    assert log.restarts == 0


def test_fairseq():
    assert_read(
        "fairseq",
        [
            dict(
                epoch=1, train_loss=12.3, train_nll=11.9, step=120, gradient_norm=2.3,
                learning_rate=6e-5, val_loss=10.6, val_nll=9.9,
            ),
            dict(
                epoch=2, train_loss=4.7, train_nll=2.1, learning_rate=0.0006, val_loss=5.1,
                val_nll=3.4,
            ),
        ],
        "ppl; clip; best",
    )  # fmt: skip


def test_nanochat_counts_steps():
    log = assert_read(
        "nanochat",
        [
            dict(step=10, train_loss=9.1, gradient_norm=0.51),
            dict(step=20, train_loss=8.1, gradient_norm=0.41),
        ],
        "lrm; dt; tok/sec; mfu; total time; Validation bpb",
        axis="step",
    )
    assert log.planned == 5000 and log.planned_epochs is None
    found = codes(log)
    assert "steps 10 to 20 of 5000 planned" in found["log.read"].observation
    assert "(step 10)" in found["loss.falling"].observation
    assert found["loss.falling"].figures["train_loss_last_step"] == 20


def test_calamari():
    assert_read(
        "calamari_2",
        [
            dict(
                epoch=30, train_loss=17.6, train_cer=0.1284, train_ctc=17.6, val_loss=68.5,
                val_ctc=68.5, val_cer=0.3662,
            )
        ],
    )  # fmt: skip
    records = [
        dict(epoch=8.5, train_loss=45.25, val_cer=0.524),
        dict(epoch=9, train_loss=35.25, val_cer=0.424),
    ]
    assert_read("calamari_1", records, "dt", unread=2)


def test_a_hand_written_pytorch_loop():
    log = assert_read(
        "pytorch",
        [
            dict(epoch=3, train_loss=0.234567, test_loss=0.3456),
            dict(epoch=4, step=100, train_loss=0.15, val_loss=0.25),
        ],
        "Accuracy",
    )
    assert not log.test_is_validation  # it names validation lines, too


def test_test_lines_stand_for_validation_lines_where_there_are_none():
    log = read("Train Epoch: 1 Loss: 0.5\nTest set: Average loss: 0.3")
    assert log.records == [dict(epoch=1, train_loss=0.5, val_loss=0.3)]
    assert log.test_is_validation and "log.test_lines" in codes(log)


def test_tesseract():
    log = assert_read(
        "tesseract",
        [
            dict(
                step=6100, train_cer=0.565, train_wer=0.965, best_cer=0.565, val_cer=0.065,
                val_wer=0.3925,
            ),
            dict(step=6200, train_cer=0.465, train_wer=0.905),
        ],
        "mean rms; delta; skip ratio; stage; New worst char error; Percent improvement time",
        axis="step",
        unread=1,
    )  # fmt: skip
    assert log.percent_assumed is None and log.planned is None


def test_deep_text_recognition():
    records = [dict(step=1000, train_loss=1.25, val_loss=1.5)]
    unknown = "Elapsed_time; Current_accuracy; Current_norm_ED"
    log = assert_read("deep_text_recognition", records, unknown, axis="step", unread=1)
    assert log.planned == 300_000


def test_steps_before_the_first_epoch_belong_to_none():
    log = read("step 10 loss: 3.0\nEpoch 1 train_loss: 2.0\nstep 20 loss: 1.9")
    assert log.axis == "epoch" and log.unread == 1
    assert log.records == [{"epoch": 1, "train_loss": 2.0, "step": 20}]


# --- what was made to do harm ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Epoch " + "9" * 5000,
        "epoch=" + "9" * 5000 + " loss=1",
        "2024-99-99 99:99:99 Epoch 1 loss: 1",
        "loss: " * 5000,
        "a" * 100_000 + ": 1",
        "a b " * 20_000,
        "{" * 50_000,
        "{'a': " * 3000 + "1" + "}" * 3000,
        '{"epoch": 1' + "0" * 400 + ', "loss": 1' + "0" * 400 + "}",
        "{'epoch': 'nan', 'loss': '\\d'}",
        "step inf loss: 3",
        "epoch: nan, step: inf, loss: 1",
        "\x1b[31m" * 5000 + "Epoch 1 loss: 1",
        "Epoch 1 loss: 1\0\x1b]0;x\x07",
    ],
)
@pytest.mark.filterwarnings("error")
def test_no_line_breaks_the_reader(line):
    log = read_lines([line, "Epoch 1 Train Loss: 1.0"], "log")
    analysed = analyze.analyze(log)
    json.loads(report.to_json(log, analysed), parse_constant=pytest.fail)
    assert report.to_text(log, analysed).count("\x1b") == 0


def test_a_log_may_be_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=lambda: (tmp_path / "pipe").write_text("Epoch 1/2\nTrain Loss: 2.5\n")
    )
    writer.start()
    assert read_run_or_log(tmp_path / "pipe").records == [{"epoch": 1, "train_loss": 2.5}]
    writer.join()
