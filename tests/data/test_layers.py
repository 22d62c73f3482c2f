"""Layers: prepared as incidents are, known when they say, refused where nothing can be learned from them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hews_gpu.alerts.forecasts import windows_at
from hews_gpu.config import load_city
from hews_gpu.data.events import DOUBTS, LayerRows, open_prepared
from hews_gpu.data.layers import check_layer
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError
from hews_gpu.forecasters.city import prepared_city, whole_city
from hews_gpu.units import DAY_S, HOUR_S
from tests.data.toy import HEADER, TOML, TWO_SQUARES, geojson, row

LAYER = """
[[layers]]
name = "calls"
files = ["calls.csv"]
times = "local"
{more}
[layers.columns]
{columns}
"""
AREA_COLUMNS = 'time = "at"\narea = "district"\ncategory = "kind"'
BEGIN = np.datetime64("2014-01-01T00:00", "s")


def made(folder: Path, rows: list[str], *, columns: str = AREA_COLUMNS, more: str = "", head: str = "at,district,kind"):
    """Prepare a toy city of three months with a layer; return what was opened, with its one layer."""
    days = [str(BEGIN + np.timedelta64(k * 360 + k * 37 % 360, "m")) for k in range(4 * 90)]
    table = [
        row(f"{day[5:7]}/{day[8:10]}/{day[:4]}", day[11:19], kind) for day in days for kind in ("LARCENY", "SHOOTING")
    ]
    (folder / "crimes.csv").write_text("\n".join([HEADER, *table]), encoding="utf-8")
    (folder / "calls.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    (folder / "areas.geojson").write_text(geojson(TWO_SQUARES), encoding="utf-8")
    text = TOML.format(files='["crimes.csv"]', incidents="") + LAYER.format(more=more, columns=columns)
    (folder / "city.toml").write_text(text, encoding="utf-8")
    prepare(load_city(folder / "city.toml"), folder / "prepared")
    prepared = open_prepared(folder / "prepared")
    return prepared, prepared.layers[0]


def calls(*, days: int = 90, area: str = "West", date_only: bool = False) -> list[str]:
    """Return three calls a day, at all minutes."""
    times = [str(BEGIN + np.timedelta64(k * 480 + (k * 53 + 7) % 480, "m")) for k in range(3 * days)]
    return [f"{text[:10] if date_only else text},{area},SHOTS" for text in times]


def test_rows_that_name_a_neighborhood_stand_in_it(tmp_path):
    rows = [
        *calls(),
        "2014-01-05T03:00:00,  east ,SHOTS",
        "2014-01-06T03:00:00,Nowhere,SHOTS",
        "2014-01-07T03:00:00,,SHOTS",
    ]
    prepared, layer = made(tmp_path, rows)
    assert len(layer) == len(calls()) + 1 and layer.categories == ("SHOTS",)
    east = layer.neighborhood == 1
    assert east.sum() == 1 and -76.61 < layer.longitude[east][0] < -76.60
    assert ((layer.longitude[~east] > -76.62) & (layer.longitude[~east] < -76.61)).all()
    aside = pq.read_table(prepared.folder / "layers" / "calls" / "quarantine.parquet").to_pylist()
    assert [one["reason"] for one in aside] == ["no neighborhood of that name", "no coordinates"]


def test_coordinates_go_before_the_name(tmp_path):
    columns = 'time = "at"\narea = "district"\ncategory = "kind"\nlongitude = "x"\nlatitude = "y"'
    rows = [f"{text},-76.605,39.285" for text in calls()] + ["2014-01-05T03:00:00,West,SHOTS,,"]
    _, layer = made(tmp_path, rows, columns=columns, head="at,district,kind,x,y")
    assert np.bincount(layer.neighborhood).tolist() == [1, len(calls())]


@pytest.mark.parametrize(
    ("date_only", "more", "waits_s"), [(False, "", 60), (False, "delay_s = 7200", 7200), (True, "delay_s = 60", DAY_S)]
)
def test_a_row_is_known_after_its_delay_and_no_sooner_than_its_times_tell(tmp_path, date_only, more, waits_s):
    columns = AREA_COLUMNS.replace("time =", "date =") if date_only else AREA_COLUMNS
    _, layer = made(tmp_path, calls(date_only=date_only), columns=columns, more=more)
    assert set(layer.known_s - layer.time_s) == {waits_s}


def test_a_row_is_known_when_a_column_says_so(tmp_path):
    rows = [f"{text},{np.datetime64(text[:19]) + np.timedelta64(5, 'h')}" for text in calls()]
    rows[0] = f"{calls()[0]},{BEGIN}"  # seven minutes before it happened: known a minute after it did
    rows[1] = f"{calls()[1]},"
    columns = AREA_COLUMNS + '\nknown = "reported"'
    prepared, layer = made(tmp_path, rows, columns=columns, head="at,district,kind,reported")
    assert layer.early == 1 and (layer.known_s - layer.time_s).tolist() == [60] + [5 * HOUR_S] * (len(rows) - 2)
    aside = pq.read_table(prepared.folder / "layers" / "calls" / "quarantine.parquet")["reason"].to_pylist()
    assert aside == ["no time at which it became known"]
    catalog = whole_city(prepared).catalog()
    stream = catalog.streams.index("calls: SHOTS")
    rows_of = catalog.stream == stream
    assert np.array_equal(np.sort(layer.known_s), catalog.known_s[rows_of]) and not catalog.is_target[rows_of].any()


@pytest.mark.parametrize(
    ("rows", "change", "message"),
    [
        (calls(days=40), {}, r"\[\[layers\]\] calls, \[splits\] validation.*reaches beyond the table"),
        (calls()[150:], {}, r"\[\[layers\]\] calls, \[splits\] train.*reaches beyond the table"),
        (
            calls(area="North"),
            {},
            r"\[\[layers\]\] calls files: none of the 270 rows.*no neighborhood of that name: 270",
        ),
        (calls()[:20], {}, r"\[\[layers\]\] calls, files: hold 20 rows"),
        (calls(), {"more": 'targets = ["SHOTS"]'}, r"\[\[layers\]\] targets.*has none"),
        (calls(), {"more": "delay_s = -1"}, r"\[\[layers\]\] delay_s = -1: must be 0"),
        (calls(), {"columns": AREA_COLUMNS.replace("kind", "sort")}, r"calls\.csv: has no column 'sort'"),
        (calls(), {"columns": AREA_COLUMNS.replace("district", "victim_race")}, r"describes a person|has no column"),
        (
            calls(),
            {"columns": AREA_COLUMNS + '\nheard = "at"'},
            r"\[\[layers\]\] calls columns = 'heard': is not a known",
        ),
        (calls(), {"more": 'unknown_categories = "quarantine"'}, r"\[\[layers\]\] calls categories.*must not be empty"),
    ],
)
def test_what_is_wrong_with_a_layer_names_it(tmp_path, rows, change, message):
    with pytest.raises(UserError, match=message) as error:
        made(tmp_path, rows, **change)
    assert "\n" not in str(error.value) and not (tmp_path / "prepared").exists()


def test_rows_known_before_they_happened_are_refused_where_they_are_most(tmp_path):
    rows = [f"{text},{np.datetime64(text[:19]) - np.timedelta64(5, 'h')}" for text in calls()]
    with pytest.raises(UserError, match=r"calls, columns known: 270 of 270 rows would be known before they happened"):
        made(tmp_path, rows, columns=AREA_COLUMNS + '\nknown = "reported"', head="at,district,kind,reported")


@pytest.mark.parametrize(
    ("name", "message"), [("income", "never for input"), ("../x", "small letters"), ("A", "small")]
)
def test_a_layers_name_is_a_plain_word_and_no_demographic(tmp_path, name, message):
    text = TOML.format(files='["crimes.csv"]', incidents="") + LAYER.format(more="", columns=AREA_COLUMNS)
    (tmp_path / "city.toml").write_text(text.replace('"calls"', f'"{name}"'), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_city(tmp_path / "city.toml")
    (tmp_path / "city.toml").write_text(text + LAYER.format(more="", columns=AREA_COLUMNS), encoding="utf-8")
    with pytest.raises(UserError, match="must be another in each"):
        load_city(tmp_path / "city.toml")


@pytest.mark.parametrize(("ahead", "warns"), [(0, False), (2, False), (5, True), (-4, True)])
def test_a_layer_by_another_clock_is_told(ahead, warns, capsys):
    """Rows of two tables busy from 20 to 2 o'clock, one written so many hours ahead; a flat one tells nothing."""
    rng = np.random.default_rng(0)
    busy = 17 + rng.normal(6, 3, (2, 4000))
    incidents_s, time_s = ((np.arange(4000) // 8 * DAY_S + hours * HOUR_S).astype(np.int64) for hours in busy)
    rows = LayerRows(
        name="calls", categories=("CALL",),
        time_s=time_s + ahead * HOUR_S, known_s=time_s + ahead * HOUR_S, category=np.zeros(4000, np.int16),
        neighborhood=np.zeros(4000, np.int16), longitude=np.zeros(4000), latitude=np.zeros(4000),
    )  # fmt: skip
    check_layer(rows, incidents_s, None)
    told = capsys.readouterr().err
    assert ("is one by another clock" in told) == warns
    if warns:
        assert f"those of the incidents {abs(ahead)} hours {'later' if ahead > 0 else 'earlier'}" in told
    check_layer(rows, np.arange(4000) * 3600, None)
    assert "clock" not in capsys.readouterr().err


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("citywide", [False, True])
def test_a_layer_that_is_cut_off_is_told_in_all_that_is_made_of_the_table(tmp_path, capsys, citywide, packed):
    name = "calls.csv.gz" if packed else "calls.csv"
    rows, columns, head, more = calls(), AREA_COLUMNS, "at,district,kind", ""
    if citywide:
        rows, columns, head, more = weather(), WEATHER, "at,temp,sky", 'citywide = true\nvalues = ["temp"]'
    whole, _ = made(tmp_path, rows, columns=columns, head=head, more=more)
    assert whole.doubts == []
    text = (tmp_path / "calls.csv").read_bytes()[:-12]
    (tmp_path / "calls.csv").unlink()
    (tmp_path / name).write_bytes(gzip.compress(text) if packed else text)
    (tmp_path / "city.toml").write_text((tmp_path / "city.toml").read_text().replace("calls.csv", name))
    prepare(load_city(tmp_path / "city.toml"), tmp_path / "cut")
    assert f"not known to be complete: {name} ends in the middle of a row" in capsys.readouterr().err
    notes = whole_city(open_prepared(tmp_path / "cut")).notes
    assert notes[DOUBTS] == [f"layer calls: {name} ends in the middle of a row"]


def test_another_layer_is_another_city(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, _ = made(tmp_path / "a", calls())
    other, _ = made(tmp_path / "b", [*calls(), "2014-01-05T03:00:00,East,SHOTS"])
    assert first.fingerprint != other.fingerprint
    (tmp_path / "a" / "prepared" / "layers" / "calls" / "incidents.parquet").unlink()
    with pytest.raises(UserError, match="its layer calls cannot be read"):
        _ = open_prepared(tmp_path / "a" / "prepared").fingerprint


# ------------------------------------------------------------ layers without places

WEATHER = 'time = "at"'
HOURS = [str(BEGIN + np.timedelta64(k, "h")) for k in range(90 * 24)]


def weather(*, hours: list[str] = HOURS) -> list[str]:
    """Return a temperature of each hour, how many hours it is after the first one, and the sky."""
    return [f"{text},{k - 10.5},{'CLEAR' if k % 3 else 'RAIN'}" for k, text in enumerate(hours)]


def of_the_city(folder: Path, rows: list[str], *, more: str = 'values = ["temp"]', columns: str = WEATHER):
    return made(folder, rows, columns=columns, more=f"citywide = true\n{more}", head="at,temp,sky")


def test_what_is_measured_by_the_hour_is_known_an_hour_later(tmp_path):
    rows = weather()
    rows[5] = f"{HOURS[5]},,RAIN"
    rows[7] = f"{HOURS[7]},broken,RAIN"
    rows[9] = f"no time,3,{'RAIN'}"
    prepared, layer = of_the_city(tmp_path, rows)
    assert not layer.has_places and layer.measures == ("temp",) and layer.categories == ()
    assert set(layer.known_s - layer.time_s) == {HOUR_S} and len(layer) == len(rows) - 1
    assert np.isnan(layer.value[:, 0]).sum() == 2 and layer.value[0, 0] == -10.5
    aside = pq.read_table(prepared.folder / "layers" / "calls" / "quarantine.parquet").to_pylist()
    assert [(one["reason"], one["time_text"]) for one in aside] == [("unparsable time", "no time")]
    catalog = whole_city(prepared).catalog()
    (temp,) = catalog.measured
    assert temp.name == "calls: temp" and len(temp.value) == len(rows) - 3
    assert not any(name.startswith("calls") for name in catalog.streams)


def test_categories_of_the_whole_city_are_streams_without_a_place(tmp_path):
    prepared, layer = of_the_city(tmp_path, weather(), more="", columns=WEATHER + '\ncategory = "sky"')
    assert layer.categories == ("CLEAR", "RAIN") and layer.measures == () and len(prepared.placed_layers) == 0
    catalog = whole_city(prepared).catalog()
    rain = catalog.stream == catalog.streams.index("calls: RAIN")
    assert (catalog.area[rain] == -1).all() and catalog.is_first[rain].all() and rain.sum() > 600
    assert (catalog.columns(("calls: RAIN",), by_area=True) == -1).all()
    assert (catalog.columns(("calls: RAIN",)) == 0).sum() == rain.sum() and len(catalog.placed) == (~rain).sum() - (
        catalog.stream == catalog.streams.index("calls: CLEAR")
    ).sum()


def test_what_is_published_ahead_is_known_before_its_time(tmp_path):
    rows = [f"{text},{k % 2},{np.datetime64(text) - np.timedelta64(30, 'D')}" for k, text in enumerate(HOURS)]
    prepared, layer = of_the_city(tmp_path, rows, columns=WEATHER + '\nknown = "sky"')
    assert set(layer.known_s - layer.time_s) == {-30 * DAY_S}
    end_s = int(layer.time_s[999])
    city = prepared_city(prepared, begin_s=int(layer.time_s[0]), end_s=end_s)  # of one who forecasts there
    (temp,) = city.catalog().measured
    windows = windows_at(np.array([end_s]), Task(lead_s=6 * HOUR_S))
    assert temp.at(windows) == [layer.value[1005, 0]] and temp.time_s[-1] == end_s + 30 * DAY_S - HOUR_S


@pytest.mark.parametrize(
    ("rows", "change", "message"),
    [
        (weather(), {"columns": WEATHER + '\nend = "sky"'}, r"columns = 'end': is for rows that have a place"),
        (weather(), {"columns": WEATHER + '\narea = "sky"'}, r"\[\[layers\]\] calls citywide.*columns say where"),
        (weather(), {"more": ""}, r"\[\[layers\]\] calls columns.*name neither a category nor values"),
        (
            weather(),
            {"more": 'values = ["sky"]'},
            r"\[\[layers\]\] calls values = 'sky': is no number in 2,160 of 2,160 rows",
        ),
        (
            weather(),
            {"more": 'values = ["temp"]\ndamaged_files = "quarantine"'},
            r"calls damaged_files.*without places",
        ),
        (
            weather(),
            {"more": 'values = ["mean age"]'},
            r"values = 'mean age': the column 'mean age' describes a person",
        ),
        (
            weather(hours=[f"{t[8:10]}/{t[5:7]}/{t[:4]} {t[11:16]}" for t in HOURS]),
            {},
            r"\[\[layers\]\] calls, calls\.csv: its dates look day-first",
        ),
        (weather(), {"more": 'values = ["wind"]'}, r"calls values = 'wind': is a column of no file; there are 'at'"),
        (weather(), {"more": 'values = ["temp", "temp"]'}, r"calls values.*each once"),
        (weather(hours=HOURS[: 40 * 24]), {}, r"calls, \[splits\] validation.*reaches beyond the table"),
        (weather(hours=HOURS[50 * 24 :]), {}, r"calls, \[splits\] train.*reaches beyond the table"),
        (
            weather(hours=["yesterday"] * 99),
            {},
            r"calls files: none of the 99 rows can be used \(unparsable time: 99\)",
        ),
        (weather(), {"columns": 'at = "at"'}, r"calls columns = 'at': is not a known role"),
        (weather(), {"columns": 'time = "when"'}, r"calls\.csv: has no column 'when'"),
    ],
)
def test_what_is_wrong_with_a_layer_of_the_whole_city_names_it(tmp_path, rows, change, message):
    with pytest.raises(UserError, match=message) as error:
        of_the_city(tmp_path, rows, **change)
    assert "\n" not in str(error.value) and not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", r"\[\[layers\]\] calls columns = \['time', 'category'\]: name no place.*citywide = true"),
        ('values = ["temp"]', r"\[\[layers\]\] calls values.*belong to a layer without places.*citywide = true"),
    ],
)
def test_a_layer_that_says_neither_a_place_nor_that_it_has_none_is_refused(tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        made(tmp_path, weather(), columns=WEATHER + '\ncategory = "sky"', more=more, head="at,temp,sky")


def test_a_row_that_may_have_happened_until_its_end_is_not_known_before(tmp_path):
    rows = [f"{text}," for text in calls()] + ["2014-01-05T03:00:00,West,SHOTS,2014-01-06T09:00:00"]
    _, layer = made(tmp_path, rows, columns=f'{AREA_COLUMNS}\nend = "until"', head="at,district,kind,until")
    waited_s = layer.known_s - layer.time_s
    assert sorted(set(waited_s.tolist())) == [60, 30 * HOUR_S]


def test_places_that_never_change_are_refused_with_the_reason(tmp_path):
    """Bars have no time: the same map in every window, and the same count by neighborhood."""
    columns = 'longitude = "x"\nlatitude = "y"\ncategory = "kind"'
    with pytest.raises(UserError, match="places that never change, such as bars") as refused:
        made(tmp_path, ["BAR,-76.615,39.285", "PUB,-76.605,39.285"], columns=columns, head="kind,x,y")
    told = str(refused.value)
    assert told.startswith("[[layers]] calls columns: must name the column for 'time'") and "\n" not in told
