"""A mixture of lines or pages, read from TOML to frozen dataclasses and checked."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from khmer_fast.data.degrade import STEPS
from khmer_fast.data.mixture import RenderConfig
from khmer_fast.data.texts import KINDS
from khmer_fast.errors import KhmerFastError
from khmer_fast.toml_file import read_toml

DEFAULT_CONFIG = Path(__file__).with_name("default.toml")
Parsed = TypeVar("Parsed")


class ConfigError(KhmerFastError):
    """A mixture file has an unknown key, a missing one, or a value of the wrong kind."""


def load_config(path: str | Path = DEFAULT_CONFIG) -> RenderConfig:
    """Read a mixture from TOML; ConfigError names the file and the key that is wrong."""
    config = parse_toml(RenderConfig, path)
    _check(config, str(path))
    return config


def parse_toml(kind: type[Parsed], path: str | Path) -> Parsed:
    """Read a TOML file to the dataclass `kind`; ConfigError names the file and the wrong key.

    `base = "default"`, or another file's path beside this one, starts from that mixture: tables are
    taken over key by key, lists of named tables (papers, fonts.groups) name by name.
    """
    return _parse(kind, _read(Path(path)), str(path))


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tables of a file, over those of its base."""
    if path in seen:
        raise ConfigError(f"{path}: its bases lead back to itself")
    table = read_toml(path, ConfigError)
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: expected the name of a file, got {base!r}")
    below = DEFAULT_CONFIG if base == "default" else path.parent / base
    return _over(_read(below, (*seen, path)), table)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The tables of `above` laid over those of `below`."""
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _over(old, value)
        elif _named(old) and _named(value):
            names = {entry["name"]: entry for entry in old}
            merged[key] = list((names | {entry["name"]: entry for entry in value}).values())
        else:
            merged[key] = value
    return merged


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(x, dict) and "name" in x for x in value)


def _parse(kind: Any, value: Any, where: str) -> Any:
    """Build `kind` (dataclass, tuple, dict or scalar) from a TOML value."""
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {value!r}")
        hints = get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ConfigError(
                f"{where}: unknown key {unknown[0]!r}; known here: {', '.join(sorted(hints))}"
            )
        required = {field.name for field in fields(kind) if field.default is MISSING}
        missing = sorted(required - set(value))
        if missing:
            raise ConfigError(f"{where}: missing key {missing[0]!r}")
        return kind(**{k: _parse(hints[k], v, f"{where}: {k}") for k, v in value.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        if arguments[-1] is Ellipsis:
            return tuple(_parse(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(arguments):
            raise ConfigError(f"{where}: expected {len(arguments)} values, got {len(value)}")
        low, high = (_parse(a, v, where) for a, v in zip(arguments, value, strict=True))
        if low > high:
            raise ConfigError(f"{where}: expected [low, high], got [{low}, {high}]")
        return low, high
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {value!r}")
        return {k: _parse(arguments[1], v, f"{where}: {k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def _check(config: RenderConfig, where: str) -> None:
    for kind in config.text.kinds:
        if kind not in KINDS:
            raise ConfigError(
                f"{where}: unknown kind of text {kind!r}; known: {', '.join(sorted(KINDS))}"
            )
    for paper in config.papers:
        for step in paper.steps:
            if step.do not in STEPS:
                raise ConfigError(
                    f"{where}: paper {paper.name!r}: unknown step {step.do!r}; "
                    f"known: {', '.join(sorted(STEPS))}"
                )
    for source in config.text.files:
        if source.use not in ("running", "words"):
            raise ConfigError(
                f"{where}: {source.file}: use must be 'running' or 'words', got {source.use!r}"
            )
    for name, weights in (
        ("text.kinds", list(config.text.kinds.values())),
        ("text.lengths", [length.weight for length in config.text.lengths]),
        ("papers", [paper.weight for paper in config.papers]),
        ("fonts.groups", [group.weight for group in config.fonts.groups]),
    ):
        if not weights or min(weights) < 0 or sum(weights) <= 0:
            raise ConfigError(f"{where}: {name}: expected weights of at least 0, not all 0")
    _check_values(config, where)


def _check_values(config: RenderConfig, where: str) -> None:
    chances = {
        "text.blank": config.text.blank,
        "text.natural_cut": config.text.natural_cut,
        "fonts.own_latin": config.fonts.own_latin,
        **{f"style.{k}": v for k, v in vars(config.style).items() if isinstance(v, float)},
    }
    ranges: dict[str, tuple[tuple[float, float], float, float]] = {}  # values, least, most
    for i, length in enumerate(config.text.lengths):
        ranges[f"text.lengths[{i}]"] = ((length.low, length.high), 1, 1000)
    for paper in config.papers:
        name = f"paper {paper.name!r}"
        chances.update({f"{name}: {step.do}: chance": step.chance for step in paper.steps})
        ranges[f"{name}: size"] = (paper.size, 4, 400)
        ranges[f"{name}: ink"] = (paper.ink, 0, 255)
        ranges[f"{name}: paper"] = (paper.paper, 0, 255)
    ranges.update({name: ((chance, chance), 0, 1) for name, chance in chances.items()})
    for name, ((low, high), least, most) in ranges.items():
        if not least <= low <= high <= most:
            got = low if low == high else f"{low} to {high}"
            raise ConfigError(f"{where}: {name}: expected {least} to {most}, got {got}")
