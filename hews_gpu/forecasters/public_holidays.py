"""Public holidays of the country that a city lies in, which its time zone tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

import numpy as np

from hews_gpu.arrays import Int64
from hews_gpu.forecasters.climatology import Days

__all__ = ["public_holidays"]

YEARS = range(1990, 2051)
"""Of forecasts and of the tables behind them."""


class _Holidays(Mapping[str, Int64]):
    """The holidays of a zone, read when they are asked for: a fit does, a forecast does not, and reading takes long."""

    def __init__(self, timezone: str) -> None:
        self._timezone = timezone

    def __getitem__(self, name: str) -> Int64:
        return _days(self._timezone)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_days(self._timezone))

    def __len__(self) -> int:
        return len(_days(self._timezone))


def public_holidays(timezone: str) -> Days:
    """Return dates by name of holiday, by the laws of the zone's country; none where these are not known.

    A day off in lieu of one that falls on a weekend is that holiday, too.
    """
    return _Holidays(timezone)


@cache
def _days(timezone: str) -> Days:
    """Return what `public_holidays` holds."""
    import holidays

    try:
        dates = holidays.country_holidays(_country(timezone), years=YEARS)
    except NotImplementedError:
        return {}
    days: dict[str, list[int]] = {}
    for date, name in sorted(dates.items()):
        day = int(np.datetime64(date, "D").astype(np.int64))
        days.setdefault(name.split(" (")[0].split("; ")[0], []).append(day)
    return {name: np.array(each, dtype=np.int64) for name, each in days.items()}


def _country(timezone: str) -> str:
    """Return the code of the country whose zone it is; empty where it is nobody's, as of UTC."""
    text = (resources.files("tzdata.zoneinfo") / "zone.tab").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return next((row[0] for row in rows if row[2].strip() == timezone), "")
