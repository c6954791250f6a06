"""Mutated PDFs and images: each is pages, page errors or one clear error; never a crash or a hang.

`python -m tests.fuzz.files --minutes 1` runs until then, `--cases 5000` so many; `--case N --save
FILE` makes case N again. Cases run in a child process, so that a crash is a finding, too.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import Image

from khmer_fast import formats
from khmer_fast.document import Document, Page, Region
from khmer_fast.errors import KhmerFastError
from khmer_fast.files.pages import open_pages
from khmer_fast.formats import PdfOptions
from tests.fuzz.memory import peak_kib
from tests.fuzz.mutate import mutated
from tests.support import documents
from tests.support.pdfs import image_bytes, pdf_bytes, picture

SECONDS_A_PAGE = 20.0
MEMORY_MIB = 1500  # of one case, beyond what the child had before
MAX_PAGES = 20  # of a case that are looked at


@dataclass(frozen=True)
class Finding:
    """A case that went wrong."""

    index: int
    what: str


def seeds() -> list[bytes]:
    """Small files of every kind that is read."""
    small = picture(60, 80)
    colour = Image.merge("RGB", [small, picture(60, 80, 2), picture(60, 80, 3)])
    images = [
        image_bytes(small),
        image_bytes(colour),
        image_bytes(small.quantize(8)),
        image_bytes(small.convert("1")),
        image_bytes(colour, "JPEG"),
        image_bytes(small, "JPEG", progressive=True),
        image_bytes(colour, "GIF", save_all=True, append_images=[colour]),
        image_bytes(colour, "BMP"),
        image_bytes(colour, "WEBP"),
        image_bytes(small, "PPM"),
    ]
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        options = {"save_all": True, "append_images": [small], "compression": compression}
        images.append(image_bytes(small, "TIFF", **options))
    images.append(image_bytes(small.convert("1"), "TIFF", compression="group4"))
    text = b"BT /F1 24 Tf 30 300 Td (hello) Tj ET 20 20 m 200 90 l S q /Form Do Q"
    page = documents.page()
    pdfs = [
        pdf_bytes([text, text, b""], form=b"BT 3 Tr /F1 9 Tf 9 9 Td (x) Tj ET"),
        pdf_bytes([text], rotate=90, size=(10, 20, 310, 420)),
        pdf_bytes([text], compress_streams=True),
        formats.write(Document("x", (page,)), "pdf", PdfOptions(image_bytes(small, "JPEG"))),
        formats.write(Document("x", (page,)), "pdf", PdfOptions(images[3])),
    ]
    return images + pdfs * 3


def run_case(data: bytes) -> None:
    """Reads the bytes as a file and makes a searchable PDF of it; what is raised is a finding."""
    pages = []
    try:
        for shown in open_pages(data):
            if shown.error is None:
                height, width = shown.grey.shape
                assert shown.grey.dtype == "uint8" and height and width
                line = documents.line("ក្រុម", 1, 1, 20, 8)
                region = Region("text", line.box, (line,))
                pages.append(
                    Page(
                        shown.number, width, height, (region,), shown.dpi, transform=shown.transform
                    )
                )
            if shown.number >= MAX_PAGES:
                break
    except KhmerFastError as error:
        assert str(error)
    if pages:
        try:
            document = Document("x", tuple(pages))
            formats.write(document, "pdf", PdfOptions(data, replace_text_layer=True))
        except KhmerFastError as error:
            assert str(error)


def fuzz(seed: int, cases: range, minutes: float | None = None) -> Iterator[Finding]:
    """Runs cases in a child, a new one after each that died or hung."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    context = multiprocessing.get_context("spawn")
    at = cases.start
    while at < cases.stop and (end is None or time.monotonic() < end):
        ours, theirs = context.Pipe()
        child = context.Process(target=_child, args=(theirs, seed, at, cases.stop), daemon=True)
        child.start()
        theirs.close()
        last, limit = at - 1, 60.0  # the first answer waits for imports
        try:
            while end is None or time.monotonic() < end:
                if not ours.poll(limit):
                    yield Finding(last + 1, f"hangs for more than {limit:g} seconds")
                    last += 1
                    break
                limit = SECONDS_A_PAGE * MAX_PAGES / 4
                try:
                    last, what = ours.recv()
                except EOFError:
                    child.join()
                    if last + 1 < cases.stop:
                        yield Finding(last + 1, f"the process died ({child.exitcode})")
                    last += 1
                    break
                if what:
                    yield Finding(last, what)
        finally:
            child.kill()
            child.join()
            ours.close()
        at = last + 1


def _child(answers: Connection, seed: int, start: int, stop: int) -> None:
    faulthandler.enable()
    files = seeds()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = peak_kib()
    for index in range(start, stop):
        what = ""
        began = time.monotonic()
        try:
            run_case(mutated(files, seed, index))
        except BaseException:  # all of them are findings
            what = traceback.format_exc()
        seconds = time.monotonic() - began
        after = peak_kib()
        if seconds > SECONDS_A_PAGE:
            what += f"took {seconds:.1f} seconds\n"
        if after - before > MEMORY_MIB * 1024:
            what += f"took {(after - before) >> 10} MiB\n"
        before = max(before, after)
        answers.send((index, what))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, help="run so long")
    parser.add_argument("--cases", type=int, default=10**9, help="run so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="run this case alone, in this process")
    parser.add_argument("--save", type=Path, help="write its bytes there first")
    args = parser.parse_args()
    if args.case is not None:
        data = mutated(seeds(), args.seed, args.case)
        if args.save:
            args.save.write_bytes(data)
        run_case(data)
        return 0
    count = 0
    began = time.monotonic()
    for finding in fuzz(args.seed, range(args.cases), args.minutes):
        count += 1
        print(f"case {finding.index} (seed {args.seed}): {finding.what}", flush=True)
    print(f"{count} findings in {time.monotonic() - began:.0f} seconds", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
