"""Whether two pictures of a window show the same: by how much they differ, which areas are red, which discs are there.

Libraries soften edges each in their own way, so pictures are never equal; but a red outline or a disc too many,
too few, of another color or a pixel away is more than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals.scene import Bytes, Draw, Scene
from hews_gpu.kernels.tables import ReferenceTables

__all__ = ["BOUND", "discs_shown", "mean_difference", "red_shares", "require_same", "sameness"]

BOUND = 2.5
"""Mean difference in levels of 255, over a window's map, that soft edges may make. A map moved by one pixel differs by
6 to 14, the more outlines it has."""
BROADER = {"OpenCV, drawn": 4.0}
"""The same for who draws red lines broader than they are: the soft edge of polylines adds about half a pixel."""
RED_CHANGE = 0.25
"""Of an outline's pixels, as far as no disc covers them: where the area is lit all are red, where it is not, those that
it shares with lit neighbors. A library's soft edge changes a few at corners, a wrong area all that are not shared."""
SEEN = 10
"""Fewer pixels say nothing about an area."""
FAR_LEVELS = 24.0
"""A disc's middle, 3 x 3 pixels, differs by more where the disc is missing, or has another color."""


def mean_difference(one: Bytes, other: Bytes) -> float:
    """In levels of 255, over all pixels and colors."""
    return float(np.abs(one.astype(np.int16) - other).mean())


def red_shares(picture: Bytes, tables: ReferenceTables, first: int, last: int) -> NDArray[np.float64]:
    """float64[N]: how much of each neighborhood's outline is red; NaN where discs leave too little to be seen."""
    owners = np.diff(tables.start)
    pixel, owner = np.repeat(tables.pixel, owners), tables.owner
    seen = (tables.coverage >= 128) & ~_near_discs(tables, first, last).ravel()[pixel]
    red, green, blue = picture.reshape(-1, 3)[pixel[seen]].astype(np.int16).T
    is_red = (red - green > 80) & (red - blue > 80)
    count = np.bincount(owner[seen], minlength=int(owner.max(initial=-1)) + 1)
    return np.where(count >= SEEN, np.bincount(owner[seen], is_red, len(count)) / np.maximum(count, 1), np.nan)


def _near_discs(tables: ReferenceTables, first: int, last: int) -> NDArray[np.bool_]:
    """bool[H, X]: where discs of the window may be."""
    height, width, _ = tables.base.shape
    covered = np.zeros((height, width), np.bool_)
    reach = tables.stamp.shape[-1] // 2 + 1
    for x, y in zip(tables.x[first:last] >> 4, tables.y[first:last] >> 4, strict=True):
        covered[max(y - reach, 0) : max(y + reach + 1, 0), max(x - reach, 0) : max(x + reach + 1, 0)] = True
    return covered


def discs_shown(picture: Bytes, ours: Bytes, tables: ReferenceTables, first: int, last: int) -> int:
    """How many incidents have the same color in the middle of their disc in both pictures."""
    height, width, _ = ours.shape
    shown = 0
    for x, y in zip(tables.x[first:last] >> 4, tables.y[first:last] >> 4, strict=True):
        if 0 < x < width - 1 and 0 < y < height - 1:
            middle = np.s_[y - 1 : y + 2, x - 1 : x + 2]
            shown += bool(np.abs(picture[middle].mean(axis=(0, 1)) - ours[middle].mean(axis=(0, 1))).max() < FAR_LEVELS)
    return shown


def sameness(
    ways: Mapping[str, Draw], scene: Scene, tables: ReferenceTables, pairs: NDArray[np.int64], ours: Bytes
) -> dict[str, dict[str, Any]]:
    """What each way of drawing the windows `pairs` [B, 2] has in common with `ours` [B, H, X, 3]."""
    found = {}
    picture = np.empty((scene.height, scene.width, 3), np.uint8)
    for name, draw in ways.items():
        differences, changes, discs, shown = [], [0.0], 0, 0
        for (first, last), mine in zip(pairs.tolist(), ours, strict=True):
            picture.fill(0)
            draw(first, last, picture)
            differences.append(mean_difference(picture, mine))
            change = red_shares(picture, tables, first, last) - red_shares(mine, tables, first, last)
            changes += np.abs(change[~np.isnan(change)]).tolist()
            discs += discs_shown(mine, mine, tables, first, last)
            shown += discs_shown(picture, mine, tables, first, last)
        found[name] = {
            "mean_difference": max(differences),
            "windows": len(pairs),
            "outlines": len(changes) - 1,
            "red_change": max(changes),
            "discs": discs,
            "discs_found": shown,
        }
    return found


def require_same(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise AssertionError where a way does not draw what we draw."""
    for name, row in found.items():
        bound = BROADER.get(name, BOUND)
        assert row["mean_difference"] <= bound, f"{name}: pictures differ by {row['mean_difference']:.2f} levels"
        assert row["red_change"] <= RED_CHANGE, f"{name}: other areas are red"
        assert row["discs_found"] == row["discs"], f"{name}: {row['discs'] - row['discs_found']} discs are missing"
