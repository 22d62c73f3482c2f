"""The leaks of the reference protocol one by one, and what a window is without them.

There, a map shows the very window that it is labelled with, the incidents to be warned of drawn on it, and so are the
rows that report the same event once more; windows without such an incident are thinned out until there are as many as
with; and the windows to judge on are drawn at random from between those that were learned from. Each of these can be
taken away on its own. With all of them gone, what is left is an honest, if poor, forecast: a map of the window before,
judged on later years at the prevalence that they have.

Shapes: W windows, S windows used.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.data.events import Prepared
from hews_gpu.data.windows import Windows
from hews_gpu.raster.rasterizer import Mark

__all__ = ["LEAKS", "Leak", "hidden_marks", "pairs_shown", "split_by_time"]

Leak = Literal["targets", "twins", "random_split", "balance", "same_window"]
LEAKS: dict[Leak, str] = {
    "targets": "the incidents to be warned of are drawn on the map",
    "twins": "other rows that report the same event are drawn on it",
    "random_split": "windows to judge on lie between those learned from",
    "balance": "as many windows with a target as without",
    "same_window": "the map shows the window that it is labelled with",
}
"""In the order in which they are taken away."""
GAP_S = 86_400
"""Left out before each later part of a split by time: what happened in one evening is then on one side of it."""


def hidden_marks(without: Collection[Leak]) -> tuple[Mark, ...]:
    """What a map does not show once some leaks are gone."""
    marks: tuple[Mark, ...] = ("targets", "twins")
    return tuple(mark for mark in marks if mark in without)


def pairs_shown(prepared: Prepared, windows: Windows, without: Collection[Leak]) -> NDArray[np.int64]:
    """[W, 2] the incidents on each window's map, [first, last): those within it, or of as long a time before it."""
    if "same_window" not in without:
        return windows.pairs
    edges_s = windows.start_s[:, None] + np.array([-windows.length_s, 0])
    return np.asarray(np.searchsorted(prepared.events.time_s, edges_s, side="left"), dtype=np.int64)


def split_by_time(
    start_s: NDArray[np.int64], length_s: int, span_s: tuple[int, int], parts: tuple[float, float, float]
) -> list[NDArray[np.int64]]:
    """Positions of the windows of each part, the oldest first, with a day between two parts.

    Args:
        start_s: begins of the windows that are used, [S], ascending.
        length_s: of each.
        span_s: begin and end of all windows, used or not; so the edges do not depend on which are used.
        parts: share of each part in that span.
    """
    begin_s, end_s = span_s
    edges_s = np.rint(begin_s + np.cumsum([0.0, *parts]) * (end_s - begin_s)).astype(np.int64)
    found = []
    for k in range(len(parts)):
        until_s = edges_s[k + 1] - (GAP_S if k + 1 < len(parts) else 0)
        found.append(np.flatnonzero((start_s >= edges_s[k]) & (start_s + length_s <= until_s)))
    return found
