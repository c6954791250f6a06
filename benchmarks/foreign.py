"""`python -m benchmarks.foreign`: what the reader says where no Khmer stands.

Blank paper, noise, drawings, words of a pen's loops that no script has, Latin, Thai, Lao and
Chinese words (fonts-noto), and Khmer lines of which only the upper or the lower half is seen. An
answer is right there when it is empty or when its confidence is low: `marked` counts those below
0.3, `invented` those of one half or more. Latin is in the charset: there the character error rate
is printed, too. For comparison, the same figures for rendered Khmer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rapidfuzz.distance import Levenshtein

from benchmarks import machine
from benchmarks.drawn import announce, line_source
from khmer_fast import Reader
from khmer_fast.text import canonical

FONTS = Path("/usr/share/fonts")
UNSURE = 0.3  # a confidence that marks what stands there as not read
SEED = 3_000_001  # of rendered lines that neither training nor calibration draws
THAI = "การอ่านตัวอักษร ภาษาไทยในเอกสารราชการ ต้องใช้ความระมัดระวัง เพราะสระและวรรณยุกต์ อยู่เหนือพยัญชนะ"
LAO = "ການອ່ານຕົວອັກສອນ ພາສາລາວໃນເອກະສານ ລັດຖະການ ຕ້ອງໃຊ້ຄວາມ ລະມັດລະວັງ ເພາະສະຫຼະຢູ່ເທິງ ພະຍັນຊະນະ"
CHINESE = "高棉文字识别需要大量的训练数据和耐心的工程师"
LATIN = (
    "The quick brown fox jumps over the lazy dog while twelve engineers measure every line of the "
    "report and write down what they found before they change anything at all"
)


@dataclass(frozen=True)
class Row:
    kind: str
    lines: int
    with_text: float  # share of the lines
    characters: float  # a line
    confidence: float  # median
    invented: float  # share of the lines with text and a confidence of at least one half
    marked: float  # share of the lines without text, or with a confidence below UNSURE
    cer: float | None = None


def blank(rng: np.random.Generator) -> np.ndarray:
    """Paper: a tone, grain, and light that falls off."""
    width = int(rng.integers(200, 1200))
    tone = rng.uniform(150, 255) + np.linspace(0, rng.uniform(-60, 60), width)[None]
    return clip(tone + rng.normal(0, rng.uniform(0, 12), (48, width)))


def noise(rng: np.random.Generator) -> np.ndarray:
    """Coarse and fine noise without any line in it."""
    width, coarse = int(rng.integers(200, 1200)), int(rng.integers(1, 9))
    small = rng.integers(0, 256, (48 // coarse + 1, width // coarse + 1)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, 48), Image.Resampling.BICUBIC))


def drawing(rng: np.random.Generator) -> np.ndarray:
    """Strokes: lines, arcs, boxes and dots, as of maps, seals and signatures."""
    width = int(rng.integers(200, 900))
    image = Image.new("L", (width, 64), 245)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 18))):
        x, y = rng.uniform(0, width), rng.uniform(0, 64)
        box = (x, y, x + rng.uniform(8, 160), y + rng.uniform(4, 50))
        pen = dict(fill=int(rng.integers(0, 120)), width=int(rng.integers(1, 5)))
        shape = rng.integers(4)
        if shape == 0:
            draw.line(box, **pen)
        elif shape == 1:
            draw.arc(box, rng.uniform(0, 180), rng.uniform(180, 360), **pen)
        elif shape == 2:
            draw.rectangle(box, outline=pen["fill"], width=pen["width"])
        else:
            draw.ellipse(box, outline=pen["fill"], width=pen["width"])
    return np.asarray(image)


def handwriting(rng: np.random.Generator) -> np.ndarray:
    """Words of a pen's loops and feet, some of them underlined or dotted, on paper."""
    width, size = int(rng.integers(200, 900)), rng.uniform(18, 34)
    height = round(2.4 * size)
    image = Image.new("L", (4 * width, 4 * height), int(rng.integers(200, 256)))
    draw = ImageDraw.Draw(image)
    fill, pen = int(rng.integers(0, 110)), max(3, round(4 * size * rng.uniform(0.05, 0.12)))
    x, base, lean = rng.uniform(0.3, 1.5) * size, 1.5 * size, rng.uniform(-0.1, 0.5)
    while x < width - 2 * size:
        loops = int(rng.integers(1, 6))
        t = np.linspace(0, loops, 40 * loops)
        tall = np.interp(t, np.arange(loops + 1), rng.uniform(0.25, 1.0, loops + 1))
        ys = (
            base - 0.35 * size + 0.7 * size * tall * np.sin(t * 2 * np.pi * rng.choice((1, 1.5, 2)))
        )
        xs = x + size * rng.uniform(0.35, 0.8) * t + lean * (base - ys)
        xs += 0.3 * size * np.sin(t * 2 * np.pi + rng.uniform(0, 6))
        draw.line([(4 * a, 4 * b) for a, b in zip(xs, ys, strict=True)], fill, pen, "curve")
        if rng.random() < 0.3:
            foot = base + rng.uniform(0.2, 0.5) * size
            draw.line((4 * x, 4 * foot, 4 * xs.max(), 4 * foot + pen), fill, pen)
        x = xs.max() + rng.uniform(0.2, 1.0) * size
    grain = rng.normal(0, rng.uniform(0, 8), (height, width))
    return clip(np.asarray(image.resize((width, height), Image.Resampling.BOX)) + grain)


