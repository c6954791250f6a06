"""Options: one name on the command line, in TOML and in the dataclass; misspelt ones are named."""

from __future__ import annotations

import argparse
import dataclasses
import sys

import pytest
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st

from khmer_fast.train import options
from khmer_fast.train.options import DataPart, OptionError, OptionParser, TrainOptions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parse(*arguments: str) -> TrainOptions:
    return options.from_arguments(namespace(*arguments))


def namespace(*arguments: str) -> argparse.Namespace:
    parser = OptionParser(prog="train")
    options.add_arguments(parser)
    return parser.parse_args(arguments)


def value_of(field: dataclasses.Field) -> st.SearchStrategy:
    meta = field.metadata
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
    if field.type.startswith("tuple"):
        weight = st.floats(1e-6, 1e6)
        return st.lists(st.builds(DataPart, text, weight), max_size=3).map(tuple)
    if meta["choices"]:
        return st.sampled_from(meta["choices"])
    kind = field.type.removesuffix(" | None")
    if kind == "bool":
        return st.booleans()
    if kind == "str":
        return text if kind == field.type else st.none() | text
    high = meta["high"] if meta["high"] is not None else 10**12
    if kind == "int":
        return st.integers(meta["low"], high)
    return st.floats(meta["low"], high)


any_options = st.builds(
    TrainOptions, **{field.name: value_of(field) for field in dataclasses.fields(TrainOptions)}
)


@settings(max_examples=150, deadline=None)
@cases(any_options)
def test_toml_gives_back_what_was_recorded(chosen):
    table = tomllib.loads(chosen.to_toml())
    assert TrainOptions(**options.from_table(table, "config.toml")) == chosen


def test_every_option_has_help_and_reaches_its_field():
    values = {"int": "7", "float": "0.5", "str": "x", "str | None": "x"}
    for field in dataclasses.fields(TrainOptions):
        assert field.metadata["help"]
        for flag in ("--" + field.name.replace("_", "-"), *field.metadata["flags"]):
            if field.type == "bool":
                assert getattr(parse(flag), field.name) is True
                assert getattr(parse(flag.replace("--", "--no-")), field.name) is False
            elif field.type.startswith("tuple"):
                assert getattr(parse(flag, "a", "b=2"), field.name) == (
                    DataPart("a"),
                    DataPart("b", 2.0),
                )
            else:
                word = (field.metadata["choices"] or (values[field.type],))[-1]
                if field.type == "float":
                    word = str(max(float(word), field.metadata["low"] + 0.5))
                assert str(getattr(parse(flag, word), field.name)) == word


def test_help_names_every_default(capsys):
    parser = OptionParser(prog="train")
    options.add_arguments(parser)
    text = " ".join(parser.format_help().split())
    assert "share of label smoothing (default 0.0)" in text
    assert "seed of weights, order and augmentation (default 0)" in text
    assert "folder of the run --resume" in text  # nothing where there is none


def test_the_command_line_goes_before_the_file(tmp_path):
    file = tmp_path / "options.toml"
    file.write_text('epochs = 7\nbatch_lines = 4\nlearning_rate = 1\ndata = ["a", {source="b"}]\n')
    chosen = parse("--options", str(file), "--epochs", "9")
    assert (chosen.epochs, chosen.batch_lines, chosen.keep) == (9, 4, 3)
    assert chosen.learning_rate == 1.0 and type(chosen.learning_rate) is float
    assert chosen.data == (DataPart("a"), DataPart("b"))


def test_a_weight_is_split_off_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd=3").mkdir()
    chosen = parse("--data", "scans=0.5", "odd=3", "rendered:mix.toml=2", "a=b")
    assert chosen.data == (
        DataPart("scans", 0.5),
        DataPart("odd=3"),
        DataPart("rendered:mix.toml", 2.0),
        DataPart("a=b"),
    )


