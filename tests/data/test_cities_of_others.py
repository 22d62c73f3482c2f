"""Small tables in the style of other cities go through `init --from` and `prepare` to the right hour and place.

Each is made of the same invented incidents: local time, longitude and latitude within one square of 0.2 degrees, and a
category. Least happens at about five in the morning. Half of the two years lies in summer time.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import load_city
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.propose_city import propose_city
from hews_gpu.errors import UserError
from tests.data.toy import geojson, square

ROWS = 1500
KINDS = ["THEFT", "ASSAULT", "BURGLARY", "HOMICIDE"]
# share of incidents by local hour, as of all crime of Baltimore from 2012 to 2017
BY_HOUR = [111, 98, 71, 49, 38, 33, 39, 62, 84, 86, 93, 95, 121, 104, 114, 136, 135, 141, 145, 132, 133, 134, 129, 117]
PLACES = {
    "America/New_York": (-74.0, 40.7),
    "America/Chicago": (-95.4, 29.8),
    "America/Denver": (-105.0, 39.7),
    "America/Los_Angeles": (-118.2, 34.0),
    "America/Detroit": (-83.05, 42.35),  # an hour and a half behind the sun of its zone in summer
    "Europe/London": (-0.1, 51.5),
}

Row = tuple[datetime, float, float, str]
Columns = Mapping[str, Sequence[Any]]


def fetched(zone):
    """What `hews fetch` notes of a table whose layer states the zone of its dates."""
    table = {"time_zone": zone, "whole": True, "pages": []}
    return {"kind": "fetch", "query": {}, "tables": {"incidents": table}}


def incidents(zone: str, seed: int = 0) -> list[Row]:
    """Rows in order of local time, minute by minute but for the hour that the clocks leave out or show twice."""
    rng = np.random.default_rng(seed)
    west, south = (degrees - 0.1 for degrees in PLACES[zone])
    hours = rng.choice(24, ROWS, p=np.array(BY_HOUR) / sum(BY_HOUR))
    rows = []
    for day, hour, minute in zip(rng.integers(0, 700, ROWS), hours, rng.integers(0, 60, ROWS), strict=True):
        when = datetime(2019, 1, 1) + timedelta(days=int(day), hours=int(hour), minutes=int(minute))
        if when.hour in (1, 2) and when.weekday() == 6 and when.month in (3, 10, 11):
            when += timedelta(hours=3)
        x, y = (round(float(edge + 0.2 * rng.random()), 6) for edge in (west, south))
        rows.append((when, x, y, KINDS[rng.integers(4)]))
    return sorted(rows)


def text(rows: Sequence[Row], form: str) -> list[str]:
    return [when.strftime(form) for when, *_ in rows]


def plain(rows: Sequence[Row]) -> list[str]:
    """As American tables without padding have it: 1/5/2019."""
    return [f"{when.month}/{when.day}/{when.year}" for when, *_ in rows]


def utc(rows: Sequence[Row], zone: str) -> list[datetime]:
    return [when.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for when, *_ in rows]


def later(rows: Sequence[Row]) -> list[Row]:
    """When it was reported: hours or days after."""
    return [(when + timedelta(hours=7 + 13 * (i % 5), minutes=11), *rest) for i, (when, *rest) in enumerate(rows)]


def places(rows: Sequence[Row], longitude: str, latitude: str, category: str) -> Columns:
    columns = zip(*(row[1:] for row in rows), strict=True)
    return dict(zip((longitude, latitude, category), columns, strict=True))


@dataclass(frozen=True)
class Style:
    """How a city's portal lays its table out."""

    zone: str
    columns: Callable[[list[Row], str], Columns]
    times: str = "local"
    minute: bool = True
    """Whether the table has minutes; else hours."""
    roles: str = "time"


