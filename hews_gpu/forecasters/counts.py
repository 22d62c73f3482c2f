"""A law of few counts: the rate of target events in every neighborhood, raised or lowered by what lately happened.

    rate[n](window) = base(window) * share[n] * adjustment[n] * clock(window) * exp(sum over terms of weight * response)

A term is a response to rows of one source that fade with a kernel (`count_columns`); one for all categories mixes their
logarithms, as slow hidden states ask for, of which every category tells a little. Of the hundreds of thousands of terms
those are taken one by one that raise the likelihood most, each for as long as that exceeds what the best of so many
would gain by chance; then each may be replaced by a better one, given the others. Base is the recent level, and its
clock is corrected, as that of all target events is not that of those that no count explains.

The likelihood is that of a classifier which tells the target events from moments and places drawn from a rate that is
known (noise-contrastive estimation: Gutmann & Hyvarinen, 2012, JMLR 13; for point processes: Baddeley et al., 2014,
Biometrika 101), so that the many quiet windows and places need not be gone through. They are drawn from the base, and
once more from the law first found, as what is learned is most precise where few are missing.

Shapes: S windows, N neighborhoods, M samples (a window and a neighborhood each), P terms, C columns, L stretches of
age, Q kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from hews_gpu.arrays import Bool, Float32, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.base import Forecaster, log_odds
from hews_gpu.forecasters.catalog import Catalog, Outcomes, target_events
from hews_gpu.forecasters.climatology import hour_of_week
from hews_gpu.forecasters.count_columns import (
    DECAYS,
    KERNELS,
    MOST_STREAMS,
    RESPONSES,
    WEEKS,
    Rows,
    Source,
    kernels_beside,
    sources_of,
)
from hews_gpu.forecasters.hidden_weeks import HiddenWeeks
from hews_gpu.forecasters.logistic import expit, fit_with_offset, logit
from hews_gpu.forecasters.threads import one_thread

__all__ = ["Counts", "CountsFit", "Term"]

MOST = 12  # terms
LEAST_GAIN, LEAST_FAR_GAIN = 12.0, 16.0
"""Nats that a term must gain; one of pairs or of one neighborhood more, of which there are many times as many."""
FEWEST_EVENTS, MOST_EVENTS = 50, 2_000  # target events learned from, the last ones
DRAWN, ROUNDS = 10, 2  # samples per target event, and how often they are drawn
OF_BASE = 0.3  # of the samples of a later round
MOST_FAR, LEAST_PROMISE = 56, 4.5  # pairs and origins looked at more than once; nats that the best kernel promises
LOOKED_AT, TRIED = 24, 8  # kernels whose responses are looked at, and of these those whose likelihoods are worked out
STEPS, LARGEST_STEP = 4, 1.0  # of Newton's method for one column
MIXED_WHERE = ("here", "city")  # terms of all categories are
PRECISION = 1 / 0.5**2  # of the prior of each weight, of a column with standard deviation 1
PRIOR_SHARE, PRIOR_EVENTS = 0.5, 10.0  # events of each neighborhood, for its share and for its adjustment
DAILY, PRECISION_CLOCK = 3, 1 / 0.3**2  # harmonics of the day, and of the prior of their weights
LEAST_WEIGHT = 1e-6  # precision of the constant
TINY = 1e-3
Columns = TypeVar("Columns", Float32, Float64)
ADJUSTED = 2  # times in turn with the weights
LEAST_BETTER = 1.0  # nats by which another term must be better to take a place


@dataclass(frozen=True, kw_only=True)
class Term:
    """One cause."""

    sources: tuple[Source, ...]
    mix: tuple[float, ...]
    """Weight of each source's rows."""
    kernel: int
    response: str

    @property
    def price(self) -> float:
        """Nats that it must gain."""
        return (LEAST_FAR_GAIN if self.sources[0].is_far else LEAST_GAIN) + (len(self.sources) - 1) / 2

    def value(self, rows: Sequence[Float32], bounds: Float32) -> Float64:
        """Return the column that the weight multiplies, from each source's rows under the kernel.

        Args:
            rows: of each source.
            bounds: [2] least and most that it responded to in what was learned from: beyond, nobody knows the law.
        """
        return np.asarray(RESPONSES[self.response](np.clip(self.mixed(rows), *bounds)), dtype=np.float64)

    def mixed(self, rows: Sequence[Float32]) -> Float32:
        """Return what the response is to."""
        return np.maximum(sum(np.float32(part) * x for part, x in zip(self.mix, rows, strict=True)), np.float32(0))


