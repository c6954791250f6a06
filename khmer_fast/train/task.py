"""What a run can train: lines or pages. Everything else of a run is the same for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from khmer_fast.train.history import Record
from khmer_fast.train.loop import Objective, Trainer


@dataclass(frozen=True)
class Measured:
    """What one look at the validation samples gave."""

    score: float  # lower is better: of lines the CER, of pages the loss
    record: dict[str, float | None]  # the history's figures
    seen: Any  # what the task draws


class Task(Protocol):
    """Where samples come from, how the model is measured, and what is kept of it."""

    samples_per_epoch: int

    @property
    def objective(self) -> Objective:
        """What is trained and what it costs."""

    @property
    def dataset(self) -> Any:
        """Where samples come from, as `samples.batches` takes it."""

    @property
    def start(self) -> Mapping[str, Tensor] | None:
        """Weights to begin with."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """What a new run's folder holds beside its options."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What a checkpoint says beside the trainer's state; with `data`, the digest of what was
        trained on."""

    def left_out(self) -> tuple[Sequence[object], str]:
        """Samples that cannot be used, one by one and in words for people."""

    def words(self) -> str:
        """How much is trained on, and how, for the run's first line."""

    def first_measure(self, epoch: int) -> bool:
        """Whether epoch `epoch` (from 1) is scored by another measure than the later ones."""

    def measure(self, trainer: Trainer, epoch: int) -> Measured:
        """Looks at the validation samples with the averaged weights."""

    def figures(self, losses: Mapping[str, float], epoch: int) -> dict[str, float | None]:
        """The history's training losses, of mean losses by name."""

    def best(self, score: float | None) -> dict[str, float | None]:
        """The history's name for the best score so far."""

    def draw(self, folder: Path, epoch: int, records: Sequence[Record], measured: Measured) -> None:
        """Pictures of an epoch."""

    def write_weights(self, path: Path, average: Mapping[str, Tensor]) -> None:
        """Writes averaged weights as a file that reading takes."""

    def scored(self, score: float) -> str:
        """A score in words."""

    def reads(self, weights: Path) -> str:
        """How a weights file of this task is used, in words."""
