"""Our maps against every other library's, on the same windows, in turn and on one thread each: likeness, then speed.

Libraries soften edges each in their own way, so pictures are never equal; but a red outline or a disc too many, too
few, of another color or a pixel away is more than that.

A slower way draws fewer windows per round; what is compared is seconds per map. All others draw into a batch of 256
maps again and again, which stays in a large cache. Ours is raced twice: into such a batch, too, and into memory for all
windows, which no cache holds and which is the harder race for us.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import ratios, time_in_turn
from benchmarks.rivals.scene import Draw, Scene
from hews_gpu.arrays import Bool, Float64, Int64, UInt8
from hews_gpu.kernels.tables import ReferenceTables
from hews_gpu.raster.rasterizer import Rasterizer

OURS, REUSING = "hews", "hews, reused batch"
REUSED = 256
"""Windows of a batch that training draws into again and again."""
BOUND = 2.5
"""Mean difference in levels of 255, over a window's map, that soft edges may make. A map moved by one pixel differs by
6 to 14, the more outlines it has."""
RED_CHANGE = 0.25
"""Of an outline's pixels, as far as no disc covers them: where the area is lit all are red, where it is not, those that
it shares with lit neighbors. A library's soft edge changes a few at corners, a wrong area all that are not shared."""
SEEN = 10
"""Fewer pixels say nothing about an area."""
FAR_LEVELS = 24.0
"""A disc's middle, 3 x 3 pixels, differs by more where the disc is missing, or has another color."""


def mean_difference(one: UInt8, other: UInt8) -> float:
    """Return it in levels of 255, over all pixels and colors."""
    return float(np.abs(one.astype(np.int16) - other).mean())


def red_shares(picture: UInt8, tables: ReferenceTables, first: int, last: int) -> Float64:
    """Return [N]: how much of each neighborhood's outline is red; NaN where discs leave too little to be seen."""
    owners = np.diff(tables.start)
    pixel, owner = np.repeat(tables.pixel, owners), tables.owner
    seen = (tables.coverage >= 128) & ~_near_discs(tables, first, last).ravel()[pixel]
    red, green, blue = picture.reshape(-1, 3)[pixel[seen]].astype(np.int16).T
    is_red = (red - green > 80) & (red - blue > 80)
    count = np.bincount(owner[seen], minlength=int(owner.max(initial=-1)) + 1)
    return np.where(count >= SEEN, np.bincount(owner[seen], is_red, len(count)) / np.maximum(count, 1), np.nan)


def _near_discs(tables: ReferenceTables, first: int, last: int) -> Bool:
    """Return [H, X]: where discs of the window may be."""
    height, width, _ = tables.base.shape
    covered = np.zeros((height, width), np.bool_)
    reach = tables.stamp.shape[-1] // 2 + 1
    for x, y in zip(tables.x[first:last] >> 4, tables.y[first:last] >> 4, strict=True):
        covered[max(y - reach, 0) : max(y + reach + 1, 0), max(x - reach, 0) : max(x + reach + 1, 0)] = True
    return covered


def discs_shown(picture: UInt8, ours: UInt8, tables: ReferenceTables, first: int, last: int) -> int:
    """Count the incidents that have the same color in the middle of their disc in both pictures."""
    height, width, _ = ours.shape
    shown = 0
    for x, y in zip(tables.x[first:last] >> 4, tables.y[first:last] >> 4, strict=True):
        if 0 < x < width - 1 and 0 < y < height - 1:
            middle = np.s_[y - 1 : y + 2, x - 1 : x + 2]
            shown += bool(np.abs(picture[middle].mean(axis=(0, 1)) - ours[middle].mean(axis=(0, 1))).max() < FAR_LEVELS)
    return shown


def sameness(
    ways: Mapping[str, Draw], scene: Scene, tables: ReferenceTables, pairs: Int64, ours: UInt8
) -> dict[str, dict[str, Any]]:
    """Return what each way of drawing the windows `pairs` [B, 2] has in common with `ours` [B, H, X, 3]."""
    result = {}
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
        result[name] = {
            "mean_difference": max(differences),
            "windows": len(pairs),
            "outlines": len(changes) - 1,
            "red_change": max(changes),
            "discs": discs,
            "discs_found": shown,
        }
    return result


def require_same(likeness: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise AssertionError where a way does not draw what we draw."""
    for name, row in likeness.items():
        assert row["mean_difference"] <= BOUND, f"{name}: pictures differ by {row['mean_difference']:.2f} levels"
        assert row["red_change"] <= RED_CHANGE, f"{name}: other areas are red"
        assert row["discs_found"] == row["discs"], f"{name}: {row['discs'] - row['discs_found']} discs are missing"


def draw_all(draw: Draw, pairs: Int64, out: UInt8) -> None:
    """Draw window b of `pairs` [B, 2] into map b of `out`, going round."""
    for b, (first, last) in enumerate(pairs.tolist()):
        draw(first, last, out[b % len(out)])


def fill_all(rasterizer: Rasterizer, pairs: Int64, out: UInt8) -> None:
    """Draw with ours batch by batch."""
    for begin in range(0, len(pairs), len(out)):
        part = pairs[begin : begin + len(out)]
        rasterizer.fill(part, out[: len(part)])


def windows_for(draw: Draw, pairs: Int64, out: UInt8, seconds: float) -> int:
    """Return how many of the windows a way draws in about so many seconds; at least two."""
    done, begin = 0, time.perf_counter()
    while done < len(pairs) - 1 and time.perf_counter() - begin < seconds:
        draw_all(draw, pairs[done : done + 2], out)
        done += 2
    return done


def race(
    rasterizer: Rasterizer, ways: Mapping[str, Draw], pairs: Int64, *, rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Return maps per second of each way, and how many times faster ours are: median ratio of a round, lowest, highest.

    Args:
        rasterizer: ours; numba is set to one thread.
        ways: the others.
        pairs: [B, 2] the windows.
        rounds: how many turns each gets.
        seconds: how long a turn of the others takes, about.
    """
    out = np.ones((len(pairs), *rasterizer.shape), np.uint8)
    batch = out[:REUSED]
    drawn = {name: windows_for(draw, pairs, batch, seconds) for name, draw in ways.items()}
    runs: dict[str, Callable[[], object]] = {
        OURS: partial(rasterizer.fill, pairs, out),
        REUSING: partial(fill_all, rasterizer, pairs, batch),
        **{name: partial(draw_all, draw, pairs[: drawn[name]], batch) for name, draw in ways.items()},
    }
    timings = time_in_turn(runs, rounds=rounds)
    per_map = {name: timing.per(drawn.get(name, len(pairs))) for name, timing in timings.items()}
    faster = {way: ratios(per_map, way) for way in per_map}
    return {
        way: {
            "maps_per_s": 1 / timing.median_s,
            "windows": drawn.get(way, len(pairs)),
            "ratios": {ours: faster[way][ours] for ours in (OURS, REUSING)},
        }
        for way, timing in per_map.items()
    }
