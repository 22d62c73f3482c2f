"""What speaks against a delivery, and against the rows known at an issue time, before anything is forecast from them.

Each check is a function that returns why nothing is to be issued, in words, or nothing. Those of a delivery compare it
with the one before, and one that fails keeps it out of the vintage store: the next is compared with the last that was
sound. Those of an issue time look at the rows known then, whichever deliveries brought them. Counts are refused only
beyond what chance explains: `SD` standard deviations of a Poisson count around the limit.

Shapes: E rows known, W weeks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeVar

import numpy as np

from hews_gpu.alerts.policy import InputLimits
from hews_gpu.alerts.vintages.store import Change, Delivery
from hews_gpu.arrays import Bool, Int64
from hews_gpu.data.events import Events, LayerRows
from hews_gpu.units import DAY_S, WEEK_S

__all__ = [
    "BEGIN_S",
    "DELIVERY_CHECKS",
    "ISSUE_CHECKS",
    "Arrival",
    "Situation",
    "fault_of_clock",
    "faults",
    "layer_limits_s",
    "stale_layers",
]

SD = 4.0
LEAST_LOST = 10
"""Fewer rows that are gone are no sign: of a short table any share of them is large."""
BEGIN_S = 31 * DAY_S
"""The deliveries may begin so much later than the table that the run was trained on."""
NEVER = -(1 << 62)
CLOCK_S = 5.0
"""What a time server may set the clock back by."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A delivery that has been read, beside the one before."""

    limits: InputLimits
    change: Change
    latest_s: int
    """The latest time that the city's clocks can have shown when it was read."""
    oldest_s: int
    newest_s: int
    last: Delivery | None
    """The one before."""
    begin_s: int
    """Time of the first row that the run was trained on."""
    may_be_ahead: bool = False
    """Whether rows tell of what is to come, such as a weather forecast, and a column when that is known."""


def _ahead(arrival: Arrival) -> str:
    """Look for rows of the future: what a forecast is to tell must not be in its input."""
    over_s = 0 if arrival.may_be_ahead else arrival.newest_s - arrival.latest_s
    return f"holds rows of the future, up to {_at(arrival.newest_s)}" if over_s > 0 else ""


def _backward(arrival: Arrival) -> str:
    """Look for an older state of the feed."""
    if not (arrival.change.goes_back and arrival.last):
        return ""
    newest, before = _at(arrival.newest_s), _at(arrival.last.newest_s)
    return f"goes back: its newest row is of {newest}, that of the delivery before of {before}"


def _lost(arrival: Arrival) -> str:
    """Look for rows that are gone."""
    share, gone = arrival.change.lost_share, arrival.change.withdrawn
    if share <= arrival.limits.lost_rows or gone < LEAST_LOST:
        return ""
    allowed = f"at most {arrival.limits.lost_rows:.1%} may go"
    return f"lacks {gone:,} rows of its span that were known before: {share:.1%}, {allowed}"


