"""Averages weights of one configuration and charset: tensor by tensor, each file with its share.

    python scripts/average_weights.py packaged=0.7 RUN/models/best_model.safetensors=0.3 --out FILE

A model that was trained on from another one and that other one lie in one basin: between them is
often a model with fewer errors than either (docs/decisions.md). `packaged` is the packaged file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from khmer_fast.errors import OptionError
from khmer_fast.weights import PACKAGED, load_weights, save_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="+", metavar="FILE=SHARE", help="shares add up to 1")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    names, shares = zip(*(part.rsplit("=", 1) for part in args.weights), strict=True)
    shares = [float(share) for share in shares]
    if abs(sum(shares) - 1) > 1e-6:
        raise OptionError(f"expected shares that add up to 1, got {sum(shares):g}")
    files = [load_weights(PACKAGED if name == "packaged" else name) for name in names]
    first = files[0]
    for name, other in zip(names, files, strict=True):
        if (other.config, other.charset) != (first.config, first.charset):
            raise OptionError(f"{name}: another configuration or charset than {names[0]}")
    state = {
        key: sum(share * file.state[key].float() for share, file in zip(shares, files, strict=True))
        for key in first.state
    }
    save_weights(args.out, state, first.config, first.charset)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
