"""The leaky protocol is what the reference did, and each of its leaks is there until it is taken away."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import targets_within
from hews_gpu.errors import UserError
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import reference_rasterizer
from hews_gpu.reference.protocol import (
    GAP_S,
    LEAKS,
    PARTS,
    ReferenceObjective,
    leaky_rasterizer,
    random_split,
    scores,
    split_by_time,
)
from hews_gpu.training.recipe import load_recipe, parse_recipe
from hews_gpu.units import HOUR_S
from studies.leak_ablation import STEPS

SMALL = load_recipe("reference2").text.replace("height = 150", "height = 62").replace("width = 150", "width = 78")

RECIPE = parse_recipe(load_recipe("reference_small").text.replace("seed = 0", "seed = 5"), "small")


def stay(tensor):
    return tensor


@pytest.fixture(scope="module")
def city(prepared):
    return open_prepared(prepared)


@pytest.fixture(scope="module")
def task(city):
    return ReferenceObjective(city, parse_recipe(SMALL, "small"))


def test_classes_are_even_and_each_window_is_in_one_part(task, city):
    sizes = {name: len(part) for name, part in task.parts.items()}
    total = sum(sizes.values())
    assert sizes == {"train": total - sizes["validation"] - sizes["test"], **sizes} and tuple(sizes) == PARTS
    assert sizes["test"] == pytest.approx(total / 8, abs=2)
    assert sizes["validation"] == pytest.approx(total * 0.0875, abs=2)
    assert all(part.y.mean() == 0.5 for part in task.parts.values())
    starts = np.concatenate([part.start_s for part in task.parts.values()])
    assert len(np.unique(starts)) == total
    length_s = city.city.windows.length_s
    every = targets_within(city.events, starts, starts + length_s) > 0
    assert (every == np.concatenate([part.y for part in task.parts.values()])).all()
    rarer = min(every.sum(), (~every).sum())
    assert total == 2 * rarer > 800  # all of the rarer class are used


def test_hours_of_one_day_fall_on_both_sides(task):
    """The second leak: the parts are drawn at random, not one after the other."""
    days = {name: set(part.start_s // 86_400) for name, part in task.parts.items()}
    assert len(days["test"] & days["train"]) > 0.9 * len(days["test"])


def test_the_answer_is_drawn_on_the_map(task, city):
    """The first leak: without targets, maps of windows that hold one look different, and only those."""
    test = task.parts["test"]
    hidden = reference_rasterizer(_framed(city, task), without=("targets",))
    pairs = test.source.pairs
    differ = (task.rasterizer.maps(pairs) != hidden.maps(pairs)).any(axis=(1, 2, 3))
    assert (differ == test.y).all()


def _framed(city, task):
    size = {"height": 62, "width": 78, "disc_radius_px": 2.4}
    return replace(
        city, city=replace(city.city, map=replace(city.city.map, bounds=task.rasterizer.geometry.bounds, **size))
    )


def test_the_frame_is_the_citys_own_stretched_onto_the_models_rows_and_columns(city):
    own = city.city.map
    extent = city.neighborhoods.total_bounds
    frame = MapGeometry.around(extent, own.bounds, height=own.height, width=own.width).bounds
    drawn = leaky_rasterizer(city, load_recipe("reference2"))
    assert drawn.shape == (150, 150, 3)
    assert drawn.geometry.bounds == pytest.approx(frame)
    same = leaky_rasterizer(city, load_recipe("reference1"))
    pairs = np.array([[0, 5], [5, 9]])
    np.testing.assert_array_equal(same.maps(pairs), reference_rasterizer(city).maps(pairs))  # 216 x 172 is the default


def test_a_plain_stage_sees_the_maps_as_they_are_and_another_varies_them(task):
    plain, varied = task.stages
    train = task.parts["train"].source
    batch = next(task.batches(plain, 0, 0, 0, 1))
    maps = train.rasterizer.maps(train.pairs[batch.ids]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(batch.maps.numpy(), maps)
    np.testing.assert_array_equal(batch.y.numpy(), train.y[batch.ids])
    batch = next(task.batches(varied, 10, 0, 0, 1))
    maps = train.rasterizer.maps(train.pairs[batch.ids]).transpose(0, 3, 1, 2)
    assert batch.maps.dtype == torch.uint8
    assert (batch.maps.numpy() != maps).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("stage", [0, 1])
def test_an_epoch_is_the_same_from_any_step_and_for_any_number_of_processes(task, stage):
    stage = replace(task.stages[stage], batch_size=48)
    whole = [(b.ids.copy(), b.maps.clone()) for b in task.batches(stage, 3, 0, 0, 1)]
    assert len(whole) == task.steps(stage)
    later = [(b.ids.copy(), b.maps.clone()) for b in task.batches(stage, 3, 7, 0, 1)]
    ranks = [[(b.ids.copy(), b.maps.clone()) for b in task.batches(stage, 3, 7, rank, 2)] for rank in (0, 1)]
    turned = [(b.ids.copy(), b.maps.clone()) for b in task.batches(replace(stage, accumulate=2), 3, 7, 0, 1)]
    shared = [share for pair in zip(*ranks, strict=True) for share in pair]
    for parts in (later, shared, turned):
        assert (np.concatenate([i for i, _ in parts]) == np.concatenate([i for i, _ in whole[7:]])).all()
        assert torch.equal(torch.cat([m for _, m in parts]), torch.cat([m for _, m in whole[7:]]))


def test_the_loss_is_the_sum_of_log_losses(task):
    model = task.module()
    batch = next(task.batches(task.stages[0], 0, 0, 0, 1))
    with torch.no_grad():
        found = task.loss(model, batch, stay).item()
        p = torch.sigmoid(model(batch.maps)).double().numpy()
    y = batch.y.numpy() > 0
    assert found == pytest.approx(-np.log(np.where(y, p, 1 - p)).sum(), rel=1e-5)


def test_validation_scores_every_window_once_in_order(task):
    model = task.module()
    part = task.parts["validation"]
    p = task.probabilities(model, "validation", stay)
    maps = torch.from_numpy(part.source.rasterizer.maps(part.source.pairs)).permute(0, 3, 1, 2)
    with torch.no_grad():
        np.testing.assert_allclose(p, torch.sigmoid(model(maps)).numpy(), rtol=1e-5)
    assert task.validate(model, stay) == scores(part.y, p)
    row = task.start(model, stay)
    assert row.epoch == 0 and row.score == scores(part.y, p)["log_loss"] and 0.9 < row.train_loss < 1.2


def test_a_map_too_small_for_the_model_is_one_line(city):
    tiny = SMALL.replace("height = 62", "height = 40")
    with pytest.raises(UserError, match=r"recipe tiny: \[map\] height, width: .*too small for the layers"):
        ReferenceObjective(city, parse_recipe(tiny, "tiny"))


def test_a_model_that_has_lost_its_way_has_no_score(task):
    module = task.module()
    with torch.no_grad():
        next(module.parameters()).fill_(float("nan"))
    assert list(map(str, task.validate(module, stay).values())) == ["nan"] * 3


def test_scores_are_what_their_names_say():
    y, p = np.array([False, False, True, True]), np.array([0.25, 0.6, 0.5, 0.75])
    found = scores(y, p)
    assert found["accuracy"] == 0.75 and found["auc"] == 0.75
    assert found["log_loss"] == pytest.approx(-np.log2([0.75, 0.4, 0.5, 0.75]).mean())
    assert next(iter(found)) == "log_loss"  # the score to be made small


def test_fewer_windows_keep_the_classes_even_and_everything_follows_from_the_seed(city):
    text = SMALL.replace("[split] ", "[split]\nwindows = 120 ")
    some = ReferenceObjective(city, parse_recipe(text, "some"))
    again = ReferenceObjective(city, parse_recipe(text, "some"))
    other = ReferenceObjective(city, parse_recipe(text.replace("seed = 0", "seed = 1"), "other"))
    assert sum(map(len, some.parts.values())) == 120
    assert all(part.y.mean() == pytest.approx(0.5, abs=0.05) for part in some.parts.values())
    for name in PARTS:
        np.testing.assert_array_equal(some.parts[name].start_s, again.parts[name].start_s)
    assert set(some.parts["train"].start_s) != set(other.parts["train"].start_s)


def test_without_balancing_every_window_is_used(city):
    every = ReferenceObjective(city, parse_recipe(SMALL.replace('balancing = "equal"', 'balancing = "none"'), "every"))
    assert sum(map(len, every.parts.values())) == 18 * 84
    assert {round(float(part.y.mean()), 2) for part in every.parts.values()} != {0.5}


def test_settings_say_what_decides(task, city):
    assert task.settings["recipe protocol"] == "reference" and task.settings["model.height"] == 62
    drawn = replace(city.city, map=replace(city.city.map, line_width_px=2.0))
    thicker = ReferenceObjective(replace(city, city=drawn), parse_recipe(SMALL, "small"))
    changed = {key for key, value in thicker.settings.items() if task.settings[key] != value}
    assert changed == {"[map] line_width_px"}


def test_a_table_with_too_few_targets_is_refused(toy, tmp_path):
    frame = toy.incidents()
    shootings = frame.index[frame["category"] == "SHOOTING"]
    few = toy.write(tmp_path / "few", frame.drop(shootings[5:]).reset_index(drop=True))
    with pytest.raises(UserError, match=r"\[splits\].*\d of 1512 windows hold a target, too few"):
        ReferenceObjective(open_prepared(few), parse_recipe(SMALL, "small"))


classes = st.lists(st.booleans(), min_size=1, max_size=300).map(lambda found: np.array(found, dtype=bool))
parts = st.sampled_from([(1.0,), (0.5, 0.5), (0.7, 0.15, 0.15), (0.1, 0.2, 0.3, 0.4)])


@settings(deadline=None, max_examples=60)
@given(classes, parts, st.integers(0, 2**63 - 1))
def test_parts_hold_every_window_once_and_their_share_of_either_class(y, shares, seed):
    found = random_split(y, shares, seed)
    assert sorted(np.concatenate(found)) == list(range(len(y)))
    for ids, share in zip(found, shares, strict=True):
        assert ids.dtype == np.int64 and (np.diff(ids) > 0).all()
        for value in (False, True):
            assert abs((y[ids] == value).sum() - share * (y == value).sum()) <= 1.0 + 1e-9
    for ids, again in zip(found, random_split(y, shares, seed), strict=True):
        np.testing.assert_array_equal(ids, again)


def test_seeds_differ_and_windows_are_mixed():
    y = np.arange(1000) % 3 == 0
    first, other = random_split(y, (0.5, 0.5), 1)[0], random_split(y, (0.5, 0.5), 2)[0]
    assert 0.35 < len(np.intersect1d(first, other)) / len(first) < 0.65
    assert abs(first.mean() - 499.5) < 60  # 5 sigma of the mean of 500 of 1,000


def test_the_split_never_changes_between_versions():
    """Golden: argsort of Philox's raw words, seeded by SeedSequence(seed, spawn_key=(class, 3))."""
    y = np.array([False, True] * 5)
    expected = []
    for value in (0, 1):
        bits = np.random.Philox(np.random.SeedSequence(7, spawn_key=(value, 3)))
        words = [int(bits.random_raw()) for _ in range(5)]
        expected += [2 * k + value for k in sorted(range(5), key=words.__getitem__)[:2]]
    assert list(random_split(y, (0.4, 0.6), 7)[0]) == sorted(expected)


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.5, -0.5), (1.0, 0.0), ()])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="add up to 1"):
        random_split(np.array([True, False]), shares, 0)


