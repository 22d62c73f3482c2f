"""OpenCV: outlines by polylines, discs by circle, blended by multiply and add; OpenCV's pixel i is centered on i.

Kept for a city are the base map, each neighborhood's lit outline, and the discs: one per color and placement in
sixteenths of a pixel, so that a disc is one multiplication and one addition in the little region that it touches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.rivals.scene import Draw, Scene, library
from hews_gpu.arrays import Float64, UInt8

LIBRARIES = ("cv2",)
SHIFT = 4
"""OpenCV takes positions in 1/16 pixel."""
ONE = 1 << SHIFT
Region = tuple[slice, slice]
FINER = 16
"""Masks are drawn so many times larger and averaged: polylines has whole line widths only, and broad soft edges."""


def ways(scene: Scene) -> Mapping[str, Draw]:
    """Return the fastest way that we know."""
    cv2 = library("cv2")
    cv2.setNumThreads(1)  # what it can spread over threads is much too small here
    return {"OpenCV, cached stamps": Stamps(cv2, scene).draw}


class Stamps:
    """Lit outlines are copied through masks, discs are stamps: out = out * (1 - alpha) + color * alpha."""

    def __init__(self, cv2: Any, scene: Scene) -> None:
        masks = [_mask(cv2, scene, n) for n in range(len(scene.rings))]
        light, most = np.ones((scene.height, scene.width)), np.zeros((scene.height, scene.width))
        for (rows, columns), mask in masks:
            light[rows, columns] *= 1 - mask * scene.line_alpha
            most[rows, columns] = np.maximum(most[rows, columns], mask)
        self.cv2, self.base = cv2, np.repeat(np.rint(light * 255).astype(np.uint8)[..., None], 3, axis=2)
        self.outlines = [self._lit(scene, box, mask, most[box]) for box, mask in masks]
        self.neighborhood, self.kind = scene.neighborhood.tolist(), scene.color.tolist()
        reach = int(np.ceil(scene.disc_radius_px))
        self.side = 2 * reach + 1
        near = np.rint((np.stack([scene.x, scene.y], axis=1) - 0.5) * ONE).astype(np.int32)
        corner = ((near + ONE // 2) >> SHIFT) - reach
        placement = near - ((corner + reach) << SHIFT) + ONE // 2
        self.corner, self.placement = corner.tolist(), (placement[:, 1] * ONE + placement[:, 0]).tolist()
        alpha = _discs(cv2, scene, reach)  # [256, D, D, 3]
        self.keep = list(255 - np.rint(alpha * 255).astype(np.uint8))
        added = alpha[None] * scene.palette[:, None, None, None, :]  # [K, 256, D, D, 3]
        self.add = [list(np.rint(one).astype(np.uint8)) for one in added]

    def _lit(self, scene: Scene, box: Region, mask: Float64, most: Float64) -> tuple[Region, UInt8, UInt8]:
        """Return where, the lit outline on the base, and what to copy: no pixel that a neighbor covers much more of."""
        outline = self.base[box] * (1 - mask[..., None]) + np.array(scene.lit_color) * mask[..., None]
        copied = (mask > 0.5 / 255) & (mask >= most / 2)
        return box, np.rint(outline).astype(np.uint8), copied.astype(np.uint8)

    def draw(self, first: int, last: int, out: UInt8) -> None:
        """One window."""
        copy, multiply, add, side = self.cv2.copyTo, self.cv2.multiply, self.cv2.add, self.side
        height, width = out.shape[:2]
        np.copyto(out, self.base)
        for n in set(self.neighborhood[first:last]):
            if n >= 0:
                box, outline, mask = self.outlines[n]
                copy(outline, mask, out[box])
        for e in range(first, last):
            left, top = self.corner[e]
            keep, more = self.keep[self.placement[e]], self.add[self.kind[e]][self.placement[e]]
            if left < 0 or top < 0 or left + side > width or top + side > height:
                rows, columns = slice(max(-top, 0), height - top), slice(max(-left, 0), width - left)
                keep, more = keep[rows, columns], more[rows, columns]
                if keep.size == 0 or top <= -side or left <= -side:
                    continue
            region = out[max(top, 0) : max(top, 0) + keep.shape[0], max(left, 0) : max(left, 0) + keep.shape[1]]
            multiply(region, keep, region, 1 / 255)
            add(region, more, region)


def _mask(cv2: Any, scene: Scene, neighborhood: int) -> tuple[Region, Float64]:
    """Return where an outline may be, and how much of each pixel there it covers."""
    top, bottom, left, right = scene.box_of(neighborhood)
    box, size = np.s_[top:bottom, left:right], (right - left, bottom - top)
    if 0 in size:
        return box, np.zeros(size[::-1])
    fine = np.zeros((size[1] * FINER, size[0] * FINER), np.uint8)
    for ring in scene.rings[neighborhood]:
        points = np.rint(((ring - (left, top)) * FINER - 0.5) * ONE).astype(np.int32)
        cv2.polylines(fine, [points], True, 255, round(scene.line_width_px * FINER), cv2.LINE_8, SHIFT)
    return box, cv2.resize(fine, size, interpolation=cv2.INTER_AREA) / 255


def _discs(cv2: Any, scene: Scene, reach: int) -> Float64:
    """Return [256, D, D, 3]: alpha of a disc by row and column of its center in sixteenths of a pixel."""
    side = 2 * reach + 1
    made = np.empty((ONE * ONE, side, side, 3))
    for k in range(ONE * ONE):
        fine = np.zeros((side * FINER, side * FINER), np.uint8)
        middle = [((reach + at / ONE) * FINER - 0.5) * ONE for at in (k % ONE, k // ONE)]
        center = (round(middle[0]), round(middle[1]))
        cv2.circle(fine, center, round(scene.disc_radius_px * FINER * ONE), 255, -1, cv2.LINE_8, SHIFT)
        small = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
        made[k] = small[..., None] / 255 * scene.disc_alpha
    return made