def new_york(rows: list[Row], zone: str) -> Columns:
    ended = later(rows)
    return {
        "CMPLNT_NUM": range(len(rows)),
        "CMPLNT_TO_DT": text(ended, "%m/%d/%Y"),
        "CMPLNT_TO_TM": text(ended, "%H:%M:%S"),
        "CMPLNT_FR_DT": text(rows, "%m/%d/%Y"),
        "CMPLNT_FR_TM": text(rows, "%H:%M:%S"),
        "RPT_DT": text(ended, "%m/%d/%Y"),
        "X_COORD_CD": [1_000_000 + i for i in range(len(rows))],
        "Y_COORD_CD": [200_000 + i for i in range(len(rows))],
        **places(rows, "Longitude", "Latitude", "OFNS_DESC"),
    }


def los_angeles(rows: list[Row], zone: str) -> Columns:
    return {
        "DR_NO": [190_326_475 + i for i in range(len(rows))],
        "Date Rptd": [f"{day} 0:00" for day in plain(later(rows))],
        "DATE OCC": [f"{day} 0:00" for day in plain(rows)],
        "TIME OCC": [when.hour * 100 + when.minute for when, *_ in rows],
        "AREA": ["1"] * len(rows),
        "Crm Cd": ["510"] * len(rows),
        **places(rows, "LON", "LAT", "Crm Cd Desc"),
    }


def boston(rows: list[Row], zone: str) -> Columns:
    return {
        "INCIDENT_NUMBER": [f"I{i}" for i in range(len(rows))],
        "OCCURRED_ON_DATE": text(rows, "%Y-%m-%d %H:%M:00+00"),
        "YEAR": text(rows, "%Y"),
        "MONTH": text(rows, "%m"),
        "HOUR": [when.hour for when, *_ in rows],
        **places(rows, "Long", "Lat", "OFFENSE_DESCRIPTION"),
    }


def san_francisco(rows: list[Row], zone: str) -> Columns:
    return {
        "Incident Datetime": text(rows, "%Y-%m-%dT%H:%M:00.000"),
        "Incident Date": text(rows, "%Y-%m-%dT00:00:00.000"),
        "Incident Time": text(rows, "%H:%M"),
        "Report Datetime": text(later(rows), "%Y-%m-%dT%H:%M:00.000"),
        **places(rows, "longitude", "latitude", "Incident Category"),
    }


def philadelphia(rows: list[Row], zone: str) -> Columns:
    return {
        "dispatch_date_time": [f"{when:%Y-%m-%dT%H:%M:00Z}" for when in utc(rows, zone)],
        "dispatch_date": text(rows, "%Y-%m-%d"),
        "dispatch_time": text(rows, "%H:%M:00"),
        "hour": [when.hour for when, *_ in rows],
        **places(rows, "lng", "lat", "text_general_code"),
    }


def seattle(rows: list[Row], zone: str) -> Columns:
    form = "%m/%d/%Y %I:%M:%S %p"
    return {
        "Report DateTime": text(later(rows), form),
        "Offense Start DateTime": text(rows, form),
        "Offense End DateTime": text(later(rows), form),
        **places(rows, "Longitude", "Latitude", "Offense Parent Group"),
    }


def denver(rows: list[Row], zone: str) -> Columns:
    def milliseconds(of: Sequence[Row]) -> list[int]:
        return [int(when.timestamp() * 1000) for when in utc(of, zone)]

    return {
        "incident_id": [2_019_000_000 + i for i in range(len(rows))],
        "FIRST_OCCURRENCE_DATE": milliseconds(rows),
        "LAST_OCCURRENCE_DATE": milliseconds(later(rows)),
        "REPORTED_DATE": milliseconds(later(rows)),
        "GEO_X": [3_140_000 + i for i in range(len(rows))],
        "GEO_Y": [1_690_000 + i for i in range(len(rows))],
        **places(rows, "GEO_LON", "GEO_LAT", "OFFENSE_CATEGORY_ID"),
    }