@pytest.fixture(scope="module")
def twin_city(toy, tmp_path_factory):
    """The toy city, in which a theft in the minute of a shooting reports the same event."""
    frame = toy.incidents(contagion=0.3)
    shot = frame[frame["category"] == "SHOOTING"]
    twins = shot.assign(category="THEFT", longitude=shot["longitude"].clip(-76.59, -76.51))
    frame = frame.assign(row=np.arange(len(frame)), of=-1)
    twins = twins.assign(row=-1, of=shot.index)
    every = pd.concat([frame, twins]).sort_values("time_s", kind="stable", ignore_index=True)
    place = np.full(len(frame), -1)
    place[every["row"][every["row"] >= 0]] = every.index[every["row"] >= 0]
    of = [None if k < 0 else int(place[k]) for k in every["of"]]
    folder = toy.write(
        tmp_path_factory.mktemp("twins") / "prepared", every, extra={"twin_of": pa.array(of, pa.int64())}
    )
    return open_prepared(folder)


@pytest.fixture(scope="module")
def objectives(twin_city):
    return {step: ReferenceObjective(twin_city, RECIPE, without=without) for step, without in STEPS.items()}


def maps_of(objective):
    test = objective.parts["test"].source
    return objective.rasterizer.maps(test.pairs), test


