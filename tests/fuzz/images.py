"""Mutated images, read as a line: a clean line or one clear error; no crash, no hang, no feast.

`python -m tests.fuzz.images --minutes 1` runs so long, `--cases 5000` so many; `--case N --save
FILE` makes case N again. With `--guided FOLDER` and `pip install atheris`, libFuzzer looks for
inputs that reach new code of Pillow's and ours, keeps them in FOLDER, and starts from those there.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from khmer_fast.errors import KhmerFastError
from khmer_fast.files.images import load_grey
from khmer_fast.recognize.line_image import HEIGHT, MAX_WIDTH, MIN_WIDTH, prepare
from khmer_fast.recognize.pieces import pieces_of
from tests.fuzz.memory import peak_kib
from tests.fuzz.mutate import mutated

CORPUS = Path(__file__).with_name("corpus") / "images"  # small files that once went wrong
SECONDS = 20.0  # of one case
MEMORY_MIB = 1500  # of one case, beyond what was taken before


def seeds() -> list[bytes]:
    """Small files of every kind that is read, and those of CORPUS."""
    grey = Image.new("L", (90, 30), 250)
    ImageDraw.Draw(grey).text((6, 6), "Ab. ... 12", fill=20)
    colour = Image.merge("RGB", [grey, grey.point(lambda v: v // 2), grey])
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6

    def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
        stream = io.BytesIO()
        image.save(stream, format, **options)
        return stream.getvalue()

    return [
        encoded(grey),
        encoded(colour),
        encoded(wide),
        encoded(grey.convert("1")),
        encoded(colour.quantize(7), transparency=1),
        encoded(colour.convert("RGBA")),
        encoded(grey, exif=turned),
        encoded(colour, "JPEG"),
        encoded(grey, "JPEG", progressive=True, exif=turned),
        encoded(colour.convert("CMYK"), "JPEG"),
        encoded(colour, "GIF", save_all=True, append_images=[colour]),
        encoded(colour, "BMP"),
        encoded(grey.convert("1"), "BMP"),
        encoded(colour, "WEBP"),
        encoded(colour.convert("RGBA"), "WEBP", lossless=True, exif=turned),
        encoded(colour, "WEBP", save_all=True, append_images=[grey.convert("RGB")]),
        encoded(grey, "PPM"),
        encoded(colour, "PPM"),
        *(encoded(grey, "TIFF", compression=c) for c in ("raw", "tiff_lzw", "jpeg", "packbits")),
        encoded(grey.convert("1"), "TIFF", compression="group4"),
        encoded(wide, "TIFF", compression="tiff_adobe_deflate"),
        encoded(Image.fromarray(np.asarray(grey) / np.float32(255)), "TIFF"),
        *(path.read_bytes() for path in sorted(CORPUS.glob("*"))),
    ]


def run_case(data: bytes) -> None:
    """Reads bytes as a line; what is raised, KhmerFastError aside, is a finding."""
    try:
        grey = load_grey(data)
    except KhmerFastError as error:
        assert str(error).isprintable()
        return
    assert grey.dtype == np.uint8 and grey.ndim == 2 and grey.size
    try:
        line = prepare(grey)
    except KhmerFastError as error:
        assert str(error)
        return
    assert line.image.shape[0] == HEIGHT and MIN_WIDTH <= line.image.shape[1] <= MAX_WIDTH
    if not line.blank:
        assert pieces_of(line.image)


def fuzz(seed: int, cases: range, minutes: float | None = None) -> Iterator[tuple[int, str]]:
    """Runs cases in this process: the number of each that went wrong, and what it said.

    The running case lies in a temporary file, whose name is said: a crash leaves it there.
    """
    faulthandler.enable()
    warnings.simplefilter("ignore")  # Pillow's, of damaged files
    end = None if minutes is None else time.monotonic() + 60 * minutes
    files = seeds()
    before = peak_kib()
    with tempfile.NamedTemporaryFile(prefix="khmer_fast_fuzz_", delete=False) as running:
        print(f"the running case lies in {running.name}", file=sys.stderr)
        for index in cases:
            if end is not None and time.monotonic() > end:
                break
            data = mutated(files, seed, index)
            running.seek(0)
            running.write(data)
            running.truncate()
            running.flush()
            what, began = "", time.monotonic()
            try:
                run_case(data)
            except Exception:  # all of them are findings
                what = traceback.format_exc()
            after = peak_kib()
            if time.monotonic() - began > SECONDS:
                what += f"took {time.monotonic() - began:.1f} seconds\n"
            if after - before > MEMORY_MIB * 1024:
                what += f"took {(after - before) >> 10} MiB\n"
            before = max(before, after)
            if what:
                yield index, what
    Path(running.name).unlink()


def guided(folder: Path, minutes: float) -> None:
    """Lets libFuzzer run `run_case`; it ends the process."""
    import atheris

    folder.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(seeds()):
        (folder / f"seed_{i:02}").write_bytes(data)
    warnings.simplefilter("ignore")
    atheris.instrument_all()
    options = [f"-max_total_time={round(60 * minutes)}", "-max_len=8192", "-timeout=20",
               "-rss_limit_mb=4096", f"-artifact_prefix={folder}/found_"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder)], run_case)
    atheris.Fuzz()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, help="run so long")
    parser.add_argument("--cases", type=int, default=10**9, help="run so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="run this case alone")
    parser.add_argument("--save", type=Path, help="write its bytes there first")
    parser.add_argument("--guided", type=Path, metavar="FOLDER", help="with libFuzzer")
    args = parser.parse_args()
    if args.guided:
        guided(args.guided, args.minutes or 1.0)
    if args.case is not None:
        data = mutated(seeds(), args.seed, args.case)
        if args.save:
            args.save.write_bytes(data)
        run_case(data)
        return 0
    if args.minutes is None and args.cases == 10**9:
        args.minutes = 1.0
    count, began = 0, time.monotonic()
    for index, what in fuzz(args.seed, range(args.cases), args.minutes):
        count += 1
        print(f"case {index} (seed {args.seed}): {what}", flush=True)
    print(f"{count} findings in {time.monotonic() - began:.0f} seconds", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
