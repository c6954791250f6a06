"""Draws docs/page.png: a page with the lines that were found on it, and beside it what was read.

python scripts/readme_picture.py [PAGE] [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import khmer_fast
from khmer_fast.files.images import load_grey

ROOT = Path(__file__).resolve().parents[1]
FONT = "/usr/share/fonts/truetype/khmeros/KhmerOSsiemreap.ttf"  # Debian's fonts-khmeros
COLOURS = ((214, 39, 40), (31, 119, 180), (44, 160, 44), (148, 103, 189), (255, 127, 14))
WIDTH = 620  # pixels of each half


def draw(page: Path, out: Path) -> None:
    """Reads `page` and writes the picture."""
    document = khmer_fast.read(page)
    grey = Image.fromarray(load_grey(page))
    scale = WIDTH / grey.width
    height = round(grey.height * scale)
    picture = Image.new("RGB", (2 * WIDTH, height), "white")
    picture.paste(grey.resize((WIDTH, height), Image.Resampling.LANCZOS).convert("RGB"), (0, 0))
    pen = ImageDraw.Draw(picture)
    for number, region in enumerate(document.pages[0].regions):
        colour = COLOURS[number % len(COLOURS)]
        for line in region.all_lines():
            left, top, right, bottom = (round(scale * edge) for edge in line.box)
            pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=colour)
            size = 15
            while size > 6:
                font = ImageFont.truetype(FONT, size, layout_engine=ImageFont.Layout.RAQM)
                if font.getlength(line.text) <= right - left:
                    break
                size -= 1
            sure = line.confidence >= 0.5
            pen.text(
                (WIDTH + left, (top + bottom) / 2), line.text, colour if sure else (190, 190, 190),
                font=font, anchor="lm",
            )  # fmt: skip
    pen.line((WIDTH, 0, WIDTH, height), (200, 200, 200))
    picture.quantize(32).save(out, optimize=True)


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    defaults = [ROOT / "examples" / "page.png", ROOT / "docs" / "page.png"]
    draw(*(arguments + defaults[len(arguments) :]))
