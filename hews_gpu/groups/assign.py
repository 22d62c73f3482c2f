"""Give every row its group, partition by partition: mini-batches for the centers, then the nearest center.

The sample's centers are where it begins. Rows are shuffled over the partitions, as the order of the table is that of
time. What a partition becomes lies in the work folder, so that threads of this process or Dask workers may do it.

Shapes: R rows, M components, k groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.groups.encoding import Column, Components
from hews_gpu.groups.engine import nearest
from hews_gpu.groups.victims import LEAST_GROUP
from hews_gpu.progress import step
from hews_gpu.workers import Opener

__all__ = ["assign", "merged", "partitions", "score_partition"]

PARTITION_ROWS = 200_000
BATCH_ROWS = 10_000


def partitions(rows: int, seed: int) -> list[Int64]:
    """Return the rows of each partition, shuffled."""
    order = np.random.default_rng((seed, 5)).permutation(rows)
    return np.array_split(order, -(-rows // PARTITION_ROWS))


def score_partition(work: Path, number: int) -> int:
    """Write the components of a partition; return its rows."""
    with np.load(work / "tables.npz") as tables, np.load(work / f"codes-{number}.npz") as codes:
        basis = Components(dict(tables), ())
        scores = basis.scores({name: Column(codes[name], tables[name]) for name in codes})
    np.save(work / f"scores-{number}.npy", scores)
    return len(scores)


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez(path, **arrays)


def _label_partition(work: Path, number: int) -> int:
    """Write the nearest center of each row of a partition; return its rows."""
    labels = nearest(np.load(work / f"scores-{number}.npy"), np.load(work / "centers.npy"))
    np.save(work / f"labels-{number}.npy", labels)
    return len(labels)


def assign(
    columns: Mapping[str, Column], basis: Components, centers: Float64, work: Path, workers: Opener, *, seed: int
) -> tuple[Int64, Float32, Float64]:
    """Return the group [R] and the first two components [R, 2] of every row, and the centers [k, M].

    Args:
        columns: of all rows.
        basis: the components.
        centers: of the sample.
        work: an empty folder that all workers see.
        workers: who does the partitions.
        seed: of the shuffle.
    """
    from sklearn.cluster import MiniBatchKMeans

    rows = len(next(iter(columns.values())).codes)
    parts = partitions(rows, seed)
    _save(work / "tables.npz", basis.tables)
    for number, part in enumerate(parts):
        _save(work / f"codes-{number}.npz", {name: column.codes[part] for name, column in columns.items()})
    numbers = range(len(parts))
    labels, plane = np.empty(rows, np.int64), np.empty((rows, 2), np.float32)
    with workers(rows, work) as pool, step("grouping", 2 * len(parts), "partitions") as bar:
        for _ in pool.run(score_partition, work, numbers):
            bar.advance()
        fit = MiniBatchKMeans(
            len(centers), init=centers.astype(np.float32), n_init=1, random_state=seed, reassignment_ratio=0
        )
        for number in numbers:
            scores = np.load(work / f"scores-{number}.npy")
            for batch in np.array_split(scores, -(-len(scores) // BATCH_ROWS)):
                fit.partial_fit(batch)
        np.save(work / "centers.npy", fit.cluster_centers_.astype(np.float64))
        for number, _ in pool.run(_label_partition, work, numbers):
            labels[parts[number]] = np.load(work / f"labels-{number}.npy")
            plane[parts[number]] = np.load(work / f"scores-{number}.npy", mmap_mode="r")[:, :2]
            bar.advance()
    return labels, plane, np.load(work / "centers.npy")


def merged(labels: Int64, centers: Float64) -> tuple[Int64, int]:
    """Join groups of fewer than `LEAST_GROUP` rows to the nearest other one; number groups from 0, the largest first.

    Returns:
        The group [R] of each row, and how many groups were joined.
    """
    rows = np.bincount(labels, minlength=len(centers))
    kept = np.flatnonzero(rows >= LEAST_GROUP)
    into = kept[nearest(centers.astype(np.float32), centers[kept])]
    into[kept] = kept
    labels = into[labels]
    rows = np.bincount(labels, minlength=len(centers))
    order = np.lexsort([centers[:, 0], -rows])
    return np.argsort(order)[labels], int(len(centers) - len(kept))
