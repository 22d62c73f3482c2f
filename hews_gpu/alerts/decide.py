"""From forecasts to warnings: the policy as a state machine, the same for a replay of years and for one live forecast.

At each issue time, first for the city and then for the neighborhoods, the likeliest first, a place whose probability
reaches the threshold of a tier is warned of in that tier, unless

- it was warned of, in that tier or a higher one, less than the quiet period ago;
- the tier's warnings of the last seven days, or the place's own, use up their budget; then the lower tier is tried.

A warning of the higher tier for a place with a standing watch replaces it. Nothing else is looked at: the warnings
given follow from policy, thresholds, forecasts and the warnings of the last days, so that live issuing, which knows
these from its record, gives what a replay gives.

Shapes: S issue times, N neighborhoods, K candidates.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from hews_gpu.alerts.forecasts import Said
from hews_gpu.alerts.policy import Policy
from hews_gpu.units import WEEK_S

__all__ = ["CITY", "HIGHEST_FIRST", "Thresholds", "Tier", "Warning", "decide"]

Tier = Literal["warning", "watch"]
HIGHEST_FIRST: tuple[Tier, Tier] = ("warning", "watch")
"""The tiers; `judged.TIERS` has them the other way around."""
CITY = -1
"""The place of a warning of the whole city."""
LONG_AGO_S = -(1 << 62)


@dataclass(frozen=True, kw_only=True)
class Warning:
    """A warning, as it was given."""

    id: str
    """``RUN-YYYYMMDDTHHMM-PLACE-TIER``: the place is ``city``, or ``n`` and the neighborhood's index."""
    place: int
    """`CITY`, or the index of a neighborhood."""
    tier: Tier
    issue_s: int
    begin_s: int
    """Of the window warned of."""
    end_s: int
    probability: float
    threshold: float
    """What the probability had to reach."""
    replaces: str | None = None
    """The id of the watch that this raises."""
    withheld: bool = False
    """Whether it was decided only to be scored, while the system abstained; such are never delivered."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From which probability on there is a warning; infinite: never."""

    run: str
    """The first 8 hex digits of the fingerprint of the run's model, which ids begin with."""
    city_watch: float
    city_warning: float
    neighborhoods_watch: float
    neighborhoods_warning: float

    def of(self, place: int, tier: Tier) -> float:
        """Return the threshold of a place and a tier."""
        if tier == "warning":
            return self.city_warning if place == CITY else self.neighborhoods_warning
        return self.city_watch if place == CITY else self.neighborhoods_watch

    def as_dict(self) -> dict[str, float | None]:
        """Return them as JSON holds them, by kind and tier; None for never."""
        values = {name: value for name, value in vars(self).items() if name != "run"}
        return {name: value if np.isfinite(value) else None for name, value in values.items()}


def decide(
    policy: Policy,
    thresholds: Thresholds,
    said: Said,
    past: Sequence[Warning],
    *,
    withheld: bool = False,
    capped: bool = True,
) -> list[Warning]:
    """Return the warnings given at some issue times, in order.

    Args:
        policy: of the run.
        thresholds: of the run.
        said: the forecasts.
        past: the warnings given before, in order; those of the last seven days, of the last quiet period and all that
            still stand are enough.
        withheld: whether the system abstains: then warnings are withheld, and of the past ones those that were count.
        capped: whether budgets of the last seven days count; thresholds are set without.
    """
    given = _Given(policy, capped)
    for warning in past:
        if warning.withheld == withheld:
            given.add(warning)
    new = []
    windows = said.windows
    for s, place, p in _candidates(thresholds, said):
        issue_s = int(windows.issue_s[s])
        tier = given.highest_allowed(thresholds, place, p, issue_s)
        if tier is None:
            continue
        warning = Warning(
            id=_name(thresholds.run, place, tier, issue_s),
            place=place,
            tier=tier,
            issue_s=issue_s,
            begin_s=int(windows.begin_s[s]),
            end_s=int(windows.end_s[s]),
            probability=p,
            threshold=thresholds.of(place, tier),
            replaces=given.standing_watch(place, issue_s) if tier == "warning" else None,
            withheld=withheld,
        )
        given.add(warning)
        new.append(warning)
    return new


