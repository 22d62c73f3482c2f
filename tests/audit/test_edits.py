"""Edits of the future: they change everything from the cut on, and nothing before it."""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.audit.edits import STYLES, Edit, edit_city, edit_prepared, known_s
from hews_gpu.data.events import LayerRows
from hews_gpu.forecasters.catalog import make_catalog

ROWS = ("time_s", "longitude", "latitude", "neighborhood", "is_target", "is_duplicate")


def names(events):
    return np.array(events.categories)[events.category]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(3))
def test_rows_before_the_cut_stay_and_later_ones_do_not(prepared, style, seed):
    events = prepared.events
    cut_s = int(events.time_s[len(events) * 2 // 3 + seed])
    made = edit_prepared(prepared, Edit(cut_s, style, seed)).events
    n = int(np.searchsorted(events.time_s, cut_s))
    assert int(np.searchsorted(made.time_s, cut_s)) == n
    for name in ROWS:
        np.testing.assert_array_equal(getattr(made, name)[:n], getattr(events, name)[:n])
    np.testing.assert_array_equal(names(made)[:n], names(events)[:n])
    assert (np.diff(made.time_s) >= 0).all()
    day = (events.time_s >= cut_s) & (events.time_s < cut_s + 7200)
    changed = (made.time_s >= cut_s) & (made.time_s < cut_s + 7200)
    assert day.sum() != changed.sum() or (events.longitude[day] != made.longitude[changed]).any()


@pytest.mark.parametrize("style", ["add", "change", "mixed"])
def test_rows_go_to_the_very_second_and_a_strange_category_moves_every_index(prepared, style):
    cut_s = int(prepared.events.time_s[5000]) + 1
    made = edit_prepared(prepared, Edit(cut_s, style, 3)).events
    last_s = int(prepared.events.time_s[-20]) + 1  # few rows are left to edit, and few to add
    assert (edit_prepared(prepared, Edit(last_s, style, 3)).events.time_s == last_s).sum() >= 5
    assert made.categories[0] == "0 NOT SEEN BEFORE" and (made.category == 0).any()
    assert made.is_target[made.time_s >= cut_s].any()
    assert not made.is_target[names(made) != "SHOOTING"].any()


def test_marks_that_a_later_row_can_change_do_change(prepared):
    cut_s = int(prepared.events.time_s[5000]) + 1
    near = (prepared.events.time_s < cut_s) & (prepared.events.time_s >= cut_s - 1800)
    found = [edit_prepared(prepared, Edit(cut_s, "add", seed)).events.is_twin[: len(near)][near] for seed in range(8)]
    assert near.any() and any((one != found[0]).any() for one in found)


@pytest.mark.parametrize(
    ("delay_s", "as_reported", "longest_s"),
    [(0, False, 0), (86_400, False, 0), (0, True, 0), (3600, False, 40_000), (0, True, 40_000)],
)
@pytest.mark.parametrize("style", STYLES)
def test_what_was_known_at_the_cut_stays_known_and_nothing_else_becomes_so(
    cities, delay_s, as_reported, longest_s, style
):
    """Also with events of several rows, of which one is known late: the catalog itself says what was known."""
    source = replace(cities.strong, group=np.arange(len(cities.strong.events)) // 2)
    if longest_s:
        span_s = np.random.default_rng(0).integers(0, longest_s, len(source.events))
        source = replace(source, events=replace(source.events, span_s=span_s))
    cut_s = int(source.events.time_s[40_000])
    options = {"delay_s": delay_s, "as_reported": as_reported}
    other = edit_city(source, Edit(cut_s, style, 1), **options)
    before, after = (one.catalog(delay_s, as_reported=as_reported) for one in (source, other))
    a, b = before.until(cut_s), after.until(cut_s)
    for name in ("time_s", "known_s", "area", "xy_m", "is_target", "is_first"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert [a.streams[k] for k in a.stream] == [b.streams[k] for k in b.stream]
    assert (other.events.time_s < cut_s).sum() >= len(a) > 30_000
    rest, changed = before.time_s[len(a) :], after.time_s[len(b) :]
    assert len(rest) != len(changed) or (rest != changed).any()
    if as_reported and style != "delete":  # rows that happened before the cut and are reported after it
        assert ((other.events.time_s < cut_s) & (other.reported_s >= cut_s)).sum() > 0


@pytest.mark.parametrize("style", STYLES)
def test_layers_change_from_the_cut_on_by_what_was_known(cities, style):
    events = cities.strong.events
    late_s = np.random.default_rng(0).integers(60, 40 * 86_400, len(events))
    layer = LayerRows(
        name="calls",
        known_s=events.time_s + late_s,
        **{name: getattr(events, name) for name in ("time_s", "category", "neighborhood", "longitude", "latitude")},
        categories=events.categories,
    )
    cut_s = int(events.time_s[40_000])
    made = edit_city(replace(cities.strong, layers=(layer,)), Edit(cut_s, style, 1)).layers[0]
    before, after = (replace(cities.strong, layers=(one,)).catalog() for one in (layer, made))
    kept = [
        one.take(np.array([name.startswith("calls") for name in one.streams])[one.stream]) for one in (before, after)
    ]
    for name in ("time_s", "known_s", "area", "xy_m"):
        np.testing.assert_array_equal(*(getattr(one.until(cut_s), name) for one in kept))
    rest = [one.since(cut_s).time_s for one in kept]
    assert (made.time_s < cut_s).sum() > len(kept[1].until(cut_s)), (
        "rows that happened before the cut are known after it"
    )
    assert (made.known_s == cut_s).sum() >= 5 and not np.isin(rest[0], rest[1]).all()


def test_what_is_known_is_what_the_catalog_says(cities):
    source = replace(cities.strong, group=np.arange(len(cities.strong.events)) // 3)
    events = source.events
    columns = {"area": events.neighborhood, "xy_m": np.zeros((len(events), 2)), "areas": 55}
    shared = {"time_s": events.time_s, "category": events.category, "is_target": events.is_target}
    plain = make_catalog(**shared, **columns, categories=events.categories, delay_s=60, known_s=source.reported_s)
    np.testing.assert_array_equal(np.sort(known_s(source, 60, as_reported=True)), plain.known_s)
