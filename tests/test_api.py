"""The Python interface: every name of the package is what it says, whatever was imported before."""

import pkgutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import hews_gpu
from hews_gpu.errors import UserError
from tests.toy_city import prepared

__all__ = ["prepared"]


def test_no_submodule_takes_the_name_of_a_function():
    """Importing a submodule binds its name in the package, and would put the module in the function's place."""
    assert not {module.name for module in pkgutil.iter_modules(hews_gpu.__path__)} & set(hews_gpu.__all__)


def test_every_name_can_be_called_after_everything_was_loaded():
    script = (
        "import hews_gpu, hews_gpu.api, hews_gpu.cli.commands, hews_gpu.runs.train, hews_gpu.runs.backtest\n"
        "print([n for n in hews_gpu.__all__ if n != '__version__' and not callable(getattr(hews_gpu, n))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_loads_nothing_heavy():
    script = (
        "import sys, hews_gpu\n"
        "print([m for m in ('torch', 'dask', 'numpy', 'pandas', 'pyarrow', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_not_there_is_no_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'forecast'"):
        _ = hews_gpu.forecast
    assert set(dir(hews_gpu)) == set(hews_gpu.__all__)


def test_maps_are_those_of_the_grids_windows(prepared):
    city = hews_gpu.open_city(str(prepared))
    span = ("2024-02-01T01:00", "2024-02-02")
    frames = {style: hews_gpu.rasterize(city, *span, style=style) for style in ("reference", "channels")}
    assert frames["reference"].dtype == frames["channels"].dtype == np.uint8
    assert frames["reference"].shape[0] == frames["channels"].shape[0] == 11  # whole windows only
    begin_s = np.datetime64("2024-02-01T02:00", "s").astype(np.int64)
    inside = (city.events.time_s >= begin_s) & (city.events.time_s < begin_s + 11 * 7200)
    assert frames["channels"].sum() == inside.sum()
    with pytest.raises(UserError, match="style = 'rgb': must be reference or channels"):
        hews_gpu.rasterize(city, "2024-02-01", "2024-02-02", style="rgb")
    with pytest.raises(UserError, match="begin = 'soon'"):
        hews_gpu.rasterize(city, "soon", "2024-02-02")


def test_a_run_is_trained_opened_and_asked(prepared, tmp_path):
    city = hews_gpu.open_city(prepared)
    run = hews_gpu.train(city, tmp_path / "run", model="hewsnet")
    again = hews_gpu.load_run(str(tmp_path / "run"))
    found = run.forecast("2024-05-01T20:00")
    assert found == again.forecast("2024-05-01T20:00") and set(found.by_neighborhood) == {"East", "West"}
    with pytest.raises(UserError, match="exists already"):
        hews_gpu.train(city, tmp_path / "run", model="level")
    hews_gpu.train(city, tmp_path / "run", model="level", force=True)
    assert hews_gpu.load_run(tmp_path / "run").recipe.model == "level"
    with pytest.raises(UserError, match="is too short for the plan"):
        hews_gpu.backtest(city, models=["level"], blocks=1)
    with pytest.raises(UserError, match="--device = 'tpu'"):
        hews_gpu.load_run(tmp_path / "run", device="tpu")


@pytest.fixture(scope="module")
def forecasts(prepared, tmp_path_factory):
    """The test rows of a run's forecasts, and its metrics."""
    folder = tmp_path_factory.mktemp("judged")
    run = hews_gpu.train(hews_gpu.open_city(prepared), folder / "run", model="hawkes")
    metrics = run.evaluate()
    table = pd.read_parquet(folder / "run" / "forecasts.parquet")
    return table[table["split"] == "test"], metrics


def test_the_judge_says_of_a_table_what_evaluate_says(forecasts):
    table, metrics = forecasts
    scores = hews_gpu.judge(table)
    assert set(scores) == {"p", "base_rate", "climatology", "level"}
    for name, one in scores.items():
        there = metrics["forecasts"]["hawkes" if name == "p" else name]
        for key in ("auc", "auc_interval", "brier", "log_loss_bits", "calibration", "value"):
            assert one[key] == there[key]
    assert scores["p"]["against"]["climatology"] == metrics["forecasts"]["hawkes"]["against"]["climatology"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(columns=["y", "p_climatology"]), r"\['p_climatology', 'y'\]: columns are missing"),
        (lambda table: table.assign(y=table["y"].where(table.index != table.index[3])), "forecasts y: must be 0 or 1"),
        (lambda table: table.assign(y=0), "forecasts y: must be 0 or 1 in every row, and not the same in all"),
        (lambda table: table.assign(y=table["y"] * 2), "forecasts y: must be 0 or 1"),
        (lambda table: table.assign(p=table["p"].where(table.index != table.index[3])), "forecasts p: must hold"),
        (lambda table: table.assign(p_level=table["p_level"] + 1), "forecasts p_level: must hold probabilities"),
        (lambda table: table.iloc[::-1], "forecasts window_start: must rise"),
        (lambda table: pd.concat([table, table.tail(1)]), "forecasts window_start: must rise"),
        (lambda table: table.iloc[:0], "forecasts y: must be 0 or 1"),
        (lambda table: table.iloc[:1], "forecasts y: must be 0 or 1"),
    ],
)
def test_what_cannot_be_judged_is_one_line(forecasts, change, said):
    with pytest.raises(UserError, match=said) as told:
        hews_gpu.judge(change(forecasts[0]))
    assert "\n" not in str(told.value)