def _candidates(thresholds: Thresholds, said: Said) -> Iterator[tuple[int, int, float]]:
    """Yield issue time, place and probability of all that reaches a threshold, in the order of decisions."""
    time = np.flatnonzero(said.p >= min(thresholds.city_watch, thresholds.city_warning))
    place, p = np.full(len(time), CITY), said.p[time]
    least = min(thresholds.neighborhoods_watch, thresholds.neighborhoods_warning)
    if said.areas is not None and np.isfinite(least):
        times, places = np.divmod(np.flatnonzero(said.areas >= least), said.areas.shape[1])
        p = np.concatenate([p, said.areas[times, places]])
        time, place = np.concatenate([time, times]), np.concatenate([place, places])
    order = np.lexsort((place, -p, place != CITY, time))
    return zip(time[order].tolist(), place[order].tolist(), p[order].tolist(), strict=True)


def _name(run: str, place: int, tier: Tier, issue_s: int) -> str:
    when = datetime.fromtimestamp(issue_s, UTC).strftime("%Y%m%dT%H%M")
    return f"{run}-{when}-{'city' if place == CITY else f'n{place}'}-{tier}"


class _Given:
    """The warnings given so far, as far as decisions depend on them."""

    def __init__(self, policy: Policy, capped: bool) -> None:
        self._quiet_s, self._capped = policy.quiet_s, capped
        self._most = {
            (is_city, tier): int(getattr(policy.city if is_city else policy.neighborhoods, f"{tier}_per_week"))
            for is_city in (True, False)
            for tier in HIGHEST_FIRST
        }
        self._most_each = int(policy.neighborhoods.each_per_week)
        self._last: dict[tuple[int, Tier], int] = {}
        self._lately: dict[tuple[bool, Tier], deque[int]] = defaultdict(deque)
        self._lately_each: dict[int, deque[int]] = defaultdict(deque)
        self._watch: dict[int, Warning] = {}

    def add(self, warning: Warning) -> None:
        """Take a warning into account; they come in order."""
        place, tier = warning.place, warning.tier
        self._last[place, tier] = warning.issue_s
        self._lately[place == CITY, tier].append(warning.issue_s)
        if place != CITY:
            self._lately_each[place].append(warning.issue_s)
        if tier == "watch":
            self._watch[place] = warning
        else:
            self._watch.pop(place, None)

    def highest_allowed(self, thresholds: Thresholds, place: int, p: float, issue_s: int) -> Tier | None:
        """Return the tier in which a place is warned of, or None."""
        last_s = LONG_AGO_S
        for tier in HIGHEST_FIRST:
            last_s = max(last_s, self._last.get((place, tier), LONG_AGO_S))
            if p < thresholds.of(place, tier) or issue_s - last_s < self._quiet_s:
                continue
            if not self._is_used_up(place, tier, issue_s):
                return tier
        return None

    def standing_watch(self, place: int, issue_s: int) -> str | None:
        """Return the id of the place's last watch, if its window has not ended and nothing has replaced it."""
        watch = self._watch.get(place)
        return watch.id if watch is not None and watch.end_s > issue_s else None

    def _is_used_up(self, place: int, tier: Tier, issue_s: int) -> bool:
        """Return whether the last seven days hold as many warnings as they may."""
        kind = place == CITY, tier
        if self._most[kind] == 0:
            return True
        if not self._capped:
            return False
        if _lately(self._lately[kind], issue_s) >= self._most[kind]:
            return True
        return place != CITY and _lately(self._lately_each[place], issue_s) >= self._most_each


def _lately(times_s: deque[int], issue_s: int) -> int:
    """Return how many of some moments, in order, lie less than seven days back; older ones are taken out."""
    while times_s and times_s[0] <= issue_s - WEEK_S:
        times_s.popleft()
    return len(times_s)
