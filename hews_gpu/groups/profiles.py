"""What groups are like: the share of each level in a group, held against the city's, with intervals.

Rows of one neighborhood are alike, so that intervals come from resampling neighborhoods, not rows.

Shapes: R rows, N neighborhoods, k groups, L levels, B resamplings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.groups.census import Census
from hews_gpu.groups.victims import LEAST_GROUP, PLACE, Victims

__all__ = ["profiles", "sides"]

RESAMPLED = 400
MOST_TOLD = 4


def profiles(victims: Victims, census: Census | None, labels: Int64, seed: int) -> list[dict[str, Any]]:
    """Return, of each group, its rows, its share of levels by column, its places, and what stands out in words."""
    place, groups = victims.codes[PLACE], int(labels.max()) + 1
    n = len(victims.levels[PLACE])
    drawn = np.random.default_rng((seed, 6)).multinomial(n, np.full(n, 1 / n), RESAMPLED)
    shares: dict[str, list[list[dict[str, Any]]]] = {}
    for name, codes in victims.codes.items():
        if name != PLACE:
            shares[name] = _shares(place, codes, labels, drawn, victims.levels[name], groups)
    if census is not None:
        quarters = [_highest_quarter(values, place) for values in census.numbers.T]
        by_column = [
            _shares(place, is_high[place], labels, drawn, ("", name), groups)
            for is_high, name in zip(quarters, census.names, strict=True)
        ]
        shares["census"] = [[column[g][1] for column in by_column] for g in range(groups)]
    rows = np.bincount(place, minlength=n)
    result = []
    for g in range(groups):
        own = np.bincount(place[labels == g], minlength=n)
        here = np.where(rows >= LEAST_GROUP, own / np.maximum(rows, 1), np.nan)
        columns = {name: of_groups[g] for name, of_groups in shares.items()}
        result.append(
            {
                **{"group": g + 1, "rows": int(own.sum()), "share": float(own.sum() / len(labels))},
                "columns": columns,
                "of_place": [None if np.isnan(one) else round(float(one), 4) for one in here],
                "stands_out": _stands_out(columns),
            }
        )
    return result


def _highest_quarter(values: Float64, place: Int64) -> Int64:
    """Return which neighborhoods [N] have a value that no more than a quarter of the rows has."""
    return (values > np.quantile(values[place], 0.75)).astype(np.int64)


def _shares(
    place: Int64, codes: Int64, labels: Int64, drawn: Int64, levels: Sequence[str], groups: int
) -> list[list[dict[str, Any]]]:
    """Return, for each group, the share of each level with its interval, and the city's."""
    size = drawn.shape[1], groups, len(levels)
    cells = np.bincount((place * groups + labels) * size[2] + codes, minlength=np.prod(size)).reshape(size)
    whole = cells.sum(axis=0)  # [k, L]
    resampled = np.einsum("bn,nkl->bkl", drawn, cells).astype(np.float64)
    resampled /= np.maximum(resampled.sum(axis=2, keepdims=True), 1)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    city = whole.sum(axis=0) / whole.sum()
    return [
        [
            {
                "level": level,
                "share": float(whole[g, i] / whole[g].sum()),
                "interval": [float(low[g, i]), float(high[g, i])],
                "city": float(city[i]),
            }
            for i, level in enumerate(levels)
        ]
        for g in range(groups)
    ]


def _stands_out(columns: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the levels most above the city's share: one of a column, two of the categories, none of the hours."""
    told: list[dict[str, Any]] = []
    for name, levels in columns.items():
        above = [one for one in levels if one["interval"][0] > one["city"]]
        above.sort(key=lambda one: one["city"] - one["share"])
        told += [{"column": name, **one} for one in above[: 1 + (name == "category")] if name != "hour"]
    told.sort(key=lambda one: one["city"] - one["share"])
    return told[:MOST_TOLD]


def sides(victims: Victims) -> list[dict[str, Any]]:
    """Return, by category, the shares of rows inside, outside and not stated; nothing where the table does not say."""
    if "inside or outside" not in victims.codes:
        return []
    side, category = victims.codes["inside or outside"], victims.codes["category"]
    levels, names = victims.levels["inside or outside"], victims.levels["category"]
    cells = np.bincount(category * len(levels) + side, minlength=len(names) * len(levels)).reshape(len(names), -1)
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    return [
        {"category": name, "rows": int(cells[i].sum()), **dict(zip(levels, shares[i].tolist(), strict=True))}
        for i, name in enumerate(names)
        if cells[i].sum() >= LEAST_GROUP
    ]