def _short(arrival: Arrival) -> str:
    """Look for a table that does not reach back: a model of recent levels would take its begin for a quiet time."""
    if arrival.last or arrival.oldest_s <= arrival.begin_s + BEGIN_S:
        return ""
    oldest, begin = _at(arrival.oldest_s), _at(arrival.begin_s)
    return f"begins at {oldest}; the run was trained on rows from {begin} on, and needs them"


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known at an issue time."""

    limits: InputLimits
    issue_s: int
    delay_s: int
    """So long after it happened a row is looked at at the earliest."""
    events: Events
    """Sorted by time."""
    known: Set[str]
    """The categories that training knew."""

    @cached_property
    def span_s(self) -> tuple[int, int]:
        """The stretch of time, up to the newest row, that is compared with weeks before."""
        newest_s = int(self.events.time_s[-1]) + 1 if len(self.events) else self.issue_s
        return newest_s - self.limits.volume_s, newest_s

    def within(self, weeks: int = 0) -> slice:
        """Return the rows of the span, or of the same hours so many times its whole weeks before."""
        shift_s = weeks * -(-self.limits.volume_s // WEEK_S) * WEEK_S
        first, last = np.searchsorted(self.events.time_s, np.array(self.span_s) - shift_s).tolist()
        return slice(first, last)

    @cached_property
    def past(self) -> Int64:
        """Rows [W, categories] of the same hours in past weeks, as far back as there are any."""
        first_s = int(self.events.time_s[0]) if len(self.events) else self.issue_s
        length = len(self.events.categories)
        step_s = -(-self.limits.volume_s // WEEK_S) * WEEK_S
        weeks = [n for n in range(1, self.limits.volume_weeks + 1) if self.span_s[0] - n * step_s >= first_s]
        counts = [np.bincount(self.events.category[self.within(n)], minlength=length) for n in weeks]
        return np.array(counts, np.int64).reshape(len(weeks), length)

    @cached_property
    def now(self) -> Int64:
        """[categories] rows of the span."""
        return np.bincount(self.events.category[self.within()], minlength=len(self.events.categories)).astype(np.int64)


def _stale(now: Situation) -> str:
    """Look for a feed that stands still."""
    if not len(now.events):
        return "stale: no row was known"
    newest_s, most_s = int(now.events.time_s[-1]), now.limits.newest_row_s + now.delay_s
    if now.issue_s - newest_s <= most_s:
        return ""
    return f"stale: the newest row is of {_at(newest_s)}, {_days(now.issue_s - newest_s)} old, at most {_days(most_s)}"


def _volume(now: Situation) -> str:
    """Look for far fewer rows, or far more, than in the same hours of the weeks before."""
    weeks, total = len(now.past), int(now.now.sum())
    if not weeks:
        return ""
    usual = now.past.sum() / weeks
    low, high = now.limits.volume_ratio
    for bound, beyond in ((low, -1), (high, 1)):
        limit = bound * usual
        sd = np.sqrt(limit + bound * limit / weeks)  # of the count, and of what it is compared with
        if beyond * (total - limit) > SD * sd:
            return (
                f"volume: {total:,} rows in the last {_days(now.limits.volume_s)} known, {usual:,.0f} in those of "
                f"{weeks} weeks before; {low:g} to {high:g} times as many are allowed"
            )
    return ""


def _unknown(now: Situation) -> str:
    """Look for categories that training did not know."""
    is_unknown: Bool = np.array([name not in now.known for name in now.events.categories], bool)
    count, total = int(now.now[is_unknown].sum()), int(now.now.sum())
    limit = now.limits.unknown_categories * total
    if count - limit <= SD * np.sqrt(limit) or count == 0:
        return ""
    name = now.events.categories[int(np.argmax(np.where(is_unknown, now.now, -1)))]
    what = f"{count:,} of the last {total:,} rows are of categories that training did not know"
    return f"vocabulary: {what}, such as '{name}'"


def _vanished(now: Situation) -> str:
    """Look for a common category of which there is no row any more."""
    if not len(now.past):
        return ""
    usual = now.past.mean(axis=0)
    gone = np.flatnonzero((now.now == 0) & (usual > SD * SD))
    if not len(gone):
        return ""
    worst = int(gone[np.argmax(usual[gone])])
    days = _days(now.limits.volume_s)
    return f"vocabulary: no '{now.events.categories[worst]}' in the last {days} known, {usual[worst]:,.0f} usually"


DELIVERY_CHECKS: dict[str, Callable[[Arrival], str]] = {
    "ahead": _ahead,
    "backward": _backward,
    "lost": _lost,
    "short": _short,
}
ISSUE_CHECKS: dict[str, Callable[[Situation], str]] = {
    "stale": _stale,
    "volume": _volume,
    "unknown": _unknown,
    "vanished": _vanished,
}


def layer_limits_s(limits: InputLimits, trained: Sequence[LayerRows], span_s: tuple[int, int]) -> dict[str, int]:
    """Return how old the newest row of each layer may be at issue.

    It is what the policy says of the layer; else twice the oldest that it ever was in training, or `newest_row_s` if
    that is more: of some layers there is a row a minute, of others one a month.

    Args:
        limits: of the policy.
        trained: the layers as the run was trained on them.
        span_s: begin and end of training.
    """
    ages_s = {layer.name: _oldest_s(layer, span_s) for layer in trained}
    usual_s = {name: max(2 * age_s, limits.newest_row_s) for name, age_s in ages_s.items()}
    return {**usual_s, **limits.layers_newest_row_s}


def _oldest_s(layer: LayerRows, span_s: tuple[int, int]) -> int:
    """Return how old the newest known row of a layer was at most, from one moment to another."""
    known_s, newest_s = _newest_known_s(layer)
    age_s = (known_s[1:] - newest_s[:-1])[(known_s[1:] >= span_s[0]) & (known_s[1:] < span_s[1])]
    return int(age_s.max(initial=0))


def _newest_known_s(layer: LayerRows) -> tuple[Int64, Int64]:
    """Return when each row of a layer became known, ascending, and of when the newest known row is then.

    A row that is published ahead, as a forecast of the weather, is of when it was published: of a feed that stopped the
    last may be of next week.
    """
    order = np.argsort(layer.known_s, kind="stable")
    known_s = layer.known_s[order]
    return known_s, np.maximum.accumulate(np.minimum(layer.time_s[order], known_s))


def stale_layers(layers: Sequence[LayerRows], limits_s: Mapping[str, int], issue_s: Int64) -> list[str]:
    """Return what is too old of the layers at each issue time [S]; empty texts where nothing is."""
    why: list[list[str]] = [[] for _ in issue_s]
    for layer in layers:
        known_s, newest_s = _newest_known_s(layer)
        newest_s = np.append(NEVER, newest_s)[np.searchsorted(known_s, issue_s, side="left")]
        limit_s = limits_s[layer.name]
        for s in np.flatnonzero(newest_s < issue_s - limit_s).tolist():
            told, age_s = f"of the layer {layer.name}", int(issue_s[s] - newest_s[s])
            if newest_s[s] == NEVER:
                why[s].append(f"stale: no row {told} was known")
            else:
                at = _at(int(newest_s[s]))
                why[s].append(f"stale: the newest row {told} is of {at}, {_days(age_s)} old, at most {_days(limit_s)}")
    return ["; ".join(reasons) for reasons in why]


def faults(checks: Mapping[str, Callable[[T], str]], of: T) -> Iterator[str]:
    """Yield what the checks find."""
    return filter(None, (check(of) for check in checks.values()))


def fault_of_clock(now: datetime, last: datetime | None) -> str:
    """Look for a clock that was set back: `last` is the instant of the last entry whose forecast was made."""
    if last is None or (last - now).total_seconds() <= CLOCK_S:
        return ""
    return f"clock: it is {now:%Y-%m-%dT%H:%M:%SZ} and the last forecast was made at {last:%Y-%m-%dT%H:%M:%SZ}"


def _at(time_s: int) -> str:
    return str(np.datetime64(time_s, "s"))


def _days(span_s: int) -> str:
    return f"{span_s / DAY_S:.3g} days"
