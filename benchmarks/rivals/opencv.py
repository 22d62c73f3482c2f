"""OpenCV: outlines by polylines, discs by circle, transparency by addWeighted; OpenCV's pixel i is centered on i.

Three ways, from plain to best, all on a kept base map. `drawn` draws the lit outlines and blends each disc over the
whole map. `regions` also keeps each neighborhood's lit outline, and blends a disc in the little region that it
touches. `stamps` also keeps the discs: one per color and placement in sixteenths of a pixel, so that a disc is one
multiplication and one addition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.rivals.scene import Bytes, Draw, Floats, Scene, library

__all__ = ["LIBRARIES", "ways"]

LIBRARIES = ("cv2",)
SHIFT = 4
"""OpenCV takes positions in 1/16 pixel."""
ONE = 1 << SHIFT
SOFT_EDGE_PX = 0.5
"""A circle with a soft edge is so much larger than its radius says."""
Region = tuple[slice, slice]
FINER = 16
"""Masks are drawn so many times larger and averaged: polylines has whole line widths only, and broad soft edges."""


def ways(scene: Scene) -> Mapping[str, Draw]:
    """The three ways."""
    cv2 = library("cv2")
    cv2.setNumThreads(1)  # what it can spread over threads is much too small here
    kept = Kept(cv2, scene)
    return {
        "OpenCV, drawn": Drawn(cv2, scene, kept).draw,
        "OpenCV, cached regions": Regions(cv2, scene, kept).draw,
        "OpenCV, cached stamps": Stamps(cv2, scene, kept).draw,
    }


def fixed(points: Floats) -> Any:
    """Positions as OpenCV wants them."""
    return np.rint((points - 0.5) * ONE).astype(np.int32)


class Kept:
    """What the ways draw beforehand: the base map, lit outlines."""

    def __init__(self, cv2: Any, scene: Scene) -> None:
        masks = [_mask(cv2, scene, n) for n in range(len(scene.rings))]
        light, most = np.ones((scene.height, scene.width)), np.zeros((scene.height, scene.width))
        for (rows, columns), mask in masks:
            light[rows, columns] *= 1 - mask * scene.line_alpha
            most[rows, columns] = np.maximum(most[rows, columns], mask)
        self.base = np.repeat(np.rint(light * 255).astype(np.uint8)[..., None], 3, axis=2)
        self.outlines = [self._lit(scene, box, mask, most[box]) for box, mask in masks]

    def _lit(self, scene: Scene, box: Region, mask: Floats, most: Floats) -> tuple[Region, Bytes, Bytes]:
        """Where, the lit outline on the base, and the pixels to copy: none that a neighbor covers much more of."""
        outline = self.base[box] * (1 - mask[..., None]) + np.array(scene.lit_color) * mask[..., None]
        copied = (mask > 0.5 / 255) & (mask >= most / 2)
        return box, np.rint(outline).astype(np.uint8), copied.astype(np.uint8)


class Drawn:
    """Lit outlines and discs are drawn for every window, and each blend is a blend of the whole map."""

    def __init__(self, cv2: Any, scene: Scene, kept: Kept) -> None:
        self.cv2, self.scene, self.base = cv2, scene, kept.base
        self.lines = [[fixed(ring) for ring in rings] for rings in scene.rings]
        self.centers = fixed(np.stack([scene.x, scene.y], axis=1)).tolist()
        self.colors = [tuple(color) for color in scene.palette[scene.color].tolist()]
        self.radius = round((scene.disc_radius_px - SOFT_EDGE_PX) * ONE)
        self.soft = {"lineType": cv2.LINE_AA, "shift": SHIFT}

    def draw(self, first: int, last: int, out: Bytes) -> None:
        """One window."""
        cv2, alpha = self.cv2, self.scene.disc_alpha
        np.copyto(out, self.base)
        for n in self.scene.lit(first, last):
            cv2.polylines(out, self.lines[n], True, self.scene.lit_color, 1, **self.soft)
        for center, color in zip(self.centers[first:last], self.colors[first:last], strict=True):
            over = out.copy()
            cv2.circle(over, center, self.radius, color, -1, **self.soft)
            cv2.addWeighted(over, alpha, out, 1 - alpha, 0, dst=out)


class Regions:
    """The base is copied, lit outlines are copied through masks, discs are blended where they are."""

    def __init__(self, cv2: Any, scene: Scene, kept: Kept) -> None:
        self.cv2, self.scene, self.base, self.outlines = cv2, scene, kept.base, kept.outlines
        self.neighborhood = scene.neighborhood.tolist()
        self.reach = int(np.ceil(scene.disc_radius_px))
        near = fixed(np.stack([scene.x, scene.y], axis=1))
        corner = ((near + ONE // 2) >> SHIFT) - self.reach
        self.corner = corner.tolist()
        self.inside = (near - (corner << SHIFT)).tolist()
        self.colors = [tuple(color) for color in scene.palette[scene.color].tolist()]
        self.radius = round((scene.disc_radius_px - SOFT_EDGE_PX) * ONE)

    def draw(self, first: int, last: int, out: Bytes) -> None:
        """One window."""
        copy = self.cv2.copyTo
        np.copyto(out, self.base)
        for n in set(self.neighborhood[first:last]):
            if n >= 0:
                box, outline, mask = self.outlines[n]
                copy(outline, mask, out[box])
        self.discs(first, last, out)

    def discs(self, first: int, last: int, out: Bytes) -> None:
        """The discs, one after another."""
        cv2, alpha, side = self.cv2, self.scene.disc_alpha, 2 * self.reach + 1
        for e in range(first, last):
            left, top = self.corner[e]
            if left <= -side or top <= -side:
                continue
            region = out[max(top, 0) : top + side, max(left, 0) : left + side]
            if region.size == 0:
                continue
            x, y = self.inside[e]
            center = (x + min(left, 0) * ONE, y + min(top, 0) * ONE)
            over = region.copy()
            cv2.circle(over, center, self.radius, self.colors[e], -1, cv2.LINE_AA, SHIFT)
            cv2.addWeighted(over, alpha, region, 1 - alpha, 0, dst=region)


class Stamps(Regions):
    """As `Regions`, with discs drawn beforehand: out = out * (1 - alpha) + color * alpha."""

    def __init__(self, cv2: Any, scene: Scene, kept: Kept) -> None:
        super().__init__(cv2, scene, kept)
        alpha = _discs(cv2, scene, self.reach)  # [256, D, D, 3]
        self.keep = list(255 - np.rint(alpha * 255).astype(np.uint8))
        added = alpha[None] * scene.palette[:, None, None, None, :]  # [K, 256, D, D, 3]
        self.add = [list(np.rint(one).astype(np.uint8)) for one in added]
        placement = np.array(self.inside) - (self.reach << SHIFT) + ONE // 2
        self.placement = (placement[:, 1] * ONE + placement[:, 0]).tolist()
        self.kind = scene.color.tolist()

    def discs(self, first: int, last: int, out: Bytes) -> None:
        """The discs, one after another."""
        multiply, add, side = self.cv2.multiply, self.cv2.add, 2 * self.reach + 1
        height, width = out.shape[:2]
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


def _mask(cv2: Any, scene: Scene, neighborhood: int) -> tuple[Region, Floats]:
    """Where an outline may be, and how much of each pixel there it covers."""
    top, bottom, left, right = scene.box_of(neighborhood)
    box, size = np.s_[top:bottom, left:right], (right - left, bottom - top)
    if 0 in size:
        return box, np.zeros(size[::-1])
    fine = np.zeros((size[1] * FINER, size[0] * FINER), np.uint8)
    for ring in scene.rings[neighborhood]:
        points = np.rint(((ring - (left, top)) * FINER - 0.5) * ONE).astype(np.int32)
        cv2.polylines(fine, [points], True, 255, round(scene.line_width_px * FINER), cv2.LINE_8, SHIFT)
    return box, cv2.resize(fine, size, interpolation=cv2.INTER_AREA) / 255


def _discs(cv2: Any, scene: Scene, reach: int) -> Floats:
    """[256, D, D, 3]: alpha of a disc by row and column of its center in sixteenths of a pixel."""
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
