"""Forecasters: what can be fitted on the past and then gives a probability per window; and the simplest of them.

Every baseline and every model is one of these, so that all go through one protocol. A fit is handed a catalog that ends
where the fit may look no further; a forecast is made from the full one through `Catalog`'s counts, which stop at each
issue time.

Shapes: S windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.forecasters.catalog import TARGETS, Catalog, Outcomes, Windows
from hews_gpu.forecasters.climatology import Climatology, base_rate, fit_climatology
from hews_gpu.forecasters.logistic import fit_with_offset
from hews_gpu.units import DAY_S

__all__ = ["CLIMATOLOGY", "BaseRate", "Entry", "Forecaster", "HourOfWeekMonth", "Level", "Recent", "SaysWhere"]

LEVELS_S = (28 * DAY_S, 365 * DAY_S)
CLIMATOLOGY = "climatology"
"""The forecaster that skill is measured against, by its name."""
PRIOR_EVENTS = 20.0  # a level is drawn towards the long-run one as if so many events had confirmed that
PRIOR_LEVEL = 4.0  # precision of the normal prior of each level's weight: between 0 (ignored) and 1 (believed)


class Forecaster(Protocol):
    """A way to forecast."""

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        """Learn.

        Args:
            past: the rows known when the fit is made; no later ones.
            train: windows to fit on.
            calibration: later windows, to calibrate on; a forecaster may leave them alone.
        """

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        """Probabilities [S] of a target in each window, in order of time, from the rows known before each issue."""


@runtime_checkable
class SaysWhere(Protocol):
    """A forecaster that also says in which neighborhood."""

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Probabilities [S, N] of a target in each window and neighborhood."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A forecaster in a registry."""

    title: str
    make: Callable[[int], Forecaster]
    """A new one from a seed."""
    is_random: bool = False
    """Whether the seed matters: then it is fitted with several."""


class BaseRate:
    """The share of training windows with a target, always."""

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        self._rate = base_rate(train.y)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return np.full(len(windows), self._rate)


class HourOfWeekMonth:
    """The climatology: hour of the week and month, additive in log-odds."""

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        self._climatology = fit_climatology(train.windows.begin_s, train.y)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self._climatology.probability(windows.begin_s)


class Level:
    """The climatology, raised or lowered by how the last 28 and 365 days went against it; weights fitted."""

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        windows = train.windows
        self._climatology = fit_climatology(windows.begin_s, train.y)
        self._recent = Recent.fitted(past, windows, self._climatology)
        x, offset = self._recent.ratios(past, windows), self._climatology.logit(windows.begin_s)
        self._weights = fit_with_offset(x, train.y, offset, PRIOR_LEVEL)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        from scipy.special import expit

        moved = self._climatology.logit(windows.begin_s) + self._recent.ratios(seen, windows) @ self._weights
        return np.asarray(expit(moved), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Recent:
    """How many target events became known of late, against the number that the climatology expected."""

    begin_s: int
    """Since when events are counted."""
    step_s: int
    """From one window to the next."""
    events_per_hazard: float
    """Target events in the training time, per -log(1 - p) that the climatology gives."""
    climatology: Climatology

    @classmethod
    def fitted(cls, past: Catalog, windows: Windows, climatology: Climatology) -> Recent:
        """From training windows and the rows known when the fit is made."""
        step_s = int(windows.begin_s[1] - windows.begin_s[0]) if len(windows) > 1 else windows.horizon_s
        begin_s, end_s = int(windows.begin_s[0]), int(windows.end_s[-1])
        is_event = past.is_target & past.is_first & (past.time_s >= begin_s) & (past.time_s < end_s)
        hazard = -np.log1p(-climatology.probability(windows.begin_s)).sum()
        first_s = int(past.time_s.min())
        begin_s += -((begin_s - first_s) // step_s) * step_s
        share = float(is_event.sum() / hazard)
        return cls(begin_s=begin_s, step_s=step_s, events_per_hazard=share, climatology=climatology)

    def ratios(self, seen: Catalog, windows: Windows) -> Float64:
        """[S, 2] log ratio over the last 28 and 365 days; held near 0 by a prior where little was expected."""
        last_s = int(windows.issue_s[-1])
        grid_s = np.arange(self.begin_s, max(last_s, self.begin_s) + self.step_s, self.step_s, dtype=np.int64)
        hazard = -np.log1p(-self.climatology.probability(grid_s)) * self.events_per_hazard
        expected = np.concatenate([[0.0], np.cumsum(hazard)])
        now_s = windows.issue_s - seen.delay_s
        column = seen.columns((TARGETS,))
        found = []
        for span_s in LEVELS_S:
            hits = seen.counted(windows.issue_s, column, 1, span_s)[:, 0]
            now, then = (np.interp(edge, grid_s, expected[:-1]) for edge in (now_s, now_s - span_s))
            found.append(np.log((hits + PRIOR_EVENTS) / (now - then + PRIOR_EVENTS)))
        return np.stack(found, axis=1)
