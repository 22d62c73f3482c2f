"""HewsNet fitted to a city and put through the same protocol as every baseline.

Layers are chosen from thousands by forward selection: the one whose best weight, on top of what is in, raises the
likelihood of the training events most; for as long as that pays for the choice (extended BIC: Chen & Chen, 2008,
Biometrika 95). After each choice all weights and the rhythm are learned anew; then decays are adjusted, and what no
longer pays is taken out. What changes slowly no layer tells: the log-odds follow how the last 28 and 365 days went
against the climatology as far as the training windows say, and never against them. Then the calibration block moves
them by a slope and a level that a prior holds near 1 and 0. Nothing in it is random.

Shapes: S windows, E target events, K layers, N neighborhoods, L steps of unknown time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Step
from hews_gpu.forecasters.catalog import TARGETS, Catalog, Outcomes
from hews_gpu.forecasters.climatology import hour_of_week
from hews_gpu.forecasters.forward import latest
from hews_gpu.forecasters.hawkes import BLIND_S, CHUNK, Rhythm, cell_of, fit_rhythm, starts, step_of, weekly
from hews_gpu.forecasters.hewsnet_layers import (
    FEWEST_ROWS,
    RADII_M,
    Candidates,
    Group,
    Layer,
    candidates,
    exposure,
    left_at,
    pair_rows,
    rows_of,
)
from hews_gpu.forecasters.hewsnet_network import Evidence, HewsNet
from hews_gpu.forecasters.level import PRIOR_LEVEL, Recent
from hews_gpu.forecasters.logistic import expit, fit_with_offset, logit
from hews_gpu.forecasters.reach import Reach
from hews_gpu.forecasters.sums import product
from hews_gpu.forecasters.threads import one_thread
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["HewsNetFit", "HewsNetForecaster"]


MOST_EVENTS = 5_000  # target events learned from, the last ones: all rows of decades would take minutes and gigabytes
MEMORY_S = 224 * DAY_S  # before them: eight of the longest decays
MOST_LAYERS = 10
ROUNDS, CYCLES = 60, 3  # of expectation maximization between two fits of the rhythm; such cycles after each choice
LAST_CYCLES = 8
NEWTON_STEPS = 12
LEAST_GAIN = 0.5  # nats: for less, nothing is moved
FACTORS = (0.7, 1.4, 0.85, 1.18, 0.93, 1.07)  # by which decays and distances are adjusted, while that helps
WEIGHTS = ("level", "share", "gain")
FIT_PRECISION = np.array([400.0, 1600.0])  # of the priors of the calibration's level and slope: 0.05 and 0.025


@dataclass(kw_only=True)
class _State:
    """A fit under way."""

    layers: list[Layer]
    net: HewsNet
    evidence: Evidence
    rhythm: Rhythm
    value: float


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Incidents yet to come of what some layers show."""

    which: tuple[int, ...]
    """Positions of the layers."""
    share: Float64  # [N] of each neighborhood
    per_hour: Float64  # [168] by hour of the week
    whole_step_s: int
    """0, or of pairs the length of the steps at whose end they stand."""

    @classmethod
    def counted(
        cls, past: Catalog, pairs: Catalog, which: list[int], layer: Layer, begin_s: int, end_s: int, step_s: int
    ) -> Arrivals:
        """Count them in the past; one is added to all neighborhoods and hours together, so none is 0."""
        rows = rows_of(layer, past, pairs)
        count, weeks = weekly(rows.time_s, begin_s, end_s)
        placed = rows.take(rows.within(begin_s, end_s)).placed
        areas = np.bincount(placed.area, minlength=rows.areas) + 1 / rows.areas
        return cls(
            which=tuple(which),
            share=areas / areas.sum(),
            per_hour=np.asarray(count / weeks, dtype=np.float64),
            whole_step_s=step_s if layer.partner else 0,
        )

    def expected(self, times_s: Int64, step_s: int, anchor_s: int) -> Float64:
        """Return the incidents [S, L] expected in each step of time."""
        middle_s = times_s + step_s // 2
        if not self.whole_step_s:
            return np.asarray(self.per_hour[hour_of_week(middle_s)] * (step_s / HOUR_S), dtype=np.float64)
        last_s = times_s + (-(times_s - anchor_s) - 1) % self.whole_step_s  # last second of the map step
        return np.where(last_s < times_s + step_s, self.per_hour[hour_of_week(last_s)], 0.0)

    def harm(self, net: HewsNet, reach: Reach) -> Float64:
        """Return the chance [L, N] that an incident of a step leads to an event in each neighborhood."""
        which = list(self.which)
        sent = reach.later[:, which] * net.effect[which]  # [L, K, N]
        local = net.local[which]
        here, anywhere = sent.sum(axis=1), sent[:, ~local].sum(axis=1)
        return np.asarray(self.share * -np.expm1(-here) + (1 - self.share) * -np.expm1(-anywhere))