@pytest.mark.parametrize(
    "wrong, meant",
    [
        ("--leraning-rate", "--learning-rate"),
        ("--batch_lines", "--batch-lines"),
        ("--epoch", "--epochs"),
        ("--check-point-every", "--checkpoint-every"),
    ],
)
def test_a_misspelt_option_is_a_usage_error_with_the_nearest_name(capsys, wrong, meant):
    with pytest.raises(SystemExit) as error:
        parse(wrong, "3")
    assert error.value.code == 2
    message = capsys.readouterr().err
    assert wrong in message and f"{meant}?" in message


def test_a_weight_that_cannot_be_names_its_option(capsys):
    with pytest.raises(SystemExit):
        parse("--validation", "scans=0")
    message = capsys.readouterr().err
    assert "--validation" in message and "the weight of scans must be above 0" in message


def test_a_misspelt_option_of_a_verb_is_named_too(capsys):
    parser = OptionParser(prog="khmer-fast")
    verbs = parser.add_subparsers(parser_class=OptionParser)
    options.add_arguments(verbs.add_parser("train"))
    with pytest.raises(SystemExit) as error:
        parser.parse_args(["train", "--ctc-wieght=3"])
    assert error.value.code == 2
    assert "did you mean --ctc-weight?" in capsys.readouterr().err


def test_every_wrong_key_of_a_file_is_listed(tmp_path):
    file = tmp_path / "options.toml"
    file.write_text(
        'leraning_rate = 1\nepochs = "many"\nschedule = "cosin"\nzzz = 1\nseed = true\n'
    )
    with pytest.raises(OptionError) as error:
        options.read_toml(file)
    message = str(error.value)
    assert "did you mean learning_rate?" in message
    assert "epochs must be a whole number" in message
    assert "did you mean cosine?" in message
    assert "unknown option zzz" in message
    assert "seed must be a whole number" in message
    assert str(file) in message


@pytest.mark.parametrize("content", ["epochs = ", "\udcff", "[data]\nsourc = 'x'", "data = [1]"])
def test_a_broken_file_is_a_clear_error(tmp_path, content):
    file = tmp_path / "options.toml"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(OptionError, match="options.toml"):
        options.read_toml(file)
    with pytest.raises(OptionError, match="No such file"):
        options.read_toml(tmp_path / "missing.toml")


def test_a_run_of_another_version_can_be_resumed(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("epochs = 7\nof_another_version = 3\n")
    with pytest.warns(UserWarning, match="of_another_version"):
        assert options.load_config(file).epochs == 7
    with pytest.raises(OptionError, match="of_another_version"):
        options.read_toml(file)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"clip": float("inf")},
        {"ema_decay": 1.1},
        {"config": None},
        {"schedule": "linear"},
        {"skip_bad": 1},
        {"data": ["folder"]},
        {"keep": True},
    ],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(OptionError, match="must be"):
        TrainOptions(**values)


def test_a_resumed_run_may_change_what_does_not_change_it():
    recorded = TrainOptions(data=(DataPart("a"),), out="run", epochs=10, seed=4)
    asked = options.given(namespace("--resume", "run", "--epochs", "20", "--workers", "2"))
    chosen = options.resumed(recorded, {**asked, "seed": 4})
    assert (chosen.epochs, chosen.workers, chosen.seed) == (20, 2, 4)
    assert chosen.data == recorded.data


def test_a_resumed_run_names_what_differs():
    recorded = TrainOptions(data=(DataPart("a"),), batch_lines=32, config="small")
    with pytest.raises(OptionError) as error:
        options.resumed(recorded, {"batch_lines": 16, "config": "base", "epochs": 3, "seed": 0})
    message = str(error.value)
    assert "--batch-lines: 32 in the run, 16 asked" in message
    assert '--config: "small" in the run, "base" asked' in message
    assert "epochs" not in message and "seed" not in message
    assert "--init-from" in message


def test_resume_and_init_from_cannot_be_mixed_up():
    with pytest.raises(OptionError, match="new run"):
        options.resumed(TrainOptions(), {"init_from": "packaged"})