def shows(objective, city, mark):
    """Whether hiding marked rows changes a map of a window that is judged."""
    maps, test = maps_of(objective)
    config = replace(city.city.map, bounds=objective.rasterizer.geometry.bounds, height=48, width=40)
    config = replace(config, disc_radius_px=RECIPE.map.disc_radius_px, line_width_px=RECIPE.map.line_width_px)
    gone = {"targets": city.events.is_target, "twins": city.events.is_twin}
    hidden = sum((gone[name] for name in ("targets", "twins") if name == mark or name in objective.without), gone[mark])
    marked = replace(city.events, is_target=hidden > 0)
    framed = replace(city, city=replace(city.city, map=config), events=marked)
    other = reference_rasterizer(framed, without=("targets",))
    return bool((other.maps(test.pairs) != maps).any())


def mixed(objective, _):
    """Whether windows to judge on lie between those learned from, or within a day of them."""
    parts, length_s = objective.parts, objective.prepared.city.windows.length_s
    edges = [(part.start_s.min(), part.start_s.max() + length_s) for part in parts.values()]
    return not all(later[0] - before[1] >= GAP_S for before, later in pairwise(edges))


def even(objective, _):
    return float(np.concatenate([part.y for part in objective.parts.values()]).mean()) == pytest.approx(0.5, abs=0.03)


