"""The GPU benchmark's own logic runs without a GPU; the check says so where there is none."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_draws_the_right_maps_in_the_simulator():
    script = Path(__file__).with_name("simulate_gpu_benchmark.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.split("\n")[:2] == ["painting True 1 True True", "counting True 1 True True"], done.stderr


def test_the_check_needs_no_table_library():
    """It has to run where there is only NumPy, numba, torch and pytest."""
    code = "import sys, benchmarks.gpu.check; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"pandas", "geopandas", "shapely", "pyarrow", "dask", "lightning"} & set(done.stdout.split())
