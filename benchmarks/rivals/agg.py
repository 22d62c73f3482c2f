"""Pillow's companion aggdraw: lines and discs with soft edges and opacity, drawn anew for each window on a kept base.

Pixel i spans [i, i + 1), as in matplotlib, which draws with the same library below.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.rivals.scene import Bytes, Draw, Scene, library

__all__ = ["LIBRARIES", "ways"]

LIBRARIES = ("aggdraw",)


def ways(scene: Scene) -> Mapping[str, Draw]:
    """One canvas, into which the base is put back for each window."""
    return {"aggdraw, cached base": Canvas(scene).draw}


class Canvas:
    """The canvas and everything in the form that aggdraw takes."""

    def __init__(self, scene: Scene) -> None:
        agg = library("aggdraw")
        self.canvas = agg.Draw("RGB", (scene.width, scene.height), "white")
        self.canvas.setantialias(True)
        self.lines = [[ring.ravel().tolist() for ring in rings] for rings in scene.rings]
        black = agg.Pen("black", scene.line_width_px, opacity=round(scene.line_alpha * 255))
        for lines in self.lines:
            for line in lines:
                self.canvas.line(line, black)
        self.base = self.canvas.tobytes()
        self.lit_pen = agg.Pen(scene.lit_color, scene.line_width_px)
        opacity = round(scene.disc_alpha * 255)
        self.brushes = [agg.Brush(tuple(color), opacity=opacity) for color in scene.palette.tolist()]
        self.kind, self.neighborhood = scene.color.tolist(), scene.neighborhood.tolist()
        radius, middle = scene.disc_radius_px, np.stack([scene.x, scene.y] * 2, axis=1)
        self.boxes = (middle + np.array([-radius, -radius, radius, radius])).tolist()

    def draw(self, first: int, last: int, out: Bytes) -> None:
        """One window."""
        canvas, pen = self.canvas, self.lit_pen
        canvas.frombytes(self.base)
        for n in sorted(set(self.neighborhood[first:last])):
            if n >= 0:
                for line in self.lines[n]:
                    canvas.line(line, pen)
        for e in range(first, last):
            canvas.ellipse(self.boxes[e], self.brushes[self.kind[e]])
        np.copyto(out, np.frombuffer(canvas.tobytes(), np.uint8).reshape(out.shape))
