"""Training the segmenter on pages: crops of rendered pages, measured on whole pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from khmer_fast.errors import KhmerFastError, OptionError
from khmer_fast.segmenter_weights import load_segmenter, save_segmenter
from khmer_fast.train.history import Record
from khmer_fast.train.loop import Trainer
from khmer_fast.train.options import TrainOptions
from khmer_fast.train.page_data import open_pages
from khmer_fast.train.page_loss import ROTATION_WEIGHT, PageObjective
from khmer_fast.train.page_measure import find_bands, measure_pages
from khmer_fast.train.page_samples import CROPS_PER_PAGE, CropDataset, whole_page
from khmer_fast.train.page_targets import STRIDE
from khmer_fast.train.plots import history_plot
from khmer_fast.train.run_folder import RunFolder
from khmer_fast.train.task import Measured
from python_ref.segmenter import SEGMENTERS

DRAWN_PAGES = 4  # validation pages whose bands are drawn each epoch


class PageTask:
    """Pages of any source that `open_pages` takes (khmer_fast.train.task.Task)."""

    def __init__(
        self,
        options: TrainOptions,
        folder: RunFolder,
        resume: bool,
        device: torch.device,
        leads: bool,
    ):
        self.options = options
        if options.config not in SEGMENTERS:
            known = ", ".join(SEGMENTERS)
            raise OptionError(f"--config must be one of {known} for pages, got {options.config}")
        self.start = None if resume else _start_weights(options)
        data = open_pages(options.data, options.validation)
        self.validation = (
            [whole_page(page) for page in data.measured(options.seed, options.validate_lines)]
            if leads
            else []
        )
        self.objective = PageObjective(
            SEGMENTERS[options.config], getattr(torch, options.dtype), device
        )
        self.dataset = CropDataset(data.train, options.seed)
        self.samples_per_epoch = options.lines_per_epoch or CROPS_PER_PAGE * data.pages
        self.files: dict[str, bytes] = {}
        self.about = {"task": "pages", "data": data.digest}

    def left_out(self) -> tuple[Sequence[object], str]:
        return [], ""

    def words(self) -> str:
        pages = -(-self.samples_per_epoch // CROPS_PER_PAGE)
        return f"{self.samples_per_epoch:,} crops of {pages:,} pages an epoch"

    def first_measure(self, epoch: int) -> bool:
        return False

    def measure(self, trainer: Trainer, epoch: int) -> Measured:
        found = measure_pages(trainer.average, self.validation, self.objective.collate)
        return Measured(found["loss"], {f"val_{k}": v for k, v in found.items()}, trainer.average)

    def figures(self, losses: Mapping[str, float], epoch: int) -> dict[str, float | None]:
        total = 2 * losses["band"] + losses["dice"] + losses["extent"] + losses["offset"]
        total += ROTATION_WEIGHT * losses["rotation"]
        return {"train_loss": total, **{f"train_{name}": v for name, v in losses.items()}}

    def best(self, score: float | None) -> dict[str, float | None]:
        return {"best_loss": score}

    def draw(self, folder: Path, epoch: int, records: Sequence[Record], measured: Measured) -> None:
        """Plots of the history, and the bands found on the first validation pages."""
        history_plot(records).save(folder / "history.png")
        bands = folder / "bands"
        bands.mkdir(exist_ok=True)
        for number, crop in enumerate(self.validation[:DRAWN_PAGES], 1):
            found = find_bands(measured.seen, crop, self.objective.collate)
            red = np.kron(found, np.ones((STRIDE, STRIDE), np.float32))[:, :, None]  # [Y, X, 1]
            grey = np.repeat(crop.image[:, :, None], 3, 2)
            shown = grey * (1 - red / 2) + red / 2 * np.array([255, 0, 0])
            Image.fromarray(shown.astype(np.uint8)).save(bands / f"{number}-epoch{epoch:04}.png")

    def write_weights(self, path: Path, average: Mapping[str, Tensor]) -> None:
        save_segmenter(path, average, self.objective.config)

    def scored(self, score: float) -> str:
        return f"loss {score:.4f}"

    def reads(self, weights: Path) -> str:
        return f"khmer_fast.segmenter_weights.load_segmenter({str(weights)!r}) is the network"


def _start_weights(options: TrainOptions) -> dict[str, Tensor] | None:
    if options.init_from is None:
        return None
    if Path(options.init_from).is_dir():
        raise OptionError(
            f"--init-from {options.init_from}: expected weights, got a folder; a run's weights are "
            "in RUN/models/best_model.safetensors, and --resume RUN continues a run"
        )
    weights = load_segmenter(None if options.init_from == "packaged" else options.init_from)
    if weights.config != SEGMENTERS[options.config]:
        raise KhmerFastError(
            f"--init-from {options.init_from} holds the size {weights.config.name!r}, but the run "
            f"asks for --config {options.config}; give --config {weights.config.name}"
        )
    return weights.model.state_dict()
