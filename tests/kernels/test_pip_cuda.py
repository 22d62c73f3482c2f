"""The CUDA search: the same answers in the simulator, and machine code that keeps every rounding."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: nothing compiles for CUDA")

from hews_gpu.data.grid import find_in_grid, flat_rings, grid_of
from hews_gpu.kernels import pip_cuda
from hews_gpu.kernels._shim_cuda import Compute, array_type, compile_ptx, cuda, kernel, types
from hews_gpu.kernels.pip_reference import find_by_rays
from tests.kernels.cubin import DFMA, DMUL, operations
from tests.kernels.pip_cases import CASES

MOST_REGISTERS = {(8, 0): 64, (9, 0): 64, (10, 0): 96}
"""Per thread, by compute capability: 64 let four blocks of 256 threads share a multiprocessor, 96 let two."""


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


def signature():
    tables = grid_of(CASES["one triangle"]())
    named = types.NamedTuple([array_type(array) for array in tables], type(tables))
    return named, types.float64[::1], types.float64[::1], types.int32[::1]


def assembled(ptx, compute, folder):
    """The machine code, and what the assembler says of it."""
    ptxas = shutil.which("ptxas") or shutil.which("/usr/local/cuda/bin/ptxas")
    if ptxas is None:
        pytest.skip("no ptxas on this machine: machine code cannot be looked at")
    source, code = folder / "kernel.ptx", folder / "kernel.cubin"
    source.write_text(ptx)
    command = [ptxas, "-v", f"-arch=sm_{compute[0]}{compute[1]}", str(source), "-o", str(code)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and ("not defined for option" in done.stderr or "Unsupported .version" in done.stderr):
        pytest.skip(f"this ptxas is too old: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return code.read_bytes(), done.stderr


@pytest.mark.parametrize("compute", MOST_REGISTERS)
def test_no_product_is_fused_with_a_sum_and_registers_suffice(compute, tmp_path):
    ptx = compile_ptx(pip_cuda.find_all, signature(), Compute(*compute))
    assert "fma" not in ptx and ptx.count("mul.rn.f64") > 50
    code, said = assembled(ptx, compute, tmp_path)
    found = operations(code)
    assert found.count(DFMA) == 0 and found.count(DMUL) > 50
    assert "0 bytes spill stores, 0 bytes spill loads" in said and "0 bytes stack frame" in said
    registers = int(re.search(r"Used (\d+) registers", said)[1])
    assert registers <= MOST_REGISTERS[compute], said


@kernel
def plain_products(a, out):
    i = cuda.grid(1)
    out[i] = a[i] * a[i + 1] - a[i + 2] * a[i + 3]


@pytest.mark.parametrize("compute", MOST_REGISTERS)
def test_plain_products_are_fused_so_that_the_count_above_means_something(compute, tmp_path):
    ptx = compile_ptx(plain_products, (types.float64[::1], types.float64[::1]), Compute(*compute))
    assert "fma.rn.f64" not in ptx  # only the machine code shows it
    found = operations(assembled(ptx, compute, tmp_path)[0])
    assert found.count(DFMA) == 1 and found.count(DMUL) == 1


@pytest.mark.gpu
def test_a_real_gpu_gives_the_answers_of_the_cpu():
    if not cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    for case, make in CASES.items():
        polygons = make()
        tables = grid_of(polygons)
        random = np.random.default_rng(0)
        x, y = random.uniform(tables.bounds[:2], tables.bounds[2:], (1_000_000, 2)).T
        corners = random.integers(0, len(tables.vertex), 100_000)
        x, y = np.append(x, tables.vertex[corners, 0]), np.append(y, tables.vertex[corners, 1])
        on_device = type(tables)(*map(cuda.to_device, tables))
        out = cuda.to_device(np.empty(len(x), np.int32))
        blocks = pip_cuda.blocks_for(len(x))
        pip_cuda.find_all[blocks, pip_cuda.THREADS](on_device, cuda.to_device(x), cuda.to_device(y), out)
        np.testing.assert_array_equal(out.copy_to_host(), find_in_grid(tables, x, y), err_msg=case)
