"""A page that is being drawn: its grey levels, and which line every pixel of ink belongs to."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

INKED = 96  # alpha from which a pixel is a line's ink; thinner edges belong to nobody


class Canvas:
    """Grey levels uint8 [Y, X], 255 paper, and `owner` uint16 [Y, X]: 0, or line i as i + 1."""

    def __init__(self, height: int, width: int, ground: int = 255):
        self.grey = np.full((height, width), ground, np.uint8)
        self.owner = np.zeros((height, width), np.uint16)

    @property
    def height(self) -> int:
        return self.grey.shape[0]

    @property
    def width(self) -> int:
        return self.grey.shape[1]

    def blend(
        self, alpha: np.ndarray, left: int, top: int, level: int, owner: int | None = None
    ) -> None:
        """Mix `level` in by alpha uint8 [h, w] at (left, top); what lies outside is cut off.

        `owner` i > 0 takes the inked pixels for line i - 1, 0 takes them away from every line
        (something opaque lies over the text), None leaves their owner (a rule, a pen stroke).
        """
        y0, x0 = max(0, top), max(0, left)
        y1, x1 = min(self.height, top + alpha.shape[0]), min(self.width, left + alpha.shape[1])
        if y1 <= y0 or x1 <= x0:
            return
        alpha = alpha[y0 - top : y1 - top, x0 - left : x1 - left]
        view = self.grey[y0:y1, x0:x1]
        mixed = view.astype(np.int32)
        mixed += ((level - mixed) * alpha + 127) // 255
        view[:] = mixed
        if owner is not None:
            self.owner[y0:y1, x0:x1][alpha >= INKED] = owner

    def darken(self, mark: np.ndarray, left: int, top: int, share: float) -> None:
        """Multiply by 1 - share under a translucent mark uint8 [h, w]; owners stay."""
        y0, x0 = max(0, top), max(0, left)
        y1, x1 = min(self.height, top + mark.shape[0]), min(self.width, left + mark.shape[1])
        if y1 <= y0 or x1 <= x0:
            return
        kept = 1 - mark[y0 - top : y1 - top, x0 - left : x1 - left] * np.float32(share / 255)
        view = self.grey[y0:y1, x0:x1]
        view[:] = view * kept

    def paste(self, picture: np.ndarray, left: int, top: int) -> None:
        """Put an opaque picture uint8 [h, w] over what is there; no line owns it."""
        y0, x0 = max(0, top), max(0, left)
        y1, x1 = min(self.height, top + picture.shape[0]), min(self.width, left + picture.shape[1])
        if y1 > y0 and x1 > x0:
            self.grey[y0:y1, x0:x1] = picture[y0 - top : y1 - top, x0 - left : x1 - left]
            self.owner[y0:y1, x0:x1] = 0

    def fill(self, box: tuple[float, float, float, float], level: int, radius: float = 0) -> None:
        """A filled rectangle (left, top, right, bottom), with round corners if asked; opaque."""
        x0, y0, x1, y1 = (round(v) for v in box)
        if radius < 1:
            x0, y0 = max(0, x0), max(0, y0)
            self.grey[y0 : max(y0, y1), x0 : max(x0, x1)] = level
            self.owner[y0 : max(y0, y1), x0 : max(x0, x1)] = 0
            return
        if x1 - x0 >= 2 and y1 - y0 >= 2:
            mask = Image.new("L", (x1 - x0, y1 - y0), 0)
            round_box(ImageDraw.Draw(mask), (0, 0, x1 - x0 - 1, y1 - y0 - 1), radius, fill=255)
            self.blend(np.asarray(mask), x0, y0, level, 0)

    def tint(self, box: tuple[float, float, float, float], level: int) -> None:
        """Colour the ground of a box (left, top, right, bottom) behind the ink that is there."""
        x0, y0, x1, y1 = (max(0, round(v)) for v in box)
        view = self.grey[y0:y1, x0:x1]
        np.copyto(view, np.uint8(level), where=self.owner[y0:y1, x0:x1] == 0)

    def gradient(
        self, box: tuple[float, float, float, float], levels: tuple[float, float], across: bool
    ) -> None:
        """A rectangle whose level runs from the first to the second, across or down; opaque."""
        x0, y0, x1, y1 = (max(0, round(v)) for v in box)
        view = self.grey[y0:y1, x0:x1]
        if view.size:
            ramp = np.linspace(*levels, view.shape[1 if across else 0])
            view[:] = ramp[None] if across else ramp[:, None]
            self.owner[y0:y1, x0:x1] = 0

    def outline(
        self,
        box: tuple[float, float, float, float],
        level: int,
        thick: float = 1,
        radius: float = 0,
    ) -> None:
        """The border of a rectangle; it owns nothing and takes nothing away."""
        x0, y0, x1, y1 = (round(v) for v in box)
        if x1 - x0 < 3 or y1 - y0 < 3:
            return
        mask = Image.new("L", (x1 - x0, y1 - y0), 0)
        corners = (0, 0, x1 - x0 - 1, y1 - y0 - 1)
        pen = ImageDraw.Draw(mask)
        round_box(pen, corners, radius, outline=255, width=max(1, round(thick)))
        self.blend(np.asarray(mask), x0, y0, level)

    def invert(self) -> None:
        """Turn dark on light to light on dark."""
        self.grey = 255 - self.grey

    def rule(
        self, x0: float, y0: float, x1: float, y1: float, level: int, thick: float = 1
    ) -> None:
        """A straight rule along a row or a column; it owns nothing."""
        wide = max(1, round(thick))
        if abs(x1 - x0) >= abs(y1 - y0):
            shape = (wide, max(1, round(abs(x1 - x0))))
        else:
            shape = (max(1, round(abs(y1 - y0))), wide)
        share = 255 if thick >= 1 else max(60, round(255 * thick))
        alpha = np.full(shape, share, np.uint8)
        self.blend(alpha, round(min(x0, x1)), round(min(y0, y1)), level)


def round_box(
    pen: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    radius: float,
    *,
    fill: int | None = None,
    outline: int | None = None,
    width: int = 1,
) -> None:
    """A rectangle with corners as round as there is room for."""
    most = min(box[2] - box[0], box[3] - box[1]) / 2
    radius = min(radius, most) if radius >= 1 <= most else 0
    pen.rounded_rectangle(box, radius, fill=fill, outline=outline, width=width)
