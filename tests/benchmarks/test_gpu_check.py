"""The GPU benchmark's own logic runs without a GPU; the check says so where there is none."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.feed import make_source
from benchmarks.gpu import check, pip, prepare, training
from hews_gpu.cluster.dask_workers import Cluster
from hews_gpu.feed.feeds import open_feed
from hews_gpu.reference.networks import ReferenceCnn, reference_settings
from hews_gpu.workers import in_this_process

ROOT = Path(__file__).resolve().parents[2]
OTHERS = (
    *("pandas", "geopandas", "shapely", "pyarrow", "pyogrio", "pyproj", "dask", "distributed", "lightning", "scipy"),
    *("sklearn", "matplotlib", "zarr", "typer", "rich", "jinja2", "safetensors", "psutil", "hypothesis", "PIL", "cupy"),
    *("nvidia.dali", "torchmetrics", "scores", "tensorboard"),
)


@pytest.mark.nightly  # a benchmark of kernels that other tests draw with in the simulator
def test_the_benchmark_draws_the_right_maps_in_the_simulator():
    script = Path(__file__).with_name("simulate_gpu_benchmark.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    expected = ["painting True 1 True True", "counting True 1 True True", "pip True 20 10 True"]
    assert done.stdout.splitlines() == expected, done.stderr


def test_the_check_needs_only_what_it_says():
    """NumPy, numba, torch, pytest: nothing else that we use may be asked for, be it there or not."""
    code = (
        "import sys, pytest\n"
        f"sys.modules.update(dict.fromkeys({OTHERS!r}))\n"  # importing any of these now raises ImportError
        "import benchmarks.gpu.check as check, importlib\n"
        "[importlib.import_module(module) for module in check.SECTIONS.values()]\n"
        "sys.exit(pytest.main(['-q', '-m', 'gpu', '-p', 'no:cacheprovider', '--collect-only', 'tests']))"
    )
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # plugins are not ours to judge
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for test in ("test_golden.py", "test_golden_pip.py", "test_device.py"):
        assert test in done.stdout


@pytest.mark.parametrize("missing", ["torch", "numba"])
def test_what_is_missing_is_said_in_one_line(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from benchmarks.gpu import check; sys.exit(check.main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"gpu-check: {sys.executable} has no {missing}; nothing was measured\n"


def test_a_section_that_fails_is_told_and_fails_the_check():
    class Nothing:
        pass

    assert check.run_section("benchmarks.gpu.pip", Nothing(), 500)["failed"].startswith("AttributeError: ")
    assert check.run_section("benchmarks.gpu.nothing", Nothing(), 500)["failed"].startswith("ModuleNotFoundError")
    assert "20 s were left" in check.run_section("benchmarks.gpu.pip", Nothing(), 20)["skipped"]


def test_prepare_on_workers_gives_the_tables_of_one_process_and_says_what_it_lacks(monkeypatch):
    """On one worker and pandas here; where there is a GPU, on a cluster of GPUs and cuDF."""
    with monkeypatch.context() as patched:
        patched.setattr(prepare, "NEEDED", ("pandas", "no_such_library"))
        assert prepare.run(object()) == {"skipped": "not installed: no_such_library"}
    result = prepare.measure(Cluster(kind="local", workers=1, least_rows=0), rows=20_000, days=50)
    assert result["same_tables"] and result["rows_read"] == 20_000 and 0.7 * 20_000 < result["rows_kept"] < 20_000
    assert result["ratio_of_rows_per_s"] == result["rows_per_s"]["workers"] / result["rows_per_s"]["host"]
    with pytest.raises(AssertionError, match="differ in"):
        monkeypatch.setattr(prepare, "table_hash", lambda path: str(path))
        prepare.measure(in_this_process, rows=1_000, days=5)


def test_training_takes_steps_and_counts_them():
    source = make_source(64, height=62, width=62)
    model = ReferenceCnn(replace(reference_settings("reference2"), height=62, width=62))
    before = next(model.parameters()).detach().clone()
    row = training.measure(model, open_feed("direct", source), batch=4, steps=3, profiled=1)
    assert (row["batch"], row["steps"], row["gpu_busy_share"]) == (4, 3, None)
    assert row["samples_per_s"] * row["step_s"] == pytest.approx(4)
    assert 0 <= row["waiting_share"] < 1 and all(0.3 < loss < 1.5 for loss in row["loss"])
    assert not torch.equal(before, next(model.parameters()))


def test_a_gpu_is_busy_while_any_of_its_streams_is():
    assert training.busy_share([]) is None
    assert training.busy_share([(0.0, 4.0), (1.0, 2.0)]) == 1.0  # one within another counts once
    assert training.busy_share([(6.0, 8.0), (0.0, 2.0), (1.0, 3.0)]) == 5 / 8


def test_the_city_is_as_finely_drawn_as_a_real_one():
    vertex, _, polygon = pip.city()
    assert polygon.max() + 1 == 278
    assert 120_000 < len(vertex) < 160_000
