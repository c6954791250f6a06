"""Which pages are rendered and how often, read from TOML as the mixture of lines is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from khmer_fast.data.config import ConfigError, parse_toml
from khmer_fast.data.mixture import Step

DEFAULT_PAGES = Path(__file__).with_name("pages.toml")


@dataclass(frozen=True)
class LayoutChoice:
    """A layout by its name in khmer_fast.data.page_layouts; `on` is `paper`, `screen` or `any`;
    `held_out` keeps it from training."""

    name: str
    weight: float
    on: str
    held_out: bool = False


@dataclass(frozen=True)
class PagePaper:
    """One kind of image: grey levels of ink and paper, how the page lies (chances and ranges as
    the fields of khmer_fast.data.page_geometry.Warp), then steps of degradation in order."""

    name: str
    weight: float
    on: str
    ink: tuple[int, int]
    paper: tuple[int, int]
    skewed: float
    skew: tuple[float, float]
    bent: float
    bend: tuple[float, float]
    tilted: float
    tilt: tuple[float, float]
    edges: float
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class PageMarks:
    """Chances of what lies on a page of paper and is no text."""

    stamp: float
    signature: float
    scribble: float
    watermark: float
    holes: float
    dark_border: float
    cut_margin: float
    over_lines: float = 0.0  # a seal, signature or scribble over a line


@dataclass(frozen=True)
class PageConfig:
    """The mixture of pages; see pages.toml, which explains every value."""

    long_side: tuple[int, int]
    turned: float
    marks: PageMarks
    layouts: tuple[LayoutChoice, ...]
    papers: tuple[PagePaper, ...]


def load_page_config(path: str | Path = DEFAULT_PAGES) -> PageConfig:
    """Read a mixture of pages from TOML; ConfigError names the file and the key that is wrong."""
    config = parse_toml(PageConfig, path)
    _check(config, str(path))
    return config


def _check(config: PageConfig, where: str) -> None:
    from khmer_fast.data.degrade import STEPS
    from khmer_fast.data.page_layouts import LAYOUTS

    for layout in config.layouts:
        if layout.name not in LAYOUTS:
            raise ConfigError(
                f"{where}: unknown layout {layout.name!r}; known: {', '.join(sorted(LAYOUTS))}"
            )
        if layout.on not in ("paper", "screen", "any"):
            raise ConfigError(
                f"{where}: layout {layout.name!r}: on must be paper, screen or any, "
                f"got {layout.on!r}"
            )
    for paper in config.papers:
        for step in paper.steps:
            if step.do not in STEPS:
                raise ConfigError(
                    f"{where}: paper {paper.name!r}: unknown step {step.do!r}; "
                    f"known: {', '.join(sorted(STEPS))}"
                )
    for kind in ("paper", "screen"):
        if not any(paper.on == kind and paper.weight > 0 for paper in config.papers):
            raise ConfigError(f"{where}: expected at least one paper with on = {kind!r}")
    if not any(layout.weight > 0 and not layout.held_out for layout in config.layouts):
        raise ConfigError(f"{where}: expected at least one layout with a weight above 0")
    chances = {"turned": config.turned, **{f"marks.{k}": v for k, v in vars(config.marks).items()}}
    for paper in config.papers:
        name = f"paper {paper.name!r}"
        for field in ("skewed", "bent", "tilted", "edges"):
            chances[f"{name}: {field}"] = getattr(paper, field)
        chances.update({f"{name}: {step.do}: chance": step.chance for step in paper.steps})
    for name, chance in chances.items():
        if not 0 <= chance <= 1:
            raise ConfigError(f"{where}: {name}: expected a chance of 0 to 1, got {chance}")
    if not 64 <= config.long_side[0]:
        raise ConfigError(f"{where}: long_side: expected at least 64, got {config.long_side[0]}")
