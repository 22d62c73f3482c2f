"""The calendar at its recent level: the climatology, raised or lowered by how much has happened of late.

How fast a city's level drifts nobody knows beforehand, and it is not tuned: levels with half-lives from two weeks to
for ever run side by side, each the ratio of the target events that became known to those that the climatology expected,
older ones fading. The forecast is the mean of theirs, each weighted by the probability that it gave to all that has
happened so far (Bayesian model averaging, window by window: Dawid, 1984, J. R. Stat. Soc. A 147). A shift and a slope
of its log-odds are learned from blocks that were forecast by fits on the time before them. By neighborhood likewise:
shares of the past events with several half-lives, filled up with some events spread by area.

Shapes: S windows, G steps of the grid, H half-lives, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Step
from hews_gpu.forecasters.catalog import TARGETS, Catalog, Outcomes, settling_s
from hews_gpu.forecasters.climatology import Climatology, Days, fit_climatology
from hews_gpu.forecasters.forward import forward_blocks
from hews_gpu.forecasters.logistic import expit, fit_with_offset, logit
from hews_gpu.forecasters.sums import FAR, own_faded_sums
from hews_gpu.units import DAY_S

__all__ = ["PRIOR_LEVEL", "Level", "LevelFit", "Recent", "spread"]

FOREVER_S = float("inf")
HALF_LIVES_S = (*(days * DAY_S for days in (14, 28, 56, 112, 224, 448, 896)), FOREVER_S)
PLACE_HALF_LIVES_S = (*(days * DAY_S for days in (90, 360, 1440)), FOREVER_S)
FORWARD = (0.4, 0.6, 0.8, 1.0)
"""Parts of the training windows at which blocks to calibrate on begin and end."""
PRECISION = 1 / 0.3**2  # of the priors of shift and slope
FILLS = (0.1, 0.5, 2.0)
"""Events per neighborhood of average size that shares are filled up with."""

LEVELS_S = (28 * DAY_S, 365 * DAY_S)
SETTLED = 0.9  # of the targets of a stretch of time, so many are known once it counts
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
        begin_s += (int(past.time_s.min()) - begin_s) // step_s * step_s
        share = float(is_event.sum() / hazard)
        return cls(begin_s=begin_s, step_s=step_s, events_per_hazard=share, climatology=climatology)

    def ratios(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log ratio [S, 2] over the last 28 and 365 days, held near 0 where few were expected."""
        grid_s, expected = self._expected(max(int(windows.issue_s[-1]), self.begin_s))
        now_s = windows.issue_s - seen.delay_s
        column = seen.columns((TARGETS,))
        ratios = []
        for span_s in LEVELS_S:
            hits = seen.counted(windows.issue_s, column, 1, span_s)[:, 0]
            now, then = (np.interp(edge, grid_s, expected) for edge in (now_s, now_s - span_s))
            ratios.append(np.log((hits + PRIOR_EVENTS) / (now - then + PRIOR_EVENTS)))
        return np.stack(ratios, axis=1)

    def _expected(self, last_s: int) -> tuple[Int64, Float64]:
        """Return the steps up to a moment, and the events expected before each; the last answer is kept."""
        if (kept := self._kept.get(last_s)) is None:
            grid_s = np.arange(self.begin_s, last_s + self.step_s, self.step_s, dtype=np.int64)
            hazard = -np.log1p(-self.climatology.probability(grid_s)) * self.events_per_hazard
            kept = grid_s, np.concatenate([[0.0], np.cumsum(hazard)[:-1]])
            self._kept.clear()
            self._kept[last_s] = kept
        return kept

    @cached_property
    def _kept(self) -> dict[int, tuple[Int64, Float64]]:
        return {}


@dataclass(frozen=True, kw_only=True)
class LevelFit:
    """What `Level` learns; all else it reads off the rows known at issue."""

    climatology: Climatology
    begin_s: int
    """Since when events are counted."""
    step_s: int
    """Of the grid on which levels are kept."""
    lag_s: int
    """Rows count once they are so old: by then most that happened are known."""
    events_per_hazard: float
    """Target events in the time learned from, per -log(1 - p) that the climatology gives."""
    area_km2: Float64  # [N]
    center: float = 0.0
    """Log-odds around which the calibration turns."""
    shift: float = 0.0
    slope: float = 1.0

    @cached_property
    def kept(self) -> dict[str, tuple[tuple[bytes, ...], Float64]]:
        """What was worked out last, by name, and from what."""
        return {}


