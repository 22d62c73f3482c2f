"""A random split by class, as the reference system made it: for reproducing its protocol, which leaks.

Windows of one evening fall on both sides, so what is learned on one is known on the other: a forecast is never judged
on such a split.

Shapes: W windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["random_split"]

SPLITTING = 3  # in the key of these words, so that they are not those of another purpose


def random_split(y: NDArray[np.bool_], parts: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """Cut windows at random into parts that hold the same share of either class.

    Args:
        y: [W] the class of each window.
        parts: share of each part, such as (0.7, 0.15, 0.15); they add up to 1.
        seed: of the run; the same seed gives the same parts everywhere.

    Returns:
        The ids of each part in ascending order, int64; together every window once.

    Raises:
        ValueError: shares that are not positive or do not add up to 1.
    """
    if not all(part > 0 for part in parts) or abs(sum(parts) - 1) > 1e-9:
        raise ValueError(f"parts = {tuple(parts)}: must be positive and add up to 1")
    edges = np.cumsum(parts)[:-1]
    found: list[list[NDArray[np.int64]]] = [[] for _ in parts]
    for value in (False, True):
        ids = np.flatnonzero(y == value)
        key = np.random.SeedSequence(seed, spawn_key=(int(value), SPLITTING))
        ids = ids[np.argsort(np.random.Philox(key).random_raw(len(ids)), kind="stable")]
        for part, some in zip(found, np.split(ids, np.rint(edges * len(ids)).astype(np.int64)), strict=True):
            part.append(some)
    return [np.sort(np.concatenate(part)) for part in found]
