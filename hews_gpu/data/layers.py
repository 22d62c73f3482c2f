"""What is wrong with a layer, another table that forecasts may read beside the incidents, is told before it is used.

A layer is prepared as incidents are, into a folder of its own, and what is counted of it are its rows by category.

Shapes: R rows.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from hews_gpu import progress
from hews_gpu.arrays import Int64
from hews_gpu.config import SplitsConfig
from hews_gpu.data.coverage import FEW, coverage_of, require_covered
from hews_gpu.data.events import LayerRows
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["check_layer"]

ALIKE, MORE_ALIKE, LEAST_HOURS = 0.9, 0.2, 3  # correlations of the hours of the day that tell two clocks apart
MOST_EARLY = 0.5  # of the rows may be known before they happened: reports of a day are dated at its first second


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
