"""Gate 1 passes on what there is, whatever the edits; nothing that should be audited is left out of it."""

import importlib
import pkgutil
from dataclasses import replace

import numpy as np
import pytest

import hews_gpu.evaluation
import hews_gpu.feed
import hews_gpu.forecasters
from hews_gpu.audit.future import AUDITED, NETWORKS, Pipeline, forecasts_gate, maps_gate, model_gate, places_gate
from hews_gpu.data.events import LayerRows, open_prepared
from hews_gpu.evaluation.folds import Plan
from hews_gpu.feed.batch import Feed
from hews_gpu.feed.feeds import FEEDS
from hews_gpu.forecasters import neighborhoods
from hews_gpu.forecasters.base import Forecaster, Setting
from hews_gpu.forecasters.catalog import Measured
from hews_gpu.forecasters.level import Level
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.raster import places, rasterizer
from hews_gpu.units import HOUR_S

DAY_S = 86_400


@pytest.fixture(scope="module")
def year(young):
    """A year of a city in which there is something to find."""
    return young.strong


def all_modules(package):
    return [
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    ]


def feeds_in(kind):
    return {kind} | {found for below in kind.__subclasses__() for found in feeds_in(below)}


def test_every_feed_is_registered_and_so_audited():
    all_modules(hews_gpu.feed)
    own = {kind for kind in feeds_in(Feed) - {Feed} if kind.__module__.startswith("hews_gpu.")}
    assert own == set(FEEDS.values())


def test_every_forecaster_is_registered_and_so_audited(year):
    modules = all_modules(hews_gpu.forecasters) + all_modules(hews_gpu.evaluation)
    classes = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    able = {kind for kind in classes if hasattr(kind, "fit") and hasattr(kind, "predict") and kind is not Forecaster}
    made = {type(entry.make(Setting(city=year))) for entry in FORECASTERS.values()}
    assert able == made
    able = {kind for kind in classes if {"fit", "shares"} <= set(vars(kind))} - {neighborhoods.PlaceForecaster, Level}
    assert able == set(neighborhoods.PLACE_BASELINES.values())


@pytest.mark.parametrize("seed", [0, 1])
def test_every_feed_keeps_its_bits(prepared, seed):
    found = maps_gate(prepared, count=4, seed=seed)
    assert found.verdict == "pass", found.summary
    assert found.figures["feeds"] == list(FEEDS) and found.figures["edits"] == 4
    assert found.figures["arrays"] == 33 == 3 * 11  # 3 feeds; 4 cuts with 3 arrays, of which one without a climatology


def test_what_the_model_learns_and_says_keeps_its_bits(prepared):
    found = model_gate(prepared, count=4)
    assert found.verdict == "pass", found.summary
    assert found.figures["forecasters"] == list(NETWORKS) == ["cnn"]
    learned, forecasts = 2 * 5, 3
    assert found.figures["arrays"] == 4 * (learned + forecasts)


def test_every_forecaster_keeps_its_bits_where_rows_are_reported_late(year):
    """Where they are known at once, test_run.py audits all of them on a folder."""
    plan = Plan(blocks=1, seeds=(0,), as_reported=True, calibration_s=60 * DAY_S).with_task(delay_s=DAY_S)
    found = forecasts_gate(year, plan, count=1, seed=3)
    assert found.verdict == "pass", found.summary
    assert found.figures["forecasters"] == list(AUDITED)
    edits = 2  # one more at the first issue time, where late reports are labels
    # forecasts, and warnings under three budgets; four of them say where
    assert found.figures["arrays"] == edits * (len(AUDITED) * 4 + 4)


def test_places_keep_their_bits(year):
    assert places_gate(year, Plan(blocks=1, seeds=(0,)), count=1).verdict == "pass"


def test_a_difference_of_one_bit_fails(folder):
    """A pipeline that is off in the last bit of one value of one array, once the future is another."""
    rows = len(Pipeline(open_prepared(folder)).experiment.city.events)

    class OffByOneBit(Pipeline):
        def source(self, name):
            source = super().source(name)
            if len(self.experiment.city.events) != rows and name == "test":
                source.calendar.view("i4")[:, 3] ^= 1
            return source

    found = maps_gate(open_prepared(folder), count=1, make=OffByOneBit, feeds={"direct": FEEDS["direct"]})
    assert found.verdict == "fail" and found.figures["differences"][0]["array"] == "calendar"


