"""Averages weights of one configuration and charset: tensor by tensor, each file with its share.

    python scripts/average_weights.py packaged=0.7 RUN/models/best_model.safetensors=0.3 --out FILE

A model that was trained on from another one and that other one lie in one basin: between them is
often a model with fewer errors than either (docs/decisions.md). `packaged` is the packaged file:
the reader's, or with --segmenter the page network's.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from khmer_fast.errors import OptionError
from khmer_fast.segmenter_weights import load_segmenter, save_segmenter
from khmer_fast.weights import PACKAGED, load_weights, save_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="+", metavar="FILE=SHARE", help="shares add up to 1")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--segmenter", action="store_true", help="weights of the page network")
    args = parser.parse_args()

    names, given = zip(*(part.rsplit("=", 1) for part in args.weights), strict=True)
    shares = [float(share) for share in given]
    if abs(sum(shares) - 1) > 1e-6:
        raise OptionError(f"expected shares that add up to 1, got {sum(shares):g}")
    states: list[Mapping[str, Tensor]]
    kinds: list[tuple[object, ...]]  # weights of one kind can be averaged
    if args.segmenter:
        networks = [load_segmenter(None if name == "packaged" else name) for name in names]
        states = [network.model.state_dict() for network in networks]
        kinds = [(network.config,) for network in networks]
    else:
        files = [load_weights(PACKAGED if name == "packaged" else name) for name in names]
        states = [file.state for file in files]
        kinds = [(file.config, file.charset) for file in files]
    for name, kind in zip(names, kinds, strict=True):
        if kind != kinds[0]:
            raise OptionError(f"{name}: another configuration or charset than {names[0]}")
    state = {
        key: torch.stack(
            [share * other[key].float() for share, other in zip(shares, states, strict=True)]
        ).sum(0)
        for key in states[0]
    }
    if args.segmenter:
        save_segmenter(args.out, state, networks[0].config)
    else:
        save_weights(args.out, state, files[0].config, files[0].charset)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
