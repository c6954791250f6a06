"""Logs are read without guessing, and what is said about them is right, by meaning."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from khmer_fast.cli import analyze as verb
from khmer_fast.train import analyze, report
from khmer_fast.train.history import History, open_history
from khmer_fast.train.logs import read_lines, read_run_or_log
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


def test_nothing_heavy_is_imported_to_read_a_log():
    import subprocess
    import sys

    code = "import sys, khmer_fast.train.analyze; print({'torch', 'PIL'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