def houston(rows: list[Row], zone: str) -> Columns:
    return {
        "Incident": range(len(rows)),
        "Occurrence Date": plain(rows),
        "Occurrence Hour": [when.hour for when, *_ in rows],
        "ZIP Code": ["77002"] * len(rows),
        **places(rows, "Map Longitude", "Map Latitude", "NIBRS Description"),
    }


def dallas(rows: list[Row], zone: str) -> Columns:
    return {
        "Date1 of Occurrence": text(rows, "%Y-%m-%d 00:00:00.0000000"),
        "Time1 of Occurrence": text(rows, "%H:%M"),
        "Date2 of Occurrence": text(later(rows), "%Y-%m-%d 00:00:00.0000000"),
        "Time2 of Occurrence": text(later(rows), "%H:%M"),
        "Date of Report": text(later(rows), "%Y-%m-%d %H:%M:00.0000000"),
        **places(rows, "LONG_WGS84", "LAT_WGS84", "NIBRS Crime Category"),
    }


def washington(rows: list[Row], zone: str) -> Columns:
    return {
        "REPORT_DAT": [f"{when:%Y/%m/%d %H:%M:00+00}" for when in utc(later(rows), zone)],
        "START_DATE": [f"{when:%Y/%m/%d %H:%M:00+00}" for when in utc(rows, zone)],
        "END_DATE": [f"{when:%Y/%m/%d %H:%M:00+00}" for when in utc(later(rows), zone)],
        "XBLOCK": [397_000.5 + i for i in range(len(rows))],
        "YBLOCK": [137_000.5 + i for i in range(len(rows))],
        **places(rows, "LONGITUDE", "LATITUDE", "OFFENSE"),
    }


def arcgis_day_and_time(rows: list[Row], zone: str) -> Columns:
    """The day as local midnight in UTC, the time as text: a frequent form of ArcGIS layers."""
    midnights = [(when.replace(hour=0, minute=0), *rest) for when, *rest in rows]
    return {
        "OccurredDate": [int(when.timestamp() * 1000) for when in utc(midnights, zone)],
        "OccurredTime": text(rows, "%H%M"),
        **places(rows, "centerLong", "centerLat", "Crime_Type"),
    }


def epoch_seconds(rows: list[Row], zone: str) -> Columns:
    return {
        "timestamp": [int(when.timestamp()) for when in utc(rows, zone)],
        **places(rows, "Lng", "Lat", "kind"),
    }


def hour_beside_time(rows: list[Row], zone: str) -> Columns:
    return {
        "date_": text(rows, "%Y-%m-%d"),
        "hour": [when.hour for when, *_ in rows],
        "time": text(rows, "%H:%M:00"),
        **places(rows, "lng", "lat", "offense"),
    }


def hour_alone(rows: list[Row], zone: str) -> Columns:
    return {name: values for name, values in hour_beside_time(rows, zone).items() if name != "time"}


def offsets(rows: list[Row], zone: str) -> Columns:
    moments = [when.replace(tzinfo=ZoneInfo(zone)).isoformat() for when, *_ in rows]
    return {"occurred_at": moments, **places(rows, "lon", "lat", "category")}


def naive_utc(rows: list[Row], zone: str) -> Columns:
    return {
        "incident_datetime": [f"{when:%Y-%m-%d %H:%M:%S}" for when in utc(rows, zone)],
        **places(rows, "lon", "lat", "category"),
    }