@pytest.fixture(scope="module")
def with_layer(prepared):
    """The city with a layer of its assaults, each known up to five hours later."""
    events = prepared.events
    which = np.flatnonzero(~events.is_target)[::3]
    columns = {name: getattr(events, name)[which] for name in ("category", "neighborhood", "longitude", "latitude")}
    time_s = events.time_s[which]
    late_s = np.random.default_rng(0).integers(60, 5 * HOUR_S, len(which))
    layer = LayerRows(
        name="calls", time_s=time_s, known_s=time_s + late_s, **columns, categories=events.categories, names_areas=True
    )
    return prepared.with_rows(events, [layer])


def test_maps_with_a_layer_keep_their_bits(with_layer):
    assert Pipeline(with_layer).forecaster.rasterizer.names[-1] == "calls-1"
    result = maps_gate(with_layer, count=4)
    assert result.verdict == "pass", result.summary
    assert model_gate(with_layer, count=2).verdict == "pass"


def test_a_layer_that_is_shown_before_it_is_known_fails(with_layer, monkeypatch):
    """Its rows stand where they happened, as if each had been known at once."""
    honest = places.shown_rows

    def at_once(prepared, geometry, spacing):
        layers = [replace(one, known_s=one.time_s) for one in prepared.layers]
        return honest(prepared.with_rows(prepared.events, layers), geometry, spacing)

    monkeypatch.setattr(rasterizer, "shown_rows", at_once)
    result = maps_gate(with_layer, count=4)
    assert result.verdict == "fail" and result.figures["differences"][0]["array"] == "maps"


def test_maps_of_incidents_with_spans_keep_their_bits(prepared, monkeypatch):
    """A row that began before a cut and was not over then is edited with what comes after."""
    events, direct = prepared.events, {"direct": FEEDS["direct"]}
    span_s = np.random.default_rng(0).integers(0, 9 * HOUR_S, len(events))
    spanned = prepared.with_rows(replace(events, span_s=span_s))
    result = maps_gate(spanned, count=4, feeds=direct)
    assert result.verdict == "pass", result.summary
    honest = places.shown_rows

    def from_the_begin(prepared, geometry, spacing):
        return honest(prepared.with_rows(replace(prepared.events, span_s=None)), geometry, spacing)

    monkeypatch.setattr(rasterizer, "shown_rows", from_the_begin)
    assert maps_gate(spanned, count=4, feeds=direct).verdict == "fail"


@pytest.fixture(scope="module")
def of_the_city(year):
    """The year with robberies that have no place, and how many there were in six hours, told up to three hours late."""
    events = year.events
    which = np.flatnonzero(events.category == events.categories.index("ROBBERY - STREET"))

    def layer(name, time_s, **more):
        late_s = np.random.default_rng(0).integers(60, 3 * HOUR_S, len(time_s))
        nowhere = {
            "neighborhood": np.full(len(time_s), -1, np.int16),
            **dict.fromkeys(("longitude", "latitude"), time_s * np.nan),
        }
        kinds = np.zeros(len(time_s), np.int16)
        return LayerRows(name=name, time_s=time_s, known_s=time_s + late_s, category=kinds, **nowhere, **more)

    time_s, hours_s = events.time_s[which], np.arange(year.begin_s, year.end_s, HOUR_S)
    count = np.searchsorted(time_s, hours_s) - np.searchsorted(time_s, hours_s - 6 * HOUR_S)
    robberies = layer("robberies", time_s, categories=("ROBBERY",), value=np.zeros((len(which), 0)))
    lately = layer("lately", hours_s, categories=(), value=count[:, None] * 1.0, measures=("robberies",))
    return replace(year, layers=(robberies, lately))


PLAN = Plan(blocks=1, seeds=(0,), calibration_s=60 * DAY_S)


def test_forecasts_with_layers_of_the_whole_city_keep_their_bits(of_the_city):
    entries = {name: FORECASTERS[name] for name in ("boosting", "hewsnet", "counts", "hawkes")}
    result = forecasts_gate(of_the_city, PLAN, count=1, entries=entries)
    assert result.verdict == "pass", result.summary


def test_a_number_of_the_city_that_is_told_before_it_is_known_fails(of_the_city, monkeypatch):
    monkeypatch.setattr(
        Measured, "at", lambda told, windows: told.value[np.searchsorted(told.time_s, windows.end_s) - 1]
    )
    result = forecasts_gate(of_the_city, PLAN, count=1, entries={"boosting": FORECASTERS["boosting"]})
    assert result.verdict == "fail", result.summary
