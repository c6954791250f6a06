"""Logs are read without guessing, and what is said about them is right, by meaning."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from khmer_fast.cli import analyze as verb
from khmer_fast.train import analyze, plots, report
from khmer_fast.train.history import History, epoch_line, open_history
from khmer_fast.train.logs import LogError, read_lines, read_run_or_log
from khmer_fast.train.options import DataPart, TrainOptions
from khmer_fast.train.run_folder import RunFolder

SAME_FILE = "Warning: Failed to backup checkpoint: '{0}' and '{0}' are the same file"


def founding_figures() -> list[tuple[int, float, float, float]]:
    """Epoch, training loss, validation loss and CER in percent, as in the log that began this."""
    rows = []
    for epoch in range(9, 42):
        done = (epoch - 9) / 32
        train = 3.5106 + (3.6855 - 3.5106) * (1 - done) ** 1.6
        cer = max(117.39 - 8 * done + 1.8 * math.sin(2.3 * epoch), 107.9)
        cer = {9: 117.39, 37: 107.35}.get(epoch, cer)
        rows.append((epoch, train, 3.7 + 0.02 * math.sin(1.7 * epoch), cer))
    return rows


def founding_log(style: str, sign: str = "") -> list[str]:
    lines = ["Using device: cuda", "Resumed from epoch 8"]
    for epoch, train, val, cer in founding_figures():
        path = f"/content/drive/MyDrive/khmer/models/checkpoint_epoch_{epoch:03d}.pth"
        if style == "block":
            lines += [
                f"Epoch {epoch}/150",
                "-" * 40,
                f"  Train Loss: {sign}{train:.4f}",
                f"  Val Loss: {sign}{val:.4f}",
                f"  Val CER: {cer:.2f}%",
                f"Saved checkpoint: {path}",
                SAME_FILE.format(path),
            ]
        else:
            lines.append(
                f"epoch={epoch} train_loss={sign}{train:.4f} val_loss={sign}{val:.4f} "
                f"val_cer={cer:.2f}% checkpoint={path}"
            )
            lines += [f"saved checkpoint path={path}", SAME_FILE.format(path)]
    return lines


def by_code(log) -> dict:
    return {finding.code: finding for finding in analyze.analyze(log)}


@pytest.mark.parametrize("style", ["block", "key=value"])
def test_the_founding_log(style):
    log = read_lines(founding_log(style), "log")
    assert log.unread == 1 and log.unread_examples == ["Using device: cuda"]
    assert log.planned_epochs == (150 if style == "block" else None)
    rows = founding_figures()
    assert [r["epoch"] for r in log.records] == [row[0] for row in rows]
    for record, (_, train, val, cer) in zip(log.records, rows, strict=True):
        assert record["train_loss"] == pytest.approx(train, abs=5e-5)
        assert record["val_loss"] == pytest.approx(val, abs=5e-5)
        assert record["val_cer"] == pytest.approx(cer / 100, abs=5e-5)
    found = by_code(log)

    loss = found["loss.slow"]
    assert loss.figures["train_loss_first"] == 3.6855 and loss.figures["train_loss_last"] == 3.5106
    assert loss.figures["train_loss_slope_interval"][1] < 0
    assert "positive" in loss.meaning and "falling" in loss.meaning
    assert "log_softmax is in place" in loss.meaning
    causes = " ".join(loss.figures["causes"])
    assert "learning rate" in causes and "CTC" in causes
    assert "too slow" in loss.meaning
    assert "loss.overfitting" not in found and "loss.negative" not in found

    cer = next(f for f in found.values() if "val_cer_best" in f.figures)
    assert cer.figures["val_cer_first"] == pytest.approx(1.1739)
    assert cer.figures["val_cer_best"] == pytest.approx(1.0735)
    assert cer.figures["val_cer_best_epoch"] == 37
    assert cer.figures["target_state"] in ("late", "never")
    above = found["cer.above_one"]
    assert "insertions outnumber" in above.meaning.lower()
    assert "expected before" in above.meaning

    assert found["backup.same_file"].figures["count"] == 33
    assert found["backup.same_file"].level == "note"
    assert "harmless" in found["backup.same_file"].meaning.lower()
    assert "backup.failed" not in found
    assert found["checkpoint.saved"].figures["newest"] == 41
    assert found["run.resumed"].figures["resumed_from"] == [8]
    assert found["advise.change"].figures["last_epoch"] == 41
    assert {finding.topic for finding in found.values()} == set(report.TOPICS)


def test_a_log_that_names_no_checkpoint_may_have_some():
    found = by_code(read_lines(["Epoch 1/2", "Train Loss: 3.0"], "log"))["checkpoint.none"]
    assert "names no checkpoint" in found.observation and "If none was saved" in found.meaning


def test_negative_losses_mean_that_log_softmax_is_missing():
    found = by_code(read_lines(founding_log("block", sign="-"), "log"))
    finding = found["loss.negative"]
    assert finding.level == "problem" and "log_softmax is missing" in finding.meaning
    assert finding.figures["count"] == 66
    assert "advise.stop" in found and "loss.slow" not in found


def run_lines(cer, loss=lambda e: 3 * math.exp(-e / 6) + 0.1, epochs=20) -> list[str]:
    return [
        f"Epoch {e}/60 Train Loss: {loss(e):.4f} Val Loss: {loss(e) + 0.05:.4f} "
        f"Val CER: {100 * cer(e):.3f}%"
        for e in range(1, epochs + 1)
    ]


def noise(e: int) -> float:
    return 1 + 0.02 * math.sin(2.9 * e)


def test_a_falling_cer_is_projected():
    log = read_lines(run_lines(lambda e: 0.9 * math.exp(-e / 20) * noise(e)), "log")
    found = by_code(log)
    figures = found["cer.falling"].figures
    true_epoch = 20 * math.log(9)  # 43.9
    assert figures["target_state"] == "reachable"
    assert figures["target_epoch"] == pytest.approx(true_epoch, abs=5)
    assert figures["target_epoch_earliest"] <= true_epoch <= figures["target_epoch_latest"]
    advice = found["advise.continue"]
    assert advice.figures["more_epochs"] == pytest.approx(true_epoch - 20, abs=6)
    assert found["loss.falling"].level == "good"
    far = analyze.analyze(log, target=1e-6)
    assert any(f.figures.get("target_state") == "late" for f in far)


def test_a_flat_cer_never_gets_there():
    log = read_lines(run_lines(lambda e: 0.6 + 0.01 * math.sin(2.9 * e), lambda e: 0.4), "log")
    found = by_code(log)
    assert found["cer.flat"].figures["target_state"] == "never"
    assert found["cer.flat"].figures["target_epoch"] is None
    assert "not reached at all" in found["cer.flat"].expectation
    assert "advise.continue" not in found


def test_a_cer_that_was_reached_says_when():
    log = read_lines(run_lines(lambda e: 0.9 * math.exp(-e / 4)), "log")
    figures = by_code(log)["cer.falling"].figures
    assert (figures["target_state"], figures["target_epoch"]) == ("reached", 9)


def test_a_cer_that_rises_and_a_loss_that_rises():
    rising = read_lines(
        run_lines(lambda e: 0.2 + 0.01 * e * noise(e), lambda e: 1 + 0.02 * e), "log"
    )
    found = by_code(rising)
    assert found["cer.rising"].level == "warning" and found["loss.rising"].level == "warning"
    assert "advise.change" in found


def test_overfitting_is_seen():
    lines = [
        f"epoch={e} train_loss={2 / e:.4f} val_loss={1 + 0.05 * abs(e - 4):.4f} val_cer=0.3"
        for e in range(1, 16)
    ]
    found = by_code(read_lines(lines, "log"))
    assert found["loss.overfitting"].figures["since_epoch"] == 4
    assert "advise.stop" in found


@pytest.mark.parametrize("value, percent", [("117.39", True), ("1.1739", False)])
def test_a_cer_without_its_unit_is_said_to_be_assumed(value, percent):
    log = read_lines([f"epoch=1 val_cer={value}", f"epoch=2 val_cer={value}"], "log")
    assert log.records[0]["val_cer"] == pytest.approx(1.1739)
    assert by_code(log)["cer.unit_assumed"].figures["percent"] is percent


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


def test_a_resume_replaces_the_epochs_it_made_again():
    lines = run_lines(lambda e: 0.5, epochs=10)
    again = [line.replace("CER: 50", "CER: 40") for line in lines[6:]]
    log = read_lines([*lines, "Resumed from epoch 6", *again], "log")
    assert [r["val_cer"] for r in log.records] == [0.5] * 6 + [0.4] * 4
    assert by_code(log)["run.resumed"].figures["retrained"] == 4
    log = read_lines([*lines, *again], "log")
    assert [r["val_cer"] for r in log.records] == [0.5] * 6 + [0.4] * 4
    assert by_code(log)["run.restarted"].figures["restarts"] == 1


def test_failed_backups_that_matter_are_told_from_those_that_do_not():
    lines = ["Epoch 1 loss: 2", "Warning: Failed to backup checkpoint: No space left on device"]
    found = by_code(read_lines(lines, "log"))
    assert found["backup.failed"].level == "warning" and "No space" in (
        found["backup.failed"].observation
    )
    assert found["checkpoint.none"].level == "warning"
    lines = [*run_lines(lambda e: 0.5), "Saved checkpoint: models/checkpoint_epoch_003.pth"]
    assert by_code(read_lines(lines, "log"))["checkpoint.behind"].figures["behind"] == 17


def test_speed_from_times_and_from_time_stamps():
    stamped = [
        f"2024-05-01 {h:02d}:00:00 Epoch {h}/30 Train Loss: {3 / h:.3f}" for h in range(1, 9)
    ]
    figures = by_code(read_lines(stamped, "log"))["speed.steady"].figures
    assert figures["epoch_seconds"] == 3600 and figures["seconds_left"] == 22 * 3600
    slower = [f"Epoch {e}/30 Train Loss: 1 Time: {60 + 10 * e}s" for e in range(1, 20)]
    assert by_code(read_lines(slower, "log"))["speed.slows"].level == "warning"
    clock = [f"Epoch {e} Train Loss: 1 Epoch time: 1:02:03" for e in (1, 2)]
    assert read_lines(clock, "log").epoch_seconds == {1: 3723, 2: 3723}


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
    assert by_code(log)["log.read"].figures["warnings"] == 1


# --- our own runs ---------------------------------------------------------------------------------


def make_run(path: Path) -> RunFolder:
    folder = RunFolder(path, keep=2)
    folder.create()
    options = TrainOptions(data=(DataPart("rendered"),), out=str(path), epochs=60)
    folder.write("config.toml", options.to_toml().encode())
    kept = History(folder)
    for epoch in range(1, 13):
        kept.append(
            {
                "epoch": epoch,
                "step": epoch * 100,
                "end_of_epoch": True,
                "lines": epoch * 3200,
                "seconds": epoch * 100.0,
                "train_loss": 3 * math.exp(-epoch / 5) + 0.1 / 3,
                "val_loss": 3 * math.exp(-epoch / 5) + 0.2 / 3,
                "val_cer": 1.5 * math.exp(-epoch / 8),
                "lock_on": 1 - math.exp(-epoch / 4),
                "lines_per_second": 32.0,
                "data_share": 0.2,
            }
        )
        folder.save({"weight": torch.ones(3)}, epoch, best=True)
    (folder.logs / "train.log").write_text("Resumed from epoch 8\nepoch 3 of what\n")
    return folder


def test_a_run_of_our_own(tmp_path):
    folder = make_run(tmp_path / "run")
    log = read_run_or_log(folder.path)
    document = json.loads(report.to_json(log, analyze.analyze(log)))
    assert document["history"] == open_history(folder).records
    found = by_code(log)
    assert log.planned_epochs == 60 and document["kind"] == "run"
    assert found["attention.locked"].figures["locked_since"] == 4
    assert found["checkpoint.verified"].figures["files"] == 3
    assert found["checkpoint.saved"].figures["newest"] == 12
    assert found["run.resumed"].figures["resumed_from"] == [8]
    assert found["speed.steady"].figures["epoch_seconds"] == 100
    assert found["speed.starved"].figures["data_share"] == 0.2
    assert found["advise.continue"].level == "good"

    (folder.models / "checkpoint_epoch_012.pth").write_bytes(b"x")
    with open(folder.path / "history.jsonl", "a") as file:
        file.write("cut sho")
    log = read_run_or_log(folder.path)
    assert log.unread == 1
    assert by_code(log)["checkpoint.broken"].figures["broken"] == [
        "models/checkpoint_epoch_012.pth"
    ]


def test_a_run_that_has_ctc_is_not_told_to_use_it(tmp_path):
    log = read_run_or_log(make_run(tmp_path / "run").path)
    for record in log.records:
        record.update(train_loss=3.6 - record["epoch"] / 1000, val_loss=3.7, val_cer=1.2)
    found = by_code(log)
    assert not any("no CTC" in cause for cause in found["loss.slow"].figures["causes"])
    assert "--ctc-weight 0.3" not in found["advise.change"].observation


def test_ctc_alone_is_not_measured_against_the_decoder(tmp_path):
    folder = make_run(tmp_path / "run")
    kept = open_history(folder)
    for record in kept.records:
        alone = record["epoch"] <= 6
        record["train_nll"] = None if alone else record["train_loss"]
        if alone:
            record.update(train_loss=0.4, val_loss=0.4, val_cer=0.08, lock_on=None)
    kept.write()
    log = read_run_or_log(folder.path)
    found = by_code(log)
    assert found["log.ctc_first"].figures["records"] == 6
    figures = found["loss.falling"].figures
    assert figures["train_loss_first_epoch"] == 7
    cer = next(f for f in analyze.analyze(log) if f.topic == "cer").figures
    assert cer["val_cer_first_epoch"] == 7 and cer["target_state"] != "reached"
    assert [r["epoch"] for r in log.records] == list(range(1, 13))  # the history stays whole


def test_a_run_is_not_judged_before_it_could_have_learned(tmp_path):
    log = read_run_or_log(make_run(tmp_path / "run").path)
    for number, record in enumerate(log.records, 1):
        flat = 5 + 0.01 * math.sin(3 * number)
        record.update(train_loss=flat, val_loss=flat, val_cer=2.5, lock_on=0.0, lines=500 * number)
    found = by_code(log)
    assert {"loss.early", "attention.on_its_way", "advise.continue"} <= found.keys()
    assert not {f.level for f in found.values() if f.topic in ("loss", "next")} & {"warning"}
    for number, record in enumerate(log.records, 1):
        record["lines"] = 10_000 * number
    assert {"attention.not_locked", "advise.change"} <= by_code(log).keys()


# --- the command ----------------------------------------------------------------------------------


def command(*arguments: str) -> int:
    import argparse

    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args(arguments))


def test_the_command_writes_text_json_and_html(tmp_path, capsys):
    path = tmp_path / "log.txt"
    path.write_text("\n".join(founding_log("block")), "utf-8")
    assert command(str(path)) == 0
    text = capsys.readouterr().out
    for word in ("3.6855", "3.5106", "117.39%", "107.35%", "log_softmax", *report.TOPICS.values()):
        assert word in text
    assert max(map(len, text.splitlines())) <= 100
    page = tmp_path / "report.html"
    assert command(str(path), "--json", "--html", str(page), "--target", "0.5") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["unread_lines"] == 1 and len(document["history"]) == 33
    assert any(f["figures"].get("target") == 0.5 for f in document["findings"])
    html = page.read_text("utf-8")
    assert "data:image/png;base64," in html and "107.35%" in html and "<script" not in html


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


def test_nothing_heavy_is_imported_to_read_a_log():
    import subprocess
    import sys

    code = "import sys, khmer_fast.train.analyze; print({'torch', 'PIL'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


# --- pictures -------------------------------------------------------------------------------------


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
