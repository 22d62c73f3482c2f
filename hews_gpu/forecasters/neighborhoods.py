"""Where the next target will be: the forecasts per neighborhood that every model has to beat.

Each gives the share of every neighborhood in the next target event; the climatology says how likely there is one at
all, so P(target in n) = 1 - (1 - P(target anywhere by the climatology)) ^ share_n. What is free in a baseline (a
bandwidth, a weight) is chosen by how well it would have foretold the places of the training events, each from the
events before it.

- long_run: counts since the beginning;
- recent_28_days: counts of the last 28 days, filled up with the long run;
- kernel_density: counts smoothed in space (normal kernel; Chainey, Tompson & Uhlig, 2008, Security Journal 21);
- near_repeat: kernel density, and on top of it a kernel that is narrow and fades within days around each recent event
  (near-repeat victimization: Johnson & Bowers, 2004, European Journal of Criminology 1; shootings: Ratcliffe &
  Rengert, 2008, Security Journal 21; as a mixture after Mohler et al., 2011, JASA 106).

Shapes: S windows, N neighborhoods, E rows, K cells of a grid over the city.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.units import DAY_S

__all__ = ["PLACE_BASELINES", "Ground", "KernelDensity", "LongRun", "NearRepeat", "PlaceForecaster", "Recent28"]

PRIOR_EVENTS = 0.5  # in an average neighborhood before anything happened (Jeffreys)
FILL_EVENTS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # weights of the long run against 28 days
BANDWIDTHS_M = (150.0, 300.0, 600.0, 1200.0, 2400.0)
NEAR_M, NEAR_DECAYS_S = 200.0, (3 * DAY_S, 14 * DAY_S, 60 * DAY_S)
NEAR_WEIGHTS = (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)  # of one event that is new
FOREVER_S = float("inf")
SMALLEST = 1e-200  # a sum below it has lost digits
Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The city's neighborhoods, and a regular grid of points inside them."""

    cells_m: Float64  # [K, 2] in the meters of `Catalog.xy_m`
    cell_area: Int64  # [K] neighborhood of each
    area_km2: Float64  # [N]

    @cached_property
    def chosen(self) -> dict[str, Any]:
        """The bandwidth chosen last, and from what: near repeats take that of the kernel density."""
        return {}

    def spread(self, xy_m: Float64, bandwidth_m: float) -> Float64:
        """Return the share [E, N] of a normal kernel around each place over each neighborhood; none is lost.

        A kernel is a product of one along each axis, and the cells' rows and columns are few.
        """
        from hews_gpu.kernels.sums_cpu import add_grids

        axes = [np.unique(self.cells_m[:, axis], return_inverse=True) for axis in range(2)]
        place, wide = np.stack([index for _, index in axes], axis=1), -2 * bandwidth_m**2
        squares = [(xy_m[:, axis, None] - values) ** 2 for axis, (values, _) in enumerate(axes)]
        x, y = (np.exp((square - square.min(axis=1, keepdims=True)) / wide) for square in squares)
        shares = np.zeros((len(xy_m), len(self.area_km2)))
        add_grids(x, y, place, self.cell_area, shares)
        for far in np.flatnonzero(shares.sum(axis=1) < SMALLEST):  # from every cell: the nearest takes all
            square = squares[0][far, place[:, 0]] + squares[1][far, place[:, 1]]
            weight = np.exp((square - square.min()) / wide)
            shares[far] = np.bincount(self.cell_area, weight, len(self.area_km2))
        return _normalized(shares)


class PlaceForecaster(Protocol):
    """A way to say where."""

    def fit(self, past: Catalog, train: Outcomes) -> None:
        """Learn from the rows known when the fit is made."""

    def shares(self, seen: Catalog, issue_s: Int64) -> Float64:
        """Return the share [S, N] of each neighborhood in the next target event after each moment."""


class LongRun:
    """Counts since the beginning."""

    def __init__(self, ground: Ground) -> None:
        self._prior = _prior(ground)

    def fit(self, past: Catalog, train: Outcomes) -> None:
        """Nothing is free."""

    def shares(self, seen: Catalog, issue_s: Int64) -> Float64:
        return _normalized(_counts(seen, issue_s, None) + self._prior)


class Recent28:
    """Counts of the last 28 days, with the long run in the weight of some events."""

    def __init__(self, ground: Ground) -> None:
        self._long = LongRun(ground)

    def fit(self, past: Catalog, train: Outcomes) -> None:
        issue_s, area = _training_events(past, train)
        long, recent = self._long.shares(past, issue_s), _counts(past, issue_s, 28 * DAY_S)
        self._fill = _best(((fill, _normalized(recent + fill * long)) for fill in FILL_EVENTS), area)

    def shares(self, seen: Catalog, issue_s: Int64) -> Float64:
        recent = _counts(seen, issue_s, 28 * DAY_S)
        return _normalized(recent + self._fill * self._long.shares(seen, issue_s))


