"""Training on lines: data > vocabulary > batches, and what is measured and kept of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from khmer_fast.errors import KhmerFastError, OptionError
from khmer_fast.text import DEFAULT_CHARSET, NORMALIZER_VERSION, Vocabulary
from khmer_fast.train.history import Record
from khmer_fast.train.line_objective import LineObjective, validate
from khmer_fast.train.lock_on import mean_lock_on
from khmer_fast.train.loop import Trainer
from khmer_fast.train.options import TrainOptions
from khmer_fast.train.plots import draw_epoch
from khmer_fast.train.run_folder import RunFolder
from khmer_fast.train.samples import LineDataset, TrainLine
from khmer_fast.train.sources import Data, DataError, open_data
from khmer_fast.train.task import Measured
from khmer_fast.weights import Weights, load_weights, save_weights
from python_ref.config import ModelConfig, make_config

DRAWN_LINES = 3  # validation lines whose attention is drawn each epoch


class LineTask:
    """Lines of any source that `open_data` takes (khmer_fast.train.task.Task)."""

    def __init__(
        self,
        options: TrainOptions,
        folder: RunFolder,
        resume: bool,
        device: torch.device,
        leads: bool,
    ):
        self.options = options
        self.data = open_data(options.data, options.validation)
        weights = None if resume else _start_weights(options)
        self.charset = _charset(options, folder, self.data, weights, resume)
        self.vocabulary = Vocabulary(self.charset)
        config = _config(options, self.vocabulary)
        self.data.check(self.vocabulary, config, options.skip_bad)
        self.validation = _validation(self.data, options, self.vocabulary, config) if leads else []
        self.objective = LineObjective(config, options, device)
        self.dataset = LineDataset(
            self.data.mixture(), self.vocabulary, config.height, options.seed
        )
        self.samples_per_epoch = options.lines_per_epoch or self.data.lines()
        self.start = None if weights is None else weights.model.state_dict()
        self.files = {folder.charset_path.name: self.charset.encode()}
        self.about = {
            "charset": self.charset,
            "normalizer_version": NORMALIZER_VERSION,
            "data": self.data.digest(),
        }

    def left_out(self) -> tuple[Sequence[object], str]:
        return self.data.bad.all(), str(self.data.bad)

    def words(self) -> str:
        convolutions = "bfloat16" if self.objective.amp else self.options.dtype
        return f"{self.samples_per_epoch:,} lines an epoch; convolutions in {convolutions}"

    def first_measure(self, epoch: int) -> bool:
        return epoch <= self.options.ctc_only_epochs  # the CTC head's CER, not the decoder's

    def measure(self, trainer: Trainer, epoch: int) -> Measured:
        found = validate(trainer, self.validation, self.vocabulary, not self.first_measure(epoch))
        attention = [w.float().numpy() for w in found.attention]
        record = {**found.record, **mean_lock_on(attention)}
        return Measured(found.cer, record, attention)

    def figures(self, losses: Mapping[str, float], epoch: int) -> dict[str, float | None]:
        nll, ctc, weight = losses["nll"], losses["ctc"], self.options.ctc_weight
        by_decoder = not self.first_measure(epoch)
        return {
            "train_loss": nll + weight * ctc if by_decoder else ctc,
            "train_nll": nll if by_decoder else None,
            "train_ctc": ctc if weight > 0 or not by_decoder else None,
        }

    def best(self, score: float | None) -> dict[str, float | None]:
        return {"best_cer": score}

    def draw(self, folder: Path, epoch: int, records: Sequence[Record], measured: Measured) -> None:
        """Plots of the history, and the attention of the first validation lines."""
        attention = measured.seen[:DRAWN_LINES]
        lines = [
            (line.image, self.vocabulary.decode(line.ids)) for line in self.validation[:DRAWN_LINES]
        ]
        draw_epoch(folder, epoch, records, lines if attention else [], attention)

    def write_weights(self, path: Path, average: Mapping[str, Tensor]) -> None:
        save_weights(path, average, self.objective.config, self.charset)

    def scored(self, score: float) -> str:
        return f"CER {score:.2%}"

    def reads(self, weights: Path) -> str:
        return f"khmer-fast read --weights {weights} IMAGE reads with it"


def _start_weights(options: TrainOptions) -> Weights | None:
    """Weights to begin with."""
    if options.init_from is None:
        return None
    if Path(options.init_from).is_dir():
        raise OptionError(
            f"--init-from {options.init_from}: expected weights, got a folder; a run's weights are "
            "in RUN/models/best_model.safetensors, and --resume RUN continues a run"
        )
    weights = load_weights(None if options.init_from == "packaged" else options.init_from)
    if weights.config.name != options.config:
        raise KhmerFastError(
            f"--init-from {options.init_from} holds the size {weights.config.name!r}, but the run "
            f"asks for --config {options.config}; give --config {weights.config.name}"
        )
    return weights


def _charset(
    options: TrainOptions, folder: RunFolder, data: Data, weights: Weights | None, resume: bool
) -> str:
    if resume:
        try:
            return folder.charset_path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise KhmerFastError(f"cannot read {folder.charset_path}: {error}") from None
    charset = DEFAULT_CHARSET if weights is None else weights.charset
    if options.new_characters == "extend":
        charset += data.new_characters(charset)
    return charset


def _config(options: TrainOptions, vocabulary: Vocabulary) -> ModelConfig:
    try:
        return make_config(options.config, vocabulary.size)
    except ValueError as error:
        raise OptionError(f"--config: {error}") from None


def _validation(
    data: Data, options: TrainOptions, vocabulary: Vocabulary, config: ModelConfig
) -> list[TrainLine]:
    lines = [
        LineDataset(source, vocabulary, config.height, options.seed)[index]
        for source, index in data.measured(options.validate_lines)
    ]
    if not any(line.ids for line in lines):
        raise DataError(
            f"expected text to measure on, but {len(lines)} validation lines hold none; give "
            "other lines with --validation"
        )
    return lines
