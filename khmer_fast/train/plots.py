"""Pictures of a run: attention over the line image, and loss, CER and lock-on over the epochs."""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from khmer_fast.train.history import Record, places
from khmer_fast.train.lock_on import lock_on

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
KHMER_FONTS = ("NotoSansKhmer-Regular.ttf", "KhmerOS.ttf", "NotoSerifKhmer-Regular.ttf")

ROW, GUTTER, MARGIN = 18, 74, 8  # pixels: height of a character's row, labels, border
INK, GREY, PALE = (30, 30, 34), (130, 132, 138), (226, 228, 232)
SERIES = ((0, 92, 184), (214, 94, 0), (0, 140, 104), (150, 80, 170), (90, 90, 90))
SHEET_EPOCHS, SHEET_WIDTH = 4, 700  # pictures side by side, and the width of each at most


def attention_picture(
    image: np.ndarray,
    weights: np.ndarray,
    tokens: Sequence[str],
    title: str = "",
) -> Image.Image:
    """The line image [Y, X] uint8, and below it a row for each token: weights [S, T] over X.

    T positions share the width of the image evenly; dark blue is weight 1, an orange tick marks
    the row's largest weight. Tokens are characters, or names such as <eos>.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if image.ndim != 2 or weights.ndim != 2 or len(tokens) != len(weights):
        raise ValueError(
            f"expected image [Y, X], weights [S, T] and S tokens; got {image.shape}, "
            f"{weights.shape} and {len(tokens)}"
        )
    height, width = image.shape
    scale = max(1, math.ceil(480 / max(width, 1)))
    shown_width, shown_height = width * scale, height * scale
    head = 18 if title else 0
    top = MARGIN + head
    left = MARGIN + GUTTER
    heat_top = top + shown_height + 6
    picture = Image.new(
        "RGB", (left + shown_width + MARGIN, heat_top + ROW * len(tokens) + MARGIN), "white"
    )
    draw = ImageDraw.Draw(picture)
    if title:
        draw.text((left, MARGIN - 2), title, INK, font=_latin(13))
    line = Image.fromarray(image).resize((shown_width, shown_height), Image.Resampling.NEAREST)
    picture.paste(line, (left, top))
    draw.rectangle((left - 1, top - 1, left + shown_width, top + shown_height), outline=PALE)
    steps, positions = weights.shape
    if steps and positions:
        column = np.arange(shown_width) * positions // shown_width  # [X], position of each pixel
        heat = np.sqrt(np.clip(np.nan_to_num(weights), 0, 1))[:, column, None]  # [S, X, 1]
        colour = 255 - heat * (255 - np.array([8, 48, 107]))
        rows = np.repeat(colour.round().astype(np.uint8), ROW, axis=0)
        picture.paste(Image.fromarray(rows), (left, heat_top))
    for row, token in enumerate(tokens):
        y = heat_top + row * ROW
        draw.line((left, y, left + shown_width - 1, y), PALE)
        _label(draw, token, MARGIN, y, row)
        if positions and np.isfinite(weights[row]).all():
            peak = left + (weights[row].argmax() + 0.5) * shown_width / positions
            draw.line((peak, y + 2, peak, y + ROW - 2), SERIES[1], 2)
    bottom = heat_top + ROW * len(tokens)
    draw.rectangle((left - 1, heat_top, left + shown_width, bottom), outline=PALE)
    return picture


def save_attention(
    folder: str | Path,
    line: int,
    epoch: int,
    image: np.ndarray,
    weights: np.ndarray,
    tokens: Sequence[str],
    title: str = "",
) -> Path:
    """Saves line_01_epoch_008.png in `folder`, and line_01.png: chosen epochs side by side."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"line_{line:02d}_epoch_{epoch:03d}.png"
    title = f"epoch {epoch}" + (f", {title}" if title else "")
    attention_picture(image, weights, tokens, title).save(path)
    every = sorted(
        folder.glob(f"line_{line:02d}_epoch_*.png"),
        key=lambda p: int(p.stem.rsplit("_", 1)[1]),
    )
    chosen = {round(i * (len(every) - 1) / max(SHEET_EPOCHS - 1, 1)) for i in range(SHEET_EPOCHS)}
    pictures = []
    for place in sorted(chosen):
        with Image.open(every[place]) as opened:
            picture = opened.convert("RGB")
        if picture.width > SHEET_WIDTH:
            picture.thumbnail((SHEET_WIDTH, picture.height), Image.Resampling.LANCZOS)
        pictures.append(picture)
    side_by_side(pictures).save(folder / f"line_{line:02d}.png")
    return path


