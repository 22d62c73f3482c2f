"""Discrimination within hours of the week: what is left of AUC once the clock is taken out.

A city-wide AUC is mostly the clock: nights differ from mornings. Within a stratum all windows share the hour of the
week, so the climatology has next to nothing to tell them apart by.

Shapes: S windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hews_gpu.forecast.bootstrap import Blocks, interval
from hews_gpu.forecast.metrics import average_precision, roc_auc

__all__ = ["auc_interval", "aucs_drawn", "average_precision_within", "roc_auc_within"]


def roc_auc_within(y: ArrayLike, p: ArrayLike, stratum: ArrayLike) -> float:
    """Chance that a positive window has a higher forecast than a negative one of the same stratum, ties counting half.

    Each stratum's AUC is weighted by its number of such pairs. (Janes & Pepe, 2008, Biometrics 64: the
    covariate-adjusted ROC curve.) nan if no stratum has both.
    """
    y, p, stratum = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64), np.asarray(stratum)
    won = pairs = 0.0
    for inside in _groups(stratum):
        positives = int(y[inside].sum())
        weight = positives * (len(inside) - positives)
        if weight:
            won += weight * roc_auc(y[inside], p[inside])
            pairs += weight
    return won / pairs if pairs else float("nan")


def average_precision_within(y: ArrayLike, p: ArrayLike, stratum: ArrayLike) -> float:
    """Average precision of each stratum, weighted by its positives; nan without any."""
    y, p, stratum = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64), np.asarray(stratum)
    total = 0.0
    for inside in _groups(stratum):
        positives = int(y[inside].sum())
        total += positives * average_precision(y[inside], p[inside]) if positives else 0.0
    return total / float(y.sum()) if y.any() else float("nan")


def _groups(stratum: NDArray[np.generic]) -> list[NDArray[np.int64]]:
    """Positions of the members of each stratum."""
    order = np.argsort(stratum, kind="stable")
    edges = np.flatnonzero(np.diff(stratum[order])) + 1
    return list(np.split(order, edges))


def auc_interval(y: ArrayLike, p: ArrayLike, blocks: Blocks) -> list[float]:
    """95 % interval of the AUC over the drawn series, ties counting half."""
    return interval(aucs_drawn(y, p, blocks))


def aucs_drawn(y: ArrayLike, p: ArrayLike, blocks: Blocks) -> NDArray[np.float64]:
    """[D] AUC in each drawn series, ties counting half; nan where it holds only one kind of window."""
    y, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    last = np.flatnonzero(np.diff(p[order], append=np.inf))  # last position of each group of equal forecasts
    sorted_y = y[order]
    drawn = np.empty(len(blocks.starts))
    for draw in range(len(drawn)):
        weight = blocks.multiplicities(draw)[order]
        positives = np.diff(np.cumsum(weight * sorted_y)[last], prepend=0)
        negatives = np.diff(np.cumsum(weight * ~sorted_y)[last], prepend=0)
        below = np.cumsum(negatives) - negatives
        pairs = float(positives.sum()) * float(negatives.sum())
        drawn[draw] = np.sum(positives * (below + negatives / 2)) / pairs if pairs else np.nan
    return drawn
