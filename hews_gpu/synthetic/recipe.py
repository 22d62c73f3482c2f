"""What the synthetic city is made of: its categories with their rates and rhythms, and what sets off what.

The numbers are chosen, not fitted to any city: volumes and vocabulary resemble the Part 1 crime table of an American
city of half a million, and the excitation is far stronger than in real gun violence, so that a demonstration of a few
minutes can show skill and be judged against the known best. About one in seven two-hour windows has a target event;
hour of week and month alone reach an AUC of about 0.65, the truth about 0.72.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hews_gpu.synthetic.process import Kernel, Rhythm
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["DEMO", "Category", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Category:
    """One category of incidents, as it arrives when nothing sets it off."""

    name: str
    per_day: float
    """Mean number of arrivals."""
    rhythm: Rhythm
    hot_share: float = 0.6
    """Share that falls on hot spots; the rest is spread evenly over the city."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The law of one city."""

    name: str
    target: Category
    """Target events that nothing set off."""
    excited_by_targets: Kernel
    """Target events set off by a target event."""
    precursor: Category
    """A plain Poisson category that sets off target events."""
    excited_by_precursors: Kernel
    """Target events set off by a precursor incident."""
    near_repeat: Category
    """A category that sets off itself, but no targets."""
    excited_by_repeats: Kernel
    """Incidents of `near_repeat` set off by one of them."""
    others: tuple[Category, ...] = field(default=())
    """Plain Poisson categories that set off nothing."""
    spread_m: float = 220.0
    """Standard deviation, along each axis, of the distance from an event to one it set off."""
    spread_repeat_m: float = 120.0
    """The same for near repeats: a mean distance of 150 m."""


def _category(name: str, per_day: float, hot_share: float, *rhythm: float) -> Category:
    peak_hour, swing, weekend, peak_month, season = rhythm
    when = Rhythm(peak_hour=peak_hour, swing=swing, weekend=weekend, peak_month=peak_month, season=season)
    return Category(name=name, per_day=per_day, hot_share=hot_share, rhythm=when)


DEMO = Recipe(
    name="demo",
    target=_category("SHOOTING", 0.84, 0.75, 23.0, 1.3, 0.7, 7.0, 0.25),
    excited_by_targets=Kernel(branching=0.08, decay_s=3 * HOUR_S),
    precursor=_category("ROBBERY - STREET", 1.6, 0.7, 17.0, 0.9, 0.4, 10.0, 0.10),
    excited_by_precursors=Kernel(branching=0.75, decay_s=8 * HOUR_S),
    near_repeat=_category("BURGLARY", 15.0, 0.35, 14.0, 0.4, -0.15, 8.0, 0.15),
    excited_by_repeats=Kernel(branching=0.2, decay_s=4 * DAY_S),
    others=(
        _category("LARCENY", 28.0, 0.75, 15.0, 0.8, -0.05, 8.0, 0.12),
        _category("COMMON ASSAULT", 21.0, 0.55, 18.0, 0.6, 0.15, 6.0, 0.15),
        _category("LARCENY FROM AUTO", 16.0, 0.45, 20.0, 0.5, 0.10, 9.0, 0.12),
        _category("AGG. ASSAULT", 12.0, 0.65, 21.0, 0.7, 0.35, 7.0, 0.20),
        _category("AUTO THEFT", 12.0, 0.40, 22.0, 0.5, 0.05, 9.0, 0.12),
        _category("ASSAULT BY THREAT", 1.8, 0.50, 16.0, 0.5, -0.10, 5.0, 0.10),
        _category("ROBBERY - COMMERCIAL", 1.9, 0.75, 20.0, 0.9, 0.05, 11.0, 0.15),
        _category("ROBBERY - RESIDENCE", 1.2, 0.40, 1.0, 0.5, 0.15, 8.0, 0.05),
        _category("ROBBERY - CARJACKING", 0.7, 0.50, 22.0, 0.8, 0.20, 10.0, 0.10),
        _category("RAPE", 0.8, 0.40, 2.0, 0.5, 0.30, 7.0, 0.10),
        _category("ARSON", 0.7, 0.40, 2.0, 0.7, 0.10, 7.0, 0.10),
    ),
)
"""The city of ``hews demo``."""
