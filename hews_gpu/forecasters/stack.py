"""The stack: the calendar at its recent level, and on top of it whichever experts have shown that they add to it.

Every expert is fitted on the begin of the training time and asked about the blocks that follow, which it has not seen;
so are the calibration windows. On these forecasts, all made out of sample, few weights are learned in log-odds,

    log-odds = base + shift + slope * (base - center) + sum over kept experts of weight * (expert - base)

with normal priors around 0, which is the base (stacked generalization: Wolpert, 1992, Neural Networks 5). An expert is
kept only if what it adds exceeds two standard errors, by cross-validation over stretches of time and with errors that
may last four weeks; the best comes first. If none does the forecast is the base, to the bit. Where the next event will
be is stacked in the same way, in log-shares of the neighborhoods, judged at the events.

Shapes: S windows, M windows forecast out of sample, E events in them, K experts, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.base import DrawsMaps, Forecaster, ReadsFew, SaysBoth, SaysWhere, Step, log_odds
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.forward import forward_blocks, part_of
from hews_gpu.forecasters.level import Level, spread
from hews_gpu.forecasters.logistic import expit, fit_with_offset, logit
from hews_gpu.progress import log
from hews_gpu.units import DAY_S

__all__ = ["Gain", "Stack", "StackFit"]

FORWARD = (0.5, 0.75, 1.0)
"""Parts of the training windows at which forward blocks begin and end; of very many ..."""
MANY_WINDOWS, LAST_WINDOWS = 50_000, 10_000
"""... the last are the only block: it holds more than the blocks of a few years do, and a fit is spared."""
VALIDATION = 1 / 6
"""Of a network's training windows, so many decide when to stop."""
FOLDS = 8  # stretches of time for cross-validation
BLOCK_S = 28 * DAY_S  # errors are taken to last no longer
ERRORS = 2.0  # a gain must exceed so many standard errors
QUICK_WINDOWS, QUICK_ERRORS = 6_000, 1.0  # a quick one learns from so many, and its gain must exceed so many errors
FEWEST_POSITIVES = 50  # of the windows forecast out of sample: with fewer nothing is learned from them
PRECISION = np.array([1 / 0.3**2, 1 / 0.3**2])  # of the priors of shift and slope
PRECISION_EXPERT = 1 / 0.5**2  # of each weight


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What an expert added when its turn came."""

    expert: str
    bits: float
    """Per window, or per event, out of sample."""
    error: float
    """Its standard error."""
    is_kept: bool
    is_trial: bool = False
    """Of a quick one, which decides whether it has a turn at all."""

    def says(self, of: str = "window") -> str:
        """Return it in words; `of` is what the bits are counted per."""
        who, left_out, kept = self.expert, "left out", "kept"
        if self.is_trial:
            who, left_out, kept = f"a quick {who}", "not tried in full", "to be tried in full"
        return f"{who} adds {self.bits:+.4f} +- {self.error:.4f} bits per {of}: {kept if self.is_kept else left_out}"


@dataclass(frozen=True, kw_only=True)
class StackFit:
    """What `Stack` learns, beside what its parts do."""

    experts: tuple[str, ...] = ()
    """Those kept for the city; none: then the forecast is the base."""
    center: float = 0.0
    weights: Float64 = field(default_factory=lambda: np.zeros(2))
    """[2 + K]: shift, slope, and of each expert."""
    gains: tuple[Gain, ...] = ()
    """Of each expert that was tried, in turn; first those of quick ones."""
    place_experts: tuple[str, ...] = ()
    """Those kept for the neighborhoods."""
    place_weights: Float64 = field(default_factory=lambda: np.zeros(0))
    """[K]"""
    place_gains: tuple[Gain, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What base and experts said out of sample of some windows."""

    y: Bool  # [M]
    begin_s: Int64  # [M]
    base: Float64  # [M] log-odds
    experts: dict[str, Float64]
    """[M] by name."""
    event_s: Int64  # [E]
    event_area: Int64  # [E]
    base_shares: Float64  # [E, N] logs
    expert_shares: dict[str, Float64]
    """[E, N] by name, of those that say where."""


