"""Log-odds: logistic regression on top of a given forecast, whose log-odds enter as an offset, and the log loss.

Scikit-learn's has no offset, so this is Newton's method, with steps halved where they overshoot.

Shapes: S windows, P columns.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike

from hews_gpu.arrays import Bool, Float64
from hews_gpu.forecasters.threads import one_thread

__all__ = ["expit", "fit_with_offset", "log_evidence", "log_loss_each_bits", "logit", "require_pair"]

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
    x: Float64,
    y: Bool | Float64,
    offset: Float64 | float = 0.0,
    ridge: Float64 | float = 0.0,
    count: Float64 | float = 1.0,
) -> Float64:
    """Return coefficients [P] that maximize the likelihood of ``logit P(y) = offset + x @ coefficients``.

    Args:
        x: [S, P], with a column of ones where an intercept is wanted.
        y: [S] outcomes, or their true probabilities; of several windows in a row, how many came true.
        offset: [S] log-odds of the forecast to start from.
        ridge: precision of a normal prior around 0, for each coefficient; without one, an answer may not exist.
        count: [S] how many windows each row stands for.
    """
    with one_thread():  # sums in the same order on any machine
        return _fitted(x, y, offset, np.broadcast_to(np.asarray(ridge, dtype=np.float64), (x.shape[1],)), count)


def _fitted(
    x: Float64, y: Bool | Float64, offset: Float64 | float, penalty: Float64, count: Float64 | float
) -> Float64:
    """Return what `fit_with_offset` does."""
    beta = np.zeros(x.shape[1])
    best = _value(x, y, offset, beta, penalty, count)
    for _ in range(STEPS):
        gradient = x.T @ (y - count * expit(offset + x @ beta)) - penalty * beta
        step = _solved(_curvature(x, offset, beta, penalty, count), gradient, is_regular=bool(penalty.all()))
        for _ in range(HALVINGS):
            value = _value(x, y, offset, beta + step, penalty, count)
            if value >= best:
                break
            step /= 2
        else:
            return beta
        beta, gained, best = beta + step, value - best, value
        if gained <= CLOSE * abs(best):
            break
    return beta


def _solved(curvature: Float64, gradient: Float64, *, is_regular: bool) -> Float64:
    """Return Newton's step [P], the shortest one of a singular curvature; quickly where a prior makes it regular."""
    if not np.isfinite(gradient).all():
        raise ValueError("columns, outcomes and offsets must be finite numbers")
    if is_regular:
        with suppress(np.linalg.LinAlgError):  # rounding can take the prior away
            return np.asarray(np.linalg.solve(curvature, gradient), dtype=np.float64)
    return np.asarray(np.linalg.lstsq(curvature, gradient, rcond=None)[0], dtype=np.float64)


def log_evidence(x: Float64, y: Bool | Float64, beta: Float64, ridge: Float64, count: Float64 | float = 1.0) -> float:
    """Return the log probability of the outcomes with all coefficients integrated out, by Laplace's approximation.

    Args:
        x: as of `fit_with_offset`, without an offset.
        y: likewise.
        beta: what that returned.
        ridge: of every coefficient.
        count: likewise.
    """
    with one_thread():
        curvature = _curvature(x, 0.0, beta, ridge, count)
        value = _value(x, y, 0.0, beta, ridge, count)
        return value + 0.5 * float(np.log(ridge).sum() - np.linalg.slogdet(curvature)[1])


def _curvature(x: Float64, offset: Float64 | float, beta: Float64, penalty: Float64, count: Float64 | float) -> Float64:
    """Return minus the second derivative [P, P] of `_value`."""
    p = expit(offset + x @ beta)
    return np.asarray((x * (count * p * (1 - p))[:, None]).T @ x + np.diag(penalty), dtype=np.float64)


def _value(
    x: Float64,
    y: Bool | Float64,
    offset: Float64 | float,
    beta: Float64,
    penalty: Float64,
    count: Float64 | float,
) -> float:
    """Return the log-likelihood less the penalty."""
    eta = offset + x @ beta
    return float(np.sum(y * eta - count * np.logaddexp(0.0, eta)) - 0.5 * np.sum(penalty * beta**2))


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
