"""The climatology and the recent level beside a run's model: fitted like it, and warned of under the same policy.

Neither the record nor they themselves say where: their probabilities are spread over the neighborhoods by the shares of
the events of the training time.

Shapes: S issue times, N neighborhoods.
"""

from __future__ import annotations

import numpy as np

from hews_gpu.alerts.decide import Thresholds, Warning, decide
from hews_gpu.alerts.forecasts import Said, windows_at
from hews_gpu.alerts.policy import Policy
from hews_gpu.alerts.thresholds import calibration_times, set_thresholds
from hews_gpu.arrays import Float64
from hews_gpu.data.windows import Task, Windows
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Forecaster, SaysWhere, Setting
from hews_gpu.forecasters.catalog import Catalog
from hews_gpu.forecasters.level import spread
from hews_gpu.forecasters.neighborhoods import LongRun
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.runs.run import Run, given

__all__ = ["NAMES", "References"]

NAMES = (CLIMATOLOGY, LEVEL)
CELLS_AT_ONCE = 1 << 21  # windows times neighborhoods: 16 MB


class References:
    """Both, fitted on what the run was.

    Args:
        run: opened.
    """

    def __init__(self, run: Run) -> None:
        self._city = run.prepared.city
        self._table_s = run.experiment.city.begin_s, run.experiment.city.end_s
        experiment = run.experiment
        past, train, calibration = given(experiment)
        self._seen = experiment.catalog
        self._fitted = {name: FORECASTERS[name].make(Setting(city=experiment.city)) for name in NAMES}
        for forecaster in self._fitted.values():
            forecaster.fit(past, train, calibration)
        end_s = np.array([experiment.folds[0].known_until_s], dtype=np.int64)
        says_where = isinstance(run.forecaster, SaysWhere)
        self.shares: Float64 | None = LongRun(experiment.city.ground).shares(past, end_s)[0] if says_where else None
        """[N] of the events of the training time; None where the run's model does not say where."""

    @property
    def level(self) -> Forecaster:
        """The calendar at its recent level."""
        return self._fitted[LEVEL]

    def thresholds(self, policy: Policy, first_issue_s: int) -> dict[str, Thresholds]:
        """Return the thresholds of each, set on the same block as the model's.

        Args:
            policy: of the run.
            first_issue_s: the first time at which a warning may be given.
        """
        issue_s = calibration_times(policy, self._city, first_issue_s, self._table_s)
        windows = windows_at(issue_s, Task.of_city(self._city))
        return {
            name: set_thresholds(policy, self._said(windows, forecaster.predict(self._seen, windows)), name)
            for name, forecaster in self._fitted.items()
        }

    def forecast(self, seen: Catalog, windows: Windows) -> dict[str, Float64]:
        """Return the probabilities [S] of the city by each, from the rows known at each issue."""
        return {name: forecaster.predict(seen, windows) for name, forecaster in self._fitted.items()}

    def _said(self, windows: Windows, p: Float64) -> Said:
        return Said(windows=windows, p=p, areas=None if self.shares is None else spread(p, self.shares))

    def warnings(
        self, policy: Policy, thresholds: Thresholds, windows: Windows, p: Float64, past: list[Warning]
    ) -> list[Warning]:
        """Return the warnings that the policy gives on a reference's forecasts.

        Args:
            policy: of the run.
            thresholds: of the reference.
            windows: S, in order.
            p: [S] of the city; nan where there is none.
            past: the warnings given before.
        """
        given, at_once = list(past), max(1, CELLS_AT_ONCE // len(self.shares if self.shares is not None else [0]))
        for first in range(0, len(windows), at_once):
            some = np.arange(first, min(first + at_once, len(windows)))
            given += decide(policy, thresholds, self._said(windows.select(some), p[some]), given)
        return given[len(past) :]