class KernelDensity:
    """Counts smoothed in space."""

    def __init__(self, ground: Ground) -> None:
        self._ground, self._prior = ground, _prior(ground)

    def fit(self, past: Catalog, train: Outcomes) -> None:
        (issue_s, area), events = _training_events(past, train), past.take(past.is_event)
        key = tuple(x.tobytes() for x in (issue_s, area, events.time_s, events.known_s, events.area, events.xy_m))
        if (chosen := self._ground.chosen).get("key") != key:
            tried = ((width, self._smooth(events, issue_s, width)) for width in BANDWIDTHS_M)  # one by one: large
            chosen.update(key=key, bandwidth_m=_best(tried, area))
        self._bandwidth_m = chosen["bandwidth_m"]

    def shares(self, seen: Catalog, issue_s: Int64) -> Float64:
        return self._smooth(seen, issue_s, self._bandwidth_m)

    def _smooth(self, seen: Catalog, issue_s: Int64, bandwidth_m: float) -> Float64:
        events = _smoothed(seen, issue_s, self._ground, bandwidth_m, FOREVER_S)
        events += self._prior
        return _normalized(events)


class NearRepeat:
    """Kernel density, and a near and fading kernel around recent events on top of it."""

    def __init__(self, ground: Ground) -> None:
        self._ground, self._density = ground, KernelDensity(ground)

    def fit(self, past: Catalog, train: Outcomes) -> None:
        self._density.fit(past, train)
        issue_s, area = _training_events(past, train)
        own, wide = np.arange(len(area)), self._density.shares(past, issue_s)
        parts = np.stack(
            [wide[own, area], wide.sum(axis=1)], axis=1
        )  # of mixtures the event's own share is needed alone
        tried: list[tuple[tuple[float, float], Float64]] = []
        for decay_s in NEAR_DECAYS_S:
            near = _smoothed(past, issue_s, self._ground, NEAR_M, decay_s)
            more = np.stack([near[own, area], near.sum(axis=1)], axis=1)
            mixtures = ((weight, parts * (1 - weight) + more * weight) for weight in NEAR_WEIGHTS)
            tried += [((decay_s, weight), mixed[:, :1] / mixed[:, 1:]) for weight, mixed in mixtures]
        self._decay_s, self._weight = _best(tried, np.zeros_like(area))

    def shares(self, seen: Catalog, issue_s: Int64) -> Float64:
        """Return the mixture: the near part has the weight of so much of one event, less as that fades."""
        near = _smoothed(seen, issue_s, self._ground, NEAR_M, self._decay_s)
        return _normalized(self._density.shares(seen, issue_s) * (1 - self._weight) + near * self._weight)


PLACE_BASELINES: dict[str, Callable[[Ground], PlaceForecaster]] = {
    "long_run": LongRun,
    "recent_28_days": Recent28,
    "kernel_density": KernelDensity,
    "near_repeat": NearRepeat,
}


def _prior(ground: Ground) -> Float64:
    """Return the events [N] before anything happened, by area."""
    return np.asarray(ground.area_km2 / ground.area_km2.mean() * PRIOR_EVENTS, dtype=np.float64)


def _normalized(x: Float64) -> Float64:
    """Divide each row by its sum, in place: of cells an array takes 100 MB, and new memory longer than the division."""
    x /= x.sum(axis=1, keepdims=True)
    return x


def _target_column(seen: Catalog) -> Int64:
    """Return the neighborhood [E] of target events, -1 elsewhere."""
    return np.where(seen.is_event, seen.area.astype(np.int64), -1)


def _counts(seen: Catalog, issue_s: Int64, span_s: int | None) -> Float64:
    """Return the target events [S, N] that became known before each issue time, ever or of late."""
    return seen.counted(issue_s, _target_column(seen), seen.areas, span_s)


def _smoothed(seen: Catalog, issue_s: Int64, ground: Ground, bandwidth_m: float, decay_s: float) -> Float64:
    """Return known target events [S, N], each spread over the neighborhoods and fading with its age."""
    events = seen.take(_target_column(seen) >= 0)
    weight = ground.spread(events.xy_m, bandwidth_m)
    return events.decayed(issue_s, _target_column(events), seen.areas, decay_s, weight)


def _training_events(past: Catalog, train: Outcomes) -> tuple[Int64, Int64]:
    """Return when the window of each target event in training was forecast, and the event's neighborhood.

    The first quarter of the windows only fills the counts.
    """
    windows = train.windows.select(np.arange(len(train) // 4, len(train)))
    rows = np.flatnonzero(past.is_event)
    rows = rows[np.argsort(past.time_s[rows], kind="stable")]
    which = np.searchsorted(windows.begin_s, past.time_s[rows], side="right") - 1
    inside = (which >= 0) & (past.time_s[rows] < windows.end_s[np.maximum(which, 0)])
    return windows.issue_s[which[inside]], past.area[rows[inside]].astype(np.int64)


def _best(tried: Iterable[tuple[Key, Float64]], area: Int64) -> Key:
    """Return the choice under which the events' own neighborhoods were likeliest; of equals the first."""
    likely = {key: float(np.log(shares[np.arange(len(area)), area] + 1e-12).sum()) for key, shares in tried}
    return max(likely, key=lambda key: likely[key])