class Stack:
    """The forecaster.

    Args:
        base: makes a new base.
        experts: make new experts, by name.
        networks: which of them need windows to stop by.
        quick: make quick ones of those that are costly, which are tried only where that adds something.
    """

    fitted: StackFit

    def __init__(
        self,
        base: Callable[[], Level],
        experts: Mapping[str, Callable[[], Forecaster]],
        networks: frozenset[str] = frozenset(),
        quick: Mapping[str, Callable[[], Forecaster]] = MappingProxyType({}),
    ) -> None:
        self._new_base, self.makers, self._networks, self._quick = base, dict(experts), networks, dict(quick)
        self._base, self.experts = base(), dict[str, Forecaster]()

    @property
    def parts(self) -> dict[str, Forecaster]:
        """The base, and the experts that a forecast asks."""
        kept = {*self.fitted.experts, *self.fitted.place_experts}
        missing = (name for name in kept if name not in self.experts)
        self.experts |= {name: self.makers[name]() for name in missing}  # those left out may need a library
        return {"base": self._base} | {name: self.experts[name] for name in self.makers if name in kept}

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        said: list[_Said] = []
        quick: tuple[Gain, ...] = ()
        names = [name for name in self.makers if name not in self._quick]
        edges = FORWARD if len(train) < MANY_WINDOWS else (1 - LAST_WINDOWS / len(train), 1.0)
        for known, early, block in forward_blocks(past, train, edges):
            self._fit_parts(known, early, names)
            one = self._said(past, block)
            if not said:
                quick = self._tried_quickly(known, early, past, block, one)
            if not said and (worth := [gain.expert for gain in quick if gain.is_kept]):
                names += worth
                for name in worth:
                    self.experts[name] = self.makers[name]()
                    self._fit_expert(name, self.experts[name], known, early)
                one = self._said(past, block)
            said.append(one)
        self._fit_parts(past, train, names)
        if len(calibration):
            said.append(self._said(past, calibration))
        self._base.fit(past, train, calibration)
        self.fitted = StackFit(gains=quick)
        if said:
            whole = _joined(said)
            self.fitted = StackFit(**_city(whole), **_places(whole))
            self.fitted = replace(self.fitted, gains=(*quick, *self.fitted.gains))
        self._refit(past, train, calibration)
        self._say()

    def on_city(self, city: City) -> Stack:
        """Return the same, fitted, drawing from another table of its city."""
        moved = copy(self)
        moved.experts = {
            name: one.on_city(city) if isinstance(one, DrawsMaps) else one for name, one in self.experts.items()
        }
        return moved

    def reads(self, seen: Catalog) -> Bool:
        """Return which rows [E] can move a forecast."""
        every = np.ones(len(seen), dtype=bool)
        each = [one.reads(seen) if isinstance(one, ReadsFew) else every for one in self.parts.values()]
        return np.asarray(np.logical_or.reduce(each), dtype=bool)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self._of_city(seen, windows, [log_odds(self.experts[n], seen, windows) for n in self.fitted.experts])

    def _of_city(self, seen: Catalog, windows: Windows, each: list[Float64]) -> Float64:
        """Return the probability [S] from the log-odds [S] of each expert."""
        if not each:
            return self._base.predict(seen, windows)
        base = log_odds(self._base, seen, windows)
        return expit(base + (_columns(base, each, self.fitted.center) * self.fitted.weights).sum(axis=1))

    def _asked(self, seen: Catalog, windows: Windows) -> tuple[dict[str, Float64], dict[str, Float64]]:
        """Return the log-odds [S] of the experts kept for the city, and the log-shares [S, N] of those for places."""
        city, where = self.fitted.experts, self.fitted.place_experts
        of_city, of_places = dict[str, Float64](), dict[str, Float64]()
        for name in dict.fromkeys((*city, *where)):
            one = self.experts[name]
            if name in city and name in where and isinstance(one, SaysBoth):
                p, areas = one.predict_both(seen, windows)
                of_city[name], of_places[name] = logit(p), _log_shares(areas)
                continue
            if name in city:
                of_city[name] = log_odds(one, seen, windows)
            if name in where:
                assert isinstance(one, SaysWhere)
                of_places[name] = _log_shares(one.predict_areas(seen, windows))
        return of_city, of_places

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S, N] of a target in each window and neighborhood."""
        return self.predict_both(seen, windows)[1]

    def predict_both(self, seen: Catalog, windows: Windows) -> tuple[Float64, Float64]:
        """Return the probabilities [S] of the city and [S, N] of the neighborhoods."""
        of_city, of_places = self._asked(seen, windows)
        p = self._of_city(seen, windows, [of_city[name] for name in self.fitted.experts])
        shares = self._base.shares(seen, windows.issue_s)
        if of_places:
            each = [of_places[name] for name in self.fitted.place_experts]
            shares = np.exp(_pooled(np.log(shares), each, self.fitted.place_weights))
        return p, spread(p, shares)

    def steps(self, seen: Catalog, windows: Windows) -> list[Step]:
        """Return the steps of the base, what its recalibration does, and each expert; one left out moves nothing."""
        fitted, steps = self.fitted, self._base.steps(seen, windows)
        weights = dict(zip(fitted.experts, fitted.weights[2:].tolist(), strict=True))
        place_weights = dict(zip(fitted.place_experts, fitted.place_weights.tolist(), strict=True))
        base, shares = log_odds(self._base, seen, windows), self._base.shares(seen, windows.issue_s)
        now, log_shares, each = base, np.log(shares), dict[str, Float64]()
        of_city, of_places = self._asked(seen, windows)
        for name in ("calibration", *self.makers):
            if name not in self.makers and weights:
                now = now + fitted.weights[0] + fitted.weights[1] * (base - fitted.center)
            if name in weights:
                now = now + weights[name] * (of_city[name] - base)
            if name in place_weights:
                each[name] = of_places[name]
                so_far = np.array([place_weights[other] for other in each])
                shares = np.exp(_pooled(log_shares, list(each.values()), so_far))
            steps.append(Step(name=name, p=expit(now), areas=spread(expit(now), shares)))
        return steps

    # ------------------------------------------------------------ forecasts out of sample

    def _tried_quickly(
        self, known: Catalog, train: Outcomes, seen: Catalog, block: Outcomes, said: _Said
    ) -> tuple[Gain, ...]:
        """Return what quick ones of costly experts add in a forward block to the others, recalibrated and weighted.

        The windows learned from and asked about are few, so that the cost does not grow with the city.

        Args:
            known: the rows known when the block begins.
            train: the windows before it.
            seen: all rows.
            block: its windows.
            said: what the others said of them.
        """
        few = part_of(train, max(0, len(train) - QUICK_WINDOWS), len(train))
        asked = part_of(block, 0, min(QUICK_WINDOWS // 2, len(block)))
        others = {name: each[: len(asked)] for name, each in {"base": said.base, **said.experts}.items()}
        base, begin_s, gains = others["base"], asked.windows.begin_s, []
        for name, make in self._quick.items():
            quick = make()
            self._fit_expert(name, quick, known, few)
            each = {**others, name: log_odds(quick, seen, asked.windows)}
            loss = partial(_held_out_loss, asked.y, base, float(base.mean()), each)
            gain = _gain(name, loss(tuple(others)) - loss(tuple(each)), begin_s)
            gains.append(replace(gain, is_kept=gain.bits > QUICK_ERRORS * gain.error, is_trial=True))
        return tuple(gains)

    def _fit_parts(self, known: Catalog, train: Outcomes, names: Sequence[str]) -> None:
        """Fit a new base and new experts; nothing is calibrated, as the stack does that."""
        self._base, self.experts = self._new_base(), {name: self.makers[name]() for name in names}
        self._base.fit(known, train, part_of(train, 0, 0))
        for name, expert in self.experts.items():
            self._fit_expert(name, expert, known, train)

    def _fit_expert(self, name: str, expert: Forecaster, known: Catalog, train: Outcomes) -> None:
        """Fit one expert; of a network's windows the last ones decide when to stop."""
        stop = round(len(train) * (1 - VALIDATION)) if name in self._networks else len(train)
        expert.fit(known, part_of(train, 0, stop), part_of(train, stop, len(train)))

    def _refit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        """Fit the experts that a forecast asks anew, on the windows that the weights were learned on, too."""
        later = np.flatnonzero(calibration.windows.begin_s > train.windows.begin_s[-1])  # an audit trains on all
        windows = train.windows.followed_by(calibration.windows.select(later))
        both = Outcomes(windows=windows, y=np.concatenate([train.y, calibration.y[later]]))
        for name in self.parts:
            if name in self.makers and name not in self._networks and len(later):
                self.experts[name] = self.makers[name]()
                self.experts[name].fit(past, both, part_of(both, 0, 0))

    def _said(self, seen: Catalog, asked: Outcomes) -> _Said:
        """Ask base and experts, as they are fitted now, about later windows."""
        windows = asked.windows
        rows, window = _events(seen, windows)
        of_events = windows.select(np.unique(window))
        place = np.searchsorted(np.unique(window), window)
        where = {name: one for name, one in self.experts.items() if isinstance(one, SaysWhere)}
        return _Said(
            y=asked.y,
            begin_s=windows.begin_s,
            base=log_odds(self._base, seen, windows),
            experts={name: log_odds(expert, seen, windows) for name, expert in self.experts.items()},
            event_s=seen.time_s[rows],
            event_area=seen.area[rows].astype(np.int64),
            base_shares=np.log(self._base.shares(seen, of_events.issue_s))[place],
            expert_shares={name: _log_shares(one.predict_areas(seen, of_events))[place] for name, one in where.items()},
        )

    def _say(self) -> None:
        """Log what was kept, and what was not."""
        for gains, of in ((self.fitted.gains, "window"), (self.fitted.place_gains, "event's place")):
            for gain in gains:
                log(gain.says(of))
        if not self.fitted.experts:
            log("no expert adds enough to be kept: the forecast is the calendar at its recent level")


