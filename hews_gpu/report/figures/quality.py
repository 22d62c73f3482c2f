"""The picture of what is missing: one strip of months per column of the incident files."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from hews_gpu.arrays import Float64, Int64
from hews_gpu.report.figures.city import legend, month_ticks
from hews_gpu.report.page import Key
from hews_gpu.report.style import figure, ramp, role, soften, svg

__all__ = ["missing"]

EDGES_PERCENT = (0.0, 1.0, 5.0, 20.0, 50.0, 90.0)  # of rows that are blank; classes start here, the first above 0
MOST_COLUMNS = 16
NO_ROWS, NONE_BLANK = -2, -1


def missing(by_month: Mapping[str, Any]) -> tuple[Markup | None, list[Key]]:
    """Draw the share of blank values as `missing_by_month` of quality.json has it; None if no column has any."""
    shares = _shares(by_month)
    if not shares:
        return None, []
    axis = np.array(by_month["months"], "datetime64[M]")
    day = np.append(axis, axis[-1] + 1).astype("datetime64[D]").astype(np.int64)  # matplotlib's days, from 1970
    colors = ramp()
    with figure(440, 40 + 22 * len(shares)) as drawing:
        axes = drawing.subplots()
        for row, share in enumerate(shares.values()):
            classes = _classes(share)
            edges = [0, *(np.flatnonzero(np.diff(classes)) + 1).tolist(), len(classes)]
            for begin, end in pairwise(edges):
                if (of_class := int(classes[begin])) != NO_ROWS:
                    color = role("land") if of_class == NONE_BLANK else colors[_step(of_class)]
                    axes.broken_barh([(day[begin], day[end] - day[begin])], (row + 0.08, 0.84), color=color)
        axes.set(xlim=(day[0], day[-1]), ylim=(len(shares), 0), yticks=np.arange(len(shares)) + 0.5)
        axes.set_yticklabels(list(shares))
        axes.set_xticks(*month_ticks(axis))
        soften(axes, grid="none")
        most = max(shares, key=lambda name: float(np.nanmax(shares[name])))
        alt = f"Blank values of {len(shares)} columns by month, from {axis[0]} to {axis[-1]}; most in {most}."
        return svg(drawing, alt), _key(shares)


def _shares(by_month: Mapping[str, Any]) -> dict[str, Float64]:
    """Return percent blank by month (NaN for months without rows) of the columns with the most blanks."""
    columns = by_month["columns"]
    rows, blank = (pd.DataFrame({name: one[key] for name, one in columns.items()}) for key in ("rows", "blank"))
    share = (100 * blank / rows.where(rows > 0)).loc[:, blank.any()]
    chosen = share.mean().sort_values(ascending=False, kind="stable").index[:MOST_COLUMNS]
    return {str(name): share[name].to_numpy(dtype=float) for name in chosen}


def _classes(share: Float64) -> Int64:
    of_class = np.searchsorted(EDGES_PERCENT, np.nan_to_num(share), side="right") - 1
    of_class[share == 0] = NONE_BLANK
    of_class[np.isnan(share)] = NO_ROWS
    return of_class


def _step(of_class: int) -> int:
    return round(of_class * (len(ramp()) - 1) / (len(EDGES_PERCENT) - 1))


def _key(shares: Mapping[str, Float64]) -> list[Key]:
    there = {int(value) for share in shares.values() for value in _classes(share)}
    names = [f"up to {EDGES_PERCENT[1]:g} %"]
    names += [f"{low:g} to {high:g} %" for low, high in zip(EDGES_PERCENT[1:], (*EDGES_PERCENT[2:], 100), strict=True)]
    items = legend([], 0.0, zeros=True) if NONE_BLANK in there else []
    return items + [Key(f"ramp{_step(i)}", name) for i, name in enumerate(names) if i in there]
