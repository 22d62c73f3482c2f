"""The second compiler: tests of compiled kernels, repeated in a process that has chosen it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: there is nothing to compare with")
pytest.importorskip("numba_cuda_mlir", reason="numba-cuda-mlir is not installed")

HERE = Path(__file__).parent
CHOSEN = {**os.environ, "HEWS_CUDA_COMPILER": "numba-cuda-mlir"}
TABLE = json.loads((HERE / "resources.json").read_text(encoding="utf-8"))
PTX, RASTER, PIP = HERE / "test_ptx.py", HERE / "test_raster_ptx.py", HERE / "test_pip_cuda.py"
BITS = f"{PTX}::test_a_kernel_gives_the_bits_of_the_reference_and_costs_no_more_than_it_may"
LIMITS = f"{RASTER}::test_a_kernel_stays_within_its_limits"
MISTAKES = [
    f"{PTX}::test_a_mistake_with_bulk_copies_is_a_fault",
    f"{PTX}::test_shared_memory_is_aligned_as_declared_and_no_better",
]
FEW = [
    f"{BITS}[reference: uint8-sm_80]",
    *(f"{BITS}[{style}: uint8-sm_90]" for style in ("channels", "discs")),
    f"{BITS}[point in polygon-sm_90]",
    f"{PIP}::test_no_product_is_fused_with_a_sum_and_registers_suffice[sm_90]",
    f"{PIP}::test_plain_products_are_fused_so_that_the_count_above_means_something[sm_90]",
]
"""A kernel of each style for bytes, the reference without copies in bulk, and the search for polygons."""


def repeat(tests):
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, env=CHOSEN, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_kernels_give_the_bits_of_the_reference_within_limits_of_their_own():
    assert f"{len(FEW)} passed" in repeat(FEW)


@pytest.mark.nightly
def test_every_kernel_does_on_every_architecture():
    said = repeat([BITS, LIMITS, *MISTAKES, f"{PIP}::test_no_product_is_fused_with_a_sum_and_registers_suffice"])
    assert "passed" in said and "skipped" not in said


def test_both_compilers_have_limits_for_every_kernel():
    first, second = TABLE["numba-cuda"], TABLE["numba-cuda-mlir"]
    assert {name: set(row) for name, row in first.items()} == {name: set(row) for name, row in second.items()}
