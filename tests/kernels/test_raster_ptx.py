"""What the compiler makes of the CUDA kernels, without a GPU: no floats, wide stores, few registers, no spills.

resources.json holds registers and shared memory of every kernel on every architecture (and what a tile costs);
resources.py writes it by hand. Looked at in every run: here each kernel on an architecture other than sm_90, the plain
ones on all; on sm_90 test_ptx.py, which runs what it compiles.
"""

import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: kernels cannot be compiled")

from hews_gpu.kernels import raster_cuda
from hews_gpu.kernels._shim_cuda import kernel as compiled
from tests.kernels.resources import COMPUTES, LIMITS, OUTPUTS, PIP, compile_ptx, flat, ptx_of, require_limits, resources

RASTER = [name for name in LIMITS if name != PIP]
PLAIN = ("reference: uint8", "channels: uint8", "discs: uint8")
ROWS = [
    (name, compute)
    for k, name in enumerate(RASTER)
    for compute in COMPUTES
    if compute != "sm_90" and (name in PLAIN or compute == ("sm_80", "sm_100")[k % 2])
]


@pytest.mark.parametrize(("name", "compute"), ROWS)
def test_a_kernel_stays_within_its_limits(name, compute, tmp_path):
    require_limits(name, compute, tmp_path)


def test_the_table_names_every_output():
    words = {name.partition(": ")[2] for name in LIMITS}
    assert {*OUTPUTS, "uint8, many owners", ""} == words
    assert all(set(limits) == set(COMPUTES) for limits in LIMITS.values())


def test_eight_blocks_fit_where_training_runs():
    """65,536 registers, and 227 KiB of shared memory on sm_90; a block reserves 1 KiB more."""
    for compute in COMPUTES:
        assert LIMITS["reference: uint8"][compute]["registers"] * raster_cuda.THREADS * 8 <= 65_536
    assert (LIMITS["reference: uint8"]["sm_90"]["shared_bytes"] + 1024) * 8 <= 227 * 1024


def test_a_kernel_that_keeps_too_much_is_seen(tmp_path):
    """The check itself: the assembler is told to use fewer registers than the kernel wants, and reports spills.

    Without bulk copies, with which it wants no more than it may be held to.
    """
    text = ptx_of("reference: uint8", "sm_80")
    tight = re.sub(r"(\.visible \.entry [^{]*?\))", r"\1\n.maxnreg 24\n", text, count=1, flags=re.DOTALL)
    assert tight != text
    assert resources(tight, COMPUTES["sm_80"], tmp_path)["spilled_bytes"] > 0


def test_one_float_is_seen():
    def kernel(out):
        out[0] = np.uint8(out[0] * 0.5)

    assert "f64" in compile_ptx(compiled(kernel), tuple(flat("uint8")), COMPUTES["sm_90"])
