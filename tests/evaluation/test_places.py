"""Judging by 250 m cell: the cells, hot spots against plain loops, and forecasts by neighborhood spread over them."""

from collections import Counter

import numpy as np
import pytest
import shapely

from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.places import CELL_BASELINES, judge_places
from hews_gpu.forecasters.neighborhoods import KernelDensity

DAY_S = 86_400


@pytest.fixture(scope="module")
def experiment(strong):
    return Experiment.open(strong, Plan(blocks=2))


@pytest.fixture(scope="module")
def shares(experiment):
    """Of the kernel density by cell [S, K], fitted as the judge does, and the neighborhood of each cell."""
    ground, parent = experiment.city.cells
    catalog = experiment.catalog.take(experiment.catalog.is_event)
    place = [((ground.cells_m - xy) ** 2).sum(axis=1).argmin() for xy in catalog.xy_m]
    vars(catalog).update(area=np.array(place), areas=len(parent))
    parts = []
    for fold in experiment.folds:
        forecaster = KernelDensity(ground)
        forecaster.fit(catalog.until(fold.known_until_s), experiment.learned(fold, "train"))
        parts.append(forecaster.shares(catalog, experiment.all.windows.issue_s[fold.test]))
    return np.concatenate(parts), catalog


@pytest.fixture(scope="module")
def judged(experiment, shares):
    """By cell: the baselines, and a forecast by neighborhood that expects there what the kernel density does."""
    by_cell, _ = shares
    by_area = np.stack([by_cell[:, experiment.city.cells[1] == n].sum(axis=1) for n in range(55)], axis=1)
    return judge_places(experiment, {"summed": -np.expm1(-0.1 * by_area)})


def test_cells_cover_every_neighborhood_and_are_of_one_size(strong):
    ground, parent = strong.cells
    metric = shapely.transform(np.array(strong.polygons), lambda xy: strong.meters(*xy.T))
    assert np.all(np.diff(parent) >= 0) and set(parent) == set(range(len(metric)))
    assert shapely.intersects_xy(metric[parent], *ground.cells_m.T).all()
    assert np.unique(ground.area_km2).tolist() == [0.0625] and len(np.unique(ground.cells_m, axis=0)) == len(parent)
    assert ground.area_km2.sum() == pytest.approx(strong.area_km2.sum(), rel=0.02)


def test_a_neighborhood_smaller_than_a_cell_has_one(strong):
    _, _, east, north = max((one.bounds for one in strong.polygons), key=lambda bounds: bounds[2])
    small = shapely.box(east + 0.03, north, east + 0.0305, north + 0.0005)  # beside the city, a fifth of a cell wide
    city = type(strong)(**{**vars_of(strong), "polygons": [*strong.polygons, small], "truth": None, "prepared": None})
    ground, parent = city.cells
    assert (parent == len(strong.polygons)).sum() == 1
    assert small.contains(shapely.Point(city.degrees(ground.cells_m[-1:])[0]))


def vars_of(city):
    return {name: getattr(city, name) for name in type(city).__dataclass_fields__}


def test_hot_spots_of_the_long_run_are_those_of_a_plain_loop(experiment, shares, judged):
    catalog, cells = shares[1], len(experiment.city.cells[1])
    windows, hit, events, expected = experiment.test.windows, 0.0, 0, 0.0
    first_s, room = windows.begin_s[0], 0.05 * cells
    early = Counter(catalog.area[catalog.time_s < first_s].tolist())
    for issue_s, begin_s, end_s in zip(windows.issue_s, windows.begin_s, windows.end_s, strict=True):
        inside = catalog.area[(catalog.time_s >= begin_s) & (catalog.time_s < end_s)]
        if not len(inside):
            continue
        known = np.bincount(catalog.area[catalog.known_s < issue_s], minlength=cells)
        rank = np.argsort(np.argsort(-known, kind="stable"))
        share = np.clip(room - rank, 0, 1)
        hit, events = hit + share[inside].sum(), events + len(inside)
        expected += len(inside) * sum(share[k] * n for k, n in early.items()) / early.total()
    found = judged["cells"]["forecasts"]["long_run"]["hot_spots"][1]
    assert found["area_share"] == 0.05 and events == judged["events"]
    assert found["hit_rate"] == pytest.approx(hit / events) and found["pai"] == pytest.approx(hit / events / 0.05)
    assert found["rri"] == pytest.approx(hit / expected) and found["hit_rate_interval"][0] < hit / events


def test_a_forecast_is_spread_over_the_cells_by_their_density(judged):
    """What is the kernel density's by neighborhood becomes the kernel density again."""
    cells = judged["cells"]["forecasts"]
    assert list(cells) == [*CELL_BASELINES, "summed"]
    for own, kernel in zip(cells["summed"]["hot_spots"], cells["kernel_density"]["hot_spots"], strict=True):
        assert own["hit_rate"] == pytest.approx(kernel["hit_rate"], rel=1e-6)
        assert own["hit_rate_interval"] == pytest.approx(kernel["hit_rate_interval"], rel=1e-6)
    assert cells["summed"]["hot_spots"][2]["area_share"] == 0.2


def test_models_are_held_against_the_old_map_and_the_level_with_p_corrected(experiment, shares):
    """The same forecast twice, so that the smaller p is doubled; the level is a reference and no model."""
    p = -np.expm1(-0.1 * np.stack([shares[0][:, experiment.city.cells[1] == n].sum(axis=1) for n in range(55)], axis=1))
    found = judge_places(experiment, {"level": p / 2, "one": p, "two": p})["forecasts"]
    for other in ("long_run", "level"):
        bits = [found[name]["against"][other]["log_skill_bits"] for name in ("one", "two")]
        assert bits[0] == bits[1] and bits[0]["p_corrected"] == min(1, 2 * bits[0]["p"])
    assert found["one"]["against"]["long_run"]["log_skill_bits"]["value"] == found["one"]["log_skill_bits"]
    assert found["one"]["against"]["level"]["log_skill_bits"]["value"] > 0
    assert "p_corrected" not in found["near_repeat"]["against"]["long_run"]["log_skill_bits"]
    assert "p_corrected" not in found["level"]["against"]["long_run"]["log_skill_bits"]
