"""What a forecast is worth to somebody who can act: relative economic value by cost-loss ratio.

Acting costs C; a target that nobody acted for loses L. Who acts whenever the forecast is at least C / L spends less
than who only knows the base rate; the value is the share of what perfect knowledge would save: 1 at best, 0 no better
than the base rate, below 0 worse. (Richardson, 2000, Quarterly Journal of the Royal Meteorological Society 126.)

Shapes: S windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hews_gpu.forecasters.logistic import require_pair

__all__ = ["RATIOS", "value_curve"]

RATIOS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)


def value_curve(y: ArrayLike, p: ArrayLike, ratios: tuple[float, ...] = RATIOS) -> list[dict[str, float]]:
    """Return the value for users of each cost-loss ratio, each acting at a forecast of that very ratio or more.

    nan where all windows are of one kind: perfect knowledge would save nothing.

    Args:
        y: outcomes, 0 or 1 [S].
        p: forecasts [S].
        ratios: increasing, between 0 and 1.
    """
    y, p = require_pair(y, p)
    rate = float(y.mean())
    curve = []
    for ratio in ratios:
        usual, spent = min(ratio, rate), float(np.where(p >= ratio, ratio, y).mean())
        value = (usual - spent) / (usual - ratio * rate) if 0 < rate < 1 else float("nan")
        curve.append({"cost_loss": ratio, "value": value})
    return curve