# ------------------------------------------------------------ weights


def _joined(said: list[_Said]) -> _Said:
    """Return forecasts of one stretch after the other as one."""
    joined: dict[str, Any] = {}
    for name, first in vars(said[0]).items():
        each = [getattr(one, name) for one in said]
        if isinstance(first, dict):
            joined[name] = {key: np.concatenate([one[key] for one in each]) for key in first}
        else:
            joined[name] = np.concatenate(each)
    return _Said(**joined)


def _city(said: _Said) -> dict[str, Any]:
    """Choose experts for the city and learn their weights; as fields of `StackFit`."""
    if not FEWEST_POSITIVES <= said.y.sum() <= len(said.y) - FEWEST_POSITIVES:
        return {}
    center = float(said.base.mean())
    loss = partial(_held_out_loss, said.y, said.base, center, said.experts)
    kept, gains = _chosen(tuple(said.experts), loss, said.begin_s)
    if not kept:
        return {"gains": gains}
    columns = _columns(said.base, [said.experts[name] for name in kept], center)
    return {"experts": kept, "gains": gains, "center": center, "weights": _weights(said.y, said.base, columns)}


def _places(said: _Said) -> dict[str, Any]:
    """Likewise for the neighborhoods."""
    if len(said.event_area) < FEWEST_POSITIVES or not said.expert_shares:
        return {}
    loss = partial(_held_out_place_loss, said.event_area, said.base_shares, said.expert_shares)
    kept, gains = _chosen(tuple(said.expert_shares), loss, said.event_s)
    each = [said.expert_shares[name] for name in kept]
    parts = _stretches(len(said.event_s))
    weights = _place_weights(said.event_area, said.base_shares, each, parts) if kept else np.zeros(0)
    return {"place_experts": kept, "place_gains": gains, "place_weights": weights}


