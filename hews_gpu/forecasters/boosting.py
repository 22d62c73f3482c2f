"""Gradient boosting on past counts: what is there to gain from recent incidents by category and neighborhood?

Columns: the calendar, the climatology's log-odds, the level of the last 28 and 365 days, decayed counts of every
category city-wide, and of every category in every neighborhood as far as they are worth looking at: of these (some
thousands) the training windows choose the ones that go together best with what the climatology left unexplained.
Trees are scikit-learn's HistGradientBoostingClassifier (after LightGBM: Ke et al., 2017, NeurIPS).

Shapes: S windows, K columns.
"""

from __future__ import annotations

import numpy as np

from hews_gpu.arrays import Bool, Float32, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.climatology import hour_of_week, month_of_year
from hews_gpu.forecasters.level import Recent
from hews_gpu.forecasters.threads import one_thread
from hews_gpu.units import HOUR_S

__all__ = ["Boosting", "strongest"]

CITY_DECAYS_S = (2 * HOUR_S, 8 * HOUR_S, 24 * HOUR_S, 168 * HOUR_S)
AREA_DECAYS_S = (4 * HOUR_S, 12 * HOUR_S)
AREA_COLUMNS = 48  # of some thousands
TREES = {"max_iter": 150, "learning_rate": 0.06, "max_leaf_nodes": 4, "min_samples_leaf": 200, "max_features": 0.3}
L2 = 50.0


class Boosting:
    """The forecaster; a seed decides which columns each split may use.

    Its trees can be stored only as code that a reader would have to run, so a run is refitted instead.
    """

    fitted = None

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        windows = train.windows
        self._streams = tuple(past.streams[k] for k in np.unique(past.stream))
        self._recent = Recent.fitted(past, train)
        self._chosen = self._choose(past, train)
        trees = HistGradientBoostingClassifier(
            **TREES, l2_regularization=L2, early_stopping=False, random_state=self._seed
        )
        x = self._columns(past, windows)
        with one_thread():
            self._trees = trees.fit(x, train.y)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        x = self._columns(seen, windows)
        with one_thread():
            return np.asarray(self._trees.predict_proba(x)[:, 1], dtype=np.float64)

    def _choose(self, past: Catalog, train: Outcomes) -> list[tuple[float, Int64]]:
        """Return decays with the (category, neighborhood) columns that look most informative."""
        p = self._recent.climatology.probability(train.windows.begin_s)
        columns = len(self._streams) * past.areas
        by_area = past.columns(self._streams, by_area=True)
        scores = [
            strongest(past.decayed(train.windows.issue_s, by_area, columns, decay_s), train.y, p)
            for decay_s in AREA_DECAYS_S
        ]
        best = np.argsort(-np.concatenate(scores), kind="stable")[:AREA_COLUMNS]
        return [(decay_s, np.sort(best[best // columns == i] % columns)) for i, decay_s in enumerate(AREA_DECAYS_S)]

    def _columns(self, seen: Catalog, windows: Windows) -> Float32:
        """Return all that the trees look at [S, K]."""
        logit, hour = self._recent.climatology.logit(windows.begin_s), hour_of_week(windows.begin_s)
        calendar = np.stack([logit, hour % 24, hour // 24, month_of_year(windows.begin_s)], axis=1)
        city = seen.columns(self._streams)
        parts = [calendar, self._recent.ratios(seen, windows)]
        parts += [seen.decayed(windows.issue_s, city, len(self._streams), decay_s) for decay_s in CITY_DECAYS_S]
        by_area = seen.columns(self._streams, by_area=True)
        for decay_s, chosen in self._chosen:
            lookup = np.full(len(self._streams) * seen.areas + 1, -1)
            lookup[chosen] = np.arange(len(chosen))
            parts.append(seen.decayed(windows.issue_s, lookup[by_area], len(chosen), decay_s))
        return np.hstack(parts, dtype=np.float32, casting="same_kind")


def strongest(x: Float64, y: Bool, p: Float64) -> Float64:
    """Return how far each column [K] goes with what a forecast left unexplained: |score statistic| of its slope.

    Args:
        x: [S, K] columns.
        y: outcomes [S].
        p: the forecast [S].
    """
    weight = p * (1 - p)
    centered_sum = (y - p) @ x - (y - p).sum() * (weight @ x) / weight.sum()
    spread = weight @ x**2 - (weight @ x) ** 2 / weight.sum()
    return np.asarray(np.abs(centered_sum) / np.sqrt(np.maximum(spread, 1e-12)), dtype=np.float64)