def sees_its_own_window(objective, city):
    """Whether a map changes when all that happens from the begin of its window on is gone."""
    test = objective.parts["test"]
    first = np.searchsorted(city.events.time_s, test.start_s)
    pairs = np.minimum(test.source.pairs, first[:, None])
    return bool((objective.rasterizer.maps(pairs) != maps_of(objective)[0]).any())


LEAKY_CHECKS = {
    "targets": lambda objective, city: shows(objective, city, "targets"),
    "twins": lambda objective, city: shows(objective, city, "twins"),
    "random_split": mixed,
    "balance": even,
    "same_window": sees_its_own_window,
}


def test_every_leak_has_a_step_and_a_check():
    assert list(STEPS) == ["reference", *LEAKS] and set(LEAKY_CHECKS) == set(LEAKS)
    assert STEPS["same_window"] == set(LEAKS) and not STEPS["reference"]


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_there_until_it_is_taken_away_and_gone_from_then_on(leak, objectives, twin_city):
    found = {step: LEAKY_CHECKS[leak](objective, twin_city) for step, objective in objectives.items()}
    assert found == {step: leak not in STEPS[step] for step in STEPS}


@pytest.mark.parametrize("leak", LEAKS)
def test_taking_one_away_takes_no_other(leak, twin_city):
    objective = ReferenceObjective(twin_city, RECIPE, without={leak})
    assert [name for name in LEAKS if not LEAKY_CHECKS[name](objective, twin_city)] == [leak]


def test_at_true_prevalence_all_windows_are_there_with_their_own_labels(objectives, twin_city):
    for step in ("balance", "same_window"):
        parts = objectives[step].parts
        start_s = np.concatenate([part.start_s for part in parts.values()])
        assert len(np.unique(start_s)) == len(start_s) > 0.97 * 1512 - 3 * 12
        held = targets_within(twin_city.events, start_s, start_s + 2 * HOUR_S) > 0
        np.testing.assert_array_equal(held, np.concatenate([part.y for part in parts.values()]))


def test_balanced_and_not_the_later_months_are_the_same(objectives):
    few, all_of = (objectives[step].parts["test"].start_s for step in ("random_split", "balance"))
    assert set(few) < set(all_of)


def test_a_map_of_the_past_shows_the_window_before(objectives, twin_city):
    test = objectives["same_window"].parts["test"]
    times = twin_city.events.time_s
    for start_s, (first, last) in zip(test.start_s[:20], test.source.pairs[:20], strict=True):
        np.testing.assert_array_equal(times[first:last], times[(times >= start_s - 2 * HOUR_S) & (times < start_s)])


def test_the_edges_of_a_split_by_time():
    start_s = np.arange(0, 100 * GAP_S, GAP_S // 2)
    train, validation, test = split_by_time(start_s, GAP_S // 2, (0, 100 * GAP_S), (0.7, 0.1, 0.2))
    assert start_s[train[-1]] + GAP_S // 2 == 69 * GAP_S and start_s[validation[0]] == 70 * GAP_S
    assert start_s[validation[-1]] + GAP_S // 2 == 79 * GAP_S and start_s[test[0]] == 80 * GAP_S
    assert test[-1] == len(start_s) - 1