def _chosen(
    names: tuple[str, ...], loss: Callable[[tuple[str, ...]], Float64], time_s: Int64
) -> tuple[tuple[str, ...], tuple[Gain, ...]]:
    """Return the experts to keep, and what each added when its turn came; the best first, until one adds too little.

    Args:
        names: of all experts.
        loss: returns the bits [M] lost out of sample with some of them; with none those of the base.
        time_s: [M], in order.
    """
    kept: tuple[str, ...] = ()
    gains: list[Gain] = []
    before = loss(())
    while len(kept) < len(names):
        tried = {name: loss((*kept, name)) for name in names if name not in kept}
        added = {name: _gain(name, before - lost, time_s) for name, lost in tried.items()}
        best = max(added.values(), key=lambda gain: gain.bits)
        if not best.is_kept:
            gains += added.values()
            break
        gains.append(best)
        kept, before = (*kept, best.expert), tried[best.expert]
    return kept, tuple(gains)


def _gain(name: str, saved: Float64, time_s: Int64) -> Gain:
    """Return the mean of what was saved [M], with its standard error over blocks of time."""
    block = (time_s - time_s.min()) // BLOCK_S
    sums = np.bincount(block, weights=saved - saved.mean())
    blocks = max(2, len(np.unique(block)))
    error = float(np.sqrt((sums**2).sum() * blocks / (blocks - 1)) / len(saved))
    bits = float(saved.mean())
    return Gain(expert=name, bits=bits, error=error, is_kept=bits > ERRORS * error)


