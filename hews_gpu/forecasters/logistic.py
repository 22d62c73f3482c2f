"""Log-odds: logistic regression on top of a given forecast, whose log-odds enter as an offset, and the log loss.

Scikit-learn's has no offset, so this is Newton's method, with steps halved where they overshoot.

Shapes: S windows, P columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hews_gpu.arrays import Bool, Float64

__all__ = ["expit", "fit_with_offset", "log_loss_each_bits", "logit", "require_pair"]

STEPS, HALVINGS = 50, 30
CLOSE = 1e-10  # of the log-likelihood, relative: far below any score's precision
EPSILON = 1e-12  # a forecast of exactly 0 or 1 that fails costs 40 bits, not infinitely many
FURTHEST = 40.0  # log-odds of a forecast that is certain to 17 digits


def logit(p: ArrayLike) -> Float64:
    """Return the log-odds of probabilities; those of 0 and 1 are cut off where no score can tell."""
    from scipy.special import logit as plain

    return np.asarray(np.clip(plain(np.asarray(p, dtype=np.float64)), -FURTHEST, FURTHEST), dtype=np.float64)


def expit(x: Float64) -> Float64:
    """Return the probabilities of log-odds."""
    from scipy.special import expit as plain

    return np.asarray(plain(x), dtype=np.float64)


def fit_with_offset(
    x: Float64, y: Bool | Float64, offset: Float64 | float = 0.0, ridge: Float64 | float = 0.0
) -> Float64:
    """Return coefficients [P] that maximize the likelihood of ``logit P(y) = offset + x @ coefficients``.

    Args:
        x: [S, P], with a column of ones where an intercept is wanted.
        y: [S] outcomes, or their true probabilities.
        offset: [S] log-odds of the forecast to start from.
        ridge: precision of a normal prior around 0, for each coefficient; without one, an answer may not exist.
    """
    beta = np.zeros(x.shape[1])
    penalty = np.broadcast_to(np.asarray(ridge, dtype=np.float64), beta.shape)
    best = _value(x, y, offset, beta, penalty)
    for _ in range(STEPS):
        p = expit(offset + x @ beta)
        gradient = x.T @ (y - p) - penalty * beta
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        for _ in range(HALVINGS):
            value = _value(x, y, offset, beta + step, penalty)
            if value >= best:
                break
            step /= 2
        else:
            return beta
        beta, gained, best = beta + step, value - best, value
        if gained <= CLOSE * abs(best):
            break
    return beta


def _value(x: Float64, y: Bool | Float64, offset: Float64 | float, beta: Float64, penalty: Float64) -> float:
    """Return the log-likelihood less the penalty."""
    eta = offset + x @ beta
    return float(np.sum(y * eta - np.logaddexp(0.0, eta)) - 0.5 * np.sum(penalty * beta**2))


def log_loss_each_bits(y: ArrayLike, p: ArrayLike) -> Float64:
    """Return the surprise [S] of each outcome in bits, -log2 of the probability it was given (Good, 1952)."""
    y, p = require_pair(y, p)
    given = np.where(y == 1, p, 1 - p)
    return -np.log2(np.maximum(given, EPSILON))


def require_pair(y: ArrayLike, p: ArrayLike) -> tuple[Float64, Float64]:
    """Return outcomes and forecasts as float64 [S], checked."""
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1 or len(y) == 0:
        raise ValueError(f"outcomes and forecasts must be equally long, got {y.shape} and {p.shape}")
    if not np.all((y == 0) | (y == 1)):
        raise ValueError("outcomes must be 0 or 1")
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"forecasts must be probabilities, got {np.nanmin(p)}..{np.nanmax(p)}")
    return y, p
