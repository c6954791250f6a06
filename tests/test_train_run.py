"""A whole run: killed anywhere and resumed it equals the one that was not; bad data is refused."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from khmer_fast import atomic
from khmer_fast.cli import main
from khmer_fast.cli.train import say_and_log
from khmer_fast.errors import KhmerFastError
from khmer_fast.text import DEFAULT_CHARSET
from khmer_fast.train.history import open_history
from khmer_fast.train.run import Session, train
from khmer_fast.train.run_folder import RunFolder
from khmer_fast.weights import load_weights

ROOT = Path(__file__).parent.parent
TIMES = {"seconds", "seconds_left", "lines_per_second", "data_share"}
TINY = dict(
    config="tiny", epochs=2, batch_lines=4, warmup_steps=4, validate_lines=4, threads=1, amp="off"
)


def write_lines(folder: Path, texts: list[str]) -> Path:
    """A TSV of lines drawn in Pillow's own font."""
    folder.mkdir(parents=True, exist_ok=True)
    font = ImageFont.load_default(22)
    rows = ["image\ttext"]
    for number, text in enumerate(texts):
        image = Image.new("L", (16 + 14 * max(len(text), 1), 40), 255)
        drawn = "".join(c if c.isascii() else "x" for c in text)
        ImageDraw.Draw(image).text((8, 6), drawn, 0, font)
        image.save(folder / f"{number}.png")
        rows.append(f"{number}.png\t{text}")
    (folder / "labels.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    return folder / "labels.tsv"


@pytest.fixture(scope="session")
def lines(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    texts = ["".join(map(str, rng.integers(0, 10, rng.integers(2, 7)))) for _ in range(30)]
    return write_lines(tmp_path_factory.mktemp("lines"), texts)


def options(lines: Path, **changes) -> dict:
    return {"data": [str(lines)], **TINY, **changes}


def quiet(text: str) -> None:
    pass


def assert_same_run(left: Path, right: Path) -> None:
    """Weights, optimiser, averages, schedule and history, bit for bit; times excepted."""
    states = [RunFolder(path).load_newest().state for path in (left, right)]
    for state in states:
        for times in (state["progress"], state["progress"]["since"]):
            for name in ("seconds", "waited"):
                times.pop(name, None)
    assert_equal(*states)
    assert timeless(left) == timeless(right) and timeless(left)
    best = [run / "models/best_model.safetensors" for run in (left, right)]
    assert_equal(*(dict(load_weights(path).state) for path in best))
    assert best[0].read_bytes() == best[1].read_bytes()


def timeless(run: Path) -> list[dict]:
    """The history, but for what was measured in seconds."""
    records = open_history(RunFolder(run)).records
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def assert_equal(left, right) -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_equal(one, other)
    else:
        assert left == right


STEPWISE = dict(checkpoint_every_steps=2, validate_every_steps=3, accumulate=2, ema_decay=0.9)


@pytest.fixture(scope="session")
def whole(lines, tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(out=out, say=quiet, **options(lines, **STEPWISE))


def start(arguments: list[str], **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "khmer_fast", "train", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def command_line(values: dict) -> list[str]:
    arguments = []
    for name, value in values.items():
        arguments.append("--" + name.replace("_", "-"))
        arguments += value if isinstance(value, list) else [str(value)]
    return arguments


def wait_for(process: subprocess.Popen, word: str, times: int = 1) -> list[str]:
    """The lines that a process says until `word` came so many times."""
    said = []
    for line in process.stderr:
        said.append(line)
        times -= word in line
        if times == 0:
            return said
    raise AssertionError("".join(said))


@pytest.mark.parametrize(("workers", "saves"), [(0, 1), (1, 2), (2, 3), (4, 3)])
def test_killed_and_resumed_is_the_uninterrupted_run(whole, lines, tmp_path, workers, saves):
    out = tmp_path / "run"
    values = options(lines, out=out, workers=workers, **STEPWISE)
    process = start(command_line(values))
    wait_for(process, "Saved checkpoint", saves)
    process.kill()
    process.wait()
    process.stderr.close()
    assert len(open_history(RunFolder(out)).records) < len(open_history(RunFolder(whole)).records)
    said = []
    train(resume=out, say=said.append)
    assert any("Resumed from epoch" in line for line in said)
    assert_same_run(whole, out)


def test_killed_and_resumed_with_muon(lines, tmp_path):
    values = options(lines, optimizer="muon", **STEPWISE)
    whole, out = train(out=tmp_path / "whole", say=quiet, **values), tmp_path / "run"
    process = start(command_line({**values, "out": out}))
    wait_for(process, "Saved checkpoint", 2)
    process.kill()
    process.wait()
    process.stderr.close()
    train(resume=out, say=quiet)
    assert_same_run(whole, out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_first_and_the_backup_alone_goes_on(whole, lines, tmp_path, number):
    out, backup, new = (tmp_path / name for name in ("run", "backup", "new"))
    values = options(lines, out=out, backup=backup, workers=1, **STEPWISE)
    process = subprocess.run(
        [sys.executable, "-m", "tests.train_signalled", str(int(number)), *command_line(values)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    said = process.stderr
    assert process.returncode == 1 and number.name in said and "--resume" in said
    assert "complete and verified" in said
    shutil.rmtree(out)
    train(resume=backup, out=new, say=quiet)
    assert_same_run(whole, new)


def test_a_terminal_that_closes_is_a_signal_unless_it_is_ignored():
    session = Session.__new__(Session)
    session.signal, said = None, []
    session.say = said.append
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with session._signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert session.signal is None and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with session._signals():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
        assert session.signal == signal.SIGHUP and "SIGHUP" in said[0]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reader_that_leaves_does_not_end_the_run(whole, lines, tmp_path):
    out = tmp_path / "run"
    command = shlex.join([sys.executable, "-m", "khmer_fast", "train"])
    command += " " + shlex.join(command_line(options(lines, out=out, **STEPWISE)))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} 2>&1 | head -n 1"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("Training tiny")
    assert_same_run(whole, out)
    log = (out / "logs/train.log").read_text()
    assert "stderr is gone" in log and "Done: 2 epochs" in log


def test_a_log_that_cannot_be_written_does_not_end_the_run(tmp_path, capsys):
    (tmp_path / "logs").write_text("a file where a folder should be")
    say_and_log(tmp_path)("Epoch 1")
    assert capsys.readouterr().err == "Epoch 1\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children stand in Linux's /proc")
def test_workers_end_with_a_killed_trainer(lines, tmp_path):
    values = options(lines, out=tmp_path / "run", workers=2, epochs=1000, lines_per_epoch=2000)
    process = start(command_line(values))
    workers = []
    try:
        wait_for(process, "Training tiny")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + 60
        while len(workers) < 2 and time.monotonic() < end:
            workers = [int(pid) for pid in children.read_text().split()]
            time.sleep(0.1)
        time.sleep(1)  # now they have lines that nobody fetches
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert len(workers) >= 2
    while any(map(lives, workers)) and time.monotonic() < end + 30:
        time.sleep(0.1)
    assert not any(map(lives, workers))


def lives(pid: int) -> bool:
    """Whether a process is there and more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_interrupted_before_the_first_checkpoint(whole, lines, tmp_path):
    out = tmp_path / "run"
    process = start(command_line(options(lines, out=out, **STEPWISE)))
    wait_for(process, "Training tiny")
    process.kill()
    process.wait()
    process.stderr.close()
    train(resume=out, say=quiet)
    assert_same_run(whole, out)


def test_a_second_trainer_is_refused(lines, tmp_path):
    out = tmp_path / "run"
    process = start(command_line(options(lines, out=out, epochs=1000)))
    try:
        wait_for(process, "Saved checkpoint")
        with pytest.raises(KhmerFastError, match="in use by another trainer"):
            train(resume=out, say=quiet)
        with pytest.raises(KhmerFastError, match="already holds a run"):
            train(out=out, say=quiet, **options(lines))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_resume_names_what_differs(whole):
    with pytest.raises(KhmerFastError, match="--batch-lines: 4 in the run, 8 asked"):
        train(resume=whole, say=quiet, batch_lines=8)
    with pytest.raises(KhmerFastError, match="--init-from starts a new run"):
        train(resume=whole, say=quiet, init_from="packaged")


def test_a_run_is_no_weights_and_weights_are_no_run(whole, lines, tmp_path, capsys):
    weights = whole / "models/best_model.safetensors"
    with pytest.raises(KhmerFastError, match="start a new run from weights give --init-from"):
        train(resume=weights, say=quiet)
    with pytest.raises(KhmerFastError, match="best_model.safetensors, and --resume RUN continues"):
        train(out=tmp_path / "run", say=quiet, **options(lines, init_from=str(whole)))
    with pytest.raises(SystemExit) as end:  # on the command line that is a usage error
        main(["train", "--resume", str(weights)])
    assert end.value.code == 2
    assert "--init-from" in capsys.readouterr().err


def test_a_backup_of_another_run_is_refused_before_the_run_exists(whole, lines, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KhmerFastError, match="already holds another run.*--backup"):
        train(out=out, say=quiet, **options(lines, backup=str(whole)))
    assert not out.exists()


def test_a_warm_up_longer_than_the_run_is_said(lines, tmp_path):
    heard = []
    values = options(lines, epochs=1, lines_per_epoch=8, warmup_steps=2)
    train(out=tmp_path / "run", say=heard.append, **values)
    assert any("warm-up of 2 steps" in line for line in heard)


def test_the_run_folder(whole):
    for name in (
        "models/best_model.pth", "models/best_model.safetensors", "training_history.json",
        "history.jsonl", "history.csv", "config.toml", "charset.txt", "plots/history.png",
        "plots/attention/line_01_epoch_002.png", "manifest.json",
    ):  # fmt: skip
        assert (whole / name).is_file(), name
    records = open_history(RunFolder(whole)).records
    assert [r["epoch"] for r in records if r["end_of_epoch"]] == [1, 2]
    assert any(not r["end_of_epoch"] for r in records)
    assert all(0 <= r["data_share"] <= 1 for r in records)
    state = RunFolder(whole).load_newest().state
    assert state["progress"]["best"] == min(r["val_cer_capped"] for r in records)


def test_a_disk_that_fills_up_ends_the_run_at_once(lines, tmp_path, monkeypatch):
    real = atomic.write_beside

    def full(target: Path, content):
        if target.name.startswith("checkpoint"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(target, content)

    monkeypatch.setattr(atomic, "write_beside", full)
    out = tmp_path / "run"
    with pytest.raises(KhmerFastError, match="cannot save checkpoint_epoch_001.pth: No space left"):
        train(out=out, say=quiet, **options(lines, epochs=2, lines_per_epoch=400))
    assert len(open_history(RunFolder(out)).records) == 1  # epoch 2 was not trained in vain


def test_plateau_and_best_are_those_of_the_record(lines, tmp_path):
    values = options(lines, schedule="plateau", learning_rate=0.0, epochs=5)
    out = train(out=tmp_path / "run", say=quiet, **values)
    progress = RunFolder(out).load_newest().state["progress"]
    assert progress["rate_factor"] == 0.5 and progress["stale"] == 1  # epochs 2, 3, 4 are no better


def test_ctc_alone_and_then_the_decoder(lines, tmp_path):
    out = train(out=tmp_path / "run", say=quiet, **options(lines, ctc_only_epochs=1, epochs=2))
    first, second = open_history(RunFolder(out)).records
    assert first["train_nll"] is None and first["val_cer"] == first["val_ctc_cer"]
    assert first["train_loss"] == first["train_ctc"] and first.get("lock_on") is None
    assert second["train_nll"] > 0 and second["lock_on"] is not None
    assert first["val_cer_capped"] <= first["val_ctc_cer"]
    assert second["val_cer_capped"] <= second["val_cer_beam"]
    assert second["best_cer"] == second["val_cer_capped"]  # the CTC head's is another measure


def test_bad_lines_are_refused_or_left_out(tmp_path):
    texts = [f"{i:03}" for i in range(24)]
    texts[3], texts[4], texts[5] = "1\u4e2d2\u4e2d", "\u4e2d", "0" * 90
    tsv = write_lines(tmp_path / "data", texts)
    Image.new("L", (60, 40), 255).save(tmp_path / "data" / "5.png")  # too narrow for its label
    (tmp_path / "data" / "7.png").unlink()
    (tmp_path / "data" / "8.png").write_bytes(b"no image")
    out = tmp_path / "run"
    with pytest.raises(KhmerFastError) as error:
        train(out=out, say=quiet, **options(tsv, epochs=1))
    said = str(error.value)
    assert "5 lines cannot be used" in said and "--skip-bad" in said
    assert "U+4E2D" in said and "3 times" in said and f"{tsv}:5" in said
    assert "7.png" in said and f"{tsv}:10" in said and "90 characters" in said
    assert not out.exists()
    heard = []
    train(out=out, say=heard.append, skip_bad=True, **options(tsv, epochs=1))
    assert any("Left out 5 lines" in line for line in heard)
    assert len((out / "logs/left_out.txt").read_text().splitlines()) == 5


@pytest.mark.parametrize("bad", [range(0, 30, 20), [i for i in range(30) if i % 20]])
def test_bad_lines_are_all_listed_whichever_part_they_spoil(lines, tmp_path, bad):
    """Every 20th line measures: those are all bad, or all others are."""
    texts = ["\u4e2d" if i in bad else "12" for i in range(30)]
    spoilt = write_lines(tmp_path / "spoilt", texts)
    other = write_lines(tmp_path / "other", ["\u65e5", "1", "2"])
    values = options(lines, epochs=1) | {"data": [str(spoilt), str(other)]}
    with pytest.raises(KhmerFastError) as error:
        train(out=tmp_path / "run", say=quiet, **values)
    said = str(error.value)
    assert f"{len(bad) + 1} lines cannot be used" in said and "U+65E5" in said
    with pytest.raises(KhmerFastError, match="--validation" if len(bad) == 2 else "--data"):
        train(out=tmp_path / "run", say=quiet, skip_bad=True, **values)
    values["data"] = [str(other), str(lines)]  # its own lines to measure on are bad
    values["validation"] = [str(lines)]
    heard = []
    train(out=tmp_path / "run", say=heard.append, skip_bad=True, **values)
    assert any("Left out 1 line," in line for line in heard)


@pytest.mark.parametrize(
    ("content", "said"), [("image\ttext\n", "at least one"), ("image\tlabel\n1\t2\n", "header")]
)
def test_unusable_data(tmp_path, content, said):
    (tmp_path / "labels.tsv").write_text(content)
    with pytest.raises(KhmerFastError, match=said):
        train(out=tmp_path / "run", say=quiet, **options(tmp_path / "labels.tsv"))
    with pytest.raises(KhmerFastError, match="--data"):
        train(out=tmp_path / "run", say=quiet, config="tiny")


def test_starting_from_weights(whole, lines, tmp_path):
    weights = whole / "models/best_model.safetensors"
    with pytest.raises(KhmerFastError, match="holds the size 'tiny'.*--config tiny"):
        train(out=tmp_path / "a", data=[str(lines)], init_from=str(weights), say=quiet)
    new = write_lines(tmp_path / "new", ["1\u4e2d", "2\u65e5", "12", "3", "45"])
    with pytest.raises(KhmerFastError, match="U\\+4E2D"):
        train(out=tmp_path / "b", say=quiet, **options(new, init_from=str(weights)))
    out = train(
        out=tmp_path / "c", say=quiet,
        **options(
            new, init_from=str(weights), new_characters="extend", learning_rate=0.0,
            weight_decay=0.0, epochs=1,
        ),
    )  # fmt: skip
    before, after = load_weights(weights), load_weights(out / "models/best_model.safetensors")
    assert after.charset == DEFAULT_CHARSET + "\u4e2d\u65e5"
    for name, tensor in before.state.items():
        assert torch.equal(after.state[name][: len(tensor)], tensor), name
    assert len(after.state["decoder.embedding"]) == len(before.state["decoder.embedding"]) + 2


def test_memory_and_files_do_not_grow(lines, tmp_path):
    def measure(text: str) -> None:
        if text.startswith("Epoch"):
            files.append(len(os.listdir("/proc/self/fd")))
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory.append(pages * os.sysconf("SC_PAGE_SIZE"))

    files, memory = [], []
    train(
        out=tmp_path / "run", say=measure,
        **options(lines, epochs=200, lines_per_epoch=4, validate_lines=1),
    )  # fmt: skip
    assert len(files) == 200
    assert max(files[100:]) <= max(files[:100]) + 1
    assert np.median(memory[-20:]) < np.median(memory[60:80]) + 20e6
