"""Pillow: colors pasted through masks, which is its own transparency; pixel i spans [i, i + 1).

The base map, a mask per neighborhood and one per placement of a disc in sixteenths of a pixel are drawn beforehand,
larger than they are needed and then averaged, as ImageDraw has no soft edges. A window is one copy, one paste per lit
neighborhood and one per incident. Pillow keeps four bytes per pixel, so that a map must be unpacked at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.rivals.scene import Bytes, Draw, Scene, library

__all__ = ["LIBRARIES", "ways"]

LIBRARIES = ("PIL",)
FINER = 16
ONE = 16
"""Placements of a disc within a pixel, along each axis."""


def ways(scene: Scene) -> Mapping[str, Draw]:
    """The only way that is fast."""
    return {"Pillow, cached masks": Masks(scene).draw}


class Masks:
    """Everything is a mask."""

    def __init__(self, scene: Scene) -> None:
        self.image, self.pen = library("PIL.Image"), library("PIL.ImageDraw")
        self.outlines = [self._outline(scene, n) for n in range(len(scene.rings))]
        self.base = self._base(scene)
        self.lit_color, self.neighborhood = scene.lit_color, scene.neighborhood.tolist()
        self.colors = [tuple(color) for color in scene.palette[scene.color].tolist()]
        self.reach = int(np.ceil(scene.disc_radius_px))
        near = np.floor(np.stack([scene.x, scene.y], axis=1) * ONE + 0.5).astype(np.int64)
        self.corner = [(x, y) for x, y in (near // ONE - self.reach).tolist()]
        self.placement = (near[:, 1] % ONE * ONE + near[:, 0] % ONE).tolist()
        self.discs = [self._disc(scene, k % ONE / ONE, k // ONE / ONE) for k in range(ONE * ONE)]

    def draw(self, first: int, last: int, out: Bytes) -> None:
        """One window."""
        image = self.base.copy()
        for n in sorted(set(self.neighborhood[first:last])):
            if n >= 0:
                image.paste(self.lit_color, *self.outlines[n])
        for e in range(first, last):
            image.paste(self.colors[e], self.corner[e], self.discs[self.placement[e]])
        np.copyto(out, np.asarray(image))

    def _outline(self, scene: Scene, neighborhood: int) -> tuple[tuple[int, int], Any]:
        """Left, top, and the mask of an outline."""
        top, bottom, left, right = scene.box_of(neighborhood)
        size = (right - left, bottom - top)
        if 0 in size:
            return (left, top), self.image.new("L", size)
        fine = self.image.new("L", (size[0] * FINER, size[1] * FINER))
        pen = self.pen.Draw(fine)
        for ring in scene.rings[neighborhood]:
            points = ((ring - (left, top)) * FINER - 0.5).ravel().tolist()
            pen.line(points, fill=255, width=round(scene.line_width_px * FINER), joint="curve")
        return (left, top), fine.reduce(FINER)

    def _base(self, scene: Scene) -> Any:
        base = self.image.new("RGB", (scene.width, scene.height), (255, 255, 255))
        for corner, mask in self.outlines:
            base.paste((0, 0, 0), corner, mask.point(lambda v: round(v * scene.line_alpha)))
        return base

    def _disc(self, scene: Scene, x: float, y: float) -> Any:
        """The mask of a disc whose center is so far into its pixel."""
        side, radius = 2 * self.reach + 1, scene.disc_radius_px * FINER
        fine = self.image.new("L", (side * FINER, side * FINER))
        column, row = ((self.reach + at) * FINER - 0.5 for at in (x, y))
        box = (column - radius + 0.5, row - radius + 0.5, column + radius - 0.5, row + radius - 0.5)
        self.pen.Draw(fine).ellipse(box, fill=255)
        return fine.reduce(FINER).point(lambda v: round(v * scene.disc_alpha))
