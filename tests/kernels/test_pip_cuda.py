"""The CUDA search: the same answers in the simulator, and machine code that keeps every rounding."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: nothing compiles for CUDA")

from hews_gpu.data.geometry.point_in_polygon import find_in_grid, flat_rings, grid_of
from hews_gpu.kernels._shim_cuda import cuda, kernel, types
from hews_gpu.kernels.pip_cuda import THREADS, blocks_for
from tests.kernels.cubin import DFMA, DMUL, operations
from tests.kernels.pip_cases import CASES
from tests.kernels.pip_reference import find_by_rays
from tests.kernels.resources import COMPUTES, LIMITS, PIP, compile_ptx, kernel_of, ptx_of, resources


def test_the_simulator_gives_the_answers_of_the_cpu(tmp_path):
    script = Path(__file__).with_name("simulate_pip.py")
    subprocess.run([sys.executable, str(script), str(tmp_path / "found.npz")], check=True)
    results = np.load(tmp_path / "found.npz")
    cases = {name.split("/")[0] for name in results}
    assert len(cases) == 4
    for case in cases:
        polygons, x, y = CASES[case](), results[f"{case}/x"], results[f"{case}/y"]
        np.testing.assert_array_equal(results[f"{case}/found"], find_in_grid(grid_of(polygons), x, y))
        np.testing.assert_array_equal(results[f"{case}/found"], find_by_rays(*flat_rings(polygons), x, y))


def test_there_is_a_thread_for_every_point():
    wanted = {0: 1, 1: 1, THREADS - 1: 1, THREADS: 1, THREADS + 1: 2, 2 * THREADS: 2, 2 * THREADS + 1: 3}
    assert {points: blocks_for(points) for points in wanted} == wanted


def assembled(ptx, compute, folder):
    """The machine code."""
    resources(ptx, COMPUTES[compute], folder)
    return (folder / "kernel.cubin").read_bytes()


def test_the_table_is_of_the_tables_that_the_search_reads():
    tables = grid_of(CASES["one triangle"]())
    _, signature, _ = kernel_of(PIP)
    expected = [types.Array(getattr(types, array.dtype.name), array.ndim, "C") for array in tables]
    assert list(signature[0].types) == expected


@pytest.mark.parametrize("compute", COMPUTES)
def test_no_product_is_fused_with_a_sum_and_registers_suffice(compute, tmp_path):
    ptx = ptx_of(PIP, compute)
    assert "fma" not in ptx and ptx.count("mul.rn.f64") > 50
    used = resources(ptx, COMPUTES[compute], tmp_path)
    found = operations((tmp_path / "kernel.cubin").read_bytes())
    assert found.count(DFMA) == 0 and found.count(DMUL) > 50
    assert used["spilled_bytes"] == used["stack_bytes"] == 0
    # 64 registers let four blocks of 256 threads share a multiprocessor, 96 let two.
    assert used["registers"] <= LIMITS[PIP][compute]["registers"], used


@kernel
def plain_products(a, out):
    i = cuda.grid(1)
    out[i] = a[i] * a[i + 1] - a[i + 2] * a[i + 3]


@pytest.mark.parametrize("compute", COMPUTES)
def test_plain_products_are_fused_so_that_the_count_above_means_something(compute, tmp_path):
    ptx = compile_ptx(plain_products, (types.float64[::1], types.float64[::1]), COMPUTES[compute])
    assert "fma.rn.f64" not in ptx  # only the machine code shows it
    found = operations(assembled(ptx, compute, tmp_path))
    assert found.count(DFMA) == 1 and found.count(DMUL) == 1