def _stretches(count: int) -> list[slice]:
    """Return stretches of what is in order of time, equally many in each."""
    edges = [-(-count * k // FOLDS) for k in range(FOLDS + 1)]
    return [slice(begin, end) for begin, end in pairwise(edges)]


def _columns(base: Float64, experts: list[Float64], center: float) -> Float64:
    """Return what the weights of the city multiply, [S, 2 + K]."""
    return np.stack([np.ones(len(base)), base - center, *(each - base for each in experts)], axis=1)


def _weights(y: Bool, base: Float64, columns: Float64) -> Float64:
    """Return the weights [2 + K] that make the outcomes likeliest."""
    precision = np.concatenate([PRECISION, np.full(columns.shape[1] - 2, PRECISION_EXPERT)])
    return fit_with_offset(columns, y, base, precision)


def _held_out_loss(
    y: Bool, base: Float64, center: float, experts: Mapping[str, Float64], names: tuple[str, ...]
) -> Float64:
    """Return the bits [M] lost by the stack of some experts, its weights learned on the other stretches of time."""
    log_odds_said = base.copy()
    if names:
        columns = _columns(base, [experts[name] for name in names], center)
        for out in _stretches(len(y)):
            rest = np.delete(np.arange(len(y)), out)
            log_odds_said[out] += (columns[out] * _weights(y[rest], base[rest], columns[rest])).sum(axis=1)
    return np.asarray(np.logaddexp(0.0, np.where(y, -log_odds_said, log_odds_said)) / np.log(2), dtype=np.float64)


# ------------------------------------------------------------ where


def _log_shares(areas: Float64) -> Float64:
    """Return the logs of the shares [S, N] of the neighborhoods in the city's risk, from their probabilities."""
    hazard = -np.log1p(-np.clip(areas, 1e-12, 1 - 1e-12))  # neither end has a share
    return np.asarray(np.log(hazard / hazard.sum(axis=1, keepdims=True)), dtype=np.float64)


def _pooled(base: Float64, experts: list[Float64], weights: Float64) -> Float64:
    """Return the logs of shares [S, N] that are the base's, moved towards each expert's."""
    from scipy.special import log_softmax

    moved = base + sum(weight * (each - base) for weight, each in zip(weights, experts, strict=True))
    return np.asarray(log_softmax(moved, axis=1), dtype=np.float64)


def _place_weights(area: Int64, base: Float64, experts: list[Float64], parts: list[slice]) -> Float64:
    """Return the weights [K] that make the neighborhoods of the events in some parts likeliest."""
    from scipy.optimize import minimize

    def value(weights: Float64) -> tuple[float, Float64]:
        lost, slope = 0.5 * PRECISION_EXPERT * weights @ weights, PRECISION_EXPERT * weights
        for part in parts:  # one at a time: the shares of many events take hundreds of megabytes
            said = _pooled(base[part], [each[part] for each in experts], weights)
            here, usual = (np.arange(len(said)), area[part]), np.exp(said)
            lost -= said[here].sum()
            moved = (each[part] - base[part] for each in experts)
            slope = slope - [each[here].sum() - (usual * each).sum() for each in moved]
        return float(lost), slope

    return np.asarray(minimize(value, np.zeros(len(experts)), jac=True, method="BFGS").x, dtype=np.float64)


def _held_out_place_loss(area: Int64, base: Float64, experts: Mapping[str, Float64], names: tuple[str, ...]) -> Float64:
    """Return the bits [E] lost on the events' neighborhoods, weights learned on the other stretches of time."""
    if not names:
        return np.asarray(-base[np.arange(len(area)), area] / np.log(2), dtype=np.float64)
    each, parts, lost = [experts[name] for name in names], _stretches(len(area)), np.empty(len(area))
    for out in parts:
        weights = _place_weights(area, base, each, [part for part in parts if part is not out])
        said = _pooled(base[out], [one[out] for one in each], weights)
        lost[out] = -said[np.arange(len(said)), area[out]]
    return np.asarray(lost / np.log(2), dtype=np.float64)


def _events(seen: Catalog, windows: Windows) -> tuple[Int64, Int64]:
    """Return the rows [E] of the target events in some windows, in order of time, and the window of each."""
    rows = np.flatnonzero(seen.is_event)
    rows = rows[np.argsort(seen.time_s[rows], kind="stable")]
    window = np.searchsorted(windows.begin_s, seen.time_s[rows], side="right") - 1
    inside = (window >= 0) & (seen.time_s[rows] < windows.end_s[np.maximum(window, 0)])
    return rows[inside], window[inside]
