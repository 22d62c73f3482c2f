"""datashader: lines aggregated on a canvas, points spread to discs, the pictures stacked over a kept base.

Its rows begin in the south. Discs are spread from whole pixels and have hard edges: it knows no others. Points are put
into their pixels by hand, which is faster than its canvas for so few. It spreads points in the order of rows, not of
incidents, so discs that overlap are put into pictures of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals.scene import Draw, Scene, library
from hews_gpu.arrays import Float64, Int64, UInt8

LIBRARIES = ("datashader",)


def ways(scene: Scene) -> Mapping[str, Draw]:
    """Lit outlines as lines, over a base that is kept."""
    return {"datashader, cached base": Layers(scene).draw}


class Layers:
    """Three pictures per window: the base, the lit outlines, the discs."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.shader, self.tf = library("datashader"), library("datashader.transfer_functions")
        self.frame = library("pandas").DataFrame
        self.canvas = self.shader.Canvas(scene.width, scene.height, (0, scene.width), (0, scene.height))
        gap = np.full((1, 2), np.nan)
        rings = [[part for ring in rings for part in (ring, gap)] for rings in scene.rings]
        flip = np.array([0.0, scene.height]), np.array([1.0, -1.0])
        self.lines = [np.concatenate(parts) * flip[1] + flip[0] for parts in rings]
        light = np.ones((scene.height, scene.width))
        for line in self.lines:
            light *= 1 - self._coverage(line) * scene.line_alpha
        gray = np.rint(light * 255).astype(np.uint32)
        self.base = self.tf.Image(gray * 0x010101 | np.uint32(0xFF000000), dims=("y", "x"))
        alpha = np.uint32(round(scene.disc_alpha * 255)) << np.uint32(24)
        self.colors = _packed(scene.palette) | alpha
        self.lit_color = _packed(np.array([scene.lit_color], np.uint8))[0]
        self.radius = int(scene.disc_radius_px)

    def _coverage(self, line: Float64) -> Float64:
        """[H, X]: how much of each pixel a line covers, south first."""
        points = self.frame({"x": line[:, 0], "y": line[:, 1]})
        drawn = self.canvas.line(points, "x", "y", agg=self.shader.any(), line_width=self.scene.line_width_px)
        covered: Float64 = np.nan_to_num(drawn.data.astype(np.float64))
        return covered

    def draw(self, first: int, last: int, out: UInt8) -> None:
        """One window."""
        pictures = [self.base]
        lit = self.scene.lit(first, last)
        if lit:
            covered = self._coverage(np.concatenate([self.lines[n] for n in lit]))
            alpha = np.rint(covered * 255).astype(np.uint32) << np.uint32(24)
            pictures.append(self.tf.Image(alpha | self.lit_color, dims=("y", "x")))
        pictures += self._discs(first, last)
        packed = self.tf.stack(*pictures).data
        for c in range(3):
            out[::-1, :, c] = packed >> np.uint32(8 * c) & np.uint32(0xFF)

    def _discs(self, first: int, last: int) -> list[Any]:
        """A picture per layer of discs."""
        scene, shape = self.scene, (self.scene.height, self.scene.width)
        column = np.floor(scene.x[first:last]).astype(np.int64)
        row = np.floor(scene.height - scene.y[first:last]).astype(np.int64)
        inside = (column >= 0) & (column < scene.width) & (row >= 0) & (row < scene.height)
        column, row, color = column[inside], row[inside], self.colors[scene.color[first:last]][inside]
        layer = self._layers(column, row)
        pictures = []
        for k in range(layer.max(initial=-1) + 1):
            dots = np.zeros(shape, np.uint32)
            dots[row[layer == k], column[layer == k]] = color[layer == k]
            picture = self.tf.Image(dots, dims=("y", "x"))
            pictures.append(self.tf.spread(picture, px=self.radius, shape="circle", how="over"))
        return pictures

    def _layers(self, column: Int64, row: Int64) -> Int64:
        """The lowest layer for each disc that is above all earlier ones that it overlaps."""
        layer = np.zeros(len(column), np.int64)
        for i in range(1, len(column)):
            near = (np.abs(column[:i] - column[i]) <= 2 * self.radius) & (np.abs(row[:i] - row[i]) <= 2 * self.radius)
            layer[i] = (layer[:i][near] + 1).max(initial=0)
        return layer


def _packed(colors: UInt8) -> NDArray[np.uint32]:
    """Red, green, blue from the lowest byte up."""
    wide = colors.astype(np.uint32)
    packed: NDArray[np.uint32] = wide[:, 0] | wide[:, 1] << np.uint32(8) | wide[:, 2] << np.uint32(16)
    return packed