@dataclass(frozen=True, kw_only=True)
class _Ahead:
    """What follows from a fit, and from how long the unknown time is, alone."""

    step_s: int
    reach: Reach
    harm: tuple[Float64, ...]
    """[L, N] of each of the arrivals."""


@dataclass(frozen=True, kw_only=True)
class HewsNetFit:
    """What `HewsNetForecaster` learns."""

    layers: tuple[Layer, ...]  # K
    weights: dict[str, Float64]
    """Of the network: level, share [N] and gain [K, N]."""
    rhythm: Rhythm
    step_s: int
    anchor_s: int
    blind_s: int = 0
    """Age at which an incident begins to set off events."""
    arrivals: tuple[Arrivals, ...] = ()
    recent: Recent
    level_weights: Float64  # [2] how far the log-odds follow the last 28 and 365 days
    center: float = 0.0
    """Log-odds around which the calibration turns."""
    slope: float = 1.0
    shift: float = 0.0

    @cached_property
    def net(self) -> HewsNet:
        """The network with these weights."""
        local = np.array([layer.is_local for layer in self.layers], dtype=bool)
        level, share, gain = (self.weights[name] for name in WEIGHTS)
        return HewsNet(level=float(level), share=share, gain=gain, local=local)

    def ahead(self, unknown_s: int, horizon_s: int) -> _Ahead:
        """Return how far excitation carries through the unknown time before a window; worked out once."""
        if (unknown_s, horizon_s) not in self._ahead:
            step_s = step_of(unknown_s, horizon_s)
            decay_s = np.array([layer.decay_s for layer in self.layers], dtype=np.float64)
            is_self = np.array([layer.stream == TARGETS and not layer.partner for layer in self.layers], dtype=bool)
            steps = unknown_s // step_s, horizon_s // step_s
            reach = self.net.reach(decay_s, is_self, *steps, step_s, self.blind_s)
            harm = tuple(each.harm(self.net, reach) for each in self.arrivals)
            self._ahead[unknown_s, horizon_s] = _Ahead(step_s=step_s, reach=reach, harm=harm)
        return self._ahead[unknown_s, horizon_s]

    @cached_property
    def _ahead(self) -> dict[tuple[int, int], _Ahead]:
        return {}


