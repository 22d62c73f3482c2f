"""A generated city in which patrols change what happens and what is recorded.

A history is drawn once, as it would be without any patrol. Every incident has two numbers from 0 to 1, its luck: by one
of them it is recorded or not, by the other a patrol prevents it or not. So whoever sends patrols elsewhere lives in the
same city with the same luck, and settings differ by what they do alone.

- A category that is mostly *discovered* (drugs, weapons) is recorded without a patrol in a small share of the cases;
  where a patrol is, that share is multiplied by a factor.
- Of the other, *reported* categories a patrol prevents a share, and the share that is reported changes by a factor.
- Weapons set off shootings near them within days, recorded or not, so that what is recorded of them foretells some.

What an incident that a patrol prevents would have set off still happens.

Shapes: E incidents, N neighborhoods.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.errors import UserError
from hews_gpu.synthetic.city import BEGIN, neighborhood_frame
from hews_gpu.synthetic.law import Category, Kernel, Law, Rhythm, Trigger
from hews_gpu.synthetic.simulate import Seeds, simulate
from hews_gpu.synthetic.truth import Truth
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = [
    "DISCOVERED",
    "FOUND",
    "LAW",
    "PREVENTED",
    "REPORTED",
    "SHOOTING",
    "UNKNOWN",
    "WEAPONS",
    "PatrolledCity",
    "Response",
]

SHOOTING, WEAPONS, NARCOTICS = "SHOOTING", "WEAPONS", "NARCOTICS"
DISCOVERED = (WEAPONS, NARCOTICS)
"""Categories that are known because somebody looked."""
RECORDED = {WEAPONS: 0.15, NARCOTICS: 0.15}
"""Share of the incidents that is recorded without a patrol, ..."""
RECORDED_ELSE = 0.8
"""... and of categories that are reported."""
PREVENTED, UNKNOWN, REPORTED, FOUND = range(4)
"""What became of an incident: it did not happen, nobody recorded it, somebody reported it, or a patrol found it."""


def _category(name: str, per_day: float, hot_share: float, peak_hour: float, swing: float, weekend: float) -> Category:
    rhythm = Rhythm(peak_hour=peak_hour, swing=swing, weekend=weekend)
    return Category(name=name, per_day=per_day, hot_share=hot_share, rhythm=rhythm)


LAW = Law(
    name="patrolled",
    target=SHOOTING,
    base=_category(SHOOTING, 0.4, 0.7, 23.0, 0.9, 0.4),
    target_hot_share=0.7,
    trigger=Trigger(sources=(WEAPONS,), kernel=Kernel(branching=0.5, decay_s=DAY_S)),
    categories=(
        _category(WEAPONS, 4.0, 0.6, 21.0, 0.5, 0.3),
        _category(NARCOTICS, 8.0, 0.7, 18.0, 0.5, 0.1),
        _category("ROBBERY", 3.0, 0.6, 20.0, 0.6, 0.3),
        _category("BURGLARY", 4.0, 0.4, 14.0, 0.4, -0.1),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Response:
    """What a patrol does where it is, while it is there."""

    discovery: float = 6.0
    """Times as likely is a discovered category recorded."""
    deterrence: float = 0.9
    """Share of the incidents of reported categories that happen all the same."""
    reporting: float = 1.1
    """Times as likely is a reported category recorded."""

    def __post_init__(self) -> None:
        for name in ("discovery", "reporting"):
            if not 0 <= getattr(self, name) <= 1000:
                raise UserError(f"--{name}", getattr(self, name), allowed="must be a factor, 0 to 1000; 1: no change")
        if not 0 <= self.deterrence <= 1:
            allowed = "must be the share that still happens, 0 to 1; 1: no change"
            raise UserError("--deterrence", self.deterrence, allowed=allowed)


@dataclass(frozen=True, kw_only=True)
class PatrolledCity:
    """All that would happen without patrols, in order of time, and the luck of each incident."""

    begin_s: int
    time_s: Int64  # [E]
    category: Int64  # [E] index into `categories`
    area: Int64  # [E]
    xy_m: Float64  # [E, 2]
    luck: Float64  # [E, 2] whether it is recorded, and whether a patrol prevents it
    categories: tuple[str, ...]
    polygons: tuple[shapely.Polygon, ...]  # [N] in degrees
    truth: Truth

    @classmethod
    def draw(cls, neighborhoods: int, days: int, seed: int) -> PatrolledCity:
        """Draw a city; the same arguments give the same.

        Raises:
            UserError: fewer than 4 neighborhoods or more than 55, or a negative seed.
        """
        if not 4 <= neighborhoods <= 55:
            raise UserError("--neighborhoods", neighborhoods, allowed="must be 4..55")
        begin_s = int(np.datetime64(BEGIN, "s").astype(np.int64))
        seeds, hours = Seeds.of(LAW, seed), days * DAY_S // HOUR_S
        history = simulate(LAW, seeds, begin_s=begin_s, hours=hours, areas=neighborhoods)
        assert isinstance(history.truth, Truth)
        points = history.events.values()
        minute = np.concatenate([one.minute for one in points])
        category = np.repeat(np.arange(len(points)), [len(one.minute) for one in points])
        xy_m = np.concatenate([one.place for one in points])
        order = np.argsort(minute, kind="stable")
        return cls(
            begin_s=begin_s,
            time_s=begin_s + minute[order] * MINUTE_S,
            category=category[order],
            area=history.layout.neighborhood(xy_m[order]),
            xy_m=xy_m[order],
            luck=np.random.default_rng(seeds.table).random((len(order), 2)),
            categories=tuple(history.events),
            polygons=tuple(neighborhood_frame(history.layout).geometry),
            truth=history.truth,
        )

    def risk(self, target: str) -> Float64:
        """Return the share [N] of each neighborhood in the incidents of a target, by the law and without patrols."""
        truth = self.truth
        share = truth.trigger_share
        if target == SHOOTING:
            set_off = truth.excited_by_triggers.branching * truth.trigger_per_h.sum() * truth.trigger_share
            share = truth.base_per_h.sum() * truth.area_share + set_off
        return np.asarray(share / share.sum(), dtype=np.float64)

    def outcome(self, rows: slice, is_patrolled: Bool, response: Response) -> Int64:
        """Return what became of some incidents, given whether a patrol was there [E].

        It is one of PREVENTED, UNKNOWN, REPORTED and FOUND.
        """
        names = np.array(self.categories)[self.category[rows]]
        by_looking = np.isin(names, DISCOVERED)
        usual = np.full(len(names), RECORDED_ELSE)
        for name, share in RECORDED.items():
            usual[names == name] = share
        recorded, prevented = self.luck[rows].T
        factor = np.where(is_patrolled, np.where(by_looking, response.discovery, response.reporting), 1.0)
        outcome = np.where(recorded < usual * factor, REPORTED, UNKNOWN)
        outcome[(outcome == REPORTED) & by_looking & (recorded >= usual)] = FOUND
        outcome[is_patrolled & ~by_looking & (prevented >= response.deterrence)] = PREVENTED
        return np.asarray(outcome, dtype=np.int64)
