"""Lines: what a step on them costs, and how well the model reads the validation lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from khmer_fast.errors import KhmerFastError
from khmer_fast.text import BOS, Vocabulary
from khmer_fast.train.loop import Sums, Trainer
from khmer_fast.train.loss import Losses, check, losses, losses_of_memory
from khmer_fast.train.optimizer import find_amp
from khmer_fast.train.options import TrainOptions
from khmer_fast.train.samples import TrainBatch, TrainLine, collate
from python_ref.attn_gru_step import DecoderWeights, attn_gru_init
from python_ref.config import ModelConfig
from python_ref.ctc import ctc_greedy
from python_ref.encoder import Encoder
from python_ref.model import Model

ATTENTION_LINES = 16  # validation lines whose attention is measured


class LineObjective:
    """NLL of the decoder and CTC of the encoder, in nats a character."""

    losses: tuple[str, ...] = ("nll", "ctc")

    def __init__(self, config: ModelConfig, options: TrainOptions, device: torch.device):
        self.config, self.options, self.device = config, options, device
        self.config_name = config.name
        self.dtype = getattr(torch, options.dtype)
        self.sequence = find_sequence(options.backend, device)
        self.recurrent = find_recurrent(options.backend, device)
        self.amp = find_amp(options.amp, device)

    def make_model(self) -> Model:
        return Model(self.config)

    def count(self, line: TrainLine) -> int:
        return len(line.ids) + 1  # with <eos>

    def decoder_on(self, epoch: int) -> bool:
        return epoch >= self.options.ctc_only_epochs

    def collate(self, lines: Sequence[TrainLine]) -> TrainBatch:
        """A batch on the trainer's device, in its dtype."""
        batch = collate(list(lines), self.dtype)
        return TrainBatch(**{name: tensor.to(self.device) for name, tensor in vars(batch).items()})

    def forward(self, model: Model, lines: Sequence[TrainLine], epoch: int) -> Losses:
        decoder_on = self.decoder_on(epoch)
        return losses(
            model,
            self.collate(lines),
            self.sequence if decoder_on else None,
            self.amp,
            ctc=self.options.ctc_weight > 0 or not decoder_on,
            recurrent=self.recurrent,
        )

    def sums(self, model: Model, lines: Sequence[TrainLine], epoch: int) -> Sums:
        part = self.forward(model, lines, epoch)
        smoothing = self.options.label_smoothing
        ctc_weight = self.options.ctc_weight if self.decoder_on(epoch) else 1.0
        nll = (1 - smoothing) * part.nll + smoothing * part.smooth
        total = nll + ctc_weight * part.ctc
        counts = (part.tokens, part.ctc_tokens)
        return Sums(total, (part.nll, part.ctc), counts, part.ctc_left_out)

    def check(self, means: Mapping[str, float], step: int) -> None:
        check(means["nll"], means["ctc"], step)


def find_sequence(backend: str, device: torch.device) -> Callable:
    """`attn_gru_sequence`: the fused op, or the plain loop of the reference."""
    if backend == "fast":
        from khmer_fast.sequence import attn_gru_sequence, has_kernels

        if has_kernels(device.type):
            return attn_gru_sequence
    from python_ref.attn_gru_sequence import attn_gru_sequence

    return attn_gru_sequence


def find_recurrent(backend: str, device: torch.device) -> Callable:
    """The encoder's GRU: the fused op, or torch's, which on a GPU is cuDNN's."""
    if backend == "reference" or device.type != "cpu":
        return Encoder.recurrent
    from khmer_fast.sequence import encoder_recurrent

    return encoder_recurrent


@dataclass(frozen=True)
class Validation:
    """What one look at the validation lines gave; `record` holds the history's figures."""

    cer: float  # that the best checkpoint is chosen by: `capped_cer` of the beam
    record: dict[str, float | None]
    predictions: list[str]
    attention: list[Tensor]  # of [S, T], teacher-forced, for the first ATTENTION_LINES


