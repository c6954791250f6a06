"""Makes the packaged weights of the segmenter from a run's: writes them and pins their sha256.

python scripts/package_segmenter.py RUN/models/best_model.pth --trained "what on, how long"
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

from khmer_fast import segmenter_weights as module

MOST_BYTES = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="checkpoint or weights of --task pages")
    parser.add_argument("--trained", required=True, help="what on and how long, for the metadata")
    parser.add_argument("--out", type=Path, default=module.PACKAGED_SEGMENTER)
    args = parser.parse_args()

    trained = module.load_segmenter(args.weights)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    extra = {"commit": commit, "trained": args.trained}
    digest = module.save_segmenter(args.out, trained.model.state_dict(), trained.config, extra)
    size = args.out.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{args.out}: {size:,} bytes, the package takes {MOST_BYTES:,} at most")
    if args.out == module.PACKAGED_SEGMENTER:
        source = Path(module.__file__)
        pinned = f'PACKAGED_SEGMENTER_SHA256 = "{digest}"'
        text = re.sub(r'PACKAGED_SEGMENTER_SHA256 = ".*?"', pinned, source.read_text("utf-8"))
        source.write_text(text, "utf-8")
    print(json.dumps({"out": str(args.out), "sha256": digest, "bytes": size}))


if __name__ == "__main__":
    main()
