"""The leaky task is what the reference did: the answer is on the map, classes are even, the split is random."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import targets_within
from hews_gpu.errors import UserError
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import reference_rasterizer
from hews_gpu.reference.protocol import PARTS, ReferenceObjective, leaky_rasterizer, scores
from hews_gpu.train.recipe import load_recipe, parse_recipe

SMALL = load_recipe("reference2").text.replace("height = 150", "height = 62").replace("width = 150", "width = 78")


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
    with pytest.raises(UserError, match=r"\[splits\].*4 of 1512 windows hold a target, too few"):
        ReferenceObjective(open_prepared(few), parse_recipe(SMALL, "small"))
