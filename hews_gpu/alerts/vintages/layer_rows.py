"""Rows of a layer in a vintage store: those of incidents, and when each is known by the rule of its layer.

A row that a delivery brought counts from then on, and among the rows that count, as known since its layer's rule says:
so it was in training. Rows of the whole city have no place, and what was measured stands in columns of its own.

Shapes: R rows, V columns of values.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.alerts.vintages.compare import ROWS
from hews_gpu.alerts.vintages.store import Store
from hews_gpu.data.events import VALUE, LayerRows

__all__ = ["rows_as_of", "table_of"]

KNOWN = "known_s"


def table_of(layer: LayerRows) -> pa.Table:
    """Return a layer with the columns of `compare.ROWS`, known_s and one for each value."""
    names = pa.array(layer.categories or ("",), pa.string())
    columns = {
        "time_s": layer.time_s,
        "longitude": layer.longitude if layer.has_places else np.zeros(len(layer)),
        "latitude": layer.latitude if layer.has_places else np.zeros(len(layer)),
        "category": pa.DictionaryArray.from_arrays(pa.array(layer.category, pa.int32()), names),
        "neighborhood_id": layer.neighborhood,
        "is_target": np.zeros(len(layer), bool),
    }
    table = pa.table([*map(pa.array, columns.values())], schema=ROWS).append_column(KNOWN, pa.array(layer.known_s))
    for name, value in zip(layer.measures, [] if layer.value is None else layer.value.T, strict=True):
        table = table.append_column(f"{VALUE}{name}", pa.array(value))
    return table


def rows_as_of(store: Store, when_s: int, trained: LayerRows) -> LayerRows:
    """Return the rows of a layer that deliveries had brought when a forecast is issued.

    Args:
        store: of its deliveries.
        when_s: the issue time.
        trained: the layer as the run was trained on it.
    """
    table = store.as_of(when_s)
    column = {name: np.ascontiguousarray(table[name].to_numpy()) for name in table.column_names if name != "category"}
    names = table["category"].cast(pa.string())
    categories = sorted(names.unique().to_pylist())
    nowhere, values = np.full(len(table), np.nan), [column[f"{VALUE}{name}"] for name in trained.measures]
    return LayerRows(
        name=trained.name,
        time_s=column["time_s"],
        known_s=column[KNOWN],
        category=pc.index_in(names, pa.array(categories, pa.string())).to_numpy().astype(np.int16),
        neighborhood=column["neighborhood_id"],
        longitude=column["longitude"] if trained.has_places else nowhere,
        latitude=column["latitude"] if trained.has_places else nowhere,
        categories=tuple(categories) if trained.categories else (),
        value=None if trained.has_places else np.array(values).reshape(-1, len(table)).T,
        measures=trained.measures,
        names_areas=trained.names_areas,
    )
