"""Who may learn from what: a forecast for a stretch of time is fitted only on windows that ended before it began.

The first stretch has no past; its climatology is fitted on itself, so its scores say how well a model fits, not how
well it forecasts.

Shapes: S samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hews_gpu.forecast.baselines import Climatology, fit_climatology

__all__ = ["SPLITS", "climatologies", "past_of"]

SPLITS = ("train", "validation", "test")


def past_of(target_end_s: NDArray[np.int64], begin_s: int) -> NDArray[np.bool_]:
    """Which target windows had ended when a split begins; a window that ends at that very second has (bool [S])."""
    return np.asarray(target_end_s) <= begin_s


def climatologies(
    split_begin_s: Mapping[str, int],
    target_begin_s: NDArray[np.int64],
    target_end_s: NDArray[np.int64],
    y: NDArray[np.bool_],
    in_train: NDArray[np.bool_],
) -> dict[str, Climatology]:
    """The climatology that each split is forecast with.

    Args:
        split_begin_s: local begin of each split by name, in order of time; the first is the training split.
        target_begin_s: starts of all target windows since the training split began, int64 [S].
        target_end_s: their ends, int64 [S].
        y: whether each held a target, bool [S].
        in_train: which of them belong to the first split, bool [S].

    Raises:
        ValueError: a split whose past has no windows, or only windows of one kind.
    """
    found: dict[str, Climatology] = {}
    for order, (name, begin_s) in enumerate(split_begin_s.items()):
        known = past_of(target_end_s, begin_s) if order else in_train
        found[name] = fit_climatology(target_begin_s[known], y[known])
    return found
