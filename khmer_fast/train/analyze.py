"""What a run or its log tells: figures, what they mean, what to expect, what to do next."""

from __future__ import annotations

from khmer_fast.train.analysis.advice import advice
from khmer_fast.train.analysis.attention import attention
from khmer_fast.train.analysis.cer import cer
from khmer_fast.train.analysis.checkpoints import checkpoints
from khmer_fast.train.analysis.finding import Finding
from khmer_fast.train.analysis.log import about_log
from khmer_fast.train.analysis.loss import loss
from khmer_fast.train.analysis.speed import speed
from khmer_fast.train.history import one_measure
from khmer_fast.train.run_log import RunLog

TARGET = 0.10  # CER that a projection is made for


def analyze(log: RunLog, target: float = TARGET) -> list[Finding]:
    """The findings about a run, by topic, and at the end what to do."""
    records = one_measure(log.records)
    found = [
        *about_log(log, records),
        *loss(log, records),
        *cer(log, records, target),
        *attention(log),
        *checkpoints(log),
        *speed(log),
    ]
    return [*found, advice(log.of(records), found)]
