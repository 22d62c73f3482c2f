"""The climatology at its recent level: raised or lowered by how the last weeks and the last year went against it.

Shapes: S windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import TARGETS, Catalog, Outcomes
from hews_gpu.forecasters.climatology import Climatology, fit_climatology
from hews_gpu.forecasters.logistic import expit, fit_with_offset
from hews_gpu.units import DAY_S

__all__ = ["PRIOR_LEVEL", "Level", "LevelFit", "Recent"]

LEVELS_S = (28 * DAY_S, 365 * DAY_S)
PRIOR_EVENTS = 20.0  # a level is drawn towards the long-run one as if so many events had confirmed that
PRIOR_LEVEL = 4.0  # precision of the normal prior of each level's weight: between 0 (ignored) and 1 (believed)


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
    def fitted(cls, past: Catalog, train: Outcomes) -> Recent:
        """Fit the climatology, and count in the training windows and the rows known when the fit is made."""
        windows, climatology = train.windows, fit_climatology(train.windows.begin_s, train.y)
        step_s = int(windows.begin_s[1] - windows.begin_s[0]) if len(windows) > 1 else windows.horizon_s
        begin_s, end_s = int(windows.begin_s[0]), int(windows.end_s[-1])
        is_event = past.is_event & past.within(begin_s, end_s)
        hazard = -np.log1p(-climatology.probability(windows.begin_s)).sum()
        first_s = int(past.time_s.min())
        begin_s += -((begin_s - first_s) // step_s) * step_s
        share = float(is_event.sum() / hazard)
        return cls(begin_s=begin_s, step_s=step_s, events_per_hazard=share, climatology=climatology)

    def ratios(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log ratio [S, 2] over the last 28 and 365 days, held near 0 where few were expected."""
        last_s = int(windows.issue_s[-1])
        grid_s = np.arange(self.begin_s, max(last_s, self.begin_s) + self.step_s, self.step_s, dtype=np.int64)
        hazard = -np.log1p(-self.climatology.probability(grid_s)) * self.events_per_hazard
        expected = np.concatenate([[0.0], np.cumsum(hazard)])
        now_s = windows.issue_s - seen.delay_s
        column = seen.columns((TARGETS,))
        ratios = []
        for span_s in LEVELS_S:
            hits = seen.counted(windows.issue_s, column, 1, span_s)[:, 0]
            now, then = (np.interp(edge, grid_s, expected[:-1]) for edge in (now_s, now_s - span_s))
            ratios.append(np.log((hits + PRIOR_EVENTS) / (now - then + PRIOR_EVENTS)))
        return np.stack(ratios, axis=1)


@dataclass(frozen=True, kw_only=True)
class LevelFit:
    """What `Level` learns."""

    climatology: Climatology
    recent: Recent
    weights: Float64  # [2] of the levels of 28 and 365 days


class Level:
    """The forecaster; how far it follows each level is fitted."""

    fitted: LevelFit

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        recent = Recent.fitted(past, train)
        x, offset = recent.ratios(past, train.windows), recent.climatology.logit(train.windows.begin_s)
        weights = fit_with_offset(x, train.y, offset, PRIOR_LEVEL)
        self.fitted = LevelFit(climatology=recent.climatology, recent=recent, weights=weights)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return expit(self.log_odds(seen, windows))

    def log_odds(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log-odds [S]."""
        moved = self.fitted.recent.ratios(seen, windows) @ self.fitted.weights
        return self.fitted.climatology.logit(windows.begin_s) + moved
