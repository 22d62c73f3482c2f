"""Sweeps: which jobs a file names, the recipe of each, the table of what came of them."""

import tomllib

import pytest

from hews_gpu.cluster.sweep import _toml, load_sweep, recipe_of, result_of, run_folder, sweep_table
from hews_gpu.errors import UserError
from hews_gpu.training.recipe import known_recipes, load_recipe


def write(tmp_path, text):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return path


def test_a_grid_is_every_combination_and_jobs_come_after(tmp_path):
    text = 'prepared = "p"\n[grid]\nseed = [1, 2]\nstages.learning_rate = [0.1, 0.2]\n[[jobs]]\nengine.ema = 0.5\n'
    sweep = load_sweep(write(tmp_path, text))
    assert [dict(job) for job in sweep.jobs] == [
        {"seed": 1, "stages.learning_rate": 0.1},
        {"seed": 1, "stages.learning_rate": 0.2},
        {"seed": 2, "stages.learning_rate": 0.1},
        {"seed": 2, "stages.learning_rate": 0.2},
        {"engine.ema": 0.5},
    ]
    assert sweep.columns == ["seed", "stages.learning_rate", "engine.ema"]
    assert (sweep.prepared, sweep.recipe, sweep.at_once) == (tmp_path / "p", "forecast", 4)


@pytest.mark.parametrize("name", known_recipes())
def test_a_recipe_survives_being_written(name):
    recipe = load_recipe(name)
    assert tomllib.loads(_toml(tomllib.loads(recipe.text))) == tomllib.loads(recipe.text)


def test_texts_survive_being_written():
    odd = {"a": 'say "x"\n\t\\', "b": "ä€😀", "c": 1e-30, "d": True, "e": [1, 2.5], "f": {"g": "h"}, "i": [{"j": 1}]}
    assert tomllib.loads(_toml(odd)) == odd


def test_each_job_gets_its_own_recipe(tmp_path):
    text = (
        'prepared = "p"\nrecipe = "reference1"\n[grid]\nseed = [3]\nstages.learning_rate = [0.5]\nengine.ema = [0.25]\n'
    )
    found = recipe_of(load_sweep(write(tmp_path, text)), 0)
    base = load_recipe("reference1")
    assert found.seed == 3
    assert [stage.learning_rate for stage in found.stages] == [0.5] * len(base.stages)
    assert found.engine.ema == 0.25
    assert found.optimizer == base.optimizer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"\[prepared\]: must be text"),
        ('prepared = "p"\n', "names no job"),
        ('prepared = "p"\ngird = 1\n', "Did you mean 'grid'"),
        ('prepared = "p"\nat_once = 0\n[grid]\nseed = [1]\n', r"\[at_once\] = 0"),
        ('prepared = "p"\n[grid]\nseed = 1\n', r"\[grid\] seed = 1: must be a list"),
        ('prepared = "p"\n[grid]\nseed = []\n', "not empty"),
        ("prepared =\n", r"sweep\.toml: is not valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        load_sweep(write(tmp_path, text))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("stages.lerning_rate = [1.0]", "is not a known key"),
        ("seed = [-1]", "must be 0 or more"),
        ("model.size = [1]", "no section"),
    ],
)
def test_a_setting_that_no_recipe_has_is_refused(tmp_path, settings, words):
    sweep = load_sweep(write(tmp_path, f'prepared = "p"\n[grid]\n{settings}\n'))
    with pytest.raises(UserError, match=words):
        recipe_of(sweep, 0)
    with pytest.raises(UserError, match=r"--job = 1: must be 0\.\.0"):
        recipe_of(sweep, 1)


def test_the_table_has_the_best_on_top_and_what_failed_last(tmp_path):
    sweep = load_sweep(write(tmp_path, 'prepared = "p"\n[grid]\nseed = [1, 2, 3]\n'))
    for job, scores in ((0, (0.9, 0.8)), (2, (0.9, 0.5, 0.7))):
        run = run_folder(tmp_path, job)
        run.mkdir()
        lines = [f"{epoch},0.1,{score}" for epoch, score in enumerate(scores)]
        (run / "history.csv").write_text("\n".join(["epoch,train_loss,validation_log_loss", *lines]) + "\n")
        (run / "hews.json").write_text('{"kind": "run", "state": "trained"}')
    rows = sweep_table(sweep, tmp_path, {1: ("failed", "diverged"), 2: ("running", "")})
    assert rows[0] == ["job", "seed", "state", "epochs", "validation, bits", ""]
    assert rows[1] == ["2", "3", "running", "2", "0.5000", ""]
    assert rows[2] == ["0", "1", "done", "1", "0.8000", ""]
    assert rows[3] == ["1", "2", "failed", "", "", "diverged"]
    assert result_of(tmp_path / "nowhere").best is None
