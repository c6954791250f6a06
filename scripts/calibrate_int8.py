"""Measures the scales that dtype int8 needs, on rendered lines, and writes them beside the weights.

    python scripts/calibrate_int8.py [WEIGHTS]      (default: the packaged ones)

The lines are none that training, validation or the calibration of confidences draw.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from khmer_fast.data import LineSource
from khmer_fast.recognize.batch import Batch, collate
from khmer_fast.recognize.pieces import pieces_of
from khmer_fast.recognize.reader import Reader
from khmer_fast.recognize.scales import measure, save_scales, scales_path

SEED = 2_000_017


def batches(reader: Reader, lines: int) -> Iterator[Batch]:
    """Rendered lines as the encoder gets them, pieces of long ones and all."""
    source = LineSource()
    for i in range(lines):
        line = reader.prepare(source.sample(SEED, i).image)
        for piece in pieces_of(line.image) if not line.blank else []:
            if piece.image is not None:
                yield collate([piece.image])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", help="weights file (default: the packaged one)")
    parser.add_argument("--lines", type=int, default=500, help="lines to measure on (default 500)")
    args = parser.parse_args()
    reader = Reader(args.weights, device="cpu", dtype="float32")
    scales = measure(reader.weights.model.encoder, batches(reader, args.lines))
    path = scales_path(reader.weights)
    save_scales(path, scales, reader.weights.sha256)
    print(f"{path}: scales of {args.lines} lines")


if __name__ == "__main__":
    main()
