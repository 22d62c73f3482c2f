"""What the calendar says of a target window: smooth functions of the local time at which it starts.

Shapes: S samples, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hews_gpu.units import DAY_S, WEEK_S

__all__ = ["FEATURES", "calendar_features"]

YEAR_S = 365.2425 * DAY_S
# (period, harmonics): three per day and week draw the evening and weekend peaks, two per year the summer.
CYCLES = ((DAY_S, 3), (WEEK_S, 3), (YEAR_S, 2))
FEATURES = 2 * sum(harmonics for _, harmonics in CYCLES)


def calendar_features(begin_s: NDArray[np.int64]) -> NDArray[np.float32]:
    """Sines and cosines of the hour of day, the time of week and the day of year.

    Args:
        begin_s: local starts of the target windows, int64 [S].

    Returns:
        float32 [S, F], all within -1..1.
    """
    columns: list[NDArray[np.float64]] = []
    for period_s, harmonics in CYCLES:
        phase = 2 * np.pi * (np.asarray(begin_s, dtype=np.int64) % period_s) / period_s
        columns += [wave(k * phase) for k in range(1, harmonics + 1) for wave in (np.sin, np.cos)]
    return np.stack(columns, axis=1).astype(np.float32)