class Level:
    """The forecaster.

    Args:
        days: holidays.
        area_km2: sizes [N] of the neighborhoods; all alike unless given.
    """

    fitted: LevelFit

    def __init__(self, days: Days | None = None, area_km2: Float64 | None = None) -> None:
        self._days, self._area_km2 = days, area_km2

    def reads(self, seen: Catalog) -> Bool:
        """Return which rows [E] can move a forecast."""
        return seen.is_target

    def _once(self, name: str, seen: Catalog, when: tuple[Int64, ...], make: Callable[[Catalog], Float64]) -> Float64:
        """Return what `make` does of the targets; of one window what it did the last time, if from the same.

        A forecast, its explanation and what it would be without some incident mostly ask for the same.
        """
        targets = seen.take(seen.is_target)
        if len(when[0]) != 1:
            return make(targets)
        columns = [getattr(targets, column) for column in ("time_s", "known_s", "area", "is_first")]
        key, kept = tuple(each.tobytes() for each in (*columns, *when)), self.fitted.kept.get(name)
        if kept is None or kept[0] != key:
            kept = self.fitted.kept[name] = key, make(targets)
        return kept[1]

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        said, y = [], []
        for known, early, block in forward_blocks(past, train, FORWARD):
            self.fitted = self._learned(known, early)
            said.append(self._mean(past, block.windows))
            y.append(block.y)
        if len(calibration):
            self.fitted = self._learned(past, train)
            said.append(self._mean(past, calibration.windows))
            y.append(calibration.y)
        both = Outcomes(
            windows=train.windows.followed_by(calibration.windows), y=np.concatenate([train.y, calibration.y])
        )
        self.fitted = self._learned(past, both)
        if said:
            log_odds = np.concatenate(said)
            x = np.stack([np.ones(len(log_odds)), log_odds - log_odds.mean()], axis=1)
            shift, more = fit_with_offset(x, np.concatenate(y), log_odds, PRECISION)
            self.fitted = replace(
                self.fitted, center=float(log_odds.mean()), shift=float(shift), slope=1.0 + float(more)
            )

    def _learned(self, past: Catalog, train: Outcomes) -> LevelFit:
        """Return what there is to learn but for the calibration."""
        climatology = fit_climatology(train.windows.begin_s, train.y, self._days)
        begin_s, end_s, step_s = int(train.windows.begin_s[0]), int(train.windows.end_s[-1]), train.windows.horizon_s
        hazard = -np.log1p(-climatology.probability(train.windows.begin_s)).sum()
        return LevelFit(
            climatology=climatology,
            begin_s=begin_s - max(0, -((int(past.time_s.min()) - begin_s) // step_s)) * step_s,
            step_s=step_s,
            lag_s=settling_s(past, int(past.known_s[-1]) + 1, SETTLED),
            events_per_hazard=float((past.is_event & past.within(begin_s, end_s)).sum() / hazard),
            area_km2=np.ones(past.areas) if self._area_km2 is None else self._area_km2,
        )

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return expit(self.log_odds(seen, windows))

    def log_odds(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log-odds [S]."""
        fitted, log_odds = self.fitted, self._mean(seen, windows)
        return log_odds + fitted.shift + (fitted.slope - 1.0) * (log_odds - fitted.center)

    def _mean(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log-odds [S] of the mean over the half-lives, before calibration."""
        when = windows.issue_s, windows.begin_s
        return self._once("mean", seen, when, lambda targets: self._averaged(targets, windows))

    def _averaged(self, seen: Catalog, windows: Windows) -> Float64:
        """Return what `_mean` does."""
        grid = self._grid(windows)
        when_s = np.maximum(windows.issue_s, self.fitted.begin_s)
        ratios = self._ratios(seen, grid, np.append(grid, when_s))
        step, of_each = np.unique((when_s - self.fitted.begin_s) // self.fitted.step_s, return_inverse=True)
        likelihoods = self._log_likelihoods(seen, grid, windows.lead_s, ratios[: len(grid)])
        weight = _posterior(likelihoods, self._lag, step)[of_each]
        log_odds = self.fitted.climatology.logit(windows.begin_s)[:, None] + ratios[len(grid) :]
        return logit((weight * expit(log_odds)).sum(axis=1))

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S, N] of a target in each window and neighborhood."""
        return self.predict_both(seen, windows)[1]

    def predict_both(self, seen: Catalog, windows: Windows) -> tuple[Float64, Float64]:
        """Return the probabilities [S] of the city and [S, N] of the neighborhoods."""
        p = self.predict(seen, windows)
        return p, spread(p, self.shares(seen, windows.issue_s))

    def steps(self, seen: Catalog, windows: Windows) -> list[Step]:
        """Return the calendar, its risk where events were of late, and the same at the recent level."""
        shares = self.shares(seen, windows.issue_s)
        each = {CLIMATOLOGY: self.fitted.climatology.probability(windows.begin_s), LEVEL: self.predict(seen, windows)}
        return [Step(name=name, p=p, areas=spread(p, shares)) for name, p in each.items()]

    def shares(self, seen: Catalog, issue_s: Int64) -> Float64:
        """Return the share [S, N] of each neighborhood in the next target event after each issue time."""
        return self._once("shares", seen, (issue_s,), lambda targets: self._shared_out(targets, issue_s))

    def _shared_out(self, seen: Catalog, issue_s: Int64) -> Float64:
        """Return what `shares` does."""
        events = seen.take(seen.is_event & (seen.time_s >= self.fitted.begin_s))
        column, fill = events.area.astype(np.int64), self.fitted.area_km2 / self.fitted.area_km2.mean()
        order = np.argsort(events.time_s, kind="stable")
        shape = (len(PLACE_HALF_LIVES_S), len(FILLS))
        said = np.empty((len(events), *shape))  # probability of each event's neighborhood by each choice, as known
        when_s, own = events.time_s[order], column[order]
        for h, half_life_s in enumerate(PLACE_HALF_LIVES_S):
            decay_s = half_life_s / np.log(2)
            here, anywhere = own_faded_sums(when_s, own, events.known_s, events.time_s, column, events.areas, decay_s)
            for f, each in enumerate(FILLS):
                said[order, h, f] = (here + each * fill[own]) / (anywhere + each * fill.sum())
        known = np.searchsorted(events.known_s, issue_s, side="left")
        weight = _posterior(np.log(said).reshape(len(events), -1), 0, known).reshape(-1, *shape)
        shares = np.zeros((len(issue_s), events.areas))
        for h, half_life_s in enumerate(PLACE_HALF_LIVES_S):
            counts = events.decayed(issue_s, column, events.areas, half_life_s / np.log(2))
            for f, each in enumerate(FILLS):
                shares += weight[:, h, f, None] * _filled(counts, each * fill)
        return shares

    @property
    def _lag(self) -> int:
        """Steps from a window's end until its events are known."""
        return -(-self.fitted.lag_s // self.fitted.step_s)

    def _grid(self, windows: Windows) -> Int64:
        """Return the begins [G] of the steps up to the last issue time."""
        fitted, last_s = self.fitted, int(windows.issue_s[-1])
        return np.arange(fitted.begin_s, max(last_s, fitted.begin_s) + 1, fitted.step_s, dtype=np.int64)

    def _ratios(self, seen: Catalog, grid: Int64, when_s: Int64) -> Float64:
        """Return the log ratio [S, H] of events to those expected at some moments, held near 0 where few were.

        Args:
            seen: rows.
            grid: begins [G] of the steps on which both fade.
            when_s: the moments [S], none before the first step.
        """
        fitted, steps, step_s = self.fitted, len(grid), self.fitted.step_s
        rows = np.flatnonzero(seen.is_event & (seen.time_s >= fitted.begin_s))
        since_s = np.sort(np.maximum(seen.known_s[rows] + 1, seen.time_s[rows] + fitted.lag_s))
        first = np.searchsorted(grid, since_s, side="left")  # the first step that counts the row
        hits = np.bincount(first, minlength=steps + 1)[:steps].astype(np.float64)
        place = (when_s - fitted.begin_s) // step_s
        since_step = np.searchsorted(since_s, when_s, side="right") - np.cumsum(hits)[place]
        usual, ratios = self._usual(grid, when_s), np.empty((len(HALF_LIVES_S), len(when_s)))
        for h, half_life_s in enumerate(HALF_LIVES_S):
            keep = 0.5 ** (step_s / half_life_s)
            known = _faded(hits, keep)[place] * _left(keep, when_s - grid[place], step_s) + since_step
            ratios[h] = np.log((known + PRIOR_EVENTS) / (usual[h] + PRIOR_EVENTS))
        return np.ascontiguousarray(ratios.T)

    def _usual(self, grid: Int64, when_s: Int64) -> Float64:
        """Return the events [H, S] expected until some moments, less what has faded; of one window they are kept."""
        fitted, step_s = self.fitted, self.fitted.step_s
        key, kept = (grid[-1:].tobytes(), when_s.tobytes()), fitted.kept.get("usual")
        if kept is not None and kept[0] == key:
            return kept[1]
        hazard = -np.log1p(-fitted.climatology.probability(grid)) * fitted.events_per_hazard
        edges_s, total = np.append(grid, grid[-1] + step_s), np.concatenate([[0.0], np.cumsum(hazard)])
        until, until_now = (np.interp(times_s - fitted.lag_s, edges_s, total) for times_s in (grid, when_s))
        place, usual = (when_s - fitted.begin_s) // step_s, np.empty((len(HALF_LIVES_S), len(when_s)))
        for h, half_life_s in enumerate(HALF_LIVES_S):
            keep = 0.5 ** (step_s / half_life_s)
            faded = _faded(np.diff(until, prepend=0.0), keep)[place]
            usual[h] = faded * _left(keep, when_s - grid[place], step_s) + until_now - until[place]
        if len(when_s) <= len(grid) + 1:
            fitted.kept["usual"] = key, usual
        return usual

    def _log_likelihoods(self, seen: Catalog, grid: Int64, lead_s: int, ratios: Float64) -> Float64:
        """Return the log probability [G, H] of what happened in each step, as far as it was known in time.

        Args:
            seen: rows.
            grid: begins [G] of the steps.
            lead_s: from issue to window.
            ratios: [G, H] as of `_ratios` at the begin of each step.
        """
        fitted = self.fitted
        rows = np.flatnonzero(seen.is_target & (seen.time_s >= fitted.begin_s))
        step = (seen.time_s[rows] - fitted.begin_s) // fitted.step_s
        in_time = seen.known_s[rows] < fitted.begin_s + (step + 1 + self._lag) * fitted.step_s
        y = np.zeros(len(grid), dtype=bool)
        y[step[in_time & (step < len(grid))]] = True
        issued = np.maximum(np.arange(len(grid)) + (-lead_s // fitted.step_s), 0)
        log_odds = fitted.climatology.logit(grid)[:, None] + ratios[issued]
        return np.asarray(-np.logaddexp(0.0, np.where(y[:, None], -log_odds, log_odds)), dtype=np.float64)


def spread(p: Float64, shares: Float64) -> Float64:
    """Return the probabilities [S, N] of neighborhoods with shares [S, N] in the risk of a city with p [S]."""
    return np.asarray(-np.expm1(np.log1p(-p)[:, None] * shares), dtype=np.float64)


def _left(keep: float, since_s: Int64, step_s: int) -> Float64:
    """Return what is left [S] some time after a step, of which each keeps a part; most moments are those of steps."""
    left, later = np.ones(len(since_s)), np.flatnonzero(since_s)
    left[later] = keep ** (since_s[later] / step_s)
    return left


def _faded(values: Float64, keep: float) -> Float64:
    """Return sums [G] of values [G], of which each step keeps a part.

    Within a stretch values are added up as of its begin. Stretches begin at the same steps however many follow.
    """
    fading, sums, before = -float(np.log(keep)), np.empty_like(values), 0.0
    most = len(values) if fading == 0.0 else max(1, int(FAR / fading))
    grown = np.exp(np.arange(1, min(most, len(values)) + 1) * fading)
    for first in range(0, len(values), most):
        part = values[first : first + most]
        sums[first : first + most] = (before + np.cumsum(part * grown[: len(part)])) / grown[: len(part)]
        before = sums[first + len(part) - 1]
    return sums


def _posterior(log_likelihood: Float64, wait: int, steps: Int64) -> Float64:
    """Return the weight of each choice [S, H] before some steps; equal at first.

    Args:
        log_likelihood: [G, H] of what happened in each step.
        wait: how many steps later that counts.
        steps: [S], of which G is after the last.
    """
    total = np.zeros((len(log_likelihood) + 1, log_likelihood.shape[1]))
    total[1 + wait :] = np.cumsum(log_likelihood, axis=0)[: max(0, len(log_likelihood) - wait)]
    total = total[steps]
    weight = np.exp(total - total.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)


def _filled(counts: Float64, fill: Float64) -> Float64:
    """Return shares of counts [S, N] with some events [N] added."""
    filled = counts + fill
    return np.asarray(filled / filled.sum(axis=1, keepdims=True), dtype=np.float64)
