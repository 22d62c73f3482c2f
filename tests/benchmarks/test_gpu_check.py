"""The GPU benchmark's own logic runs without a GPU; the check says so where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import check, pip

ROOT = Path(__file__).resolve().parents[2]
OTHERS = (
    *("pandas", "geopandas", "shapely", "pyarrow", "pyogrio", "pyproj", "dask", "distributed", "lightning", "scipy"),
    *("sklearn", "matplotlib", "zarr", "typer", "rich", "jinja2", "safetensors", "psutil", "hypothesis", "PIL", "cupy"),
    *("nvidia.dali", "torchmetrics", "scores", "tensorboard"),
)


def test_the_benchmark_draws_the_right_maps_in_the_simulator():
    script = Path(__file__).with_name("simulate_gpu_benchmark.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    expected = ["painting True 1 True True", "counting True 1 True True", "pip True 20 10 True False"]
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


def test_the_city_is_as_finely_drawn_as_a_real_one():
    vertex, _, polygon = pip.city()
    assert polygon.max() + 1 == 278
    assert 120_000 < len(vertex) < 160_000