class HewsNetForecaster:
    """The forecaster."""

    fitted: HewsNetFit

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        recent, lately = Recent.fitted(past, train), latest(past, train, MOST_EVENTS)
        is_whole = len(lately) == len(train)
        past_lately = past if is_whole else past.take(past.time_s >= lately.windows.begin_s[0] - MEMORY_S)
        windows = lately.windows
        begin_s, end_s, step_s = int(windows.begin_s[0]), int(windows.end_s[-1]), windows.horizon_s
        with one_thread():
            known = past_lately.until(end_s + past.delay_s).known_at_once()
            blind_s = min(past.delay_s + windows.lead_s, BLIND_S)
            state = _Fit(known, begin_s, end_s, step_s, blind_s).run()
            law = HewsNetFit(
                layers=tuple(state.layers),
                weights={name: np.asarray(getattr(state.net, name)) for name in WEIGHTS},
                rhythm=state.rhythm,
                step_s=step_s,
                anchor_s=begin_s,
                blind_s=blind_s,
                recent=recent,
                level_weights=np.zeros(2),
            )
            pairs = _pairs(known, law)
            streams = [(which, law.layers[which[0]], begin_s, end_s, step_s) for which in _streams(law.layers)]
            arrivals = tuple(Arrivals.counted(known, pairs, *stream) for stream in streams)
            self.fitted = replace(law, arrivals=arrivals)
            self._follow_level(past, past_lately, lately)
            self._calibrate(past, calibration)

    def reads(self, seen: Catalog) -> Bool:
        """Return which rows [E] can move a forecast."""
        names = {TARGETS, *(each for layer in self.fitted.layers for each in (layer.stream, layer.partner))}
        return np.array([name in names for name in seen.streams])[seen.stream] & seen.is_first

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.predict_both(seen, windows)[0]

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S, N] of a target in each window and neighborhood."""
        return self.predict_both(seen, windows)[1]

    def predict_both(self, seen: Catalog, windows: Windows) -> tuple[Float64, Float64]:
        """Return the probabilities [S] of the city and [S, N] of the neighborhoods."""
        hazards = self.hazards(seen, windows)
        hazard = hazards.sum(axis=1)
        correction = self._correction(hazard, seen, windows)
        return -np.expm1(-hazard * correction), -np.expm1(-hazards * correction[:, None])

    def steps(self, seen: Catalog, windows: Windows) -> list[Step]:
        """Return the rhythm with what is yet to come, the recent level, the known incidents and the calibration."""
        base, left, arriving = self._to_add(seen, windows)
        usual, hazards = self._added(base, np.zeros_like(left), arriving), self._added(base, left, arriving)
        usual_log_odds, uncalibrated = (self._uncalibrated(h.sum(axis=1), seen, windows) for h in (usual, hazards))
        return [
            _step(CLIMATOLOGY, logit(-np.expm1(-usual.sum(axis=1))), usual),
            _step(LEVEL, usual_log_odds, usual),
            _step("incidents", uncalibrated, hazards),
            _step("calibration", self._calibrated(uncalibrated), hazards),
        ]

    def hazards(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the events [S, N] expected, as -log of the chance of none, before calibration."""
        return self._added(*self._to_add(seen, windows))

    def _added(self, base: Float64, left: Float64, arriving: Float64) -> Float64:
        """Return the hazards [S, N] of what `_to_add` returns."""
        return self.fitted.net.hazards(base, left) + arriving

    def _to_add(self, seen: Catalog, windows: Windows) -> tuple[Float64, Float64, Float64]:
        """Return events [S, N] of the rhythm, what known rows still send [S, K, N], and what is yet to come [S, N]."""
        ahead = self.fitted.ahead(seen.delay_s + windows.lead_s, windows.horizon_s)
        base, arriving = self._to_come(windows.issue_s - seen.delay_s, ahead)
        return base, self._left(seen, windows, ahead), arriving

    # ------------------------------------------------------------ level and calibration

    def _follow_level(self, past: Catalog, lately: Catalog, train: Outcomes) -> None:
        """Learn how far the log-odds follow the recent level; of the past, `lately` may set off events in training."""
        log_odds = logit(-np.expm1(-self.hazards(lately, train.windows).sum(axis=1)))
        ratios = self.fitted.recent.ratios(past, train.windows)
        self.fitted = replace(self.fitted, level_weights=_level_weights(ratios, train.y, log_odds))

    def _calibrate(self, past: Catalog, calibration: Outcomes) -> None:
        """Learn a slope and a shift of the log-odds from the block before the test."""
        if not len(calibration):
            return
        hazard = self.hazards(past, calibration.windows).sum(axis=1)
        log_odds = self._uncalibrated(hazard, past, calibration.windows)
        center = float(log_odds.mean())
        x = np.stack([np.ones(len(log_odds)), log_odds - center], axis=1)
        shift, more = fit_with_offset(x, calibration.y, log_odds, FIT_PRECISION)
        self.fitted = replace(self.fitted, center=center, slope=1.0 + float(more), shift=float(shift))

    def _uncalibrated(self, hazard: Float64, seen: Catalog, windows: Windows) -> Float64:
        """Return the log-odds [S] of the city before calibration."""
        followed = product(self.fitted.recent.ratios(seen, windows), self.fitted.level_weights[:, None])[:, 0]
        return logit(-np.expm1(-hazard)) + followed

    def _correction(self, hazard: Float64, seen: Catalog, windows: Windows) -> Float64:
        """Return the factor [S] of the city's hazard that the recent level and the calibration ask for."""
        moved = self._calibrated(self._uncalibrated(hazard, seen, windows))
        return np.asarray(np.logaddexp(0.0, moved) / hazard, dtype=np.float64)

    def _calibrated(self, log_odds: Float64) -> Float64:
        fitted = self.fitted
        return log_odds + fitted.shift + (fitted.slope - 1.0) * (log_odds - fitted.center)

    # ------------------------------------------------------------ what is known and what is to come

    def _left(self, seen: Catalog, windows: Windows, ahead: _Ahead) -> Float64:
        """Return what the known rows [S, K, N] of each layer still send into the window, of each 1 in all."""
        layers, pairs = self.fitted.layers, _pairs(seen, self.fitted)
        begun = cache(lambda age_s: ahead.reach.begun(-age_s / ahead.step_s))
        sent = ahead.reach.sent[0]
        left = np.empty((len(windows), len(layers), seen.areas))
        for k, layer in enumerate(layers):
            rows = rows_of(layer, seen, pairs)
            column = rows.area.astype(np.int64) if layer.is_local else np.zeros(len(rows), dtype=np.int64)
            columns = seen.areas if layer.is_local else 1
            left[:, k] = rows.decayed(windows.issue_s, column, columns, layer.decay_s)
            left[:, k] *= np.exp(seen.delay_s / layer.decay_s)
            left[:, k] *= sent[k]
            window, row = rows.younger(windows.issue_s, self.fitted.blind_s)
            ages_s, age = np.unique(windows.issue_s[window] - seen.delay_s - rows.time_s[row], return_inverse=True)
            change = np.array([begun(each)[k] - np.exp(-each / layer.decay_s) * sent[k] for each in ages_s.tolist()])
            if layer.is_local and len(row):
                np.add.at(left[:, k], (window, column[row]), change[age, column[row]])
            elif len(row):
                for n in range(seen.areas):
                    np.add.at(left[:, k, n], window, change[age, n])
        return left

    def _to_come(self, start_s: Int64, ahead: _Ahead) -> tuple[Float64, Float64]:
        """Return events [S, N] of the rhythm that lead into the window, and what incidents yet to come will set off."""
        target, step_s = ahead.reach.target, ahead.step_s
        steps = len(target)
        base = np.empty((len(start_s), target.shape[1]))
        arriving = np.zeros_like(base)
        rows = max(1, CHUNK // steps)
        for begin in range(0, len(start_s), rows):
            part = slice(begin, begin + rows)
            times_s = start_s[part, None] + np.arange(steps) * step_s
            base[part] = product(self.fitted.rhythm.per_s(times_s + step_s // 2), target * step_s)
            for each, harm in zip(self.fitted.arrivals, ahead.harm, strict=True):
                expected = each.expected(times_s, step_s, self.fitted.anchor_s)
                arriving[part] += product(expected, harm)
        return base, arriving


def _step(name: str, log_odds: Float64, hazards: Float64) -> Step:
    """Return a step of the city's log-odds [S], of which hazards [S, N] say how they are shared out."""
    correction = np.logaddexp(0.0, log_odds) / hazards.sum(axis=1)
    return Step(name=name, p=expit(log_odds), areas=-np.expm1(-hazards * correction[:, None]))


def _pairs(seen: Catalog, fitted: HewsNetFit) -> Catalog:
    """Return the pairs of incidents that some layer shows."""
    only = tuple({(layer.stream, layer.partner) for layer in fitted.layers if layer.partner})
    seen = seen if only else seen.take(slice(0))
    return pair_rows(seen, fitted.step_s, fitted.anchor_s, tuple(sorted(only)))


def _streams(layers: tuple[Layer, ...]) -> list[list[int]]:
    """Group layers that show the same incidents, other than target events: what arrives of them arrives for all."""
    same: dict[tuple[str, str | None, float, int | None], list[int]] = {}
    for k, layer in enumerate(layers):
        if layer.partner or layer.stream != TARGETS:
            same.setdefault((layer.stream, layer.partner, layer.within_m, layer.origin), []).append(k)
    return list(same.values())


class _Fit:
    """One fit."""

    def __init__(self, past: Catalog, begin_s: int, end_s: int, step_s: int, blind_s: int = 0) -> None:
        is_event = starts(past, blind_s) & past.within(begin_s, end_s)
        self.past, self.begin_s, self.end_s = past, begin_s, end_s
        self.cell_s = cell_of(step_s)
        self.cells_s = np.arange(begin_s, end_s, self.cell_s, dtype=np.int64)
        time_s, area = past.time_s[is_event], past.area[is_event].astype(np.int64)
        self.group = Group(time_s=time_s, area=area, begin_s=begin_s, end_s=end_s, blind_s=blind_s)
        self.pairs = pair_rows(past, step_s, begin_s)

    def run(self) -> _State:
        """Choose layers, adjust their decays, take out what does not pay."""
        share = np.bincount(self.group.area, minlength=self.past.areas) / max(1, len(self.group.area))
        groups = candidates(self.past, self.pairs, self.group, share)
        price = 0.5 * np.log(len(self.group.time_s)) + np.log(sum(len(group.layers) for group in groups))
        state = self._learned([], CYCLES)
        while len(state.layers) < MOST_LAYERS:
            layer = _best(groups, state, price)
            if layer is None:
                break
            trial = self._learned([*state.layers, layer], CYCLES)
            if trial.value - state.value < price:
                break
            state = self._adjusted(trial, [len(trial.layers) - 1])
        state = self._adjusted(state, list(range(len(state.layers) - 1)))
        state = self._pruned(state, price)
        return self._learned(state.layers, LAST_CYCLES)

    def _learned(self, layers: list[Layer], cycles: int, rhythm: Rhythm | None = None) -> _State:
        """Learn weights for given layers, and the rhythm unless it is given, too."""
        net = HewsNet.untrained(self.past.areas, [layer.is_local for layer in layers])
        events = len(self.group.time_s)
        left = np.empty((events, len(layers)))
        exposed = np.empty((len(layers), self.past.areas))
        for k, layer in enumerate(layers):
            rows = rows_of(layer, self.past, self.pairs)
            left[:, k] = left_at(rows, layer, self.group)
            exposed[k] = exposure(rows, layer.decay_s, self.group)
        chance = np.ones(events)
        for _ in range(cycles):
            kept = rhythm or fit_rhythm(self.cells_s, self.cell_s, self.group.time_s, chance)
            evidence = Evidence(
                base=kept.per_s(self.group.time_s),
                area=self.group.area,
                left=left,
                base_total=float(kept.per_s(self.cells_s).sum() * self.cell_s),
                exposure=exposed,
            )
            chance = net.learn(evidence, ROUNDS if layers else 2)
            if not layers:
                break
        return _State(layers=layers, net=net, evidence=evidence, rhythm=kept, value=net.log_likelihood(evidence))

    def _adjusted(self, state: _State, which: list[int]) -> _State:
        """Move decays of some layers, and how near pairs must be, while that raises the likelihood.

        The rhythm stays meanwhile, as it hardly depends on them and takes longest to learn.
        """
        for k in which:
            for name in ("decay_s", "within_m"):
                for factor in FACTORS:
                    while (trial := self._moved(state, k, name, factor)).value > state.value + LEAST_GAIN:
                        state = trial
        return state

    def _moved(self, state: _State, k: int, name: str, factor: float) -> _State:
        """Multiply one property of one layer and learn anew; return the state itself if that cannot be."""
        value = getattr(state.layers[k], name) * factor
        # What fades before a row may be looked at is known by its last traces alone: no fit tells how strong it is.
        least, most = (0.0, RADII_M[-1]) if name == "within_m" else (float(self.group.blind_s), np.inf)
        if not least < value <= most:
            return state
        changed = replace(state.layers[k], **{name: value})
        return self._learned([*state.layers[:k], changed, *state.layers[k + 1 :]], CYCLES, state.rhythm)

    def _pruned(self, state: _State, price: float) -> _State:
        """Take out the layers that do not pay for themselves."""
        state = self._learned(state.layers, CYCLES)
        while state.layers:
            trials = [self._learned(state.layers[:k] + state.layers[k + 1 :], CYCLES) for k in range(len(state.layers))]
            best = max(trials, key=lambda trial: trial.value)
            if state.value - best.value >= price:
                break
            state = best
        return state


def _best(groups: list[Candidates], state: _State, price: float) -> Layer | None:
    """Return the candidate that promises most, if more than its price."""
    base, layers = state.net.rates(state.evidence)
    rate = base + layers.sum(axis=1)
    chosen, best = None, 0.0
    for group in groups:
        gain = _promise(group, rate) - price
        k = int(np.argmax(gain)) if len(gain) else -1
        if k >= 0 and gain[k] > best and group.layers[k] not in state.layers:
            chosen, best = group.layers[k], float(gain[k])
    return chosen


def _level_weights(ratios: Float64, y: Bool, log_odds: Float64) -> Float64:
    """Return weights [P] of ratios [S, P] on top of log-odds [S], none below 0: more never means less to come."""
    weights, kept = np.zeros(ratios.shape[1]), np.arange(ratios.shape[1])
    while len(kept):
        fitted = fit_with_offset(ratios[:, kept], y, log_odds, PRIOR_LEVEL)
        if (fitted >= 0).all():
            weights[kept] = fitted
            break
        kept = np.delete(kept, int(np.argmin(fitted)))
    return weights


def _promise(group: Candidates, rate: Float64) -> Float64:
    """Return what each candidate [K] alone adds to the likelihood: the maximum of sum log(1 + w x / rate) - w total.

    Newton's method from w = 0 never overshoots, since the slope falls ever more slowly. Rare layers promise nothing.
    """
    at_start = group.left.T @ (1 / rate) - group.total  # slopes; where they do not rise, the best weight is 0
    promising = np.flatnonzero((group.total >= FEWEST_ROWS) & (at_start > 0))
    u, total = group.left[:, promising].tocsc(), group.total[promising]
    u.data = u.data / rate[u.indices]
    column = np.repeat(np.arange(len(promising)), np.diff(u.indptr))
    weight = np.zeros(len(promising))
    for _ in range(NEWTON_STEPS):
        part = u.data / (1 + weight[column] * u.data)
        slope = np.bincount(column, weights=part, minlength=len(weight)) - total
        bend = np.bincount(column, weights=part**2, minlength=len(weight))
        weight += np.where(slope > 0, slope / np.maximum(bend, 1e-300), 0.0)
    gain = np.bincount(column, weights=np.log1p(weight[column] * u.data), minlength=len(weight)) - weight * total
    promise = np.zeros(len(group.total))
    promise[promising] = gain
    return promise
