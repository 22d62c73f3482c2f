"""What does the clustering: scikit-learn on the CPU, or cuML through the same interface where it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.environment.device import choose_clustering

__all__ = ["Engine", "choose_engine", "nearest"]


@dataclass(frozen=True)
class Engine:
    """The classes that are fitted; both libraries give them the same arguments and results."""

    name: str
    kmeans: Any
    pca: Any

    def centers(self, scores: Float32, k: int, *, seed: int, starts: int) -> Float64:
        """Return the centers [k, M] of k-means of rows [R, M]."""
        fitted = self.kmeans(n_clusters=k, n_init=starts, random_state=seed, init="k-means++").fit(scores)
        return np.asarray(fitted.cluster_centers_, np.float64)


def choose_engine(device: str) -> Engine:
    """Return the engine of a device, as `--device` names it.

    Raises:
        UserError: another word, or ``cuda`` where cuML does not work.
    """
    choice = choose_clustering(device)
    if choice.device == "cuda":
        from cuml.cluster import KMeans
        from cuml.decomposition import PCA

        return Engine(f"cuML ({choice.why})", KMeans, PCA)
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    return Engine(f"scikit-learn on {choice}", KMeans, PCA)


def nearest(scores: Float32, centers: Float64) -> Int64:
    """Return the nearest of the centers [k, M] of each row [R, M]; of several the first."""
    distance = (centers**2).sum(axis=1) - 2 * scores.astype(np.float64) @ centers.T
    return np.asarray(np.argmin(distance, axis=1), np.int64)
