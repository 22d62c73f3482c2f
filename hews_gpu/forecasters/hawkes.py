"""A temporal Hawkes process on top of the climatology, fitted by likelihood: what sets off target events, how soon.

The rate of target events at time s, given everything before, is

    rate(s) = level * rhythm(s) + sum over terms (c, tau), over rows j of stream c before s, of
              branching * exp(-(s - s_j) / tau) / tau,

with `rhythm` the climatology: without excitation the forecast is the climatology's. A term says: an incident of stream
c sets off so many target events directly, after an exponential delay. Targets are a stream like others (then it is
self-excitation, always in the law).
For given terms the log-likelihood, sum log rate(s_i) - integral of rate, is concave in level and branchings, which stay
at 0 or above (Ozaki, 1979, Annals of the Institute of Statistical Mathematics 31). Terms are taken one after the other
while the extended BIC (Chen & Chen, 2008, Biometrika 95) improves; decays come from a grid.

The forecast is the probability of at least one event in [t + lead, t + lead + horizon), with what may yet happen
between now and then properly in it. Clusters are independent, so with N(m) the chance that an event in step m of the
unknown time has neither itself nor a descendant in the window (0 inside it), and A(m) the share of an event's
excitation, sent out after step m, that leads to one,

    A_tau(m - 1) = (1 - q) (1 - N(m)) + q A_tau(m),  q = exp(-step / tau),  N(m) = exp(-sum of branching * A_tau(m)),

-log P(none) = sum over steps of base * (1 - N) + (rates of the other streams) * (1 - their N)
             + sum over terms of branching * A(now) * (decayed count of what is known).

A fit that is blind to the rows of the last `blind` seconds learns from those events that none precedes by less, and its
kernels begin at that age. Those of a forecast have to, too: `Reach.begun` stands where A does, and for younger rows.

Rows of the last `delay` are unknown like the future: the sums start where knowledge ends. (Poisson clusters: Daley &
Vere-Jones, An Introduction to the Theory of Point Processes, vol. I, 2nd ed., 2003, section 6.3.)

Shapes: S windows, E target events, P terms, L steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import TARGETS, Catalog, Outcomes
from hews_gpu.forecasters.climatology import Climatology, fit_climatology, hour_of_week, month_of_year
from hews_gpu.forecasters.reach import Reach
from hews_gpu.forecasters.sums import product
from hews_gpu.forecasters.threads import one_thread
from hews_gpu.units import HOUR_S

__all__ = [
    "BLIND_S",
    "Hawkes",
    "Law",
    "Rhythm",
    "Term",
    "cell_of",
    "fit_rhythm",
    "probability",
    "starts",
    "step_of",
    "weekly",
]


DECAYS_S = (1 * HOUR_S, 3 * HOUR_S, 8 * HOUR_S, 24 * HOUR_S, 72 * HOUR_S, 28 * 24 * HOUR_S)
BLIND_S = 1800  # rows of one event differ by so much in time: where forecasts leave them alone, the fit does too
MOST_TERMS = 8
ROUNDS = 8  # of expectation maximization for the rhythm; eight more change the log-likelihood by a tenth
LARGEST_BRANCHING = 0.95  # of targets by targets: at 1 the process would explode
STEPS_S = (60, 300, 600, 1800, 3600)  # lengths of a step of unknown time: the finest that needs no more than ...
MOST_STEPS = 400
LONGEST_CELL_S = 4 * HOUR_S  # windows longer than this have a rhythm within them: then cells are hours
CHUNK = 1 << 21  # hourly rates gathered at once: 16 MB


@dataclass(frozen=True)
class Term:
    """Rows of one stream set off target events."""

    stream: str
    decay_s: float
    branching: float = 0.0
    """Mean number of target events that one row sets off directly."""


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """Events a second as a climatology of short cells of time has it, constant within each."""

    climatology: Climatology
    cell_s: int
    anchor_s: int
    """A time at which some cell begins."""

    def per_s(self, time_s: Int64) -> Float64:
        """Return the rate at local times, of any shape."""
        table = np.logaddexp(0.0, self.climatology.intercept + self.climatology.table)  # -log(1 - p) of a cell
        begin_s = time_s - (time_s - self.anchor_s) % self.cell_s
        return np.asarray(table[hour_of_week(begin_s), month_of_year(begin_s)] / self.cell_s, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Law:
    """A fitted process."""

    rhythm: Rhythm
    level: float
    terms: tuple[Term, ...]
    others_per_s: dict[str, Float64] = field(default_factory=dict)
    """Rate of each other stream in `terms` by hour of the week, [168]."""
    log_likelihood: float = 0.0
    blind_s: int = 0
    """Age at which a row begins to set off events."""


class Hawkes:
    """The forecaster."""

    fitted: Law

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        begin_s, end_s = int(train.windows.begin_s[0]), int(train.windows.end_s[-1])
        known = past.until(end_s + past.delay_s).known_at_once()
        blind_s = min(past.delay_s + train.windows.lead_s, BLIND_S)
        with one_thread():
            self.fitted = fit_law(known, begin_s, end_s, cell_of(train.windows.horizon_s), blind_s)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return probability(self.fitted, seen, windows)


def fit_law(past: Catalog, begin_s: int, end_s: int, cell_s: int = HOUR_S, blind_s: int = 0) -> Law:
    """Fit the process to the target events in [begin, end).

    Args:
        past: all rows up to then, each known when it happened.
        begin_s: begin of the stretch; rows before it set off events in it.
        end_s: its end.
        cell_s: length of the cells of the rhythm, the first of which begins at `begin_s`.
        blind_s: rows that are no older than this are left out: an event may be reported by several of them.
    """
    event_s = past.time_s[starts(past, blind_s) & past.within(begin_s, end_s)]
    cells_s = np.arange(begin_s, end_s, cell_s, dtype=np.int64)
    candidates = _Candidates(past, event_s, begin_s, end_s, blind_s)
    base = _Base(cells_s, cell_s, event_s, np.ones(len(event_s)))
    chosen, theta, value = _select(candidates, base)
    for _ in range(ROUNDS):
        base = _Base(cells_s, cell_s, event_s, theta[0] * base.at_events / (candidates.design(base, chosen) @ theta))
        theta, value = _maximize(candidates.design(base, chosen), candidates.totals(base, chosen))
    terms = tuple(Term(*candidates.names[k], branching=float(b)) for k, b in zip(chosen, theta[1:], strict=True))
    terms = tuple(term for term in terms if term.branching > 0 or term.stream == TARGETS)
    others = {term.stream for term in terms if term.stream != TARGETS}
    rates = {}
    for name in sorted(others):
        rows, weeks = weekly(past.time_s[past.columns((name,)) == 0], begin_s, end_s)
        rates[name] = np.asarray(rows / (weeks * HOUR_S), dtype=np.float64)
    return Law(
        rhythm=base.rhythm,
        level=float(theta[0]),
        terms=terms,
        others_per_s=rates,
        log_likelihood=value,
        blind_s=blind_s,
    )


def starts(past: Catalog, blind_s: int) -> Bool:
    """Return which rows [E] are target events that no other of their neighborhood precedes by up to `blind_s`.

    What follows so soon no kernel explains. In the base each such row would count as an event by chance, as likely to
    come alone, and a city of bursts as one in which most windows hold a target.
    """
    row = np.flatnonzero(past.is_event)
    row = row[np.lexsort((past.time_s[row], past.area[row]))]
    is_same = np.diff(past.area[row], prepend=-1) == 0
    is_start = np.zeros(len(past), dtype=bool)
    is_start[row] = ~(is_same & (np.diff(past.time_s[row], prepend=0) <= blind_s)) | (blind_s == 0)
    return is_start


def cell_of(horizon_s: int) -> int:
    """Return the length of a rhythm's cells, seconds: the windows', or an hour where a rhythm lies within them."""
    return horizon_s if horizon_s <= LONGEST_CELL_S else HOUR_S


def fit_rhythm(cells_s: Int64, cell_s: int, event_s: Int64, chance: Float64) -> Rhythm:
    """Fit the rhythm of events that nothing set off, from the chance of each event to be one.

    The rhythm of all events is not theirs: what precursors set off follows the rhythm of the precursors.
    """
    silent = np.zeros(len(cells_s))  # log of the chance that a cell held no such event
    np.add.at(silent, (event_s - cells_s[0]) // cell_s, np.log1p(-np.minimum(chance, 1 - 1e-9)))
    climatology = fit_climatology(cells_s, -np.expm1(silent))
    return Rhythm(climatology=climatology, cell_s=cell_s, anchor_s=int(cells_s[0]))


class _Base:
    """The rhythm at the events, and its integral over the stretch."""

    def __init__(self, cells_s: Int64, cell_s: int, event_s: Int64, chance: Float64) -> None:
        self.rhythm = fit_rhythm(cells_s, cell_s, event_s, chance)
        self.at_events = self.rhythm.per_s(event_s)
        self.total = float(self.rhythm.per_s(cells_s).sum() * cell_s)


class _Candidates:
    """The excitation of every possible term at each event, and its integral over the stretch."""

    def __init__(self, past: Catalog, event_s: Int64, begin_s: int, end_s: int, blind_s: int = 0) -> None:
        past = replace(past, known_s=past.time_s + blind_s)
        present = np.unique(past.stream[past.is_first])
        streams = tuple(past.streams[k] for k in present)
        column = past.columns(streams)
        self.names = [(name, decay_s) for decay_s in DECAYS_S for name in streams]
        self.at_events = np.hstack(  # [E, P]
            [past.decayed(event_s, column, len(streams), decay_s) / decay_s for decay_s in DECAYS_S]
        )
        kept = column >= 0
        since_s, until_s = (np.maximum(edge - past.time_s[kept], blind_s) for edge in (begin_s, end_s))
        inside = [np.exp(-since_s / decay_s) - np.exp(-until_s / decay_s) for decay_s in DECAYS_S]
        totals = [np.bincount(column[kept], weights=each, minlength=len(streams)) for each in inside]
        self.total = np.concatenate(totals)  # [P]

    def is_self(self) -> Bool:
        return np.array([name == TARGETS for name, _ in self.names])

    def design(self, base: _Base, chosen: list[int]) -> Float64:
        """Return the base and some terms at each event [E, 1 + P]."""
        return np.column_stack([base.at_events, self.at_events[:, chosen]])

    def totals(self, base: _Base, chosen: list[int]) -> Float64:
        """Return their integrals [1 + P]."""
        return np.array([base.total, *self.total[chosen]])


def _select(candidates: _Candidates, base: _Base) -> tuple[list[int], Float64, float]:
    """Return the terms that the extended BIC keeps, their branchings behind the level, and the log-likelihood."""
    least_gain = 0.5 * np.log(len(base.at_events)) + np.log(len(candidates.names))
    chosen: list[int] = []
    theta, value = _maximize(candidates.design(base, []), candidates.totals(base, []))
    while len(chosen) < MOST_TERMS:
        scores = _score_statistics(candidates, chosen, candidates.design(base, chosen) @ theta)
        if not chosen:
            scores[~candidates.is_self()] = -np.inf  # the first term is self-excitation
        trial = [*chosen, int(np.argmax(scores))]
        trial_theta, trial_value = _maximize(candidates.design(base, trial), candidates.totals(base, trial))
        if chosen and trial_value - value < least_gain:
            break
        chosen, theta, value = trial, trial_theta, trial_value
    return chosen, theta, value


def _score_statistics(candidates: _Candidates, chosen: list[int], rate: Float64) -> Float64:
    """Return how steeply [P] the log-likelihood rises with each term that is not in yet, in units of its spread."""
    relative = candidates.at_events / rate[:, None]
    slope = relative.sum(axis=0) - candidates.total
    spread = np.sqrt(np.maximum((relative**2).sum(axis=0), 1e-300))
    scores = np.asarray(slope / spread, dtype=np.float64)
    scores[chosen] = -np.inf
    return scores


def _maximize(design: Float64, total: Float64) -> tuple[Float64, float]:
    """Return coefficients >= 0 that maximize ``sum log(design @ c) - total @ c``, and the maximum; concave."""
    from scipy.optimize import minimize

    def negative(c: Float64) -> tuple[float, Float64]:
        rate = np.maximum(design @ c, 1e-300)
        return float(total @ c - np.log(rate).sum()), total - (design / rate[:, None]).sum(axis=0)

    start = np.full(len(total), 0.05)
    start[0] = 1.0
    most = [(1e-6, None)] + [(0.0, None)] * (len(total) - 1)
    result = minimize(
        negative, start, jac=True, bounds=most, method="L-BFGS-B", options={"ftol": 1e-12, "maxiter": 500}
    )
    return np.asarray(result.x, dtype=np.float64), -float(result.fun)


def probability(law: Law, seen: Catalog, windows: Windows) -> Float64:
    """Return the chance [S] of at least one target event in each window, given the rows known before its issue."""
    unknown_s = seen.delay_s + windows.lead_s
    step_s = step_of(unknown_s, windows.horizon_s)
    lead, horizon = unknown_s // step_s, windows.horizon_s // step_s
    reach, branching = _reach(law, lead, horizon, step_s)
    some_other = {}
    for name in law.others_per_s:
        mine = np.array([term.stream == name for term in law.terms])
        some_other[name] = np.array([-np.expm1(-float(branching[mine] @ later[mine])) for later in reach.later])
    start_s = windows.issue_s - seen.delay_s  # where knowledge ends
    total = np.zeros(len(windows))
    at_once = max(1, CHUNK // (lead + horizon))
    for begin in range(0, len(windows), at_once):
        part = slice(begin, begin + at_once)
        times_s = start_s[part, None] + np.arange(lead + horizon) * step_s + step_s // 2
        total[part] = product(law.level * law.rhythm.per_s(times_s), reach.target[:, None] * step_s)[:, 0]
        hour = hour_of_week(times_s)
        for name, weight in some_other.items():
            total[part] += product(law.others_per_s[name][hour], weight[:, None] * step_s)[:, 0]
    for k, term in enumerate(law.terms):
        column = seen.columns((term.stream,))
        decayed = seen.decayed(windows.issue_s, column, 1, term.decay_s)[:, 0]
        total += float(branching[k] * reach.sent[0, k]) * decayed * np.exp(seen.delay_s / term.decay_s)
        rows = seen.take(column == 0)
        window, row = rows.younger(windows.issue_s, law.blind_s)
        ages_s, age = np.unique(start_s[window] - rows.time_s[row], return_inverse=True)
        change = [reach.begun(-each / step_s)[k] - np.exp(-each / term.decay_s) * reach.sent[0, k] for each in ages_s]
        total += branching[k] * np.bincount(window, weights=np.array(change)[age], minlength=len(total))
    return -np.expm1(-total)


def step_of(unknown_s: int, horizon_s: int) -> int:
    """Return the finest step that divides both spans and is not taken too often; else the coarsest that divides."""
    fitting = [step for step in STEPS_S if unknown_s % step == 0 and horizon_s % step == 0]
    enough = [step for step in fitting if (unknown_s + horizon_s) // step <= MOST_STEPS]
    return (enough or fitting[-1:] or [int(np.gcd(unknown_s, horizon_s))])[0]


def _reach(law: Law, lead: int, horizon: int, step_s: int) -> tuple[Reach, Float64]:
    """Return how far the excitation of each term carries, and the branchings [P] that it is multiplied by."""
    terms, steps = len(law.terms), lead + horizon
    branching = np.array([term.branching for term in law.terms])
    is_self = np.array([term.stream == TARGETS for term in law.terms], dtype=bool)
    scale = min(1.0, LARGEST_BRANCHING / max(float(branching[is_self].sum()), 1e-12))
    branching = np.where(is_self, branching * scale, branching)
    reach = Reach(
        keep=np.array([np.exp(-step_s / term.decay_s) for term in law.terms]),
        target=np.ones(steps),
        sent=np.zeros((steps + 1, terms)),
        later=np.zeros((steps, terms)),
        blind=law.blind_s / step_s,
    )
    for m in range(steps - 1, -1, -1):
        if m < lead:
            reach.target[m] = -np.expm1(-float(branching[is_self] @ reach.begun(m + 1)[is_self]))
        reach.sent[m] = (1 - reach.keep) * reach.target[m] + reach.keep * reach.sent[m + 1]
        reach.later[m] = reach.begun(m + 0.5)
    return reach, branching


def weekly(time_s: Int64, begin_s: int, end_s: int) -> tuple[Float64, float]:
    """Return how many times of [begin, end) each hour of the week [168] holds, and the weeks in it.

    One is added to the hours together, so that none is 0.
    """
    inside = time_s[(time_s >= begin_s) & (time_s < end_s)]
    count = np.bincount(hour_of_week(inside), minlength=168) + 1 / 168
    return np.asarray(count, dtype=np.float64), (end_s - begin_s) / (168 * HOUR_S)