PAIR = "date, time_of_day"
STYLES: Mapping[str, Style] = {
    "new_york": Style("America/New_York", new_york, roles=PAIR),
    "los_angeles": Style("America/Los_Angeles", los_angeles, roles=PAIR),
    "boston": Style("America/New_York", boston),
    "san_francisco": Style("America/Los_Angeles", san_francisco),
    "philadelphia": Style("America/New_York", philadelphia, times="utc"),
    "seattle": Style("America/Los_Angeles", seattle),
    "denver": Style("America/Denver", denver, times="utc"),
    "houston": Style("America/Chicago", houston, minute=False, roles=PAIR),
    "dallas": Style("America/Chicago", dallas, roles=PAIR),
    "washington": Style("America/New_York", washington, times="utc"),
    "arcgis_day_and_time": Style("America/Chicago", arcgis_day_and_time, times="utc", roles=PAIR),
    "epoch_seconds": Style("America/Denver", epoch_seconds, times="utc"),
    "hour_beside_time": Style("America/Chicago", hour_beside_time, roles=PAIR),
    "hour_alone": Style("America/Chicago", hour_alone, minute=False, roles=PAIR),
    "offsets": Style("America/Los_Angeles", offsets, times="utc"),
    "naive_utc": Style("America/New_York", naive_utc, times="utc"),
    "hour_of_detroit": Style("America/Detroit", philadelphia, times="utc"),
    "days_of_detroit": Style("America/Detroit", arcgis_day_and_time, times="utc", roles=PAIR),
    "days_of_london": Style("Europe/London", arcgis_day_and_time, times="utc", roles=PAIR),
    "hour_of_london": Style("Europe/London", philadelphia, times="utc"),
}


def write(path: Path, columns: Columns) -> Path:
    """Write a table as CSV, or as Parquet with the types that the columns have."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({name: pa.array(list(values)) for name, values in columns.items()}), path)
        return path
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def city_file(table: Path, zone: str, edit: Callable[[str], str] = str) -> Path:
    """Write the file that `init --from` proposes, with the city's own zone, polygons and splits."""
    x, y = PLACES[zone]
    (table.parent / "neighborhoods.geojson").write_text(geojson([square("Town", x - 0.1, y - 0.1, x + 0.1, y + 0.1)]))
    path = table.parent / "town.toml"
    text, _ = propose_city("Town", table, path)
    lines = []
    for line in text.splitlines():
        key = line.split(" = ")[0]
        own = {
            "timezone": f'"{zone}"',
            "name": '"Name"' if line.startswith('name = "name"') else None,
            "train": '["2019-01-01", "2019-10-01"]',
            "validation": '["2019-10-01", "2020-03-01"]',
            "test": '["2020-03-01", "2020-10-01"]',
        }.get(key)
        lines += [line] if own is None else [f"{key} = {own}"]
    path.write_text(edit("\n".join(line for line in lines if not line.startswith("locked"))))
    return path


def read(folder: Path) -> list[Row]:
    rows = pq.read_table(folder / "incidents.parquet").to_pylist()
    epoch = datetime(1970, 1, 1)
    times = [epoch + timedelta(seconds=row["time_s"]) for row in rows]
    return sorted((t, row["longitude"], row["latitude"], row["category"]) for t, row in zip(times, rows, strict=True))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", STYLES)
def test_every_row_has_its_hour_and_place(tmp_path: Path, name: str, kind: str) -> None:
    style = STYLES[name]
    rows = incidents(style.zone)
    table = write(tmp_path / f"table.{kind}", style.columns(rows, style.zone))
    path = city_file(table, style.zone)
    about = propose_city("Town", table, path)[1]
    assert (", ".join(role for role in ("time", "date", "time_of_day") if role in about["columns"])) == style.roles
    assert about["times"] == style.times and about["missing"] == []
    prepare(load_city(path), tmp_path / "out")
    expected = rows if style.minute else sorted((t.replace(minute=0), *rest) for t, *rest in rows)
    assert read(tmp_path / "out") == expected


@pytest.mark.parametrize("zone", ["America/New_York", "America/Detroit"])
def test_the_preview_shows_the_summer_time_of_the_place(tmp_path: Path, zone: str) -> None:
    rows = [row for row in incidents(zone) if row[0].month == 7]
    about = propose_city("Town", write(tmp_path / "t.csv", philadelphia(rows, zone)), tmp_path / "town.toml")[1]
    assert about["times"] == "utc" and [row[0] for row in about["preview"]] == [str(row[0]) for row in rows[:10]]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("is_aware", [False, True])