@dataclass(frozen=True, kw_only=True)
class CountsFit:
    """What `Counts` learns, beside what its base does."""

    terms: tuple[Term, ...] = ()
    weights: Float64  # [1 + 2 * DAILY + P]
    bounds: Float32  # [P, 2] of what each term may respond to
    share: Float64  # [N], adjusted
    around: Float64  # [N, N]
    step_s: int
    anchor_s: int
    weeks: HiddenWeeks | None = None


class Counts:
    """The forecaster.

    Args:
        base: whose rate the law multiplies.
        borders: [N, N] of each neighborhood's border the share that it has with each other one; no neighborhood borders
            on another unless given.
        seed: decides which samples are drawn.
    """

    fitted: CountsFit

    def __init__(self, base: Forecaster, borders: Float64 | None = None, seed: int = 0) -> None:
        self._base, self._borders, self._seed = base, borders, seed

    @property
    def parts(self) -> dict[str, Forecaster]:
        """What it asks."""
        return {"base": self._base}

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        self._base.fit(past, train, calibration)
        area, window = _first_events(past, train.windows)
        first = int(window[0]) if len(window) else 0
        windows = train.windows.select(np.arange(first, len(train)))
        share = np.bincount(area, minlength=past.areas) + PRIOR_SHARE
        self.fitted = CountsFit(
            weights=np.zeros(1 + 2 * DAILY),
            bounds=np.zeros((0, 2), dtype=np.float32),
            share=share / share.sum(),
            around=np.zeros((past.areas, past.areas)) if self._borders is None else self._borders,
            step_s=windows.horizon_s,
            anchor_s=int(windows.begin_s[0]),
        )
        if len(area) < FEWEST_EVENTS:
            return
        base, rng, sources = self.hazards(past, windows), np.random.default_rng(self._seed), sources_of(past)
        drawn_from = base / base.sum()
        with one_thread():
            weeks = HiddenWeeks.fitted(past, windows, past.placed.busiest(MOST_STREAMS))
            if weeks is not None:
                self.fitted, sources = replace(self.fitted, weeks=weeks), [*sources, WEEKS]
            for _ in range(ROUNDS):
                samples = _drawn(rng, base, drawn_from, area, window - first, windows)
                rows = self._rows(past, windows, sources)
                search = _Search(samples, rows.binned(sources, samples.window, samples.area), self.fitted.terms)
                terms, fitted = search.grown(self.fitted.terms)
                self.fitted = replace(
                    self.fitted,
                    terms=terms,
                    weights=fitted.weights,
                    bounds=search.bounds(terms),
                    share=share / share.sum() * np.exp(fitted.adjustment),
                )
                if not terms:
                    break
                sources = search.sources
                law = self.hazards(past, windows)
                drawn_from = OF_BASE * base / base.sum() + (1 - OF_BASE) * law / law.sum()

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return expit(self.log_odds(seen, windows))

    def log_odds(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log-odds [S]."""
        if not self.fitted.terms:
            return log_odds(self._base, seen, windows)
        return logit(-np.expm1(-self.hazards(seen, windows).sum(axis=1)))

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S, N] of a target in each window and neighborhood."""
        return np.asarray(-np.expm1(-self.hazards(seen, windows)), dtype=np.float64)

    def hazards(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the events [S, N] expected."""
        fitted = self.fitted
        clock = _clock(windows)
        log_factor = (clock * fitted.weights[: clock.shape[1]]).sum(axis=1)[:, None]
        rows = self._rows(seen, windows, [source for term in fitted.terms for source in term.sources])
        for term, weight, bounds in zip(fitted.terms, fitted.weights[clock.shape[1] :], fitted.bounds, strict=True):
            value = term.value([rows.faded(source, term.kernel) for source in term.sources], bounds)
            log_factor = log_factor + weight * value
        base = -np.log1p(-self._base.predict(seen, windows))
        return np.asarray(base[:, None] * fitted.share * np.exp(log_factor), dtype=np.float64)

    def _rows(self, seen: Catalog, windows: Windows, sources: Sequence[Source]) -> Rows:
        fitted = self.fitted
        return Rows(seen, windows.issue_s, fitted.around, sources, fitted.step_s, fitted.anchor_s, fitted.weeks)


# ------------------------------------------------------------ samples


@dataclass(frozen=True, kw_only=True)
class _Samples:
    """Target events and drawn samples, by neighborhood."""

    window: Int64  # [M]
    area: Int64  # [M] sorted
    areas: int  # N
    y: Bool  # [M] whether an event
    offset: Float64  # [M] log-odds under the base
    clock: Float64  # [M, 1 + 2 * DAILY]

    def within(self, x: Columns, weight: Float32) -> Columns:
        """Return columns [M, C] less their weighted mean in each neighborhood, whose long-run rate is known."""
        _, first, count = np.unique(self.area, return_index=True, return_counts=True)
        mean = np.add.reduceat(x * weight[:, None], first) / np.add.reduceat(weight, first)[:, None]
        return x - np.repeat(mean, count, axis=0)

    def spread(self, x: Float32, weight: Float32) -> Float32:
        """Return the weighted sum of squares [C] of what `within` returns."""
        first = np.unique(self.area, return_index=True)[1]
        weighted = x * weight[:, None]
        total = np.add.reduceat(weighted, first) ** 2 / np.add.reduceat(weight, first)[:, None]
        return np.asarray(np.einsum("mc,mc->c", weighted, x) - total.sum(axis=0), dtype=np.float32)

    def unexplained(self, log_odds_said: Float64) -> tuple[Float32, Float32]:
        """Return what a law leaves unexplained of each sample [M], and the variance [M] that it expects.

        The former is such that its product with a column is that with the column within neighborhoods.
        """
        p = expit(log_odds_said)
        left, weight = (self.y - p).astype(np.float32), (p * (1 - p)).astype(np.float32)
        _, first, count = np.unique(self.area, return_index=True, return_counts=True)
        part = np.add.reduceat(left, first) / np.add.reduceat(weight, first)
        return left - weight * np.repeat(part, count), weight


def _first_events(past: Catalog, windows: Windows) -> tuple[Int64, Int64]:
    """Return neighborhood and window [E] of the first target event of each window and neighborhood, the last ones.

    What is forecast is whether there is one: shots come in bursts, and each of a burst would count as news otherwise.
    """
    area, window = target_events(past, windows)
    cell = np.unique(window * past.areas + area)[-MOST_EVENTS:]
    return cell % past.areas, cell // past.areas


def _drawn(
    rng: np.random.Generator, base: Float64, drawn_from: Float64, area: Int64, window: Int64, windows: Windows
) -> _Samples:
    """Return the target events, and samples drawn with probabilities [S, N]."""
    drawn = DRAWN * len(area)
    cell = np.concatenate([window * base.shape[1] + area, rng.choice(base.size, drawn, p=drawn_from.ravel())])
    order = np.argsort(cell % base.shape[1], kind="stable")
    cell = cell[order]
    return _Samples(
        window=cell // base.shape[1],
        area=cell % base.shape[1],
        areas=base.shape[1],
        y=order < len(area),
        offset=np.log(base.ravel()[cell] / drawn_from.ravel()[cell] / drawn),
        clock=_clock(windows)[cell // base.shape[1]],
    )


def _clock(windows: Windows) -> Float64:
    """Return a column of ones, and harmonics of the day [S, 1 + 2 * DAILY]."""
    angle = 2 * np.pi * (hour_of_week(windows.begin_s) % 24)[:, None] / 24 * np.arange(1, DAILY + 1)
    return np.hstack([np.ones((len(windows), 1)), np.cos(angle), np.sin(angle)])


# ------------------------------------------------------------ choice of terms


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """Weights of some terms, and what follows from them."""

    weights: Float64  # [1 + 2 * DAILY + P]
    adjustment: Float64  # [N] logs
    log_odds: Float64  # [M]
    value: float
    """Log likelihood."""


class _Search:
    """A search for terms.

    Args:
        samples: what is learned from.
        binned: rows [M, L] by age of every source; of pairs and origins those that promise little are let go.
        kept: terms whose sources stay.
    """

    def __init__(self, samples: _Samples, binned: Iterable[tuple[Source, Float32]], kept: Sequence[Term]) -> None:
        self._samples = samples
        self._spread: dict[Source, Float32] = {}
        self._weight = np.ones(len(samples.y), dtype=np.float32)
        residual, weight = self._samples.unexplained(self._learned([]).log_odds)
        self._weight = weight
        needed, far = {source for term in kept for source in term.sources}, dict[Source, float]()
        self._rows: dict[Source, Float32] = {}
        for source, rows in binned:
            self._spread[source] = _quadratic(samples.within(rows, weight), weight)
            promise = float(self._promise(rows, source, residual).max())
            if source.is_far and source not in needed:
                if promise < LEAST_PROMISE:
                    continue
                far[source] = promise
                if len(far) > MOST_FAR:
                    least = min(far, key=lambda one: far[one])
                    del far[least]
                    self._rows.pop(least, None)
                    if least == source:
                        continue
            self._rows[source] = rows

    @property
    def sources(self) -> list[Source]:
        """Those that are looked at."""
        return list(self._rows)

    def grown(self, terms: Sequence[Term]) -> tuple[tuple[Term, ...], _Weights]:
        """Return terms to use, begun with some, and their weights: added one by one, then replaced or dropped."""
        terms = list(terms)
        columns = [self._column(term) for term in terms]
        fitted = self._learned(columns)
        while len(terms) < MOST:
            term, gain = self._best(fitted)
            trial = self._learned([*columns, self._column(term)])
            if gain <= term.price or trial.value - fitted.value <= term.price:
                break
            terms, columns, fitted = [*terms, term], [*columns, self._column(term)], trial
        for k in reversed(range(len(terms))):
            others = [*columns[:k], *columns[k + 1 :]]
            without = self._learned(others)
            if fitted.value - without.value <= terms[k].price:
                terms, columns, fitted = [*terms[:k], *terms[k + 1 :]], others, without
                continue
            term, _ = self._best(without)
            replaced = [*columns[:k], self._column(term), *columns[k + 1 :]]
            trial = self._learned(replaced)
            if trial.value - term.price > fitted.value - terms[k].price + LEAST_BETTER:
                terms, columns, fitted = [*terms[:k], term, *terms[k + 1 :]], replaced, trial
        return tuple(terms), fitted

    # ------------------------------------------------------------ weights

    def _column(self, term: Term) -> Float64:
        """Return what a term's weight multiplies [M]."""
        return np.asarray(RESPONSES[term.response](self._mix(term)), dtype=np.float64)

    def _mix(self, term: Term) -> Float32:
        """Return what a term responds to [M]."""
        return term.mixed([self._rows[source] @ KERNELS[:, term.kernel] for source in term.sources])

    def bounds(self, terms: Sequence[Term]) -> Float32:
        """Return the least and most [P, 2] that each term responds to."""
        mixes = [self._mix(term) for term in terms]
        return np.array([(mix.min(), mix.max()) for mix in mixes], dtype=np.float32).reshape(-1, 2)

    def _learned(self, columns: Sequence[Float64]) -> _Weights:
        """Return the weights of columns [M] that make the samples likeliest, and the neighborhoods' adjustments."""
        samples, raw = self._samples, np.column_stack([np.empty((len(self._samples.y), 0)), *columns])
        centered = samples.within(raw, self._weight)
        x = np.hstack([samples.clock, centered])
        clock = np.full(samples.clock.shape[1], PRECISION_CLOCK)
        clock[0] = LEAST_WEIGHT
        precision = np.concatenate([clock, PRECISION * centered.var(axis=0)])
        adjustment = np.zeros(samples.areas)
        events = np.bincount(samples.area[samples.y], minlength=samples.areas)
        for _ in range(ADJUSTED):
            offset = samples.offset + adjustment[samples.area]
            weights = fit_with_offset(x, samples.y, offset, precision)
            expected = np.bincount(samples.area, weights=expit(offset + x @ weights), minlength=samples.areas)
            adjustment += np.log((events + PRIOR_EVENTS) / (expected + PRIOR_EVENTS))
        log_odds_said = samples.offset + adjustment[samples.area] + x @ weights
        value = -float(np.logaddexp(0.0, np.where(samples.y, -log_odds_said, log_odds_said)).sum())
        present, first = np.unique(samples.area, return_index=True)
        adjustment[present] -= (raw - centered)[first] @ weights[samples.clock.shape[1] :]
        return _Weights(weights=weights, adjustment=adjustment, log_odds=log_odds_said, value=value)

    # ------------------------------------------------------------ the best term

    def _best(self, fitted: _Weights) -> tuple[Term, float]:
        """Return the term that gains most beyond its price on top of others, and the nats that it alone gains."""
        residual, _ = self._samples.unexplained(fitted.log_odds)
        looked = self._mixed(fitted)
        promised: list[tuple[float, int, Term]] = []
        for source, rows in self._rows.items():
            promise = self._promise(rows, source, residual)
            for kernel in {*np.argsort(-promise)[:2].tolist(), int(DECAYS[np.argmax(promise[DECAYS])])}:
                term = Term(sources=(source,), mix=(1.0,), kernel=kernel, response="proportional")
                promised.append((float(promise[kernel]) - term.price, len(promised), term))
        looked += [term for *_, term in sorted(promised, reverse=True)[:LOOKED_AT]]
        tried: dict[Term, float] = {}
        self._try(looked, fitted, tried)
        while True:
            best = max(tried, key=lambda term: tried[term] - term.price)
            self._try([replace(best, kernel=kernel) for kernel in kernels_beside(best.kernel)], fitted, tried)
            if max(tried[term] - term.price for term in tried) <= tried[best] - best.price:
                return best, tried[best]

    def _try(self, looked: Sequence[Term], fitted: _Weights, tried: dict[Term, float]) -> None:
        """Work out what the best responses of some terms gain, and add it to what was tried."""
        samples = self._samples
        residual, weight = self._samples.unexplained(fitted.log_odds)
        terms, columns = [], []
        for term in looked:
            if term not in tried:
                mixed = self._mix(term)
                terms += [replace(term, response=response) for response in RESPONSES]
                columns += [answer(mixed) for answer in RESPONSES.values()]
        if not terms:
            return
        x = np.stack(columns, axis=1)
        promise = (residual @ x) ** 2 / np.maximum(samples.spread(x, weight), TINY) / 2
        best = np.argsort(-(promise - np.array([term.price for term in terms])))[:TRIED]
        gain = _gains(samples.within(x[:, best], weight), fitted.log_odds, samples.y)
        for term in looked:
            tried.setdefault(term, 0.0)
        tried |= {terms[k]: float(each) for k, each in zip(best, gain, strict=True)}

    def _mixed(self, fitted: _Weights) -> list[Term]:
        """Return mixes of all categories at each decay, in the direction in which their counts raise the likelihood."""
        residual, weight = self._samples.unexplained(fitted.log_odds)
        mixes = []
        for where in MIXED_WHERE:
            sources = tuple(one for one in self._rows if one.where == where and one.stream and one.partner is None)
            for kernel in DECAYS[3::2].tolist():
                rows = np.stack([self._rows[source] @ KERNELS[:, kernel] for source in sources], axis=1)
                x = self._samples.within(rows, weight)
                precision = PRECISION * x.var(axis=0)
                mix = np.linalg.solve((x * weight[:, None]).T @ x + np.diag(precision), residual @ rows)
                mixes.append(Term(sources=sources, mix=tuple(mix.tolist()), kernel=kernel, response="proportional"))
        return mixes

    def _promise(self, rows: Float32, source: Source, residual: Float32) -> Float32:
        """Return the nats [Q] that each kernel promises: its score statistic."""
        slope = residual @ rows
        return np.asarray((slope @ KERNELS) ** 2 / np.maximum(self._spread[source], TINY) / 2, dtype=np.float32)


def _quadratic(rows: Float32, weight: Float32) -> Float32:
    """Return the weighted sum of squares [Q] of rows [M, L] under each kernel."""
    square = (rows * weight[:, None]).T @ rows
    return np.asarray(((square @ KERNELS) * KERNELS).sum(axis=0), dtype=np.float32)


def _gains(x: Float32, log_odds_said: Float64, y: Bool) -> Float64:
    """Return the log likelihood that each column [M, C] gains when it alone, with a constant, moves log-odds [M]."""
    scale = np.maximum(x.std(axis=0), 1e-6)
    x = x / scale
    start = log_odds_said.astype(np.float32)[:, None]
    shift, slope = np.zeros(x.shape[1], np.float32), np.zeros(x.shape[1], np.float32)
    for _ in range(STEPS):
        p = expit(start + shift + slope * x).astype(np.float32)
        left, weight = y[:, None] - p, p * (1 - p)
        g0, g1 = left.sum(axis=0), (left * x).sum(axis=0)
        h00, h01, h11 = weight.sum(axis=0), (weight * x).sum(axis=0), (weight * x * x).sum(axis=0) + TINY
        determinant = np.maximum(h00 * h11 - h01**2, TINY)
        step = (h00 * g1 - h01 * g0) / determinant
        part = np.minimum(1.0, LARGEST_STEP / np.maximum(np.abs(step), TINY))
        shift, slope = shift + part * (h11 * g0 - h01 * g1) / determinant, slope + part * step
    sign = np.where(y, -1.0, 1.0)[:, None]
    said = (start + shift + slope * x).astype(np.float64)
    before = np.logaddexp(0.0, sign[:, 0] * log_odds_said).sum()
    return np.asarray(before - np.logaddexp(0.0, sign * said).sum(axis=0), dtype=np.float64)
