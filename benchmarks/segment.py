"""Time of the segmenter on a page: the fused network beside torch's own convolutions, in turns.

    python -m benchmarks.segment [--weights FILE] [--long-side 1280] [--threads 1] [--seconds 10]
    python -m benchmarks.segment --pages 100 [--weights FILE]

Parity comes first: no speed is shown for a network that computes something else. With --pages, what
it finds on so many rendered pages in fonts and layouts that training never draws, and no speed.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from benchmarks import machine
from khmer_fast import ops
from khmer_fast.segmenter_weights import load_segmenter
from python_ref.segmenter import Segmenter

ROWS_TO_COLUMNS = 2**0.5  # of an A4 page
SEED = 907  # of the rendered pages
TOLERANCE = 1e-4  # of the largest value of a map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="a segmenter's weights (default: the packaged)")
    parser.add_argument("--long-side", type=int, default=1280, help="of the A4 page, pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="time of measuring")
    parser.add_argument("--pages", type=int, help="measure what is found, not how fast")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    reference = load_segmenter(args.weights).model
    if args.pages:
        print(json.dumps(found_on_rendered_pages(reference, args.pages, args.long_side)))
        return
    fused = ops.Segmenter(reference)
    Y, X = args.long_side, int(args.long_side / ROWS_TO_COLUMNS)
    image = torch.rand(1, 1, Y, X, generator=torch.Generator().manual_seed(0)).square()
    ways = {
        "torch": lambda: reference(image),
        "khmer_fast": lambda: fused(image, threads=args.threads),
    }
    with torch.inference_mode():
        expected, found = (run() for run in ways.values())
        for name, wanted, got in zip(expected._fields, expected, found, strict=True):
            error = float((wanted - got).abs().max() / wanted.abs().max())
            if not error <= TOLERANCE:
                raise SystemExit(
                    f"parity is red: {name} is off by {error:.1e} of its largest value"
                )
        times: dict[str, list[float]] = {name: [] for name in ways}
        end = time.perf_counter() + args.seconds
        while time.perf_counter() < end:
            for name, run in ways.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    rows = {
        name: {
            "best": round(1000 * min(values), 2),
            "median": round(1000 * float(np.median(values)), 2),
        }
        for name, values in times.items()
    }
    print(json.dumps({"page": [Y, X], "threads": args.threads, **machine.describe(), "ms": rows}))


def found_on_rendered_pages(model: Segmenter, pages: int, long_side: int) -> dict[str, float]:
    """Shares of lines and cells (khmer_fast/train/page_measure.py)."""
    from khmer_fast.data import PageSource
    from khmer_fast.train.page_measure import measure_pages
    from khmer_fast.train.page_samples import whole_page

    source = PageSource(held_out=True, long_side=long_side)
    crops = (whole_page(source.sample(SEED, index), long_side) for index in range(pages))
    return {"pages": pages, **measure_pages(model, list(crops))}


if __name__ == "__main__":
    main()
