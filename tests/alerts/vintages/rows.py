"""Rows of a delivery, written by hand as tuples, and as a table back again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from hews_gpu.alerts.vintages.compare import ROWS

Row = tuple[int, float, str]
"""Time, longitude and category; SHOOTING is the target, and the neighborhood is the degree of longitude."""
SOURCE = {"file": "table.csv", "sha256": "0" * 64}


def table(rows: Iterable[Row]) -> pa.Table:
    """Return rows as a delivery."""
    rows = list(rows)
    return pa.table(
        {
            "time_s": pa.array([time_s for time_s, _, _ in rows], pa.int64()),
            "longitude": pa.array([x for _, x, _ in rows], pa.float64()),
            "latitude": pa.array([39.3] * len(rows), pa.float64()),
            "category": pa.array([name for _, _, name in rows], pa.string()).dictionary_encode(),
            "neighborhood_id": pa.array([int(x) for _, x, _ in rows], pa.int16()),
            "is_target": pa.array([name == "SHOOTING" for _, _, name in rows], pa.bool_()),
        },
    ).cast(ROWS)


def rows_in(deliveries: pa.Table) -> Counter[Row]:
    """Return the rows of a table and how often each occurs."""
    columns = (deliveries[name].to_pylist() for name in ("time_s", "longitude", "category"))
    return Counter(zip(*columns, strict=True))
