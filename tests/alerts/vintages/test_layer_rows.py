"""Rows of layers in a store are, as known at an issue time, what `hews prepare` makes of the same files."""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.alerts.inbox import Parcel, read_parcel
from hews_gpu.alerts.vintages.layer_rows import rows_as_of
from hews_gpu.alerts.vintages.store import open_store
from hews_gpu.data.events import load_layer, open_prepared
from hews_gpu.data.prepare.command import prepare_layer
from hews_gpu.errors import UserError
from tests.alerts.live_city import with_robberies_as_a_layer

WEATHER = """
[[layers]]
name = "weather"
files = ["weather.csv"]
citywide = true
values = ["degrees", "rain"]
[layers.columns]
time = "hour"
category = "sky"
known = "told"
"""
CSV = """hour,told,sky,degrees,rain
2024-04-20T00:00,2024-04-19T12:00,CLEAR,10.5,0
2024-04-20T01:00,2024-04-19T12:00,CLOUDS,10.1,
2024-04-20T03:00,2024-04-19T12:00,CLOUDS,9.8,2.5
2024-04-20T02:00,2024-04-20T00:30,CLEAR,9.9,0
"""
NOW_S = int(np.datetime64("2024-04-20T00:00", "s").astype(np.int64))


@pytest.fixture
def weather(tmp_path):
    """The toy city with the weather of some hours of the whole city, and the file that it was read from."""
    folder, file = with_robberies_as_a_layer(tmp_path / "city"), tmp_path / "weather.csv"
    with (folder / "city.toml").open("a", encoding="utf-8") as city:
        city.write(WEATHER)
    file.write_text(CSV)
    prepared = open_prepared(folder)
    layer = prepared.city.layers[1]
    polygons = replace(prepared.city.neighborhoods, file=str(folder / "neighborhoods.parquet"))
    city = replace(prepared.city, neighborhoods=polygons)
    prepare_layer(city, replace(layer, files=(str(file),)), tmp_path / "made")
    (tmp_path / "made" / "layers" / "weather").rename(folder / "layers" / "weather")
    return prepared, layer, file


def delivered(tmp_path, prepared, layer, text, known_s, name="a.csv"):
    file = tmp_path / name
    file.write_text(text)
    parcel, store = Parcel(name=name, files=(file,)), open_store(tmp_path / "store")
    store.add(read_parcel(parcel, parcel.sha256(), prepared, layer), known_s, {"file": name, "sha256": ""})
    return open_store(tmp_path / "store")


def equal(one, other):
    for name, value in vars(other).items():
        mine = getattr(one, name)
        assert np.array_equal(mine, value, equal_nan=True) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else np.array_equal(mine, value), name  # fmt: skip  # noqa: E501


def test_numbers_of_the_whole_city_come_back_with_what_is_to_come(tmp_path, weather):
    prepared, layer, _ = weather
    store = delivered(tmp_path, prepared, layer, CSV, NOW_S - 1)
    trained = load_layer(prepared.folder, layer)
    back = rows_as_of(store, NOW_S, trained)
    equal(back, trained)
    assert back.known_s.max() > NOW_S, "a row that was told later is there, and says so"


def test_a_delivery_of_the_whole_city_that_is_cut_off_is_refused(tmp_path, weather):
    prepared, layer, _ = weather
    with pytest.raises(UserError, match=r"ends in the middle of a row\. Deliver it whole"):
        delivered(tmp_path, prepared, layer, CSV[: CSV.rindex(",CLEAR")], NOW_S - 1)


def test_a_value_that_was_corrected_counts_from_its_delivery(tmp_path, weather):
    prepared, layer, _ = weather
    delivered(tmp_path, prepared, layer, CSV, NOW_S - 1)
    store = delivered(tmp_path, prepared, layer, CSV.replace("9.8,2.5", "12.5,"), NOW_S + 7199, "b.csv")
    trained = load_layer(prepared.folder, layer)
    before, after = (rows_as_of(store, when_s, trained).value[-1] for when_s in (NOW_S, NOW_S + 7200))
    assert before.tolist() == [9.8, 2.5] and after[0] == 12.5 and np.isnan(after[1])


def test_rows_with_places_come_back_in_order_with_when_they_were_reported(tmp_path, weather):
    prepared, _, _ = weather
    layer = prepared.city.layers[0]
    text = "time,longitude,latitude,category,reported\n2024-04-19T08:00:10,-76.51,39.35,B,2024-04-19T09:30\n"
    text += "2024-04-19T07:00,-76.59,39.31,A,2024-04-19T11:00\n"
    back = rows_as_of(delivered(tmp_path, prepared, layer, text, NOW_S - 1), NOW_S, load_layer(prepared.folder, layer))
    assert back.categories == ("A", "B") and back.category.tolist() == [0, 1]
    assert back.neighborhood.tolist() == [0, 1] and back.longitude.tolist() == [-76.59, -76.51]
    assert (back.known_s - back.time_s).tolist() == [4 * 3600, 5390] and back.has_places


def test_incidents_are_known_until_when_they_may_have_happened(tmp_path, weather):
    prepared, _, _ = weather
    columns = {name: name for name in ("time", "longitude", "latitude", "category", "end")}
    city = replace(prepared.city, incidents=replace(prepared.city.incidents, columns=columns))
    prepared = replace(prepared, city=city)
    text = "time,longitude,latitude,category,end\n2024-04-19T01:00,-76.51,39.35,SHOOTING,2024-04-19T09:00\n"
    text += "2024-04-19T02:00,-76.51,39.35,THEFT,\n"
    store = delivered(tmp_path, prepared, None, text, NOW_S - 1)
    events, _ = store.events(NOW_S)
    assert events.span_s.tolist() == [8 * 3600, 0]
    again = text.replace("SHOOTING,2024-04-19T09:00", "SHOOTING,2024-04-19T05:00")
    store = delivered(tmp_path, prepared, None, again, NOW_S + 7199, "b.csv")
    assert [store.events(when_s)[0].span_s[0] for when_s in (NOW_S, NOW_S + 7200)] == [8 * 3600, 4 * 3600]
