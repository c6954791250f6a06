"""Fits khmer_fast/page/likelihood.py on rendered pages.

Half of them are of all layouts, a third of these with all but a line or two wiped away; half are
without text. Prints the weights, and what they do to pages that they were not fitted on.

KHMER_FAST_DATA=... python scripts/fit_text_likelihood.py --pages 400
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from khmer_fast.data.pages import PageSample, PageSource
from khmer_fast.document import Line
from khmer_fast.page import likelihood
from khmer_fast.page.find import FoundPage, find_lines
from khmer_fast.page.page_reader import PageReader

SEED = 20_261_126
TEXT, NO_TEXT = 0.5, 0.08  # share of a line's ink that is text's: in between nothing is learnt
FOLDS = 5
FALSE_WEIGHT = 3.0  # an invented line is as bad as so many doubted ones
RIDGE = 0.3


def _paper(image: np.ndarray) -> np.ndarray:
    """The grey round each pixel without its ink: the usual one of 24 x 24 pixels."""
    Y, X = image.shape
    padded = np.pad(image, ((0, -Y % 24), (0, -X % 24)), "edge")
    blocks = padded.reshape(padded.shape[0] // 24, 24, -1, 24).transpose(0, 2, 1, 3)
    share = 80 if np.median(image) > 127 else 20
    levels = np.percentile(blocks.reshape(*blocks.shape[:2], -1), share, axis=2)
    smooth = Image.fromarray(levels.astype(np.float32)).resize(
        padded.shape[::-1], Image.Resampling.BILINEAR
    )
    return np.asarray(smooth)[:Y, :X]


def nearly_blank(sample: PageSample, seed: int) -> PageSample:
    """The page with all but a line or two of its text wiped away: a number, a heading, a name."""
    rng = np.random.default_rng([SEED, seed])
    kept = rng.choice(len(sample.lines), min(len(sample.lines), 1 + seed % 2), replace=False) + 1
    gone = (sample.owner > 0) & ~np.isin(sample.owner, kept)
    image = sample.image.copy()
    wide = np.asarray(Image.fromarray(gone).filter(ImageFilter.MaxFilter(5)))  # and its grey rim
    wiped = wide & ~np.isin(sample.owner, kept)
    image[wiped] = np.clip(_paper(image)[wiped] + rng.normal(0, 1, int(wiped.sum())), 0, 255)
    return replace(sample, image=image, owner=np.where(gone, 0, sample.owner))


def ink_of_text(found: FoundPage, sample: PageSample) -> np.ndarray:
    """The share of each found line's ink that is a line's of the page: [found lines]."""
    Y, X = found.owners.owners.shape
    y = ((np.arange(Y) + 0.5) * sample.owner.shape[0] / Y).astype(int)
    x = ((np.arange(X) + 0.5) * sample.owner.shape[1] / X).astype(int)
    text = sample.owner[np.ix_(y, x)] > 0
    size = np.bincount(found.owners.owners.ravel(), minlength=65_536)
    inside = np.bincount(found.owners.owners[text], minlength=65_536)
    index = np.array([ink.index + 1 for ink in found.inks], int)
    return inside[index] / np.maximum(size[index], 1)


def lines_of(reader: PageReader, sample: PageSample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, shares of text and confidences of a page's lines: [n, f], [n], [n]."""
    found = find_lines(np.ascontiguousarray(sample.image), reader.segmenter, 0)
    crops = [found.crop(i).grey for i in range(len(found.lines))]
    answers = reader.reader.read_batch(crops, on_error="return")
    read = [(i, x) for i, x in enumerate(answers) if isinstance(x, Line) and x.text]
    numbers, lines = [i for i, _ in read], [line for _, line in read]
    if not lines or sample.rotation or found.levelled:  # owners are those of the page as it lies
        return np.zeros((0, len(likelihood.WEIGHTS))), np.zeros(0), np.zeros(0)
    confidence = np.array([line.confidence for line in lines])
    seen = likelihood.features(found, numbers, lines)
    return seen, ink_of_text(found, sample)[numbers], confidence


def fit(seen: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Weights of the logistic model: seen [n, f], text bool [n] -> [f]."""
    share = np.where(text, 1.0, FALSE_WEIGHT)
    penalty = RIDGE * np.diag([0.0, *[1.0] * (seen.shape[1] - 1)])
    weights = np.zeros(seen.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(seen @ weights, -30, 30)))
        gradient = seen.T @ (share * (text - p)) - penalty @ weights
        curve = (seen * (share * p * (1 - p) + 1e-9)[:, None]).T @ seen + penalty
        weights += np.linalg.solve(curve, gradient)
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=200)
    args = parser.parse_args()
    reader = PageReader(layout="page", threads=1)
    sources = (PageSource(), PageSource(layouts=("blank",)))
    rows = []
    for i in range(args.pages):
        sample = sources[i % 2].sample(SEED, i)
        if i % 6 == 0 and sample.lines:
            sample = nearly_blank(sample, i)
        seen, share, confidence = lines_of(reader, sample)
        rows += [(i, i % 2, *row) for row in zip(seen, share, confidence, strict=True)]
    page, blank = (np.array([row[k] for row in rows]) for k in (0, 1))
    seen = np.stack([row[2] for row in rows])
    share, confidence = (np.array([row[k] for row in rows]) for k in (3, 4))
    text = share > TEXT
    known = text | (share < NO_TEXT)
    p = np.zeros(len(rows))
    for fold in range(FOLDS):
        held = page // 2 % FOLDS == fold
        p[held] = 1 / (1 + np.exp(-seen[held] @ fit(seen[known & ~held], text[known & ~held])))
    for name, weight in zip(likelihood.WEIGHTS, fit(seen[known], text[known]), strict=True):
        print(f'    "{name}": {weight:.2f},')
    sure, kept = confidence >= 0.5, p >= likelihood.LEAST
    empty = known & (blank == 1)
    print(
        f"{text.sum()} lines of text: {(text & ~kept).sum()} left out, "
        f"{(text & sure & (confidence * p < 0.5)).sum()} of {(text & sure).sum()} no longer sure\n"
        f"{empty.sum()} lines on {args.pages // 2} pages without text: {(empty & kept).sum()} "
        f"stay, {(empty & sure).sum()} were sure, {(empty & (confidence * p >= 0.5)).sum()} are"
    )


if __name__ == "__main__":
    main()
