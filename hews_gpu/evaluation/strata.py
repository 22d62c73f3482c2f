"""Discrimination within hours of the week: what is left of AUC once the clock is taken out.

A city-wide AUC is mostly the clock: nights differ from mornings. Within a stratum all windows share the hour of the
week, so the climatology has next to nothing to tell them apart by.

Shapes: S windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hews_gpu.arrays import Float64, Int64
from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.metrics import average_precision, roc_auc
from hews_gpu.kernels.draws_cpu import score_draws

__all__ = ["auc_gain_within", "aucs_drawn", "average_precision_within", "roc_auc_within"]


def roc_auc_within(y: ArrayLike, p: ArrayLike, stratum: ArrayLike) -> float:
    """Return the chance that a positive window has a higher forecast than a negative one of its stratum; ties are half.

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


def auc_gain_within(y: ArrayLike, p: ArrayLike, reference: ArrayLike, stratum: ArrayLike) -> tuple[float, Float64]:
    """Return how much higher `roc_auc_within` is than another forecast's, and what of that each window [S] makes.

    The second adds up to 0; its sum over windows drawn anew is, to first order, how far the difference of their AUCs
    is from that of all windows, which is what a bootstrap needs. (Influence of an observation on an AUC: DeLong, DeLong
    & Clarke-Pearson, 1988, Biometrics 44.)
    """
    y, p, other = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    total = pairs = 0.0
    won, met = np.zeros(len(y)), np.zeros(len(y))
    for inside in _groups(np.asarray(stratum)):
        hit, miss = inside[y[inside]], inside[~y[inside]]
        gain = _won(p[hit], p[miss]) - _won(other[hit], other[miss])  # [positives, negatives]
        won[hit], won[miss] = gain.sum(axis=1), gain.sum(axis=0)
        met[hit], met[miss] = len(miss), len(hit)
        total, pairs = total + float(gain.sum()), pairs + gain.size
    if not pairs:
        return float("nan"), won
    mean = total / pairs
    return mean, np.asarray((won - mean * met) / pairs, dtype=np.float64)


def _won(hit: Float64, miss: Float64) -> Float64:
    """Return 1 where a positive window's forecast is higher than a negative one's, 1/2 where they are equal."""
    return np.asarray(0.5 * (1 + np.sign(hit[:, None] - miss[None, :])), dtype=np.float64)


def average_precision_within(y: ArrayLike, p: ArrayLike, stratum: ArrayLike) -> float:
    """Return the average precision of each stratum, weighted by its positives; nan without any."""
    y, p, stratum = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64), np.asarray(stratum)
    total = 0.0
    for inside in _groups(stratum):
        positives = int(y[inside].sum())
        total += positives * average_precision(y[inside], p[inside]) if positives else 0.0
    return total / float(y.sum()) if y.any() else float("nan")


def _groups(stratum: NDArray[np.generic]) -> list[Int64]:
    """Return the positions of the members of each stratum."""
    order = np.argsort(stratum, kind="stable")
    edges = np.flatnonzero(np.diff(stratum[order])) + 1
    return list(np.split(order, edges))


def aucs_drawn(y: ArrayLike, p: ArrayLike, blocks: Blocks) -> Float64:
    """Return the AUC [D] in each drawn series, ties counting half; nan where it holds only one kind of window."""
    y, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    is_last = np.diff(p[order], append=np.inf) != 0
    drawn = np.empty(len(blocks.starts))
    score_draws(blocks.starts, blocks.size, order, is_last, y, drawn)
    return drawn
