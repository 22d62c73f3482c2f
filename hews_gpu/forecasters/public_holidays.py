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
ELSEWHERE = {
    **{"Africa/Asmera": "ER", "Africa/Timbuktu": "ML", "America/Coral_Harbour": "CA", "America/Virgin": "VI"},
    **{"Antarctica/South_Pole": "AQ", "Atlantic/Jan_Mayen": "SJ", "Iceland": "IS"},
    **{"Pacific/Ponape": "FM", "Pacific/Truk": "FM", "Pacific/Yap": "FM"},
}
"""Countries of names that tzdata links to a zone of another country, whose clocks are the same."""


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
    """Return the code of the country whose zone it is; empty where it is nobody's, as of UTC or EST."""
    tables = resources.files("tzdata.zoneinfo")
    rows = [line.split("\t") for line in (tables / "zone.tab").read_text(encoding="utf-8").splitlines()]
    countries = ELSEWHERE | {row[2]: row[0] for row in rows if len(row) > 2}
    if timezone in countries:
        return countries[timezone]
    if timezone.isupper() and timezone.endswith("T"):  # EST, CET and such are linked to a place, of many that have them
        return ""
    lines = (tables / "tzdata.zi").read_text(encoding="utf-8").splitlines()
    links = {link[2]: link[1] for link in map(str.split, lines) if link[0] == "L"}
    return countries.get(links.get(timezone, ""), "")
