"""The presets: cities that differ in what sets off their target events, and so in what a model must see.

- ``demo``: the city of ``hews demo``. A street robbery raises the risk around it for some eight hours, a target event
  for some three. The excitation is far stronger than in real gun violence, so that a demonstration of a few minutes
  can show skill: about one in seven two-hour windows has a target event; hour of week and month alone reach an AUC of
  about 0.65, the truth about 0.72. Incidents fall anywhere, not at addresses.
- ``null``: nothing sets off anything. The rate of target events follows hour of week and month, exactly as a
  climatology with additive log-odds can say it of two-hour windows on even hours. Nothing can beat that climatology.
- ``strong``: a street robbery raises the risk in the whole city for some eight hours. City-wide counts suffice.
- ``spatial``: of the street robberies only those in 8 hidden ones of 55 neighborhoods do, about one in seven of all;
  city-wide counts are nearly blind to it.
- ``pairs``: a larceny and a common assault within 500 m of each other in the same two-hour window do.
- ``realistic``: a shooting sets off 0.12 others within hours, a street robbery 0.06. Real gun violence spreads no more
  than "slightly" (Loeffler and Flaxman, "Is gun violence contagious?", J. Quant. Criminol. 34, 2018). That other crimes
  may lead to it is the idea of leading indicators (Reinhart and Greenhouse, J. R. Stat. Soc. C 67, 2018).

The numbers are chosen, not fitted to any city: volumes and vocabulary resemble the Part 1 crime table of an American
city of half a million. In all but ``demo`` about 17 % of the two-hour windows have a target event, and the AUC of truth
and climatology are near the values given in the tests, which measure them.
"""

from __future__ import annotations

from dataclasses import replace

from hews_gpu.synthetic.law import Category, Kernel, Law, LogOddsRhythm, Rhythm, Trigger, Wave
from hews_gpu.units import HOUR_S

__all__ = ["AREAS", "DEMO", "LAWS"]

AREAS = 55
"""Neighborhoods of every city with addresses."""
DEMO = "demo"
NO_TREND = Wave()


def _category(name: str, per_day: float, hot_share: float, *rhythm: float, trend: Wave = NO_TREND) -> Category:
    peak_hour, swing, weekend, peak_month, season = rhythm
    when = Rhythm(peak_hour=peak_hour, swing=swing, weekend=weekend, peak_month=peak_month, season=season)
    return Category(name=name, per_day=per_day, hot_share=hot_share, rhythm=when, trend=trend)


_ROBBERY = _category("ROBBERY - STREET", 6.2, 0.7, 17.0, 0.9, 0.4, 10.0, 0.10)
_OTHERS = (
    _category("BURGLARY", 15.0, 0.35, 14.0, 0.4, -0.15, 8.0, 0.15, trend=Wave(swing=0.12)),
    _category("LARCENY", 28.0, 0.75, 15.0, 0.8, -0.05, 8.0, 0.12),
    _category("COMMON ASSAULT", 21.0, 0.55, 18.0, 0.6, 0.15, 6.0, 0.15),
    _category("LARCENY FROM AUTO", 16.0, 0.45, 20.0, 0.5, 0.10, 9.0, 0.12, trend=Wave(swing=0.10, phase=2.0)),
    _category("AGG. ASSAULT", 12.0, 0.65, 21.0, 0.7, 0.35, 7.0, 0.20),
    _category("AUTO THEFT", 12.0, 0.40, 22.0, 0.5, 0.05, 9.0, 0.12, trend=Wave(swing=0.15, period_y=14.0, phase=4.0)),
    _category("ASSAULT BY THREAT", 1.8, 0.50, 16.0, 0.5, -0.10, 5.0, 0.10),
    _category("ROBBERY - COMMERCIAL", 1.9, 0.75, 20.0, 0.9, 0.05, 11.0, 0.15),
    _category("ROBBERY - RESIDENCE", 1.2, 0.40, 1.0, 0.5, 0.15, 8.0, 0.05),
    _category("ROBBERY - CARJACKING", 0.7, 0.50, 22.0, 0.8, 0.20, 10.0, 0.10),
    _category("RAPE", 0.8, 0.40, 2.0, 0.5, 0.30, 7.0, 0.10),
    _category("ARSON", 0.7, 0.40, 2.0, 0.7, 0.10, 7.0, 0.10),
)

_ALL = (
    Law(
        name=DEMO,
        base=_category("SHOOTING", 0.84, 0.75, 23.0, 1.3, 0.7, 7.0, 0.25),
        excited_by_targets=Kernel(branching=0.08, decay_s=3 * HOUR_S),
        trigger=Trigger(sources=("ROBBERY - STREET",), kernel=Kernel(branching=0.75, decay_s=8 * HOUR_S)),
        categories=(replace(_ROBBERY, per_day=1.6), *(replace(category, trend=NO_TREND) for category in _OTHERS)),
        has_addresses=False,
    ),
    Law(name="null", base=LogOddsRhythm(p=0.17, swing=0.65, weekend=0.45), categories=(_ROBBERY, *_OTHERS)),
    Law(
        name="strong",
        base=LogOddsRhythm(p=0.072, swing=1.15, weekend=0.65),
        excited_by_targets=Kernel(branching=0.08, decay_s=3 * HOUR_S),
        trigger=Trigger(sources=("ROBBERY - STREET",), kernel=Kernel(branching=1.05, decay_s=8 * HOUR_S), in_city=True),
        categories=(replace(_ROBBERY, per_day=1.25), *_OTHERS),
    ),
    Law(
        name="spatial",
        base=LogOddsRhythm(p=0.077, swing=1.05, weekend=0.5),
        trigger=Trigger(
            sources=("ROBBERY - STREET",),
            kernel=Kernel(branching=1.55, decay_s=8 * HOUR_S),
            hidden_areas=8,
            hidden_share=8 / 55,
        ),
        categories=(_ROBBERY, *_OTHERS),
    ),
    Law(
        name="pairs",
        base=LogOddsRhythm(p=0.085, swing=0.7, weekend=0.4),
        trigger=Trigger(
            sources=("LARCENY", "COMMON ASSAULT"),
            kernel=Kernel(branching=0.82, decay_s=5 * HOUR_S),
            pairs_per_day=1.6,
        ),
        categories=(_ROBBERY, *_OTHERS),
    ),
    Law(
        name="realistic",
        base=LogOddsRhythm(p=0.131, swing=0.7, weekend=0.5),
        base_trend=Wave(swing=0.15),
        excited_by_targets=Kernel(branching=0.12, decay_s=1.7 * HOUR_S),
        trigger=Trigger(sources=("ROBBERY - STREET",), kernel=Kernel(branching=0.06, decay_s=4 * HOUR_S)),
        categories=(_ROBBERY, *_OTHERS),
    ),
)
LAWS = {law.name: law for law in _ALL}
"""By name."""
