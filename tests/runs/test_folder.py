"""What a run leaves: every model's forecaster comes back as it was, and a file of another kind is refused."""

import json
import shutil

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.forecasters.base import SaysWhere, Setting
from hews_gpu.forecasters.city import whole_city
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.runs import folder as runs
from hews_gpu.runs.run import open_run
from hews_gpu.training.checkpoint import read_tensors, write_tensors
from tests.forecasters.test_stored import assert_same


@pytest.mark.parametrize("model", FORECASTERS)
def test_a_forecaster_comes_back_from_its_file_to_the_bit(trained, tmp_path, model):
    """As fitted in this process, as read from the run, and as written and read again."""
    opened = open_run(trained(model))
    experiment = opened.experiment
    fold = experiment.folds[0]
    fitted = FORECASTERS[model].make(Setting(city=opened.experiment.city, recipe=opened.recipe))
    past = experiment.catalog.until(fold.known_until_s)
    fitted.fit(past, experiment.learned(fold, "train"), experiment.learned(fold, "calibration"))
    again = FORECASTERS[model].make(Setting(city=whole_city(opened.prepared), recipe=opened.recipe))
    runs.save_forecaster(tmp_path / "file", model, opened.forecaster)
    runs.load_fitted(tmp_path / "file", again, remedy="")
    for one in (opened.forecaster, again):
        assert_same(one.fitted, fitted.fitted)
        if hasattr(fitted, "base"):
            assert_same(one.base.fitted, fitted.base.fitted)
        for name in ("predict", "predict_areas")[: 1 + isinstance(fitted, SaysWhere)]:
            expected = getattr(fitted, name)(experiment.catalog, experiment.test.windows)
            found = getattr(one, name)(experiment.catalog, experiment.test.windows)
            np.testing.assert_array_equal(found, expected)
    if not FORECASTERS[model].is_network:  # of a network the epoch is noted, too
        assert (tmp_path / "file").read_bytes() == (trained(model) / runs.WEIGHTS).read_bytes()


def test_a_run_does_not_go_with_other_data(trained, toy, tmp_path):
    other = toy.write(tmp_path / "other", toy.incidents(seed=1))
    with pytest.raises(UserError, match=r"is not the data that .* was trained on"):
        open_run(trained("boosting"), data=other)


def with_weights(run, out, change):
    """A copy of a run whose weights file holds what `change` makes of its tensors and notes."""
    copy = shutil.copytree(run, out)
    tensors, notes = read_tensors(copy / runs.WEIGHTS, remedy="")
    del notes["format"]
    write_tensors(copy / runs.WEIGHTS, *change(tensors, json.loads(json.dumps(notes))))
    return copy


def without_fitted(tensors, notes):
    return tensors, {"model": notes["model"]}


def of_text(tensors, notes):
    return tensors, {**notes, "fitted": "all of it"}


def without_an_array(tensors, notes):
    return dict(list(tensors.items())[1:]), notes


def with_a_layer_of_text(tensors, notes):
    notes["fitted"]["forecaster"]["layers"] = "none"
    return tensors, notes


def with_a_slope_of_text(tensors, notes):
    notes["fitted"]["forecaster"]["slope"] = "steep"
    return tensors, notes


@pytest.mark.parametrize(
    "change", [without_fitted, of_text, without_an_array, with_a_layer_of_text, with_a_slope_of_text]
)
def test_weights_of_another_kind_are_refused_in_one_line(trained, tmp_path, change):
    copy = with_weights(trained("hewsnet"), tmp_path / "run", change)
    said = r"weights\.safetensors: does not hold what this version stores.*--force"
    with pytest.raises(UserError, match=said) as told:
        open_run(copy)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("model", "other"), [("hawkes", "level"), ("stack", "cnn"), ("hewsnet", "stack")])
def test_weights_of_another_model_are_refused(trained, tmp_path, model, other):
    copy = shutil.copytree(trained(model), tmp_path / "run")
    shutil.copyfile(trained(other) / runs.WEIGHTS, copy / runs.WEIGHTS)
    with pytest.raises(UserError, match=r"weights\.safetensors: does not hold"):
        open_run(copy)


def test_damaged_weights_are_refused(trained, tmp_path):
    copy = shutil.copytree(trained("hewsnet"), tmp_path / "run")
    whole = (copy / runs.WEIGHTS).read_bytes()
    flipped = bytearray(whole)
    flipped[-9] ^= 1
    for damaged in (whole[:-1], b"", bytes(flipped), b"PK\x03\x04" + whole, b"\x80\x04N."):
        (copy / runs.WEIGHTS).write_bytes(damaged)
        with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read"):
            open_run(copy)


def test_a_run_without_a_recipe_or_of_another_model_is_refused(trained, tmp_path):
    copy = shutil.copytree(trained("level"), tmp_path / "run")
    text = (copy / "recipe.toml").read_text(encoding="utf-8")
    (copy / "recipe.toml").write_text(text.replace('"level"', '"prophet"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"\[model\] = 'prophet': is not known"):
        open_run(copy)
    (copy / "recipe.toml").unlink()
    with pytest.raises(UserError, match=r"recipe\.toml: does not exist"):
        open_run(copy)


def test_a_run_that_has_a_record_of_warnings_is_not_replaced(trained, tmp_path):
    run = shutil.copytree(trained("climatology"), tmp_path / "run")
    assert not runs.going_on(run, "checkpoint", False, force=True, resume=False)
    (run / "record").mkdir()
    with pytest.raises(UserError, match="is the record of what the run warned of"):
        runs.going_on(run, "checkpoint", False, force=True, resume=False)
