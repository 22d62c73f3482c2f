"""Whether probabilities mean what they say: slope and intercept, smooth calibration error, reliability with bands.

Shapes: S windows in time order, D bootstrap draws, G grid points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hews_gpu.arrays import Float64
from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.metrics import reliability
from hews_gpu.forecasters.logistic import fit_with_offset, logit

__all__ = ["calibration", "calibration_slope", "slopes_drawn", "smooth_calibration_error"]

NARROWEST, HALVINGS = 1e-3, 20  # kernel widths below a thousandth of a probability tell nothing apart
POINTS_PER_WIDTH, FEWEST_POINTS = 12, 400


def calibration_slope(y: ArrayLike, p: ArrayLike) -> tuple[float, float]:
    """Return slope and intercept of ``logit P(y) = intercept + slope * logit(p)``; 1 and 0 for a calibrated forecast.

    Outcomes are 0 or 1; with the true probabilities in their place, the result has none of the outcomes' noise.
    A slope below 1 says that forecasts are too extreme, above 1 too timid. (Cox, 1958, Biometrika 45.) A forecast
    that never varies has no slope: nan, and the intercept that its level lacks.
    """
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    log_odds = logit(p)
    ones = np.ones((len(y), 1))
    if np.ptp(log_odds) == 0:
        return float("nan"), float(fit_with_offset(ones, y, log_odds)[0])
    center = log_odds.mean()
    level, slope = fit_with_offset(np.hstack([ones, (log_odds - center)[:, None]]), y)
    return float(slope), float(level - slope * center)


def slopes_drawn(y: ArrayLike, p: ArrayLike, blocks: Blocks) -> Float64:
    """Return the slopes [D] in the drawn series, each one Newton step from the slope of all windows.

    One step from the estimate has the distribution of the full fit to the order that a bootstrap is good for
    (Davidson & MacKinnon, 1999, International Economic Review 40). Its gradient and curvature are sums over windows.
    """
    y, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    slope, intercept = calibration_slope(y, p)
    if not np.isfinite(slope):
        return np.full(len(blocks.starts), np.nan)
    log_odds = logit(p)
    center = log_odds.mean()
    x = log_odds - center
    fitted = 1 / (1 + np.exp(-(intercept + slope * log_odds)))
    weight, miss = fitted * (1 - fitted), y - fitted
    g0, g1, h00, h01, h11 = blocks.sums(np.stack([miss, miss * x, weight, weight * x, weight * x * x], axis=1)).T
    return np.asarray(slope + (h00 * g1 - h01 * g0) / (h00 * h11 - h01**2), dtype=np.float64)


def smooth_calibration_error(y: ArrayLike, p: ArrayLike) -> float:
    """Return the smooth calibration error, smECE: 0 is perfect; no bins to choose.

    For a width w, smear each window's miss, ``y - p``, over the forecasts around its own with a normal kernel of
    that width, reflected at 0 and 1, and integrate the absolute value. That falls as w grows; smECE is
    where it equals w. (Blasiok & Nakkiran, 2023, arXiv:2309.12236, definition 3 and section 4.)
    """
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    low, high = NARROWEST, 1.0
    if _smeared(y, p, low) <= low:
        return _smeared(y, p, low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _smeared(y, p, middle) > middle else (low, middle)
    return (low + high) / 2


def _smeared(y: Float64, p: Float64, width: float) -> float:
    """Return the integral over [0, 1] of the absolute smeared miss."""
    from scipy.ndimage import gaussian_filter1d

    points = max(FEWEST_POINTS, int(np.ceil(POINTS_PER_WIDTH / width)))
    place = p * points - 0.5  # cells of a grid, each with its middle at (i + 0.5) / G; shared between the two nearest
    left = np.floor(place).astype(np.int64)
    share = place - left
    miss = (y - p) / len(y)
    cells = np.zeros(points)
    np.add.at(cells, np.clip(left, 0, points - 1), miss * (1 - share))
    np.add.at(cells, np.clip(left + 1, 0, points - 1), miss * share)
    return float(np.abs(gaussian_filter1d(cells, width * points, mode="reflect", truncate=6.0)).sum())


def calibration(y: ArrayLike, p: ArrayLike, blocks: Blocks) -> dict[str, Any]:
    """Return all of it, as JSON can hold it; None where a forecast never varies.

    Args:
        y: outcomes [S].
        p: forecasts [S].
        blocks: drawn series of the same windows, for the slope's interval.
    """
    slope, intercept = calibration_slope(y, p)
    has_slope = bool(np.isfinite(slope))
    y, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    return {
        "slope": slope if has_slope else None,
        "slope_interval": interval(slopes_drawn(y, p, blocks)) if has_slope else None,
        "intercept": intercept,
        "in_the_large": float(fit_with_offset(np.ones((len(y), 1)), y, logit(p))[0]),
        "smooth_calibration_error": smooth_calibration_error(y, p),
        "reliability": reliability(y, p),
    }
