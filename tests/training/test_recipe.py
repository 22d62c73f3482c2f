"""Recipes: the shipped ones are what they claim to be, and a mistake is told in one line."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hews_gpu.config import TrainingConfig
from hews_gpu.errors import UserError
from hews_gpu.training.objective import Stage
from hews_gpu.training.recipe import CheckpointsConfig, known_recipes, load_recipe, parse_recipe

CITY = TrainingConfig(epochs=7, batch_size=64, learning_rate=0.02, weight_decay=0.3, patience=2, seed=9)
HEAD = 'protocol = "reference"\nmodel = "reference2"\n'
MAP = '[map]\nstyle = "reference"\nnormalization = "unit"\n'


def test_four_recipes_are_shipped():
    assert known_recipes() == ("forecast", "reference1", "reference2", "reference_small")
    assert [load_recipe(name).name for name in known_recipes()] == list(known_recipes())


def test_the_forecast_leaves_everything_to_the_city():
    recipe = load_recipe()
    assert recipe.name == "forecast" and not recipe.is_leaky
    stage = Stage(epochs=7, batch_size=64, learning_rate=0.02, schedule="cosine", patience=2)
    assert recipe.stages_of(CITY) == (stage,)
    assert recipe.seed_of(CITY) == 9
    made = recipe.optimizer_of(nn.Linear(2, 1), CITY)
    assert type(made) is torch.optim.AdamW
    assert (made.defaults["lr"], made.defaults["weight_decay"], made.defaults["eps"]) == (0.02, 0.3, 1e-8)


def test_reference2_trains_as_the_reference_did():
    recipe = load_recipe("reference2")
    assert recipe.is_leaky and recipe.balancing == "equal"
    assert (recipe.map.height, recipe.map.width, recipe.map.normalization) == (150, 150, "unit")
    plain = Stage(epochs=10, batch_size=20, learning_rate=1e-4, schedule="constant")
    varied = Stage(epochs=50, batch_size=32, learning_rate=1e-4, schedule="constant", augment=True)
    assert recipe.stages_of(CITY) == (plain, varied)
    made = recipe.optimizer_of(nn.Linear(2, 1), CITY)
    assert type(made) is torch.optim.Adam
    assert (made.defaults["weight_decay"], made.defaults["eps"]) == (0.0, 1e-7)
    amounts = recipe.augmentation
    assert (amounts.rotation_deg, amounts.shift, amounts.zoom, amounts.flip) == (20, 0.1, 0.1, True)


def test_reference1_trains_as_the_reference_did():
    recipe = load_recipe("reference1")
    assert (recipe.map.height, recipe.map.width, recipe.map.normalization) == (216, 172, "l2")
    assert recipe.stages_of(CITY) == (Stage(epochs=20, batch_size=20, learning_rate=1e-3, schedule="constant"),)


def test_of_4800_windows_a_class_the_reference_kept_600_for_the_test_and_420_to_validate():
    split = load_recipe("reference2").split
    assert (4800 * split.test, 4800 * split.validation) == (600, 420)


def test_settings_are_flat_json_and_change_with_everything_that_decides():
    recipe = load_recipe("reference2")
    settings = recipe.settings()
    assert all(value is None or isinstance(value, str | int | float | bool) for value in settings.values())
    assert parse_recipe(recipe.text.replace("epochs = 50", "epochs = 49"), "x").settings() != settings
    assert parse_recipe(recipe.text.replace("test = 0.125", "test = 0.12"), "x").settings() != settings
    assert parse_recipe(recipe.text.replace("ema = 0.0", "ema = 0.9"), "x").settings() != settings
    assert replace(recipe, checkpoints=CheckpointsConfig(keep=9)).settings() == settings  # decides nothing


def test_a_file_of_ones_own_goes_by_its_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(load_recipe("reference2").text.replace("epochs = 50", "epochs = 2"), encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.name == "mine" and recipe.stages[1].epochs == 2
    assert recipe.engine.channels_last


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modell = 1", r"recipe x: \[modell\]: is not a known key\. Did you mean 'model'\?"),
        ('model = "cnn"', r"recipe x: \[protocol\]: is missing\. Add it; the shipped recipes show how"),
        (HEAD, r"recipe x: \[map\] style = 'channels': must be reference for protocol reference"),
        (HEAD + MAP + "[[stages]]\nepocs = 1", r"recipe x: \[stages\] epocs: .*Did you mean 'epochs'"),
        (HEAD + MAP + "[[stages]]\nepochs = 0", r"recipe x: \[stages\] epochs = 0: must be 1 or more"),
        (HEAD + MAP + "[[stages]]\nlearning_rate = -1", r"\[stages\] learning_rate = -1\.0: must be positive"),
        (
            HEAD + MAP + '[[stages]]\nschedule = "step"',
            r"\[stages\] schedule = 'step': must be one of cosine, constant",
        ),
        (HEAD + "stages = []\n" + MAP, r"\[\[stages\]\] = \[\]: must hold at least one stage"),
        (HEAD + MAP + "height = 4", r"\[map\] height = 4: must be 8\.\.4096 pixels"),
        (HEAD + MAP.replace("unit", "none"), r"\[map\] normalization = 'none': must be unit or l2"),
        (HEAD + MAP.replace("reference", "channels"), r"\[map\] style = 'channels': must be reference"),
        (HEAD.replace("reference2", "refrence2") + MAP, r"\[model\] = 'refrence2': .*Did you mean 'reference2'"),
        (HEAD.replace("reference2", "hewsnet") + MAP, r"\[model\] = 'hewsnet': does not fit protocol reference"),
        (HEAD.replace("reference2", "small_cnn") + MAP, r"\[model\] = 'small_cnn': is not known\. Write 'cnn'"),
        (HEAD + MAP + "[split]\ntest = 0.9\nvalidation = 0.2", r"\[split\] test = 0\.9: must leave something"),
        (HEAD + MAP + "[split]\nwindows = 2", r"\[split\] windows = 2: must be 20 or more"),
        (HEAD + MAP + "[optimizer]\nepsilon = 0", r"\[optimizer\] epsilon = 0\.0: must be positive"),
        (HEAD + MAP + "[augmentation]\nzoom = 1", r"\[augmentation\] zoom = 1\.0: must be 0\.\.0\.9"),
        (HEAD + MAP + '[engine]\nprecision = "16"', r"\[engine\] precision = '16': must be one of 32-true, bf16-mixed"),
        (HEAD + MAP + "[engine]\nema = 1", r"\[engine\] ema = 1\.0: must be 0 or more, below 1"),
        (HEAD + MAP + "[checkpoints]\nkeep = 0", r"\[checkpoints\] keep = 0: must be 1 or more"),
        ("seed = ", "recipe x: is not valid TOML"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_allowed(text, said):
    with pytest.raises(UserError, match=said) as caught:
        parse_recipe(text, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('style = "channels"', 'style = "channels"\nheight = 64', "Set it in the city file"),
        ('style = "channels"', 'style = "channels"\nnormalization = "unit"', "must be none for protocol forecast"),
        ('balancing = "none"', 'balancing = "equal"', "the prevalence they come with"),
        ('schedule = "cosine"', "augment = true", "history is not varied"),
    ],
)
def test_what_a_forecast_would_ignore_is_refused(old, new, said):
    with pytest.raises(UserError, match=said):
        parse_recipe(load_recipe().text.replace(old, new), "x")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("forcast", r"--recipe = 'forcast': is not a shipped recipe.*Did you mean 'forecast'\?"),
        ("none.toml", r"^none\.toml: does not exist.*forecast, reference1, reference2"),
        ("folder.toml", r"folder\.toml: cannot be read"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(tmp_path, monkeypatch, name, said):
    (tmp_path / "folder.toml").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        load_recipe(name)


def test_settings_of_the_arithmetic_are_named_as_in_the_recipe():
    assert set(load_recipe().engine.settings) == {
        f"[engine] {key}" for key in ("precision", "compile", "channels_last", "graph")
    }


@pytest.mark.parametrize("model", ["cnn", "hewsnet", "stack", "boosting", "hawkes", "level", "climatology"])
def test_a_forecast_may_be_of_any_forecaster(model):
    assert parse_recipe(f'protocol = "forecast"\nmodel = "{model}"', "mine").model == model


@pytest.mark.parametrize("experts", ["[]", '["hewsnet", "hewsnet"]'])
def test_experts_that_would_be_left_aside_without_a_word_are_refused(experts):
    text = load_recipe("forecast").text.replace('model = "stack"', f'experts = {experts}\nmodel = "stack"', 1)
    with pytest.raises(UserError, match=r"\[experts\].*must name at least one, and none twice"):
        parse_recipe(text, "mine")
    with pytest.raises(UserError, match=r"\[experts\].*is for model stack"):
        parse_recipe(text.replace('model = "stack"', 'model = "level"', 1).replace(experts, '["counts"]', 1), "mine")
