"""Boosted trees as plain arrays, so that a file of them is data and not code.

They are grown by scikit-learn and read off its estimator; asked about the same columns they give the same bits.

Shapes: S windows, K columns, T trees, M nodes of all trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hews_gpu.arrays import Bool, Float32, Float64, Int64
from hews_gpu.forecasters.logistic import expit
from hews_gpu.forecasters.threads import one_thread

__all__ = ["Trees", "grow_trees"]


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Trees whose leaves add up to log-odds."""

    start: float
    """Log-odds before the first tree."""
    root: Int64  # [T] position of each tree's first node
    column: Int64  # [M] that a node looks at
    threshold: Float64  # [M] a value up to it goes left
    left: Int64  # [M] node that follows; of a leaf itself
    right: Int64  # [M]
    value: Float64  # [M] of a leaf

    def probability(self, x: Float32) -> Float64:
        """Return the probabilities [S] that belong to columns [S, K]."""
        by_column = np.asfortranarray(x)
        total = np.full(len(x), self.start)
        for root in self.root.tolist():
            total += self._leaf_value(root, by_column)
        return expit(total)

    def _leaf_value(self, node: int, x: Float32) -> Float64:
        """Return the value [S] of the leaf below a node that each row of columns comes to; of a leaf, its own."""
        if self.left[node] == node:
            return self.value[node : node + 1]
        goes_left = x[:, self.column[node]] <= self.threshold[node]
        left, right = (self._leaf_value(int(child[node]), x) for child in (self.left, self.right))
        return np.where(goes_left, left, right)


def grow_trees(x: Float32, y: Bool, seed: int, **settings: Any) -> Trees:
    """Grow trees on columns [S, K], none of them missing, and outcomes [S].

    Args:
        x: columns.
        y: outcomes.
        seed: decides which columns each split may use.
        settings: of scikit-learn's HistGradientBoostingClassifier.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    with one_thread():
        grown = HistGradientBoostingClassifier(**settings, early_stopping=False, random_state=seed).fit(x, y)
    trees = [predictor.nodes for (predictor,) in grown._predictors]
    root = np.cumsum([0, *map(len, trees)])
    nodes = np.concatenate(trees)
    offset = np.repeat(root[:-1], np.diff(root))
    itself, is_leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
    return Trees(
        start=float(grown._baseline_prediction[0, 0]),
        root=root[:-1],
        column=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(is_leaf, itself, nodes["left"] + offset),
        right=np.where(is_leaf, itself, nodes["right"] + offset),
        value=nodes["value"].astype(np.float64),
    )
