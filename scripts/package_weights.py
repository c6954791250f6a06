"""Makes the packaged weights from a trainer's checkpoint: calibrates, writes, pins the sha256.

    python scripts/package_weights.py RUN/models/best_model.pth --trained "what on, how long"

Confidences are calibrated on rendered lines and on lines that the page network cuts out of rendered
pages, none of which training draws, by logistic regression on the logit of the raw confidence
(Platt scaling). scripts/calibrate_int8.py comes after it: its scales belong to one weights file
alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

from khmer_fast import weights as weights_module
from khmer_fast.data import LineSource, PageSource
from khmer_fast.page.segment import Segmenter
from khmer_fast.recognize.reader import Reader
from khmer_fast.text import clusters
from khmer_fast.train.page_crops import page_crops

SEED = 2_000_003  # of lines and pages that neither training nor validation draws
FROM_A_PAGE = 8  # lines at most: a full page is of one look


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--trained", required=True, help="what on and how long, for the metadata")
    parser.add_argument("--lines", type=int, default=400, help="lines to calibrate on")
    parser.add_argument("--crops", type=int, default=400, help="and lines of pages")
    parser.add_argument("--out", type=Path, default=weights_module.PACKAGED)
    args = parser.parse_args()

    trained = weights_module.load_weights(args.checkpoint)
    samples = [*itertools.islice(rendered_lines(), args.lines)]
    samples += itertools.islice(cut_lines(), args.crops)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.safetensors"
        weights_module.save_weights(plain, trained.state, trained.config, trained.charset)
        lines = Reader(plain).read_batch([image for image, _ in samples])
    of_lines, of_characters = [], []
    for (_, text), line in zip(samples, lines, strict=True):
        if line.text:
            of_lines.append((line.confidence, line.text == text))
        right = np.zeros(len(line.characters), bool)
        read = [character.text for character in line.characters]
        for block in Levenshtein.opcodes(read, clusters(text)):
            right[block.src_start : block.src_end] = block.tag == "equal"
        of_characters += [
            (c.confidence, bool(r)) for c, r in zip(line.characters, right, strict=True)
        ]
    calibration = {"line": platt(of_lines), "character": platt(of_characters)}
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    extra = {
        "commit": commit,
        "trained": args.trained,
        "calibration": json.dumps(calibration),
    }
    args.out.parent.mkdir(exist_ok=True)
    digest = weights_module.save_weights(
        args.out, trained.state, trained.config, trained.charset, extra
    )
    if args.out == weights_module.PACKAGED:
        module = Path(weights_module.__file__)
        pinned = f'PACKAGED_SHA256 = "{digest}"'
        module.write_text(re.sub(r'PACKAGED_SHA256 = ".*?"', pinned, module.read_text()))
    print(json.dumps({"out": str(args.out), "sha256": digest, "calibration": calibration}))


def rendered_lines() -> Iterator[tuple[np.ndarray, str]]:
    """Lines of the mixture: grey uint8 [Y', X'] and text."""
    source = LineSource()
    for i in itertools.count():
        sample = source.sample(SEED, i)
        yield sample.image, sample.text


def cut_lines() -> Iterator[tuple[np.ndarray, str]]:
    """Lines as the page network cuts them out of rendered pages, a few of each."""
    source, segmenter = PageSource(), Segmenter()
    for i in itertools.count():
        crops = list(page_crops(source.sample(SEED, i), segmenter))
        for k in np.linspace(0, len(crops) - 1, min(FROM_A_PAGE, len(crops))).astype(int):
            yield crops[k]


def platt(pairs: list[tuple[float, bool]]) -> tuple[float, float]:
    """Slope and offset on the logit of a confidence: a damped Newton's method with a prior at the
    identity as strong as one line or character."""
    confidence = np.clip([pair[0] for pair in pairs], 1e-12, 1 - 1e-6)  # [pairs]
    right = np.array([pair[1] for pair in pairs], float)
    x = np.stack([np.log(confidence / (1 - confidence)), np.ones(len(pairs))], 1)
    identity = np.array([1.0, 0.0])

    def cost(theta: np.ndarray) -> float:
        logit = x @ theta
        return float(
            np.logaddexp(0, logit).sum() - right @ logit + 0.5 * ((theta - identity) ** 2).sum()
        )

    theta = identity
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -500, 500)))
        gradient = x.T @ (p - right) + theta - identity
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while cost(theta - scale * step) > cost(theta) and scale > 1e-6:
            scale /= 2
        theta = theta - scale * step
        if np.abs(scale * step).max() < 1e-9:
            break
    return float(theta[0]), float(theta[1])


if __name__ == "__main__":
    main()