def test_timestamps_of_parquet_are_moments(tmp_path: Path, unit: str, is_aware: bool) -> None:
    zone = "America/Chicago"
    rows = incidents(zone)
    moments = utc(rows, zone) if is_aware else [when for when, *_ in rows]
    kind = pa.timestamp(unit, "UTC" if is_aware else None)
    table = pa.table(places(rows, "Lng", "Lat", "Offense")).append_column("Occurred", pa.array(moments, kind))
    pq.write_table(table, tmp_path / "t.parquet")
    prepare(load_city(city_file(tmp_path / "t.parquet", zone)), tmp_path / "out")
    assert read(tmp_path / "out") == rows


def features(rows: Sequence[Row], zone: str) -> str:
    columns = denver(list(rows), zone)
    names = [name for name in columns if name not in ("GEO_LON", "GEO_LAT")]
    values = zip(*(columns[name] for name in names), strict=True)
    content = [
        {
            "type": "Feature",
            "properties": dict(zip(names, own, strict=True)),
            "geometry": {"type": "Point", "coordinates": [x, y]},
        }
        for own, (_, x, y, _) in zip(values, rows, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": content})


def test_pages_of_an_arcgis_layer_are_read_by_the_zone_that_it_states(tmp_path: Path) -> None:
    """Too few rows to tell by their hours: the record that `hews fetch` left beside them decides."""
    zone = "America/Denver"
    rows = incidents(zone)[::10]
    table = tmp_path / "incidents-00001.geojson"
    table.write_text(features(rows, zone))
    path = city_file(table, zone)
    about = propose_city("Town", table, path)[1]
    assert about["times"] == "" and 'times = "utc" or "local"' in about["advice"]
    with pytest.raises(
        UserError, match=r'^\[incidents\] times: must say by whose clock .* Set times = "utc" or times = "l'
    ):
        prepare(load_city(path), tmp_path / "out")
    record = {
        "kind": "fetch",
        "query": {},
        "tables": {"incidents": {"time_zone": "America/Denver", "whole": True, "pages": []}},
    }
    (tmp_path / "fetch.json").write_text(json.dumps(record))
    path = city_file(table, zone)
    assert "states the zone of its dates, America/Denver" in path.read_text()
    prepare(load_city(path), tmp_path / "out")
    assert read(tmp_path / "out") == rows


def test_hours_tell_local_milliseconds_from_what_the_layer_states(tmp_path: Path) -> None:
    """As Baltimore's layer: local times as if they were UTC, which the layer states of all its dates."""
    zone = "America/Denver"
    rows = incidents(zone)
    table = tmp_path / "incidents-00001.geojson"
    table.write_text(features(rows, "UTC"))
    (tmp_path / "fetch.json").write_text(json.dumps(fetched("UTC")))
    path = city_file(table, zone)
    about = propose_city("Town", table, path)[1]
    assert about["times"] == "local" and "2:00 to 7:00 as written" in about["advice"] and "states" in about["advice"]
    prepare(load_city(path), tmp_path / "out")
    assert read(tmp_path / "out") == rows


def test_in_london_nothing_but_a_person_tells_utc_from_local(tmp_path: Path) -> None:
    zone = "Europe/London"
    rows = incidents(zone)
    columns = {"when": [f"{when:%Y-%m-%dT%H:%M:00Z}" for when in utc(rows, zone)], **places(rows, "lon", "lat", "kind")}
    table = write(tmp_path / "t.csv", columns)
    path = city_file(table, zone)
    assert '# times = "utc" # or "local"' in path.read_text()
    with pytest.raises(
        UserError, match=r"^\[incidents\] times: must say by whose clock t\.csv gives its times, such as"
    ):
        prepare(load_city(path), tmp_path / "out")
    path = city_file(table, zone, lambda text: text.replace('# times = "utc" #', 'times = "utc" #'))
    prepare(load_city(path), tmp_path / "out")
    assert read(tmp_path / "out") == rows


@pytest.mark.parametrize("hour_zone", ["UTC", "Europe/Moscow"])
def test_a_second_column_may_be_by_the_same_wrong_clock_or_by_a_third(tmp_path: Path, hour_zone: str) -> None:
    """An hour that was computed from UTC says nothing against UTC; one that fits neither is left aside."""
    zone = "America/Chicago"
    rows = incidents(zone)
    moments = utc(rows, zone)
    columns = {
        "occurred": [f"{when:%Y-%m-%dT%H:%M:00Z}" for when in moments],
        "hour": [when.astimezone(ZoneInfo(hour_zone)).hour for when in moments],
        **places(rows, "lon", "lat", "kind"),
    }
    path = city_file(write(tmp_path / "t.csv", columns), zone)
    prepare(load_city(path), tmp_path / "out")
    assert read(tmp_path / "out") == rows


def test_columns_that_contradict_each_other_leave_it_open(tmp_path: Path) -> None:
    zone = "America/Chicago"
    rows = incidents(zone)
    hours = [(when.hour - 5) % 24 for when, *_ in rows]
    columns = {"when": text(rows, "%Y-%m-%dT%H:%M:00Z"), "hour": hours, **places(rows, "lon", "lat", "kind")}
    about = propose_city("Town", write(tmp_path / "t.csv", columns), tmp_path / "town.toml")[1]
    assert about["times"] == "" and "contradict" in about["advice"]


def test_times_of_another_zone_are_converted(tmp_path: Path) -> None:
    zone = "America/Los_Angeles"
    rows = incidents(zone)
    there = [when.astimezone(ZoneInfo("America/New_York")) for when in utc(rows, zone)]
    columns = {"when": [f"{when:%Y-%m-%d %H:%M:%S}" for when in there], **places(rows, "lon", "lat", "kind")}
    table = write(tmp_path / "t.csv", columns)
    path = city_file(table, zone, lambda text: text.replace('times = "local"', 'times = "America/New_York"'))
    prepare(load_city(path), tmp_path / "out")
    assert read(tmp_path / "out") == rows


def daily(rows: list[Row], form: str) -> Columns:
    return {"Occurred Date": text(rows, form), **places(rows, "lon", "lat", "kind")}


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%m/%d/%Y", "%Y-%m-%dT00:00:00.000", "%Y-%m-%d 12:00:00"])
def test_a_table_of_days_gets_windows_of_days(tmp_path: Path, form: str) -> None:
    zone = "America/Chicago"
    rows = incidents(zone)
    table = write(tmp_path / "t.csv", daily(rows, form))
    path = city_file(table, zone)
    about = propose_city("Town", table, path)[1]
    assert about["columns"]["date"] == "Occurred Date" and "time_of_day" not in about["columns"]
    assert about["missing"] == [] and "windows of a day are proposed" in about["advice"]
    assert about["preview"][0][0] == f"{rows[0][0]:%Y-%m-%d} at no time"
    quality = prepare(load_city(path), tmp_path / "out")
    assert quality["times"]["resolution_s"] == 86_400 and not any("times" in w for w in quality["warnings"])
    assert read(tmp_path / "out") == sorted((t.replace(hour=0, minute=0), *rest) for t, *rest in rows)


@pytest.mark.parametrize("key", ["length_s", "stride_s", "horizon_s"])
def test_windows_below_the_resolution_are_refused_with_the_share_and_what_to_do(tmp_path: Path, key: str) -> None:
    zone = "America/Chicago"
    table = write(tmp_path / "t.csv", daily(incidents(zone), "%Y-%m-%d"))
    path = city_file(table, zone, lambda text: text.replace(f"{key} = 86400", f"{key} = 7200"))
    message = rf"{key} = 7200: is finer than the times: 100% of 1,500 rows are at 00:00, at no time .* length_s = 86400"
    with pytest.raises(UserError, match=message):
        prepare(load_city(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("clock", "share"), [("0:00", 1.0), ("12:00", 1.0), ("0:00", 0.6)])
def test_a_clock_that_says_nothing_is_no_time(tmp_path: Path, clock: str, share: float) -> None:
    """All rows, or most, at midnight or at noon, in a column that a person named as the time."""
    zone = "America/Chicago"
    rows = incidents(zone)
    when = [f"{t:%m/%d/%Y} {clock if i % 10 < 10 * share else f'{t:%H:%M}'}" for i, (t, *_) in enumerate(rows)]
    table = write(tmp_path / "t.csv", {"when": when, **places(rows, "lon", "lat", "kind")})

    def edit(text: str) -> str:
        return text.replace('date = "when"', 'time = "when"').replace("86400", "7200")

    with pytest.raises(UserError, match=rf"length_s = 7200: is finer than the times: {share:.0%} of"):
        prepare(load_city(city_file(table, zone, edit)), tmp_path / "out")


@pytest.mark.parametrize("edit", [("7200", "5400"), ("stride_s = 7200", "stride_s = 1800")])
def test_whole_hours_bear_windows_of_hours_and_no_others(tmp_path: Path, edit: tuple[str, str]) -> None:
    zone = "America/Chicago"
    table = write(tmp_path / "t.csv", hour_alone(incidents(zone), zone))
    path = city_file(table, zone, lambda text: text.replace(*edit).replace("history_s = 86400", "history_s = 43200"))
    with pytest.raises(UserError, match=r"is finer than the times: 100% of 1,500 rows are at multiples of 60 minutes"):
        prepare(load_city(path), tmp_path / "out")


def test_months_are_refused_as_months(tmp_path: Path) -> None:
    """As the tables of police.uk."""
    zone = "Europe/London"
    rows = incidents(zone)
    columns = {
        "Crime ID": range(ROWS),
        "Month": text(rows, "%Y-%m"),
        **places(rows, "Longitude", "Latitude", "Crime type"),
    }
    table = write(tmp_path / "2020-01-metropolitan-street.csv", columns)
    with pytest.raises(
        UserError, match=r"no column with dates: 'Month' holds months such as 2019-01, and no days: nothing"
    ):
        propose_city("London", table, tmp_path / "london.toml")


@pytest.mark.parametrize("role", ["time", "date"])
@pytest.mark.parametrize(
    ("form", "message"),
    [("%Y-%m", "holds months such as 2019-01"), ("%m/%d/%y %H:%M", r"holds years of two digits, such as \d+/\d+/19")],
)
def test_a_mapped_column_that_is_no_time_is_refused_with_the_reason(
    tmp_path: Path, form: str, message: str, role: str
) -> None:
    zone = "America/Chicago"
    rows = incidents(zone)
    table = write(tmp_path / "t.csv", {**daily(rows, "%Y-%m-%d"), "x": text(rows, form)})
    path = city_file(table, zone, lambda text: text.replace('date = "Occurred Date"', f'{role} = "x"'))
    with pytest.raises(UserError, match=rf"^t\.csv: its {role} column {message}"):
        prepare(load_city(path), tmp_path / "out")


def test_years_of_two_digits_are_refused_with_the_reason(tmp_path: Path) -> None:
    rows = incidents("America/Chicago")
    table = write(tmp_path / "t.csv", daily(rows, "%m/%d/%y"))
    with pytest.raises(UserError, match=r"'Occurred Date' holds years of two digits, such as 01/\d+/19, whose century"):
        propose_city("Town", table, tmp_path / "town.toml")


def test_a_table_without_a_header_is_refused(tmp_path: Path) -> None:
    rows = incidents("America/Chicago")
    table = write(tmp_path / "t.csv", daily(rows, "%Y-%m-%d"))
    table.write_text(table.read_text().split("\n", 1)[1])
    with pytest.raises(UserError, match=r"^t\.csv: has no header: its first line holds values such as '2019-"):
        propose_city("Town", table, tmp_path / "town.toml")
