"""The presets of the foreign families: cities on which no forecaster can shine by having been built for their law.

- ``delayed``: a logistic regression. Street robberies of 20 to 44 hours ago raise the odds of their neighborhood,
  burglaries of the last twelve hours lower them.
- ``hot_weeks``: the same, weaker; and each neighborhood has hidden hot weeks (a two-state Markov chain), with more
  targets and more common assaults.
- ``activity``: a hidden level of activity of the whole city comes and goes within days and raises several categories
  and the targets at once.
- ``local_activity``: the same, with a level of its own in each neighborhood.
- ``threshold``: three larcenies within 18 hours in a neighborhood make its risk jump, more add nothing; after a target
  event the neighborhood is quiet for days.
- ``renewal``: the risk of a neighborhood depends on the time since its last target event alone: quiet at first, high
  after two days, then as usual.
- ``diffusion``: street robberies feed a risk that fades within a day and diffuses to the neighborhoods around.
- ``displacement``: burglaries calm their own neighborhood for half a day and raise the risk of those around it.
- ``origin``: larcenies in one neighborhood raise the risk of the whole city for six hours.
- ``near_pairs``: a larceny and a common assault within 300 m in one window raise the risk of the whole city.
- ``clock``: nothing but hour of week and month, another clock in each city; small and quick to draw.
- ``wave``: the same, with a level that rises and falls over some months.

Clock, addresses and hidden states differ from seed to seed; the laws do not. About one in ten windows has a target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hews_gpu.synthetic.foreign_law import NEAR_PAIR, Field, ForeignLaw, Hidden, Recent, Renewal, autoregressive
from hews_gpu.synthetic.law import LogOddsRhythm
from hews_gpu.synthetic.presets import LAWS

__all__ = ["FOREIGN"]

PER_DAY = {
    "ROBBERY - STREET": 2.5,
    "BURGLARY": 4.0,
    "LARCENY": 14.0,
    "COMMON ASSAULT": 12.0,
    "AGG. ASSAULT": 6.0,
    "AUTO THEFT": 5.0,
}
FEW = {"ROBBERY - STREET": 1.0, "LARCENY": 3.0, "AGG. ASSAULT": 2.0}  # of the small cities
WEEK_H = 168


def _law(name: str, p: float, per_day: Mapping[str, float] = PER_DAY, **parts: object) -> ForeignLaw:
    """Return a law of the categories above; p is how often a target event would happen if nothing acted on it."""
    known = {category.name: category for category in LAWS["null"].categories}
    categories = tuple(replace(known[one], per_day=many) for one, many in per_day.items())
    return ForeignLaw(name=name, base=LogOddsRhythm(p=p), categories=categories, **parts)  # type: ignore[arg-type]


def _activity(name: str, p: float, *, by_area: bool, strength: float, others: float, memory_h: float) -> ForeignLaw:
    values, transition = autoregressive(7, memory_h)
    raised = tuple((category, others) for category in ("COMMON ASSAULT", "LARCENY", "ROBBERY - STREET"))
    hidden = Hidden(values=values, transition=transition, by_area=by_area, strength=strength, categories=raised)
    return _law(name, p, hidden=hidden)


_ROBBERIES = Recent(source="ROBBERY - STREET", gain=1.6, since_h=44, until_h=20)
_BURGLARIES = Recent(source="BURGLARY", gain=-1.5, since_h=12)
_HOT_WEEKS = Hidden(
    values=(0.0, 1.0),
    transition=((0.9, 0.1), (0.4, 0.6)),
    every_h=WEEK_H,
    by_area=True,
    strength=2.4,
    categories=(("COMMON ASSAULT", 0.6),),
)
_ALL = (
    _law("delayed", 0.05, effects=(_ROBBERIES, _BURGLARIES), on_odds=True),
    _law(
        "hot_weeks",
        0.035,
        effects=(replace(_ROBBERIES, gain=0.8), replace(_BURGLARIES, gain=-0.8)),
        on_odds=True,
        hidden=_HOT_WEEKS,
    ),
    _activity("activity", 0.07, by_area=False, strength=0.9, others=0.3, memory_h=48.0),
    _activity("local_activity", 0.03, by_area=True, strength=1.7, others=0.8, memory_h=72.0),
    _law(
        "threshold",
        0.06,
        effects=(Recent(source="LARCENY", gain=2.6, since_h=18, threshold=3, most=1),),
        renewal=Renewal(refractory_h=72.0),
    ),
    _law("renewal", 0.025, renewal=Renewal(refractory_h=16.0, peak_h=36.0, boost=20.0)),
    _law("diffusion", 0.02, effects=(Field(source="ROBBERY - STREET", gain=40.0, decay_h=16.0, moving=0.08),)),
    _law(
        "displacement",
        0.026,
        effects=(
            Recent(source="BURGLARY", gain=-2.0, since_h=12),
            Field(source="BURGLARY", gain=60.0, decay_h=6.0, moving=0.0, is_displaced=True),
        ),
    ),
    _law(
        "origin",
        0.05,
        effects=(Recent(source="LARCENY", gain=1.2, since_h=6, most=3, where="origin"),),
        origin_share=0.08,
    ),
    _law(
        "near_pairs",
        0.06,
        PER_DAY | {"LARCENY": 40.0, "COMMON ASSAULT": 40.0},
        effects=(Recent(source=NEAR_PAIR, gain=1.0, since_h=6.5, most=3, where="city"),),
        pair=("LARCENY", "COMMON ASSAULT"),
    ),
    _law("clock", 0.10, FEW, areas=12),
    _law("wave", 0.10, FEW, areas=12, wave_swing=0.5),
)
FOREIGN = {law.name: law for law in _ALL}
"""By name."""
