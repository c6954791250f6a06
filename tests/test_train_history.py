"""The history's three files agree, keep every number, and go back exactly."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khmer_fast.train import history
from khmer_fast.train.history import History, HistoryError, open_history


class Folder:
    """A folder that replaces files at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: bytes) -> None:
        (self.path / name).write_bytes(content)


def equal(left, right) -> bool:
    if type(left) is float and type(right) is float:
        return left == right or (math.isnan(left) and math.isnan(right))
    return type(left) is type(right) and left == right


values = (
    st.floats()
    | st.integers()
    | st.booleans()
    | st.none()
    | st.text(max_size=8).filter(lambda text: text not in ("nan", "inf", "-inf"))
)
names = st.text(max_size=8).filter(lambda k: k not in {*history.NUMBERS, "end_of_epoch"})
records = st.lists(st.dictionaries(names, values), max_size=6)


@settings(max_examples=200, deadline=None)
@given(records)
def test_lines_give_back_every_value(rows):
    back = history.from_lines(history.to_lines(rows))
    assert [row.keys() for row in back] == [row.keys() for row in rows]
    for row, other in zip(rows, back, strict=True):
        assert all(equal(row[key], other[key]) for key in row)
    for line in history.to_lines(rows).splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_three_files_agree(tmp_path):
    kept = History(Folder(tmp_path))
    kept.append({"epoch": 0, "step": 5, "end_of_epoch": False, "val_cer": 1.5})
    kept.append({"epoch": 1, "step": 10, "end_of_epoch": True, "train_loss": 0.1 + 0.2})
    kept.append({"epoch": 2, "step": 20, "end_of_epoch": True, "val_cer": math.inf, "note": "a,b"})
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and rows[1]["train_loss"] == 0.1 + 0.2 and rows[2]["val_cer"] == "inf"
    with open(tmp_path / "history.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [float(row["step"]) for row in table] == [5, 10, 20]
    assert float(table[1]["train_loss"]) == 0.1 + 0.2 and table[0]["train_loss"] == ""
    assert float(table[2]["val_cer"]) == math.inf and table[2]["note"] == "a,b"
    columns = json.loads((tmp_path / "training_history.json").read_text())
    assert columns["epoch"] == [1, 2]
    assert columns["train_loss"] == [0.1 + 0.2, None]
    assert open_history(Folder(tmp_path)).records == kept.records


def test_resume_goes_back_to_the_checkpoint(tmp_path):
    kept = History(Folder(tmp_path))
    for epoch in range(1, 6):
        kept.append({"epoch": epoch, "step": epoch * 10, "val_cer": 1 / epoch})
    before = [dict(record) for record in kept.records[:3]]
    again = open_history(Folder(tmp_path))
    assert again.truncate(3, 30) == 2
    assert again.records == before
    assert open_history(Folder(tmp_path)).records == before
    for epoch in (4, 5):
        again.append({"epoch": epoch, "step": epoch * 10, "val_cer": 1 / epoch})
    assert again.records == kept.records
    # a checkpoint may hold records that the files lost
    (tmp_path / "history.jsonl").write_text("")
    lost = open_history(Folder(tmp_path))
    assert lost.restore(kept.records) == 0
    assert open_history(Folder(tmp_path)).records == kept.records


def test_a_validation_inside_the_resumed_epoch_stays(tmp_path):
    kept = History(Folder(tmp_path))
    kept.append({"epoch": 8, "step": 800, "end_of_epoch": True})
    kept.append({"epoch": 9, "step": 850, "end_of_epoch": False})
    kept.append({"epoch": 9, "step": 880, "end_of_epoch": False})
    assert kept.truncate(8, 860) == 1  # a checkpoint at step 860: 8 epochs are complete
    assert [record["step"] for record in kept.records] == [800, 850]


def test_a_line_cut_short_is_left_out_and_other_damage_is_said(tmp_path):
    kept = History(Folder(tmp_path))
    kept.append({"epoch": 1, "step": 10})
    kept.append({"epoch": 2, "step": 20})
    path = tmp_path / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert open_history(Folder(tmp_path)).records == [{"epoch": 1, "step": 10}]
    path.write_text('{"epoch": 1}\nrubbish\n{"epoch": 2}\n')
    with pytest.raises(HistoryError, match="history.jsonl: line 2.*a resume.*history.csv"):
        open_history(Folder(tmp_path))


@pytest.mark.parametrize(
    "line",
    [
        '{"epoch": 2, "step": "abc"}',
        '{"epoch": [2], "step": 20}',
        '{"epoch": 2.5, "step": 20}',
        '{"epoch": 2, "step": -1}',
        '{"epoch": 2, "step": 20, "val_cer": "low"}',
        '{"epoch": 2, "step": 1' + "0" * 400 + "}",
        '{"epoch": 2, "step": 20, "end_of_epoch": 5}',
        "[" * 100_000,
        "rubbish",
        "5",
    ],
)
def test_a_record_that_cannot_be_is_damage(line):
    records, damage = history.split_lines(f'{{"epoch": 1}}\n{line}\n{{"epoch": 3}}\n')
    assert [record["epoch"] for record in records] == [1, 3]
    assert len(damage) == 1 and damage[0].startswith("line 2") and len(damage[0]) < 200
    with pytest.raises(HistoryError, match="line 2"):
        history.from_lines(f'{{"epoch": 1}}\n{line}\n')


def test_the_table_gives_the_records_back(tmp_path):
    kept = History(Folder(tmp_path))
    kept.append({"epoch": 0, "step": 5, "end_of_epoch": False, "val_cer": 1.5, "note": "a,b"})
    kept.append({"epoch": 1, "step": 10, "end_of_epoch": True, "val_cer": 1e-17, "note": None})
    kept.append({"epoch": 2, "step": 20, "end_of_epoch": True, "val_cer": math.inf, "note": "ក"})
    text = (tmp_path / "history.csv").read_text("utf-8")
    back = history.from_table(text)
    assert back == kept.records
    assert all(equal(a[k], b[k]) for a, b in zip(back, kept.records, strict=True) for k in a)
    rows = text.splitlines()
    rows[1:1] = ["1,2", "x,5,True,1,", "1,2,True,0.5,a,b,c", "1,2,perhaps,0.5,a"]
    assert history.from_table("\n".join(rows)) == kept.records
    assert history.from_table("") == [] and history.from_table("\0\n\0") == []


@pytest.mark.parametrize("record", [{"cer": [1]}, {"cer": {"a": 1}}, {1: 2}, {"x": 1j}])
def test_a_record_is_flat(tmp_path, record):
    with pytest.raises(HistoryError):
        History(Folder(tmp_path)).append(record)


def test_records_ascend(tmp_path):
    kept = History(Folder(tmp_path))
    kept.append({"epoch": 2, "step": 20})
    with pytest.raises(HistoryError, match="ascend"):
        kept.append({"epoch": 1, "step": 10})


@pytest.mark.parametrize(
    "seconds, words",
    [(42, "42 s"), (420, "7 min"), (12000, "3 h 20 min"), (353000, "4 d 2 h"), (math.inf, "unkn")],
)
def test_durations(seconds, words):
    assert history.duration(seconds).startswith(words)


def test_counted():
    words = [history.counted(*pair) for pair in ((0, "line"), (1, "process"), (2, "process"))]
    assert words == ["0 lines", "1 process", "2 processes"]