def draw_epoch(
    folder: str | Path,
    epoch: int,
    records: Sequence[Record],
    lines: Sequence[tuple[np.ndarray, str]],
    attention: Sequence[np.ndarray],
) -> None:
    """All pictures of an epoch in `folder`: history.png, and attention/ for a few fixed lines.

    `lines` are images [Y, X] uint8 with their text, `attention` their weights [S, T], S being the
    characters and <eos>.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    history_plot(records).save(folder / "history.png")
    for number, ((image, text), weights) in enumerate(zip(lines, attention, strict=True), 1):
        score = f"lock-on {lock_on(weights).score:.2f}"
        tokens = [*text, "<eos>"]
        save_attention(folder / "attention", number, epoch, image, weights, tokens, score)


def side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """One picture with all of them in a row."""
    width = sum(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    sheet = Image.new("RGB", (width, height), "white")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width
    return sheet


def history_plot(records: Sequence[Record], width: int = 900) -> Image.Image:
    """Loss, CER and lock-on over the epochs, one panel for each that the records hold."""
    panels = [
        (
            "loss, nats a character",
            (
                ("train_loss", "train"),
                ("val_loss", "validation"),
                ("train_ctc", "train, CTC"),
                ("val_ctc", "validation, CTC"),
            ),
            False,
        ),
        (
            "CER, %",
            (
                ("val_cer", "greedy"),
                ("val_cer_beam", "beam"),
                ("val_ctc_cer", "CTC head"),
            ),
            True,
        ),
        (
            "attention, 0 to 1",
            (
                ("lock_on", "lock-on"),
                ("attention_monotonicity", "monotonic"),
                ("attention_sharpness", "sharp"),
                ("attention_coverage", "coverage"),
            ),
            False,
        ),
    ]
    where = places(records)
    drawn = []
    for title, names, percent in panels:
        series = []
        for number, (name, label) in enumerate(names):
            points = [
                (x, record[name] * (100 if percent else 1))
                for x, record in zip(where, records, strict=True)
                if isinstance(record.get(name), int | float) and math.isfinite(record[name])
            ]
            if points:
                series.append((label, SERIES[number], points))
        if series:
            fixed = (0.0, 1.0) if title.startswith("attention") else None
            drawn.append(_panel(title, series, width, percent, fixed))
    if not drawn:
        drawn.append(Image.new("RGB", (width, 40), "white"))
        ImageDraw.Draw(drawn[0]).text((12, 12), "nothing measured yet", GREY, font=_latin(14))
    whole = Image.new("RGB", (width, sum(panel.height for panel in drawn)), "white")
    y = 0
    for panel in drawn:
        whole.paste(panel, (0, y))
        y += panel.height
    return whole


def _panel(
    title: str,
    series: list[tuple[str, tuple[int, int, int], list[tuple[float, float]]]],
    width: int,
    logarithmic: bool,
    fixed: tuple[float, float] | None,
) -> Image.Image:
    """Axes, grid, legend and lines, drawn at twice the size for smooth lines."""
    s = 2
    height = 240
    panel = Image.new("RGB", (width * s, height * s), "white")
    draw = ImageDraw.Draw(panel)
    left, right, top, bottom = 62 * s, (width - 18) * s, 40 * s, (height - 30) * s
    xs = [x for _, _, points in series for x, _ in points]
    ys = [y for _, _, points in series for _, y in points]
    x_low, x_high = min(xs), max(xs)
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    logarithmic = logarithmic and min(ys) > 0 and max(ys) / min(ys) > 8
    y_ticks = _log_ticks(min(ys), max(ys)) if logarithmic else _ticks(*(fixed or _room(ys)))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        if logarithmic:
            share = math.log(y / y_low) / math.log(y_high / y_low)
        else:
            share = (y - y_low) / (y_high - y_low)
        return (
            left + (x - x_low) / (x_high - x_low) * (right - left),
            bottom - share * (bottom - top),
        )

    small = _latin(12 * s)
    for tick in y_ticks:
        y = place(x_low, tick)[1]
        draw.line((left, y, right, y), PALE, s)
        draw.text((left - 8 * s, y), f"{tick:g}", GREY, font=small, anchor="rm")
    for tick in _ticks(x_low, x_high, whole=True):
        if not x_low <= tick <= x_high:
            continue
        x = place(tick, y_low)[0]
        draw.line((x, bottom, x, bottom + 4 * s), GREY, s)
        draw.text((x, bottom + 7 * s), f"{tick:g}", GREY, font=small, anchor="mt")
    draw.line((left, bottom, right, bottom), GREY, s)
    words = title + (", logarithmic" if logarithmic else "") + ", by epoch"
    draw.text((left, 10 * s), words, INK, font=_latin(14 * s))
    x = right
    for label, colour, _ in reversed(series):
        x -= draw.textlength(label, font=small)
        draw.text((x, 12 * s), label, INK, font=small)
        draw.line((x - 24 * s, 19 * s, x - 6 * s, 19 * s), colour, 3 * s)
        x -= 40 * s
    for _, colour, points in reversed(series):
        path = [place(*point) for point in points]
        if len(path) > 1:
            draw.line(path, colour, 2 * s, joint="curve")
        radius = (3 if len(path) <= 40 else 1.5) * s
        for x, y in path:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
    return panel.resize((width, height), Image.Resampling.LANCZOS)


def _room(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
    return (0.0 if 0 <= low < 0.3 * high else low), high


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about five."""
    rough = (high - low) / 5
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough * 0.999)
    if whole:
        step = max(1, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 and their powers of ten, around [low, high]."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    first = max((i for i, mark in enumerate(marks) if mark <= low), default=0)
    last = min((i for i, mark in enumerate(marks) if mark >= high), default=len(marks) - 1)
    return [float(f"{mark:g}") for mark in marks[first : last + 1]]


def _label(draw: ImageDraw.ImageDraw, token: str, x: int, y: int, row: int) -> None:
    """The token: its glyph where a Khmer font is found, and its code point."""
    middle = y + ROW // 2
    if len(token) != 1:
        draw.text((x, middle), token, INK, font=_latin(12), anchor="lm")
        return
    code = f"{ord(token):04X}"
    draw.text((x + GUTTER - 6, middle), code, GREY, font=_latin(10), anchor="rm")
    if token == " ":
        draw.text((x, middle), "space", INK, font=_latin(12), anchor="lm")
    elif "\u1780" <= token <= "\u17ff":
        font = _khmer(15)
        if font is None or token == "\u17d2":
            draw.text((x, middle), "coeng" if token == "\u17d2" else "", INK, font=_latin(12),
                      anchor="lm")  # fmt: skip
            return
        mark = unicodedata.category(token) in ("Mn", "Mc")
        draw.text((x + 4, y + 14), ("\u25cc" if mark else "") + token, INK, font=font, anchor="ls")
    else:
        draw.text((x, middle), token, INK, font=_latin(12), anchor="lm")


@functools.lru_cache
def _latin(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@functools.lru_cache
def _khmer(size: int) -> ImageFont.FreeTypeFont | None:
    """A Khmer font of this machine, None if there is none or Pillow cannot shape Khmer."""
    if not features.check("raqm"):
        return None
    for folder in FONT_FOLDERS:
        for name in KHMER_FONTS:
            for path in Path(folder).expanduser().rglob(name):
                return ImageFont.truetype(str(path), size)
    return None
