"""Few counts of past incidents, each adding to the log-odds of the recent level, or taking away from them.

Of the columns that boosting looks at, those are taken one by one that go together best with what is still unexplained,
for as long as the likelihood of the training windows rises by more than the best of thousands would by chance. It is
the plainest law there can be: what trees approximate with many steps, and what rates that only add cannot say, such as
that one kind of incident makes another less likely, this says with one weight each.

Shapes: S windows, K columns, P of them kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.base import Forecaster, log_odds
from hews_gpu.forecasters.boosting import MOST_EVENTS, MOST_QUIET, Columns, chosen_columns, strongest
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.forward import latest, thinned
from hews_gpu.forecasters.logistic import expit, fit_with_offset

__all__ = ["Counts", "CountsFit"]

MOST = 20  # columns
LEAST_GAIN = 7.0  # nats: chance alone gives as much to one of a thousand columns
PRECISION = 1 / 0.3**2  # of the prior of each weight, of a column with standard deviation 1
SMALLEST_SPREAD = 1e-6  # of a column that says anything


@dataclass(frozen=True, kw_only=True)
class CountsFit:
    """What `Counts` learns, beside what its base does."""

    columns: Columns
    kept: Int64  # [P] positions among the columns
    center: Float64  # [P]
    spread: Float64  # [P]
    weights: Float64  # [1 + P] of a constant, and of each column


class Counts:
    """The forecaster.

    Args:
        base: whose log-odds the counts move.
    """

    fitted: CountsFit

    def __init__(self, base: Forecaster) -> None:
        self._base = base

    @property
    def parts(self) -> dict[str, Forecaster]:
        """What it asks."""
        return {"base": self._base}

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        self._base.fit(past, train, calibration)
        columns = chosen_columns(past, train)
        some, shift = thinned(latest(past, train, MOST_EVENTS), MOST_QUIET)
        x = columns.of(past, some.windows).astype(np.float64)
        center, spread = x.mean(axis=0), x.std(axis=0)
        scaled = np.where(spread > SMALLEST_SPREAD, (x - center) / np.maximum(spread, SMALLEST_SPREAD), 0.0)
        kept, weights = _picked(scaled, some.y, log_odds(self._base, past, some.windows) + shift)
        self.fitted = CountsFit(columns=columns, kept=kept, center=center[kept], spread=spread[kept], weights=weights)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return expit(self.log_odds(seen, windows))

    def log_odds(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log-odds [S]."""
        fitted = self.fitted
        base = log_odds(self._base, seen, windows)
        if not len(fitted.kept):
            return base
        x = (fitted.columns.of(seen, windows)[:, fitted.kept] - fitted.center) / fitted.spread
        return base + np.asarray((_with_constant(x) * fitted.weights).sum(axis=1), dtype=np.float64)


def _picked(x: Float64, y: Bool, offset: Float64) -> tuple[Int64, Float64]:
    """Return the columns to keep [P], and the weights [1 + P]; without any there is no constant either.

    Args:
        x: [S, K], each with mean 0 and standard deviation 1.
        y: outcomes [S].
        offset: log-odds [S] of the base.
    """
    kept: list[int] = []
    weights, log_odds_said = np.zeros(1), offset
    value = _log_likelihood(y, offset)
    while len(kept) < MOST:
        promise = strongest(x, y, expit(log_odds_said))
        promise[kept] = 0.0
        trial = [*kept, int(np.argmax(promise))]
        columns = _with_constant(x[:, trial])
        tried = fit_with_offset(columns, y, offset, PRECISION)
        said = offset + (columns * tried).sum(axis=1)
        if _log_likelihood(y, said) - value < LEAST_GAIN:
            break
        kept, weights, log_odds_said, value = trial, tried, said, _log_likelihood(y, said)
    return np.array(kept, dtype=np.int64), weights


def _log_likelihood(y: Bool, log_odds_said: Float64) -> float:
    return -float(np.logaddexp(0.0, np.where(y, -log_odds_said, log_odds_said)).sum())


def _with_constant(x: Float64) -> Float64:
    """Return columns with one of ones before them [S, 1 + P]."""
    return np.hstack([np.ones((len(x), 1)), x])
