"""How a page lies under the camera: skew, bend and perspective of pixels and of points alike.

A warp is the map from a place of the new page to the place of the flat page that is seen there;
coordinates are (x, y) in pixels, a pixel's middle at its index + 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

_CELL = 40  # pixels of a cell of the mesh, within which the map is bilinear
_ROUNDS = 12  # of the fixed-point iteration; a warp is near the identity


@dataclass(frozen=True)
class Warp:
    """`skew` in degrees: lines fall to the right where it is above 0. `bend` is the wave of a
    line in widths of the page, `phase` and `waves` its form. `tilt` [8] moves the page's corners,
    in shares of its size: the camera's angle. `zoom` is the size of the page in its picture."""

    width: int
    height: int
    skew: float = 0.0
    bend: float = 0.0
    phase: float = 0.0
    waves: float = 1.0
    lean: float = 0.0
    tilt: tuple[float, ...] = (0.0,) * 8
    zoom: float = 1.0

    @property
    def identity(self) -> bool:
        return self.skew == 0 and self.bend == 0 and not any(self.tilt) and self.zoom == 1

    def source(self, points: np.ndarray) -> np.ndarray:
        """Where the flat page's places are that are seen at points [N, 2] of the new page."""
        middle = np.array((self.width / 2, self.height / 2))
        size = np.array((self.width, self.height))
        at = (points - middle) / self.zoom
        turn = math.radians(self.skew)
        cos, sin = math.cos(turn), math.sin(turn)
        at = at @ np.array(((cos, -sin), (sin, cos)))  # row vectors: turned by -skew
        u = np.clip(at / size + 0.5, -0.5, 1.5)
        corners = np.array(self.tilt).reshape(4, 2)  # top left, top right, bottom right, left
        right, down = u[:, :1], u[:, 1:]
        at = at + size * (
            (1 - right) * (1 - down) * corners[0]
            + right * (1 - down) * corners[1]
            + right * down * corners[2]
            + (1 - right) * down * corners[3]
        )
        if self.bend:
            wave = self.bend * self.width * (1 + self.lean * (u[:, 1] - 0.5))
            lift = np.sin(self.phase + self.waves * u[:, 0])
            at = at + np.stack((np.zeros(len(at)), wave * lift), 1)
        return at + middle

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Where places [N, 2] of the flat page are seen on the new one."""
        seen = points.astype(np.float64)
        for _ in range(_ROUNDS):
            seen = seen + (points - self.source(seen))
        return seen

    def scales(self, points: np.ndarray) -> np.ndarray:
        """How much taller letters at points [N, 2] of the flat page are on the new page: [N]."""
        half = np.array((0.0, 4.0))
        seen = self.forward(np.concatenate((points - half, points + half)))
        above, below = seen[: len(points)], seen[len(points) :]
        return np.hypot(*(below - above).T) / 8.0

    def apply(self, pixels: np.ndarray, resample: Image.Resampling, fill: int) -> np.ndarray:
        """The new page from pixels uint8 or uint16 [Y, X] of the flat one, of the same size."""
        rows, columns = -(-self.height // _CELL), -(-self.width // _CELL)
        ys = [round(i * self.height / rows) for i in range(rows + 1)]
        xs = [round(i * self.width / columns) for i in range(columns + 1)]
        nodes = np.array([(x, y) for y in ys for x in xs], np.float64)
        at = self.source(nodes).reshape(rows + 1, columns + 1, 2).tolist()
        mesh = []
        for i in range(rows):
            for j in range(columns):
                quad = at[i][j] + at[i + 1][j] + at[i + 1][j + 1] + at[i][j + 1]
                mesh.append(((xs[j], ys[i], xs[j + 1], ys[i + 1]), tuple(quad)))
        image = Image.fromarray(np.ascontiguousarray(pixels))
        size = (self.width, self.height)
        return np.asarray(image.transform(size, Image.Transform.MESH, mesh, resample, 1, fill))


def turn_quarter(pixels: np.ndarray, rotation: int) -> np.ndarray:
    """Pixels [Y, X] turned clockwise by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, -rotation // 90))


def turn_points(points: np.ndarray, rotation: int, width: int, height: int) -> np.ndarray:
    """Points [N, 2] of an upright page of `width` x `height`, turned clockwise with it."""
    x, y = points[:, 0], points[:, 1]
    turned = {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}
    return np.stack(turned[rotation], 1)
