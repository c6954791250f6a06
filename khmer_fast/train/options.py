"""Options of a training run: one frozen dataclass, from the command line, from TOML, and back.

A name is the same everywhere: the field `batch_lines` is the TOML key `batch_lines` and the option
`--batch-lines`. What is given on the command line goes before what a TOML file says.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from khmer_fast import toml_file
from khmer_fast.errors import OptionError


@dataclass(frozen=True)
class DataPart:
    """One source of lines, drawn `weight` times in the sum of weights.

    `source` is a folder, a TSV, `rendered` (the packaged mixture) or `rendered:MIXTURE.toml`.
    """

    source: str
    weight: float = 1.0


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    free: bool = False,
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
) -> Any:
    """A field of TrainOptions. `free`: a resumed run may be given another value."""
    metadata = {
        "help": help,
        "choices": choices,
        "low": low,
        "high": high,
        "free": free,
        "flags": flags,
        "metavar": metavar,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainOptions:
    """Everything that a run depends on; recorded in its config.toml."""

    task: str = option(
        "lines",
        "what to train: the reader on lines, or on pages the segmenter that finds them (then "
        "--data are 'rendered', 'rendered:PAGES.toml' and folders of `khmer-fast render --pages "
        "--owners`, and a sample is a crop of a page)",
        choices=("lines", "pages"),
    )
    data: tuple[DataPart, ...] = option(
        (),
        "what to train on: folders, TSV files, 'rendered' or 'rendered:MIXTURE.toml'; a weight "
        "may follow, as in scans.tsv=2",
        metavar="SOURCE[=WEIGHT]",
    )
    validation: tuple[DataPart, ...] = option(
        (),
        "what to measure on (default: lines held out of --data)",
        metavar="SOURCE[=WEIGHT]",
    )
    out: str | None = option(None, "folder of the run", free=True, metavar="RUN")
    resume: str | None = option(
        None, "continue the run in this folder or backup", free=True, metavar="RUN"
    )
    init_from: str | None = option(
        None, "start a new run from these weights ('packaged' or a file)", metavar="WEIGHTS"
    )
    new_characters: str = option(
        "fail",
        "what to do about characters of the data that the weights do not know",
        choices=("fail", "extend"),
    )
    skip_bad: bool = option(False, "leave out lines that cannot be used, and list them")

    config: str = option(
        "small", "size of the model: tiny, small, base or another of the configurations"
    )
    epochs: int = option(100, "epochs in all", low=1, free=True)
    lines_per_epoch: int = option(
        0,
        "lines an epoch (0: each line of the data once, 10,000 where lines are rendered); crops of "
        "pages",
        low=0,
    )
    batch_lines: int = option(32, "lines in a batch; crops of pages", low=1)
    accumulate: int = option(1, "batches in one optimiser step", low=1)
    optimizer: str = option(
        "adamw",
        "AdamW for all weights, or Muon for matrices and convolutions",
        choices=("adamw", "muon"),
    )
    learning_rate: float = option(2e-3, "highest learning rate", low=0)
    warmup_steps: int = option(500, "steps of linear warm-up", low=0)
    schedule: str = option(
        "cosine", "learning rate after the warm-up", choices=("cosine", "plateau", "constant")
    )
    weight_decay: float = option(0.01, "weight decay", low=0)
    clip: float = option(1.0, "largest norm of the gradient (0: no clipping)", low=0)
    ema_decay: float = option(
        0.999, "decay of the moving average of the weights (0: no average)", low=0, high=1
    )
    label_smoothing: float = option(0.0, "share of label smoothing", low=0, high=0.9)
    ctc_weight: float = option(0.3, "weight of the CTC loss beside the decoder's", low=0)
    ctc_only_epochs: int = option(0, "epochs with CTC alone, before the decoder", low=0)
    seed: int = option(0, "seed of weights, order and augmentation", low=0)
    amp: str = option(
        "auto",
        "bfloat16 in convolutions and in Muon's products, where faster",
        choices=("auto", "off", "bfloat16"),
    )
    backend: str = option(
        "fast", "fused operators or the plain reference", choices=("fast", "reference")
    )
    dtype: str = option(
        "float32", "weights and products; float64 is for tests", choices=("float32", "float64")
    )
    device: str = option("auto", "device to train on: auto, cpu, cuda, cuda:1", free=True)
    workers: int = option(0, "processes that prepare lines", low=0, free=True)
    threads: int = option(0, "threads for the products (0: all cores)", low=0, free=True)
    rank_timeout: float = option(
        600.0,
        "seconds that torchrun's processes wait for each other, longer than a validation takes",
        low=1,
        free=True,
        metavar="SECONDS",
    )

    validate_lines: int = option(500, "lines to measure on; pages", low=1)
    validate_every_steps: int = option(
        0,
        "measure also every so many steps (0: at an epoch's end only)",
        low=0,
        free=True,
        flags=("--validate-every",),
        metavar="STEPS",
    )
    checkpoint_every_steps: int = option(
        0,
        "save also every so many steps (0: at an epoch's end only)",
        low=0,
        free=True,
        flags=("--checkpoint-every",),
        metavar="STEPS",
    )
    keep: int = option(3, "newest checkpoints that stay, beside the best", low=1, free=True)
    backup: str | None = option(
        None, "folder for second copies, verified, in the background", free=True, metavar="DIR"
    )

    def __post_init__(self) -> None:
        """Raises OptionError for a value of the wrong kind or out of range."""
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name), f"option {_flag(field.name)}")

    def to_toml(self) -> str:
        """The options as TOML, each with its help above it; None is left out."""
        lines = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                lines.append(f"# {field.metadata['help']}")
                lines.append(f"{field.name} = {_toml(value)}")
        return "\n".join(lines) + "\n"


FIELDS = {field.name: field for field in dataclasses.fields(TrainOptions)}


@dataclass(frozen=True)
class Change:
    """An option whose value differs between a recorded run and what was asked for."""

    name: str
    recorded: Any
    asked: Any
    free: bool  # a resumed run may change it

    def __str__(self) -> str:
        return f"{_flag(self.name)}: {_show(self.recorded)} in the run, {_show(self.asked)} asked"


class OptionParser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and names what a misspelt option may mean."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_known_args(self, args=None, namespace=None):
        namespace, extras = super().parse_known_args(args, namespace)
        wrong = [extra.split("=")[0] for extra in extras if extra.startswith("--")]
        if wrong:
            known = [flag for action in self._actions for flag in action.option_strings]
            self.error("; ".join(f"unknown option {name}{nearest(name, known)}" for name in wrong))
        return namespace, extras


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` for the known name that is nearest to `name`, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one option for each field, and --options FILE; read them with from_arguments."""
    parser.add_argument("--options", metavar="FILE.toml", help="TOML file with any of the options")
    for field in FIELDS.values():
        help = field.metadata["help"].replace("%", "%%")
        if field.default is not None and field.type != "bool" and not _is_data(field):
            help += f" (default {field.default})"
        flags = (_flag(field.name), *field.metadata["flags"])
        common = {"dest": field.name, "default": argparse.SUPPRESS, "help": help}
        metavar = field.metadata["metavar"]
        if field.type == "bool":
            parser.add_argument(*flags, action=argparse.BooleanOptionalAction, **common)
        elif _is_data(field):
            parser.add_argument(
                *flags, nargs="+", type=_data_part_of_argument, metavar=metavar, **common
            )
        else:
            kind = {"int": int, "float": float}.get(_kind(field), str)
            choices = field.metadata["choices"] or None
            parser.add_argument(*flags, type=kind, choices=choices, metavar=metavar, **common)


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Options by name that were given, on the command line or in its --options file."""
    values: dict[str, Any] = {}
    if getattr(arguments, "options", None):
        values.update(read_toml(arguments.options))
    for name, field in FIELDS.items():
        if hasattr(arguments, name):
            value = getattr(arguments, name)
            values[name] = tuple(value) if _is_data(field) else value
    return values


def from_arguments(arguments: argparse.Namespace) -> TrainOptions:
    """Options of a new run: the command line before the TOML file before the defaults."""
    return TrainOptions(**given(arguments))


def read_toml(path: str | Path) -> dict[str, Any]:
    """Options by name from a TOML file; OptionError lists every wrong key and value in it."""
    return from_table(toml_file.read_toml(path, OptionError), str(path))


def from_table(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Options by name from plain values, as TOML and keyword arguments hold them."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in table.items():
        if key not in FIELDS:
            problems.append(f"unknown option {key}{nearest(key, FIELDS)}")
            continue
        field = FIELDS[key]
        try:
            if _is_data(field):
                value = _data_parts(value, key)
            elif field.type == "float" and type(value) is int:
                value = float(value)
            _check(field, value, key)
        except OptionError as error:
            problems.append(str(error))
        values[key] = value
    if problems:
        raise OptionError(f"{where}: " + "; ".join(problems))
    return values


def load_config(path: str | Path) -> TrainOptions:
    """The options that a run recorded; warns of those that this version does not know.

    A run must stay resumable over an upgrade, so they are no error as in a file that a user wrote.
    """
    try:
        table = toml_file.read_toml(path, OptionError)
    except OptionError as error:
        raise OptionError(
            f"{error}; it holds the run's options: copy it from the backup, or write them again"
        ) from None
    for key in [key for key in table if key not in FIELDS]:
        value = table.pop(key)
        warnings.warn(f"{path}: option {key} = {value!r} is of another version", stacklevel=2)
    return TrainOptions(**from_table(table, str(path)))


def difference(recorded: TrainOptions, asked: Mapping[str, Any]) -> list[Change]:
    """What `asked` (options by name, as `given` returns them) would change in a recorded run."""
    return [
        Change(name, getattr(recorded, name), value, FIELDS[name].metadata["free"])
        for name, value in asked.items()
        if value != getattr(recorded, name)
    ]


def resumed(recorded: TrainOptions, asked: Mapping[str, Any]) -> TrainOptions:
    """Options of a resumed run: those recorded, with what was asked for and may change.

    Raises OptionError that lists what may not: it would make the run another one.
    """
    if "init_from" in asked:
        raise OptionError(
            "--init-from starts a new run and --resume continues one: give one of them"
        )
    changes = difference(recorded, asked)
    fixed = [change for change in changes if not change.free]
    if fixed:
        lines = "\n".join(f"  {change}" for change in fixed)
        raise OptionError(
            f"a resumed run keeps its configuration, but this differs:\n{lines}\n"
            "leave these options out, or start a new run from the run's weights with "
            "--init-from RUN/models/best_model.safetensors --out NEW"
        )
    return dataclasses.replace(recorded, **{change.name: change.asked for change in changes})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind(field: dataclasses.Field) -> str:
    """A field's type as it is written."""
    return str(field.type)


