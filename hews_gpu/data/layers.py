"""Layers: other tables of what happened where and when, which forecasts may read beside the incidents.

A layer is prepared as incidents are, into a folder of its own, and what is counted of it are its rows by category. When
a row is known is part of it: so long after it happened, not before a step of the resolution of its times has passed (a
row that tells only the day is known the day after), and not before a column says so.

Shapes: R rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu import progress
from hews_gpu.arrays import Float64, Int16, Int64
from hews_gpu.config import LayerConfig, SplitsConfig
from hews_gpu.data.coverage import FEW, coverage_of, require_covered
from hews_gpu.data.events import LAYERS, QUALITY, Prepared, load_events
from hews_gpu.errors import UserError
from hews_gpu.own_files import read_json
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["LayerRows", "check_layer", "load_layer", "load_layers"]

NEVER = np.iinfo(np.int64).min
ALIKE, MORE_ALIKE, LEAST_HOURS = 0.9, 0.2, 3  # correlations of the hours of the day that tell two clocks apart
MOST_EARLY = 0.5  # of the rows may be known before they happened: reports of a day are dated at its first second


@dataclass(frozen=True, kw_only=True)
class LayerRows:
    """The rows of a layer, sorted by time."""

    name: str
    time_s: Int64  # [R] local wall-clock seconds
    known_s: Int64  # [R] from when on each is known
    category: Int16  # [R] index into `categories`
    neighborhood: Int16  # [R]
    longitude: Float64  # [R] degrees
    latitude: Float64  # [R] degrees
    categories: tuple[str, ...]
    early: int = 0
    """Rows that would be known before they happened; they are known when they did."""

    def __len__(self) -> int:
        return len(self.time_s)

    def until(self, end_s: int) -> LayerRows:
        """Return the rows that happened before a moment."""
        kept = slice(int(np.searchsorted(self.time_s, end_s)))
        columns: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **{name: value[kept] for name, value in columns.items()})


def load_layer(prepared: Path, layer: LayerConfig) -> LayerRows:
    """Read a layer of a PREPARED folder.

    Raises:
        UserError: it is not there.
    """
    folder = prepared / LAYERS / layer.name
    events = load_events(folder)
    quality = read_json(folder / QUALITY, {"times": {"resolution_s": int}}, remedy="Run 'hews prepare' again")
    table = pq.read_table(folder / "incidents.parquet", columns=["known_s", "is_overlap"])
    said = table.filter(pc.invert(table["is_overlap"]))["known_s"].fill_null(NEVER).to_numpy()
    waits_s = max(layer.delay_s, quality["times"]["resolution_s"])
    return LayerRows(
        name=layer.name,
        time_s=events.time_s,
        known_s=np.maximum(events.time_s + waits_s, said),
        category=events.category,
        neighborhood=events.neighborhood,
        longitude=events.longitude,
        latitude=events.latitude,
        categories=events.categories,
        early=int(((said < events.time_s) & (said > NEVER)).sum()),
    )


def load_layers(prepared: Prepared) -> list[LayerRows]:
    """Read all layers of a city, in the order of its file."""
    return [load_layer(prepared.folder, layer) for layer in prepared.city.layers]


def check_layer(rows: LayerRows, incidents_s: Int64, splits: SplitsConfig | None) -> None:
    """Refuse a layer that does not reach over the splits: where it is silent, nothing is known, and not nothing.

    Args:
        rows: its rows.
        incidents_s: when incidents happened, for the rhythm of their day.
        splits: of the city; None where nothing is trained.

    Raises:
        UserError: then; or it has too few rows, or most are known before they happened.
    """
    if len(rows) < FEW:
        raise UserError("files", allowed=f"hold {len(rows)} rows that can be used; at least {FEW} are needed")
    if rows.early > len(rows) * MOST_EARLY:
        allowed = f"{rows.early:,} of {len(rows):,} rows would be known before they happened"
        raise UserError("columns known", allowed=allowed, remedy="Name the column that tells when a row was reported")
    if rows.early:
        progress.log(f"warning: {rows.early:,} rows say that they were known before they happened: known when they did")
    if hours := _other_clock(rows.time_s, incidents_s):
        told = f"{abs(hours)} hours {'earlier' if hours > 0 else 'later'}"
        progress.log(f"warning: the hours of its rows are those of the incidents {told}: is one by another clock?")
    if splits is not None:
        require_covered(splits, coverage_of(Counter((rows.time_s // DAY_S).tolist()), {}))


def _other_clock(time_s: Int64, incidents_s: Int64) -> int:
    """Return by how many hours rows would have to be later to have the incidents' rhythm; 0 if they may have it now.

    The rhythms of two tables of one kind are alike, those of crimes and of gunfire are not: of these nothing is said.
    """
    own, theirs = (np.bincount(when_s // HOUR_S % 24, minlength=24) for when_s in (time_s, incidents_s))
    if not own.std() or not theirs.std():
        return 0
    alike = np.array([np.corrcoef(theirs, np.roll(own, hours))[0, 1] for hours in range(24)])
    best = int(np.argmax(alike))
    hours = (best + 12) % 24 - 12
    is_clear = alike[best] >= ALIKE and alike[best] - alike[0] >= MORE_ALIKE and abs(hours) >= LEAST_HOURS
    return hours if is_clear else 0