@torch.no_grad()
def validate(
    trainer: Trainer,
    lines: list[TrainLine],
    vocabulary: Vocabulary,
    by_decoder: bool = True,
    beam: int = 5,
) -> Validation:
    """Reads the lines with the averaged weights: greedily, by beam and by the CTC head.

    Without `by_decoder` by the CTC head alone, whose CER then stands under `val_cer` too.
    """
    from khmer_fast.evaluation.metrics import score
    from khmer_fast.ops import Decoder
    from khmer_fast.recognize.decoder import decode

    options = trainer.options
    model, objective = _lines(trainer)
    weights = DecoderWeights(*(w.float().cpu() for w in model.decoder.weights()))
    decoder: DecoderWeights | Decoder = weights
    if by_decoder and options.backend == "fast":
        decoder = Decoder(weights)
    references = [vocabulary.decode(line.ids) for line in lines]
    greedy, by_beam, by_ctc = [""] * len(lines), [""] * len(lines), [""] * len(lines)
    without_eos = 0
    sums = torch.zeros(4, dtype=torch.float64)
    order = sorted(range(len(lines)), key=lambda i: lines[i].image.shape[1])
    for start in range(0, len(lines), options.batch_lines):
        chosen = order[start : start + options.batch_lines]
        batch = objective.collate([lines[i] for i in chosen])
        feature, length = model.encoder.features(batch.image, batch.width)
        memory = objective.recurrent(model.encoder, feature, length)
        sequence = objective.sequence if by_decoder else None
        part = losses_of_memory(model, memory, length, batch, sequence)
        sums += torch.tensor([float(part.nll), part.tokens, float(part.ctc), part.ctc_tokens])
        path = ctc_greedy(model.ctc(memory).cpu(), length.cpu())
        for b, i in enumerate(chosen):
            by_ctc[i] = vocabulary.decode(path.tokens[b, 0, : path.length[b, 0]].tolist())
        if not by_decoder:
            continue
        memory, length = memory.float().cpu(), length.cpu()
        for width, texts in ((1, greedy), (beam, by_beam)):
            result = decode(decoder, memory, length, beam=width, backend=options.backend)
            for b, i in enumerate(chosen):
                texts[i] = vocabulary.decode(result.tokens[b, 0, : result.length[b, 0]].tolist())
            if width == 1:
                without_eos += int((result.truncated[:, 0] | result.failed).sum())
    texts = greedy if by_decoder else by_ctc
    scores, ctc_cer = score(references, texts), score(references, by_ctc).cer
    if scores.cer is None:
        raise KhmerFastError("expected validation lines with text, got blank lines only")
    capped = capped_cer(references, by_beam if by_decoder else by_ctc)
    characters = max(scores.characters, 1)
    nll, tokens, ctc, ctc_tokens = sums.tolist()
    nll, ctc = nll / max(tokens, 1), ctc / max(ctc_tokens, 1)
    return Validation(
        capped,
        {
            "val_loss": nll + options.ctc_weight * ctc if by_decoder else ctc,
            "val_nll": nll if by_decoder else None,
            "val_ctc": ctc,
            "val_cer": scores.cer,
            "val_substitutions": scores.substitutions / characters,
            "val_deletions": scores.deletions / characters,
            "val_insertions": scores.insertions / characters,
            "val_cluster_error_rate": scores.cluster_error_rate,
            "val_cer_beam": score(references, by_beam).cer if by_decoder else None,
            "val_cer_capped": capped,
            "val_ctc_cer": ctc_cer,
            "val_without_eos": without_eos / len(lines) if by_decoder else None,
            "val_loops": sum(map(is_loop, texts, references)) / len(lines),
            "val_distinct": len(set(texts)) / max(len(set(references)), 1),
            "val_length": sum(map(len, texts)) / len(lines),
            "val_true_length": sum(map(len, references)) / len(lines),
        },
        texts,
        forced_attention(trainer, lines[:ATTENTION_LINES]) if by_decoder else [],
    )


@torch.no_grad()
def forced_attention(trainer: Trainer, lines: list[TrainLine]) -> list[Tensor]:
    """Attention weights [S, T] of each line when the decoder is given the true characters."""
    model, objective = _lines(trainer)
    rows = []
    for line in lines:
        batch = objective.collate([line])
        memory, length = model.encode(batch.image, batch.width)
        weights = model.decoder.weights()
        key, h_0 = attn_gru_init(memory, length, weights)
        token = torch.tensor([[BOS, *line.ids]], device=trainer.device)  # [1, S]
        _, weight = objective.sequence(
            memory, key, length, h_0, token, torch.tensor([token.shape[1]], device=trainer.device),
            weights.embedding, weights.W_q, weights.v, weights.W_ih, weights.W_hh,
            weights.b_ih, weights.b_hh, weights.W_o, weights.b_o,
        )  # fmt: skip
        rows.append(weight[0, :, : int(length[0])].cpu())
    return rows


def _lines(trainer: Trainer) -> tuple[Model, LineObjective]:
    """The averaged model and the objective of a trainer of lines."""
    assert isinstance(trainer.average, Model) and isinstance(trainer.objective, LineObjective)
    return trainer.average, trainer.objective


def capped_cer(references: Sequence[str], texts: Sequence[str]) -> float:
    """CER in which a line has at most as many edits as characters (a blank one: one edit), so that
    a single line that loops does not choose the checkpoint. Some reference has text."""
    from khmer_fast.evaluation.metrics import line_edits

    found = [line_edits(*pair) for pair in zip(references, texts, strict=True)]
    edits = sum(min(line.edits, max(line.characters, 1)) for line in found)
    return edits / sum(line.characters for line in found)


def is_loop(text: str, reference: str) -> bool:
    """Whether a reading repeats what its reference does not, as `evaluate` counts it."""
    from khmer_fast.evaluation.diagnosis import LOOP, repetition

    return repetition(text) - repetition(reference) >= LOOP
