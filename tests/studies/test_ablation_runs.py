"""The ablation trains every step alike, within its time, and where no library for geography is installed."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.data.events import open_prepared
from hews_gpu.environment.device import Choice
from hews_gpu.training.objective import Stage
from hews_gpu.training.recipe import load_recipe
from studies.leak_ablation import STEPS, run_ablation, stages_for

CPU = Choice("cpu", "asked for")
SMALL = load_recipe("reference_small")


def recipe(epochs):
    return replace(SMALL, stages=tuple(replace(stage, epochs=epochs) for stage in SMALL.stages))


@pytest.fixture(scope="module")
def found(prepared):
    return run_ablation(open_prepared(prepared), recipe(4), CPU, seeds=(3,), steps=("reference", "same_window"))


def test_steps_learn_from_as_many_maps(found):
    first, last = found
    assert [one.step for one in found] == ["reference", "same_window"] and first.seed == 3
    assert last.sizes["train"] > first.sizes["train"]
    assert last.steps == pytest.approx(first.steps, rel=0.3)
    assert first.parameters == last.parameters > 10_000


def test_what_was_said_is_kept_with_what_happened(found):
    for one in found:
        assert len(one.y) == len(one.p) == len(one.start_s) == len(one.p_climatology) == one.sizes["test"]
        assert one.y.sum() == one.positives["test"] and (np.diff(one.start_s) > 0).all()
        assert ((one.p > 0) & (one.p < 1)).all() and 0 <= one.best_epoch <= one.epochs


def test_it_is_repeated_to_the_bit(found, prepared):
    (again,) = run_ablation(open_prepared(prepared), recipe(4), CPU, seeds=(3,), steps=("reference",))
    np.testing.assert_array_equal(again.p, found[0].p)


def test_a_run_that_has_had_its_time_keeps_what_it_learned(prepared):
    (one,) = run_ablation(open_prepared(prepared), recipe(400), CPU, seeds=(0,), steps=("targets",), limit_s=0.5)
    assert 1 <= one.steps < 400 * one.sizes["train"] / 32 / 10
    assert ((one.p > 0) & (one.p < 1)).all()


def test_more_windows_take_fewer_epochs():
    stages = (Stage(epochs=10, batch_size=32, learning_rate=0.1), Stage(epochs=1, batch_size=8, learning_rate=0.1))
    assert [stage.epochs for stage in stages_for(stages, 100, 300)] == [3, 1]
    assert stages_for(stages, 100, 100) == stages


WITHOUT = """
import sys
for name in ("geopandas", "shapely", "pyproj", "pyogrio", "dask", "distributed", "zarr", "nvidia"):
    sys.modules[name] = None
from dataclasses import replace
from pathlib import Path
from hews_gpu.data.events import open_prepared
from hews_gpu.environment.device import Choice
from studies.leak_ablation import run_ablation
from hews_gpu.training.recipe import load_recipe
recipe = load_recipe("reference_small")
recipe = replace(recipe, split=replace(recipe.split, windows=80), stages=(replace(recipe.stages[0], epochs=1),))
prepared = open_prepared(Path(sys.argv[1]))
prepared.fingerprint
print(len(run_ablation(prepared, recipe, Choice("cpu", ""), seeds=(0,))))
"""


def test_it_needs_neither_geopandas_nor_shapely_nor_dask(prepared):
    command = [sys.executable, "-c", WITHOUT, str(prepared)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(STEPS))]