def words(text: str, *fonts: str) -> Callable[[np.random.Generator], tuple[np.ndarray, str]]:
    """Lines of some of the words of `text`; raises FileNotFoundError where Debian's font lacks."""
    paths = [path for font in fonts for path in sorted(FONTS.rglob(font))[:1]]
    if not paths:
        raise FileNotFoundError(" or ".join(fonts))
    parts = text.split(" ") if " " in text else list(text)

    def make(rng: np.random.Generator) -> tuple[np.ndarray, str]:
        start, n = int(rng.integers(len(parts))), int(rng.integers(2, 9))
        line = (" " if " " in text else "").join((parts * 3)[start : start + n])
        font = ImageFont.truetype(str(paths[int(rng.integers(len(paths)))]), rng.integers(18, 36))
        left, top, right, bottom = font.getbbox(line)
        image = Image.new("L", (int(right - left) + 24, int(bottom - top) + 20), 250)
        ImageDraw.Draw(image).text((12 - left, 10 - top), line, int(rng.integers(0, 90)), font)
        grain = rng.normal(0, rng.uniform(0, 10), (image.height, image.width))
        return clip(np.asarray(image) + grain), line

    return make


def clip(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 255).astype(np.uint8)


def read(reader: Reader, kind: str, images: list[np.ndarray], texts: list[str] | None) -> Row:
    lines = reader.read_batch(images)
    edits = None
    if texts is not None:
        texts = [canonical(text) for text in texts]
        edits = sum(
            Levenshtein.distance(line.text, text) for line, text in zip(lines, texts, strict=True)
        ) / sum(map(len, texts))
    return Row(
        kind,
        len(lines),
        sum(bool(line.text) for line in lines) / len(lines),
        sum(len(line.text) for line in lines) / len(lines),
        statistics.median(line.confidence for line in lines),
        sum(bool(line.text) and line.confidence >= 0.5 for line in lines) / len(lines),
        sum(not line.text or line.confidence < UNSURE for line in lines) / len(lines),
        edits,
    )


def measure(reader: Reader, count: int, khmer: bool) -> tuple[list[Row], list[str]]:
    """Rows of all kinds, and the kinds that were left out because something was missing."""
    rows, missing = [], []
    drawn_by_hand = {"drawings": drawing, "handwriting": handwriting}
    for kind, make in {"blank paper": blank, "noise": noise, **drawn_by_hand}.items():
        rng = np.random.default_rng(SEED)
        rows.append(read(reader, kind, [make(rng) for _ in range(count)], None))
    serif = "DejaVuSerif.ttf"
    for kind, text, fonts in (
        ("Thai", THAI, ("NotoSansThai-Regular.ttf", "NotoSerifThai-Regular.ttf")),
        ("Lao", LAO, ("NotoSansLao-Regular.ttf", "NotoSerifLao-Regular.ttf")),
        ("Chinese", CHINESE, ("NotoSansCJK-Regular.ttc", "DroidSansFallbackFull.ttf")),
        ("Latin", LATIN, ("DejaVuSans.ttf", serif, "LiberationSans-Regular.ttf")),
    ):
        rng = np.random.default_rng(SEED)
        try:
            made = [words(text, *fonts)(rng) for _ in range(count)]
        except FileNotFoundError as error:
            missing.append(f"{kind} ({error} not found)")
            continue
        truth = [line for _, line in made] if kind == "Latin" else None
        rows.append(read(reader, kind, [image for image, _ in made], truth))
    if not khmer:
        return rows, [*missing, "Khmer"]
    source = line_source()
    drawn = [source.sample(SEED, i) for i in range(count)]
    drawn = [sample for sample in drawn if sample.text]
    half = [sample.image.shape[0] // 2 for sample in drawn]
    upper = [sample.image[:cut] for sample, cut in zip(drawn, half, strict=True)]
    lower = [sample.image[cut:] for sample, cut in zip(drawn, half, strict=True)]
    rows.append(read(reader, "upper half of Khmer", upper, None))
    rows.append(read(reader, "lower half of Khmer", lower, None))
    images, texts = [s.image for s in drawn], [s.text for s in drawn]
    rows.append(read(reader, "rendered Khmer", images, texts))
    return rows, missing


def table(rows: list[Row]) -> str:
    lines = [
        f"{'what stands there':<22}{'lines':>6}{'with text':>11}{'chars/line':>12}"
        f"{'confidence':>12}{'invented':>10}{'marked':>9}{'CER':>9}"
    ]
    for r in rows:
        cer = "" if r.cer is None else f"{r.cer:.2%}"
        invented = "" if r.cer is not None else f"{r.invented:.1%}"
        marked = "" if r.cer is not None else f"{r.marked:.1%}"
        lines.append(
            f"{r.kind:<22}{r.lines:>6}{r.with_text:>11.1%}{r.characters:>12.1f}"
            f"{r.confidence:>12.3f}{invented:>10}{marked:>9}{cer:>9}"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.foreign", description=__doc__)
    parser.add_argument("--weights", help="a weights file (default: the packaged ones)")
    parser.add_argument("--lines", type=int, default=200, help="of each kind")
    options = parser.parse_args(argv)
    rows, missing = measure(Reader(options.weights), options.lines, announce())
    print(table(rows))
    for kind in missing:
        print(f"left out: {kind}")
    print(json.dumps({"machine": machine.describe(), "left_out": missing,
                      "rows": [asdict(row) for row in rows]}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