def _is_data(field: dataclasses.Field) -> bool:
    return _kind(field).startswith("tuple")


_KINDS: dict[str, tuple[type[Any], str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "str": (str, "a string"),
    "bool": (bool, "true or false"),
}


def _check(field: dataclasses.Field, value: Any, where: str) -> None:
    if _is_data(field):
        if type(value) is not tuple or any(type(part) is not DataPart for part in value):
            raise OptionError(f"{where} must be a tuple of DataPart, got {value!r}")
        return
    name = _kind(field).removesuffix(" | None")
    if value is None and name != _kind(field):
        return
    kind, words = _KINDS[name]
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise OptionError(f"{where} must be {words}, got {value!r}")
    choices = field.metadata["choices"]
    if choices and value not in choices:
        close = nearest(value, choices)
        raise OptionError(f"{where} must be one of {', '.join(choices)}, got {value!r}{close}")
    low, high = field.metadata["low"], field.metadata["high"]
    if kind is float and not math.isfinite(value):
        raise OptionError(f"{where} must be finite, got {value}")
    if low is not None and value < low:
        raise OptionError(f"{where} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise OptionError(f"{where} must be at most {high}, got {value}")


def _data_part_of_argument(text: str) -> DataPart:
    """`scans.tsv=2` is scans.tsv with weight 2, unless a file has that very name."""
    source, separator, weight = text.rpartition("=")
    if not separator or Path(text).exists():
        return DataPart(text)
    try:
        number = float(weight)
    except ValueError:
        return DataPart(text)
    try:
        return _data_part({"source": source, "weight": number}, "SOURCE=WEIGHT")
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _data_parts(value: Any, where: str) -> tuple[DataPart, ...]:
    if type(value) in (str, dict, DataPart):
        value = [value]
    if type(value) not in (list, tuple):
        raise OptionError(f"{where} must be a list of sources, got {value!r}")
    return tuple(_data_part(item, where) for item in value)


def _data_part(value: Any, where: str) -> DataPart:
    if type(value) is DataPart:
        return value
    if type(value) is str:
        value = {"source": value}
    if type(value) is not dict:
        raise OptionError(f"{where} must hold strings or tables, got {value!r}")
    for key in value:
        if key not in ("source", "weight"):
            raise OptionError(f"{where} has the key {key}{nearest(key, ('source', 'weight'))}")
    source, weight = value.get("source"), value.get("weight", 1.0)
    if type(source) is not str or not source:
        raise OptionError(f"{where} must name a source, got {source!r}")
    if type(weight) not in (int, float) or not 0 < weight < math.inf:
        raise OptionError(f"{where}: the weight of {source} must be above 0, got {weight!r}")
    return DataPart(source, float(weight))


def _show(value: Any) -> str:
    return "nothing" if value in (None, ()) else _toml(value)


def _toml(value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is str:
        # JSON's escapes are TOML's, but for U+007F, which JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if type(value) is tuple:
        return "[" + ", ".join(map(_toml, value)) + "]"
    if type(value) is DataPart:
        return f"{{source = {_toml(value.source)}, weight = {_toml(value.weight)}}}"
    return repr(value)
